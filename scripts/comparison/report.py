"""The comparison's pictures and its page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Plot

from localization import figures
from localization.boxes import map_to_photo
from localization.metrics import best_iou
from localization.report import Figure, Section, Table, png, write_bytes, write_page
from saliency.methods import METHODS
from scripts.comparison.boxes import Fit
from scripts.comparison.maps import Made
from scripts.comparison.samples import Samples

SHOWN = 8  # images in the gallery
CASES = 16  # best and worst cases each
CORNERS = ("left edge x0", "upper edge y0", "right edge x1", "lower edge y1")


def write_pictures(
    folder: Path, results: Mapping[str, Any], samples: Samples, made: Mapping[str, Made], fits: Mapping[str, Fit]
) -> dict[str, Figure]:
    """Every picture as PNG in `folder`, and for the page."""
    rows = results["rows"]
    best = max((row for row in rows if row["route"] != "none"), key=lambda row: row["corloc"])
    plots: dict[str, tuple[Plot, str]] = {
        "corloc": (figures.corloc_bars(rows), "CorLoc of every method and box route on the same test images."),
        "cost": (figures.corloc_cost(rows), "What a box costs, and how good it is."),
        "gallery": (
            _gallery(results, samples, made, fits),
            f"The same images under every method; true boxes green, {_name(best, 'route')} boxes red.",
        ),
    }
    boxes = fits[best["method"]].boxes[best["method"], best["route"]]
    overlaps = best_iou(boxes, [samples.true[i] for i in samples.test])
    order = np.argsort(-overlaps, kind="stable")
    for name, chosen in (("best", order[:CASES]), ("worst", order[::-1][:CASES])):
        plots[name] = (
            _cases(samples, boxes, overlaps, chosen),
            f"The {len(chosen)} {name} boxes of {best['method']} through the {best['route']}; above each its IoU.",
        )
    for name, fit in fits.items():
        if fit.weights is not None:
            plots[f"weights-{name}"] = (figures.linear_weights(fit.weights, CORNERS), name)
    pictures = {}
    for name, (plot, caption) in plots.items():
        image = png(plot)
        write_bytes(folder / f"{name}.png", image)
        pictures[name] = Figure(image, caption)
    return pictures


def write_report(path: Path, results: Mapping[str, Any], pictures: Mapping[str, Figure]) -> None:
    rows = sorted(results["rows"], key=lambda row: -row["corloc"])
    best = rows[0]
    weights = [figure for name, figure in pictures.items() if name.startswith("weights-")]
    sections = [
        Section(
            "Figures",
            "CorLoc: share of test images whose box overlaps a true one with IoU above one half, in percent, with its"
            " 95% bootstrap interval. Passes are those of a plain implementation, per image, the class given;"
            " milliseconds are this machine's, compilation not counted. Peak is the process's resident memory while"
            " making the maps. Click a heading to sort.",
            tables=[_table(rows)],
            figures=[pictures["corloc"], pictures["cost"]],
        ),
        Section(
            "Is the difference real?",
            f"Each row against the best one, {_name(best, 'method')} through the {best['route']}, on the same images:"
            " difference in CorLoc (points), its paired 95% interval, and the p of McNemar's exact test.",
            tables=[_paired(results["paired"])],
        ),
        Section("The same images under every method", figures=[pictures["gallery"]]),
        Section("Best and worst", figures=[pictures["best"], pictures["worst"]]),
        Section(
            "What the linear map learned",
            "The weights of each method's linear map, one image a box edge. A line belongs to a quantile of the map's"
            " mass, those of the rows' profile in the upper half, those of the columns' in the lower; along it runs the"
            " position in the image. Where mass lies beyond a position, red pushes the edge right or down, blue left"
            " or up.",
            figures=weights,
            wide=False,
        ),
        Section(
            "The methods",
            tables=[
                Table(
                    ("method", "what it shows", "source"),
                    [(m.name, " ".join(m.summary.split()), m.source) for m in map(METHODS.get, _methods(rows)) if m],
                )
            ],
        ),
        Section(
            "What is fair to compare",
            "Every method saw the same images, the same class and the same training boxes. The linear map learns its"
            " weights from those boxes; the heuristic learns only its two settings from them. Neither has seen a"
            " test box. The constant boxes look at no image: a method below them has found nothing.",
        ),
    ]
    lead = (
        f"{results['dataset']}, {results['test']} test images, boxes learned on {results['train']} training images."
        f" Explained: {results['network']['name']}, which is right on {results['accuracy']:.1%} of the test images."
        f" Best: {best['method']} through the {best['route']}, CorLoc {100 * best['corloc']:.1f}%"
        f" [{100 * best['corloc_low']:.1f}, {100 * best['corloc_high']:.1f}]."
    )
    origin = {key: value for key, value in results.items() if key not in ("rows", "paired")}
    write_page(path, "Where did the classifier look?", lead, sections, origin)


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = ("method", "box route", "CorLoc", "low", "high", "mean IoU", "no box", "forwards", "backwards")
    return Table(
        (*columns, "ms / image", "peak MiB"),
        [
            (
                row["method"],
                row["route"],
                *(round(100 * row[key], 1) for key in ("corloc", "corloc_low", "corloc_high")),
                round(row["mean_iou"], 3),
                row["no_box"],
                row["forwards"],
                row["backwards"],
                *(None if row[key] is None else round(row[key], 1) for key in ("ms_per_image", "peak_mib")),
            )
            for row in rows
        ],
        best=0,
    )


def _paired(compared: Sequence[Mapping[str, Any]]) -> Table:
    return Table(
        ("method", "box route", "difference", "low", "high", "McNemar p"),
        [
            (
                one["method"],
                one["route"],
                *(round(100 * one[key], 1) for key in ("difference", "low", "high")),
                float(f"{one['mcnemar_p']:.2g}"),
            )
            for one in sorted(compared, key=lambda one: -one["difference"])
        ],
    )


def _gallery(results: Mapping[str, Any], samples: Samples, made: Mapping[str, Made], fits: Mapping[str, Fit]) -> Plot:
    """A fixed draw of test images; each method's box is the one of its better route."""
    rng = np.random.default_rng(results["seed"])
    at = np.sort(rng.choice(len(samples.test), min(SHOWN, len(samples.test)), replace=False))
    chosen = samples.test[at]
    routes = {}
    for row in sorted(results["rows"], key=lambda row: row["corloc"]):
        routes[row["method"]] = row["route"]
    return figures.gallery(
        [samples.photo(i) for i in chosen],
        {
            name: [map_to_photo(m, samples.placement(int(i))) for m, i in zip(one.maps(chosen), chosen)]
            for name, one in made.items()
        },
        [samples.true[i] for i in chosen],
        {name: list(fits[name].boxes[name, routes[name]][at]) for name in made},
        [_title(samples, int(i)) for i in chosen],
    )


def _cases(samples: Samples, boxes: np.ndarray, overlaps: np.ndarray, chosen: np.ndarray) -> Plot:
    return figures.cases(
        [samples.photo(int(samples.test[at])) for at in chosen],
        [samples.true[samples.test[at]] for at in chosen],
        [boxes[at] for at in chosen],
        [f"{overlaps[at]:.2f}" for at in chosen],
    )


def _title(samples: Samples, i: int) -> str:
    return samples.labels[i] or samples.ids[i]


def _methods(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(str(row["method"]) for row in rows))


def _name(row: Mapping[str, Any], key: str) -> str:
    return str(row[key])
