"""Photos and the maps over them as one figure: for a notebook, or saved as PNG or PDF for a paper."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from PIL import Image

from saliency._checks import as_array, described, number, one_of, text, texts, whole
from saliency.errors import InputError
from saliency.maps.status import usable
from saliency.models.preprocessing import Photos, Preprocessing
from saliency.photos import as_photo
from saliency.pictures import MIDDLE, PERCENTILE, as_drawn, blended, colour_map, full_colour, is_signed, overlay, placed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec, SubplotSpec

Scale = Literal["map", "row", "column", "all"]
Maps = ArrayLike | Mapping[str, ArrayLike | Sequence[ArrayLike]]
Boxes = ArrayLike | Sequence[ArrayLike] | Mapping[str, ArrayLike | Sequence[ArrayLike]]
SIDE = 1.8  # inches of a picture
LETTERS = 16  # of a title on one line
FONT = 9  # points


@dataclass(frozen=True)
class _Style:
    """How maps of one column are coloured; `limit` is settled for each group that shares a scale."""

    colours: str | None
    signed: bool
    opacity: float
    limit: float = 1.0


def show(
    photos: Photos,
    maps: Maps | None = None,
    *,
    titles: Sequence[str] = (),
    boxes: Boxes | None = None,
    preprocess: Preprocessing | None = None,
    scale: Scale = "map",
    signed: bool | None = None,
    opacity: float = 0.7,
    colours: str | None = None,
    columns: int | None = None,
    title: str = "",
) -> "Figure":
    """Photos and their maps side by side, with titles, boxes and colour bars, as a figure to show or save.

    Args:
        photos: n photos of any sizes, or one: uint8 `[h, w, 3]`, Pillow images or paths.
        maps: float `[n, h, w]` (or n maps of any sizes), or several such by name, `{"Grad-CAM": maps, ...}`: each is a
            column beside the photos. Default: the photos alone.
        titles: one for each photo.
        boxes: one for each photo, `[n, 4]` `x0 y0 x1 y1` in the photo's pixels (NaN: none), or several, n arrays
            `[k, 4]`: drawn on the photo and its maps; by the maps' names: drawn on these maps.
        preprocess: how the photos entered the network, `net.preprocess`, see `overlay`. Needed where a crop cut them.
        scale: what shares a scale, and so a colour bar with the maps' own values: the maps of a "row" (one photo), of
            a "column" (one method), or "all"; "map": each has its own, and the bar is relative to it.
        signed: as for `overlay` (default: by the values of each column).
        opacity, colours: as for `overlay`.
        columns: so many photos beside one another, each with its maps (default: 1, without maps 4).
        title: over all.

    Returns:
        A matplotlib figure that shows itself in a notebook; `.savefig("maps.pdf")` or `("maps.png", dpi=300)` saves it.
        A map that says nothing (constant, or NaN in all of the photo) is marked "no map".

    Raises InputError for maps, titles and boxes that are not one for each photo, and as `overlay` does.

    >>> photos = [np.zeros((30, 40, 3), np.uint8)] * 2
    >>> figure = show(photos, {"a": np.random.default_rng(0).random((2, 6, 8))}, titles=["one", "two"])
    >>> [axes.get_title() for axes in figure.axes[:2]]
    ['photo', 'a']
    """
    pixels = _photos(photos)
    n = len(pixels)
    by_name = _maps(maps, pixels, preprocess)
    texts("titles", titles if isinstance(titles, str) else list(titles))
    text("title", title)
    if len(titles) not in (0, n):
        raise InputError(f"titles must be one for each of the {n} photos, not {len(titles)}")
    one_of("scale", scale, get_args(Scale))
    number("opacity", opacity, above=0)
    if opacity > 1:
        raise InputError(f"opacity must lie in 0..1, not {opacity:g}")
    whole("columns", columns, least=1, optional=True)
    on_photo, on_maps = _boxes(boxes, n, list(by_name))
    together = scale in ("row", "all") and (
        is_signed([m for own in by_name.values() for m in own]) if signed is None else signed
    )
    styles = {
        name: _Style(colours, together or (is_signed(own) if signed is None else signed), opacity)
        for name, own in by_name.items()
    }
    for style in styles.values():
        colour_map(colours, style.signed)
    limits = _limits(by_name, n, scale)

    across = min(n, columns or (1 if by_name else 4))
    each = 1 + len(by_name)
    figure, grid, axes = _axes(pixels, across, each, bool(titles), title, scale)
    for i, photo in enumerate(pixels):
        row, first = i // across, i % across * each
        _photo(axes[row, first], photo, on_photo[i])
        if titles and by_name:
            axes[row, first].set_ylabel(fill(titles[i], LETTERS), fontsize=FONT, parse_math=False)
        elif titles:
            axes[row, first].set_title(fill(titles[i], LETTERS), fontsize=FONT, parse_math=False)
        for j, (name, own) in enumerate(by_name.items()):
            style = replace(styles[name], limit=limits[i][j])
            _map(axes[row, first + 1 + j], photo, own[i], style, on_maps[name][i])
    for first in range(0, across * each if by_name else 0, each):
        for j, name in enumerate(["photo", *by_name]):
            axes[0, first + j].set_title(fill(name, LETTERS), fontsize=FONT, parse_math=False)
    if by_name:
        _bars(figure, grid, by_name, styles, limits, scale, across)
    return figure


def _photos(photos: Photos) -> list[np.ndarray]:
    if isinstance(photos, str | Path | Image.Image) or (isinstance(photos, np.ndarray) and photos.ndim == 3):
        return [as_photo(photos)]
    if isinstance(photos, Mapping) or not isinstance(photos, Iterable):
        raise InputError(f"photos must be a photo or a list of photos, not {described(photos)}")
    pixels = [as_photo(photo) for photo in photos]
    if not pixels:
        raise InputError("photos must hold at least one photo")
    return pixels


def _maps(
    maps: Maps | None, photos: Sequence[np.ndarray], preprocess: Preprocessing | None
) -> dict[str, list[Float[np.ndarray, "h w"]]]:
    """By name a map for each photo, over the whole of it, all NaN where there is none."""
    if maps is None:
        return {}
    found = {}
    for name, given in (maps if isinstance(maps, Mapping) else {"map": maps}).items():
        text("the name of maps", name)
        own = list(given) if isinstance(given, list | tuple) else as_array("maps", given)
        if isinstance(own, np.ndarray) and own.ndim == 2 and len(photos) == 1:
            own = own[None]
        if len(own) != len(photos) or any(np.ndim(one) != 2 for one in own):
            said = described(given)
            raise InputError(f"maps must be [n, h, w], a map for each of the {len(photos)} photos, not {said}")
        found[name] = [_placed(photo, one, preprocess) for photo, one in zip(photos, own)]
    return found


def _placed(photo: np.ndarray, one: object, preprocess: Preprocessing | None) -> np.ndarray:
    values = as_array("maps", one).astype(np.float32)
    known = np.isfinite(values)
    if not known.any() or not usable(np.where(known, values, values[known][0])[None])[0]:
        return np.full((1, 1), np.nan, np.float32)
    return placed(photo, values, preprocess)


def _boxes(boxes: Boxes | None, n: int, names: Sequence[str]) -> tuple[list[np.ndarray], dict[str, list[np.ndarray]]]:
    """What is drawn on each photo, and by the maps' names on each of theirs."""
    nothing = [np.empty((0, 4))] * n
    if boxes is None:
        return nothing, dict.fromkeys(names, nothing)
    if not isinstance(boxes, Mapping):
        own = _for_each(boxes, n)
        return own, dict.fromkeys(names, own)
    for name in boxes:
        one_of("the name of boxes", name, names)
    return nothing, {name: _for_each(boxes[name], n) if name in boxes else nothing for name in names}


def _for_each(boxes: object, n: int) -> list[np.ndarray]:
    rows = list(boxes) if isinstance(boxes, list | tuple) else list(as_array("boxes", boxes))
    if n == 1 and np.shape(rows) == (4,):
        rows = [rows]
    if len(rows) != n:
        raise InputError(f"boxes must be one, or an array [k, 4], for each of the {n} photos, not {described(boxes)}")
    return [as_drawn(row) for row in rows]


def _limits(by_name: Mapping[str, Sequence[np.ndarray]], n: int, scale: Scale) -> list[list[float]]:
    """For each photo and each of its maps the value with the full colour."""
    columns = list(by_name.values())
    match scale:
        case "map":
            return [[full_colour([own[i]]) for own in columns] for i in range(n)]
        case "row":
            return [[full_colour([own[i] for own in columns])] * len(columns) for i in range(n)]
        case "column":
            return [[full_colour(own) for own in columns]] * n
        case _:
            return [[full_colour([one for own in columns for one in own])] * len(columns)] * n


def _axes(
    photos: Sequence[np.ndarray], across: int, each: int, titled: bool, title: str, scale: Scale
) -> tuple["Figure", "GridSpec", np.ndarray]:
    """A figure, its grid, and a place for each picture, `[rows, across * each]`. Where there are maps the grid has one
    row more for colour bars, or for bars of rows one column more beside each photo's maps."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    from saliency.report.notebook import NotebookFigure

    rows, bars = -(-len(photos) // across), each > 1
    beside, below = bars and scale == "row", bars and scale != "row"
    tall = float(np.median([photo.shape[0] / photo.shape[1] for photo in photos]))
    height = rows * (SIDE * min(tall, 2) + 0.3 * (titled and not bars)) + 0.4 * bool(title) + 0.3 * bars + 0.6 * below
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    figure = NotebookFigure(figsize=(across * (SIDE * each + 0.5 * beside), height), layout=layout)
    if title:
        figure.suptitle(title, fontsize=FONT + 2, parse_math=False)
    grid = figure.add_gridspec(
        rows + below,
        across * (each + beside),
        height_ratios=[1.0] * rows + [0.06 / min(tall, 2)] * below,
        width_ratios=([1.0] * each + [0.06] * beside) * across,
    )
    columns = [first * (each + beside) + j for first in range(across) for j in range(each)]
    axes = np.array([[figure.add_subplot(grid[row, column]) for column in columns] for row in range(rows)])
    for one in axes.ravel():
        one.set(xticks=[], yticks=[])
        one.set_frame_on(False)
    return figure, grid, axes


def _photo(axes: "Axes", photo: np.ndarray, boxes: np.ndarray) -> None:
    axes.imshow(photo)
    _outlines(axes, boxes)


def _map(axes: "Axes", photo: np.ndarray, one: np.ndarray, style: _Style, boxes: np.ndarray) -> None:
    if not np.isfinite(one).any():
        grey = np.asarray(Image.fromarray(photo).convert("L"))
        axes.imshow(grey, cmap="gray", vmin=0, vmax=255)
        height, width = photo.shape[:2]
        axes.text(width / 2, height / 2, "no map", ha="center", va="center", fontsize=FONT, backgroundcolor="white")
    else:
        picture = overlay(
            photo, one, signed=style.signed, limit=style.limit, opacity=style.opacity, colours=style.colours
        )
        axes.imshow(picture)
    _outlines(axes, boxes)


def _outlines(axes: "Axes", boxes: np.ndarray) -> None:
    """White lines with a dark edge, as vectors."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import Normal, Stroke

    for x0, y0, x1, y1 in boxes:
        # imshow's pixel p reaches from p - 1/2 to p + 1/2
        outline = Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor="white", linewidth=1.2)
        outline.set_path_effects([Stroke(linewidth=2.8, foreground="black"), Normal()])
        axes.add_patch(outline)


def _bars(
    figure: "Figure",
    grid: "GridSpec",
    by_name: Mapping[str, Sequence[np.ndarray]],
    styles: Mapping[str, _Style],
    limits: Sequence[Sequence[float]],
    scale: Scale,
    across: int,
) -> None:
    """A colour bar for each group of maps that shares a scale."""
    names, each = list(by_name), 1 + len(by_name)
    match scale:
        case "map":
            kinds = list({style.signed: style for style in styles.values()}.values())
            columns = np.array_split(np.arange(1, across * each), len(kinds))
            for style, some in zip(kinds, columns):
                place = grid[-1, some[0] : some[-1] + 1]
                _bar(figure, place, style, label=f"relative to each\nmap's {PERCENTILE:g}th percentile")
        case "all":
            everything = [one for own in by_name.values() for one in own]
            _bar(figure, grid[-1, :], replace(styles[names[0]], limit=limits[0][0]), everything)
        case "column":
            for first in range(0, across * each, each):
                for j, name in enumerate(names):
                    _bar(figure, grid[-1, first + 1 + j], replace(styles[name], limit=limits[0][j]), by_name[name])
        case "row":
            for i, own in enumerate(limits):
                maps = [by_name[name][i] for name in names]
                place = grid[i // across, i % across * (each + 1) + each]
                _bar(figure, place, replace(styles[names[0]], limit=own[0]), maps, upright=True)


def _bar(
    figure: "Figure",
    place: "SubplotSpec",
    style: _Style,
    maps: Sequence[np.ndarray] = (),
    label: str = "",
    upright: bool = False,
) -> None:
    """One bar; its colours are those over a middle grey, as the pictures have them, and a pointed end says that there
    are values beyond."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.ticker import MaxNLocator

    shown = np.linspace(-1 if style.signed else 0, 1, 256)[None]
    table = colour_map(style.colours, style.signed)
    colours = blended(np.full_like(shown, MIDDLE), shown, table, style.signed, style.opacity)[0] / 255
    finite = [one[np.isfinite(one)] for one in maps]
    above = bool(label) or any(bool((one > style.limit).any()) for one in finite)
    below = style.signed and (bool(label) or any(bool((one < -style.limit).any()) for one in finite))
    bar = figure.colorbar(
        ScalarMappable(Normalize(-style.limit if style.signed else 0, style.limit), ListedColormap(colours)),
        cax=figure.add_subplot(place),
        orientation="vertical" if upright else "horizontal",
        extend={(True, True): "both", (True, False): "max", (False, True): "min"}.get((above, below), "neither"),
    )
    bar.locator = MaxNLocator(4)
    bar.ax.tick_params(labelsize=FONT - 1)
    if label:
        bar.set_label(label, fontsize=FONT)
