import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from localization import Features, fit_linear_map
from localization.boxes import iou
from localization.datasets import load, scenes
from localization.protocols import Samples
from localization.report import tables
from saliency import load_network
from saliency.errors import InputError
from saliency.methods import METHODS
from saliency.methods import Options as MethodOptions
from saliency.models.preprocessing import Preprocessing
from saliency.report import plain
from scripts import evaluate
from scripts.cli import Entry
from scripts.evaluate import Options
from tests.devkits import voc_object, write_imagenet, write_text, write_voc


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


def run(devkit, tmp_path, **options) -> dict:
    given = {"dataset": "voc", "data_root": devkit, "split": "test", "out": tmp_path / "out", "quiet": True}
    assert evaluate.main(Options(**given | options)) == 0
    return json.loads((tmp_path / "out" / "results.json").read_text())


def write_boxes(path, rows):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label", "x0", "y0", "x1", "y1"])
        writer.writerows(rows)


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


def test_a_network_end_to_end(tmp_path):
    options = Options(limit=20, network="scenes_cnn", protocol="top1-loc", out=tmp_path, quiet=True)
    assert evaluate.main(options) == 0
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert rows[-1]["method"] == "gradient-max" and 0 <= rows[-1]["figure"]["value"] <= 1
    assert rows[-1]["figure"]["n"] == 20


def test_a_saved_linear_map(tmp_path):
    train = scenes("train", 12)
    net = load_network("scenes_cnn")
    maps = METHODS["gradient-max"].maps(net, net.preprocess(train.images))
    linear = fit_linear_map(maps, train.boxes, method="ridge", source={"method": "gradient-max"})
    linear.save(tmp_path / "linear.safetensors")
    options = Options(
        limit=10, network="scenes_cnn", bundle=tmp_path / "linear.safetensors", out=tmp_path / "out", quiet=True
    )
    assert evaluate.main(options) == 0
    test = scenes("test", 10)
    expected = linear.predict(METHODS["gradient-max"].maps(net, net.preprocess(test.images)))
    with open(tmp_path / "out" / "images.csv", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["method"] == "gradient-max"]
    assert np.allclose([[float(line[k]) for k in ("x0", "y0", "x1", "y1")] for line in lines], expected, atol=2e-3)
    row = json.loads((tmp_path / "out" / "results.json").read_text())["rows"][-1]
    assert row["method"] == "gradient-max"  # the bundle's, though the protocol has no say in it
    with pytest.raises(InputError, match="fitted to maps of method 'gradient-max'"):
        evaluate.main(replace(options, method="gestalt-max", out=tmp_path / "other"))
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
    options = Options(limit=8, network="scenes_cnn", bundle=tmp_path / "linear.safetensors", out=tmp_path, quiet=True)
    assert evaluate.main(options) == 0
    with open(tmp_path / "images.csv", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["method"] == source["method"]]
    found = [[float(line[k]) for k in ("x0", "y0", "x1", "y1")] for line in lines]
    np.testing.assert_allclose(found, linear.predict(maps(test.images)) * 96 / 64, atol=2e-3)
    replace(linear, source={**source, "options": [{}]}).save(tmp_path / "linear.safetensors")
    with pytest.raises(InputError, match="does not say how its maps were made"):
        evaluate.main(options)


def test_boxes_that_a_crop_removed_are_counted():
    net = load_network("scenes_cnn")
    net.preprocess = Preprocessing((96, 96), mode="crop", shorter=96)
    data = load("scenes", limit=2)
    wide = replace(data, annotations=tuple(replace(a, size=(96, 400)) for a in data.annotations))
    true = (np.array([[0.0, 0, 90, 50]]), np.array([[0.0, 0, 90, 50], [150, 0, 200, 50]]))  # 152..248 is seen
    assert evaluate.cropped_away(net, wide, Samples(np.array([0, 1]), ("0", "1"), true)) == 1


def test_check_says_what_was_repaired(devkit, tmp_path, capsys):
    write_voc(devkit, {"090": [voc_object("cat", (70, 1, 99, 30))]}, split="odd")
    options = Options("voc", devkit, "odd", check=True, out=tmp_path / "out")
    assert evaluate.main(options) == 0
    said = capsys.readouterr().out
    assert "VOC2007 odd: 1 photos, 1 objects" in said
    assert "    090: box beyond the border: cat (repaired)" in said
    assert not (tmp_path / "out").exists()


def test_paper_voc07_with_a_network(devkit, tmp_path):
    """One sample an object, difficult ones left out: 20 learned from, 20 scored, by Gestalt maps."""
    given = {"protocol": "paper-voc07", "train_split": "trainval", "network": "scenes_cnn", "entry": Entry("stretch")}
    results = run(devkit, tmp_path, **given)
    assert (results["photos"], results["samples"], results["cropped_away"]) == (10, 20, 0)
    row = results["rows"][-1]
    assert row["method"] == "gestalt-max" and row["figure"]["n"] == 20 and row["figure"]["missing"] == 0
    assert row["figure"]["value"] == np.mean([figure["value"] for figure in row["classes"].values()])
    assert results["published"] == []  # other classes than the paper's


def test_paper_imagenet_with_a_network(tmp_path):
    """40 training photos of a CLS-LOC tree: 30 to learn from, 6 to score."""
    names = [f"n{1 + i % 2:08d}/n{1 + i % 2:08d}_{i}" for i in range(40)]
    write_imagenet(tmp_path, {name: (1 + i, 1, 50, 20 + i % 15) for i, name in enumerate(names)})
    write_text(tmp_path / "wnids.txt", "n00000001\nn00000002\n")
    given = {"dataset": "imagenet", "protocol": "paper-imagenet", "split": "train", "only": tmp_path / "wnids.txt"}
    results = run(tmp_path, tmp_path, network="scenes_cnn", entry=Entry("stretch"), **given)
    assert results["photos"] == 6
    row = results["rows"][-1]
    assert row["method"] == "gradient-mean" and row["figure"]["n"] == 6 and row["figure"]["missing"] == 0
    assert [published[0] for published in results["published"]][-1] == "Sensitivity maps (seed 003)"
    assert "Sensitivity maps (seed 003) (published) | 68.8 |" in (tmp_path / "out" / "table.md").read_text()


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
    with pytest.raises(InputError, match=r"010\.npy: no such file"):
        run(devkit, tmp_path, **given)
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
