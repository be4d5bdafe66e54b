"""The boxes' benchmark: stores that go on, networks of its own, samples, the chooser and the rows of its table."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from localization.boxes import iou
from localization.published import VOC as CLASSES
from localization.regression.cells import Cells, covered
from scripts.benchmarks.boxes.chooser import chosen, small_network
from scripts.benchmarks.boxes.classes import ASKED, IMAGENET, TINY_CLASSES
from scripts.benchmarks.boxes.crossed import crossed
from scripts.benchmarks.boxes.markdown import table, tables
from scripts.benchmarks.boxes.photos import Photos
from scripts.benchmarks.boxes.routes import NO_PHOTO, Route, Samples, a_class, by_coverage, equation_4, lad, of_map
from scripts.benchmarks.boxes.sources import _members, _places
from scripts.benchmarks.boxes.store import Store
from scripts.benchmarks.boxes.table import compared


def samples(n: int, seed: int = 0, side: int = 12) -> Samples:
    """A noisy map that is bright inside of the box, and activations `[side, side, 3]` that tell of it too."""
    rng = np.random.default_rng(seed)
    low, size = rng.uniform(0, 0.4, (n, 2)), rng.uniform(0.3, 0.6, (n, 2))
    boxes = np.concatenate([low, low + size], 1)
    inside = covered(boxes, (side, side))
    map = inside + 0.2 * rng.random(inside.shape)
    channels = np.stack([inside, 1 - inside, rng.random(inside.shape)], -1) + 0.3 * rng.random((*inside.shape, 3))
    return Samples([map, channels], boxes, np.array(["cat", "dog"])[np.arange(n) % 2], np.arange(n))


def photos(data: Samples, scored: tuple[int, ...] = (0, 1)) -> Photos:
    n = len(data)
    return Photos(
        "drawn", [str(i) for i in range(n)], np.zeros(n), np.arange(n), data.labels, data.boxes,
        list(data.boxes[:, None]), np.arange(n) % 2, scored, np.ones(n, int), classes=True,
    )  # fmt: skip


def test_a_store_that_was_stopped_goes_on(tmp_path):
    asked: list[list[int]] = []

    def make(rows):
        asked.append(list(rows))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return {"a": np.array(rows, np.float32)[:, None]}

    store = Store(tmp_path / "a", 150, make, quiet=True)
    with pytest.raises(KeyboardInterrupt):
        store.complete()
    np.testing.assert_array_equal(store.complete()["a"][:, 0], np.arange(150))
    assert [one[0] for one in asked] == [0, 64, 64, 128]  # what was there is not made again
    assert store.names == ["a"]


def test_a_class_that_imagenet_has_none_of_is_all_of_them():
    members = _members([CLASSES.index("cat"), CLASSES.index("person"), -1])
    assert np.flatnonzero(members[0]).tolist() == list(IMAGENET["cat"])
    assert (members[1:] == 1).all()


def test_tiny_imagenets_labels_are_single_classes_of_imagenet():
    """Classes lie in the order of their WordNet ids, which is how ImageNet numbers them."""
    names = list(TINY_CLASSES)
    assert len(names) == 200 and names == sorted(names) and names[0] == "n01443537"
    indices = list(TINY_CLASSES.values())
    assert indices == sorted(set(indices)) and (indices[0], indices[-1]) == (1, 988)
    members = _members([ASKED.index("n01443537"), ASKED.index("cat")])
    assert np.flatnonzero(members[0]).tolist() == [1]
    assert np.flatnonzero(members[1]).tolist() == list(IMAGENET["cat"])


def test_the_odds_of_a_place_are_those_of_its_softmax():
    rng = np.random.default_rng(0)
    local = jnp.asarray(rng.standard_normal((1, 2, 3, 1000)), jnp.float32)
    members = _members([CLASSES.index("dog")])
    wanted = (jax.nn.softmax(local) * members[:, None, None]).sum(-1)
    found = _places(local, jnp.asarray(members))
    np.testing.assert_allclose(found["asked-odds"], wanted, atol=1e-4)
    top = np.asarray(local)[..., list(IMAGENET["dog"])].max(-1)
    np.testing.assert_allclose(found["asked-cam"], np.maximum(top, 0), atol=1e-6)


def test_left_out_maps_are_not_learned_from_their_own_photo():
    train, test = samples(60), samples(20, seed=1)
    cells = Cells((8, 8))
    left_out, _ = crossed(train, test, cells)
    changed = Samples([one.copy() for one in train.arrays], train.boxes.copy(), train.labels, train.photos)
    changed.boxes[0] = [0.9, 0.9, 1, 1]
    again, _ = crossed(changed, test, cells)
    np.testing.assert_array_equal(left_out[0], again[0])
    assert np.abs(left_out - again).max() > 0


@pytest.mark.slow
def test_the_chooser_and_the_small_network_find_boxes():
    train, test = samples(80), samples(20, seed=1)
    for learn in (lambda s: chosen(s, maps=(0,), cells=Cells((8, 8))), lambda s: small_network(s, Cells((8, 8)))):
        boxes = learn(train)[0](test)
        assert iou(boxes, test.boxes).mean() > 0.6


def test_a_table_of_markdown_names_the_map_of_another_route():
    row = {"features": "squeezenet1_1:grad-cam, efficientnet_lite0-320:cam", "route": "coverage", "corloc": 0.5}
    row |= {"low": 0.4, "high": 0.6, "paired": [{"against": "squeezenet1_1:grad-cam, heuristic", "difference": -0.01}]}
    row["paired"][0] |= {"low": -0.02, "high": 0.03}
    last = table([row]).splitlines()[-1]
    assert last == (
        "| SqueezeNet grad-cam; EfficientNet-Lite0 at 320 px cam | coverage | 50.0 [40.0, 60.0] |"
        " SqueezeNet grad-cam, heuristic -1.0 [-2.0, +3.0] |"
    )


@pytest.mark.slow
def test_a_row_for_each_route_paired_with_the_heuristic_of_its_map(tmp_path):
    data = samples(60)
    calls: list[str] = []

    def arrays(name: str, rows: np.ndarray) -> np.ndarray:
        calls.append(name)
        return data.arrays[["map", "layer"].index(name)][rows]

    cells = (Cells((8, 8)),)
    routes = [NO_PHOTO, *of_map("map", lad, cells), Route("Eq. 4", ("map",), equation_4),
              by_coverage("map", "layer", cells=cells), a_class(by_coverage("layer", cells=cells))]  # fmt: skip
    said: list[str] = []
    found = compared(photos(data), arrays, routes, tmp_path, say=said.append)
    rows = {(row["features"], row["route"]): row for row in found["rows"]}
    assert len(said) == len(routes) and found["folds"] == 2 and found["n"] == 60
    own = rows["map", "coverage"]
    assert [one["against"] for one in own["paired"]] == ["map, heuristic", "map, lad", "map, Eq. 4"]
    difference = own["corloc"] - rows["map", "heuristic"]["corloc"]
    assert own["paired"][0]["difference"] == pytest.approx(difference)
    assert [one["against"] for one in rows["map, layer", "coverage"]["paired"]] == ["map, heuristic"]
    assert "paired" not in rows["no photo", "median box"]
    assert own["corloc"] > rows["no photo", "median box"]["corloc"]
    assert rows["layer", "coverage, a class"]["by_class"].keys() == {"cat", "dog"}
    calls.clear()
    assert compared(photos(data), arrays, routes, tmp_path, say=said.append) == found and not calls  # kept


def test_a_route_of_very_many_arrays_has_a_name_that_fits_into_the_cache(tmp_path):
    """Of two whose names begin alike each finds its own boxes again."""
    data, names = samples(12), [f"network:layer{'x' * 40}{i}" for i in range(9)]

    def fixed(value: float):
        return lambda some: (lambda other: np.full((len(other), 4), value), "")

    routes = [Route("coverage", tuple(names[: 8 + i]), fixed(0.1 * i), "") for i in range(2)]
    arrays = lambda name, rows: data.arrays[1][rows]  # noqa: E731
    for _ in range(2):
        found = compared(photos(data), arrays, routes, tmp_path, say=lambda line: None)
        assert [row["mean_iou"] for row in found["rows"]] == [0, 0]
    kept = sorted(path.name for path in tmp_path.glob("*/*.npz"))
    assert len(kept) == 4 and max(map(len, kept)) < 255
    values = sorted(float(np.load(path)["boxes"].max()) for path in tmp_path.glob("*/*.npz"))
    assert values == [0, 0, 0.1, 0.1]


def test_the_docs_tables_are_those_of_the_figures():
    root = Path(__file__).resolve().parents[1]
    text = (root / "docs" / "boxes.md").read_text()
    made = tables(json.loads((root / "data" / "benchmarks" / "boxes.json").read_text()))
    assert made
    for name, one in made.items():
        assert one in text, f"docs/boxes.md lacks the table of {name}, or shows another one"


def test_protocols_stand_side_by_side_and_learned_boxes_beside_their_heuristics():
    one = {"value": 0.5, "low": 0.4, "high": 0.6}
    paired = {"against": "heuristic", "difference": 0.1, "low": -0.02, "high": 0.2}
    figures = [
        {"method": "grad-cam", "protocol": "maxboxacc", "route": "oracle threshold", **one},
        {"method": "grad-cam", "protocol": "gt-known", "route": "linear map", **one, "paired": paired},
        {"method": "grad-cam", "protocol": "top1-loc", "route": "linear map", **one},
    ]
    head, _, *lines = tables({"ilsvrc_dogs": {"figures": figures}})["ilsvrc_dogs"].splitlines()
    assert head == "| method | box by | maxboxacc | gt-known | top1-loc | gt-known against |"
    assert lines[0] == "| grad-cam | oracle threshold | 50.0 [40.0, 60.0] |  |  |  |"
    both = "50.0 [40.0, 60.0] | 50.0 [40.0, 60.0]"
    assert lines[1] == f"| grad-cam | linear map |  | {both} | heuristic +10.0 [-2.0, +20.0] |"
