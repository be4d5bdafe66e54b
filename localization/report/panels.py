"""Photos and maps side by side in one matplotlib axes: a hundred axes, one a picture, take seconds to lay out and draw.

Lengths are inches from the figure's upper left corner; boxes `x0 y0 x1 y1` are in a picture's pixels.
"""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox, TransformedBbox


@dataclass(frozen=True, eq=False)
class Panel:
    """A picture of `size` (height, width) pixels with its upper left corner at (`x`, `y`), `scale` inches a pixel."""

    axes: Axes
    size: tuple[int, int]
    x: float
    y: float
    scale: float

    @property
    def right(self) -> float:
        return self.x + self.scale * self.size[1]

    @property
    def bottom(self) -> float:
        return self.y + self.scale * self.size[0]


def board(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with nothing in it, and axes over all of it."""
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_autoscale_on(False)
    axes.set_axis_off()
    return figure, axes


def fitted(axes: Axes, cell: tuple[float, float, float, float], size: tuple[int, int]) -> Panel:
    """The largest panel in the middle of a `cell` (x, y, width, height)."""
    x, y, width, height = cell
    scale = min(width / size[1], height / size[0])
    return Panel(axes, size, x + (width - scale * size[1]) / 2, y + (height - scale * size[0]) / 2, scale)


def draw_map(panel: Panel, image: np.ndarray, signed: bool = False, empty: str = "no map") -> None:
    """A photo, or a map stretched over the photo's place; a `signed` one with a diverging scale, `empty` on one that
    says nothing."""
    if image.ndim == 3:
        _show(panel, image)
    elif not np.isfinite(image).all() or np.ptp(image) == 0:
        _show(panel, np.full((*image.shape, 3), 0.85))
        middle = (panel.x + panel.right) / 2, (panel.y + panel.bottom) / 2
        panel.axes.text(*middle, empty, ha="center", va="center", fontsize=8)
    elif signed:
        scale = float(np.percentile(np.abs(image), 99.5)) or 1.0
        _show(panel, image, cmap="RdBu_r", vmin=-scale, vmax=scale)
    else:
        _show(panel, image, cmap="magma", vmin=0, vmax=float(np.percentile(image, 99.5)) or None)


def draw_frame(panel: Panel) -> None:
    """A thin line about the picture: the middle of a diverging scale is as white as the page."""
    place = (panel.x, panel.y), panel.right - panel.x, panel.bottom - panel.y
    panel.axes.add_patch(Rectangle(*place, fill=False, edgecolor="black", linewidth=0.8))


def draw_box(panel: Panel, box: np.ndarray, edge: str, dashed: bool = False) -> None:
    """What of the box lies within the picture, nothing for one with NaN: a line within a darker one, which is seen on
    every ground; who cannot tell two colours apart sees which is `dashed`."""
    if np.isfinite(box).all():
        x0, y0, x1, y1 = panel.scale * np.asarray(box, float)
        place = (panel.x + x0, panel.y + y0), x1 - x0, y1 - y0
        inside = Bbox.from_extents(panel.x, panel.y, panel.right, panel.bottom)
        for colour, width, style in (("black", 2.4, "-"), (edge, 1.3, (0, (3, 1.5)) if dashed else "-")):
            patch = Rectangle(*place, fill=False, edgecolor=colour, linewidth=width, linestyle=style)
            panel.axes.add_patch(patch).set_clip_box(TransformedBbox(inside, panel.axes.transData))


def _show(panel: Panel, image: np.ndarray, **how: object) -> None:
    extent = (panel.x, panel.right, panel.bottom, panel.y)
    panel.axes.imshow(image, extent=extent, aspect="auto", **how)  # type: ignore[arg-type]
