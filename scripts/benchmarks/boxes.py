"""Boxes by coverage beside the other routes, on real photos and on scenes: CorLoc, intervals, paired tests, one table.

Every choice (penalties, cells, thresholds) is made inside the training folds, and all routes of a set share the folds.
Photos are stretched. Activations and maps are made once and kept in `--cache` as float16, as are the routes' boxes.
"""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array
from tqdm import tqdm

from localization import heuristics
from localization.boxes import area
from localization.datasets import load, scenes
from localization.features import pooled
from localization.metrics import best_iou, corloc, hits, mean_iou
from localization.regression import fit_linear_map
from localization.regression.cells import Cells
from localization.regression.coverage import fit_coverage, fit_coverage_blocks
from localization.regression.flip_equivariant import fit_flip_equivariant
from localization.statistics import mcnemar_exact, paired_difference
from saliency import report
from saliency._batches import in_batches
from saliency._files import write_arrays
from saliency._memory import peak_memory, reset_peak_memory
from saliency.errors import InputError
from saliency.methods import METHODS
from saliency.models.network import Network
from saliency.models.weights import load_network
from scripts import cli

SCHEMA = 1  # of the features in the cache: another number where other ones would be made
SOLVERS = 2  # the same of the boxes
SETS = ("scenes", "raccoon", "voc_animals", "few", "speed")
ANIMALS = ("cat", "cow", "dog", "horse", "sheep")
DEFAULT = (Cells(),)  # nothing chosen: the recipe's grid, for channels of photos
FEW = (25, 50, 100, 200)
CHUNK = 64  # photos in memory at once
SIDE = 56  # pixels of the maps that are kept
MAPS = ("gradient-max", "guided-backprop", "grad-cam")
LAYERS = {
    "squeezenet1_1": ("fire7", "fire9"),
    "scenes_cnn": ("relu3_2", "relu4_2"),
    "efficientnet_lite0": ("block10", "block15"),
}


@dataclass(frozen=True)
class Options:
    """CorLoc of coverage, of the other linear maps and of the heuristics, all on the same folds."""

    sets: tuple[str, ...] = SETS
    """What is measured: data sets, "few" (boxes, of the VOC animals), "speed"."""
    shared: Path | None = None
    """Folder of real weights and photos (default: the variable SALBOX_SHARED)."""
    cache: Path = Path("runs/benchmark/boxes")
    """Where activations, maps and boxes are kept."""
    out: Path = Path("runs/benchmark/boxes.json")
    seed: int = 0
    quiet: bool = False


@dataclass(frozen=True)
class Route:
    """`features` are names of arrays; `learn(arrays, boxes)` gives what predicts, of arrays, and a word on it."""

    name: str
    features: tuple[str, ...]
    learn: "Callable[[list[np.ndarray], np.ndarray], tuple[Predict, str]]"
    suffix: str = ""
    """What tells its boxes in the cache from those of the same features learned otherwise."""


Predict = Callable[[list[np.ndarray]], np.ndarray]


def main(options: Options) -> int:
    unknown = sorted(set(options.sets) - set(SETS))
    if unknown:
        raise InputError(f"unknown set {unknown[0]!r}; choose from {', '.join(SETS)}")
    shared = options.shared or (Path(os.environ["SALBOX_SHARED"]) if os.environ.get("SALBOX_SHARED") else None)
    if shared is None and set(options.sets) - {"scenes", "speed"}:
        raise InputError("--shared must name the folder with real weights and photos, or leave scenes and speed only")
    quiet = cli.silent(options.quiet)
    results: dict[str, Any] = {}
    digests = []
    for name in options.sets:
        if name == "speed":
            results[name] = speed()
            print(", ".join(f"{key} {value:.4g}" for key, value in results[name].items()), flush=True)
            continue
        photos = _photos(name, shared)
        arrays = _arrays(name, photos, shared, options.cache, quiet)
        digests.append(report.content_hash(photos.target, photos.folds, *(arrays[key] for key in sorted(arrays))))
        if name == "few":
            results[name] = few(photos, arrays)
            continue
        results[name] = compared(photos, arrays, ROUTES[name], options.cache / digests[-1][:16], options.seed)
        for row in results[name]["rows"]:
            print(line(name, row), flush=True)
    origin = report.record(options, options.seed, report.content_hash(*digests), cli.command())
    report.write_json(options.out, {**origin, "results": results})
    print(f"wrote {options.out}")
    return 0


def line(name: str, row: Mapping[str, Any]) -> str:
    """One row of the table as text."""
    share = f"{row['corloc']:.1%} [{row['low']:.1%}, {row['high']:.1%}]"
    against = row["paired"]
    paired = f"  {against['difference']:+.1%} [{against['low']:+.1%}, {against['high']:+.1%}]" if against else ""
    return f"{name:12} {row['features']:36} {row['route']:11} {share:24} n {row['n']}{paired}"


def compared(
    photos: "Photos", arrays: Mapping[str, np.ndarray], routes: Sequence[Route], cache: Path, seed: int
) -> dict[str, Any]:
    """A row for each route. Coverage is paired with the heuristic of the same map, or with the best of all heuristics
    where it reads several arrays; that one is chosen on the test photos, in its favour."""
    tested = np.flatnonzero(photos.folds == 0) if photos.name == "scenes" else np.arange(len(photos.target))
    true = [photos.true[i] for i in tested]
    found = {route: _cached(route, photos, arrays, cache) for route in routes}
    right = {route: hits(best_iou(boxes[tested], true)) for route, (boxes, *_) in found.items()}
    heuristic = {route.features: route for route in routes if route.name == "heuristic"}
    strongest = max(heuristic.values(), key=lambda route: right[route].mean())
    rows = []
    for route, (boxes, seconds, milliseconds, chosen) in found.items():
        share, overlap = (figure(boxes[tested], true, seed=seed) for figure in (corloc, mean_iou))
        paired = None
        if route.name in ("coverage", "linear map"):
            other = heuristic.get(route.features, strongest)
            difference = paired_difference(right[route], right[other], seed=seed)
            paired = {
                "against": f"{', '.join(other.features)}, heuristic",
                "difference": difference.value,
                "low": difference.low,
                "high": difference.high,
                "mcnemar_p": mcnemar_exact(right[route], right[other]).p,
            }
        rows.append(
            {
                "features": ", ".join(route.features) or "none",
                "route": route.name,
                "n": share.n,
                "no_box": share.missing,
                "corloc": share.value,
                "low": share.low,
                "high": share.high,
                "mean_iou": overlap.value,
                "fit_cpu_seconds": seconds,
                "predict_cpu_ms": milliseconds,
                "chosen": chosen,
                "paired": paired,
            }
        )
    folds = 1 if photos.name == "scenes" else int(photos.folds.max()) + 1
    return {"n": len(tested), "learned_from": len(photos.target) - len(tested) or "the other folds", "folds": folds,
            "rows": rows}  # fmt: skip


def _cached(
    route: Route, photos: "Photos", arrays: Mapping[str, np.ndarray], cache: Path
) -> tuple[np.ndarray, float, float, dict[str, int]]:
    """Boxes of the tested photos in shares, float `[n, 4]`; CPU seconds of a fit and ms of a box; what was chosen."""
    path = cache / f"{SOLVERS}-{route.name}-{'-'.join(route.features)}{route.suffix}.npz".replace(" ", "_")
    if not path.exists():
        boxes, chosen, fitting, predicting = np.full((len(photos.target), 4), np.nan), [], 0.0, 0.0
        folds = [0] if photos.name == "scenes" else range(int(photos.folds.max()) + 1)
        for fold in folds:
            train, test = np.flatnonzero(photos.folds != fold), np.flatnonzero(photos.folds == fold)
            some = [arrays[name] for name in route.features]
            start = time.process_time()
            predict, said = route.learn([one[train] for one in some], photos.target[train])
            fitted = time.process_time()
            boxes[test] = predict([one[test] for one in some] or [test])
            predicting += time.process_time() - fitted
            fitting += (fitted - start) / len(folds)
            chosen.append(said)
        tested = np.isin(photos.folds, list(folds)).sum()
        figures = {"boxes": boxes, "seconds": np.array(fitting), "ms": np.array(1000 * predicting / tested)}
        write_arrays(path, figures | {"chosen": np.array(chosen)})
    with np.load(path, allow_pickle=False) as file:
        return file["boxes"], float(file["seconds"]), float(file["ms"]), dict(Counter(file["chosen"].tolist()))


def _coverage(cells: Sequence[Cells] | None, arrays: list[np.ndarray], boxes: np.ndarray) -> tuple[Predict, str]:
    fit = fit_coverage(arrays, boxes, size=(1, 1), candidates=cells)
    own, penalty = fit.cells, fit.record["correction_penalty"]
    layers = "all" if own.layers is None else " ".join(map(str, own.layers))
    said = f"grid {own.grid[0]}x{own.grid[1]}, scales {own.scales}, context {own.context}, layers {layers}"
    return fit.predict, f"{said}, {'corrected' if penalty else 'as it is'}"


def _constant(arrays: list[np.ndarray], boxes: np.ndarray) -> tuple[Predict, str]:
    return lambda arrays: np.tile(np.median(boxes, 0), (len(arrays[0]), 1)), ""


def _heuristic(arrays: list[np.ndarray], boxes: np.ndarray) -> tuple[Predict, str]:
    side = arrays[0].shape[1]
    fit = heuristics.fit_heuristic(arrays[0].astype(np.float32), boxes * side)
    return lambda arrays: fit.predict(arrays[0].astype(np.float32)) / side, str(fit)


def _flip_equivariant(arrays: list[np.ndarray], boxes: np.ndarray) -> tuple[Predict, str]:
    """What compare takes for few photos."""
    side = arrays[0].shape[1]
    fit = fit_flip_equivariant(arrays[0].astype(np.float32), boxes * side)
    return lambda arrays: fit.predict(arrays[0].astype(np.float32)) / side, f"smooth {fit.features.smooth:.3g}"


def _lad(arrays: list[np.ndarray], boxes: np.ndarray) -> tuple[Predict, str]:
    """What compare takes for many."""
    side = arrays[0].shape[1]
    fit = fit_linear_map(arrays[0].astype(np.float32), boxes * side)
    return lambda arrays: fit.predict(arrays[0].astype(np.float32)) / side, f"penalty {fit.penalty:.3g}"


def _of_maps(linear: Callable, maps: Sequence[str], cells: Sequence[Cells] | None = None) -> list[Route]:
    """The three routes of each map by itself, and coverage of all maps side by side."""
    single = [
        route
        for name in maps
        for route in (
            Route("heuristic", (name,), _heuristic),
            Route("linear map", (name,), linear),
            _by_coverage((name,), cells),
        )
    ]
    return [Route("none", (), _constant), *single, _by_coverage(tuple(maps), cells)]


def _by_coverage(names: tuple[str, ...], cells: Sequence[Cells] | None = None) -> Route:
    return Route("coverage", names, partial(_coverage, cells), "" if cells is None else "-given")


SCENES_MAPS = (*MAPS, "activation", "gestalt-max")
ROUTES = {
    "scenes": [
        *_of_maps(_lad, SCENES_MAPS),
        _by_coverage(("relu3_2", "relu4_2")),
        _by_coverage(("relu3_2", "relu4_2", *SCENES_MAPS)),
    ],
    "raccoon": [
        *_of_maps(_flip_equivariant, MAPS),
        _by_coverage(("block10", "block15"), DEFAULT),
        _by_coverage(("fire7", "fire9"), DEFAULT),
    ],
    "voc_animals": [
        *_of_maps(_flip_equivariant, MAPS, DEFAULT),
        _by_coverage(("block10", "block15"), DEFAULT),
        _by_coverage(("fire7", "fire9"), DEFAULT),
    ],
}


def few(photos: "Photos", arrays: Mapping[str, np.ndarray], draws: int = 3) -> dict[str, Any]:
    """EfficientNet-Lite0's channels by coverage from a few boxes: CorLoc of some draws, on all other photos."""
    some = [arrays[f"block{i}"] for i in (10, 15)]
    found: dict[str, Any] = {"n": len(photos.target), "draws": draws}
    for count in FEW:
        shares: dict[str, list[float]] = {"coverage": [], "median box": []}
        for draw in range(draws):
            order = np.random.default_rng(draw).permutation(len(photos.target))
            train, test = np.sort(order[:count]), np.sort(order[count:])
            true = [photos.true[i] for i in test]
            for name, learn in (("coverage", partial(_coverage, DEFAULT)), ("median box", _constant)):
                predict, _ = learn([one[train] for one in some], photos.target[train])
                shares[name].append(corloc(predict([one[test] for one in some]), true).value)
        found[str(count)] = shares
        print(
            f"few          {count} boxes " + ", ".join(f"{k} {np.mean(v):.1%}" for k, v in shares.items()), flush=True
        )
    return found


def speed(c: int = 432, side: int = 14) -> dict[str, float]:
    """CPU seconds of a fit to 2,000 photos of c channels and 8 of the place, ms of a box, MiB of
    three numbers of photos whose blocks are made when they are asked for."""
    rng = np.random.default_rng(0)
    one = rng.standard_normal((128, side, side, c), np.float32)
    corners = np.sort(rng.random((128, 2, 2)), 1).reshape(128, 4)

    def blocks(n: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for start in range(0, n, 128):
            count = min(128, n - start)
            yield one[:count], corners[:count], np.arange(start, start + count)

    found = {}
    fit_coverage_blocks(partial(blocks, 200), size=(1, 1), candidates=DEFAULT)  # compiles
    for n in (1000, 2000, 4000):
        reset_peak_memory()
        base, start, clock = peak_memory() or 0, time.process_time(), time.perf_counter()
        fit = fit_coverage_blocks(partial(blocks, n), size=(1, 1), candidates=DEFAULT)
        found[f"fit {n} photos, CPU seconds"] = time.process_time() - start
        found[f"fit {n} photos, seconds"] = time.perf_counter() - clock
        found[f"fit {n} photos, MiB"] = ((peak_memory() or 0) - base) / 2**20
    fit.predict(one)
    start = time.process_time()
    for _ in range(4):
        fit.predict(one)
    found["predict, CPU ms a photo"] = 1000 * (time.process_time() - start) / 512
    return found


def _photos(name: str, shared: Path | None) -> "Photos":
    if name == "scenes":
        return scenes_photos(1000, 500)
    assert shared is not None
    if name == "raccoon":
        return voc_photos(name, shared / "data" / "raccoon_voc")
    return voc_photos("voc_animals", shared / "data" / "voc2012_animals", ANIMALS)


def _arrays(name: str, photos: "Photos", shared: Path | None, cache: Path, quiet: bool) -> dict[str, np.ndarray]:
    networks = {"scenes": ["scenes_cnn"], "few": ["efficientnet_lite0"]}.get(
        name, ["squeezenet1_1", "efficientnet_lite0"]
    )
    found: dict[str, np.ndarray] = {}
    for network in networks:
        weights = shared / "weights" / f"{network}.safetensors" if shared and network != "scenes_cnn" else None
        found |= features(photos, network, weights, cache, quiet)
    return found


@dataclass(frozen=True)
class Photos:
    """One data set's photos with the box that is learned, in shares of the photo, and all boxes of its class."""

    name: str
    ids: Sequence[str]
    images: Sequence[np.ndarray] | np.ndarray
    target: np.ndarray
    true: list[np.ndarray]
    folds: np.ndarray


def scenes_photos(n_train: int, n_test: int) -> Photos:
    """The embedded set: what is tested is fold 0, what is learned from folds 1 to 5."""
    train, test = scenes("train", n_train), scenes("test", n_test)
    boxes = np.concatenate([train.boxes, test.boxes]) / train.images.shape[1]
    folds = np.concatenate([1 + np.arange(n_train) % 5, np.zeros(n_test, int)])
    ids = [f"{split}/{i}" for split, n in (("train", n_train), ("test", n_test)) for i in range(n)]
    return Photos("scenes", ids, np.concatenate([train.images, test.images]), boxes, list(boxes[:, None]), folds)


def voc_photos(name: str, root: Path, classes: Sequence[str] | None = None) -> Photos:
    """Photos by ten folds; with `classes` those that show one object alone, and it of these classes."""
    data = load("voc", root, split="all")
    if classes is not None:
        data = data.select([i for i, a in enumerate(data.annotations) if len(a.labels) == 1 and a.labels[0] in classes])
    target, true = [], []
    for annotation in data.annotations:
        shares = annotation.boxes / np.tile(annotation.size[::-1], 2)
        largest = int(area(shares).argmax())
        target.append(shares[largest])
        true.append(shares[[label == annotation.labels[largest] for label in annotation.labels]])
    folds = np.random.default_rng(0).permutation(len(data)) % 10
    return Photos(name, [a.source for a in data.annotations], data.images, np.array(target), true, folds)


def features(photos: Photos, network: str, weights: Path | None, cache: Path, quiet: bool) -> dict[str, np.ndarray]:
    """Activations and maps by name: float16 `[n, h, w, c]` and `[n, h, w]`, made once."""
    learned = report.content_hash(
        photos.target, photos.ids, hashlib.sha256(weights.read_bytes()).digest() if weights else b""
    )
    path = cache / f"{SCHEMA}-{photos.name}-{network}-{learned[:16]}.npz"
    if not path.exists():
        made: dict[str, list[np.ndarray]] = {}
        source = features_of(network, weights)
        for i in tqdm(range(0, len(photos.images), CHUNK), desc=f"{photos.name} {network}", disable=quiet):
            for name, part in source(list(photos.images[i : i + CHUNK])):
                made.setdefault(name, []).append(part.astype(np.float16))
        write_arrays(path, {name: np.concatenate(parts) for name, parts in made.items()})
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def features_of(network: str, weights: Path | None):
    """Chosen layers of a network, photos stretched, and its maps where routes read them; targets are the predicted
    classes."""
    net = load_network(network, weights)
    net.preprocess = net.preprocess.changed("stretch")
    names = {"scenes_cnn": SCENES_MAPS, "squeezenet1_1": MAPS}.get(network, ())

    def source(images: Sequence[np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
        x = net.preprocess(images)
        yield from layers(net, x, LAYERS[network]).items()
        side = min(SIDE, x.shape[1] // 2)
        for name in names:
            maps = METHODS[name].maps(net, x)
            # a gradient's unit is arbitrary, and float16 has no room for small ones
            yield name, pooled(maps, (side, side)) / np.maximum(np.abs(maps).max((1, 2), keepdims=True), 1e-30)

    return source


def layers(net: Network, x: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Activations of several layers from one forward pass."""

    @jax.jit
    def forward(x: Array) -> dict[str, Array]:
        found = net.architecture.activations(net.weights, x, names[-1])
        return {name: found[name] for name in names}

    parts = in_batches(lambda i: np.concatenate([v.reshape(len(i), -1) for v in forward(x[i]).values()], 1), len(x), 8)
    shapes = net.architecture.shapes(x.shape[1], x.shape[2], names[-1])
    flat = np.concatenate(parts)[: len(x)]
    ends = np.cumsum([np.prod(shapes[name]) for name in names])[:-1]
    return {name: part.reshape(-1, *shapes[name]) for name, part in zip(names, np.split(flat, ends, axis=1))}
