"""Boxes without weights to learn: smooth the map, keep its brightest pixels, draw the tight box.

After Fast Object Localization via Sensitivity Analysis, section 2.3.

Maps float `[n, h, w]`; boxes float `[n, 4]`, `x0 y0 x1 y1` in pixel edges of the map, half-open. A map that says
nothing (NaN, or the same value everywhere) gives a box of NaN, and `saliency.status` says why.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from localization.boxes import as_boxes, iou
from saliency._checks import BoxesLike, MapsLike, as_maps, number, whole
from saliency.errors import InputError
from saliency.maps.status import usable

SIGMAS = (1.0, 2.0, 4.0, 6.0, 8.0)
SHARES = (0.02, 0.04, 0.06, 0.08, 0.11, 0.15, 0.2, 0.3)
LIMIT = 250  # maps that settings are chosen by


@dataclass(frozen=True)
class Heuristic:
    """Gaussian smoothing by `sigma` px, the brightest `share` of all pixels, and the tight box round them.

    With `component` the box is that of the largest 8-connected component only.
    """

    sigma: float
    share: float
    component: bool = False

    def predict(self, maps: MapsLike) -> Float[np.ndarray, "n 4"]:
        """A box for each map; NaN for one that says nothing."""
        maps = as_maps("maps", maps)
        ok = usable(maps)
        boxes = np.full((len(maps), 4), np.nan)
        if ok.any():
            (bright,) = brightest(smoothed(maps[ok], self.sigma), (self.share,))
            boxes[ok] = component_boxes(bright) if self.component else tight_boxes(bright)
        return boxes


def fit_heuristic(
    maps: MapsLike,
    boxes: BoxesLike,
    *,
    sigmas: tuple[float, ...] = SIGMAS,
    shares: tuple[float, ...] = SHARES,
    components: tuple[bool, ...] = (False, True),
    limit: int = LIMIT,
    seed: int = 0,
) -> Heuristic:
    """The setting with the best CorLoc on these training boxes, of equals the one with the best mean IoU.

    At most `limit` maps, drawn from `seed`, are looked at. Raises InputError when no map says anything.
    """
    maps, boxes = as_maps("maps", maps), as_boxes(boxes)
    for name, values, bound in (("sigmas", sigmas, {"least": 0}), ("shares", shares, {"above": 0, "below": 1})):
        if not len(values):
            raise InputError(f"{name} must be one or more numbers")
        for value in values:
            number(name, value, **bound)
    whole("limit", limit, least=1)
    whole("seed", seed)
    if len(boxes) != len(maps):
        raise InputError(f"{len(boxes)} boxes do not pair with {len(maps)} maps")
    rows = sampled(maps, boxes, limit, seed)
    return best(grid_search(maps[rows], sigmas=sigmas, shares=shares, components=components), boxes[rows])


def sampled(
    maps: Float[np.ndarray, "n h w"], boxes: Float[np.ndarray, "n 4"], limit: int = LIMIT, seed: int = 0
) -> Int[np.ndarray, " k"]:
    """At most `limit` rows, drawn from `seed`, whose map and box say something; InputError where there is none."""
    rows = np.flatnonzero(usable(maps) & np.isfinite(boxes).all(1))
    if not len(rows):
        raise InputError(
            "maps: none of the training maps is usable (all NaN or constant), so no heuristic can be tuned"
        )
    if len(rows) > limit:
        rows = np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))
    return rows


def grid_search(
    maps: Float[np.ndarray, "n h w"],
    *,
    sigmas: tuple[float, ...] = SIGMAS,
    shares: tuple[float, ...] = SHARES,
    components: tuple[bool, ...] = (False, True),
) -> dict[Heuristic, Float[np.ndarray, "n 4"]]:
    """The boxes that every setting finds in usable maps."""
    found = {}
    for sigma in sigmas:
        for share, bright in zip(shares, brightest(smoothed(maps, sigma), shares)):
            for component in components:
                found[Heuristic(sigma, share, component)] = (component_boxes if component else tight_boxes)(bright)
    return found


def best(found: Mapping[Heuristic, Float[np.ndarray, "n 4"]], boxes: Float[np.ndarray, "n 4"]) -> Heuristic:
    """The setting whose boxes have the best CorLoc, of equals the one with the best mean IoU, of equals the first."""
    overlaps = {setting: iou(own, boxes) for setting, own in found.items()}
    return max(overlaps, key=lambda one: ((overlaps[one] > 0.5).mean(), overlaps[one].mean()))


def smoothed(maps: Float[np.ndarray, "n h w"], sigma: float) -> Float[np.ndarray, "n h w"]:
    return ndimage.gaussian_filter(np.asarray(maps, np.float32), (0, sigma, sigma), mode="nearest", truncate=3)


def brightest(maps: Float[np.ndarray, "n h w"], shares: Sequence[float]) -> Iterator[Bool[np.ndarray, "n h w"]]:
    """For each share, that share of each map's pixels with the largest values; ties are kept."""
    flat = maps.reshape(len(maps), -1)
    ranks = [flat.shape[1] - max(1, round(share * flat.shape[1])) for share in shares]
    ordered = np.partition(flat, sorted(set(ranks)), axis=1)
    return (maps >= ordered[:, rank, None, None] for rank in ranks)


def component_boxes(masks: Bool[np.ndarray, "n h w"]) -> Float[np.ndarray, "n 4"]:
    """The smallest box round each mask's largest 8-connected component, of equals the first; NaN for an empty mask."""
    height, width = masks.shape[1:]
    structure = np.zeros((3, 3, 3), int)
    structure[1] = 1  # masks do not touch one another
    boxes = np.full((len(masks), 4), np.nan)
    pixels = np.flatnonzero(masks)  # of all masks, few: what follows looks at no other
    if not len(pixels):
        return boxes
    component = ndimage.label(masks, structure)[0].ravel()[pixels]
    size = np.bincount(component)[component]
    mask, starts = _runs(pixels // (height * width))
    largest = size == np.maximum.reduceat(size, starts)[mask]
    first = np.minimum.reduceat(np.where(largest, np.arange(len(pixels)), len(pixels)), starts)
    pixels = pixels[component == component[first][mask]]
    _, starts = _runs(pixels // (height * width))
    rows, columns = pixels // width % height, pixels % width
    x0, y0 = np.minimum.reduceat(columns, starts), rows[starts]
    x1, y1 = np.maximum.reduceat(columns, starts) + 1, rows[np.append(starts[1:], len(rows)) - 1] + 1
    boxes[pixels[starts] // (height * width)] = np.stack([x0, y0, x1, y1], 1)
    return boxes


def _runs(values: Int[np.ndarray, " k"]) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " r"]]:
    """Of sorted values which run of equal ones each belongs to, and where the runs start."""
    starts = np.diff(values, prepend=-1) > 0
    return np.cumsum(starts) - 1, np.flatnonzero(starts)


def tight_boxes(masks: Bool[np.ndarray, "n h w"]) -> Float[np.ndarray, "n 4"]:
    """The smallest box round each mask's pixels; NaN for an empty mask."""
    rows, cols = np.any(masks, axis=2), np.any(masks, axis=1)
    boxes = np.stack(
        [
            cols.argmax(1),
            rows.argmax(1),
            cols.shape[1] - cols[:, ::-1].argmax(1),
            rows.shape[1] - rows[:, ::-1].argmax(1),
        ],
        axis=1,
    ).astype(float)
    boxes[~rows.any(1)] = np.nan
    return boxes
