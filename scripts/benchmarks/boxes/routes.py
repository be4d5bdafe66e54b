"""Ways from features to boxes, each learned from some samples: what the benchmark compares.

Boxes are in shares of the photo. A route's `learn(samples)` gives what predicts, of other samples, and a word on what
was chosen.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from localization import heuristics
from localization.features import Features
from localization.regression import fit_linear_map
from localization.regression.cells import Cells
from localization.regression.coverage import fit_coverage
from localization.regression.flip_equivariant import fit_flip_equivariant

DEFAULT = (Cells(),)  # nothing chosen: the recipe's grid, for channels of photos
FINER = (Cells(), Cells((24, 24)))
SMALL = (*FINER, Cells((24, 24), (0.0, 0.03, 0.06, 0.11)), Cells((24, 24), (0.0, 0.02, 0.04, 0.07, 0.11, 0.16, 0.23)))
CONTEXT = (Cells((24, 24), context=(0.1,)), Cells((24, 24), context=(0.06, 0.15)))
LEAST = 20  # samples of a class that is learned by itself


@dataclass(frozen=True)
class Samples:
    """Features, an array each, of samples; the box that is learned, the class that is asked for, the photo's number."""

    arrays: list[np.ndarray]
    boxes: np.ndarray
    labels: np.ndarray
    photos: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, rows: np.ndarray) -> "Samples":
        return Samples([one[rows] for one in self.arrays], self.boxes[rows], self.labels[rows], self.photos[rows])


Predict = Callable[[Samples], np.ndarray]
Learn = Callable[[Samples], tuple[Predict, str]]


@dataclass(frozen=True)
class Route:
    """`features` are names of arrays, network:array. `key` tells its boxes in the cache from those of the same features
    and name learned otherwise."""

    name: str
    features: tuple[str, ...]
    learn: Learn
    key: str = ""

    @property
    def title(self) -> str:
        return ", ".join(self.features) or "no photo"


def coverage(samples: Samples, cells: Sequence[Cells] | None = DEFAULT) -> tuple[Predict, str]:
    fit = fit_coverage(samples.arrays, samples.boxes, size=(1, 1), photos=samples.photos, candidates=cells)
    own, penalty = fit.cells, fit.record["correction_penalty"]
    layers = "all" if own.layers is None else " ".join(map(str, own.layers))
    said = f"grid {own.grid[0]}x{own.grid[1]}, scales {own.scales}, context {own.context}, layers {layers}"
    left_out = fit.record["left_out_iou"]
    return lambda other: fit.predict(other.arrays), (
        f"{said}, {'corrected' if penalty else 'as it is'}, mean IoU of left-out training boxes {left_out:.3f}"
    )


def median(samples: Samples) -> tuple[Predict, str]:
    box = np.median(samples.boxes, 0)
    return lambda other: np.tile(box, (len(other), 1)), ""


def heuristic(samples: Samples) -> tuple[Predict, str]:
    side = samples.arrays[0].shape[1]
    fit = heuristics.fit_heuristic(samples.arrays[0].astype(np.float32), samples.boxes * side)
    return lambda other: fit.predict(other.arrays[0].astype(np.float32)) / side, str(fit)


def flip_equivariant(samples: Samples) -> tuple[Predict, str]:
    """Each place its own weights: for few photos."""
    side = samples.arrays[0].shape[1]
    fit = fit_flip_equivariant(samples.arrays[0].astype(np.float32), samples.boxes * side)
    return lambda other: fit.predict(other.arrays[0].astype(np.float32)) / side, f"smooth {fit.features.smooth:.3g}"


def lad(samples: Samples) -> tuple[Predict, str]:
    """Each place its own weights, of a map's profiles, by least absolute deviations: for many photos."""
    side = samples.arrays[0].shape[1]
    fit = fit_linear_map(samples.arrays[0].astype(np.float32), samples.boxes * side)
    return lambda other: fit.predict(other.arrays[0].astype(np.float32)) / side, f"penalty {fit.penalty:.3g}"


def equation_4(samples: Samples) -> tuple[Predict, str]:
    """The paper's Eq. 4: a ridge from the map's pixels, 28 x 28 of them, to the four edges."""
    side = samples.arrays[0].shape[1]
    fit = fit_linear_map(
        samples.arrays[0].astype(np.float32), samples.boxes * side, method="ridge", features=Features.raw((28, 28))
    )
    return lambda other: fit.predict(other.arrays[0].astype(np.float32)) / side, f"penalty {fit.penalty:.3g}"


def by_class(learn: Learn, samples: Samples) -> tuple[Predict, str]:
    """Each class by itself where there are LEAST samples of it, else as all together."""
    counts = Counter(samples.labels.tolist())
    own = {label: learn(samples.select(samples.labels == label)) for label, n in counts.items() if n >= LEAST}
    shared = learn(samples)[0] if len(own) < len(counts) else None

    def predict(other: Samples) -> np.ndarray:
        boxes = np.full((len(other), 4), np.nan)
        for label in np.unique(other.labels):
            rows = np.flatnonzero(other.labels == label)
            fit = own[label][0] if label in own else shared
            if fit is not None:
                boxes[rows] = fit(other.select(rows))
        return boxes

    return predict, "; ".join(f"{label}: {said}" for label, (_, said) in sorted(own.items()))


def by_coverage(*features: str, cells: Sequence[Cells] | None = DEFAULT, key: str = "") -> Route:
    own = key or ("chosen" if cells is None else "" if cells == DEFAULT else f"of {len(cells)}")
    return Route("coverage", features, partial(coverage, cells=cells), own)


def a_class(route: Route) -> Route:
    """The same route, each class by itself."""
    return replace(route, name=f"{route.name}, a class", learn=partial(by_class, route.learn))


def of_map(feature: str, linear: Learn, cells: Sequence[Cells] | None = DEFAULT) -> list[Route]:
    """The heuristic of one map, the linear map in which each place has weights of its own, and coverage."""
    return [
        Route("heuristic", (feature,), heuristic),
        Route("lad" if linear is lad else "flip-equivariant", (feature,), linear),
        by_coverage(feature, cells=cells),
    ]


NO_PHOTO = Route("median box", (), median)
