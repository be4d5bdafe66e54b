"""The one box convention of the house, conversions at its borders, overlap, and the way between photo and input.

Boxes are float `[..., 4]`: `x0 y0 x1 y1` in continuous pixel edges, half-open, so that a box of one pixel is 1 wide
and the box of a whole photo is `0 0 width height`. A box with NaN in it stands for "none found".
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Real
from numpy.typing import ArrayLike

from saliency._checks import as_array
from saliency.errors import InputError
from saliency.maps.placement import map_to_photo
from saliency.models.preprocessing import Placement

__all__ = [
    "Boxes", "area", "as_boxes", "below_half", "clip", "from_inclusive", "from_tfds", "from_xywh", "iou",
    "map_to_photo", "ordered", "same_aspect", "to_inclusive", "to_input", "to_photo", "to_tfds", "to_xywh", "visible",
]  # fmt: skip

Boxes = Float[np.ndarray, "*n 4"]


def as_boxes(boxes: ArrayLike, name: str = "boxes") -> Float[np.ndarray, "n 4"]:
    """Boxes as float64 `[n, 4]`, from an array of any library or rows of numbers, none too; InputError otherwise."""
    array = as_array(name, boxes, "numbers [n, 4], rows x0 y0 x1 y1").astype(float)
    if not array.size and array.ndim < 2:
        return np.empty((0, 4))
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(f"{name} must be [n, 4], rows x0 y0 x1 y1, not {list(array.shape)}")
    return array


def area(boxes: Real[np.ndarray, "*n 4"]) -> Float[np.ndarray, "*n"]:
    """Width times height; 0 for a box turned inside out."""
    return np.asarray(np.prod(np.maximum(boxes[..., 2:] - boxes[..., :2], 0), axis=-1))


def below_half(boxes: Float[np.ndarray, "n 4"], sizes: ArrayLike) -> Bool[np.ndarray, " n"]:
    """Which boxes cover less than half of their photos, of (height, width): a constant box hits few of those."""
    return area(boxes) < np.reshape(sizes, (-1, 2)).prod(1) / 2


def same_aspect(a: ArrayLike, b: ArrayLike) -> Bool[np.ndarray, "*n"] | np.bool_:
    """Whether sizes (height, width) `[..., 2]` may be those of one photo before and after it was resized: widths and
    heights are rounded then, so that two aspects may differ by 2%."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    with np.errstate(all="ignore"):  # a size of nothing, or without end, is no size of a photo
        return np.abs(a[..., 0] / a[..., 1] * (b[..., 1] / b[..., 0]) - 1) < 0.02


def iou(a: Real[np.ndarray, "*#n 4"], b: Real[np.ndarray, "*#n 4"]) -> Float[np.ndarray, "*n"]:
    """Intersection over union, elementwise with broadcasting; 0 where a box is empty or NaN.

    `iou(a[:, None], b[None])` is the table of all pairs.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    both = area(np.concatenate([np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])], axis=-1))
    either = area(a) + area(b) - both
    return np.divide(both, either, out=np.zeros_like(either), where=either > 0)


def clip(boxes: Boxes, size: tuple[int, int]) -> Boxes:
    """Boxes cut at the border of an image of (height, width)."""
    height, width = size
    return np.clip(boxes, 0, [width, height, width, height])


def ordered(boxes: Boxes) -> Boxes:
    """Corners swapped where x0 > x1 or y0 > y1."""
    return np.concatenate(
        [np.minimum(boxes[..., :2], boxes[..., 2:]), np.maximum(boxes[..., :2], boxes[..., 2:])], axis=-1
    )


def from_inclusive(corners: ArrayLike, first: Literal[0, 1] = 1) -> Boxes:
    """Pixel corners that belong to the box, counted from `first`: 1 in VOC and ILSVRC XML, 0 in Tiny ImageNet."""
    return np.asarray(corners, float) + _edges(first)


def to_inclusive(boxes: ArrayLike, first: Literal[0, 1] = 1) -> Boxes:
    return np.asarray(boxes, float) - _edges(first)


def from_xywh(boxes: ArrayLike) -> Boxes:
    """COCO's left, top, width, height."""
    boxes = np.asarray(boxes, float)
    return np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], axis=-1)


def to_xywh(boxes: Boxes) -> Boxes:
    return np.concatenate([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], axis=-1)


def from_tfds(boxes: ArrayLike, size: tuple[int, int]) -> Boxes:
    """TFDS's `ymin xmin ymax xmax`, which are VOC's own 1-based inclusive numbers divided by (height, width)."""
    height, width = size
    corners = np.asarray(boxes, float) * [height, width, height, width]
    return from_inclusive(corners[..., [1, 0, 3, 2]].round(3))  # the division was done in float32


def to_tfds(boxes: ArrayLike, size: tuple[int, int]) -> Boxes:
    height, width = size
    return to_inclusive(boxes)[..., [1, 0, 3, 2]] / [height, width, height, width]


def to_input(boxes: ArrayLike, placement: Placement) -> Boxes:
    """Boxes of the photo where they lie in the network's input; what a crop cut away stays outside of it."""
    return np.asarray(boxes, float) * (placement.scale * 2) + placement.offset * 2


def to_photo(boxes: ArrayLike, placement: Placement) -> Boxes:
    """The inverse of `to_input`."""
    return (np.asarray(boxes, float) - placement.offset * 2) / (placement.scale * 2)


def visible(boxes: ArrayLike, placement: Placement) -> Float[np.ndarray, "*n"]:
    """Share of each box's area that the input shows; 0 for a box that the crop removed."""
    placed = to_input(boxes, placement)
    whole = area(placed)
    return np.divide(area(clip(placed, placement.input)), whole, out=np.zeros_like(whole), where=whole > 0)


def _edges(first: int) -> np.ndarray:
    """What takes the corners' pixels, counted from `first`, to the edges around them."""
    return np.array([0, 0, 1, 1]) - first
