"""Of several candidate boxes the one whose IoU a ridge expects to be largest: coverage's readings and heuristics'.

The candidates of a photo are the boxes of all readings of its coverage map, that map's own box, and what heuristics of
several settings find in saliency maps. What the ridge sees of a candidate is how well the coverage map and the saliency
maps fit it, its shape and place, and how far the other candidates agree; it is fitted to candidates of left-out
coverage maps. Nothing here tells left from right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from localization.boxes import as_boxes, iou
from localization.features import areas
from localization.heuristics import Heuristic
from localization.regression.cells import Cells
from localization.regression.coverage import CoverageMap, Features, as_inputs, fit_coverage
from localization.regression.rectangles import soft_boxes
from saliency._checks import as_maps, whole
from saliency.errors import InputError

SETTINGS = tuple(Heuristic(sigma, share, True) for sigma in (2.0, 4.0) for share in (0.04, 0.1, 0.2))
LAMBDAS = (1e-3, 0.01, 0.1, 1.0)
FOLDS = 4
SIDE = 28  # cells a side in which a map's share inside a box is counted


@dataclass(frozen=True)
class Choice:
    """`weights` float64 `[d]` of the statistics standardised by `mean` and `deviation`, with `intercept`."""

    coverage: CoverageMap
    settings: tuple[Heuristic, ...]
    weights: Float[np.ndarray, " d"]
    intercept: float
    mean: Float[np.ndarray, " d"]
    deviation: Float[np.ndarray, " d"]
    penalty: float

    def predict(self, features: Features, maps: Sequence[Float[np.ndarray, "n h w"]]) -> Float[np.ndarray, "n 4"]:
        """Boxes `x0 y0 x1 y1` in pixels of the coverage map's image; NaN where there is no candidate."""
        boxes, seen = candidates(self.coverage, features, maps, self.settings)
        expected = (seen - self.mean) / self.deviation @ self.weights + self.intercept
        best = np.where(np.isfinite(boxes).all(2), expected, -np.inf).argmax(1)
        return boxes[np.arange(len(boxes)), best] * np.tile(self.coverage.size[::-1], 2)


def fit_choice(
    features: Features,
    maps: Sequence[Float[np.ndarray, "n h w"]],
    boxes: Float[np.ndarray, "n 4"],
    *,
    size: tuple[int, int],
    photos: Int[np.ndarray, " n"] | None = None,
    settings: tuple[Heuristic, ...] = SETTINGS,
    cells: Cells | None = None,
    seed: int = 0,
) -> Choice:
    """Fit to boxes in pixels of an image of `size`: coverage to `features` with `cells` (default: chosen, by
    `fit_coverage`), and the choice to candidates that coverage of the other folds and the heuristics of `settings` find
    in `maps`. `photos` numbers the photo of each row: those of one photo stay together.

    Raises InputError as `fit_coverage` does, and for fewer than FOLDS photos.

    >>> rng = np.random.default_rng(0)
    >>> boxes = np.array([[0.0, 0, 9, 9], [9, 9, 18, 18], [4, 0, 13, 9], [0, 9, 9, 18]] * 3)
    >>> boxes += rng.uniform(0, 2, (12, 4))
    >>> x = np.arange(20) + 0.5
    >>> inside = [np.outer((y0 < x) & (x < y1), (x0 < x) & (x < x1)) for x0, y0, x1, y1 in boxes]
    >>> maps = np.array(inside, np.float32)
    >>> choice = fit_choice(maps, [maps], boxes, size=(20, 20), cells=Cells((8, 8)))
    >>> bool(iou(choice.predict(maps, [maps]), boxes).mean() > 0.7)
    True
    """
    inputs, boxes = as_inputs(features), as_boxes(boxes)
    whole("seed", seed)
    numbers = np.arange(len(boxes)) if photos is None else np.asarray(photos)
    shown, number = np.unique(numbers, return_inverse=True)
    if len(shown) < FOLDS:
        raise InputError(f"a choice needs at least {FOLDS} photos, not {len(shown)}")
    chosen = None if cells is None else (cells,)
    coverage = fit_coverage(list(inputs), boxes, size=size, photos=numbers, candidates=chosen, seed=seed)
    fold = np.random.default_rng(seed).permutation(np.arange(len(shown)) % FOLDS)[number]
    true = boxes / np.tile(size[::-1], 2)
    seen, overlap, of = [], [], []
    for k in range(FOLDS):
        own, rest = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        other = fit_coverage(
            [one[rest] for one in inputs], boxes[rest], size=size, photos=numbers[rest], candidates=(coverage.cells,),
            seed=seed,
        )  # fmt: skip
        found, statistics = candidates(other, [one[own] for one in inputs], [one[own] for one in maps], settings)
        usable = np.isfinite(found).all(2)
        seen.append(statistics[usable])
        overlap.append(iou(found, true[own][:, None])[usable])
        of.append(np.full(usable.sum(), k))
    x, y, parts = (np.concatenate(one) for one in (seen, overlap, of))
    mean, deviation = x.mean(0), np.maximum(x.std(0), 1e-6)
    x = (x - mean) / deviation
    errors = {}
    for penalty in LAMBDAS:
        left_out = [(parts == k, *_ridge(x[parts != k], y[parts != k], penalty)) for k in range(FOLDS)]
        errors[penalty] = sum(((x[own] @ w + b - y[own]) ** 2).sum() for own, w, b in left_out)
    penalty = min(errors, key=lambda one: errors[one])
    weights, intercept = _ridge(x, y, penalty)
    return Choice(coverage, settings, weights, intercept, mean, deviation, penalty)


def _ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    """Of columns about 0; penalty times the rows."""
    mean_x, mean_y = x.mean(0), y.mean()
    centred = x - mean_x
    gram = centred.T @ centred + penalty * len(x) * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (y - mean_y))
    return weights, float(mean_y - mean_x @ weights)


def candidates(
    coverage: CoverageMap,
    features: Features,
    maps: Sequence[Float[np.ndarray, "n h w"]],
    settings: Sequence[Heuristic] = SETTINGS,
) -> tuple[Float[np.ndarray, "n m 4"], Float[np.ndarray, "n m d"]]:
    """Boxes in shares of the photo, NaN where there is none, and the statistics of each."""
    maps = [as_maps("maps", one) for one in maps]
    boxes, covered, said = coverage.located(features)
    own = boxes / np.tile(coverage.size[::-1], 2)
    shown = np.where((said == "ok")[:, None, None], covered, 0)
    soft = np.where((said == "ok")[:, None, None], np.asarray(soft_boxes(jnp.asarray(shown, jnp.float32))), np.nan)
    bright = [one.predict(map) / np.tile(map.shape[:0:-1], 2) for map in maps for one in settings]
    everything = np.concatenate([own[:, None], soft, *(box[:, None] for box in bright)], 1)
    return everything, statistics(everything, [np.maximum(shown, 0), *maps])


def statistics(
    boxes: Float[np.ndarray, "n m 4"], maps: Sequence[Float[np.ndarray, "n h w"]]
) -> Float[np.ndarray, "n m d"]:
    """Of each box: logs of its sides and their squares, its place, how far it touches the border, its mean IoU with the
    others, which of them it is; of each map the share inside, how dense that is, and how dense a frame about it."""
    safe = np.where(np.isfinite(boxes), boxes, [0.4, 0.4, 0.6, 0.6])
    low, high = safe[..., :2], np.maximum(safe[..., 2:], safe[..., :2] + 0.02)
    sides, centre = np.log(high - low), (low + high) / 2 - 0.5
    agreement = iou(boxes[:, :, None], boxes[:, None]).mean(2)
    touches = np.stack([(low < 0.01).sum(-1), (high > 0.99).sum(-1)], -1)
    parts = [sides, sides**2, centre[..., 1:], centre**2, touches.sum(-1, keepdims=True), agreement[..., None]]
    parts.append(np.broadcast_to(np.eye(boxes.shape[1]), (*boxes.shape[:2], boxes.shape[1])))
    area = np.exp(sides.sum(-1))
    grown = np.concatenate([low - (high - low) / 4, high + (high - low) / 4], -1).clip(0, 1)
    around = (grown[..., 2:] - grown[..., :2]).prod(-1)
    for own in maps:
        inside, wider = (_inside(own, box) for box in (np.concatenate([low, high], -1), grown))
        frame = (wider - inside) / np.maximum(around - area, 1e-3)
        parts.append(np.stack([inside, np.log(np.maximum(inside / area, 1e-3)), np.log(np.maximum(frame, 1e-3))], -1))
    return np.concatenate(parts, -1)


def _inside(maps: Float[np.ndarray, "n h w"], boxes: Float[np.ndarray, "n m 4"]) -> Float[np.ndarray, "n m"]:
    """The share of each map's positive part in each box, of cells that are cut where a box cuts them."""
    rows, columns = (min(side, SIDE) for side in maps.shape[1:])
    small = areas(maps.shape[1], rows) @ np.maximum(np.nan_to_num(maps), 0) @ areas(maps.shape[2], columns).T
    total = np.maximum(small.sum((1, 2)), 1e-30)

    def covers(low: np.ndarray, high: np.ndarray, cells: int) -> np.ndarray:
        edges = np.arange(cells + 1)
        shared = np.minimum(high[..., None] * cells, edges[1:]) - np.maximum(low[..., None] * cells, edges[:-1])
        return np.clip(shared, 0, 1)

    x0, y0, x1, y1 = np.moveaxis(boxes, -1, 0)
    return np.einsum("nmi,nij,nmj->nm", covers(y0, y1, rows), small, covers(x0, x1, columns)) / total[:, None]
