"""MaxBoxAcc and MaxBoxAccV2 (Choe et al. 2020): boxes of thresholded maps, the best threshold found on the test set.

That threshold is an oracle's choice; the honest figure beside it takes the threshold from other images
(`BoxAccuracy.transferred`). Maps are float `[h, w]`, each min-max scaled; true boxes float `[k, 4]` in continuous pixel
edges of the map. With `compatible`, wsolevaluation's own ways are kept: maps of 8 bits, strictly above a share of
their maximum, components by the area that their contour encloses, boxes one pixel too long, true boxes cut to whole
pixels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from localization.boxes import from_inclusive, iou, to_inclusive
from localization.statistics import Estimate, bootstrap
from saliency.errors import InputError

THRESHOLDS = tuple(np.arange(100) / 100)
LEVELS_V2 = (0.3, 0.5, 0.7)
_EIGHT = np.ones((3, 3), int)


@dataclass(frozen=True)
class BoxAccuracy:
    """Whether image i is hit at threshold t and IoU level d: bool `[n, t, d]`."""

    hits: Bool[np.ndarray, "n t d"]
    thresholds: tuple[float, ...]

    @property
    def chosen(self) -> Int[np.ndarray, " d"]:
        """The best threshold's index at each level."""
        return self.hits.mean(0).argmax(0)

    def at(self, chosen: Int[np.ndarray, " d"], seed: int = 0) -> Estimate:
        """The mean over the levels, each at the threshold of this index."""
        return bootstrap(self.hits[:, chosen, np.arange(self.hits.shape[2])].mean(1), seed=seed)

    def oracle(self, seed: int = 0) -> Estimate:
        """MaxBoxAcc as published: thresholds chosen on these very images. The interval takes them as given."""
        return self.at(self.chosen, seed)

    def select(self, indices: Int[np.ndarray, " k"]) -> "BoxAccuracy":
        """Some of the images."""
        return BoxAccuracy(self.hits[indices], self.thresholds)

    def at_parts(
        self, parts: Sequence[Int[np.ndarray, " k"]], chosen: Sequence[Int[np.ndarray, " d"]], seed: int = 0
    ) -> Estimate:
        """As `at`, of parts that make up all images, each at thresholds of its own."""
        levels, right = np.arange(self.hits.shape[2]), np.empty(len(self.hits))
        for part, own in zip(parts, chosen):
            right[part] = self.hits[part][:, own, levels].mean(1)
        return bootstrap(right, seed=seed)

    def transferred(self, other: "BoxAccuracy", seed: int = 0) -> Estimate:
        """The same with the thresholds that were best on other images."""
        return self.at(other.chosen, seed)


def box_accuracy(
    pairs: Iterable[tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "k 4"]]],
    *,
    v2: bool = False,
    thresholds: Sequence[float] = THRESHOLDS,
    compatible: bool = False,
) -> BoxAccuracy:
    """MaxBoxAcc: the largest component's box, IoU at least 0.5. V2: any component's, at IoU 0.3, 0.5 and 0.7.

    `pairs` are a map and its true boxes, taken one at a time. A map that is not finite hits nothing; every other one
    hits with the whole image at threshold 0, a constant one with nothing else.
    """
    levels = np.array(LEVELS_V2 if v2 else (0.5,))
    hits = []
    for map, boxes in pairs:
        if map.ndim != 2:
            raise InputError(f"a map must be [h, w], not {list(map.shape)}")
        if compatible:
            boxes = from_inclusive(np.floor(to_inclusive(boxes, 0)), 0)
        best = np.zeros(len(thresholds))
        for t, found in enumerate(component_boxes(map, thresholds, every=v2, compatible=compatible)):
            best[t] = iou(found[:, None], boxes[None]).max(initial=0)
        hits.append(best[:, None] >= levels)
    return BoxAccuracy(np.array(hits, bool).reshape(-1, len(thresholds), len(levels)), tuple(thresholds))


def component_boxes(
    map: Float[np.ndarray, "h w"], thresholds: Sequence[float], *, every: bool = False, compatible: bool = False
) -> list[Float[np.ndarray, "m 4"]]:
    """At each threshold the tight boxes of the 8-connected components of the scaled map: the largest one's, or all."""
    if not np.isfinite(map).all():
        return [np.empty((0, 4))] * len(thresholds)
    spread = np.ptp(map)
    scaled = (map - map.min()) / (spread if spread else 1.0)
    grey = (scaled * 255).astype(np.uint8)
    found = []
    for threshold in thresholds:
        mask = grey > int(threshold * grey.max()) if compatible else scaled >= threshold
        labels, count = ndimage.label(mask, _EIGHT)
        corners = [(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(labels)]
        boxes = np.array(corners, float).reshape(-1, 4)
        if compatible:
            boxes = _one_too_long(boxes, map.shape) if count else np.array([[0.0, 0, 1, 1]])
        if not every and count > 1:
            sizes = _enclosed(labels, count) if compatible else np.bincount(labels.ravel())[1:]
            # of equals the last: wsolevaluation's contours come from the bottom up
            largest = count - 1 - int(np.argmax(sizes[::-1])) if compatible else int(np.argmax(sizes))
            boxes = boxes[largest : largest + 1]
        found.append(boxes)
    return found


def _one_too_long(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """wsolevaluation counts the pixel behind the last as the box's own, unless the map ends before it."""
    height, width = size
    return np.minimum(boxes + np.array([0, 0, 1, 1]), [width, height, width, height])


def _enclosed(labels: np.ndarray, count: int) -> Float[np.ndarray, " count"]:
    """The area inside each component's outer contour, drawn through pixel centres."""
    areas = np.zeros(count)
    for i, window in enumerate(ndimage.find_objects(labels)):
        filled = ndimage.binary_fill_holes(labels[window] == i + 1).astype(int)
        # four neighbouring centres span a cell that lies wholly inside, three half a cell
        corners = filled[1:, 1:] + filled[:-1, 1:] + filled[1:, :-1] + filled[:-1, :-1]
        areas[i] = (corners == 4).sum() + (corners == 3).sum() / 2
    return areas
