"""How good a map is without a box fitted to it, and how much maps agree.

Maps are float `[n, h, w]`, images as for `methods`. A measure gives one float per image, NaN for a map that cannot be
ranked: one with NaN in it, or constant. `MEASURES` says of each which direction is better.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from saliency.errors import InputError
from saliency.maps.black_box import Classifier, chunk_of, of_each, preprocessing, probes, scored
from saliency.maps.controls import cascade
from saliency.maps.gradient import Progress
from saliency.methods import DEFAULTS, Method, Options, Target
from saliency.models.network import Network
from saliency.occlusion.windows import Fill, fill_images
from saliency.scores import Score, settled_targets

PerImage = Float[np.ndarray, " n"]
Boxes = np.ndarray | Sequence[ArrayLike]  # [n, 4], or for each image [m, 4]


@dataclass(frozen=True)
class Measure:
    """What a figure says, and which way is better; "neither" where it describes and does not judge."""

    better: Literal["higher", "lower", "neither"]
    summary: str
    source: str


MEASURES = {
    "insertion": Measure(
        "higher",
        "Area under the class probability while the map's pixels come back into a blurred image, highest first.",
        "Petsiuk et al. 2018",
    ),
    "deletion": Measure(
        "lower",
        "Area under the class probability while the map's pixels are greyed out, highest first.",
        "Petsiuk et al. 2018",
    ),
    "pointing": Measure(
        "higher", "Share of images whose map peaks within 15 px of a true box.", "Zhang et al. 2016"
    ),
    "energy": Measure("higher", "Share of the map's positive mass inside the true boxes.", "Wang et al. 2020"),
    "sparsity": Measure("neither", "Gini index of the absolute map: 0 even, 1 one pixel.", "Chalasani et al. 2020"),
    "stability": Measure(
        "higher", "Spearman correlation with the map of the image under faint noise.", "after Yeh et al. 2019"
    ),
    "sanity": Measure(
        "lower", "Spearman correlation with the map of the network with randomised weights.", "Adebayo et al. 2018"
    ),
    "agreement": Measure("neither", "Spearman correlation, and overlap of the top pixels, of two methods.", "-"),
}  # fmt: skip


@dataclass(frozen=True)
class Curves:
    """`scores` float `[n, steps + 1]` after a share `shares` `[steps + 1]` of the pixels has changed."""

    shares: Float[np.ndarray, " k"]
    scores: Float[np.ndarray, "n k"]

    @property
    def auc(self) -> PerImage:
        return np.trapezoid(self.scores, self.shares, axis=1)


def deletion(
    net: Classifier,
    x: Float[np.ndarray, "n h w 3"],
    maps: Float[np.ndarray, "n h w"],
    *,
    target: Target = None,
    steps: int = 32,
    fill: Fill | np.ndarray = "grey",
    seed: int = 0,
    progress: Progress | None = None,
) -> Curves:
    """The target's probability while pixels give way to `fill`, the map's highest first, in equal steps.

    `target` is by default the class predicted for the whole image. A black box's scores are taken as they are.
    """
    hidden = fill_images(x, fill, preprocessing(net), seed)
    return _replacement(net, x, maps, x, hidden, target, steps, progress)


def insertion(
    net: Classifier,
    x: Float[np.ndarray, "n h w 3"],
    maps: Float[np.ndarray, "n h w"],
    *,
    target: Target = None,
    steps: int = 32,
    fill: Fill | np.ndarray = "blur",
    seed: int = 0,
    progress: Progress | None = None,
) -> Curves:
    """The same while pixels of the image come back into `fill`."""
    hidden = fill_images(x, fill, preprocessing(net), seed)
    return _replacement(net, x, maps, hidden, x, target, steps, progress)


def _replacement(
    net: Classifier,
    x: np.ndarray,
    maps: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    target: Target,
    steps: int,
    progress: Progress | None,
) -> Curves:
    if steps < 1:
        raise InputError(f"steps must be at least 1, not {steps}")
    if maps.shape != x.shape[:3]:
        raise InputError(f"maps must be {list(x.shape[:3])} as the images are, not {list(maps.shape)}")
    white_box = isinstance(net, Network)
    functions = probes(net, x, "log_probability", target)
    chunk = chunk_of(net, x.shape[1:3])
    size = np.prod(x.shape[1:3])
    replaced = np.round(np.linspace(0, 1, steps + 1) * size).astype(int)
    usable = rankable(maps)

    def scores_of(i: int) -> np.ndarray:
        if not usable[i]:
            return np.full(steps + 1, np.nan)
        mixed = partial(_mixed, start[i], end[i], turns(maps[i]), replaced)
        return scored(functions[i], mixed, steps + 1, chunk)

    scores = np.reshape(of_each(net, scores_of, len(x), progress), (len(x), steps + 1))
    return Curves(replaced / size, np.exp(scores) if white_box else scores)


def _mixed(start: np.ndarray, end: np.ndarray, turn: np.ndarray, replaced: np.ndarray, k: np.ndarray) -> np.ndarray:
    """`start` with the first `replaced[k]` pixels of `end`, for each of several k."""
    return np.where((turn < replaced[k, None, None])[..., None], end, start)


def pointing_game(maps: Float[np.ndarray, "n h w"], boxes: Boxes, tolerance: float = 15.0) -> PerImage:
    """1 where the map's maximum (the first of several) lies within `tolerance` pixels of a box, else 0."""
    hits = np.full(len(maps), np.nan)
    for i, targets in _with_boxes(maps, boxes):
        row, col = np.unravel_index(maps[i].argmax(), maps[i].shape)
        point = np.array([col, row]) + 0.5
        away = np.maximum(0, np.maximum(targets[:, :2] - point, point - targets[:, 2:]))
        hits[i] = np.hypot(*away.T).min() <= tolerance
    return hits


def energy_pointing_game(maps: Float[np.ndarray, "n h w"], boxes: Boxes) -> PerImage:
    """The share of each map's positive mass inside its boxes; a pixel cut by an edge counts in part."""
    shares = np.full(len(maps), np.nan)
    for i, targets in _with_boxes(maps, boxes):
        positive = np.maximum(maps[i], 0).astype(float)
        if positive.any():
            inside = np.max([_coverage(box, *positive.shape) for box in targets], axis=0)
            shares[i] = (positive * inside).sum() / positive.sum()
    return shares


def _with_boxes(maps: np.ndarray, boxes: Boxes) -> Iterator[tuple[int, np.ndarray]]:
    """Index and boxes `[m, 4]` of each image whose map can be ranked and which has a box."""
    if len(boxes) != len(maps):
        raise InputError(f"{len(maps)} maps need boxes of as many images, not of {len(boxes)}")
    for i in rankable(maps).nonzero()[0].tolist():
        targets = np.asarray(boxes[i], float).reshape(-1, 4)
        if len(targets):
            yield i, targets


def _coverage(box: np.ndarray, height: int, width: int) -> Float[np.ndarray, "h w"]:
    """How much of each pixel lies in the box."""
    x0, y0, x1, y1 = box
    cols, rows = (
        np.clip(np.minimum(at + 1, high) - np.maximum(at, low), 0, 1)
        for at, low, high in ((np.arange(width), x0, x1), (np.arange(height), y0, y1))
    )
    return np.outer(rows, cols)


def sparsity(maps: Float[np.ndarray, "n h w"]) -> PerImage:
    """Gini index of the absolute values."""
    values = np.sort(np.abs(maps.reshape(len(maps), -1)).astype(float))
    size = values.shape[1]
    with np.errstate(invalid="ignore"):
        gini = (2 * np.arange(1, size + 1) - size - 1) @ values.T / (size * values.sum(1))
    return np.where(rankable(maps), gini, np.nan)


def rank_correlation(a: Float[np.ndarray, "n h w"], b: Float[np.ndarray, "n h w"]) -> PerImage:
    """Spearman's correlation of each pair of maps; ties share their mean rank."""
    return np.array([_spearman(np.stack(pair))[0, 1] for pair in zip(a, b)])


def top_overlap(a: Float[np.ndarray, "n h w"], b: Float[np.ndarray, "n h w"], share: float = 0.1) -> PerImage:
    """How many of the top `share` of pixels two maps have in common, as a share of them."""
    return np.array([_overlap(np.stack(pair), share)[0, 1] for pair in zip(a, b)])


@dataclass(frozen=True)
class Agreement:
    """Means over images, for each pair of methods, of the rank correlation and of the overlap of the top pixels."""

    names: tuple[str, ...]
    correlation: Float[np.ndarray, "m m"]
    overlap: Float[np.ndarray, "m m"]


def agreement(maps: Mapping[str, Float[np.ndarray, "n h w"]], share: float = 0.1) -> Agreement:
    """All pairs of methods; images that a method has no usable map for do not count for its pairs."""
    if len({each.shape for each in maps.values()}) != 1 or not len(next(iter(maps.values()))):
        raise InputError("agreement needs maps of the same images, at least one, from each method")
    stacks = [np.stack(each) for each in zip(*maps.values())]
    return Agreement(
        tuple(maps),
        _mean(np.array([_spearman(stack) for stack in stacks])),
        _mean(np.array([_overlap(stack, share) for stack in stacks])),
    )


def _mean(pairs: Float[np.ndarray, "n m m"]) -> Float[np.ndarray, "m m"]:
    known = np.isfinite(pairs)
    with np.errstate(invalid="ignore"):
        return np.where(known, pairs, 0).sum(0) / known.sum(0)


def stability(
    method: Method,
    net: Classifier,
    x: Float[np.ndarray, "n h w 3"],
    maps: Float[np.ndarray, "n h w"],
    *,
    target: Target = None,
    options: Options = DEFAULTS,
    noise: float = 0.01,
    seed: int = 0,
) -> PerImage:
    """Rank correlation of a method's `maps` with those of the same images under Gaussian noise.

    `noise` is its deviation as a share of each image's range. The class explained stays that of the clean image.
    """
    draw = np.random.default_rng(seed).normal(size=x.shape[1:])
    noisy = (x + noise * np.ptp(x, axis=(1, 2, 3), keepdims=True) * draw).astype(np.float32)
    target = _settled(net, x, target)
    return rank_correlation(maps, method.maps(net, noisy, target=target, options=options))


def sanity(
    method: Method,
    net: Network,
    x: Float[np.ndarray, "n h w 3"],
    maps: Float[np.ndarray, "n h w"],
    *,
    target: Target = None,
    options: Options = DEFAULTS,
    seed: int = 0,
) -> dict[str, PerImage]:
    """Rank correlation of a method's `maps` with those of the network randomised from the logits down to each layer.

    A map that survives this does not show what the network learned. The class explained stays the trained network's.
    """
    target = _settled(net, x, target)
    return {
        layer: rank_correlation(maps, method.maps(broken, x, target=target, options=options))
        for layer, broken in cascade(net, seed)
    }


def _settled(net: Classifier, x: np.ndarray, target: Target) -> Target:
    return settled_targets(net, x, Score(), target) if isinstance(net, Network) else target


def rankable(maps: Float[np.ndarray, "n h w"]) -> np.ndarray:
    """Whether each map is finite and not constant: bool `[n]`."""
    return np.isfinite(maps).all((1, 2)) & (maps != maps[:, :1, :1]).any((1, 2))


def turns(values: Float[np.ndarray, "h w"]) -> Int[np.ndarray, "h w"]:
    """Each pixel's place in the order from the highest value down, 0 first; ties in reading order."""
    order = np.argsort(-values, axis=None, kind="stable")
    place = np.empty(order.size, np.int64)
    place[order] = np.arange(order.size)
    return place.reshape(values.shape)


def _spearman(stack: Float[np.ndarray, "m h w"]) -> Float[np.ndarray, "m m"]:
    """Correlation of the ranks of every pair of maps of one image; NaN where one cannot be ranked."""
    ranks = rankdata(stack.reshape(len(stack), -1), axis=1)
    ranks -= ranks.mean(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        ranks /= np.linalg.norm(ranks, axis=1, keepdims=True)
    ranks[~rankable(stack)] = np.nan
    return ranks @ ranks.T


def _overlap(stack: Float[np.ndarray, "m h w"], share: float) -> Float[np.ndarray, "m m"]:
    """Share of the top pixels that every pair of maps of one image have in common."""
    count = max(1, round(share * stack[0].size))
    top = np.array([turns(values) < count for values in stack], float).reshape(len(stack), -1)
    top[~rankable(stack)] = np.nan
    return top @ top.T / count
