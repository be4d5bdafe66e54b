"""Figures of predicted boxes: CorLoc and its relatives (seed 003, Eq. 5), each with its interval.

Predicted boxes are float `[n, 4]`, one per sample; a row with NaN stands for "no box found", counts as a miss and is
counted. True boxes are either `[n, 4]`, one per sample, or n arrays `[k, 4]`, of which any may be hit.
A sample is what the protocol makes it: an image, an image and one of its classes, or one object.
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from localization.boxes import as_boxes, iou
from localization.statistics import Estimate, bootstrap
from saliency.errors import InputError

Truth = np.ndarray | Sequence[np.ndarray]


def best_iou(predicted: ArrayLike, true: Truth) -> Float[np.ndarray, " n"]:
    """IoU of each predicted box with the true box of its sample that it overlaps best; 0 for NaN."""
    predicted = as_boxes(predicted, "predicted boxes")
    if len(predicted) != len(true):
        raise InputError(f"{len(predicted)} predicted boxes do not pair with the true boxes of {len(true)} samples")
    if isinstance(true, np.ndarray) and true.ndim == 2:
        return iou(predicted, _finite(as_boxes(true, "true boxes")))
    targets = [_finite(as_boxes(boxes, "true boxes")) for boxes in true]
    counts = np.array([len(boxes) for boxes in targets], int)
    if (counts == 0).any():
        raise InputError(f"sample {int(np.flatnonzero(counts == 0)[0])} has no true box: leave it out")
    if not len(counts):
        return np.zeros(0)
    overlaps = iou(np.repeat(predicted, counts, axis=0), np.concatenate(targets))
    return np.maximum.reduceat(overlaps, np.cumsum(counts) - counts)


def hits(overlaps: ArrayLike, threshold: float = 0.5, strict: bool = True) -> Bool[np.ndarray, " n"]:
    """IoU above the threshold, as seed 003 has it; `strict=False` lets equality count, as others do."""
    overlaps = np.asarray(overlaps)
    return overlaps > threshold if strict else overlaps >= threshold


def corloc(
    predicted: ArrayLike,
    true: Truth,
    classes: ArrayLike | None = None,
    *,
    images: ArrayLike | None = None,
    threshold: float = 0.5,
    strict: bool = True,
    seed: int = 0,
) -> Estimate:
    """Share of samples whose predicted box hits a true one, with a 95% bootstrap interval over images.

    With `classes`, the mean over classes of each one's share. `images` names each sample's image where an image
    gives several samples.
    """
    overlaps = best_iou(predicted, true)
    estimate = bootstrap(hits(overlaps, threshold, strict), clusters=images, classes=classes, seed=seed)
    return replace(estimate, missing=_missing(predicted))


def mean_iou(
    predicted: ArrayLike,
    true: Truth,
    classes: ArrayLike | None = None,
    *,
    images: ArrayLike | None = None,
    seed: int = 0,
) -> Estimate:
    """Mean of each sample's best IoU, with the same options as `corloc`."""
    estimate = bootstrap(best_iou(predicted, true), clusters=images, classes=classes, seed=seed)
    return replace(estimate, missing=_missing(predicted))


def corloc_by_class(
    predicted: ArrayLike,
    true: Truth,
    classes: ArrayLike,
    *,
    images: ArrayLike | None = None,
    threshold: float = 0.5,
    strict: bool = True,
    seed: int = 0,
) -> dict[Hashable, Estimate]:
    """CorLoc of each class that occurs, in sorted order."""
    predicted, labels = as_boxes(predicted, "predicted boxes"), np.asarray(classes)
    right = hits(best_iou(predicted, true), threshold, strict)
    if len(labels) != len(right):
        raise InputError(f"classes must name one for each of the {len(right)} samples, not {len(labels)}")
    return {
        label.item(): replace(
            bootstrap(right[of], clusters=None if images is None else np.asarray(images)[of], seed=seed),
            missing=_missing(predicted[of]),
        )
        for label in np.unique(labels)
        for of in [labels == label]
    }


def top1_loc(
    predicted: ArrayLike,
    true: Truth,
    class_right: ArrayLike,
    *,
    threshold: float = 0.5,
    strict: bool = True,
    seed: int = 0,
) -> Estimate:
    """Share of images where the class is right (bool `[n]`, of the top 1 or the top 5) and the box hits too."""
    class_right = np.asarray(class_right, bool)
    right = hits(best_iou(predicted, true), threshold, strict)
    if class_right.shape != right.shape:
        raise InputError(f"class_right must say yes or no for each of the {len(right)} samples")
    return replace(bootstrap(right & class_right, seed=seed), missing=_missing(predicted))


def _finite(true: np.ndarray) -> np.ndarray:
    bad = np.flatnonzero(~np.isfinite(true).all(-1))
    if len(bad):
        raise InputError(f"true boxes hold NaN or infinity in row {bad[0]}: leave that sample out")
    return true


def _missing(predicted: ArrayLike) -> int:
    return int(np.isnan(np.asarray(predicted, float)).any(-1).sum())
