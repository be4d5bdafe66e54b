"""A linear map that treats left and right alike, for few boxes: ridge on what the mirrored maps say as well.

A mirrored map must give the mirrored box. In centre coding this parts the problem in two: the centre's x depends on
the difference between a map's features and its mirror image's, all else on their mean. Each half has half the
freedom, its own penalty, and exact leave-one-out of a map together with its mirror image.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from localization.boxes import as_boxes, iou
from localization.features import Features, stacked
from localization.regression import ridge
from localization.regression.linear_map import LinearMap, decoded, encoded
from saliency._checks import BoxesLike, StackedMapsLike
from saliency.errors import InputError

EvenOdd = tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n d"]]


def candidates(size: tuple[int, int]) -> tuple[Features, ...]:
    """Where the quantiles of a map's mass lie along both axes, for maps of (height, width) smoothed more or less."""
    return tuple(
        Features(size=(1, 1), smooth=max(size) * share, focus=0, power=power)
        for share in (0.02, 0.04, 0.07)
        for power in (1.0, 2.0)
    )


def fit_flip_equivariant(
    maps: StackedMapsLike,
    boxes: BoxesLike,
    *,
    features: Sequence[Features] = (),
    lambdas: Sequence[float] = ridge.LAMBDAS,
    source: Mapping[str, Any] | None = None,
    parts: Mapping[Features, EvenOdd] | None = None,
) -> LinearMap:
    """The best of `features` (default: `candidates`) and of the penalties, by left-out predictions of these boxes.

    `parts`: what `even_odd` says of these maps, where that is at hand (folds share most of their maps).
    Raises InputError for fewer than 3 maps or a number of boxes that is not theirs.
    """
    maps, boxes = stacked(maps), as_boxes(boxes)
    if len(maps) != len(boxes) or len(maps) < 3:
        raise InputError(f"a linear map needs at least 3 maps with a box each, not {len(maps)} and {len(boxes)}")
    size = (maps.shape[2], maps.shape[3])
    parts = parts or {one: even_odd(maps, one) for one in features or candidates(size)}
    fits = [_fit(part, boxes, one, size, lambdas) for one, part in parts.items()]
    overlap, weights, intercept, chosen, penalties = max(fits, key=lambda fit: fit[0])
    record = {
        "method": "flip-equivariant",
        "n": len(maps),
        "penalty": penalties[1],
        "penalty_x": penalties[0],
        "left_out_iou": overlap,
    }
    typical = maps.mean(0, dtype=np.float64).astype(np.float32)
    return LinearMap(weights, intercept, chosen, "centre", typical, dict(source or {}), record)


def even_odd(maps: Float[np.ndarray, "n *k h w"], features: Features) -> EvenOdd:
    """What of the maps' features stays when left and right change places, and what changes its sign."""
    maps = stacked(maps)
    x, mirrored = features(maps).astype(float), features(maps[..., ::-1]).astype(float)
    return (x + mirrored) / 2, (x - mirrored) / 2


def _fit(
    parts: EvenOdd, boxes: np.ndarray, features: Features, size: tuple[int, int], lambdas: Sequence[float]
) -> tuple[float, np.ndarray, np.ndarray, Features, tuple[float, float]]:
    """Mean IoU of left-out predictions, and the fit itself."""
    even, odd = parts
    codes = encoded(boxes, "centre", size)
    codes[:, 0] -= 0.5
    # mirrored rows have the opposite features and centre: both together have no mean
    rows, targets = np.concatenate([odd, -odd]), np.concatenate([codes[:, :1], -codes[:, :1]])
    spectrum = ridge.from_rows(rows, targets)
    across = _left_out_pairs(spectrum, odd, codes[:, :1], lambdas)
    penalty_x = min(across, key=lambda p: np.abs(across[p] - codes[:, :1]).mean())
    left_right = spectrum.solution(penalty_x).weights

    def overlap(rest: np.ndarray) -> float:
        predicted = np.concatenate([across[penalty_x] + 0.5, rest], 1)
        return float(iou(decoded(predicted, "centre", size), boxes).mean())

    _, other = ridge.cross_validated(even, codes[:, 1:], lambdas, overlap)
    left_out = other.trace["left_out"][other.penalty]
    # what is common to all maps' odd prediction from plain features, even @ left_right, does not vary: a constant
    shift = 0.5 - float((even @ left_right).mean())
    weights = np.concatenate([left_right, other.weights], 1)
    return left_out, weights, np.array([shift, *other.intercept]), features, (penalty_x, other.penalty)


def _left_out_pairs(
    spectrum: ridge.Spectrum, odd: np.ndarray, y: np.ndarray, lambdas: Sequence[float]
) -> dict[float, np.ndarray]:
    """Each map's prediction without itself and its mirror image, which share one leverage."""
    turned = odd @ spectrum.basis
    found = {}
    for penalty in sorted(lambdas, reverse=True):
        shrink = 1 / (spectrum.squares + spectrum.alpha(penalty))
        leverage = 2 * (turned**2 @ shrink)
        residual = y - turned @ (spectrum.cross * shrink[:, None])
        found[penalty] = y - residual / np.maximum(1 - leverage, 1e-9)[:, None]
    return found
