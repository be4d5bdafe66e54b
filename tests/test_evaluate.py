import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from localization import Features, fit_coverage, fit_linear_map, protocols
from localization.boxes import iou
from localization.channels import read_channels
from localization.datasets import load, scenes
from localization.detection import average_precision, recall_at
from localization.evaluation import EvaluationOptions, cropped_away, evaluate
from localization.protocols import Samples
from localization.report import tables
from localization.transforms import pooled
from saliency import load_network
from saliency.errors import InputError
from saliency.methods import METHODS
from saliency.methods import Options as MethodOptions
from saliency.models.preprocessing import Preprocessing
from saliency.report import plain
from saliency.scores import predicted
from scripts import cli
from scripts.evaluate import Options, main
from tests.devkits import voc_object, write_imagenet, write_photo, write_text, write_voc

pytestmark = pytest.mark.usefixtures("composed")


@pytest.fixture
def devkit(tmp_path):
    """Ten photos for training and ten for test; cats grow to the right, dogs downwards, one of each a photo."""
    folder = tmp_path / "VOC2007"
    for split, first in (("trainval", 0), ("test", 10)):
        objects = {
            f"{i:03d}": [
                voc_object("cat", (1, 1, 21 + 2 * (i % 10), 30)),
                voc_object("dog", (41, 11, 60, 21 + 2 * (i % 10))),
                voc_object("dog", (61, 1, 80, 10), difficult=True),
            ]
            for i in range(first, first + 10)
        }
        write_voc(folder, objects, split=split)
    return folder


def command(**options) -> int:
    """The script's main with these options, as it reads them from a command line."""
    words = ["--quiet"]
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(option if value else f"--no-{name.replace('_', '-')}")
        else:
            words += [option, *map(str, value if isinstance(value, tuple) else [value])]
    return main(cli.parse(Options, words))


def run(devkit, tmp_path, **options) -> dict:
    given = {"dataset": "voc", "data_root": devkit, "split": "test", "out": tmp_path / "out"}
    if "several" not in options and "channels" not in options.get("method", ""):
        given["route"] = "Eq. 4"  # the quickest
    assert command(**given | options) == 0
    return json.loads((tmp_path / "out" / "results.json").read_text())


def write_boxes(path, rows):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label", "x0", "y0", "x1", "y1"])
        writer.writerows(rows)


@pytest.mark.drawn
def test_boxes_of_a_csv(devkit, tmp_path, capsys):
    # all cats found exactly but one that is missing; every dog's box is the cat's
    rows = [(f"{i:03d}", "cat", 0, 0, 21 + 2 * (i % 10), 30) for i in range(10, 19)]
    rows += [(f"{i:03d}", "dog", 0, 0, 30, 30) for i in range(10, 20)]
    write_boxes(tmp_path / "mine.csv", rows)
    results = run(devkit, tmp_path, train_split="trainval", boxes=tmp_path / "mine.csv")
    mine = results["rows"][-1]
    assert mine["method"] == "mine"
    assert mine["figure"]["value"] == 0.45 and mine["figure"]["missing"] == 1  # (9/10 + 0/10) / 2
    assert {name: figure["value"] for name, figure in mine["classes"].items()} == {"cat": 0.9, "dog": 0.0}
    assert [row["method"] for row in results["rows"][:-1]] == [
        *("mean box", "median box", "class mean box", "centre box", "full photo"),
    ]
    paired = next(row for row in results["paired"] if row["against"] == "full photo")
    assert paired["mcnemar"] == {"p": 2 / 2**9, "only_first": 9, "only_second": 0}
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"results.json", "report.html", "images.csv", "table.csv", "table.md", "table.tex", "pictures"}
    with open(tmp_path / "out" / "images.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 6 * 20 and sum(line["correct"] == "True" for line in lines if line["method"] == "mine") == 9
    assert "mine" in capsys.readouterr().out


def test_a_folder_removed_under_the_run_is_told(devkit, tmp_path, monkeypatch):
    def removing(*rows):
        shutil.rmtree(tmp_path / "out")
        return markdown(*rows)

    markdown = tables.markdown
    monkeypatch.setattr(tables, "markdown", removing)
    with pytest.raises(InputError, match=r"images.csv: was removed while the run went on; run the same command again"):
        run(devkit, tmp_path)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"table.md", "table.tex"}


def test_small_boxes_by_themselves(devkit, tmp_path, capsys):
    """Photos of 80 x 60, so small is below 2,400: all but one of the dogs, which are 20 wide, and the cats, 30 high."""
    write_voc(devkit, {"010": [voc_object("dog", (1, 1, 80, 31)), voc_object("cat", (1, 1, 10, 10))]}, split="odd")
    write_text(devkit / "ImageSets" / "Main" / "test.txt", "".join(f"{i:03d}\n" for i in range(10, 20)))
    rows = [("010", "dog", 0, 0, 80, 31), ("010", "cat", 0, 0, 80, 60), ("011", "dog", 40, 10, 60, 23)]
    write_boxes(tmp_path / "mine.csv", rows)
    results = run(devkit, tmp_path, boxes=tmp_path / "mine.csv")
    assert (results["samples"], results["small_samples"]) == (20, 19)
    full, mine = results["rows"]
    assert full["figure"]["value"] == 0.05 and full["small"]["value"] == 0  # the large dog: (1/10 + 0/10) / 2
    assert mine["figure"]["value"] == 0.1  # two dogs of ten and no cat
    assert mine["small"]["value"] == pytest.approx((1 / 9 + 0 / 10) / 2) and mine["small"]["n"] == 19
    (paired,) = results["paired"]
    assert paired["small"]["value"] == pytest.approx(1 / 18) and paired["difference"]["value"] == pytest.approx(0.05)
    said = capsys.readouterr().out
    assert "mine minus full photo: +5.0 [" in said and "; small +5.6 [" in said
    assert "| small | its 95% interval |" in (tmp_path / "out" / "table.md").read_text()


def test_class_mean_box_by_hand(devkit, tmp_path):
    results = run(devkit, tmp_path, train_split="trainval")
    row = next(row for row in results["rows"] if row["method"] == "class mean box")
    cats = np.array([[0, 0, 21 + 2 * i, 30] for i in range(10)])
    dogs = np.array([[40, 10, 60, 21 + 2 * i] for i in range(10)])
    expected = [float((iou(boxes.mean(0), boxes) > 0.5).mean()) for boxes in (cats, dogs)]
    assert [figure["value"] for figure in row["classes"].values()] == expected


def test_maps_of_another_tool(devkit, tmp_path):
    """Maps that are bright on the cat alone: half of the samples can be hit, through the heuristic and MaxBoxAcc."""
    for i in range(20):
        map = np.zeros((30, 40), np.float32)
        map[:15, : round((21 + 2 * (i % 10)) / 2)] = 1
        (tmp_path / "maps").mkdir(exist_ok=True)
        np.save(tmp_path / "maps" / f"{i:03d}.npy", map)
    given = {"maps": tmp_path / "maps", "train_split": "trainval"}
    for protocol in ("maxboxacc", "wsol"):
        figures = run(devkit, tmp_path, protocol=protocol, **given)["figures"]
        assert {name: figure["value"] for name, figure in figures.items()} == {
            "oracle threshold": 0.5,
            "threshold from training photos": 0.5,
        }
    row = run(devkit, tmp_path, route="heuristic", **given)["rows"][-1]
    assert row["classes"]["cat"]["value"] > 0.5 and row["classes"]["dog"]["value"] == 0


@pytest.mark.slow
def test_a_network_end_to_end(tmp_path):
    """The differences and images.csv count as the figures do: with the class, which was left out of both."""
    assert command(limit=60, network="scenes_cnn", protocol="top1-loc", out=tmp_path) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    figures = {row["method"]: row["figure"] for row in results["rows"]}
    assert [*figures][-1] == "gradient-max" and figures["gradient-max"]["n"] == 60
    assert 0 < figures["gradient-max"]["value"] < results["class_accuracy"]["value"] < 1
    for row in results["paired"]:
        expected = figures[row["method"]]["value"] - figures[row["against"]]["value"]
        assert row["difference"]["value"] == pytest.approx(expected)
    with open(tmp_path / "images.csv", newline="") as file:
        correct = [line["correct"] == "True" for line in csv.DictReader(file) if line["method"] == "gradient-max"]
    assert np.mean(correct) == figures["gradient-max"]["value"]
    assert "Maps became boxes by a linear map" in (tmp_path / "report.html").read_text()


def test_a_saved_linear_map(tmp_path):
    train = scenes("train", 12)
    net = load_network("scenes_cnn")
    maps = METHODS["gradient-max"].maps(net, net.preprocess(train.images))
    linear = fit_linear_map(maps, train.boxes, method="ridge", source={"method": "gradient-max"})
    linear.save(tmp_path / "linear.safetensors")
    options = {"limit": 10, "network": "scenes_cnn", "bundle": tmp_path / "linear.safetensors"}
    assert command(**options, out=tmp_path / "out") == 0
    test = scenes("test", 10)
    expected = linear.predict(METHODS["gradient-max"].maps(net, net.preprocess(test.images)))
    with open(tmp_path / "out" / "images.csv", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["method"] == "gradient-max"]
    assert np.allclose([[float(line[k]) for k in ("x0", "y0", "x1", "y1")] for line in lines], expected, atol=2e-3)
    row = json.loads((tmp_path / "out" / "results.json").read_text())["rows"][-1]
    assert row["method"] == "gradient-max"  # the bundle's, though the protocol has no say in it
    with pytest.raises(InputError, match="fitted to maps of method 'gradient-max'"):
        command(**options, method="gestalt-max", out=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_stacked_linear_map_says_how_its_maps_are_made(tmp_path):
    """Scenes of 96 px at 64, the maps of two methods; neither is named to evaluate."""
    net = load_network("scenes_cnn")
    net.preprocess = net.preprocess.changed("stretch", 64)

    def maps(photos):
        return np.stack([METHODS[name].maps(net, net.preprocess(photos)) for name in ("edges", "centre-gaussian")], 1)

    train, test = scenes("train", 12), scenes("test", 8)
    source = plain({"method": "edges+centre-gaussian", "preprocessing": net.preprocess.record()})
    source["options"] = plain([MethodOptions(), MethodOptions(patch=(8, 16))])
    linear = fit_linear_map(
        maps(train.images), train.boxes * 64 / 96, method="ridge", features=Features.raw((4, 4)), source=source
    )
    linear.save(tmp_path / "linear.safetensors")
    options = {"limit": 8, "network": "scenes_cnn", "bundle": tmp_path / "linear.safetensors", "out": tmp_path}
    assert command(**options) == 0
    with open(tmp_path / "images.csv", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["method"] == source["method"]]
    found = [[float(line[k]) for k in ("x0", "y0", "x1", "y1")] for line in lines]
    np.testing.assert_allclose(found, linear.predict(maps(test.images)) * 96 / 64, atol=2e-3)
    replace(linear, source={**source, "options": [{}]}).save(tmp_path / "linear.safetensors")
    with pytest.raises(InputError, match="does not say how its maps were made"):
        command(**options)


def boxes_in(folder, method):
    with open(folder / "images.csv", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["method"] == method]
    return np.array([[float(line[k] or "nan") for k in ("x0", "y0", "x1", "y1")] for line in lines])


@pytest.mark.slow
@pytest.mark.drawn
def test_a_saved_coverage_map(tmp_path):
    """Scenes of 96 px at 64 x 48, boxes learned in shares of the photo: all are told from the file alone."""
    net = load_network("scenes_cnn")
    net.preprocess = replace(net.preprocess.changed("stretch"), size=(48, 64))

    def maps(photos):
        return [METHODS[name].maps(net, net.preprocess(photos)) for name in ("edges", "gradient-max")]

    train, test = scenes("train", 40), scenes("test", 8)
    source = plain({"method": "edges+gradient-max", "preprocessing": net.preprocess.record(), "options": {}})
    source["options"] = [plain(MethodOptions())] * 2
    fit = fit_coverage(maps(train.images), train.boxes / 96, size=(1, 1), source=source)
    path = tmp_path / "coverage.safetensors"
    fit.save(path)
    options = {"limit": 8, "network": "scenes_cnn", "bundle": path, "out": tmp_path / "out"}
    assert command(**options) == 0
    np.testing.assert_allclose(
        boxes_in(tmp_path / "out", "edges+gradient-max"), fit.predict(maps(test.images)) * 96, atol=2e-3
    )
    with pytest.raises(InputError, match=r"fitted to features of method 'edges\+gradient-max'"):
        command(**options | {"method": "gradient-max+edges", "out": tmp_path / "other"})
    with pytest.raises(InputError, match="fitted to features of 48x64, 48x64 and cannot be applied to 48x64"):
        command(**options | {"method": "edges", "out": tmp_path / "other"})
    features = [np.random.default_rng(0).random((40, 6, 6, 3)), maps(train.images)[0]]
    fit_coverage(features, train.boxes / 96, size=(1, 1)).save(path)
    with pytest.raises(InputError, match="--bundle: a coverage map of features 6x6x3, 48x64 cannot be applied to maps"):
        command(**options | {"out": tmp_path / "other"})
    assert not (tmp_path / "other").exists()


def test_what_coverage_learned_decides_the_hash_of_the_inputs(tmp_path):
    train, net = scenes("train", 30), load_network("scenes_cnn")
    maps = METHODS["edges"].maps(net, net.preprocess(train.images))
    fit = fit_coverage(maps, train.boxes, source={"method": "edges"})
    fit.save(tmp_path / "coverage.safetensors")

    def digest(linear):
        return evaluate(load("scenes", split="test", limit=4), net=net, linear=linear).results["inputs"]

    assert digest(fit) == digest(tmp_path / "coverage.safetensors") == digest(str(tmp_path / "coverage.safetensors"))
    assert digest(fit) != digest(replace(fit, solution=fit.solution * 1.01))
    assert digest(fit) != digest(replace(fit, correction=replace(fit.correction, best=0 if fit.correction.best else 1)))


@pytest.mark.slow
def test_coverage_learned_in_folds_is_what_fit_coverage_gives(devkit, tmp_path):
    """Two maps of a photo show its cat; photo 011 shows what 010 shows, and its map says nothing."""
    shutil.copy(devkit / "JPEGImages" / "010.jpg", devkit / "JPEGImages" / "011.jpg")
    (tmp_path / "maps").mkdir()
    for i in range(10, 20):
        map = np.zeros((30, 40), np.float32)
        map[:15, : round((21 + 2 * (i % 10)) / 2)] = i != 11
        np.save(tmp_path / "maps" / f"{i:03d}.npy", map)
    row = run(devkit, tmp_path, maps=tmp_path / "maps", folds=4, route="linear map")["rows"][-1]
    found = boxes_in(tmp_path / "out", "maps")

    data = load("voc", devkit, split="test")
    read = data.decodable()
    assert read.hashes[0] == read.hashes[1] and len(set(read.hashes)) == 9
    samples = protocols.samples(data)
    number = {one: k for k, one in enumerate(sorted(set(read.hashes)))}
    alike = np.array([number[read.hashes[i]] for i in samples.images])
    maps = np.stack([np.load(tmp_path / "maps" / f"{data.annotations[i].source}.npy") for i in samples.images])
    says = maps.any((1, 2))
    fold = np.random.default_rng(0).permutation(np.arange(9) % 4)[alike]
    expected = np.full((len(samples), 4), np.nan)
    for k in range(4):
        own = (fold != k) & says
        fit = fit_coverage(maps[own], samples.largest[own] / 2, photos=alike[own])
        expected[fold == k] = fit.predict(maps[fold == k]) * 2
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert row["figure"]["missing"] == np.isnan(expected).any(1).sum() >= 2


@pytest.mark.slow
def test_coverage_learned_on_another_split_is_what_fit_coverage_gives(tmp_path):
    method = "edges+gradient-max"
    net, train, test = load_network("scenes_cnn"), load("scenes", split="train"), load("scenes", split="test", limit=10)
    train = train.select(range(40))
    result = evaluate(test, net=net, train=train, options=EvaluationOptions(route="linear map", method=method))

    def maps(data):
        x = net.preprocess([data.images[i] for i in range(len(data))])
        own = [METHODS[name].maps(net, x) for name in ("edges", "gradient-max")]
        return [pooled(one.astype(np.float32), (56, 56)) for one in own]

    boxes = np.concatenate([one.boxes for one in train.annotations]) * 56 / 96
    alike = np.unique(train.decodable().hashes, return_inverse=True)[1]
    expected = fit_coverage(maps(train), boxes, photos=alike).predict(maps(test)) * 96 / 56
    assert result.found[method].shape == (10, 4)
    np.testing.assert_allclose(result.found[method], expected, atol=0.01)


def test_boxes_that_a_crop_removed_are_counted():
    net = load_network("scenes_cnn")
    net.preprocess = Preprocessing((96, 96), mode="crop", shorter=96)
    data = load("scenes", limit=2)
    wide = replace(data, annotations=tuple(replace(a, size=(96, 400)) for a in data.annotations))
    true = (np.array([[0.0, 0, 90, 50]]), np.array([[0.0, 0, 90, 50], [150, 0, 200, 50]]))  # 152..248 is seen
    assert cropped_away(net, wide, Samples(np.array([0, 1]), ("0", "1"), true)) == 1


def test_check_says_what_was_repaired(devkit, tmp_path, capsys):
    write_voc(devkit, {"090": [voc_object("cat", (70, 1, 99, 30))]}, split="odd")
    assert command(dataset="voc", data_root=devkit, split="odd", check=True, out=tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "VOC2007 odd: 1 photos, 1 objects" in said
    assert "    090: box beyond the border: cat (repaired)" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_paper_voc07_with_a_network(devkit, tmp_path):
    """One sample an object, difficult ones left out: 20 learned from, 20 scored, by Gestalt maps."""
    given = {"protocol": "paper-voc07", "train_split": "trainval", "network": "scenes_cnn"}
    results = run(devkit, tmp_path, **given)
    assert (results["photos"], results["samples"], results["cropped_away"]) == (10, 20, 0)
    row = results["rows"][-1]
    assert row["method"] == "gestalt-max" and row["figure"]["n"] == 20 and row["figure"]["missing"] == 0
    assert row["figure"]["value"] == np.mean([figure["value"] for figure in row["classes"].values()])
    assert results["published"] == []  # other classes than the paper's
    assert "class_accuracy" not in results  # no label is a class of the network
    data, net = load("voc", devkit, split="trainval"), load_network("scenes_cnn")
    net.preprocess = net.preprocess.changed("stretch")
    learned, scored = (protocols.samples(one, "object") for one in (data, load("voc", devkit, split="test")))

    def maps(split, of):
        images = load("voc", devkit, split=split).images
        own = METHODS["gestalt-max"].maps(net, net.preprocess([images[i] for i in of.images]))
        return pooled(own, (56, 56))

    sizes = np.array([one.size for one in data.annotations])[learned.images][:, [1, 0, 1, 0]]
    fit = fit_linear_map(
        maps("trainval", learned), learned.largest / sizes * 56, method="ridge", features=Features.raw()
    )
    sizes = np.array([one.size for one in load("voc", devkit, split="test").annotations])[scored.images][
        :, [1, 0, 1, 0]
    ]
    expected = fit.predict(maps("test", scored)) / 56 * sizes
    np.testing.assert_allclose(boxes_in(tmp_path / "out", "gestalt-max"), expected, atol=0.02)


def test_paper_imagenet_with_a_network(tmp_path):
    """40 training photos of a CLS-LOC tree: 30 to learn from, 6 to score."""
    names = [f"n{1 + i % 2:08d}/n{1 + i % 2:08d}_{i}" for i in range(40)]
    write_imagenet(tmp_path, {name: (1 + i, 1, 50, 20 + i % 15) for i, name in enumerate(names)})
    write_text(tmp_path / "wnids.txt", "n00000001\nn00000002\n")
    given = {"dataset": "imagenet", "protocol": "paper-imagenet", "split": "train", "only": tmp_path / "wnids.txt"}
    results = run(tmp_path, tmp_path, network="scenes_cnn", **given)
    assert results["photos"] == 6
    row = results["rows"][-1]
    assert row["method"] == "gradient-mean" and row["figure"]["n"] == 6 and row["figure"]["missing"] == 0
    paper = "Sensitivity maps (Fast Object Localization)"
    assert [published[0] for published in results["published"]][-1] == paper
    assert f"{paper} (published) | 68.8 |" in (tmp_path / "out" / "table.md").read_text()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"protocol": "voc"}, "--protocol must be one of corloc"),
        ({"protocol": "wsol"}, "--protocol wsol scores maps: give --maps or --network"),
        ({"protocol": "top1-loc"}, "--protocol top1-loc needs --network"),
        ({"network": "scenes_cnn", "boxes": "x.csv"}, "--boxes and --network exclude each other"),
        ({"bundle": "x"}, "--bundle needs --network"),
        ({"map_size": (8, 0)}, "--map-size must be a whole number of at least 1, not 0"),
        ({"method": "magic"}, "unknown method 'magic'"),
        ({"method": "cam+magic"}, "unknown method 'magic'"),
        ({"method": "cam+edges", "route": "heuristic"}, "only a linear map takes several methods"),
        ({"network": "scenes_cnn"}, "nothing to learn boxes from"),
        ({"network": "scenes_cnn", "protocol": "gt-known", "train_split": "trainval"}, "scenes_cnn has no class 'cat'"),
    ],
)
def test_errors(devkit, tmp_path, options, says):
    with pytest.raises(InputError, match=says):
        run(devkit, tmp_path, **options)
    assert not (tmp_path / "out").exists()


def test_errors_of_files(devkit, tmp_path):
    write_text(tmp_path / "a.csv", "image,x0\n1,2\n")
    with pytest.raises(InputError, match="must have the columns image, x0, y0, x1, y1"):
        run(devkit, tmp_path, boxes=tmp_path / "a.csv")
    write_boxes(tmp_path / "b.csv", [("999", "cat", 0, 0, 1, 1)])
    with pytest.raises(InputError, match="names none of the 10 photos, such as '010'"):
        run(devkit, tmp_path, boxes=tmp_path / "b.csv")
    given = {"maps": tmp_path, "train_split": "trainval", "protocol": "maxboxacc"}
    with pytest.raises(InputError, match=r"holds no 010\.npy or \.npz; every image needs a map of its name"):
        run(devkit, tmp_path, **given)
    for i in range(20):
        np.save(tmp_path / f"{i:03d}.npy", np.zeros((30, 40)))
    np.save(tmp_path / "010.npy", np.zeros((2, 2, 3)))
    with pytest.raises(InputError, match="a map must be numbers"):
        run(devkit, tmp_path, **given)
    write_text(tmp_path / "010.npy", "text")
    with pytest.raises(InputError, match=r"not a readable \.npy"):
        run(devkit, tmp_path, **given)


def test_tables():
    columns, rows = ["method", "a|b_%"], [["x & y", 12.345], ["none", None]]
    assert tables.text(columns, rows) == "method  a|b_%\nx & y    12.3\nnone"
    assert tables.markdown(columns, rows) == "| method | a\\|b_% |\n| --- | ---: |\n| x & y | 12.3 |\n| none |  |\n"
    assert r"method & a|b\_\% \\" in tables.latex(columns, rows) and r"x \& y & 12.3 \\" in tables.latex(columns, rows)
    assert tables.comma_separated(columns, rows) == "method,a|b_%\nx & y,12.3\nnone,\n"


def test_folds_learn_where_there_is_no_other_split(devkit, tmp_path, capsys):
    """Against the class mean box of the other folds, by hand; the five photos of a fold never teach themselves."""
    results = run(devkit, tmp_path, folds=2)
    assert results["training"] == {"folds": 2} and results["samples"] == 20
    data = load("voc", devkit, split="test")
    easy = [annotation.only(~annotation.difficult) for annotation in data.annotations]
    boxes = {(a.source, label): box for a in easy for label, box in zip(a.labels, a.boxes)}
    with open(tmp_path / "out" / "images.csv", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["method"] == "class mean box"]
    boxes_said = {(line["image"], line["label"]): [float(line[k]) for k in ("x0", "y0", "x1", "y1")] for line in lines}
    of_fold = {}
    for (source, label), box in boxes_said.items():
        of_fold.setdefault((label, tuple(box)), []).append(source)
    assert sorted(map(len, of_fold.values())) == [5, 5, 5, 5]
    for (label, box), own in of_fold.items():
        others = [boxes[f"{i:03d}", label] for i in range(10, 20) if f"{i:03d}" not in own]
        np.testing.assert_allclose(box, np.mean(others, 0), atol=1e-3)
    assert (
        "Learned in 2 folds: each photo is scored by what the photos of the others taught." in capsys.readouterr().out
    )


def test_folds_of_thresholds_and_of_linear_maps(devkit, tmp_path):
    for i in range(10, 20):
        map = np.zeros((30, 40), np.float32)
        map[:15, : round((21 + 2 * (i % 10)) / 2)] = 1
        (tmp_path / "maps").mkdir(exist_ok=True)
        np.save(tmp_path / "maps" / f"{i:03d}.npy", map)
    figures = run(devkit, tmp_path, maps=tmp_path / "maps", protocol="maxboxacc", folds=5)["figures"]
    assert {name: figure["value"] for name, figure in figures.items()} == {
        "oracle threshold": 0.5,
        "threshold from other folds": 0.5,
    }
    row = run(devkit, tmp_path, maps=tmp_path / "maps", folds=5, route="heuristic")["rows"][-1]
    assert row["method"] == "maps" and row["figure"]["missing"] == 0 and row["classes"]["cat"]["value"] > 0.5


@pytest.mark.slow
def test_maps_of_photos_of_several_sizes(tmp_path, rng):
    """Each map is its photo's true box, in its photo's pixels: what is learned from them finds all, in folds too."""
    lines = ["file,x0,y0,x1,y1,label"]
    for i in range(24):
        width, height = (int(side) for side in rng.integers(50, 120, 2))
        write_photo(tmp_path / "photos" / f"{i:02d}.png", (height, width), i)
        x0, y0 = int(rng.integers(0, width // 2)), int(rng.integers(0, height // 2))
        x1, y1 = int(rng.integers(x0 + 15, width)), int(rng.integers(y0 + 15, height))
        lines.append(f"{i:02d}.png,{x0},{y0},{x1},{y1},thing")
        map = np.zeros((height, width), np.float32)
        map[y0:y1, x0:x1] = 1
        (tmp_path / "maps").mkdir(exist_ok=True)
        np.save(tmp_path / "maps" / f"{i:02d}.npy", map)
    write_text(tmp_path / "photos" / "boxes.csv", "\n".join(lines) + "\n")
    data = load("folder", tmp_path / "photos")
    given = {"maps": tmp_path / "maps"}
    figures = evaluate(data, **given, options=EvaluationOptions("maxboxacc")).results["figures"]
    assert figures["oracle threshold"].value == 1
    for route, least in (("heuristic", 0.9), ("linear map", 0.9)):
        row = evaluate(data, **given, options=EvaluationOptions(folds=4, route=route)).results["rows"][-1]
        assert row["figure"].value >= least


def test_what_is_scored_is_not_learned_from(devkit, tmp_path, capsys):
    """The training split holds three of the test photos under other names: the figures are those without them."""
    apart = run(devkit, tmp_path, train_split="trainval")["rows"]
    for i in range(3):
        shutil.copy(devkit / "JPEGImages" / f"01{i}.jpg", devkit / "JPEGImages" / f"copy{i}.jpg")
        shutil.copy(devkit / "Annotations" / f"01{i}.xml", devkit / "Annotations" / f"copy{i}.xml")
    lists = devkit / "ImageSets" / "Main"
    write_text(lists / "mixed.txt", (lists / "trainval.txt").read_text() + "copy0\ncopy1\ncopy2\n")
    capsys.readouterr()
    results = run(devkit, tmp_path, train_split="mixed")
    assert results["rows"] == apart and results["training"]["photos"] == 10
    said = capsys.readouterr().out
    assert "Learned on 10 photos of VOC2007 mixed, none of which is scored." in said
    assert "left out      3  is scored, so nothing is learned from it, first in copy0" in said
    page = (tmp_path / "out" / "report.html").read_text()
    assert "is scored, so nothing is learned from it" in page and "none of which is scored" in page
    with pytest.raises(InputError, match="each of its 10 photos is among those that are scored"):
        run(devkit, tmp_path, train_split="test")


def test_folds_keep_photos_that_show_the_same_together(devkit, tmp_path):
    for i in range(10, 20):
        shutil.copy(devkit / "JPEGImages" / f"{i:03d}.jpg", devkit / "JPEGImages" / f"{i + 100}.jpg")
        shutil.copy(devkit / "Annotations" / f"{i:03d}.xml", devkit / "Annotations" / f"{i + 100}.xml")
    write_text(devkit / "ImageSets" / "Main" / "twice.txt", "".join(f"{i:03d}\n{i + 100}\n" for i in range(10, 20)))
    run(devkit, tmp_path, split="twice", folds=3)
    with open(tmp_path / "out" / "images.csv", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["method"] == "class mean box"]
    said = {(line["image"], line["label"]): (line["x0"], line["y0"], line["x1"], line["y1"]) for line in lines}
    for (image, label), box in said.items():
        if len(image) == 3 and image < "100":
            assert said[str(int(image) + 100), label] == box
    with pytest.raises(InputError, match="--folds must be at most the 10 photos with boxes that count, not 11"):
        run(devkit, tmp_path, split="twice", folds=11)


def test_a_truncated_photo_is_listed_and_the_run_goes_on(devkit, tmp_path, capsys):
    path = devkit / "JPEGImages" / "013.jpg"
    path.write_bytes(path.read_bytes()[:-300])
    results = run(devkit, tmp_path, network="scenes_cnn", train_split="trainval")
    assert results["photos"] == 9 and results["samples"] == 18
    assert any("013.jpg" in note and "photo cannot be read" in note for note in results["notes"])
    said = capsys.readouterr().out
    assert "left out      1  photo cannot be read, first in 013" in said
    assert "photo cannot be read" in (tmp_path / "out" / "report.html").read_text()
    assert command(dataset="voc", data_root=devkit, split="test", check=True) == 0
    assert "013: photo cannot be read" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"013\.jpg: damaged image"):
        run(devkit, tmp_path, network="scenes_cnn", train_split="trainval", strict=True)


def test_labels_meet_class_names_as_people_write_them(devkit, tmp_path, capsys):
    """Labels "Cat" and "big dog" against "cat" and "big_dog": top-1 is of all samples, unknown labels are counted."""
    for path in (devkit / "Annotations").iterdir():
        path.write_text(path.read_text().replace("<name>cat<", "<name>Cat<").replace("<name>dog<", "<name>big dog<"))
    names = ["cat", "big_dog", *"cdefghij"]
    write_text(tmp_path / "names.txt", "\n".join(names) + "\n")
    given = {"network": "scenes_cnn", "protocol": "top1-loc", "train_split": "trainval"}
    results = run(devkit, tmp_path, classes=tmp_path / "names.txt", **given)
    net, data = load_network("scenes_cnn"), load("voc", devkit, split="test")
    said = predicted(net, net.preprocess(list(data.images)))
    assert results["class_accuracy"]["value"] == np.mean([said == 0, said == 1])
    same = run(devkit, tmp_path, classes=tmp_path / "names.txt", **given | {"protocol": "corloc"})
    assert same["class_accuracy"] == results["class_accuracy"]  # stated with every figure of that entry
    assert results["class_accuracy"]["n"] == 20 and results["labels"] == ""
    names[1] = "wolf"
    write_text(tmp_path / "names.txt", "\n".join(names) + "\n")
    capsys.readouterr()
    results = run(devkit, tmp_path, classes=tmp_path / "names.txt", **given)
    assert results["class_accuracy"]["value"] == np.mean(said == 0) / 2 and results["class_accuracy"]["n"] == 20
    assert "10 of 20 labels have no class: 1 no class of the network (big dog)" in capsys.readouterr().out


def test_the_page_says_what_the_entry_cuts_away(tmp_path, devkit, capsys):
    given = {"network": "scenes_cnn", "train_split": "trainval"}
    assert "nothing is cut away" in run(devkit, tmp_path, **given)["entry"]
    results = run(devkit, tmp_path, resize="crop", **given)
    assert "of 10 of 10 photos the border is cut away, 25% of their area on average" in results["entry"]
    assert results["entry"] in capsys.readouterr().out
    assert results["entry"] in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.drawn
def test_in_python(devkit, tmp_path):
    """The library alone: rows, table, files, and what a notebook shows."""
    data, train = (load("voc", devkit, split=split) for split in ("test", "trainval"))
    write_boxes(tmp_path / "mine.csv", [("010", "cat", 0, 0, 21, 30)])
    calls = []
    result = evaluate(data, boxes=tmp_path / "mine.csv", train=train, progress=lambda *done: calls.append(done))
    assert calls[-1] == (10, 10) and len(calls) == 20
    assert result.rows[-1]["method"] == "mine" and result.rows[-1]["figure"]["value"] == 0.05
    assert "mine" in result.table() and result.notes == []
    html = result._repr_html_()
    assert "<table>" in html and "data:image/png" in html and "<html" not in html
    assert not (tmp_path / "out").exists()
    written = result.save(tmp_path / "out")
    assert json.loads(written.read_text())["rows"] == result.rows


def test_inputs_go_by_content(devkit, tmp_path):
    """The hash of the inputs changes with a box's file, a photo, a label, though no name does."""
    write_boxes(tmp_path / "mine.csv", [("010", "cat", 0, 0, 21, 30)])
    seen = [run(devkit, tmp_path, boxes=tmp_path / "mine.csv")["inputs"]]
    assert run(devkit, tmp_path, boxes=tmp_path / "mine.csv")["inputs"] == seen[0]
    write_boxes(tmp_path / "mine.csv", [("010", "cat", 0, 0, 21, 31)])
    seen.append(run(devkit, tmp_path, boxes=tmp_path / "mine.csv")["inputs"])
    write_photo(devkit / "JPEGImages" / "015.jpg", (60, 80), 12345)
    seen.append(run(devkit, tmp_path, boxes=tmp_path / "mine.csv")["inputs"])
    xml = devkit / "Annotations" / "015.xml"
    xml.write_text(xml.read_text().replace("<name>dog<", "<name>cow<"))
    seen.append(run(devkit, tmp_path, boxes=tmp_path / "mine.csv")["inputs"])
    assert len(set(seen)) == 4


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"split": "train"}, "no such split.*; --split all --folds 10 scores every photo by what the others teach$"),
        ({"train_split": "test"}, "; name another --train-split, or none and --folds 10$"),
        ({"folds": 1}, "folds must be 0 or at least 2"),
        ({"folds": 2, "train_split": "trainval"}, "--folds and training photos exclude each other"),
        ({"network": "scenes_cnn"}, "give --train-split, --folds, or a fitted linear map as --bundle"),
    ],
)
def test_a_refusal_names_the_next_step(devkit, tmp_path, options, says):
    with pytest.raises(InputError, match=says):
        run(devkit, tmp_path, **options)
    assert not (tmp_path / "out").exists()


def test_photos_without_boxes_are_told_where_boxes_come_from(devkit, tmp_path):
    photos = devkit / "JPEGImages"
    with pytest.raises(InputError, match=r"--dataset folder come from a boxes\.csv in it: file,x0,y0,x1,y1,label"):
        command(dataset="folder", data_root=photos, out=tmp_path / "out")
    with pytest.raises(InputError, match="--images has no boxes to score by"):
        command(images=photos, out=tmp_path / "out")
    with pytest.raises(InputError, match="--data-root is needed: the folder in which the voc data set lies"):
        command(dataset="voc", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_boxes_in_another_format_are_refused_until_it_is_named(devkit, tmp_path):
    lines = [(f"{i:03d}", "cat", 0, 0, (21 + 2 * (i % 10)) / 80, 0.5) for i in range(10, 20)]
    write_boxes(tmp_path / "shares.csv", lines)
    with pytest.raises(InputError, match="say --box-format normalised-xyxy if that is what they are"):
        run(devkit, tmp_path, boxes=tmp_path / "shares.csv")
    row = run(devkit, tmp_path, boxes=tmp_path / "shares.csv", box_format="normalised-xyxy")["rows"][-1]
    assert {name: figure["value"] for name, figure in row["classes"].items()} == {"cat": 1.0, "dog": 0.0}


@pytest.mark.slow
def test_channels_and_several_boxes_in_folds(tmp_path):
    """Channels beside a map, of the class asked for; two boxes each, scored by recall and average precision."""
    net = load_network("scenes_cnn")
    data = load("scenes", split="test", limit=24)
    options = EvaluationOptions(
        folds=2, method="class channels+edges", target="label", several=2, layers=("relu4_2",)
    )  # fmt: skip
    result = evaluate(data, net=net, options=options)
    samples = protocols.samples(data)
    x = net.preprocess([data.images[i] for i in samples.images])
    classes = np.array([net.classes.index(label) for label in samples.labels])
    features = [*read_channels(net, x, ("relu4_2",), target=classes), pooled(METHODS["edges"].maps(net, x), (56, 56))]
    hashes = data.decodable().hashes
    alike = np.unique(np.array([hashes[i] for i in samples.images]), return_inverse=True)[1]
    fold = np.random.default_rng(0).permutation(np.arange(alike.max() + 1) % 2)[alike]
    found, several = np.empty((24, 4)), [None] * 24
    for k in range(2):
        own, test = fold != k, np.flatnonzero(fold == k)
        fit = fit_coverage([one[own] for one in features], samples.largest[own], size=(96, 96), photos=alike[own])
        found[test] = fit.predict([one[test] for one in features])
        for i, more in zip(test, fit.detected([one[test] for one in features], most=2)):
            several[i] = more
    np.testing.assert_allclose(result.found["class channels+edges"], found, atol=0.05)
    stated = result.results["several"]
    boxes = [own for own, _ in several]
    assert stated["recall_at_2"] == pytest.approx(recall_at(boxes, samples.true, 2))
    for row in stated["classes"]:
        own = [i for i in range(24) if samples.labels[i] == row["class"]]
        parts = [boxes[i] for i in own], [several[i][1] for i in own], [samples.true[i] for i in own]
        assert row["ap"] == pytest.approx(average_precision(*parts))
    assert "mean average precision over classes" in result.table()
    assert "Several boxes a sample" in result._repr_html_()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "channels", "route": "heuristic"}, "--method channels has channels, whose boxes come by --route"),
        ({"method": "channels", "protocol": "paper-voc07"}, "--route 'linear map', not by 'Eq. 4'"),
        (
            {"method": "channels", "protocol": "maxboxacc"},
            "--protocol maxboxacc scores maps, and --method channels has",
        ),
        ({"method": "channels+class channels"}, "--method channels\\+class channels: class channels hold the channels"),
        ({"method": "channels + maps"}, "method 'channels \\+ maps'; near it are channels; choose from .*, class"),
        ({"several": 3, "protocol": "paper-voc07"}, "--several boxes are for protocols whose samples are a photo and"),
        ({"several": 3, "route": "heuristic"}, "--several boxes are found by --route 'linear map', not by 'heuristic'"),
    ],
)
def test_channels_and_several_that_do_not_suit(devkit, tmp_path, options, says):
    given = {"network": "scenes_cnn", "train_split": "trainval", **options}
    with pytest.raises(InputError, match=says):
        run(devkit, tmp_path, **given)
    assert not (tmp_path / "out").exists()
