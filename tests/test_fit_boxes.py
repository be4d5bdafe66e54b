"""fit_boxes on stores made by hand: the same solution by every route, figures, and what it refuses."""

import json
import shutil
from dataclasses import asdict

import numpy as np
import pytest

from localization import CoverageMap, Features, best_iou, fit_coverage, load_linear_map
from localization.fitting import FitOptions, fit
from localization.regression import load_bundle, ridge
from localization.regression.data import open_regression_data
from localization.report import fitted as report
from localization.store import Record, Shard, create_store
from saliency.errors import InputError
from saliency.models.preprocessing import Preprocessing
from scripts.fit_boxes import Options, main

N, SIZE, PHOTO = 120, (12, 16), (60, 90)  # maps are 12 x 16 of inputs 24 x 32, photos 60 x 90
FEATURES = Features(size=(6, 8), smooth=0, focus=0)


@pytest.fixture(scope="module")
def boxes():
    rng = np.random.default_rng(3)
    x, y = (np.sort(rng.uniform(0, size, (N, 2)), 1) for size in (PHOTO[1] - 15, PHOTO[0] - 10))
    return np.stack([x[:, 0], y[:, 0], x[:, 1] + 15, y[:, 1] + 10], 1)


def make_store(folder, boxes, method, noise, shown=lambda i: i, **description):
    """Maps bright where the box is; image 7 has no map, image 11 no box."""
    rng = np.random.default_rng(noise)
    described = {
        **{"dataset": "hand", "split": "all", "images": "abc", "left_out": [], "network": "vgg16", "weights": "123"},
        **{"preprocessing": Preprocessing((24, 32), mode="stretch").record(), "method": method, "target": "predicted"},
        **{"options": {}, "size": list(SIZE), "precision": "float32"},
        **description,
    }
    store = create_store(folder, described, N, 25)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    for number in store.shards:
        maps, records = [], []
        for i in store.images(number):
            a, b, c, d = boxes[i] * np.array([SIZE[1] / PHOTO[1], SIZE[0] / PHOTO[0]] * 2)
            inside = (columns > a) & (columns < c) & (rows > b) & (rows < d)
            maps.append((inside + 0.02 + noise / 100 * rng.random(SIZE)).astype(np.float32))
            own = () if i == 11 else (tuple(boxes[i]),)
            labels = ("cat",) * len(own)
            problem = "damaged image" if i == 7 else ""
            records.append(Record(f"photo{i}", PHOTO, labels, own, f"hash{shown(i)}", problem=problem))
        store.write(number, Shard(np.array(maps), tuple(records)))
    store.finish()
    return folder


@pytest.fixture(scope="module")
def stores(tmp_path_factory, boxes):
    folder = tmp_path_factory.mktemp("stores")
    return tuple(make_store(folder / name, boxes, name, noise) for noise, name in enumerate(("gradient", "gestalt"), 1))


def fitted(folders, out, **changes):
    given = {"stores": folders[:1], "method": "ridge", "features": FEATURES, "lambdas": (0.01, 0.1, 1.0), **changes}
    stores = given.pop("stores")
    assert main(Options(stores, out, fit=FitOptions(**given), quiet=True)) == 0
    return load_linear_map(out / "linear_map.safetensors")


def test_the_stock_holds_the_usable_images_and_their_boxes(stores, boxes):
    data = open_regression_data(stores, FEATURES)
    assert [record.source for record in data.records] == [f"photo{i}" for i in range(N) if i not in (7, 11)]
    usable = np.delete(np.arange(N), [7, 11])
    np.testing.assert_allclose(data.target_boxes(), boxes[usable] * np.array([16 / 90, 12 / 60] * 2))
    np.testing.assert_allclose(data.to_photos(data.target_boxes(), np.arange(len(data))), boxes[usable])
    assert data.width == 2 * FEATURES.count(*SIZE)


def test_processes_share_the_rows_and_lose_none(stores):
    targets = np.arange(N - 2)[:, None].astype(float)
    chosen = np.array([90, 3, 40, 41, 8, 117, 26])
    parts = [
        open_regression_data(stores, FEATURES, part=part, parts=3).feature_blocks(chosen, targets) for part in range(3)
    ]
    assert sorted(np.concatenate([rows.targets[:, 0] for rows in parts])) == sorted(chosen)
    whole = open_regression_data(stores, FEATURES, cache=0).feature_blocks(chosen, targets)
    x = np.concatenate([np.concatenate([*rows.blocks(), np.empty((0, rows.width))]) for rows in parts])
    order = np.argsort(np.concatenate([rows.targets[:, 0] for rows in parts]))
    np.testing.assert_array_equal(np.concatenate(list(whole.blocks())), x[order])


def test_the_boxes_are_found_and_the_files_written(stores, tmp_path):
    linear = fitted(stores, tmp_path, few_shot=(10, 40), repeats=2)
    results = json.loads((tmp_path / "results.json").read_text())
    row = {row["route"]: row for row in results["rows"]}
    assert row["linear map"]["mean_iou"] > row["median box"]["mean_iou"] + 0.2
    assert [one["n"] for one in results["few_shot"]] == [10, 40]
    assert set(results["path"]) == {"0.01", "0.1", "1.0"}
    assert linear.source["method"] == "gradient"
    assert len((tmp_path / "boxes.csv").read_text().splitlines()) == 1 + results["images"]["score"]
    page = (tmp_path / "report.html").read_text()
    assert "CorLoc: share of the scored images whose box overlaps" in page and "fitted by a ridge." in page
    rows = [{**one, "corloc": 0.5 + i / 10} for i, one in enumerate(results["rows"])]
    table = report.sections({**results, "rows": rows}, linear)[0].tables[0]
    assert table.best == 3  # it was the linear map, whatever that reached


def test_a_second_run_writes_the_same_bytes(stores, tmp_path):
    fitted(stores, tmp_path / "a", method="lad", few_shot=(10,))
    fitted(stores, tmp_path / "b" / "a", method="lad", few_shot=(10,))
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / "a" / path.name).read_bytes()


def test_a_folder_removed_under_the_run_is_told(stores, tmp_path, monkeypatch):
    def removing(path, *rest):
        shutil.rmtree(path.parent)
        page(path, *rest)

    page = report.write_page
    monkeypatch.setattr(report, "write_page", removing)
    with pytest.raises(InputError, match=r"boxes.csv: was removed while the run went on; run the same command again"):
        fitted(stores, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.html"]


def test_every_route_gives_the_same_ridge_solution(stores, tmp_path):
    """88 rows of 126 features by the dual form; conjugate gradients where no matrix fits; fewer features by moments."""
    dual = fitted(stores, tmp_path / "dual")
    few = Features(size=(3, 4), smooth=0, focus=0)
    primal = fitted(stores, tmp_path / "primal", features=few, lambdas=(0.1,))
    gradients = fitted(stores, tmp_path / "gradients", features=few, lambdas=(0.1,), budget=0)
    chosen = fitted(stores, tmp_path / "chosen", features=few, lambdas=(0.1, 1e6))
    np.testing.assert_allclose(primal.weights, gradients.weights, rtol=1e-3, atol=1e-5)
    assert chosen.penalty == primal.penalty == 0.1  # of one penalty no eigenvectors are needed
    np.testing.assert_allclose(primal.weights, chosen.weights, rtol=1e-5, atol=1e-8)
    data = open_regression_data(stores[:1], FEATURES)
    assert dual.record["n"] < data.width
    assert primal.record["n"] >= open_regression_data(stores[:1], few).width


@pytest.mark.slow
def test_stacked_methods_and_refinements_are_fitted(stores, tmp_path):
    for method, steps in (("lad", 20), ("iou", 3), ("sgd", 50)):
        linear = fitted(stores, tmp_path / method, stores=stores, method=method, steps=steps, coding="centre")
        assert linear.methods == 2
        assert linear.source["method"] == "gradient+gestalt"


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"shares": (0.5, 0.5, 0.5)}, "--shares must be"),
        ({"lambdas": ()}, "--lambdas must be"),
        ({"few_shot": (2,)}, "--few-shot must be a whole number of at least 3, not 2"),
        ({"stores": ()}, "no store of maps"),
        ({"method": "lad", "budget": 0, "features": Features(size=(2, 2), profiles=(0.5,))}, "need more than --budget"),
    ],
)
def test_bad_options_are_told(stores, tmp_path, changes, part):
    with pytest.raises(InputError, match=part):
        fitted(stores, tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


def test_stores_that_do_not_belong_together_are_told(stores, boxes, tmp_path):
    other = make_store(tmp_path / "other", boxes, "gestalt", 2, images="other")
    with pytest.raises(InputError, match="differ in images"):
        open_regression_data((stores[0], other), FEATURES)


def test_stores_of_two_layers_are_stacked_and_say_so(stores, boxes, tmp_path):
    other = make_store(tmp_path / "other", boxes, "gradient", 2, options={"layer": "conv1"})
    source = open_regression_data((stores[0], other), FEATURES).source
    assert source["method"] == "gradient+gradient" and source["options"] == [{}, {"layer": "conv1"}]
    assert source["network"] == "vgg16"


def test_options_are_recorded(stores, tmp_path):
    fitted(stores, tmp_path)
    config = json.loads((tmp_path / "results.json").read_text())["config"]
    assert config["features"]["softness"] == asdict(FEATURES)["softness"]
    assert config["lambdas"] != list(ridge.LAMBDAS)


def test_a_photo_that_is_scored_is_not_learned_from(boxes, tmp_path):
    """Every second image shows what the one before it shows: the pairs that the split tears apart are taken out."""
    store = make_store(tmp_path / "twice", boxes, "gradient", 1, shown=lambda i: i // 2)
    given = FitOptions("ridge", FEATURES, lambdas=(0.1,))
    data = open_regression_data([store], FEATURES)
    result = fit(store, options=given)
    order = np.random.default_rng(0).permutation(N - 2)
    parts = np.split(order, np.round(np.cumsum(given.shares) * (N - 2)).astype(int))[:3]
    chosen, scored = ({data.records[i].pixels for i in part} for part in parts[1:])
    kept = [i for i in parts[0] if data.records[i].pixels not in chosen | scored]
    assert 0 < len(kept) < len(parts[0]) and result.results["images"]["fit"] == len(kept)
    held = [i for i in parts[1] if data.records[i].pixels not in scored]
    assert result.results["images"]["choose"] == len(held) and result.results["images"]["score"] == len(parts[2])
    taken = len(parts[0]) - len(kept) + len(parts[1]) - len(held)
    assert f"{taken} images show the very photo of one held out, so nothing is learned from them" in result.notes


def test_stores_of_other_photos_under_the_same_names_are_told(stores, boxes, tmp_path):
    other = make_store(tmp_path / "other", boxes, "gestalt", 2, shown=lambda i: i + (i == 40))
    with pytest.raises(InputError, match=r"differ in the pixels of photo40, so they cannot be stacked"):
        open_regression_data((stores[0], other), FEATURES)
    moved = boxes.copy()
    moved[3, 2] += 1
    other = make_store(tmp_path / "moved", moved, "gestalt", 2)
    with pytest.raises(InputError, match=r"differ in the boxes of photo3, so they cannot be stacked"):
        open_regression_data((stores[0], other), FEATURES)


def test_what_was_left_out_is_said(stores, tmp_path, capsys):
    fitted(stores, tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["notes"] == [
        "1 images have no map and are left out, the first photo7",
        "1 images have no box and are left out, the first photo11",
    ]
    page, said = (tmp_path / "report.html").read_text(), capsys.readouterr().out
    assert all(note in page and f"note: {note}" in said for note in results["notes"])
    assert "nothing is cut away" in page


def test_in_python(stores, tmp_path):
    options, calls = FitOptions("ridge", FEATURES, lambdas=(0.1, 1.0), few_shot=(10, 20), repeats=2), []
    result = fit(stores[0], options=options, progress=lambda *done: calls.append(done))
    assert calls == [(i, 4) for i in range(1, 5)]
    assert [row["route"] for row in result.rows] == ["linear map", "median box", "mean box", "full image"]
    assert "linear map" in result.table() and "<table>" in result._repr_html_()
    written = result.save(tmp_path / "out")
    assert json.loads(written.read_text())["rows"] == result.rows
    with pytest.raises(InputError, match="`few_shot` and `method` sgd run in a single process"):
        fit(stores[0], options=options, parts=2)


@pytest.mark.slow
def test_coverage_streamed_from_stores_is_coverage_in_memory(stores, boxes, tmp_path):
    """Two stacked methods; image 21 shows the photo of 20, so that they are learned from together."""
    again = make_store(tmp_path / "again", boxes, "gestalt", 2, shown=lambda i: 20 if i == 21 else i)
    once = make_store(tmp_path / "once", boxes, "gradient", 1, shown=lambda i: 20 if i == 21 else i)
    given = FitOptions(few_shot=(12,), repeats=2)
    assert main(Options((once, again), tmp_path / "out", fit=given, quiet=True)) == 0
    learned = load_bundle(tmp_path / "out" / "linear_map.safetensors")
    assert isinstance(learned, CoverageMap) and learned.source["method"] == "gradient+gestalt"

    data = open_regression_data((once, again), FEATURES)
    order = np.random.default_rng(0).permutation(len(data))
    ends = np.round(np.cumsum((0.75, 0.15, 0.10)) * len(data)).astype(int)
    pixels = np.array([record.pixels for record in data.records])
    used, score = np.sort(order[: ends[1]]), np.sort(order[ends[1] : ends[2]])
    used = used[~np.isin(pixels[used], pixels[score])]
    maps = [np.concatenate([store.read(k).maps for k in store.shards]) for store in data.stores]
    maps = [np.delete(one, [7, 11], 0) for one in maps]
    known, photos = data.target_boxes(), np.unique(pixels, return_inverse=True)[1]
    memory = fit_coverage([one[used] for one in maps], known[used], photos=photos[used])
    np.testing.assert_array_equal(learned.solution, memory.solution)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["images"]["fit"] == len(used) == memory.record["n"] and results["images"]["score"] == len(score)
    rows = {row["route"]: row for row in results["rows"]}
    expected = memory.predict([one[score] for one in maps]) * np.array([90 / 16, 60 / 12] * 2)
    overlap = best_iou(expected, [boxes[[int(data.records[i].source[5:])]] for i in score])
    assert rows["linear map"]["mean_iou"] == pytest.approx(overlap.mean(), abs=1e-4)
    assert rows["linear map"]["mean_iou"] > rows["median box"]["mean_iou"] + 0.2
    assert [one["n"] for one in results["few_shot"]] == [12] and len(results["few_shot"][0]["draws"]) == 2
    assert "the share of each cell that the box is expected to cover" in (tmp_path / "out" / "report.html").read_text()
    assert main(Options((once, again), tmp_path / "b" / "out", fit=given, quiet=True)) == 0
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / "out" / path.name).read_bytes()
