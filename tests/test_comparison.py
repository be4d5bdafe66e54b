"""`localization.compare` without a command line: what enters it decides the figures, and nothing else does."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from localization.boxes import map_to_photo
from localization.channels import read_channels
from localization.comparison import CompareOptions, Comparison, compare
from localization.comparison import maps as made_maps
from localization.comparison.maps import Task, make
from localization.comparison.samples import gathered
from localization.datasets import load
from localization.external import external_maps
from localization.features import Features
from localization.regression import fit_coverage, fit_linear_map
from saliency import InputError
from saliency.maps.gradient import gradients_reduced
from saliency.maps.status import status
from saliency.menu import gradients
from saliency.methods import METHODS
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.scores import logits
from tests.devkits import voc_object, write_photo, write_text, write_voc

pytestmark = pytest.mark.usefixtures("composed")
NET = random_network(scenes_cnn(((4,), (6,)), size=(24, 32)))
NAMES = tuple(f"class {k}" for k in range(10))
OPTIONS = CompareOptions(quality=0, folds=4, fit="lad")  # the quickest
EDGES = ("edges",)


def network(mode="stretch", classes=NAMES):
    net = random_network(scenes_cnn(((4,), (6,)), size=(24, 32)))
    net.preprocess, net.classes = net.preprocess.changed(mode), tuple(classes)
    return net


def voc(folder, n=24, size=(60, 80), seed=0, label="cat", sides=None):
    """Photos with one box each anywhere, of these sides (width, height) or any; corners as VOC counts them."""
    rng = np.random.default_rng(seed)
    objects = {}
    for i in range(n):
        x, y = rng.integers(1, size[1] - 30), rng.integers(1, size[0] - 25)
        width, height = sides or (rng.integers(14, 30), rng.integers(12, 25))
        objects[f"{i:03d}"] = [voc_object(label, (x, y, x + width, y + height))]
    write_voc(folder, objects, size)
    return load("voc", folder, split="trainval")


def truth(folder, data, scale=1):
    """Maps that are the true box, at `scale` pixels a pixel of the photo."""
    folder.mkdir(parents=True, exist_ok=True)
    for annotation in data.annotations:
        own = np.zeros([side * scale for side in annotation.size], np.float32)
        x0, y0, x1, y1 = (annotation.boxes[0] * scale).astype(int)
        own[y0:y1, x0:x1] = 1
        np.save(folder / f"{annotation.source}.npy", own)
    return folder


def write_boxes(path, data, labelled=False):
    """The true boxes as another tool would give them."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "x0", "y0", "x1", "y1", *(["label"] if labelled else [])])
        for one in data.annotations:
            for label, box in zip(one.labels, one.boxes.tolist()):
                writer.writerow([one.source, *box, *([label] if labelled else [])])
    return path


def share(found, method, route):
    return next(row["corloc"] for row in found.rows if (row["method"], row["route"]) == (method, route))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize("size", [(60, 80), (90, 40)])
def test_maps_that_are_the_true_box_are_right_under_every_entry(tmp_path, mode, size):
    """They lie over the whole photo: what our own entry hides from our own maps is not their concern."""
    data = voc(tmp_path / "VOC", size=size, sides=(24, 20))  # of one area, which is what the heuristic can learn
    found = compare(network(mode), data, methods=EDGES, maps={"truth": truth(tmp_path / "maps", data)}, options=OPTIONS)
    assert share(found, "truth", "heuristic") == share(found, "truth", "linear map") == 1


def test_classes_of_one_photo_share_the_map_that_explains_the_same(tmp_path):
    """And what a map costs is stated for each that was made."""
    both = [voc_object("cat", (3, 3, 30, 30)), voc_object("dog", (35, 5, 70, 50))]
    write_voc(tmp_path / "data", {f"{i:03d}": both if i % 2 else both[:1] for i in range(5)}, (60, 80))
    samples = gathered(network(), load("voc", tmp_path / "data", split="trainval"), folds=2)
    asked = []

    def run(net, x, targets):
        asked.append(len(x))
        return {"maps": x[..., 0] + targets[:, None, None]}

    for name, targets in {"same": np.full(7, 3), "own": np.arange(7)}.items():
        task = Task("edges", run, lambda: METHODS["edges"].cost(network(), (24, 32)))
        made = make({name: task}, samples, targets, tmp_path / "maps", lambda done, total: None)[name]
        expected = samples.input(range(7))[..., 0] + targets[:, None, None]
        np.testing.assert_allclose(made.maps(np.arange(7)), expected)
        told = np.load(made.shards[0])
        assert made.ms == pytest.approx(1000 * float(told["seconds"]) / asked[-1])
    assert len(samples) == 7 and asked == [5, 7]


def test_methods_of_the_same_passes_are_made_together_and_are_the_same_maps(tmp_path):
    """Class activation maps of one layer, and what is made of the same noisy copies; one left out of a group too."""
    samples = gathered(network(), voc(tmp_path / "VOC", n=7), folds=2)
    targets, net, settings = np.arange(7), samples.net, OPTIONS.settings
    names = ["vargrad", "fem", "grad-cam", "smoothgrad", "grad-cam++", "eigen-cam", "xgrad-cam", "smoothgrad-squared"]
    wanted = made_maps.tasks(net, [*names, "layer-cam", "hires-cam", "finer-cam"], settings, ())
    groups = made_maps.of_one_pass(wanted)
    assert sorted(map(len, groups)) == [1, 3, 7]
    for some in (wanted, {name: wanted[name] for name in ("fem", "eigen-cam", "vargrad", "smoothgrad")}):
        made = make(some, samples, targets, tmp_path / f"maps{len(some)}", lambda done, total: None)
        for name, one in made.items():
            alone = METHODS[name].maps(net, samples.input(range(7)), target=targets, options=settings)
            np.testing.assert_array_equal(one.maps(np.arange(7)), alone)
    changed = replace(settings, seed=1, layer=net.architecture.gestalt_layer)
    others = made_maps.tasks(net, ["vargrad", "grad-cam"], changed, ())
    mixed = {**{name: wanted[name] for name in ("vargrad", "grad-cam")}, **{f"{n} again": t for n, t in others.items()}}
    assert all(len(own) == 1 for own in made_maps.of_one_pass(mixed))  # another seed or layer is another pass


def test_gradients_of_one_score_are_of_one_pass_and_the_same_maps(tmp_path, monkeypatch):
    samples = gathered(network(), voc(tmp_path / "VOC", n=7), folds=2)
    targets, net, settings = np.arange(7), samples.net, OPTIONS.settings
    names = ("gradient-max", "gestalt-mean", "edges", "gradient-mean", "gestalt-max", "flip(gradient-max)")
    asked = []
    monkeypatch.setattr(gradients, "gradients_reduced", lambda *a, **k: asked.append(k) or gradients_reduced(*a, **k))
    wanted = made_maps.tasks(net, names, settings, ())
    made = make(wanted, samples, targets, tmp_path / "maps", lambda done, total: None)
    assert [one["score"] for one in asked] == ["logit", "gestalt"]
    alone = {name: METHODS[name].maps(net, samples.input(range(7)), target=targets, options=settings) for name in names}
    for name, one in made.items():
        np.testing.assert_array_equal(one.maps(np.arange(7)), alone[name])
    assert made["gradient-max"].ms == made["gradient-mean"].ms > 0 and METHODS["flip(gradient-max)"].shared is None
    made["gestalt-max"].shards[0].unlink()  # as a kill would leave it: that one alone is made again
    again = make(wanted, samples, targets, tmp_path / "maps", lambda done, total: None)
    assert len(asked) == 2
    np.testing.assert_array_equal(again["gestalt-max"].maps(np.arange(7)), alone["gestalt-max"])


def test_kept_maps_of_a_crop_say_where_they_lie(tmp_path):
    data, net = voc(tmp_path / "VOC", n=8, size=(40, 90)), network("crop")
    options = replace(OPTIONS, folds=2, keep_maps=True)
    compare(net, data, methods=("gradient-max",), options=options, folder=tmp_path / "out")
    theirs = external_maps(
        tmp_path / "out" / "maps" / "gradient-max",
        [one.source for one in data.annotations],
        [one.size for one in data.annotations],
    )
    x = net.preprocess(data.images)
    ours = METHODS["gradient-max"].maps(net, x, options=options.settings)
    for own, one in zip(ours, data.annotations):
        kept = theirs.read(one.source)
        assert np.allclose(kept, own)
        at = theirs.placement(one.size, kept.shape)
        assert np.array_equal(map_to_photo(kept, at), map_to_photo(kept, net.preprocess.placement(one.size)))


@pytest.mark.parametrize("swapped", [True, False])
def test_maps_that_are_transposed_are_refused(tmp_path, swapped):
    data = voc(tmp_path / "VOC", n=8)
    folder = truth(tmp_path / "maps", data)
    for path in folder.iterdir():
        np.save(path, np.load(path).T if swapped else np.load(path))
    given = {"methods": EDGES, "maps": {"theirs": folder}, "options": replace(OPTIONS, folds=2)}
    if not swapped:
        compare(network(), data, **given)
        return
    with pytest.raises(InputError, match="height and width are swapped"):
        compare(network(), data, **given)


def test_labelled_boxes_go_to_their_own_label(tmp_path):
    objects = [voc_object("dog", (5, 6, 30, 40)), voc_object("cat", (41, 10, 70, 50))]
    write_voc(tmp_path / "VOC", {f"{i:03d}": objects for i in range(6)})
    data = load("voc", tmp_path / "VOC", split="trainval")
    path = write_boxes(tmp_path / "boxes.csv", data, labelled=True)
    found = compare(network(), data, methods=EDGES, boxes={"theirs": path}, options=replace(OPTIONS, folds=2))
    assert share(found, "theirs", "external") == 1
    assert (found.results["test"], found.results["photos"]) == (12, 6)
    write_boxes(path, data)
    with pytest.raises(InputError, match="both give a box of '000'"):
        compare(network(), data, methods=EDGES, boxes={"theirs": path}, options=replace(OPTIONS, folds=2))


@pytest.mark.slow
def test_whatever_enters_decides_what_is_reused(tmp_path, monkeypatch):
    """The same call again is read back; another content under the same names is not."""
    data = voc(tmp_path / "VOC", n=8)
    maps, boxes, names = truth(tmp_path / "maps", data), tmp_path / "boxes.csv", tmp_path / "names.txt"
    write_boxes(boxes, data)
    names.write_text("cat\n" + "".join(f"{name}\n" for name in NAMES[1:]))

    def again(net=None, **changes):
        given = {"maps": {"m": maps}, "boxes": {"b": boxes}, "classes": names, "methods": EDGES}
        return compare(
            net or network(), data, options=replace(OPTIONS, folds=2), folder=tmp_path / "out", **given | changes
        )

    first, second = again(), again()
    assert not first.reused and second.reused
    assert first.rows == second.rows and first.table() == second.table() and first.files == second.files
    assert share(first, "b", "external") == 1
    monkeypatch.setattr("localization.comparison.report.rendered", lambda *_: {"report.html": b"not looked at here"})
    names.write_text("".join(f"{name}\n" for name in NAMES))
    assert not again().reused
    rows = boxes.read_text().splitlines()
    boxes.write_text("\n".join([rows[0], *("{},1,1,2,2".format(row.partition(",")[0]) for row in rows[1:])]))
    changed = again()
    assert not changed.reused and share(changed, "b", "external") == 0
    np.save(maps / "000.npy", np.load(maps / "000.npy") + np.eye(60, 80, dtype=np.float32))
    assert not again().reused and again().reused
    (maps / "placement.json").write_text('{"mode": "letterbox", "size": [60, 80]}')
    assert not again().reused
    assert not again(network("letterbox")).reused
    net = network()
    net.weights["logits"]["bias"] += 1
    assert not again(net).reused
    write_photo(tmp_path / "VOC" / "JPEGImages" / "000.jpg", (60, 80), seed=99)
    assert not again().reused


def test_labels_meet_class_names_as_people_write_them_and_unknown_ones_count(tmp_path):
    """Of 8 photos labelled with what the network says, in other words, all are right; a label that is no class is
    never right, and never out of the figure."""
    data = voc(tmp_path / "VOC", n=8)
    net = network(classes=["indigo_bunting", "peacock", *NAMES[2:]])
    said = logits(net, net.preprocess(data.images)).argmax(-1)
    spelled = ["Indigo Bunting", "Peacock", *(name.upper().replace(" ", "_") for name in NAMES[2:])]

    def labelled(labels):
        annotations = tuple(replace(one, labels=(label,)) for one, label in zip(data.annotations, labels))
        return replace(data, annotations=annotations, classes=tuple(sorted(set(labels))))

    options = replace(OPTIONS, folds=2, target="label")
    every = labelled([spelled[k] for k in said])
    found = compare(net, every, methods=EDGES, options=options)
    assert found.results["accuracy"] == 1 and found.results["unknown_labels"] == 0 and not found.notes
    some = labelled(["wombat", "wombat", *(spelled[k] for k in said[2:])])
    found = compare(net, some, methods=EDGES, options=options)
    assert found.results["accuracy"] == pytest.approx(6 / 8) and found.results["unknown_labels"] == 2
    assert any("2 of 8 labels have no class" in note and "wombat" in note for note in found.notes)
    assert any(
        note.startswith("2 of 8 scored samples") and "predicted one is explained" in note for note in found.notes
    )
    assert "right on 75.0% (of all; 2 with a label that it does not know)" in found.table()
    found = compare(net, labelled(["wombat"] * 8), methods=EDGES, options=options)
    assert "accuracy" not in found.results and "right on" not in found.table()


def test_the_name_of_a_folder_decides_nothing(tmp_path):
    def rows(name):
        folder = tmp_path / name
        data = voc(folder / "VOC")
        shutil.copytree(folder / "VOC" / "JPEGImages", folder / name)
        write_boxes(folder / "rows.csv", data)
        text = (folder / "rows.csv").read_text().replace("image,", "file,").replace("\n0", "\n0")
        lines = text.splitlines()
        cells = [line.split(",") for line in lines[1:]]
        body = [",".join([f"{cell[0]}.jpg", *cell[1:], "cat"]) for cell in cells]
        (folder / name / "boxes.csv").write_text("\n".join([f"{lines[0]},label", *body]) + "\n")
        found = compare(network(), load("folder", folder / name), methods=EDGES, options=OPTIONS)
        free = {"ms_per_image", "peak_mib"}
        return [{key: value for key, value in row.items() if key not in free} for row in found.rows]

    assert rows("scenes") == rows("photos")


def test_what_readers_left_out_is_on_the_screen_the_page_and_in_the_data(tmp_path):
    folder = tmp_path / "VOC"
    voc(folder, n=10)
    write_text(folder / "Annotations" / "000.xml", "<annotation><object>")
    (folder / "JPEGImages" / "001.jpg").write_bytes(b"no photo")
    whole = (folder / "JPEGImages" / "002.jpg").read_bytes()
    (folder / "JPEGImages" / "002.jpg").write_bytes(whole[: len(whole) // 2])
    xml = (folder / "Annotations" / "003.xml").read_text()
    (folder / "Annotations" / "003.xml").write_text(xml.replace("<difficult>0", "<difficult>1"))
    data = load("voc", folder, split="trainval")
    given = {"methods": EDGES, "options": replace(OPTIONS, folds=2)}
    found = compare(network(), data, **given)
    said = "\n".join(found.notes)
    assert found.results["test"] == 6
    assert "photo cannot be read" in said and "1 objects marked difficult do not count" in said
    assert "1 of 7 photos have no box that counts" in said
    page = found.files["report.html"].decode()
    assert "What was left out" in page and all(note.split(":")[0] in page for note in found.notes)
    assert any("002" in note for note in found.results["left_out"])
    with pytest.raises(InputError, match=r"000: .*without `strict` such photos are listed and left out"):
        compare(network(), data, **given | {"options": replace(OPTIONS, folds=2, strict=True)})


def test_nothing_is_learned_from_what_is_scored(tmp_path):
    """By the photos' pixels, whatever they are called."""
    test = voc(tmp_path / "test", n=8)
    for i in range(8):  # four of the test photos under other names, and four others
        photo = tmp_path / "train" / "JPEGImages" / f"other{i}.jpg"
        write_photo(photo, (60, 80), 100 + i)
        if i < 4:
            shutil.copy(tmp_path / "test" / "JPEGImages" / f"{i:03d}.jpg", photo)
        write_text(
            tmp_path / "train" / "Annotations" / f"other{i}.xml",
            f"<annotation>{voc_object('cat', (3 + i, 4, 40, 30 + i))}</annotation>",
        )
    train = load("voc", tmp_path / "train", split="all")
    found = compare(network(), test, train, methods=EDGES, options=CompareOptions(quality=0))
    assert (found.results["train"], found.results["test"]) == (4, 8)
    assert any("is scored, so nothing is learned from it" in note for note in found.results["left_out"])
    assert any("4" in note and "nothing is learned" in note for note in found.notes)
    assert "No photo that is scored has the pixels of one that was learned from" in found.files["report.html"].decode()
    with pytest.raises(InputError, match="among those that are scored"):
        compare(network(), test, test, methods=EDGES, options=CompareOptions(quality=0))


def test_folds_learn_on_every_photo_outside_of_the_fold():
    data = load("scenes", split="test", limit=40)
    samples = gathered(NET, data, folds=5, scored=10)
    assert len(samples.test) == 10 and samples.folds == 5
    for train, test in samples.parts:
        assert len(test) == 2 and sorted([*train, *test]) == list(range(40))
    assert sorted(np.concatenate([test for _, test in samples.parts])) == samples.test.tolist()


def test_copies_of_a_photo_stay_in_one_fold(tmp_path):
    voc(tmp_path, n=6)
    for i in range(6):
        shutil.copy(tmp_path / "JPEGImages" / f"{i:03d}.jpg", tmp_path / "JPEGImages" / f"copy{i}.jpg")
        shutil.copy(tmp_path / "Annotations" / f"{i:03d}.xml", tmp_path / "Annotations" / f"copy{i}.xml")
    samples = gathered(NET, load("voc", tmp_path, split="all"), folds=3)
    for train, test in samples.parts:
        assert not set(samples.images[train]) & set(samples.images[test]) and len(test) == 4


def test_without_training_photos_the_data_are_cross_fitted_in_ten_folds(tmp_path):
    assert gathered(NET, voc(tmp_path, n=24)).folds == 10
    assert gathered(NET, voc(tmp_path / "few", n=4)).folds == 4
    with pytest.raises(InputError, match="one photo alone"):
        gathered(NET, voc(tmp_path / "one", n=1))


def test_the_page_says_which_class_is_explained_and_which_folds_map_is_drawn(tmp_path):
    data = voc(tmp_path, n=8, label="wombat")
    options = replace(OPTIONS, folds=2, routes=("Eq. 4", "heuristic"))
    found = compare(network(), data, methods=EDGES, options=options)
    page = found.files["report.html"].decode()
    assert "Each of the 2 folds has its own: shown is their mean" in page
    assert "explained: class" in page and "wombat" in page
    assert "is stretched to the input of 32x24 px" in page and "nothing is cut away" in page
    found = compare(network("crop"), data, methods=EDGES, options=replace(OPTIONS, folds=2))
    cut = found.results["cut_away"]
    assert cut["partly"] + cut["wholly"] >= 0 and "the border is cut away" not in page


def test_a_crop_that_hides_boxes_is_counted(tmp_path):
    edges = {f"{i:03d}": [voc_object("cat", (1, 5, 12 + 10 * i, 40))] for i in range(6)}
    write_voc(tmp_path, edges, (40, 120))
    data = load("voc", tmp_path, split="trainval")
    found = compare(network("crop"), data, methods=EDGES, options=replace(OPTIONS, folds=2))
    # of photos 40 x 120 the shorter side goes to 32 px, which makes them 96 wide; seen are 32 of those, 40 to 80
    assert found.results["cut_away"] == {"wholly": 3, "partly": 3}
    page = found.files["report.html"].decode()
    assert "Of the largest true boxes of the 6 test images the input hides 3 wholly and 3 in part" in page


def test_photos_without_boxes(tmp_path):
    write_photo(tmp_path / "one.png", (50, 70))
    found = compare(
        network(), load("folder", tmp_path), methods=("edges", "grad-cam"), options=CompareOptions(quality=1)
    )
    assert [row["method"] for row in found.rows] == ["edges", "grad-cam"]
    assert found.rows[0]["sparsity"] is not None and len(found.results["predictions"]) == 1
    assert "grad-cam" in found.table() and "explained: class" in found.files["report.html"].decode()
    with pytest.raises(InputError, match="no photo has a box that counts"):
        compare(network(), load("folder", tmp_path), methods=EDGES, options=OPTIONS)


@pytest.mark.slow
@pytest.mark.drawn
def test_the_result_without_a_folder(tmp_path):
    """Rows, table, notebook view and files; a second result read back from the files is the same."""
    data = voc(tmp_path / "VOC", n=8)
    seen = []
    found = compare(
        network(), data, methods=("edges", "grad-cam"), options=CompareOptions(quality=2, folds=2),
        progress=lambda *counts: seen.append(counts),
    )  # fmt: skip
    assert isinstance(found, Comparison) and not (tmp_path / "out").exists()
    assert seen[0] == (0, 16) and seen[-1] == (16, 16)
    assert [row["corloc"] for row in found.rows] == sorted((row["corloc"] for row in found.rows), reverse=True)
    assert found.table().splitlines()[0].startswith("VOC: 8 test images in 2 folds")
    html = found._repr_html_()
    assert html.count("<img") == 2 and "grad-cam" in html and "<script" not in html
    found.save(tmp_path / "out")
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {"results.json", "images.csv", "report.html", "pictures/gallery-1.png", "pictures/corloc.png"} <= files
    assert json.loads((tmp_path / "out" / "results.json").read_text())["rows"] == found.results["rows"]
    assert len(repr(found)) < 200


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"net": "vgg16"}, "net must be a Network"),
        ({"data": "folder"}, "data must be a Dataset"),
        ({"train": [1]}, "train must be a Dataset"),
        ({"methods": "edges"}, "methods must be a list of names"),
        ({"methods": ["edge"]}, "unknown method 'edge'; near it are edges; choose from all, "),
        ({"methods": []}, "methods: nothing to compare"),
        ({"options": 3}, "options must be a CompareOptions"),
        ({"progress": 3}, "progress must be a function"),
        ({"maps": {"edges": "x"}}, "maps: 'edges' is the name of something else here"),
        ({"boxes": {"mean box": "x"}}, "boxes: 'mean box' is the name of something else here"),
        ({"maps": {"a/b": "x"}}, "maps: a name must be short and without / and :"),
        ({"maps": {"mine": "x"}, "boxes": {"mine": "y"}}, "boxes: 'mine' is the name of something else here"),
        ({"maps": {"mine": "nowhere"}}, "nowhere: no such folder of maps"),
        ({"boxes": {"mine": "nowhere.csv"}}, "nowhere.csv: no such file"),
        ({"classes": 3}, "classes must be"),
    ],
)
def test_bad_arguments_are_one_sentence_and_leave_nothing(tmp_path, change, says):
    given = {
        "net": network(),
        "data": voc(tmp_path / "VOC", n=4),
        "methods": EDGES,
        "options": replace(OPTIONS, folds=2),
    }
    given |= change
    with pytest.raises(InputError, match=says.replace("(", r"\(")):
        compare(given.pop("net"), given.pop("data"), given.pop("train", None), folder=tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"folds": 1}, "folds must be a whole number of at least 2, not 1"),
        ({"folds": 2.5}, "folds must be a whole number"),
        ({"n_test": 0}, "n_test must be a whole number of at least 1"),
        ({"quality": -1}, "quality must be a whole number of at least 0"),
        ({"target": "dog"}, "target must be one of predicted, label"),
        ({"each": "photo"}, "each must be one of class, object"),
        ({"fit": "svm"}, "fit must be one of coverage, lad, flip-equivariant"),
        ({"settings": {}}, "settings must be a Options"),
        ({"occlusion_strides": (0,)}, "occlusion_strides must be a whole number of at least 1"),
        ({"occlusion_strides": 8}, "occlusion_strides must be a tuple"),
    ],
)
def test_options_out_of_range(change, says):
    with pytest.raises(InputError, match=says):
        CompareOptions(**change)


def test_maps_of_photos_that_share_an_id_are_refused(tmp_path):
    """Two data sets may call different photos alike; a map is found by the id."""
    train, test = voc(tmp_path / "train", n=6), voc(tmp_path / "test", n=6)
    for i in range(6):
        write_photo(tmp_path / "test" / "JPEGImages" / f"{i:03d}.jpg", (60, 80), seed=50 + i)
    given = {"methods": EDGES, "options": CompareOptions(quality=0)}
    compare(network(), test, train, **given)
    with pytest.raises(InputError, match="two photos are called 000"):
        compare(network(), test, train, maps={"theirs": truth(tmp_path / "maps", test)}, **given)


def test_one_map_a_photo_is_kept_or_none(tmp_path):
    objects = [voc_object("class 1", (5, 6, 30, 40)), voc_object("class 2", (41, 10, 70, 50))]
    write_voc(tmp_path / "VOC", {f"{i:03d}": objects for i in range(4)})
    data = load("voc", tmp_path / "VOC", split="trainval")
    options = CompareOptions(quality=0, folds=2, target="label", keep_maps=True)
    with pytest.raises(InputError, match="keep_maps: 000 has a map for each of its labels"):
        compare(network(), data, methods=EDGES, options=options, folder=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.drawn
def test_ten_lines_in_a_notebook(tmp_path, monkeypatch, capsys):
    """Load a folder, compare three methods, print the table, save the page: no script is asked."""
    voc(tmp_path / "VOC", n=12, label="7")
    monkeypatch.chdir(tmp_path)
    lines = """
import localization, saliency
net = saliency.load_network("scenes_cnn")
data = localization.datasets.load("voc", "VOC", split="trainval")
options = localization.CompareOptions(folds=3, quality=2)
found = localization.compare(net, data, methods=["gradient-max", "grad-cam", "edges"], options=options)
print(found.table())
found.save("page")
"""
    exec(compile(lines, "notebook", "exec"), {})
    assert "12 test images in 3 folds" in capsys.readouterr().out
    assert (tmp_path / "page" / "report.html").stat().st_size > 50_000


@pytest.mark.drawn
def test_boxes_of_another_tool_alone(tmp_path):
    """No method of ours is asked: the rows are theirs and the constant boxes'."""
    data = voc(tmp_path / "VOC", n=6)
    path = write_boxes(tmp_path / "boxes.csv", data)
    options = CompareOptions(folds=2, quality=2)
    found = compare(network(), data, methods=(), boxes={"theirs": path}, options=options, folder=tmp_path / "out")
    assert share(found, "theirs", "external") == 1 and found.results["methods"] == []
    page = (tmp_path / "out" / "report.html").read_text()
    assert "What theirs saw and learned from is not known here" in page and "The linear map learns" not in page
    assert found._repr_html_().count("<img") == 1  # of the rows; there is no map to show


def test_maps_that_say_nothing_are_misses_with_a_status(tmp_path):
    data = voc(tmp_path / "VOC", n=12, sides=(24, 20))
    folder = truth(tmp_path / "maps", data)
    np.save(folder / "000.npy", np.full((60, 80), np.nan))
    np.save(folder / "001.npy", np.zeros((60, 80)))
    found = compare(network(), data, methods=(), maps={"theirs": folder}, options=replace(OPTIONS, folds=3, quality=2))
    rows = {row["image"]: row for row in found.images if row["route"] == "heuristic"}
    assert (rows["000"]["status"], rows["001"]["status"]) == ("not finite", "constant")
    assert np.isnan([rows["000"]["x0"], rows["001"]["x0"]]).all()
    assert next(row["no_box"] for row in found.rows if row["route"] == "heuristic") == 2


@pytest.mark.slow
@pytest.mark.drawn
def test_the_linear_map_is_what_fit_coverage_gives_on_the_same_folds(tmp_path):
    """Objects of one photo stay in one fold, of the solver's own too; other routes' rows do not hang on it."""
    rng, objects = np.random.default_rng(3), {}
    for i in range(12):
        x, y = rng.integers(1, 40, 2).tolist()
        objects[f"{i:03d}"] = [
            voc_object("cat", (x, min(y, 30), x + 25, min(y, 30) + 20)),
            voc_object("dog", (x + 5, 3, x + 38, 50)),
        ]
    write_voc(tmp_path / "VOC", objects, (60, 80))
    data = load("voc", tmp_path / "VOC", split="trainval")
    folder = truth(tmp_path / "maps", data)  # of the first box, for both labels
    np.save(folder / "000.npy", np.full((60, 80), np.nan))
    np.save(folder / "001.npy", np.zeros((60, 80)))
    given = {"methods": (), "maps": {"theirs": folder}}
    options = replace(OPTIONS, folds=3, fit="coverage", routes=("linear map", "Eq. 4", "heuristic"))
    found = compare(network(), data, **given, options=options, folder=tmp_path / "out")
    other = replace(options, routes=("heuristic", "Eq. 4", "linear map"), fit="lad")
    plain = compare(network(), data, **given, options=other)

    samples = gathered(network(), data, folds=3, seed=options.settings.seed)
    maps = np.stack([np.load(folder / f"{name}.npy") for name in samples.ids]).astype(np.float32)
    known, said = samples.largest, status(maps)
    by_pixel = np.full((len(samples), 4), np.nan)
    expected, why = np.full((len(samples), 4), np.nan), np.full(len(samples), "", "<U20")
    for train, test in samples.parts:
        train = train[said[train] == "ok"]
        assert not set(samples.images[train]) & set(samples.images[test])
        fit = fit_coverage(maps[train], known[train], photos=samples.images[train])
        expected[test], why[test] = fit.predict(maps[test]), fit.status(maps[test])
        eq4 = fit_linear_map(maps[train], known[train], method="ridge", features=Features.raw())
        by_pixel[test] = np.where((said[test] == "ok")[:, None], eq4.predict(maps[test]), np.nan)
    rows = [row for row in found.images if row["route"] == "linear map" and row["method"] == "theirs"]
    assert [row["image"] for row in rows] == list(samples.ids) and len(rows) == 24
    np.testing.assert_allclose([[row[k] for k in ("x0", "y0", "x1", "y1")] for row in rows], expected, atol=2e-3)
    assert [row["status"] for row in rows] == why.tolist()
    rows = [row for row in found.images if row["route"] == "Eq. 4"]
    np.testing.assert_allclose([[row[k] for k in ("x0", "y0", "x1", "y1")] for row in rows], by_pixel, atol=2e-3)
    assert {"not finite", "constant", "ok"} <= set(why)
    own = next(row for row in found.rows if row["route"] == "linear map")
    assert own["no_box"] == np.isnan(expected).any(1).sum() >= 4
    assert {one["route"] for one in found.results["paired"]} == {"linear map", "Eq. 4", "heuristic", "none"}
    rest = [[row for row in one.rows if row["route"] != "linear map"] for one in (found, plain)]
    assert rest[0] == rest[1] and len(rest[0]) == 6
    page, text = (one.files["report.html"].decode().partition("<script")[0] for one in (found, plain))
    assert "Beside a map what the linear map reads in it" in page and "covered" not in text
    assert "the same for all places of the map. Eq. 4 learns a weight for each pixel" in page
    assert "The linear map learns a weight for each of a map&#39;s profiles" in text
    assert [name for name in found.files if "weights" in name] == ["pictures/weights-theirs-Eq. 4.png"]


def test_routes_are_those_that_are_asked_for(tmp_path):
    """Eq. 4 alone, of stacked methods too; of the heuristic alone nothing is stacked."""
    data = voc(tmp_path / "VOC", n=12)
    options = replace(OPTIONS, folds=2, stack=("edges", "centre-gaussian"), routes=("Eq. 4",))
    found = compare(network(), data, methods=options.stack, options=options)
    ours = {(row["method"], row["route"]) for row in found.rows if row["route"] != "none"}
    assert ours == {(name, "Eq. 4") for name in (*options.stack, "stacked")}
    assert found.files["report.html"]
    found = compare(network(), data, methods=options.stack, options=replace(options, routes=("heuristic",)))
    ours = {(row["method"], row["route"]) for row in found.rows if row["route"] != "none"}
    assert ours == {(name, "heuristic") for name in options.stack}


@pytest.mark.slow
def test_readers_have_boxes_by_coverage_and_no_map(tmp_path):
    """Channels by themselves, of the class, and beside the maps: what fit_coverage gives on the same folds."""
    data = voc(tmp_path / "VOC", n=14, label="class 7")
    folder = truth(tmp_path / "maps", data)
    np.save(folder / "001.npy", np.full((60, 80), np.nan))
    names = ("edges", "channels", "class channels", "channels + maps")
    options = replace(OPTIONS, folds=2, fit="coverage", target="label", quality=1, keep_maps=True)
    found = compare(
        network(), data, methods=names, maps={"theirs": folder}, options=options, folder=tmp_path / "out"
    )  # fmt: skip
    rows = {(row["method"], row["route"]): row for row in found.rows}
    assert {route for method, route in rows if "channels" in method} == {"linear map"}
    assert [rows[name, "linear map"]["backwards"] for name in names] == [0, 0, 1, None]  # of theirs nothing is known
    assert rows["channels", "linear map"]["forwards"] == 1 and rows["channels", "linear map"]["no_box"] == 0
    assert rows["channels + maps", "linear map"]["no_box"] == 1

    net = network()
    samples = gathered(net, data, folds=2, seed=options.settings.seed)
    x = samples.input(range(len(samples)))
    layers = read_channels(net, x)
    assert all(samples.targets == 7)
    by_class = read_channels(net, x, target=samples.targets)
    entry = net.preprocess
    over = [
        external_maps(folder, samples.ids, samples.sizes).over(entry, name, size)
        for name, size in zip(samples.ids, samples.sizes)
    ]
    maps = [METHODS["edges"].maps(net, x), np.stack(over).astype(np.float32)]
    for name, features in (("channels", layers), ("class channels", by_class), ("channels + maps", [*layers, *maps])):
        own = [row for row in found.images if row["method"] == name]
        for train, test in samples.parts:
            train = train[np.isfinite(features[-1][train]).all(tuple(range(1, features[-1].ndim)))]
            known, photos = samples.target_boxes(entry)[train], samples.images[train]
            fit = fit_coverage([one[train] for one in features], known, size=entry.size, photos=photos)
            expected = fit.predict([one[test] for one in features])
            boxes = [[own[i][key] for key in ("x0", "y0", "x1", "y1")] for i in test]
            scale = np.array([entry.size[1] / 80, entry.size[0] / 60] * 2)
            np.testing.assert_allclose(np.array(boxes) * scale, expected, atol=0.01)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "They read a network&#39;s features and explain nothing" in page
    assert [row["method"] for row in found.results["quality"]["rows"]] == ["edges", "theirs"]
    assert {path.name for path in (tmp_path / "out" / "maps").iterdir()} == {"edges", "theirs", "key"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"options": OPTIONS},
            "channels has no map, .* keep routes 'linear map' and fit 'coverage', or leave",
        ),
        ({"methods": ("channels + maps",)}, "channels \\+ maps reads the maps of other methods too: name one"),
        ({"layers": ("relu9",)}, "has no layer 'relu9'"),
    ],
)
def test_readers_that_do_not_suit_are_refused(tmp_path, change, says):
    options = change.get("options", CompareOptions(folds=2, quality=0, layers=change.get("layers", ())))
    with pytest.raises(InputError, match=says):
        compare(
            network(), voc(tmp_path / "VOC", n=4), methods=change.get("methods", ("channels",)), options=options,
            folder=tmp_path / "out",
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_readers_without_boxes_are_left_out_and_said(tmp_path):
    write_photo(tmp_path / "one.png", (50, 70))
    options = CompareOptions(quality=0)
    found = compare(network(), load("folder", tmp_path), methods=("edges", "channels"), options=options)
    assert [row["method"] for row in found.rows] == ["edges"]
    assert found.notes == ["channels: left out, for there is no box to learn from"]


@pytest.mark.slow
def test_what_is_learned_elsewhere_is_carried_over(tmp_path):
    """Bundles of one comparison, of a map, of stacked maps, of channels and of channels beside maps, in another."""
    first, second = voc(tmp_path / "first", n=14), voc(tmp_path / "second", n=10, sides=(24, 20))
    for i in range(10):
        write_photo(tmp_path / "second" / "JPEGImages" / f"{i:03d}.jpg", (60, 80), seed=70 + i)
    names = ("edges", "centre-gaussian", "channels", "channels + maps")
    options = CompareOptions(folds=2, quality=0, stack=("edges", "centre-gaussian"), routes=("linear map",))
    kept = compare(
        network(), first, methods=names, options=replace(options, keep_bundles=True), folder=tmp_path / "out"
    )
    paths = [tmp_path / "out" / "bundles" / f"{name}.safetensors" for name in (*names, "stacked")]
    assert sorted((tmp_path / "out" / "bundles").iterdir()) == sorted(paths) and set(kept.bundles) == {
        *names,
        "stacked",
    }
    samples = gathered(network(), first, folds=2, seed=0)
    maps = METHODS["edges"].maps(network(), samples.input(range(14)))
    known = samples.target_boxes(network().preprocess)
    expected = fit_coverage(maps, known, photos=samples.images)  # of both folds
    np.testing.assert_array_equal(kept.bundles["edges"].solution, expected.solution)

    found = compare(network(), second, methods=("edges", "centre-gaussian"), bundles=paths, options=options)
    rows = {(row["method"], row["route"]): row for row in found.rows}
    assert {label for label in rows if label[1] == "from first"} == {
        (name, "from first") for name in (*names, "stacked")
    }
    x, sizes = gathered(network(), second, folds=2, seed=0).input(range(10)), np.array([80 / 32, 60 / 24] * 2)
    own = [METHODS[name].maps(network(), x) for name in ("edges", "centre-gaussian")]
    layers = read_channels(network(), x)
    features = (own[0], own[1], layers, [*layers, *own], own)
    for name, one in zip((*names, "stacked"), features):
        boxes = [row for row in found.images if (row["method"], row["route"]) == (name, "from first")]
        boxes = np.array([[row[key] for key in ("x0", "y0", "x1", "y1")] for row in boxes])
        np.testing.assert_allclose(boxes, kept.bundles[name].predict(one) * sizes, atol=0.01)
    stated = {(one["method"], one["against"]): one for one in found.results["carried"]}
    assert set(stated) == {(name, "median box, none") for name in (*names, "stacked")} | {
        (name, f"{name}, linear map") for name in ("edges", "centre-gaussian", "stacked")
    }
    one = stated["edges", "edges, linear map"]
    assert one["difference"] == pytest.approx(
        rows["edges", "from first"]["corloc"] - rows["edges", "linear map"]["corloc"]
    )
    assert "without one box of this one" in found.files["report.html"].decode()
    assert found.table().count("from first") == 5

    with pytest.raises(InputError, match=r"edges.safetensors: was learned from maps of edges, which is not compared"):
        compare(network(), second, methods=("random",), bundles=paths[:1], options=options)
    with pytest.raises(InputError, match="bundles: two are of the same features and data set"):
        compare(network(), second, methods=("edges",), bundles=paths[:1] * 2, options=options)
    with pytest.raises(InputError, match="bundles must be a list of paths"):
        compare(network(), second, methods=("edges",), bundles=str(paths[0]), options=options)
    with pytest.raises(InputError, match="fitted to features of preprocessing"):
        compare(network("letterbox"), second, methods=("edges",), bundles=paths[:1], options=options)
    expected.save(tmp_path / "silent.safetensors")
    with pytest.raises(InputError, match="a bundle to compare is a coverage map that says what it was learned from"):
        compare(network(), second, methods=("edges",), bundles=[tmp_path / "silent.safetensors"], options=options)
    with pytest.raises(InputError, match="keep_bundles keeps what coverage has learned"):
        CompareOptions(keep_bundles=True, fit="lad")
