"""What `localization.fit` writes and shows: text for a terminal, pictures, one page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from localization.regression import CoverageMap, LinearMap
from localization.regression.linear_map import Coding
from saliency._files import require_all
from saliency.report.page import Figure, Section, Table, fragment, png, write_page
from saliency.report.record import write_csv, write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Plot

WEIGHTS = "How each pixel of a typical map moves each number of the box: red makes it larger, blue smaller."
FITS = {
    "coverage": "coverage, one set of weights for all places",
    "lad": "least absolute deviations",
    "ridge": "a ridge",
    "iou": "the overlap itself",
    "sgd": "stochastic gradient descent",
}
COVERED = "Scored images: the share of each cell that the box is expected to cover, from 0 (dark) to 1."
CORLOC = (
    "CorLoc: share of the scored images whose box overlaps the true one by an IoU above 0.5, in percent, with its 95%"
    " bootstrap interval. Mean and median box are those of the training images, and look at no image."
)
COLUMNS = ("image", "x0", "y0", "x1", "y1", "iou")
Results = Mapping[str, Any]


def text(results: Results) -> str:
    """The figures and what was left out, for a terminal."""
    lines = [f"{'box':<12} {'CorLoc [95%]':<22} {'below half the image':<22} mean IoU"]
    for row in results["rows"]:
        shares = [
            f"{100 * one['corloc']:5.1f} [{100 * one['low']:4.1f}, {100 * one['high']:4.1f}]" if one else "-"
            for one in (row, row["small"])
        ]
        lines.append(f"{row['route']:<12} {shares[0]:<22} {shares[1]:<22} {row['mean_iou']:.3f}")
    lines += [f"few-shot {one['n']:>6} boxes: CorLoc {100 * one['corloc']:.1f}" for one in results["few_shot"]]
    return "\n".join([*lines, *(f"note: {note}" for note in results["notes"])])


def write(
    folder: Path,
    results: Results,
    linear: LinearMap | CoverageMap,
    images: Sequence[str],
    boxes: Float[np.ndarray, "n 4"],
    overlaps: Float[np.ndarray, " n"],
    covered: Float[np.ndarray, "k rows columns"],
) -> Path:
    """All files of a fit, results.json last: its path."""
    rows = (
        dict(zip(COLUMNS, (image, *box.round(3), round(float(iou), 4))))
        for image, box, iou in zip(images, boxes, overlaps)
    )
    with require_all():
        write_csv(folder / "boxes.csv", rows, COLUMNS)
        linear.save(folder / "linear_map.safetensors")
        write_page(
            folder / "report.html", "Boxes from maps", lead(results), sections(results, linear, covered), results
        )
        write_json(folder / "results.json", results)
    return folder / "results.json"


def notebook(results: Results, linear: LinearMap | CoverageMap, covered: Float[np.ndarray, "k rows columns"]) -> str:
    """The table and the pictures as HTML."""
    return fragment(sections(results, linear, covered))


def lead(results: Results) -> str:
    counts = results["images"]
    on = f" on {results['maps']['dataset']}" if "dataset" in results["maps"] else ""
    chosen = (
        f", {counts['choose']:,} to choose the penalty" if counts["choose"] else " and, in folds of them, to choose"
    )
    return (
        f"{counts['fit']:,} images to fit{chosen}, {counts['score']:,} to score:"
        f" {results['maps']['method']} maps of {results['maps']['network']}{on}, fitted by"
        f" {FITS.get(results['config']['method'], results['config']['method'])}."
    )


def sections(
    results: Results, linear: LinearMap | CoverageMap, covered: Float[np.ndarray, "k rows columns"] | None = None
) -> list[Section]:
    """Figures, the choice of the penalty, the few-shot curve, what was learned, what was left out."""
    figures = [
        Figure(png(path_plot(results)), "How the penalty was chosen, on images held out from the fit; dotted: it.")
    ]
    if results["few_shot"]:
        plot = png(few_shot_plot(results))
        solver = "coverage" if isinstance(linear, CoverageMap) else "ridge"
        figures.append(Figure(plot, f"CorLoc against the number of training boxes ({solver}), mean of the draws."))
    rows = [
        [
            row["route"],
            100 * row["corloc"],
            f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]",
            100 * row["small"]["corloc"] if row["small"] else None,
            row["mean_iou"],
        ]
        for row in results["rows"]
    ]
    if isinstance(linear, CoverageMap):
        learned = Figure(png(covered_plot(covered)), COVERED) if covered is not None and len(covered) else None
    else:
        several = " One row a method." if linear.methods > 1 else ""
        learned = Figure(png(weights_plot(linear.images(), linear.coding)), WEIGHTS + several)
    columns = ("box", "CorLoc", "95% interval", "CorLoc of boxes below half the image", "mean IoU")
    best = max(range(len(rows)), key=lambda i: results["rows"][i]["corloc"])
    said = "\n".join(text for text in (CORLOC, results["entry"]) if text)
    found = [
        Section("CorLoc", said, tables=[Table(columns, rows, best=best, decimals=(None, 1, None, 1, 3))]),
        Section("Fit", figures=figures, wide=False),
        Section("What the linear map learned", figures=[learned] if learned else []),
    ]
    if results["notes"]:
        found.append(Section("What was left out", "\n".join(results["notes"])))
    return found


def path_plot(results: Results) -> "Plot":
    plot = _plot((5, 3.2))
    axes = plot.subplots()
    axes.semilogx([float(penalty) for penalty in results["path"]], list(results["path"].values()), marker="o")
    axes.axvline(results["penalty"], color="grey", linestyle=":")
    axes.set_xlabel("ridge penalty, relative")
    chosen_by = "CorLoc" if results["config"]["choose"] == "corloc" else "mean IoU"
    by_coverage = results["config"]["method"] == "coverage"
    axes.set_ylabel("squared error of left-out cells" if by_coverage else f"held-out {chosen_by}")
    return plot


def few_shot_plot(results: Results) -> "Plot":
    plot = _plot((5, 3.2))
    axes = plot.subplots()
    curve = results["few_shot"]
    n, value, low, high = (np.array([one[key] for one in curve]) for key in ("n", "corloc", "low", "high"))
    axes.errorbar(n, 100 * value, 100 * np.array([value - low, high - value]), marker="o", capsize=3)
    axes.set_xscale("log")
    median = next(row for row in results["rows"] if row["route"] == "median box")
    axes.axhline(100 * median["corloc"], color="grey", linestyle=":", label="median box")
    axes.set_xlabel("training boxes")
    axes.set_ylabel("CorLoc %")
    axes.legend()
    return plot


def weights_plot(images: Float[np.ndarray, "4 k h w"], coding: Coding) -> "Plot":
    names = ("x0", "y0", "x1", "y1") if coding == "corners" else ("centre x", "centre y", "width", "height")
    methods = images.shape[1]
    plot = _plot((10, 2.6 * methods))
    for i, name in enumerate(names):
        for k in range(methods):
            axes = plot.add_subplot(methods, 4, k * 4 + i + 1)
            limit = np.abs(images[i, k]).max() or 1
            axes.imshow(images[i, k], cmap="RdBu_r", vmin=-limit, vmax=limit)
            axes.set_title(name)
            axes.axis("off")
    return plot


def covered_plot(covered: Float[np.ndarray, "k rows columns"]) -> "Plot":
    plot = _plot((1.5 * len(covered), 1.6))
    for i, own in enumerate(covered):
        axes = plot.add_subplot(1, len(covered), i + 1)
        axes.imshow(own, cmap="magma", vmin=0, vmax=1)
        axes.axis("off")
    return plot


def _plot(size: tuple[float, float]) -> "Plot":
    from matplotlib.figure import Figure as Plot

    return Plot(figsize=size)
