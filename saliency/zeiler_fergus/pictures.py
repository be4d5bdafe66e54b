"""The figures of an analysis, each a pure function from measurements to a matplotlib `Figure` (imported on use).

`photo` is what the network sees, as uint8 `[h, w, 3]`; every map is drawn in its pixels. `names` gives the words for
a class index.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from saliency.zeiler_fergus.regions import RegionRow
from saliency.zeiler_fergus.sweep import Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Names = Callable[[int], str]
P = ParamSpec("P")
PROBABILITY, DROP = "viridis", "RdBu_r"
TARGET, OTHERS, REST = "#2f9e6e", ("#d1495b", "#edae49", "#3d6fb6", "#8d5fb0", "#66c2d9", "#9c6b3f"), "#c3c8ce"
INK, SOFT = "#22262b", "#8a929c"
STYLE: dict[Any, Any] = {
    "font.size": 10, "axes.titlesize": 10, "axes.labelsize": 10, "legend.fontsize": 9, "xtick.labelsize": 9,
    "ytick.labelsize": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": SOFT,
    "xtick.color": SOFT, "ytick.color": SOFT, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "legend.frameon": False, "figure.constrained_layout.use": True, "image.interpolation": "nearest",
    "text.parse_math": False,  # a class called "$1 or $2" is no formula
}  # fmt: skip


def _styled(draw: Callable[P, "Figure"]) -> "Callable[P, Figure]":
    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> "Figure":
        import matplotlib as mpl

        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return styled


@_styled
def curves(series: Mapping[str, Mapping[str, Sequence[Sweep]]]) -> "Figure":
    """By fill (rows) and photo (lines): the target's probability against the mask's size, and how often the target is
    predicted; with one photo also the spread over positions."""
    from matplotlib.figure import Figure

    photos = next(iter(series.values()))
    alone = len(photos) == 1
    figure = Figure(figsize=(7.2, 0.9 + 2.5 * len(series)))
    grid = figure.subplots(len(series), 2, squeeze=False, sharex=True)
    for (probability, predicted), (fill, by_photo) in zip(grid, series.items()):
        for colour, (name, sweeps) in zip([TARGET, *OTHERS] * len(photos), by_photo.items()):
            sizes = [_side(sweep) for sweep in sweeps]
            probability.plot(
                sizes, [sweep.mean for sweep in sweeps], "o-", color=colour, markersize=4, label=name, zorder=3
            )
            predicted.plot(sizes, [sweep.predicted_share for sweep in sweeps], "o-", color=colour, markersize=4)
            if alone:
                band = [np.percentile(sweep.probability, (10, 90)) for sweep in sweeps]
                probability.fill_between(sizes, *np.transpose(band), color=colour, alpha=0.18, linewidth=0)
                probability.plot(sizes, [sweep.probability.min() for sweep in sweeps], ":", color=colour)
                probability.axhline(sweeps[0].base, color=INK, linewidth=1, linestyle="--")
                probability.lines[0].set_label("mean over positions")
                probability.collections[0].set_label("10th to 90th percentile")
                probability.lines[1].set_label("worst position")
                probability.lines[2].set_label("untouched")
        titles = "probability of the target", "share of positions where it is predicted"
        for axes, title in zip((probability, predicted), titles):
            axes.set(title=f"{title}\n{fill}", ylim=(-0.03, 1.03))
            axes.set_xticks([_side(sweep) for sweep in next(iter(by_photo.values()))])
            axes.grid(axis="y", color="#e6e9ec")
            axes.set_axisbelow(True)
    for axes in grid[-1]:
        axes.set_xlabel("side of the mask (px)")
    columns = 2 if alone else 3
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=columns)
    return figure


@_styled
def traces(sweeps: Sequence[Sweep]) -> "Figure":
    """The target's probability as a function of the mask's index, left to right, top to bottom, for each size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 0.7 + 1.05 * len(sweeps)))
    for axes, sweep in zip(np.atleast_1d(figure.subplots(len(sweeps), 1, sharey=True)), sweeps):
        columns = sweep.probability.shape[1]
        for row in range(0, len(sweep.probability), 2):
            axes.axvspan(row * columns - 0.5, (row + 1) * columns - 0.5, color="#f1f3f5", linewidth=0)
        axes.axhline(sweep.base, color=INK, linewidth=0.8, linestyle="--")
        right = (sweep.top == sweep.target).ravel()
        values = sweep.probability.ravel()
        axes.plot(values, color=TARGET, linewidth=1)
        axes.plot(np.flatnonzero(~right), values[~right], ".", color=OTHERS[0], markersize=3.5)
        axes.set(xlim=(-0.5, values.size - 0.5), ylim=(-0.05, 1.05), yticks=(0, 0.5, 1))
        axes.set_title(f"{_side(sweep)} px", loc="left", fontsize=9, pad=2)
    figure.axes[-1].set_xlabel("mask index (a shaded band is every second row of positions)")
    figure.supylabel("probability of the target", fontsize=10)
    return figure


@_styled
def probability_maps(photo: np.ndarray, sweeps: Sequence[Sweep], names: Names) -> "Figure":
    """Zeiler & Fergus' figure 7 d and e for each size: probability, predicted class, drop."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch, Rectangle

    limit = max(np.abs(sweep.drop).max() for sweep in sweeps) or 1.0
    shape = photo.shape[0] / photo.shape[1]
    figure = Figure(figsize=(1.35 + 1.36 * (len(sweeps) + 1), 4.1 * shape + 1))
    widths = [1.0] * (len(sweeps) + 1) + [0.07]  # the bars have a column, or rows with and without would not align
    every = figure.subplots(3, len(widths), squeeze=False, width_ratios=widths)
    grid, bars = every[:, :-1], every[:, -1]
    shown = _palette(sweeps)
    colours = ListedColormap([*shown.values(), REST])
    for row, label in enumerate(("probability\nof the target", "predicted\nclass", "drop of the\nprobability")):
        axes = grid[row, 0]
        _bare(axes, photo.shape)
        if row == 0:
            axes.imshow(photo)
            for sweep in sweeps:
                height, width = sweep.windows.patch
                axes.add_patch(Rectangle((3, 3), width, height, fill=False, edgecolor="white", linewidth=1))
            axes.set_title("input, masks")
        else:
            axes.set_visible(False)
        grid[row, 1].set_ylabel(label)
    for column, sweep in enumerate(sweeps, 1):
        order = list(shown)
        classes = np.vectorize(lambda k: order.index(k) if k in shown else len(order))(sweep.top)  # noqa: B023
        _grid(grid[0, column], sweep, sweep.probability, photo.shape, cmap=PROBABILITY, vmin=0, vmax=1)
        _grid(grid[1, column], sweep, classes, photo.shape, cmap=colours, vmin=-0.5, vmax=len(order) + 0.5)
        _grid(grid[2, column], sweep, sweep.drop, photo.shape, cmap=DROP, vmin=-limit, vmax=limit)
        grid[0, column].set_title(f"{_side(sweep)} px")
    figure.colorbar(ScalarMappable(Normalize(0, 1), PROBABILITY), cax=bars[0])
    figure.colorbar(ScalarMappable(Normalize(-limit, limit), DROP), cax=bars[2])
    bars[1].set_visible(False)
    patches = [Patch(color=colour, label=names(k)) for k, colour in shown.items()]
    if any((~np.isin(sweep.top, order)).any() for sweep in sweeps):
        patches.append(Patch(color=REST, label="another class"))
    figure.legend(handles=patches, loc="outside lower center", ncols=min(3, len(patches)), title="predicted class")
    return figure


@_styled
def overlays(photo: np.ndarray, series: Mapping[str, Sequence[Sweep]]) -> "Figure":
    """Drop maps on the photo for some sizes and each fill, as measured and smoothed below it, on one stated scale."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from scipy.ndimage import gaussian_filter

    raw = {fill: [sweep.drop_map for sweep in sweeps] for fill, sweeps in series.items()}
    limit = max(float(np.nanmax(np.abs(one))) for maps in raw.values() for one in maps) or 1.0
    first = next(iter(series.values()))
    columns, rows = len(first) + 1, 2 * len(series)
    figure = Figure(figsize=(7.2, 7.2 * rows / columns * photo.shape[0] / photo.shape[1] + 0.9))
    grid = figure.subplots(rows, columns, squeeze=False)
    for i, (fill, sweeps) in enumerate(series.items()):
        soft = [gaussian_filter(one, smoothing(sweep)) for one, sweep in zip(raw[fill], sweeps)]
        for row, maps, said in ((2 * i, raw[fill], f"{fill}\nas measured"), (2 * i + 1, soft, f"{fill}\nsmoothed")):
            for axes, one in zip(grid[row, 1:], maps):
                _overlay(axes, photo, one, limit)
            grid[row, 1].set_ylabel(said, fontsize=9)
            grid[row, 0].set_visible(False)
    grid[0, 0].set_visible(True)
    _bare(grid[0, 0], photo.shape)
    grid[0, 0].imshow(photo)
    grid[0, 0].set_title("input")
    for axes, sweep in zip(grid[0, 1:], first):
        axes.set_title(f"{_side(sweep)} px")
    figure.colorbar(
        ScalarMappable(Normalize(-limit, limit), DROP), ax=grid, location="bottom", shrink=0.6, aspect=40, pad=0.03,
        label=f"drop of the target's probability (untouched {first[0].base:.3f}); red: hiding hurts",
    )  # fmt: skip
    return figure


@_styled
def worst(photos: Sequence[np.ndarray], sweeps: Sequence[Sweep], names: Names) -> "Figure":
    """The photo at the worst position of each size, with what the network then says. `photos` are the hidden ones."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.55 * len(sweeps), 2.5))
    for axes, photo, sweep in zip(np.atleast_1d(figure.subplots(1, len(sweeps))), photos, sweeps):
        _bare(axes, photo.shape)
        axes.imshow(photo)
        top = int(sweep.top.flat[sweep.worst])
        axes.set_title(f"{_side(sweep)} px", fontsize=9)
        axes.set_xlabel(
            f"p = {sweep.probability.flat[sweep.worst]:.3f}\n{_wrapped(names(top))}",
            color=TARGET if top == sweep.target else OTHERS[0], fontsize=9,
        )  # fmt: skip
    return figure


@_styled
def dependence(
    labels: Sequence[tuple[str, int]],
    correlations: Float[np.ndarray, "m m"],
    photo: np.ndarray,
    examples: Mapping[str, Sweep],
) -> "Figure":
    """Rank correlations between the drop maps of all fills and sizes; above them the maps of one size, by fill."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 5.6 + 5.2 / len(examples)))
    above, below = figure.subfigures(2, 1, height_ratios=(5.2 / len(examples), 5.6))  # type: ignore[misc]
    limit = max(np.nanmax(np.abs(sweep.drop_map)) for sweep in examples.values()) or 1.0
    panels = np.atleast_1d(above.subplots(1, len(examples)))
    for axes, (name, sweep) in zip(panels, examples.items()):
        _overlay(axes, photo, sweep.drop_map, limit)
        axes.set_title(f"{name}, {_side(sweep)} px")
    above.colorbar(ScalarMappable(Normalize(-limit, limit), DROP), ax=panels, shrink=0.8, pad=0.02, label="drop")
    axes = below.subplots()
    image = axes.imshow(correlations, cmap="PuOr_r", vmin=-1, vmax=1)
    sizes = [str(size) for _, size in labels]
    axes.set_xticks(range(len(labels)), sizes, fontsize=8)
    axes.set_yticks(range(len(labels)), sizes, fontsize=8)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    fills = list(dict.fromkeys(name for name, _ in labels))
    for name in fills:
        at = [i for i, (fill, _) in enumerate(labels) if fill == name]
        middle, edge = float(np.mean(at)), at[-1] + 0.5
        axes.annotate(name, (middle, -0.5), (0, 4), textcoords="offset points", ha="center", va="bottom")
        axes.annotate(name, (-0.5, middle), (-20, 0), textcoords="offset points", ha="right", va="center", rotation=90)
        if edge < len(labels) - 0.5:
            axes.axhline(edge, color="white", linewidth=2)
            axes.axvline(edge, color="white", linewidth=2)
    if len(labels) <= 20:
        for (i, j), value in np.ndenumerate(correlations):
            text = "–" if np.isnan(value) else f"{100 * value:.0f}"
            axes.text(j, i, text, ha="center", va="center", fontsize=6.5, color="white" if abs(value) > 0.75 else INK)
    axes.set_xlabel("size of the mask (px); numbers: 100 × rank correlation")
    below.colorbar(image, ax=axes, shrink=0.8, pad=0.02, label="Spearman's rank correlation of drop maps")
    return figure


@_styled
def interaction_plot(
    photo: np.ndarray, boxes: Int[np.ndarray, "k 4"], matrix: Float[np.ndarray, "k k"], label: str
) -> "Figure":
    """The numbered windows on the photo, the strongest interactions as links, and the matrix."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    figure = Figure(figsize=(7.2, 3.9))
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    off = matrix - np.diag(np.diag(matrix))
    limit = np.abs(off).max() or 1.0
    colours = mpl.colormaps["PuOr_r"]
    _bare(left, photo.shape)
    left.imshow(photo)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    pairs = sorted(zip(*np.triu_indices(len(boxes), 1)), key=lambda pair: -abs(off[pair]))
    for i, j in pairs[: len(boxes)]:
        strength = off[i, j] / limit
        if abs(strength) < 0.1:
            break
        for width, colour in ((6, "white"), (4, colours(0.5 + strength / 2))):
            left.plot(*centres[[i, j]].T, color=colour, linewidth=width * abs(strength), solid_capstyle="round")
    for number, (box, centre) in enumerate(zip(boxes, centres), 1):
        x0, y0, x1, y1 = box
        left.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor="white", linewidth=2.4))
        left.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=INK, linewidth=1))
        left.text(*centre, str(number), ha="center", va="center", fontsize=9, color=INK,
                  bbox={"boxstyle": "circle,pad=0.2", "facecolor": "white", "edgecolor": INK})  # fmt: skip
    left.set_title("windows by falling drop")
    image = right.imshow(np.where(np.eye(len(boxes), dtype=bool), np.nan, off), cmap=colours, vmin=-limit, vmax=limit)
    for (i, j), value in np.ndenumerate(matrix):
        weight = "bold" if i == j else "normal"
        dark = i != j and abs(value) > 0.7 * limit
        text = f"{value:.1f}".replace("-0.0", "0.0").replace("-", "−")
        right.text(j, i, text, ha="center", va="center", fontsize=8, fontweight=weight, color="white" if dark else INK)
    ticks = range(len(boxes)), range(1, len(boxes) + 1)
    right.set_xticks(*ticks)
    right.set_yticks(*ticks)
    right.spines[:].set_visible(False)
    right.tick_params(length=0)
    right.set_title("interaction (bold: drop of one alone)")
    figure.colorbar(image, ax=right, shrink=0.85, label=label)
    return figure


@_styled
def region_plot(photos: Mapping[str, tuple[np.ndarray, Mapping[str, Sequence[int]]]]) -> "Figure":
    """The named boxes on each photo, as the network sees it."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch, Rectangle

    count = len(photos)
    columns = min(count, 4)
    rows = -(-count // columns)
    side = 7.2 / max(columns, 2)
    figure = Figure(figsize=(side * columns, side * rows + 0.7))
    grid = np.ravel(figure.subplots(rows, columns, squeeze=False))
    names = list(dict.fromkeys(name for _, boxes in photos.values() for name in boxes))
    colour = dict(zip(names, [TARGET, *OTHERS] * len(names)))
    for axes in grid[count:]:
        axes.set_visible(False)
    for axes, (title, (photo, boxes)) in zip(grid, photos.items()):
        _bare(axes, photo.shape)
        axes.imshow(photo)
        axes.set_title(_wrapped(title, 22), fontsize=9)
        for name, (x0, y0, x1, y1) in boxes.items():
            axes.add_patch(
                Rectangle((x0 + 1, y0 + 1), x1 - x0 - 2, y1 - y0 - 2, fill=False, edgecolor=colour[name], linewidth=2)
            )
    figure.legend(
        handles=[Patch(color=colour[name], label=name) for name in names], loc="outside lower center", ncols=5
    )
    return figure


@_styled
def region_measures(rows: Sequence[RegionRow]) -> "Figure":
    """Both measures of every region beside random boxes of its size: the box as given, mean and deviation of draws."""
    from matplotlib.figure import Figure

    layers = list(dict.fromkeys(row.layer for row in rows))
    kinds = ["sign_change", *(["correspondence"] if any(row.correspondence for row in rows) else [])]
    regions = list(dict.fromkeys(row.region for row in rows))
    figure = Figure(figsize=(7.2, len(kinds) * (0.9 + 0.32 * len(regions)) + 0.5))
    titles = {
        "sign_change": "mean feature sign change (more: hiding it matters more)",
        "correspondence": "correspondence Δ, Hamming (less: more alike in all photos)",
    }
    for axes, (kind, layer) in zip(
        figure.subplots(len(kinds), len(layers), squeeze=False, sharey=True).flat,
        [(kind, layer) for kind in kinds for layer in layers],
    ):
        for row in rows:
            measure = getattr(row, kind)
            if row.layer != layer or measure is None:
                continue
            y = regions.index(row.region)
            for offset, colour, mean, deviation in (
                (-0.13, TARGET, measure.mean, measure.deviation),
                (0.13, SOFT, measure.random_mean, measure.random_deviation),
            ):
                axes.errorbar(mean, y + offset, xerr=deviation, color=colour, marker="o", markersize=4, capsize=2)
            axes.plot(measure.value, y - 0.13, marker="|", color=INK, markersize=9)
        axes.set_yticks(range(len(regions)), regions)
        axes.set_ylim(len(regions) - 0.5, -0.5)
        axes.grid(axis="x", color="#e6e9ec")
        axes.set_title(f"{titles[kind] if layer == layers[0] else ''}\n{layer}", loc="left")
        axes.locator_params(axis="x", nbins=5)
    first = figure.axes[0]
    handles = [
        first.errorbar([], [], xerr=[], color=TARGET, marker="o", markersize=4, label="region, moved a little"),
        first.errorbar([], [], xerr=[], color=SOFT, marker="o", markersize=4, label="random boxes of its size"),
        *first.plot([], [], marker="|", color=INK, linestyle="", markersize=9, label="region as given"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def film(photo: np.ndarray, fill: np.ndarray, sweep: Sweep, names: Names, frames: int = 64) -> list[Image.Image]:
    """The mask moving over the photo and its probability map filling up, as equally spaced frames."""
    import matplotlib as mpl
    from PIL import ImageDraw, ImageFont

    scale = max(1, round(224 / max(photo.shape[:2])))
    height, width = (size * scale for size in photo.shape[:2])
    colours = (mpl.colormaps[PROBABILITY](sweep.probability)[..., :3] * 255).astype(np.uint8)
    font = ImageFont.load_default(13)
    last = sweep.probability.size - 1
    pictures = []
    for index in np.unique(np.linspace(0, last, min(frames, last + 1)).round().astype(int)):
        x0, y0, x1, y1 = sweep.box(index)
        masked = photo.copy()
        masked[y0:y1, x0:x1] = fill[y0:y1, x0:x1]
        known = np.full(colours.shape, 235, np.uint8)
        known.reshape(-1, 3)[: index + 1] = colours.reshape(-1, 3)[: index + 1]
        frame = Image.new("RGB", (2 * width + 24, height + 62), "white")
        draw = ImageDraw.Draw(frame)
        frame.paste(Image.fromarray(masked).resize((width, height), Image.Resampling.NEAREST), (8, 8))
        frame.paste(Image.fromarray(known).resize((width, height), Image.Resampling.NEAREST), (width + 16, 8))
        draw.rectangle([8 + x0 * scale, 8 + y0 * scale, 7 + x1 * scale, 7 + y1 * scale], outline="white")
        probability, top = sweep.probability.flat[index], int(sweep.top.flat[index])
        colour = TARGET if top == sweep.target else OTHERS[0]
        full = 2 * width + 8
        draw.rectangle([8, height + 16, 8 + full, height + 24], fill="#e6e9ec")
        draw.rectangle([8, height + 16, 8 + round(full * probability), height + 24], fill=TARGET)
        draw.text((8, height + 32), f"p({names(sweep.target)}) = {probability:.3f}", INK, font)
        draw.text((width + 16, height + 32), f"it says: {names(top)}", colour, font)
        pictures.append(frame)
    return pictures


def smoothing(sweep: Sweep) -> float:
    """Sigma in pixels of the Gaussian that smooths a drop map: a quarter of the mask's shorter side."""
    return min(sweep.windows.patch) / 4


def _side(sweep: Sweep) -> int:
    return sweep.windows.patch[0]


def _palette(sweeps: Sequence[Sweep]) -> dict[int, str]:
    """The target's colour, then one for each of the classes predicted most often."""
    classes, counts = np.unique(np.concatenate([sweep.top.ravel() for sweep in sweeps]), return_counts=True)
    target = sweeps[0].target
    others = [int(k) for k in classes[np.argsort(-counts, kind="stable")] if k != target]
    return {target: TARGET, **dict(zip(others, OTHERS))}


def _grid(axes: "Axes", sweep: Sweep, values: np.ndarray, image: tuple[int, ...], **how: object) -> None:
    """One cell for each position, around the centre of what it hides, in the image's pixels."""
    edges = []
    for starts, patch, size in zip(sweep.windows.starts, sweep.windows.patch, image):
        centres = (starts + np.minimum(starts + patch, size)) / 2
        middle = (centres[1:] + centres[:-1]) / 2
        first, last = (centres[0], centres[-1]) if len(centres) > 1 else (0, size)
        edges.append(np.concatenate([[min(first, 0)], middle, [max(last, size)]]))
    axes.pcolormesh(edges[1], edges[0], values, **how)  # type: ignore[arg-type]
    _bare(axes, image)


def _overlay(axes: "Axes", photo: np.ndarray, one: np.ndarray, limit: float) -> None:
    """A signed map on the grey photo, the more opaque the stronger."""
    _bare(axes, photo.shape)
    axes.imshow(np.asarray(Image.fromarray(photo).convert("L")), cmap="gray", vmin=-60, vmax=255)
    axes.imshow(one, cmap=DROP, vmin=-limit, vmax=limit, alpha=np.clip(1.2 * np.abs(one) / limit, 0, 0.8))


def _bare(axes: "Axes", image: tuple[int, ...]) -> None:
    axes.set(xlim=(0, image[1]), ylim=(image[0], 0), xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)


def _wrapped(text: str, width: int = 16) -> str:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
