"""What is no table of routes: how few boxes are enough, and what it costs."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from localization.metrics import corloc
from localization.regression.coverage import fit_coverage_blocks
from saliency._memory import peak_memory, reset_peak_memory
from scripts.benchmarks.boxes.dogs import ilsvrc_dogs
from scripts.benchmarks.boxes.routes import DEFAULT, Samples, coverage, median
from scripts.benchmarks.boxes.sets import E_CHANNELS, SETS
from scripts.benchmarks.boxes.stores import features

FEW = (25, 50, 100, 200)


def few(shared: Path, cache: Path, quiet: bool, draws: int = 3) -> dict[str, Any]:
    """EfficientNet-Lite0's channels by coverage from a few boxes: CorLoc of some draws, on all other photos."""
    chosen = SETS["voc_animals"]
    photos = chosen.photos(shared)
    assert chosen.scored is not None
    alone = np.flatnonzero(chosen.scored(photos))
    arrays = features(photos, shared, cache, quiet)
    everything = Samples([arrays(name, alone) for name in E_CHANNELS], photos.target[alone], photos.label[alone], alone)
    found: dict[str, Any] = {"n": len(alone), "draws": draws, "boxes": {}}
    for count in FEW:
        shares: dict[str, list[float]] = {"coverage": [], "median box": []}
        for draw in range(draws):
            order = np.random.default_rng(draw).permutation(len(alone))
            train, test = (everything.select(np.sort(part)) for part in (order[:count], order[count:]))
            true = [photos.true[alone[i]] for i in np.sort(order[count:])]
            for name, learn in (("coverage", coverage), ("median box", median)):
                shares[name].append(corloc(learn(train)[0](test), true).value)
        found["boxes"][str(count)] = shares
        print(f"few {count} boxes " + ", ".join(f"{k} {np.mean(v):.1%}" for k, v in shares.items()), flush=True)
    return found


def speed(shared: Path, cache: Path, quiet: bool, c: int = 432, side: int = 14) -> dict[str, float]:
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
    print(", ".join(f"{key} {value:.4g}" for key, value in found.items()), flush=True)
    return found


OTHERS: dict[str, Callable[[Path, Path, bool], dict[str, Any]]] = {
    "few": few, "speed": speed, "ilsvrc_dogs": ilsvrc_dogs,
}  # fmt: skip
