"""The page of `scripts.robustness`, made of its results and a few example frames alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Plot
from matplotlib.ticker import MaxNLocator

from saliency.report import Figure, Section, Table, png, write_bytes, write_page

COLUMNS = ("network", "fill", "family", "level", "coverage", "metric", "value", "low", "high")
Rows = Sequence[Mapping[str, Any]]
Strips = Mapping[str, Sequence[Sequence[np.ndarray]]]  # family -> coverage -> frames

_COLOURS = {"bernoulli": "#1f6fb4", "life": "#3f8f6b", "perlin": "#d9730d", "triangles": "#b3263a"}
LABELS = {"accuracy": "accuracy", "nll": "NLL", "brier": "Brier score", "ece": "ECE"}
_VERDICTS = {"held": "#1f6fb4", "undecided": "#8a929c", "contradicted": "#b3263a"}


def write_report(out: Path, results: Mapping[str, Any], strips: Strips) -> None:
    """OUT/report.html and OUT/pictures/*.png."""
    shown = {name: png(plot) for name, plot in plots(results, strips).items()}
    for name, image in shown.items():
        write_bytes(out / "pictures" / f"{name}.png", image)
    origin = {key: results[key] for key in ("config", "seed", "inputs", "versions", "device", "command", "seconds")}
    write_page(
        out / "report.html",
        f"Structured occlusion: {results['subject']}",
        f"{results['videos']} test {'videos' if results['frames'] > 1 else 'photos'}; the same share of pixels hidden"
        f" in {len(results['families'])} shapes.\n" + "\n".join(results["findings"]),
        sections(results, {name: Figure(image, _CAPTIONS[name.partition("-")[0]]) for name, image in shown.items()}),
        origin,
    )


def plots(results: Mapping[str, Any], strips: Strips) -> dict[str, Plot]:
    coverages = results["config"]["coverages"]
    drawn = {
        "masks": strip_figure(
            {f: [v[0] for v in videos] for f, videos in strips.items()}, [f"{c:.0%}" for c in coverages]
        )
    }
    middle = int(np.abs(np.array(coverages) - 0.5).argmin())
    if results["frames"] > 1:
        titles = [f"frame {i + 1}" for i in range(results["frames"])]
        drawn["frames"] = strip_figure({f: videos[middle] for f, videos in strips.items()}, titles)
    for level in dict.fromkeys(row["level"] for row in results["curves"]):
        for i, fill in enumerate(results["fills"]):
            chosen = [
                row
                for row in results["curves"]
                if row["network"] == "plain" and row["level"] == level and row["fill"] in (fill, results["fills"][0])
                and (row["fill"] == fill or row["family"] == "none")
            ]  # fmt: skip
            drawn[f"curves-{level}-{i}"] = curve_figure(chosen)
    if results["ordering"]:
        drawn["ordering"] = ordering_figure(_asked(results, "video", results["fills"][0]))
    drawn["reliability"] = reliability_figure(
        [r for r in results["reliability"] if r["coverage"] in (0, coverages[middle])]
    )
    drawn["regression"] = regression_figure(results["regression"])
    if results["augmentations"]:
        drawn["table"] = table_figure(results["table"])
    if results["localization"]:
        drawn["corloc"] = corloc_figure(results["localization"])
    return drawn


_CAPTIONS = {
    "masks": "One image under masks of each family (rows) at the same shares of hidden pixels (columns). What is hidden"
    " is drawn in blue here; the classifier sees the fill there.",
    "frames": "One video under masks of about half the image (blue), which move in each family's own way.",
    "curves": "The plain classifier against the hidden share, with 95% bootstrap intervals.",
    "ordering": "Seed 004's finding, claim by claim and by how much is hidden: how much worse the second family is, in"
    " each metric, averaged over those coverages, with 95% intervals. Blue: held. Red: contradicted. Grey: undecided.",
    "reliability": "Accuracy against confidence at about half the image hidden, per video; points are bins, sized by"
    " their counts. Below the diagonal the classifier is surer than it is right.",
    "regression": "Change of the share of right answers (single frames) with one standard deviation of each descriptor,"
    " the others held, at three coverages; families pooled, 95% bootstrap intervals.",
    "table": "Accuracy averaged over the coverages: training with (rows) against hiding by (columns).",
    "corloc": "CorLoc of gradient + linear map on test scenes, with 95% intervals.",
}  # fmt: skip


def sections(results: Mapping[str, Any], shown: Mapping[str, Figure]) -> list[Section]:
    found = [
        Section(
            "Does the shape matter?",
            "Every mask hides exactly the stated share of the whole image, whatever its shape. NLL, Brier score and ECE"
            " (15 equal bins of confidence; the last holds 1.0) judge the probabilities, accuracy the answers."
            " ECE counts noise in every bin as a gap: compare it only between figures of as many images."
            + " A video's prediction is its frames' mean log-probability, normalised." * (results["frames"] > 1),
            ordering_tables(results, "video", results["fills"][0]),
            [shown[name] for name in ("curves-video-0", "ordering") if name in shown],
        ),
        Section("What the masks look like", figures=[shown[name] for name in ("masks", "frames") if name in shown]),
        Section("Confidence against accuracy", figures=[shown["reliability"]]),
        Section(
            "Which property of a mask hurts?",
            "Least squares of being right on the mask's largest connected component (share of the image), the"
            " logarithm of its number of components (8-connected) and, where it is known, the hidden share of the"
            " digit's box.",
            [regression_table(results["regression"]), family_table(results["regression"])],
            [shown["regression"]],
        ),
    ]  # fmt: skip
    others = [
        (name, figure) for name, figure in shown.items() if name.startswith("curves") and name != "curves-video-0"
    ]
    for name, figure in others:
        _, level, fill = name.split("-")
        filled = results["fills"][int(fill)]
        found.append(
            Section(
                f"The same by {level}, hidden pixels filled with {filled}",
                tables=ordering_tables(results, level, filled),
                figures=[figure],
            )
        )
    if results["augmentations"]:
        found.append(
            Section(
                "Does training with occlusions help, and against which?",
                "One classifier per augmentation: the same initial weights, frames, order and number of steps. The"
                " intervals are over test digits; each classifier was trained once, so that what differs between two"
                " trainings of the same kind is not in them. " + gains(results["table"]),
                [augmentation_table(results["table"], metric) for metric in LABELS],
                [shown["table"]],
            )
        )
    if results["localization"]:
        found.append(
            Section(
                "Does augmentation make maps localize better?",
                "The scenes classifier, trained on for one pass over"
                f" {results['config']['tune_scenes']} scenes, plain and with each augmentation (a continued training,"
                " not one from scratch); gradient maps of the predicted class, a linear map fitted to"
                f" {results['config']['map_scenes'][0]} scenes, CorLoc on {results['config']['map_scenes'][1]}.",
                [corloc_table(results["localization"])],
                [shown["corloc"]],
            )
        )
    return found


def ordering_tables(results: Mapping[str, Any], level: str, fill: str) -> list[Table]:
    """The verdicts on seed 004's claims, a row for each and each band of coverage, where all families are there."""
    rows = _asked(results, level, fill)
    cells = {(row["gentler"], row["worse"], row["coverages"], row["metric"]): row for row in rows}
    claims = dict.fromkeys((row["gentler"], row["worse"], row["coverages"]) for row in rows)
    table = Table(
        ["claim", "hidden", *LABELS.values()],
        [
            [
                *(f"{gentler} {_unbroken(f'gentler than {worse}')}", _unbroken(band)),
                *(
                    f"{c['verdict']} {_estimate(c['by'], c['low'], c['high'], '+')}"
                    for c in (cells[gentler, worse, band, metric] for metric in LABELS)
                ),
            ]
            for gentler, worse, band in claims
        ],
        "Seed 004's finding, for the plain classifier: by how much the second family is worse than the first, averaged"
        " over the coverages, on the same images. A claim held where the 95% interval lies above 0, was contradicted"
        " where it lies below, and is undecided where it holds 0; one interval in twenty misses by chance.",
    )
    return [table] if rows else []


def _asked(results: Mapping[str, Any], level: str, fill: str) -> Rows:
    return [row for row in results["ordering"] if (row["level"], row["fill"]) == (level, fill)]


def gains(table: Rows) -> str:
    """For each family, the training that helps most, and how many hurt."""
    said = []
    for family in _families(table):
        rows = [
            r for r in table if r["family"] == family and r["metric"] == "accuracy" and r["augmentation"] != "plain"
        ]
        best = max(rows, key=lambda row: row["gain"])
        helping, hurting = sum(r["gain_low"] > 0 for r in rows), sum(r["gain_high"] < 0 for r in rows)
        said.append(
            f"Against {family}, {helping} of {len(rows)} trainings raise accuracy and {hurting} lower it (interval"
            f" clear of 0); most of all {best['augmentation']}, by {best['gain']:+.1%} [{best['gain_low']:+.1%},"
            f" {best['gain_high']:+.1%}]."
        )
    return " ".join(said)


def augmentation_table(table: Rows, metric: str) -> Table:
    """Rows: trainings; columns: clean, then the families."""
    cells = {(row["augmentation"], row["family"]): row for row in table if row["metric"] == metric}
    families = ["none", *_families(table)]
    return Table(
        ["trained with", "clean", *families[1:]],
        [
            [name, *(_estimate(c["value"], c["low"], c["high"]) for c in (cells[name, f] for f in families))]
            for name in dict.fromkeys(row["augmentation"] for row in table)
        ],
        f"{LABELS[metric]}, averaged over the coverages, per video, with 95% intervals.",
    )  # fmt: skip


def regression_table(rows: Rows) -> Table:
    return Table(
        ["coverage", "descriptor", "slope", "95% interval"],
        [
            [f"{row['coverage']:.0%}", name, one["value"], _interval(one["low"], one["high"])]
            for row in rows
            for name, one in row["slopes"].items()
        ],
        "Change of accuracy with one standard deviation.",
        decimals=3,
    )


def family_table(rows: Rows) -> Table:
    return Table(
        ["coverage", "family", "realised", "largest error", "largest component", "components", "accuracy (frame)"],
        [
            [
                f"{row['coverage']:.0%}",
                name,
                *(one[key] for key in ("coverage", "error", "largest", "components", "accuracy")),
            ]
            for row in rows
            for name, one in row["families"].items()
        ],
        "Means over masks; shares of the image.",
    )


def corloc_table(rows: Rows) -> Table:
    best = max(range(len(rows)), key=lambda i: rows[i]["corloc"])
    return Table(
        ["trained with", "accuracy", "CorLoc", "95% interval", "gain over plain", "95% interval"],
        [
            [
                *(row["augmentation"], row["accuracy"], row["corloc"], _interval(row["low"], row["high"])),
                *(row["gain"], _interval(row["gain_low"], row["gain_high"])),
            ]
            for row in rows
        ],
        best=best,
        decimals=3,
    )


def curve_figure(rows: Rows) -> Plot:
    """The four metrics against coverage, one line a family; all start at the clean images."""
    figure = Plot(figsize=(10.5, 7))
    clean = {row["metric"]: row for row in rows if row["family"] == "none"}
    for axes, (metric, label) in zip(figure.subplots(2, 2).flat, LABELS.items()):
        for family in _families(rows):
            points = [clean[metric], *(r for r in rows if r["family"] == family and r["metric"] == metric)]
            x = [point["coverage"] for point in points]
            axes.plot(x, [p["value"] for p in points], color=_colour(family), marker="o", markersize=3.5, label=family)
            axes.fill_between(
                x,
                [p["low"] for p in points],
                [p["high"] for p in points],
                color=_colour(family),
                alpha=0.16,
                linewidth=0,
            )
        axes.set_xlabel("hidden share of the image", fontsize=9)
        axes.set_ylabel(label, fontsize=9)
        axes.set_ylim(bottom=0)
        _plain(axes)
    figure.axes[0].legend(frameon=False, fontsize=9)
    figure.tight_layout()
    return figure


def ordering_figure(rows: Rows) -> Plot:
    """A panel a metric, a line a claim and band of coverage: how much worse the second family is."""
    bands = list(dict.fromkeys(row["coverages"] for row in rows))
    bands = bands[1:] or bands  # the first holds the others together
    claims = list(dict.fromkeys((row["gentler"], row["worse"]) for row in rows))
    heads = {claim: i * (len(bands) + 1.2) for i, claim in enumerate(claims)}
    figure = Plot(figsize=(10.5, 0.7 + 0.25 * len(claims) * (len(bands) + 1.2)))
    for axes, (metric, label) in zip(figure.subplots(1, len(LABELS), sharey=True), LABELS.items()):
        axes.axvline(0, color="#999", linewidth=0.8)
        for row in rows:
            if row["metric"] == metric and row["coverages"] in bands:
                y = heads[row["gentler"], row["worse"]] + 1 + bands.index(row["coverages"])
                axes.hlines(y, row["low"], row["high"], color=_VERDICTS[row["verdict"]], linewidth=2)
                axes.plot(row["by"], y, "o", color=_VERDICTS[row["verdict"]], markersize=5)
        axes.set_xlabel(f"worse by, {label}", fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        _plain(axes)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    words = {y: "{} gentler than {}".format(*claim) for claim, y in heads.items()}
    ticks = {y + i: word for y, claim in words.items() for i, word in enumerate([claim, *bands])}
    figure.axes[0].set_yticks(list(ticks), list(ticks.values()), fontsize=9)
    figure.axes[0].set_ylim(max(ticks) + 0.6, -0.6)
    for text in figure.axes[0].get_yticklabels():
        if text.get_text() in words.values():
            text.set_fontweight("bold")
    figure.tight_layout()
    return figure


def reliability_figure(rows: Rows) -> Plot:
    figure = Plot(figsize=(2.6 * len(rows), 3.1))
    for i, (axes, row) in enumerate(zip(figure.subplots(1, len(rows), sharey=True, squeeze=False)[0], rows)):
        count, confidence, accuracy = (np.array(row[key], float) for key in ("count", "confidence", "accuracy"))
        used = count > 0
        gap = float((count[used] * np.abs(confidence - accuracy)[used]).sum() / count.sum())
        axes.plot([0, 1], [0, 1], color="#999", linewidth=0.8, linestyle="--")
        axes.plot(confidence[used], accuracy[used], color=_colour(row["family"]), linewidth=0.9)
        axes.scatter(
            confidence[used],
            accuracy[used],
            s=8 + 240 * count[used] / count.sum(),
            color=_colour(row["family"]),
            alpha=0.75,
        )
        name = "clean" if row["family"] == "none" else f"{row['family']}, {row['coverage']:.0%}"
        axes.set_title(f"{name}\nECE {gap:.3f}", fontsize=9)
        axes.set_xlim(0, 1.03)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("confidence", fontsize=9)
        if not i:
            axes.set_ylabel("accuracy", fontsize=9)
        _plain(axes)
    figure.tight_layout()
    return figure  # fmt: skip


def strip_figure(rows: Mapping[str, Sequence[np.ndarray]], titles: Sequence[str]) -> Plot:
    """Images in rows with names, under column titles."""
    height, width = next(iter(rows.values()))[0].shape[:2]
    figure = Plot(figsize=(1.25 * len(titles), 1.25 * height / width * len(rows) + 0.4))
    grid = figure.subplots(len(rows), len(titles), squeeze=False, gridspec_kw={"wspace": 0.05, "hspace": 0.05})
    for i, (name, images) in enumerate(rows.items()):
        for axes, image, title in zip(grid[i], images, titles):
            axes.imshow(image, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            if not i:
                axes.set_title(title, fontsize=9)
        grid[i][0].set_ylabel(name, fontsize=9)
    return figure


def regression_figure(rows: Rows) -> Plot:
    figure = Plot(figsize=(3.6 * len(rows) + 1.2, 2.4))
    for axes, row in zip(figure.subplots(1, len(rows), sharex=True, sharey=True, squeeze=False)[0], rows):
        for y, one in enumerate(row["slopes"].values()):
            axes.hlines(y, one["low"], one["high"], color="#1f6fb4", linewidth=2)
            axes.plot(one["value"], y, "o", color="#1f6fb4", markersize=5)
        axes.axvline(0, color="#999", linewidth=0.8)
        axes.set_yticks(range(len(row["slopes"])), list(row["slopes"]), fontsize=9)
        axes.set_ylim(len(row["slopes"]) - 0.5, -0.5)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_title(f"{row['coverage']:.0%} hidden", fontsize=9)
        axes.set_xlabel("change of accuracy", fontsize=9)
        _plain(axes)
    figure.tight_layout()
    return figure


def table_figure(table: Rows) -> Plot:
    """Accuracy as a grid of colours with numbers."""
    cells = {(row["augmentation"], row["family"]): row["value"] for row in table if row["metric"] == "accuracy"}
    names, families = list(dict.fromkeys(name for name, _ in cells)), ["none", *_families(table)]
    values = np.array([[cells[name, family] for family in families] for name in names])
    figure = Plot(figsize=(1.7 + 1.05 * len(families), 0.8 + 0.36 * len(names)))
    axes = figure.subplots()
    axes.imshow(values, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    for (y, x), value in np.ndenumerate(values):
        axes.text(x, y, f"{value:.1%}", ha="center", va="center", fontsize=8, color="black" if value > 0.6 else "white")
    axes.set_xticks(range(len(families)), ["clean", *families[1:]], fontsize=9)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=9)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    return figure


def corloc_figure(rows: Rows) -> Plot:
    figure = Plot(figsize=(7.5, 0.9 + 0.3 * len(rows)))
    axes = figure.subplots()
    for y, row in enumerate(reversed(rows)):
        axes.barh(y, row["corloc"], color="#8a929c" if row["augmentation"] == "plain" else "#1f6fb4", height=0.7)
        axes.hlines(y, row["low"], row["high"], color="#222", linewidth=1.2)
    axes.set_yticks(range(len(rows)), [row["augmentation"].replace("_", " ") for row in reversed(rows)], fontsize=9)
    axes.set_xlabel("CorLoc (IoU > 0.5)", fontsize=9)
    axes.set_xlim(0, 1)
    _plain(axes)
    return figure


def _families(rows: Rows) -> list[str]:
    return [name for name in dict.fromkeys(row["family"] for row in rows) if name != "none"]


def _colour(family: str) -> str:
    return _COLOURS.get(family, "#5d6672")


def _interval(low: float, high: float) -> str:
    return _unbroken(f"[{low:.3f}, {high:.3f}]")


def _estimate(value: float, low: float, high: float, sign: str = "") -> str:
    return _unbroken(f"{value:{sign}.3f} {_interval(low, high)}")


def _unbroken(text: str) -> str:
    """On one line of a table, with true minus signs."""
    return text.replace(" ", "\u00a0").replace("–", "\u2060–\u2060").replace("-", "−")


def _plain(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.grid(color="#ddd", linewidth=0.6)
    axes.set_axisbelow(True)
