"""Maps against true boxes and masks: does the map lie on the object."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from saliency._checks import (
    MapsLike,
    PerImage,
    as_array,
    as_booleans,
    as_maps,
    check_forwards,
    described,
    number,
    pair,
    whole,
)
from saliency.errors import InputError
from saliency.maps.ranks import descending_rank
from saliency.maps.status import usable

Boxes = np.ndarray | Sequence[ArrayLike]  # [n, 4], or for each image [m, 4]


def pointing_game(maps: MapsLike, boxes: Boxes, tolerance: float = 15.0) -> PerImage:
    """1 where the map's maximum (the first of several) lies within `tolerance` pixels of a box, else 0.

    Maps float `[n, h, w]`, boxes `[n, 4]` or for each image `[m, 4]`, `x0 y0 x1 y1` in pixel edges of the map; NaN for
    an image without a box and for a map that says nothing. Zhang et al. 2016. Raises InputError for other shapes.

    >>> import numpy as np
    >>> from saliency import faithfulness
    >>> maps = np.arange(24.0).reshape(1, 4, 6)
    >>> faithfulness.pointing_game(maps, [[4, 2, 6, 4]], tolerance=0).tolist()
    [1.0]
    """
    maps = as_maps("maps", maps)
    number("tolerance", tolerance, least=0)
    hits = np.full(len(maps), np.nan)
    for i, targets in _with_boxes(maps, boxes):
        row, col = np.unravel_index(maps[i].argmax(), maps[i].shape)
        point = np.array([col, row]) + 0.5
        away = np.maximum(0, np.maximum(targets[:, :2] - point, point - targets[:, 2:]))
        hits[i] = np.hypot(*away.T).min() <= tolerance
    return hits


def energy_pointing_game(maps: MapsLike, boxes: Boxes) -> PerImage:
    """The share of each map's positive mass inside its boxes; a pixel cut by an edge counts in part.

    Arguments and NaN as for `pointing_game`. Wang et al. 2020.

    >>> import numpy as np
    >>> from saliency import faithfulness
    >>> maps = np.arange(24.0).reshape(1, 4, 6)
    >>> faithfulness.energy_pointing_game(maps, [[0, 2, 6, 4]]).round(3).tolist()
    [0.761]
    """
    maps = as_maps("maps", maps)
    shares = np.full(len(maps), np.nan)
    for i, targets in _with_boxes(maps, boxes):
        positive = np.maximum(maps[i], 0).astype(float)
        if positive.any():
            inside = np.max([_coverage(box, *positive.shape) for box in targets], axis=0)
            shares[i] = (positive * inside).sum() / positive.sum()
    return shares


def _with_boxes(maps: np.ndarray, boxes: Boxes) -> Iterator[tuple[int, np.ndarray]]:
    """Index and boxes `[m, 4]` of each image whose map can be ranked and which has a box."""
    if not hasattr(boxes, "__len__") or len(boxes) != len(maps):
        found = f"of {len(boxes)}" if hasattr(boxes, "__len__") else described(boxes)
        raise InputError(f"{len(maps)} maps need boxes of as many images, not {found}")
    for i in usable(maps).nonzero()[0].tolist():
        targets = _boxes_of(boxes, i)
        if len(targets):
            yield i, targets


def _boxes_of(boxes: Boxes, i: int) -> Float[np.ndarray, "m 4"]:
    """Those of one image, without the rows of NaN that say that there is none. Raises InputError for other things."""
    found = as_array("boxes", boxes[i], "[n, 4], or for each image [m, 4]").astype(float)
    if found.size % 4 or found.shape[-1:] not in ((4,), (0,)):
        raise InputError(f"boxes must be [n, 4], or for each image [m, 4], not {described(boxes[i])} for image {i}")
    found = found.reshape(-1, 4)
    found = found[~np.isnan(found).all(1)]
    if not np.isfinite(found).all():
        raise InputError(f"boxes of image {i} hold NaN or infinite values")
    check_forwards(f"boxes of image {i}", found)
    return found


def _coverage(box: np.ndarray, height: int, width: int) -> Float[np.ndarray, "h w"]:
    """How much of each pixel lies in the box."""
    x0, y0, x1, y1 = box
    cols, rows = (
        np.clip(np.minimum(at + 1, high) - np.maximum(at, low), 0, 1)
        for at, low, high in ((np.arange(width), x0, x1), (np.arange(height), y0, y1))
    )
    return np.outer(rows, cols)


def box_masks(boxes: Boxes, size: tuple[int, int]) -> Bool[np.ndarray, "n h w"]:
    """The pixels of images of (height, width) whose middle lies in a box: `[n, 4]`, or for each image `[m, 4]`.

    A row of NaN is no box. Raises InputError for other shapes, and for boxes that run backwards.

    >>> from saliency import faithfulness
    >>> faithfulness.box_masks([[1, 0, 3, 1]], (2, 4)).astype(int).tolist()
    [[[0, 1, 1, 0], [0, 0, 0, 0]]]
    """
    if isinstance(boxes, str) or not hasattr(boxes, "__len__"):
        raise InputError(f"boxes must be [n, 4], or for each image [m, 4], not {described(boxes)}")
    height, width = pair("size", size)
    masks = np.zeros((len(boxes), height, width), bool)
    for i, mask in enumerate(masks):
        for x0, y0, x1, y1 in _boxes_of(boxes, i):
            rows, cols = np.arange(height) + 0.5, np.arange(width) + 0.5
            mask |= np.outer((rows > y0) & (rows < y1), (cols > x0) & (cols < x1))
    return masks


def relevance_mass(maps: MapsLike, masks: ArrayLike) -> PerImage:
    """The share of each map's positive mass inside its mask, booleans `[n, h, w]`. Arras et al. 2022.

    NaN for an empty mask, and for a map that says nothing or has nothing positive; so too below.

    >>> from saliency import faithfulness
    >>> faithfulness.relevance_mass([[[1.0, 3.0], [-2.0, 0.0]]], [[[False, True], [True, False]]]).tolist()
    [0.75]
    """
    maps, masks, known = _with_masks(maps, masks)
    positive = np.maximum(maps, 0).astype(float)
    with np.errstate(invalid="ignore"):
        shares = (positive * masks).sum((1, 2)) / positive.sum((1, 2))
    return np.where(known, shares, np.nan)


def relevance_rank(maps: MapsLike, masks: ArrayLike) -> PerImage:
    """Of each map's highest pixels, as many as its mask has, the share inside the mask. Arras et al. 2022.

    Of pixels with the same value those come first that are first in reading order.

    >>> from saliency import faithfulness
    >>> faithfulness.relevance_rank([[[1.0, 3.0], [-2.0, 0.0]]], [[[False, True], [True, False]]]).tolist()
    [0.5]
    """
    maps, masks, known = _with_masks(maps, masks)
    found = np.full(len(maps), np.nan)
    for i in np.flatnonzero(known).tolist():
        found[i] = masks[i][descending_rank(maps[i]) < masks[i].sum()].mean()
    return found


def top_in_mask(maps: MapsLike, masks: ArrayLike, share: float = 0.05) -> PerImage:
    """Of the highest `share` of each map's pixels the share inside its mask. Theiner et al. 2021 (top-k intersection).

    >>> from saliency import faithfulness
    >>> faithfulness.top_in_mask([[[1.0, 3.0], [-2.0, 0.0]]], [[[False, True], [True, False]]], share=0.25).tolist()
    [1.0]
    """
    number("share", share, above=0, below=1)
    maps, masks, known = _with_masks(maps, masks)
    found = np.full(len(maps), np.nan)
    for i in np.flatnonzero(known).tolist():
        found[i] = masks[i][descending_rank(maps[i]) < max(1, round(share * maps[i].size))].mean()
    return found


def roc_auc(maps: MapsLike, masks: ArrayLike) -> PerImage:
    """How likely a pixel of the mask is above one outside of it, ties counting half: the area under the ROC curve.

    NaN, too, where the mask is the whole image.

    >>> from saliency import faithfulness
    >>> faithfulness.roc_auc([[[1.0, 3.0], [-2.0, 0.0]]], [[[False, True], [True, False]]]).tolist()
    [0.5]
    """
    from scipy.stats import rankdata  # on use: it takes longer to import than all of ours

    maps, masks, known = _with_masks(maps, masks)
    found = np.full(len(maps), np.nan)
    for i in np.flatnonzero(known & ~masks.all((1, 2))).tolist():
        inside = int(masks[i].sum())
        ranks = rankdata(maps[i].ravel())[masks[i].ravel()]
        found[i] = (ranks.sum() - inside * (inside + 1) / 2) / (inside * (masks[i].size - inside))
    return found


def pxap(maps: MapsLike, masks: ArrayLike, ignored: ArrayLike | None = None, thresholds: int = 1000) -> float:
    """Average precision of the pixels of all images against masks, booleans `[n, h, w]`; `ignored` ones do not count.

    Each map is scaled to 0..1; precision and recall are taken at so many `thresholds` between, pixels of all images
    together. 0..1; NaN where no mask has a pixel. A map that says nothing counts as 0 everywhere. Choe et al. 2020;
    wsolevaluation, `MaskEvaluator`, which gives percent.

    >>> from saliency import faithfulness
    >>> faithfulness.pxap([[[1.0, 3.0], [-2.0, 0.0]]], [[[True, True], [False, False]]])
    1.0
    """
    whole("thresholds", thresholds, least=2)
    maps, masks, _ = _with_masks(maps, masks)
    counted = np.ones(masks.shape, bool) if ignored is None else ~_as_masks("ignored", ignored, maps.shape)
    edges = np.append(np.arange(thresholds) / thresholds, [1.0, 2.0])
    inside, outside = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
    ok = usable(maps)
    for i in range(len(maps)):
        low, high = (float(maps[i].min()), float(maps[i].max())) if ok[i] else (0.0, 1.0)
        scaled = (maps[i].astype(float) - low) / (high - low) if ok[i] else np.zeros(maps[i].shape)
        inside += np.histogram(scaled[masks[i] & counted[i]], edges)[0]
        outside += np.histogram(scaled[~masks[i] & counted[i]], edges)[0]
    if not inside.sum():
        return float("nan")
    true, false = inside[::-1].cumsum(), outside[::-1].cumsum()
    precision = true / np.maximum(true + false, 1)
    return float((precision * np.diff(true, prepend=0)).sum() / inside.sum())


def _with_masks(maps: MapsLike, masks: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maps, masks, and which pairs have something to say."""
    maps = as_maps("maps", maps)
    masks = _as_masks("masks", masks, maps.shape)
    return maps, masks, usable(maps) & masks.any((1, 2)) if len(maps) else np.zeros(0, bool)


def _as_masks(name: str, masks: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    found = as_booleans(name, masks, "[n, h, w]")
    if found.shape != shape:
        raise InputError(f"{name} must be {list(shape)} as the maps are, not {list(found.shape)}")
    return found
