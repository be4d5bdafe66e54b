"""One map over its photo, as pixels.

Photos are uint8 `[h, w, 3]`, Pillow images or paths; a map is float `[mh, mw]` of any resolution; boxes are
`x0 y0 x1 y1` in the photo's pixels. Colours are those that the colour-blind can tell apart: inferno for maps of at
least 0, red and blue about 0 for signed ones, and box lines of white within black. matplotlib is imported on use.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import ArrayLike
from PIL import Image

from saliency._checks import as_array, kind_of, number
from saliency.errors import InputError
from saliency.maps.placement import map_to_photo
from saliency.models.preprocessing import Photo, Preprocessing
from saliency.photos import as_photo

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

PLAIN, SIGNED = "inferno", "RdBu_r"
PERCENTILE = 99.5  # of the absolute values: what gets the full colour, so that one odd pixel leaves the others theirs
NEGLIGIBLE = 0.05  # of the largest value: a map with no more than that below 0 is not signed
MIDDLE = 128  # the grey behind a colour bar


@overload
def overlay(
    photo: Photo,
    saliency_map: Float[np.ndarray, "mh mw"],
    *,
    preprocess: Preprocessing | None = ...,
    signed: bool | None = ...,
    limit: float | None = ...,
    opacity: float = ...,
    colours: str | None = ...,
    boxes: ArrayLike = ...,
    as_image: Literal[False] = ...,
) -> UInt8[np.ndarray, "h w 3"]: ...
@overload
def overlay(
    photo: Photo,
    saliency_map: Float[np.ndarray, "mh mw"],
    *,
    preprocess: Preprocessing | None = ...,
    signed: bool | None = ...,
    limit: float | None = ...,
    opacity: float = ...,
    colours: str | None = ...,
    boxes: ArrayLike = ...,
    as_image: Literal[True],
) -> Image.Image: ...
def overlay(
    photo: Photo,
    saliency_map: Float[np.ndarray, "mh mw"],
    *,
    preprocess: Preprocessing | None = None,
    signed: bool | None = None,
    limit: float | None = None,
    opacity: float = 0.7,
    colours: str | None = None,
    boxes: ArrayLike = (),
    as_image: bool = False,
) -> UInt8[np.ndarray, "h w 3"] | Image.Image:
    """A map in colours over its grey photo, the more opaque the stronger, with boxes.

    Args:
        photo: uint8 `[h, w, 3]`, a Pillow image or a path.
        saliency_map: float `[mh, mw]`; pixels of NaN show the photo alone.
        preprocess: how the photo entered the network, `net.preprocess`: the map lies where the network saw the photo,
            and what a crop hid stays grey. Default: the map lies over the whole photo.
        signed: diverging colours about 0, or a scale from 0 on which what is negative has no colour (default: whether
            negative values reach 5% of the largest).
        limit: the value with the full colour and opacity; give one to several pictures to have them on a common scale
            (default: the 99.5th percentile of the absolute values).
        opacity: of the full colour, above 0 and up to 1.
        colours: a colour map of matplotlib's (default: inferno, for signed maps RdBu_r).
        boxes: one box, or boxes `[n, 4]`, `x0 y0 x1 y1` in the photo's pixels; one of NaN, none found, is not drawn.
        as_image: a Pillow image instead of the array: it shows itself in a notebook, and has `.save("map.png")`.

    Returns:
        uint8 `[h, w, 3]` of the photo's own size, or a Pillow image of it.

    Raises InputError for a map that is not [h, w] or holds no finite number, and values outside their range.

    >>> overlay(np.full((40, 60, 3), 200, np.uint8), np.eye(4)).shape
    (40, 60, 3)
    >>> overlay(np.full((40, 60, 3), 200, np.uint8), np.eye(4), boxes=[10, 10, 50, 30], as_image=True).size
    (60, 40)
    """
    pixels = as_photo(photo)
    values = placed(pixels, saliency_map, preprocess)
    number("opacity", opacity, above=0)
    if opacity > 1:
        raise InputError(f"opacity must lie in 0..1, not {opacity:g}")
    if limit is None:
        limit = full_colour([values])
    number("limit", limit, above=0)
    signed = is_signed([values]) if signed is None else signed
    table = colour_map(colours, signed)
    known = np.isfinite(values)
    height, width = pixels.shape[:2]
    shown = _resized(np.where(known, values, 0), (height, width)) / limit
    shown *= _resized(known.astype(np.float32), (height, width)) > 0.5
    grey = np.asarray(Image.fromarray(pixels).convert("L"), np.float32)
    mixed = Image.fromarray(blended(grey, shown, table, signed, opacity))
    _draw_boxes(mixed, boxes)
    return mixed if as_image else np.asarray(mixed)


def placed(photo: np.ndarray, saliency_map: object, preprocess: Preprocessing | None) -> Float[np.ndarray, "mh mw"]:
    """The map over the whole photo, float32, NaN where the network saw nothing; InputError where it is none."""
    values = as_array("saliency_map", saliency_map, "numbers [h, w], finite ones among them")
    if values.ndim != 2 or not np.isfinite(values).any():
        raise InputError(f"saliency_map must be numbers [h, w], finite ones among them, not {list(values.shape)}")
    values = values.astype(np.float32)
    if preprocess is None:
        return values
    kind_of("preprocess", preprocess, Preprocessing, "how the photo entered, net.preprocess")
    return map_to_photo(values, preprocess.placement((photo.shape[0], photo.shape[1])), outside=np.nan)


def full_colour(maps: Sequence[np.ndarray]) -> float:
    """The value with the full colour for all of these maps: the largest of their percentiles, 1 for maps of zeros."""
    absolute = [np.abs(one[np.isfinite(one)]) for one in maps]
    most = max((float(np.percentile(one, PERCENTILE)) for one in absolute if one.size), default=0.0)
    return most or max((float(one.max()) for one in absolute if one.size), default=0.0) or 1.0


def is_signed(maps: Sequence[np.ndarray]) -> bool:
    """Whether negative values say something in any of these maps."""
    finite = [one[np.isfinite(one)] for one in maps]
    return any(bool(one.min() < -NEGLIGIBLE * one.max()) for one in finite if one.size)


def colour_map(colours: str | None, signed: bool) -> "Colormap":
    """matplotlib's, by its name or by what the maps are. Raises InputError for an unknown name."""
    from matplotlib import colormaps

    name = colours or (SIGNED if signed else PLAIN)
    if not isinstance(name, str) or name not in colormaps:
        raise InputError(f"colours must be one of matplotlib's colour maps, such as {PLAIN} or {SIGNED}, not {name!r}")
    return colormaps[name]


def blended(
    grey: Float[np.ndarray, "h w"], shown: Float[np.ndarray, "h w"], table: "Colormap", signed: bool, opacity: float
) -> UInt8[np.ndarray, "h w 3"]:
    """Colours over grey 0..255, the more opaque the nearer `shown` is to 1 (signed: or to -1)."""
    share = np.clip(np.abs(shown) if signed else shown, 0, 1)
    coloured = table(np.clip(shown / 2 + 0.5 if signed else shown, 0, 1))[..., :3] * 255
    weight = (opacity * share)[..., None]
    return (grey[..., None] * (1 - weight) + coloured * weight).round().astype(np.uint8)


def as_drawn(boxes: object) -> Float[np.ndarray, "n 4"]:
    """One box or several as `[n, 4]`, those of NaN left out; InputError for anything else."""
    wanted = "x0 y0 x1 y1 in the photo's pixels, one box or rows of them"
    array = as_array("boxes", boxes if boxes is not None else (), wanted).astype(float)
    if array.ndim == 1 and array.size in (0, 4):
        array = array.reshape(-1, 4)
    if array.ndim != 2 or array.shape[1] != 4 or np.isinf(array).any():
        raise InputError(f"boxes must be {wanted}, finite ones, not {list(array.shape)}")
    return array[~np.isnan(array).any(1)]


def _draw_boxes(image: Image.Image, boxes: object) -> None:
    """White lines with a dark edge, which are seen on every ground."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(image)
    line = max(1, round(min(image.size) / 150))
    for box in as_drawn(boxes).round().astype(int):
        (x0, x1), (y0, y1) = sorted(box[::2]), sorted(box[1::2])
        for grow, colour in ((line, "black"), (0, "white")):
            corners = [x0 - grow, y0 - grow, max(x0, x1 - 1) + grow, max(y0, y1 - 1) + grow]
            draw.rectangle(corners, outline=colour, width=line + 2 * grow)


def _resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """To (height, width), bilinearly."""
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR))
