"""Figures of predicted boxes: CorLoc and its relatives, each with its interval.

CorLoc is that of Fast Object Localization via Sensitivity Analysis, Eq. 5.

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
from localization.statistics import Estimate, bootstrap, one_each
from saliency._checks import as_array, described, number
from saliency.errors import InputError

Truth = np.ndarray | Sequence[np.ndarray]


def best_iou(predicted: ArrayLike, true: Truth) -> Float[np.ndarray, " n"]:
    """IoU of each predicted box with the true box of its sample that it overlaps best; 0 for NaN."""
    predicted = as_boxes(predicted, "predicted boxes")
    if hasattr(true, "shape"):
        true = as_array("true boxes", true, "[n, 4], or n arrays [k, 4]")
    if isinstance(true, str) or not hasattr(true, "__len__"):
        raise InputError(f"true boxes must be [n, 4], or n arrays [k, 4], not {described(true)}")
    if len(predicted) != len(true):
        raise InputError(f"{len(predicted)} predicted boxes do not pair with the true boxes of {len(true)} samples")
    listed = isinstance(true, list | tuple) and len(true) and all(_is_row(own) for own in true)
    if listed or (isinstance(true, np.ndarray) and true.ndim <= 2):  # one box each
        return iou(predicted, _finite(as_boxes(true, "true boxes")))
    targets = [_finite(as_boxes(boxes, "true boxes")) for boxes in true]
    counts = np.array([len(boxes) for boxes in targets], int)
    if (counts == 0).any():
        raise InputError(f"sample {int(np.flatnonzero(counts == 0)[0])} has no true box: leave it out")
    if not len(counts):
        return np.zeros(0)
    overlaps = iou(np.repeat(predicted, counts, axis=0), np.concatenate(targets))
    return np.maximum.reduceat(overlaps, np.cumsum(counts) - counts)


def hits(overlaps: ArrayLike, threshold: float = 0.5, strict: bool = True) -> Bool[np.ndarray, "*n"]:
    """IoU above the threshold, as in the paper; `strict=False` lets equality count, as others do."""
    number("threshold", threshold, least=0, below=1)
    overlaps = np.asarray(overlaps)
    return np.asarray(overlaps > threshold if strict else overlaps >= threshold)


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
    right = hits(best_iou(predicted, true), threshold, strict)
    return _estimate(right, predicted, images, classes, seed)


def mean_iou(
    predicted: ArrayLike,
    true: Truth,
    classes: ArrayLike | None = None,
    *,
    images: ArrayLike | None = None,
    seed: int = 0,
) -> Estimate:
    """Mean of each sample's best IoU, with the same options as `corloc`."""
    return _estimate(best_iou(predicted, true), predicted, images, classes, seed)


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
    predicted = as_boxes(predicted, "predicted boxes")
    right = hits(best_iou(predicted, true), threshold, strict)
    labels = one_each("classes", classes, len(right))
    images = np.arange(len(right)) if images is None else one_each("images", images, len(right))
    return {
        label.item(): _estimate(right[of], predicted[of], images[of], None, seed)
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
    return _estimate(right & class_right, predicted, None, None, seed)


def _estimate(
    values: np.ndarray, predicted: ArrayLike, images: ArrayLike | None, classes: ArrayLike | None, seed: int
) -> Estimate:
    """The mean with its interval over images, and how many samples have no box."""
    clusters = None if images is None else one_each("images", images, len(values))
    missing = int(np.isnan(as_boxes(predicted, "predicted boxes")).any(-1).sum())
    return replace(bootstrap(values, clusters=clusters, classes=classes, seed=seed), missing=missing)


def _is_row(boxes: object) -> bool:
    """Whether this is one box and not a list of them, which may be empty."""
    if hasattr(boxes, "shape"):
        return boxes.shape == (4,)
    return isinstance(boxes, list | tuple) and len(boxes) > 0 and all(np.isscalar(one) for one in boxes)


def _finite(true: np.ndarray) -> np.ndarray:
    bad = np.flatnonzero(~np.isfinite(true).all(-1))
    if len(bad):
        raise InputError(f"true boxes hold NaN or infinity in row {bad[0]}: leave that sample out")
    return true
