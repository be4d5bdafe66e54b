"""Pictures of maps: one over its photo as pixels, and several in a grid as a matplotlib figure (imported on use).

Photos are uint8 `[h, w, 3]`, Pillow images or paths; a map is float `[mh, mw]` of any resolution over the whole photo;
boxes are `x0 y0 x1 y1` in the photo's pixels.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from saliency._checks import number, text, texts, whole
from saliency.errors import InputError
from saliency.photos import as_photo
from saliency.zeiler_fergus.subjects import Photo

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLAIN, SIGNED = "inferno", "RdBu_r"  # the colour-blind can read both


def overlay(
    photo: Photo,
    saliency_map: Float[np.ndarray, "mh mw"],
    *,
    signed: bool | None = None,
    limit: float | None = None,
    opacity: float = 0.7,
    colours: str | None = None,
    boxes: Sequence[Sequence[float]] = (),
) -> UInt8[np.ndarray, "h w 3"]:
    """A map in colours over its grey photo, the more opaque the stronger; boxes as white lines with a dark edge.

    `signed` maps get diverging colours about 0 (default: where there are negative values); `limit` is the value that
    gets the full colour and `opacity` (default: the map's largest absolute value), so that several pictures can share
    one scale. `colours` is a matplotlib colour map. Pixels whose value is NaN show the photo alone.

    Raises InputError for a map that is not [h, w] or holds no finite number, and values outside their range.

    >>> overlay(np.full((40, 60, 3), 200, np.uint8), np.eye(4)).shape
    (40, 60, 3)
    """
    import matplotlib as mpl
    from PIL import ImageDraw

    pixels, values = as_photo(photo), np.asarray(saliency_map)
    if values.ndim != 2 or values.dtype.kind not in "fiub" or not np.isfinite(values).any():
        raise InputError(f"saliency_map must be numbers [h, w], finite ones among them, not {list(values.shape)}")
    number("opacity", opacity, above=0)
    if opacity > 1:
        raise InputError(f"opacity must lie in 0..1, not {opacity:g}")
    values = values.astype(np.float32)
    known = np.isfinite(values)
    if limit is None:
        limit = float(np.abs(values[known]).max()) or 1.0
    number("limit", limit, above=0)
    signed = bool((values[known] < 0).any()) if signed is None else signed
    name = colours or (SIGNED if signed else PLAIN)
    if name not in mpl.colormaps:
        raise InputError(f"colours must be one of matplotlib's colour maps, such as {PLAIN} or {SIGNED}, not {name!r}")
    height, width = pixels.shape[:2]
    shown = _resized(np.where(known, values, 0), (height, width)) / limit
    share = np.clip(np.abs(shown) if signed else shown, 0, 1) * (
        _resized(known.astype(np.float32), (height, width)) > 0.5
    )
    coloured = mpl.colormaps[name](np.clip(shown / 2 + 0.5 if signed else shown, 0, 1))[..., :3] * 255
    grey = np.asarray(Image.fromarray(pixels).convert("L"), np.float32)[..., None]
    weight = (opacity * share)[..., None]
    mixed = Image.fromarray((grey * (1 - weight) + coloured * weight).round().astype(np.uint8))
    draw = ImageDraw.Draw(mixed)
    line = max(1, round(min(height, width) / 150))
    for box in boxes:
        if np.shape(box) != (4,) or not np.isfinite(np.asarray(box, float)).all():
            raise InputError(f"boxes must be x0 y0 x1 y1 in the photo's pixels, not {box!r}")
        x0, y0, x1, y1 = box
        for grow, colour in ((line, "black"), (0, "white")):
            corners = [min(x0, x1) - grow, min(y0, y1) - grow, max(x0, x1) + grow - 1, max(y0, y1) + grow - 1]
            draw.rectangle(corners, outline=colour, width=line + 2 * grow)
    return np.asarray(mixed)


def grid(images: Sequence[Photo], titles: Sequence[str] = (), *, columns: int = 4, title: str = "") -> "Figure":
    """Pictures in rows of `columns`, each under its title, as a figure to show or save.

    Raises InputError for no images, and titles that are not one for each.

    >>> len(grid([np.zeros((9, 9, 3), np.uint8)] * 5, columns=3).axes)
    5
    """
    from matplotlib.figure import Figure

    whole("columns", columns, least=1)
    texts("titles", list(titles))
    text("title", title)
    if not len(images):
        raise InputError("images must hold at least one picture")
    if len(titles) not in (0, len(images)):
        raise InputError(f"titles must be one for each of the {len(images)} images, not {len(titles)}")
    pictures = [as_photo(image) for image in images]
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    shape = max(picture.shape[0] / picture.shape[1] for picture in pictures)
    figure = Figure(figsize=(2.4 * columns, (2.4 * shape + 0.35 * bool(titles)) * rows + 0.4 * bool(title)))
    figure.set_layout_engine("constrained")
    for i, picture in enumerate(pictures):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.imshow(picture)
        axes.set_axis_off()
        if titles:
            axes.set_title(titles[i], fontsize=10, parse_math=False)
    if title:
        figure.suptitle(title, fontsize=11, parse_math=False)
    return figure


def _resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """To (height, width), bilinearly."""
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR))
