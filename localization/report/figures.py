"""The pictures of a comparison, each a pure function from figures to a matplotlib `Figure`.

Photos uint8 `[h, w, 3]`, maps float `[h, w]`, boxes `[4]` `x0 y0 x1 y1` in the photo's pixels. True boxes are
green, predicted ones red, as in figures 3 and 4 of Fast Object Localization via Sensitivity Analysis, and dashed.
"""

from collections.abc import Mapping, Sequence
from textwrap import fill, shorten
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.textpath import TextPath
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.transforms import Bbox
from PIL import Image

from localization.report.panels import board, draw_box, draw_frame, draw_map, fitted
from saliency.maps.status import usable
from saliency.methods import CONTROLS
from saliency.pictures import is_signed, overlay

LITERAL: Any = {"text.parse_math": False}  # a class called "$1 or $2" is no formula
TRUE, PREDICTED = "#3ddc84", "#ff5a5f"
SIDE = 400  # pixels of a photo in a gallery, at 300 dots an inch
_FAMILIES = {  # by the beginning of a method's name
    "gradient": "#1f6fb4",
    "gestalt": "#52a7d8",
    "occlusion": "#d9730d",
    "grad-cam": "#7a4bb0",
    "baseline": "#8a929c",
}
_OTHER = "#3f8f6b"
MARKERS = {"linear map": "o", "Eq. 4": "s", "heuristic": "^"}  # by box route
SHADES = {"linear map": 1.0, "Eq. 4": 0.75}


def colour(method: str) -> str:
    """One colour a family of methods, the same in every picture and whatever they are wrapped in."""
    method = method.rpartition("(")[2].rstrip(")")
    if method in CONTROLS:
        return _FAMILIES["baseline"]
    return next((value for start, value in _FAMILIES.items() if method.startswith(start)), _OTHER)


@rc_context(LITERAL)
def corloc_bars(rows: Sequence[Mapping[str, object]]) -> Figure:
    """CorLoc of every method and box route, best first, with its interval."""
    rows = sorted(rows, key=lambda row: _number(row["corloc"]))
    figure = Figure(figsize=(8.6, 0.9 + 0.29 * len(rows)))
    axes = figure.subplots()
    for y, row in enumerate(rows):
        value = _number(row["corloc"])
        axes.barh(
            y,
            value,
            color=colour(str(row["method"])) if row["route"] != "none" else _FAMILIES["baseline"],
            alpha=SHADES.get(str(row["route"]), 0.55),
            hatch="///" if row["route"] == "Eq. 4" else None,
            edgecolor="white" if row["route"] == "Eq. 4" else None,
            height=0.72,
        )
        axes.hlines(y, _number(row["corloc_low"]), _number(row["corloc_high"]), color="#222", linewidth=1.2)
        axes.text(_number(row["corloc_high"]) + 0.008, y, f"{100 * value:.1f}", va="center", fontsize=8, color="#222")
    axes.set_yticks(range(len(rows)), [row_label(row) for row in rows], fontsize=9)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    hatched = ", hatched: Eq. 4" if _has_eq4(rows) else ""
    said = f"CorLoc (IoU > 0.5), 95% bootstrap interval; full colour: linear map, pale: heuristic{hatched}"
    axes.set_xlabel(said, fontsize=9)
    axes.set_xlim(0, min(1.08, max(_number(row["corloc_high"]) for row in rows) + 0.1))
    _plain(axes, grid="x")
    return figure


@rc_context(LITERAL)
def corloc_cost(rows: Sequence[Mapping[str, object]]) -> Figure:
    """CorLoc against cost: milliseconds on the left, network passes on the right; the Pareto front drawn.

    Rows of one `base` that differ in a setting alone make a dotted curve. What asks no network costs next to nothing:
    the best of that is a level that the others have to exceed.
    """
    free = max((_number(row["corloc"]) for row in rows if not _passes(row) > 0), default=None)
    rows = [row for row in rows if row["ms_per_image"] is not None and _passes(row) > 0]
    figure = Figure(figsize=(12, 3.6 + 0.1 * len({row["method"] for row in rows})))
    for axes, key, label in zip(
        figure.subplots(1, 2, sharey=True),
        ("ms_per_image", "passes"),
        ("milliseconds per image, this machine (log)", "forward + backward passes per image (log)"),
    ):
        points = [(_passes(row) if key == "passes" else _number(row[key]), _number(row["corloc"]), row) for row in rows]
        for x, y, row in points:
            marker = MARKERS.get(str(row["route"]), "^")
            axes.scatter(x, y, color=colour(str(row["method"])), marker=marker, s=46, zorder=3)
        for route, base in {(row["route"], row["base"]) for *_, row in points if row["base"]}:
            curve = sorted((x, y) for x, y, row in points if (row["route"], row["base"]) == (route, base))
            axes.plot(*zip(*curve), color=colour(str(base)), linewidth=1.4, linestyle=":", zorder=2)
        front = pareto([(x, y) for x, y, _ in points])
        axes.plot(*zip(*front), color="#555", linewidth=1, drawstyle="steps-post", zorder=2)
        if free is not None:
            axes.axhline(free, color=_FAMILIES["baseline"], linewidth=1, linestyle="--", zorder=1)
        axes.set_xscale("log")
        low, high = min(x for x, *_ in points), max(x for x, *_ in points)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(label, fontsize=9)
        _plain(axes, grid="both")
    figure.axes[0].set_ylabel("CorLoc", fontsize=9)
    dashed = "" if free is None else "; dashed: the best box that asks no network"
    figure.suptitle(
        f"circles: linear map, triangles: heuristic{', squares: Eq. 4' if _has_eq4(rows) else ''};"
        f" line: nothing else is both cheaper and better{dashed}",
        fontsize=9,
    )
    figure.tight_layout()
    for axes, key in zip(figure.axes, ("ms_per_image", "passes")):
        places = [
            (_passes(r) if key == "passes" else _number(r[key]), _number(r["corloc"]), str(r["method"])) for r in rows
        ]
        _labels(axes, places)
    return figure


def _has_eq4(rows: Sequence[Mapping[str, object]]) -> bool:
    return any(row["route"] == "Eq. 4" for row in rows)


@rc_context(LITERAL)
def gallery(
    photos: Sequence[np.ndarray],
    maps: Mapping[str, Sequence[np.ndarray]],
    true: Sequence[np.ndarray],
    predicted: Mapping[str, Sequence[np.ndarray]],
    titles: Sequence[str],
) -> Figure:
    """One row a photo, one column a method: its map over the photo, with the true box and the method's own.

    Letters are large for the picture's width, so that they can be read where the page is narrow.
    """
    columns = ["photo", *maps]
    signed = {name: is_signed(own) for name, own in maps.items()}
    left, top, side, step = 0.48, 0.42, 1.12, 1.16
    figure, axes = board(left + step * len(columns), top + step * len(photos))
    for i, (photo, title) in enumerate(zip(photos, titles)):
        y, small = top + step * i, Image.fromarray(photo)
        small.thumbnail((SIDE, SIDE))
        said = "\n".join(shorten(line, 20, placeholder="…") for line in title.splitlines())
        axes.text(left - 0.07, y + side / 2, said, ha="right", va="center", fontsize=8.5, rotation=90, linespacing=1)
        for j, name in enumerate(columns):
            panel = fitted(axes, (left + step * j, y, side, side), photo.shape[:2])
            own = None if name == "photo" else maps[name][i]
            if own is None:
                draw_map(panel, np.asarray(small))
            elif usable(own[None])[0]:
                draw_map(panel, overlay(small, own, signed=signed[name]))
            else:
                draw_map(panel, own)
            draw_frame(panel)
            if i == 0:
                middle = left + step * j + side / 2
                axes.text(middle, top - 0.07, fill(name, 14), ha="center", va="bottom", fontsize=9, linespacing=1)
            for box in true[i] if len(true) else ():
                draw_box(panel, box, TRUE)
            if name in predicted:
                draw_box(panel, predicted[name][i], PREDICTED, dashed=True)
    return figure


@rc_context(LITERAL)
def cases(
    photos: Sequence[np.ndarray], true: Sequence[np.ndarray], predicted: Sequence[np.ndarray], titles: Sequence[str]
) -> Figure:
    """Photos side by side with the true and the predicted box, eight a line."""
    columns = min(8, max(1, len(photos)))
    side, over, across, down = 1.52, 0.24, 1.6, 1.84
    figure, axes = board(across * columns, down * -(-len(photos) // columns))
    for i, (photo, boxes, box, title) in enumerate(zip(photos, true, predicted, titles)):
        x, y = across * (i % columns), down * (i // columns) + over
        panel = fitted(axes, (x, y, side, side), photo.shape[:2])
        draw_map(panel, photo)
        for one in np.atleast_2d(boxes):
            draw_box(panel, one, TRUE)
        draw_box(panel, box, PREDICTED, dashed=True)
        axes.text(x + side / 2, panel.y - 0.05, title, ha="center", va="baseline", fontsize=8)
    return figure


def linear_weights(weights: np.ndarray, names: Sequence[str]) -> Figure:
    """The learned linear map as images, one a box coordinate: red pixels push it up, blue ones down."""
    side, over, across = 1.4, 0.24, 1.5
    height = side * min(1.0, weights[0].shape[-2] / weights[0].shape[-1])
    figure, axes = board(across * len(weights), over + height)
    for j, (image, name) in enumerate(zip(weights, names)):
        panel = fitted(axes, (across * j, over, side, height), image.shape[-2:])
        draw_map(panel, image, signed=True, empty="no weight")
        draw_frame(panel)
        axes.text(across * j + side / 2, panel.y - 0.05, name, ha="center", va="baseline", fontsize=8)
    return figure


@rc_context(LITERAL)
def agreement(names: Sequence[str], correlation: np.ndarray) -> Figure:
    """Mean rank correlation of every pair of methods, as a table of colours."""
    size = 1.6 + 0.42 * len(names)
    figure = Figure(figsize=(size + 1.4, size))
    axes = figure.subplots()
    axes.imshow(correlation, cmap="RdBu_r", vmin=-1, vmax=1)
    for i, row in enumerate(correlation):
        for j, value in enumerate(row):
            text = "–" if np.isnan(value) else f"{value:.2f}"
            axes.text(j, i, text, ha="center", va="center", fontsize=7, color="w" if abs(value) > 0.6 else "#222")
    axes.set_xticks(range(len(names)), names, fontsize=8, rotation=40, ha="right")
    axes.set_yticks(range(len(names)), names, fontsize=8)
    figure.tight_layout(pad=0.4)
    return figure


def row_label(row: Mapping[str, object]) -> str:
    return str(row["method"]) if row["route"] == "none" else f"{row['method']} · {row['route']}"


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (cost, figure) that no other beats at the same cost or less, by cost."""
    front: list[tuple[float, float]] = []
    for cost, figure in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or figure > front[-1][1]:
            front.append((cost, figure))
    return front


def _labels(axes: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """A name beside the best of its points (x, y, name), as near as there is room, with a line to it if that is far."""
    left, right = axes.get_xlim()
    axes.set_xlim(left, right * (right / left) ** 0.3)
    best = {name: (x, y) for x, y, name in sorted(points, key=lambda point: point[1])}
    frame = axes.get_window_extent()
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in axes.transData.transform([p[:2] for p in points])]
    for name, place in sorted(best.items(), key=lambda item: -item[1][1]):
        x, y = axes.transData.transform(place)
        width, height = TextPath((0, 0), name, size=8).get_extents().width * axes.figure.dpi / 72 + 4, 12
        moves = sorted(
            ((dx, dy) for dy in range(-120, 121, 6) for dx in (9, 30, 60, -width - 9, -width - 30)),
            key=lambda move: 3 * abs(move[1]) + abs(move[0] + (width if move[0] < 0 else 0)) + 20 * (move[0] < 0),
        )
        boxes = [Bbox.from_bounds(x + dx, y + dy - height / 2, width, height) for dx, dy in moves]
        inside = [
            box
            for box in boxes
            if frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 < box.y0 and box.y1 < frame.y1
        ]
        free = next((box for box in inside if not box.count_overlaps(taken)), boxes[0])
        taken.append(free)
        far = abs(free.y0 + height / 2 - y) > 12 or not -width - 12 < free.x0 - x < 12
        axes.annotate(
            name,
            place,
            xytext=((free.x0 - x) * 72 / axes.figure.dpi, (free.y0 + 3 - y) * 72 / axes.figure.dpi),
            textcoords="offset points",
            fontsize=8,
            color=colour(name),
            path_effects=[withStroke(linewidth=2.5, foreground="white")],  # lines may pass below
            arrowprops={"arrowstyle": "-", "color": colour(name), "linewidth": 0.5, "alpha": 0.7} if far else None,
        )


def _passes(row: Mapping[str, object]) -> float:
    return _number(row["forwards"]) + _number(row["backwards"])


def _number(value: object) -> float:
    return float(value) if value is not None else float("nan")  # type: ignore[arg-type]


def _plain(axes: Axes, grid: str) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.grid(axis=grid, color="#ddd", linewidth=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
