"""The analysis as a command: files that agree with one another, photos of every kind, and clear refusals."""

import csv
import html
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr

from saliency.errors import InputError
from saliency.models.weights import load_network, random_network, save_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.zeiler_fergus import OcclusionAnalysis, analyze_occlusion, measuring, read_regions
from saliency.zeiler_fergus import Options as Analysis
from saliency.zeiler_fergus.subjects import chosen_class, load_subjects, parse_region, place_regions, unique_names
from scripts import analyze_occlusion as script
from scripts import cli
from scripts.analyze_occlusion import Options, main

pytestmark = pytest.mark.slow  # whole runs of the script


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint with random weights and two photos of different shapes; the second's name wants escaping."""
    folder = tmp_path_factory.mktemp("analysis")
    net = random_network(scenes_cnn())
    save_network(net, folder / "net.safetensors", {})
    rng = np.random.default_rng(0)
    for name, size in (("a.png", (96, 128, 3)), ("<b>&.png", (110, 90, 3))):
        coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(size[1::-1], Image.Resampling.BICUBIC).save(folder / name)
    return folder


SMALL = {"sizes": (32, 48), "stride": 24, "fills": ("grey", "noise"), "draws": 3, "windows": 3, "engine": "dense"}


def options(folder, **changes) -> Options:
    given = {
        "photos": (folder / "a.png", folder / "<b>&.png"),
        "weights": str(folder / "net.safetensors"),
        "out": folder / "out",
        "quiet": True,
        **SMALL,
        **changes,
    }
    entry = cli.Entry(given.pop("resize", "stretch"))
    net = {key: given.pop(key) for key in ("network", "weights", "classes") if key in given}
    masks = {key: given.pop(key) for key in list(given) if hasattr(Analysis(), key)}
    return Options(net=cli.NetworkOptions(**net, entry=entry), masks=Analysis(**masks), **given)


def subjects_of(options: Options, net) -> list:
    photos, known = script.load_photos(options, net.classes)
    known.pop("notes", None)
    return load_subjects(net, photos, options.target, **known)


def regions_of(options: Options, subjects) -> dict:
    given = [parse_region(text) for text in options.region]
    return place_regions([*given, *(read_regions(options.regions) if options.regions else [])], subjects)


@pytest.fixture(scope="module")
def out(folder):
    assert main(options(folder)) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def result(out):
    return json.loads((out / "results.json").read_text())


@pytest.fixture(scope="module")
def positions(out):
    with open(out / "positions.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_position_is_in_the_csv(positions):
    assert len(positions) == 2 * 2 * (4 * 4 + 3 * 3)  # photos, fills, positions of 32 and 48 px masks


def test_averages_equal_those_of_the_csv(result, positions):
    compared = 0
    for photo in result["photos"]:
        for row in photo["sweeps"]:
            mine = [
                p
                for p in positions
                if (p["photo"], p["fill"], int(p["mask_height"])) == (photo["name"], row["fill"], row["mask"][0])
            ]
            values = [float(p["probability"]) for p in mine]
            assert len(values) == row["positions"]
            assert row["mean"] == pytest.approx(sum(values) / len(values), rel=1e-12)
            assert row["deviation_over_positions"] == pytest.approx(np.std(values), rel=1e-9)
            right = [int(p["predicted"]) == photo["target"]["index"] for p in mine]
            assert row["predicted_share"] == pytest.approx(sum(right) / len(right))
            worst = min(mine, key=lambda p: float(p["probability"]))
            assert row["worst"]["index"] == int(worst["index"])
            assert row["worst"]["box"] == [int(worst[corner]) for corner in ("x0", "y0", "x1", "y1")]
            drops = [photo["target"]["probability"] - value for value in values]
            np.testing.assert_allclose([float(p["drop"]) for p in mine], drops, atol=1e-12)
            compared += 1
    assert compared == 2 * 2 * 2


def test_results_say_where_they_come_from(result):
    assert result["schema"] and result["inputs"] and result["versions"]["jax"]
    assert result["config"]["masks"]["sizes"] == [32, 48] and result["network"]["digest"]
    photo = result["photos"][0]
    assert photo["rank_correlations"]["maps"] == ["grey 32", "grey 48", "noise 32", "noise 48"]
    np.testing.assert_allclose(np.diag(photo["rank_correlations"]["matrix"]), 1)
    assert len(photo["top5"]) == 5 and photo["top5"][0]["index"] == photo["target"]["index"]
    matrix = np.array(photo["interactions"]["matrix"])
    assert len(matrix) == len(photo["interactions"]["boxes"]) > 1
    np.testing.assert_array_equal(matrix, matrix.T)


def test_regions_have_both_measures_at_both_layers(result):
    got = {(row["region"], row["layer"], row["measure"]) for row in result["regions"]}
    assert len(got) == len(result["regions"]) == 5 * 2 * 2
    assert {layer for _, layer, _ in got} == {"relu3_2", "relu4_2"}


def test_pictures_can_be_opened(out):
    names = {"curves.png", "maps.png", "overlays.png", "worst.png", "traces.png", "dependence.png", "interactions.png"}
    for photo in ("a", "<b>&"):
        assert names <= {path.name for path in (out / "photos" / photo).iterdir()}
    for path in out.rglob("*.png"):
        with Image.open(path) as picture:
            assert np.asarray(picture.convert("L")).std() > 5  # something is drawn
    with Image.open(out / "photos" / "a" / "mask.gif") as film:
        assert film.n_frames == 9


def test_the_report_needs_nothing_else(out):
    page = (out / "report.html").read_text()
    assert "&lt;b&gt;&amp;" in page and "<b>&" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert page.count("<img") == 1 + 2 * 9 + 2


@pytest.fixture
def measured(monkeypatch):
    """Runs of `main` that write no report: how often each measured, and what it found."""
    calls, found = [], []
    measure = measuring.sweep
    monkeypatch.setattr(measuring, "sweep", lambda *a, **k: calls.append(1) or measure(*a, **k))
    monkeypatch.setattr(OcclusionAnalysis, "save", lambda self, *_, **__: found.append(self.photos))

    def run(options: Options) -> tuple[int, list]:
        calls.clear()
        assert main(options) == 0
        return len(calls), found[-1]

    return run


def test_a_second_run_measures_nothing_again(folder, out, result, measured):
    calls, found = measured(options(folder, draws=0, windows=0))
    assert calls == 0
    for photo, analysis in zip(result["photos"], found, strict=True):
        sweeps = [one for group in analysis.sweeps.values() for one in group]
        assert [row["mean"] for row in photo["sweeps"]] == [one.mean for one in sweeps]


def test_what_an_interrupted_or_other_run_left_is_not_taken_for_this_one(folder, tmp_path, measured):
    few = {"photos": (folder / "a.png",), "fills": ("grey",), "draws": 0, "windows": 0, "out": tmp_path}
    kept = tmp_path / "photos" / "a" / "positions_grey.npz"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"PK\x03\x04 half a file")
    for changes, expected in (({}, 1), ({}, 0), ({"target": "rank:2"}, 1), ({"sizes": (48,)}, 1)):
        calls, _ = measured(options(folder, **{**few, **changes}))
        assert calls == expected


def test_a_folder_removed_under_the_run_is_told_and_the_next_run_has_all_files(folder, composed, tmp_path, monkeypatch):
    def removing(self, out, **rest):
        shutil.rmtree(out)
        save(self, out, **rest)

    few = {"photos": (folder / "a.png",), "sizes": (48,), "stride": 48, "fills": ("grey",), "draws": 0, "windows": 0}
    save, given = OcclusionAnalysis.save, options(folder, out=tmp_path, **few)
    monkeypatch.setattr(OcclusionAnalysis, "save", removing)
    with pytest.raises(InputError, match=r"positions_grey.npz: was removed while the run went on; run the same"):
        main(given)
    assert not (tmp_path / "report.html").exists()
    monkeypatch.undo()
    main(given)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    pictures = {"curves", "maps", "overlays", "worst", "traces"}
    assert written == {
        *("report.html", "results.json", "positions.csv", "photos/a/positions_grey.npz", "photos/a/mask.gif"),
        *(f"photos/a/{name}.png" for name in pictures),
    }


def test_scenes_without_any_photo_know_their_object(folder):
    net = load_network("scenes_cnn", folder / "net.safetensors")
    subjects = subjects_of(options(folder, photos=(), scenes=2), net)
    regions = regions_of(options(folder, photos=()), subjects)
    assert [subject.name for subject in subjects] == ["scene-0", "scene-1"]
    assert set(regions) == {"object", "top", "left", "centre", "right", "bottom"}
    assert all(0 <= x0 < x1 <= 96 and 0 <= y0 < y1 <= 96 for x0, y0, x1, y1 in regions["object"].values())


def test_photos_of_every_kind_show_the_same(folder, tmp_path):
    rng = np.random.default_rng(1)
    grey = rng.integers(0, 256, (60, 80), dtype=np.uint8)
    upright = Image.fromarray(grey)
    upright.save(tmp_path / "grey.png")
    upright.convert("RGB").save(tmp_path / "rgb.png")
    upright.convert("RGBA").save(tmp_path / "rgba.png")
    upright.convert("P").save(tmp_path / "palette.png")
    upright.convert("RGB").convert("CMYK").save(tmp_path / "cmyk.tif")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: shown upright after a quarter turn clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    net = load_network("scenes_cnn", folder / "net.safetensors")
    names = ("rgb.png", "grey.png", "rgba.png", "palette.png", "cmyk.tif", "deep.png", "turned.png")
    first, *others = subjects_of(options(folder, photos=tuple(tmp_path / name for name in names)), net)
    for other in others:
        np.testing.assert_allclose(other.seen.astype(int), first.seen.astype(int), atol=1, err_msg=other.file)
        assert other.placement == first.placement


def test_photos_of_one_name_get_folders_of_their_own(folder):
    net = load_network("scenes_cnn", folder / "net.safetensors")
    subjects = load_subjects(net, [folder / "a.png"] * 3, "rank:1")
    assert [subject.name for subject in subjects] == ["a", "a-2", "a-3"]


def test_names_are_one_folder_each_on_every_file_system():
    assert unique_names(["x/A.png", "y/a.JPG", "a-2.png", "../..", ".", "b/.hidden", r"c\\d.png"]) == [
        "A", "a-2", "a-2-2", "photo", "photo-2", "hidden", "d",
    ]  # fmt: skip


def test_target_by_rank_index_and_name():
    probability, classes = np.array([0.1, 0.5, 0.3, 0.1]), ["crane", "grey_whale", "koala", "crane"]
    assert [chosen_class(f"rank:{k}", probability, classes) for k in (1, 2, 3, 4)] == [1, 2, 0, 3]
    assert chosen_class("2", probability, classes) == 2
    assert chosen_class("Grey whale", probability, classes) == chosen_class("grey_whale", probability, classes) == 1
    for text, message in (("crane", "0, 3"), ("rank:5", "rank:1 to rank:4"), ("4", r"0\.\.3"), ("cat", "class name")):
        with pytest.raises(InputError, match=message):
            chosen_class(text, probability, classes)


def test_a_digit_that_is_a_class_name_is_the_name():
    assert chosen_class("7", np.full(3, 1 / 3), ["9", "8", "7"]) == 2


@pytest.mark.parametrize("kind", ["option", "json", "csv", "percent"])
def test_regions_reach_the_networks_pixels(folder, tmp_path, kind):
    """a.png is 128 wide and 96 high, stretched to 96x96: x shrinks by 3/4."""
    net = load_network("scenes_cnn", folder / "net.safetensors")
    subjects = subjects_of(options(folder), net)
    changes: dict = {"region": ("eye=16,10,64,40",)}
    if kind == "percent":
        changes = {"region": ("eye=12.5%,10.4167%,50%,41.667%",)}
    elif kind == "json":
        (tmp_path / "r.json").write_text(json.dumps({"a.png": {"eye": [16, 10, 64, 40]}}))
        changes = {"regions": tmp_path / "r.json"}
    elif kind == "csv":
        (tmp_path / "r.csv").write_text("photo,name,x0,y0,x1,y1\na.png,eye,16,10,64,40\n")
        changes = {"regions": tmp_path / "r.csv"}
    regions = regions_of(options(folder, **changes), subjects)
    assert regions["eye"]["a"] == [12, 10, 48, 40]
    assert set(regions["eye"]) == ({"a"} if kind in ("json", "csv") else {"a", "<b>&"})


def bad_files(folder):
    (folder / "text.jpg").write_text("no photo")
    (folder / "broken.json").write_text("{")
    (folder / "columns.csv").write_text("name,x0\neye,1\n")
    (folder / "other.json").write_text(json.dumps({"z.png": {"eye": [0, 0, 9, 9]}}))
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"photos": ("missing.jpg",)}, "missing.jpg: no such file"),
        ({"photos": ("text.jpg",)}, "text.jpg: not an image"),
        ({"photos": (), "scenes": 0}, "at least 1"),
        ({"target": "rank:0"}, "rank:1 to rank:10"),
        ({"sizes": (97,)}, "patch must be 1 to 96"),
        ({"sizes": (16,)}, "stride must not exceed the patch"),
        ({"stride": 0}, "stride must be a whole number of at least 1, not 0"),
        ({"fills": ("grey", "fog")}, "fog"),
        ({"fills": ("300",)}, "0..255"),
        ({"fills": ()}, "at least one fill"),
        ({"fills": ("grey", "127.5", "127.50")}, "fills must differ"),
        ({"images": "missing.jpg"}, "missing.jpg: no such file"),
        ({"region": ("eye",)}, "name=x0,y0,x1,y1"),
        ({"region": ("eye=1,2,3",)}, "four numbers"),
        ({"region": ("eye=1,2,3,x",)}, "four numbers"),
        ({"region": ("eye=50,2,30,20",)}, "nothing in the part of a.png"),
        ({"region": ("eye=0,0,9,9",), "resize": "crop"}, "nothing in the part of a.png"),
        ({"regions": "broken.json"}, "broken.json: not JSON"),
        ({"regions": "columns.csv"}, "columns.csv: must have the columns photo, name, x0"),
        ({"regions": "other.json"}, "'z.png' is none of the photos"),
        ({"layers": ("conv99",)}, "no layer 'conv99'"),
        ({"draws": 1}, "draws must be at least 2"),
        ({"network": "lenet"}, "unknown network 'lenet'"),
    ],
)
def test_bad_input_ends_in_one_sentence_and_leaves_nothing(folder, tmp_path, changes, message, capsys):
    bad_files(folder)
    if "photos" in changes:
        changes = {**changes, "photos": tuple(folder / name for name in changes["photos"])}
    if "images" in changes:
        changes = {**changes, "images": folder / changes["images"]}
    if "regions" in changes:
        changes = {**changes, "regions": folder / changes["regions"]}
    with pytest.raises(SystemExit) as stopped:
        given = {"photos": (folder / "a.png",), **changes, "out": tmp_path / "out"}
        cli.run(lambda given: main(options(folder, **given)), given)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert re.search(message, error) and error.count("\n") == 1 and "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_a_photo_that_the_classifier_gets_wrong_is_not_called_right(folder, composed, tmp_path):
    net = load_network("scenes_cnn", folder / "net.safetensors")
    net.classes = tuple(f"digit_{i}" for i in range(10))
    photos = [folder / "a.png", folder / "<b>&.png"]
    predicted = [one.predicted for one in load_subjects(net, photos, "rank:1")]
    labels = [net.classes[predicted[0]], net.classes[(predicted[1] + 1) % 10]]
    found = analyze_occlusion(
        net, photos, labels=labels, options=Analysis(sizes=(48,), stride=48, fills=("grey", "0"), draws=0, windows=0)
    )
    found.save(tmp_path)
    page = html.unescape((tmp_path / "report.html").read_text())
    assert "still right" not in page and "belief" not in page
    assert f"True class: digit {predicted[0]}, which the classifier predicts." in page
    missed = f"True class: digit {(predicted[1] + 1) % 10}, which the classifier misses: it predicts"
    assert f"{missed} digit {predicted[1]}." in page
    assert "1 of the 2 photos whose true class is known are classified wrongly (<b>&)" in page
    for word in ("grey (level 127.5)", "black (level 0)", "nothing is cut away", "rank correlation", "drop map"):
        assert word in page, word
    lead = page[page.index('class="lead"') :]
    assert lead.index("Hiding 25% of") < lead.index("A single mask") < lead.index("Where it hurts") < lead.index("<h2>")


def test_the_conclusion_is_what_the_rows_say(folder):
    net = load_network("scenes_cnn", folder / "net.safetensors")
    options = Analysis(sizes=(32, 48), stride=24, fills=("grey", "0"), draws=0, windows=0)
    found = analyze_occlusion(net, [folder / "a.png"], options=options)
    rows = found.rows
    assert len(rows) == 2 * (4 * 4 + 3 * 3)
    means = {
        fill: np.mean([row["probability"] for row in rows if (row["fill"], row["mask_height"]) == (fill, 48)])
        for fill in ("grey", "0")
    }
    hiding, changed, hides = found.conclusion
    assert f"to {means['grey']:.3f} where grey (level 127.5) shows and {means['0']:.3f} where black (level 0)" in hiding
    target = found.photos[0].subject.target
    for fill, words in (("grey", "grey (level 127.5)"), ("0", "black (level 0)")):
        sides = [row["mask_height"] for row in rows if row["fill"] == fill and row["predicted"] != target]
        said = f"in {int(bool(sides))} of 1 photo where {words} shows"
        assert said + (f" (the smallest that does: {min(sides)} px)" if sides else "") in changed
    correlation = spearmanr(*(found.photos[0].sweeps[fill][1].drop_map.ravel() for fill in ("grey", "0"))).statistic
    assert f"rank correlation is {correlation:.2f}" in hides
    table = found.table().splitlines()
    assert len(table) == 3 and table[0].split()[:2] == ["photo", "target"] and "grey (level 127.5)" in table[1]
    shown = found._repr_html_()
    assert "data:image/png" in shown and "Hiding 25%" in shown and "<html" not in shown


def test_one_fill_says_nothing_of_others(folder):
    net = load_network("scenes_cnn", folder / "net.safetensors")
    options = Analysis(sizes=(48,), stride=48, fills=("mean",), draws=0, windows=0)
    *_, hides = analyze_occlusion(net, [folder / "a.png"], options=options).conclusion
    assert hides.startswith("Only the image's own mean colour was shown")


def test_a_folder_of_photos_and_one_more_in_images(folder, composed, tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(folder / "a.png", photos / "a.png")
    (photos / "broken.png").write_bytes(b"no photo")
    given = options(folder, photos=(photos,), images=folder / "<b>&.png", fills=("grey",), draws=0, windows=0,
                    out=tmp_path / "out", quiet=False)  # fmt: skip
    assert main(given) == 0
    result = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [photo["file"] for photo in result["photos"]] == ["a.png", "<b>&.png"]
    assert "broken.png" in result["notes"][0]
    said = capsys.readouterr().out
    assert said.startswith("Hiding 25% of") and "1 left out or repaired:" in said and "broken.png" in said
    with pytest.raises(InputError, match="1 left out"):
        main(replace(given, strict=True))


def test_other_weights_under_the_same_name_are_measured_anew(folder, tmp_path, measured):
    shutil.copy(folder / "net.safetensors", tmp_path / "w.safetensors")
    few = {"photos": (folder / "a.png",), "fills": ("grey",), "draws": 0, "windows": 0, "out": tmp_path / "out"}
    given = options(folder, weights=str(tmp_path / "w.safetensors"), **few)
    assert measured(given)[0] == 1 and measured(given)[0] == 0
    save_network(random_network(scenes_cnn(), seed=1), tmp_path / "w.safetensors", {})
    assert measured(given)[0] == 1


def test_the_command_line_has_one_flat_vocabulary():
    words = "a.png b --images c.jpg --classes n.csv --resize letterbox --sizes 20 40 --fills grey 0 --draws 0"
    words += " --region eye=1,2,3,4 --region mouth=5,6,7,8 --seed 2 --strict --out=~/x"
    given = cli.parse(Options, words.split())
    assert given.photos == (Path("a.png"), Path("b")) and given.images == Path("c.jpg") and given.strict
    assert given.masks == Analysis(sizes=(20, 40), fills=("grey", "0"), draws=0, seed=2)
    assert given.net == cli.NetworkOptions(classes=Path("n.csv"), entry=cli.Entry("letterbox"))
    assert given.region == ("eye=1,2,3,4", "mouth=5,6,7,8") and given.out == Path("~/x").expanduser()
