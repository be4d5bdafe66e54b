"""Figures of several boxes a photo: recall at k, and average precision as the PASCAL VOC devkit has it.

Found boxes are a list with one array `[k, 4]` a photo, best first, and their scores `[k]` beside; true boxes are one
array `[m, 4]` a photo, of one class.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from localization.boxes import iou
from saliency._checks import number, whole
from saliency.errors import InputError

Boxes = Sequence[np.ndarray]


def recall_at(found: Boxes, true: Boxes, k: int, *, threshold: float = 0.5) -> float:
    """Share of all true boxes that one of their photo's first k boxes overlaps with an IoU above the threshold.

    Raises InputError for numbers of photos that differ, or where there is no true box.

    >>> recall_at([np.array([[0, 0, 4, 4.0]])], [np.array([[0, 0, 4, 5.0], [6, 6, 9, 9]])], 1)
    0.5
    """
    whole("k", k, least=1)
    number("threshold", threshold, least=0, below=1)
    _check(found, true)
    hit = [_overlaps(own[:k], known).max(0, initial=0) > threshold for own, known in zip(found, true)]
    return float(np.concatenate(hit).mean())


def average_precision(
    found: Boxes,
    scores: Sequence[np.ndarray],
    true: Boxes,
    *,
    difficult: Sequence[np.ndarray] | None = None,
    threshold: float = 0.5,
    points: int | None = None,
) -> float:
    """Average precision of one class: the area below precision's envelope over recall (VOC 2010 on), or the mean of
    precision at `points` recalls (11: VOC 2007).

    A box is right where its IoU with the true box that it overlaps most is at least the threshold and no better scored
    box has taken that one; a `difficult` true box (bool `[m]` a photo) counts neither way. Everingham et al. 2010,
    and the devkit's VOCevaldet. Raises InputError as `recall_at` does.

    >>> found, true = [np.array([[0, 0, 4, 4.0], [5, 5, 9, 9]])], [np.array([[5, 5, 9, 9.0]])]
    >>> average_precision(found, [np.array([0.9, 0.8])], true)
    0.5
    """
    number("threshold", threshold, least=0, below=1)
    whole("points", points, least=2, optional=True)
    _check(found, true)
    if any(len(one) != len(own) for one, own in zip(scores, found)) or len(scores) != len(found):
        raise InputError("scores must be one for each found box")
    aside = (
        [np.zeros(len(own), bool) for own in true] if difficult is None else [np.asarray(d, bool) for d in difficult]
    )
    count = sum(int((~own).sum()) for own in aside)
    if not count:
        raise InputError("true boxes: all are marked difficult, so there is nothing to find")
    photo = np.repeat(np.arange(len(found)), [len(own) for own in found])
    matched = [_matches(own, known) for own, known in zip(found, true)]
    which = np.concatenate([m for m, _ in matched])
    overlap = np.concatenate([o for _, o in matched])
    order = np.argsort(-np.concatenate(list(scores)), kind="stable")
    photo, which, overlap = photo[order], which[order], overlap[order]
    near = overlap >= threshold
    ignored = np.array([bool(n and aside[p][w]) for n, p, w in zip(near, photo, which)], bool)
    first = np.zeros(len(near), bool)
    first[np.unique(np.stack([photo, which], 1)[near], axis=0, return_index=True)[1]] = True  # of those near, the first
    right = np.zeros(len(near), bool)
    right[np.flatnonzero(near)] = first[: near.sum()]
    return _area((right & ~ignored)[~ignored], count, points)


def _area(right: Bool[np.ndarray, " n"], count: int, points: int | None) -> float:
    """Of boxes in the order of their scores."""
    recall, precision = np.cumsum(right) / count, np.cumsum(right) / np.arange(1, len(right) + 1)
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)  # the best precision at this recall or more
    if points is not None:
        return float(envelope[np.searchsorted(recall, np.linspace(0, 1, points) - 1e-12)].mean())
    return float((np.diff(recall, prepend=0) * envelope[:-1]).sum())


def _matches(found: Float[np.ndarray, "k 4"], true: Float[np.ndarray, "m 4"]) -> tuple[np.ndarray, np.ndarray]:
    """Which true box each found one overlaps most, and by how much; -1 and -inf where there is none."""
    if not len(true) or not len(found):
        return np.full(len(found), -1), np.full(len(found), -np.inf)
    overlaps = _overlaps(found, true)
    return overlaps.argmax(1), overlaps.max(1)


def _overlaps(found: Float[np.ndarray, "k 4"], true: Float[np.ndarray, "m 4"]) -> Float[np.ndarray, "k m"]:
    return iou(found[:, None], true[None])


def _check(found: Boxes, true: Boxes) -> None:
    if len(found) != len(true):
        raise InputError(f"boxes found in {len(found)} photos do not pair with the true boxes of {len(true)}")
    if not sum(len(own) for own in true):
        raise InputError("true boxes: there is none, so there is nothing to find")
