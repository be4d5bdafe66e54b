"""The main job on a handful of scenes: its files, its resuming, its errors."""

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from localization.comparison import maps as made_maps
from localization.comparison import result, run
from localization.comparison.report import against_controls
from saliency import InputError
from saliency._files import exclusive_lock
from saliency.methods import ATTENTION, METHODS
from saliency.methods import Options as MethodOptions
from saliency.models.graph import Architecture, Builder
from saliency.models.operators import Conv, Dense, Flatten
from saliency.models.preprocessing import Preprocessing
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from scripts import cli, compare
from tests.devkits import voc_object, write_photo, write_voc

pytestmark = pytest.mark.slow  # whole runs of the script


def changed(options, **changes):
    """The options of the command line with some changed, whichever of their groups these belong to."""
    own = {}
    for field in fields(options):
        value = getattr(options, field.name)
        if field.name in ("network", "data", "compare"):
            names = {part.name for part in fields(value)} & changes.keys()
            own[field.name] = replace(value, **{name: changes.pop(name) for name in names})
    return replace(options, **own, **changes)


SMALL = changed(
    compare.Options(),
    methods=("gradient-max",),
    occlusion_strides=(24,),
    n_train=20,
    n_test=6,
    quality=2,
    settings=replace(compare.Options().compare.settings, patch=48),
    keep_maps=True,
    quiet=True,
)
COMMAND = (
    "-m scripts.compare --methods gradient-max --occlusion-strides 24 --patch 48"
    " --n-train 20 --n-test 6 --quality 2 --keep-maps --quiet --out"
)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A run that another process finished, and its options."""
    out = tmp_path_factory.mktemp("compare")
    subprocess.run([sys.executable, *COMMAND.split(), out], cwd=Path(__file__).parents[1], check=True)
    return changed(SMALL, out=out)


def results(options):
    return json.loads((options.out / "results.json").read_text())


def timeless(value):
    """Results without what a clock or the kernel's memory counter said."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in ("ms_per_image", "peak_mib", "seconds", "command")}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def test_rows_hold_what_they_promise(small):
    found = results(small)
    rows = {(row["method"], row["route"]): row for row in found["rows"]}
    constant = {"mean box", "median box", "centre box", "full image"}
    assert {m for m, _ in rows} == {"gradient-max", "occlusion-24px", *constant}
    assert {r for m, r in rows if m == "occlusion-24px"} == {"linear map", "heuristic"}
    for row in rows.values():
        assert 0 <= row["corloc_low"] <= row["corloc"] <= row["corloc_high"] <= 1
        assert 0 <= row["mean_iou"] <= 1
        assert all(0 <= share <= 1 for share in row["classes"].values())
    assert rows["occlusion-24px", "heuristic"]["base"] == "occlusion"
    assert rows["occlusion-24px", "heuristic"]["forwards"] == 10  # 3 x 3 windows and the untouched image
    assert rows["gradient-max", "heuristic"]["backwards"] == 1
    assert found["seed"] == 0
    assert found["versions"]["jax"]
    assert found["network"]["digest"]


def test_the_figures_are_those_of_the_images(small):
    with open(small.out / "images.csv", newline="") as file:
        images = list(csv.DictReader(file))
    for row in results(small)["rows"]:
        own = [i for i in images if (i["method"], i["route"]) == (row["method"], row["route"])]
        assert len(own) == 6
        assert np.mean([i["correct"] == "True" for i in own]) == pytest.approx(row["corloc"])
        assert np.mean([float(i["iou"]) for i in own]) == pytest.approx(row["mean_iou"], abs=1e-4)
        for label, share in row["classes"].items():
            assert np.mean([i["correct"] == "True" for i in own if i["label"] == label]) == pytest.approx(share)


def test_pictures_and_page_are_there(small):
    names = {path.stem for path in (small.out / "pictures").glob("*.png")}
    assert {"corloc", "cost", "gallery-1", "best", "worst"} <= names
    html = (small.out / "report.html").read_text()
    assert html.count('<figure><img src="data:image/') == len(names)


def test_maps_of_another_process_give_the_figures_of_the_method_that_made_them(small, tmp_path):
    names = ("gradient-max", "occlusion-24px")
    maps = tuple(f"their-{name}={small.out / 'maps' / name}" for name in names)
    options = changed(small, methods=(), occlusion_strides=(), maps=maps, keep_maps=False, out=tmp_path)
    assert compare.main(options) == 0
    assert not (tmp_path / "maps").exists()
    ours, theirs = results(small), results(options)
    cost = {"method", "base", "forwards", "backwards", "saved", "ms_per_image", "peak_mib"}
    for name in names:
        for key, count in (("rows", 2), ("quality", 1)):
            found = [
                [
                    {k: v for k, v in row.items() if k not in cost}
                    for row in (result[key]["rows"] if key == "quality" else result[key])
                    if row["method"] == method
                ]
                for result, method in ((ours, name), (theirs, f"their-{name}"))
            ]
            assert found[0] == found[1] and len(found[0]) == count


def test_small_boxes_by_themselves(tmp_path, capsys):
    """The whole image overlaps a box with IoU above one half just where that covers more than half of it."""
    edges = [75 if i % 3 else 39 for i in range(24)]
    write_voc(tmp_path / "VOC", {f"{i:03d}": [voc_object("cat", (1, 1, x1, 60))] for i, x1 in enumerate(edges)})
    options = changed(
        SMALL, dataset="voc", data_root=tmp_path / "VOC", split="trainval", folds=2, n_train=None, n_test=None,
        occlusion_strides=(), quality=0, out=tmp_path / "out",
    )  # fmt: skip
    compare.main(options)
    rows = {row["method"]: row for row in results(options)["rows"] if row["route"] in ("none", "linear map")}
    assert rows["full image"]["corloc"] == pytest.approx(16 / 24) and rows["full image"]["corloc_small"] == 0
    with open(tmp_path / "out" / "images.csv", newline="") as file:
        own = [i for i in csv.DictReader(file) if (i["method"], i["route"]) == ("gradient-max", "linear map")]
    few = [i["correct"] == "True" for i in own if float(i["true_x1"]) == 39]
    row = rows["gradient-max"]
    assert len(few) == 8 and row["corloc_small"] == pytest.approx(np.mean(few))
    assert row["corloc_small_low"] <= row["corloc_small"] <= row["corloc_small_high"]
    assert " small " in capsys.readouterr().out and ">small</th>" in (tmp_path / "out" / "report.html").read_text()


def test_a_finished_run_is_not_redone(small, capsys):
    before = (small.out / "results.json").stat().st_mtime_ns
    assert compare.main(small) == 0
    assert "complete already" in capsys.readouterr().out
    assert (small.out / "results.json").stat().st_mtime_ns == before


def test_two_runs_do_not_write_the_same_folder(small, tmp_path):
    with exclusive_lock(tmp_path), pytest.raises(InputError, match="another run writes there; wait for its end"):
        compare.main(changed(small, out=tmp_path))
    assert not any(tmp_path.iterdir())
    with exclusive_lock(tmp_path):
        pass  # free again


def test_a_folder_removed_under_the_run_is_told_and_the_next_run_ends_the_same(small, tmp_path, monkeypatch):
    def removing(path, content):
        if path.name == "report.html":
            shutil.rmtree(tmp_path)
        write_bytes(path, content)

    maps = tuple(f"their-{name}={small.out / 'maps' / name}" for name in ("gradient-max", "occlusion-24px"))
    options = changed(small, methods=(), occlusion_strides=(), maps=maps, keep_maps=False, out=tmp_path)
    write_bytes = result.write_bytes
    monkeypatch.setattr(result, "write_bytes", removing)
    with pytest.raises(InputError, match=r"images.csv: was removed while the run went on; run the same command again"):
        compare.main(options)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    compare.main(options)
    assert {path.name for path in tmp_path.iterdir()} == {"images.csv", "pictures", "report.html", "results.json"}


def test_a_killed_run_goes_on_and_ends_the_same(small, tmp_path, monkeypatch):
    options, made = changed(small, out=tmp_path), []
    whole = made_maps.make_shards
    (tmp_path / "maps").mkdir()  # another run's shard, whose key a kill took away: not to be taken for ours
    np.savez(tmp_path / "maps" / "gradient-max-000000.npz", maps=np.zeros((26, 96, 96)), seconds=0, peak=0)

    def killed(left, *rest):
        made.extend(path.name for path in left)
        if made == ["gradient-max-000000.npz", "occlusion-24px-000000.npz"]:
            raise KeyboardInterrupt
        return whole(left, *rest)

    monkeypatch.setattr(made_maps, "make_shards", killed)
    with pytest.raises(KeyboardInterrupt):
        compare.main(options)
    monkeypatch.undo()
    assert not (tmp_path / "results.json").exists()
    shard = tmp_path / "maps" / "gradient-max-000000.npz"
    written = shard.stat().st_mtime_ns
    monkeypatch.setattr(run, "keep", lambda *_: None)  # which would put other files in its place
    asked = []
    plain = made_maps.task_of

    def told(method, net, settings):
        task = plain(method, net, settings)
        return replace(task, run=lambda *given: asked.append(method.name) or task.run(*given))

    monkeypatch.setattr(made_maps, "task_of", told)
    compare.main(options)
    assert set(asked) == {"occlusion"}  # what is there is not compiled again either
    assert shard.stat().st_mtime_ns == written  # not made again
    assert timeless(results(options)) | {"config": 0} == timeless(results(small)) | {"config": 0}
    assert (tmp_path / "images.csv").read_bytes() == (small.out / "images.csv").read_bytes()


def test_a_shard_that_is_gone_damaged_or_another_is_named_with_the_remedy(tmp_path):
    (tmp_path / "damaged.npz").write_bytes(b"PK")
    np.savez(tmp_path / "another.npz", boxes=np.zeros(4))
    for name in ("gone.npz", "damaged.npz", "another.npz"):
        with pytest.raises(InputError, match=rf"{name}: .*; remove .*, if it is there, and run the same command again"):
            made_maps.Made([tmp_path / name], Preprocessing((4, 4))).maps(np.array([0]))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"methods": ("gradeint",)}, "unknown method 'gradeint'; near it are gradient-max"),
        ({"n_train": 3}, "--n-train must be a whole number of at least 20"),
        ({"network": "vgg"}, "unknown network 'vgg'"),
        ({"weights": "nowhere.safetensors"}, "nowhere.safetensors"),
        ({"settings": MethodOptions(patch=97)}, "patch must be 1 to 96 px"),
        ({"settings": MethodOptions(patch=8, stride=0)}, "stride must be at least 1 px"),
        (lambda: {"settings": MethodOptions(patch=16, stride=8, fill="gray")}, "fill must be grey, mean"),
        ({"settings": MethodOptions(layer="conv9")}, "no layer 'conv9'"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(tmp_path, change, says):
    with pytest.raises(InputError, match=says.replace("(", r"\(")):
        change = change() if callable(change) else change
        compare.main(changed(SMALL, **{"methods": ("gestalt-max", "occlusion"), "out": tmp_path / "run", **change}))
    assert not (tmp_path / "run").exists()


def test_all_is_every_method_that_suits_the_network():
    build = Builder()
    build.conv_relu("conv", "relu", Conv(2, (3, 3)))
    build.add("flat", Flatten())
    build.add("logits", Dense(3))
    no_cam = random_network(Architecture("flat", tuple(build.nodes), "relu", (20, 14)))
    suitable = [name for name in METHODS if name not in ATTENTION]  # those are for transformers
    names = list(made_maps.tasks(no_cam, ("all",), MethodOptions(), ()))
    assert names == [name for name in suitable if name != "cam"]
    net = random_network(scenes_cnn(blocks=((4,), (6,))))
    wanted = made_maps.tasks(net, ("all",), MethodOptions(patch=9, seed=3), (3, 5))
    assert list(wanted) == [*suitable, "occlusion-3px", "occlusion-5px"]
    options = MethodOptions(patch=9, stride=5, seed=3)
    assert wanted["occlusion-5px"].cost() == METHODS["occlusion"].cost(net, net.preprocess.size, options)
    x = np.random.default_rng(0).normal(size=(2, *net.preprocess.size, 3)).astype(np.float32)
    expected = METHODS["occlusion"].maps(net, x, target=np.array([1, 2]), options=options)
    np.testing.assert_array_equal(wanted["occlusion-5px"].run(net, x, np.array([1, 2]))["maps"], expected)


def test_the_list_explains_every_method(capsys):
    assert compare.main(compare.Options(list=True)) == 0
    said = capsys.readouterr().out
    assert all(f"{name}  [" in said for name in METHODS)


def test_the_page_says_which_methods_do_no_better_than_a_control():
    shares = {"gradient-max": (0.6, 0.2), "grad-cam": (0.3, 0.4), "gestalt-max": (0.35, 0.1), "edges": (0.1, 0.4)}
    rows = [
        {"method": method, "base": method, "route": route, "corloc": value}
        for method, values in shares.items()
        for route, value in zip(("linear map", "heuristic"), values)
    ]
    rows.sort(key=lambda row: -row["corloc"])
    said = against_controls([{"method": "mean box", "base": None, "route": "none", "corloc": 0.9}, *rows])
    assert "edges through the heuristic, 40.0%" in said and said.endswith("any route: grad-cam, gestalt-max.")
    assert against_controls([row for row in rows if row["base"] != "edges"]) == ""
    best = [row for row in rows if row["base"] in ("gradient-max", "edges")]
    assert against_controls(best).endswith("none of the methods.")


def test_one_photo_by_its_path(small, tmp_path, capsys):
    write_photo(tmp_path / "one.jpg", (70, 50))
    options = changed(
        small, images=tmp_path / "one.jpg", n_train=None, occlusion_strides=(), keep_maps=False, out=tmp_path / "out"
    )
    assert compare.main(options) == 0
    assert "1 test image" in capsys.readouterr().out and results(options)["predictions"][0]["image"] == "one.jpg"


def test_a_folder_without_splits_is_cross_fitted_and_a_named_split_is_asked_for(tmp_path, capsys):
    rows = [f"{i}.png,{2 * i},3,{40 + i},35,thing" for i in range(8)]
    for i in range(8):
        write_photo(tmp_path / "pets" / f"{i}.png", (48, 64), i)
    (tmp_path / "pets" / "boxes.csv").write_text("\n".join(["file,x0,y0,x1,y1,label", *rows]) + "\n")
    options = changed(
        compare.Options(), dataset="folder", data_root=tmp_path / "pets", methods=("edges",), quality=0, quiet=True,
        out=tmp_path / "out",
    )  # fmt: skip
    compare.main(options)
    said = capsys.readouterr().out
    assert "no training split" in said and "or name a --train-split" in said and "8 test images in 8 folds" in said
    assert "8 of 8 labels have no class" in said
    with pytest.raises(InputError, match="train2"):
        compare.main(changed(options, train_split="train2"))


def test_a_name_stands_for_one_path(tmp_path):
    with pytest.raises(InputError, match="--maps takes NAME=PATH, each with a name of its own, not 'a=z'"):
        compare.main(changed(SMALL, maps=("a=x", "a=z"), out=tmp_path / "out"))
    with pytest.raises(InputError, match="--boxes takes NAME=PATH"):
        compare.main(changed(SMALL, boxes=("x.csv",), out=tmp_path / "out"))


def test_the_command_line_parses():
    """Options of several groups lie side by side: no two may share a name."""
    line = "--dataset voc --data-root x --folds 3 --n-test 5 --resize crop --box-format xywh --data-box-format xywh"
    options = cli.parse(compare.Options, line.split())
    assert (options.compare.folds, options.compare.n_test, options.box_format) == (3, 5, "xywh")
    assert cli.parse(compare.Options, []).network.entry.resize == "stretch"  # the whole photo
