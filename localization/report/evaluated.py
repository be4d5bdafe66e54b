"""What `localization.evaluate` writes and shows: text for a terminal, tables, pictures, one page.

Everything is made from the results as they are written to results.json, and from the photos and boxes for pictures.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from localization.datasets.dataset import Dataset
from localization.metrics import best_iou, hits
from localization.protocols import Protocol, Samples
from localization.report import tables
from localization.statistics import Estimate
from saliency._files import require_all
from saliency.report.page import Figure, Section, Table, fragment, png, write_page
from saliency.report.record import write_bytes, write_csv, write_json

PLACES = {"mean IoU": 3}  # decimals, of others one
SMALL = ("small", "its 95% interval")  # samples whose largest true box covers less than half of the photo
IMAGE_COLUMNS = ("image", "label", "method", "x0", "y0", "x1", "y1", "iou", "correct")
CAPTIONS = {
    "samples": "Photos drawn at random from each class.",
    "best": "The best overlaps.",
    "worst": "The worst overlaps.",
}
ROUTES = {
    "linear map": "a linear map by coverage, one set of weights for all places",
    "Eq. 4": "Eq. 4 of Fast Object Localization via Sensitivity Analysis, a weight for every pixel",
    "heuristic": "the heuristic (smooth, keep the brightest pixels, tight box)",
    "saved": "the saved map that was given",
}
ORIGIN = ("schema", "config", "seed", "inputs", "versions", "device", "command")  # of the results, for the page's end


def text(results: Mapping[str, Any]) -> str:
    """For a terminal: what was scored and learned from, the figures, the differences, and what was left out."""
    protocol = results["protocol"]
    columns, rows = _texts(results)
    lines = [
        f"{results['dataset']}: {results['photos']:,} photos, {results['samples']:,} samples;"
        f" {protocol.name}: {protocol.summary}",
        "",
        tables.text(columns, rows),
        "",
        *differences(results),
        *sentences(results),
        *left_out(results),
    ]
    return "\n".join(lines)


def sentences(results: Mapping[str, Any]) -> Iterator[str]:
    """What the figures rest on, each as one sentence; all follow from the results."""
    training, protocol = results["training"], results["protocol"]
    if "rows" in results:
        by = "above 0.5" if protocol.strict else "of at least 0.5"
        asked = " and whose class is predicted right" if "class_accuracy" in results else ""
        over = ", averaged over classes" if protocol.mean_over == "classes" else ""
        yield (
            f"Mean: the share of samples, in percent, whose box overlaps a true one by an IoU {by}{asked}{over}; its"
            " interval is a bootstrap's, and a sample without a box is a miss."
        )
    if "route" in results:
        yield f"Maps became boxes by {ROUTES[results['route']]}."
    if training and "folds" in training:
        yield f"Learned in {training['folds']} folds: each photo is scored by what the photos of the others taught."
    elif training:
        yield f"Learned on {training['photos']:,} photos of {training['dataset']}, none of which is scored."
    if "class_accuracy" in results:
        right = results["class_accuracy"]
        yield f"The class is right for {100 * right.value:.1f}% of all {right.n:,} samples [{interval(right)}]."
    yield from (f"The file of boxes: {note}." for note in results["boxes_notes"])
    if results["labels"]:
        yield f"{results['labels']}."
    if results["entry"]:
        yield results["entry"]
    if "several" in results:
        own = results["several"]
        first, k_th = (100 * own[f"recall_at_{k}"] for k in (1, own["k"]))
        yield (
            f"Of all true boxes {first:.1f}% are hit by their sample's first box, {k_th:.1f}% by one of its first"
            f" {own['k']}; mean average precision over classes, of the photos that show the class,"
            f" {100 * own['mean_ap']:.1f}%."
        )
    if results["cropped_away"]:
        yield f"The network's crop hides the boxes of {results['cropped_away']:,} samples wholly."


def left_out(results: Mapping[str, Any]) -> Iterator[str]:
    """How many photos and objects were repaired or left out, each kind with an example."""
    for part in (results, results["training"] or {}):
        if part.get("notes"):
            yield str(part["summary"])


def threshold_rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The figures of maps that are scored by thresholds, one row a way of choosing these."""
    thresholds = results["thresholds"]
    return [
        {"threshold": name, "figure": figure, "chosen": thresholds[name]} for name, figure in results["figures"].items()
    ]


def table(results: Mapping[str, Any]) -> tuple[list[str], list[list[object]]]:
    """Percent: each method's mean with its interval and, of up to 20 classes, each one's; then the published rows."""
    if "figures" in results:
        return ["threshold", "accuracy", "95% interval", "chosen"], [
            [
                row["threshold"],
                100 * row["figure"].value,
                interval(row["figure"]),
                " ".join(f"{t:.2f}" for t in row["chosen"]),
            ]
            for row in threshold_rows(results)
        ]
    classes = list(results["rows"][0]["classes"])
    classes = classes if 1 < len(classes) <= 20 else []
    mixed = 0 < results["small_samples"] < results["samples"]
    columns = ["method", "mean", "95% interval", *SMALL * mixed, "mean IoU", "no box", *classes]
    rows: list[list[object]] = [
        [
            row["method"],
            100 * row["figure"].value,
            interval(row["figure"]),
            *((100 * row["small"].value, interval(row["small"])) if mixed else ()),
            row["mean_iou"].value,
            row["figure"].missing,
            *(100 * row["classes"][name].value for name in classes),
        ]
        for row in results["rows"]
    ]
    unknown = [None] * (columns.index("no box") - 1)
    rows += [
        [f"{name} (published)", mean, *unknown, *(of.get(label) for label in classes)]
        for name, mean, of in results["published"]
    ]
    return columns, rows


def differences(results: Mapping[str, Any]) -> Iterator[str]:
    """What is evaluated against each baseline on the same samples, as lines for a terminal."""
    for row in results.get("paired", ()):
        few = f"; small {points(row['small'])}" if row["small"] else ""
        p = row["mcnemar"].p
        yield f"{row['method']} minus {row['against']}: {points(row['difference'])}, McNemar p {p:.1g}{few}"


def points(difference: Estimate) -> str:
    return f"{100 * difference.value:+.1f} {between(difference)}"


def between(difference: Estimate) -> str:
    """The interval of what may be negative."""
    return f"[{100 * difference.low:.1f}, {100 * difference.high:.1f}]"


def interval(figure: Estimate) -> str:
    return f"{100 * figure.low:.1f}-{100 * figure.high:.1f}"


def image_rows(
    found: Mapping[str, np.ndarray],
    protocol: Protocol,
    data: Dataset,
    samples: Samples,
    right: Bool[np.ndarray, " n"] | None = None,
) -> Iterator[dict[str, object]]:
    """One row a method and sample; `correct` as the protocol counts, with the class where that has to be `right`."""
    for method, boxes in found.items():
        overlaps = best_iou(boxes, samples.true)
        counted = hits(overlaps, strict=protocol.strict)
        counted = counted if right is None else counted & right
        for i, image in enumerate(samples.images):
            corners = boxes[i].round(3).tolist()
            source, correct = data.annotations[image].source, counted[i]
            values = (source, samples.labels[i], method, *corners, overlaps[i].round(4), bool(correct))
            yield dict(zip(IMAGE_COLUMNS, values))


def write(
    folder: Path,
    results: Mapping[str, Any],
    data: Dataset,
    samples: Samples,
    found: Mapping[str, np.ndarray],
    right: Bool[np.ndarray, " n"] | None = None,
) -> Path:
    """All files of an evaluation, results.json last: its path."""
    with require_all():
        pictures = {}
        if found:
            write_csv(
                folder / "images.csv", image_rows(found, results["protocol"], data, samples, right), IMAGE_COLUMNS
            )
            pictures = cases(data, samples, found)
            for name, picture in pictures.items():
                write_bytes(folder / "pictures" / f"{name}.png", picture)
        origin = {key: results[key] for key in ORIGIN if key in results}
        write_page(folder / "report.html", results["dataset"], lead(results), sections(results, pictures), origin)
        columns, rows = _texts(results)
        for suffix, form in (("csv", tables.comma_separated), ("md", tables.markdown), ("tex", tables.latex)):
            write_bytes(folder / f"table.{suffix}", form(columns, rows).encode())
        write_json(folder / "results.json", results)
    return folder / "results.json"


def notebook(results: Mapping[str, Any], data: Dataset, samples: Samples, found: Mapping[str, np.ndarray]) -> str:
    """The table and the pictures of sampled photos as HTML."""
    return fragment(sections(results, cases(data, samples, found, ("samples",)) if found else {}))


def lead(results: Mapping[str, Any]) -> str:
    said = f"{results['photos']:,} photos, {results['samples']:,} samples, protocol {results['protocol'].name}"
    if "small_samples" in results and 0 < results["small_samples"] < results["samples"]:
        said += f"; small are {results['small_samples']:,}, whose largest box covers less than half of the photo"
    return said


def sections(results: Mapping[str, Any], pictures: Mapping[str, bytes]) -> list[Section]:
    """The figures and what they rest on, differences, pictures of the last method's boxes, what was left out."""
    columns, rows = table(results)
    figures = Table(columns, rows, decimals=[PLACES.get(column, 1) for column in columns])
    protocol = results["protocol"].summary
    said = [f"{protocol[0].upper()}{protocol[1:]}.", *sentences(results)]
    found = [Section("Figures", "\n".join(said), [figures])]
    compared = []
    for row in results.get("paired", ()):
        few = [100 * row["small"].value, between(row["small"])] if row["small"] else []
        name = f"{row['method']} minus {row['against']}"
        compared.append([name, 100 * row["difference"].value, between(row["difference"]), row["mcnemar"].p, *few])
    if compared:
        headings = ["difference", "points", "95% interval", "McNemar p", *SMALL][: len(compared[0])]
        against = Table(headings, compared, decimals=[None, 1, None, None, 1, None])
        found.append(Section("On the same samples", tables=[against]))
    if "several" in results:
        own = results["several"]
        columns = ["class", "true boxes", "average precision", "recall at 1", f"recall at {own['k']}"]
        rows = [[row["class"], row["true"], *(100 * v for k, v in row.items() if k not in ("class", "true"))]
                for row in own["classes"]]  # fmt: skip
        found.append(Section("Several boxes a sample", tables=[Table(columns, rows, decimals=[None, None, 1, 1, 1])]))
    if pictures:
        shown = [Figure(picture, CAPTIONS[name]) for name, picture in pictures.items()]
        title = f"Boxes of {results['rows'][-1]['method']}"
        found.append(Section(title, "Green: true, red: predicted.", figures=shown))
    if missing := list(left_out(results)):
        found.append(Section("What was repaired or left out", "\n".join(missing)))
    return found


def cases(
    data: Dataset,
    samples: Samples,
    found: Mapping[str, np.ndarray],
    names: tuple[str, ...] = tuple(CAPTIONS),
) -> dict[str, bytes]:
    """Pictures of the last method's boxes as PNG: sampled in each class, the best, the worst."""
    from localization.report import figures

    boxes = list(found.values())[-1]
    overlaps = best_iou(boxes, samples.true)
    order = np.argsort(-overlaps, kind="stable")
    rng = np.random.default_rng(0)
    labels = np.array(samples.labels)
    of_class = [np.flatnonzero(labels == label) for label in dict.fromkeys(sorted(samples.labels))][:20]
    chosen = {
        "samples": np.concatenate([rng.permutation(members)[: max(2, 16 // len(of_class))] for members in of_class]),
        "best": order[:8],
        "worst": order[::-1][:8],
    }
    pictures = {}
    for name in names:
        indices = chosen[name]
        photos = [data.images[samples.images[i]] for i in indices]
        titles = [f"{samples.labels[i]}  IoU {overlaps[i]:.2f}" for i in indices]
        plot = figures.cases(photos, [samples.true[i] for i in indices], [boxes[i] for i in indices], titles)
        pictures[name] = png(plot)
    return pictures


def _texts(results: Mapping[str, Any]) -> tuple[list[str], list[list[object]]]:
    """The table with numbers of other than one decimal as text, as `tables` takes it."""
    columns, rows = table(results)
    return columns, [
        [f"{value:.{PLACES[column]}f}" if column in PLACES and value is not None else value
         for column, value in zip(columns, row)]
        for row in rows
    ]  # fmt: skip
