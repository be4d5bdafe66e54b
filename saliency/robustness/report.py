"""The page of an evaluation under masks, made of its results and a few example frames alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saliency._fills import fill_words
from saliency.report import Figure, Section, Table, listed_notes, png, write_bytes, write_page
from saliency.robustness.summary import LABELS, NONE, POST

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Plot

COLUMNS = ("network", "fill", "family", "level", "coverage", "metric", "value", "low", "high")
Rows = Sequence[Mapping[str, Any]]
Strips = Mapping[str, Sequence[Sequence[np.ndarray]]]  # family -> coverage -> frames

_COLOURS = {"bernoulli": "#1f6fb4", "life": "#3f8f6b", "perlin": "#d9730d", "triangles": "#b3263a"}
_VERDICTS = {"held": "#1f6fb4", "undecided": "#8a929c", "contradicted": "#b3263a"}
_MARKERS = "osD^v"
_FAMILIES = {
    "bernoulli": "single pixels, each hidden independently of the others (drawn anew in every frame)",
    "life": "clusters of pixels, as Conway's Game of Life leaves them (one generation a frame)",
    "perlin": "smooth blobs: gradient noise (Perlin 1985) above a threshold (they drift)",
    "triangles": "eight random triangles, grown until they cover enough (they move and bounce)",
}
_TRAININGS = {
    "cutout": "a square around a random pixel is hidden (DeVries & Taylor 2017)",
    "random_erasing": "half the time a rectangle of random area and aspect is hidden (Zhong et al. 2020)",
    "hide_and_seek": "each cell of a 4x4 grid is hidden half the time (Singh & Lee 2017)",
    "grid_mask": "squares at regular places are hidden (Chen et al. 2020)",
    "mixup": "the whole image is blended with another, its label too (Zhang et al. 2018)",
    "cutmix": "a rectangle of another image is pasted in, labels mixed by area (Yun et al. 2019)",
    **{name: f"masks of the shape {name} hide 0 to 80% of the image" for name in _FAMILIES},
}


def write_report(
    out: Path, results: Mapping[str, Any], strips: Strips, extra: Sequence[Section] = (), title: str = ""
) -> None:
    """OUT/report.html and OUT/pictures/*.png; `extra` sections come after the others."""
    shown = {name: png(plot) for name, plot in plots(results, strips).items()}
    for name, image in shown.items():
        write_bytes(out / "pictures" / f"{name}.png", image)
    origin = {
        key: results[key]
        for key in ("config", "seed", "inputs", "networks", "versions", "device", "command", "seconds")
    }
    write_page(
        out / "report.html",
        title or f"Structured occlusion: {results['subject']}",
        "\n".join(results["conclusion"]),
        [*sections(results, _captioned(shown)), *extra],
        origin,
    )


def first_sections(results: Mapping[str, Any], strips: Strips) -> list[Section]:
    """The conclusion and the first pictures, as a notebook shows them."""
    shown = {name: png(plot) for name, plot in plots(results, strips, only=("curves-video",)).items()}
    return [
        Section(
            f"Structured occlusion: {results['subject']}",
            "\n".join(results["conclusion"]),
            [accuracy_table(results)],
            list(_captioned(shown).values()),
        )
    ]


def plots(results: Mapping[str, Any], strips: Strips, only: Sequence[str] = ()) -> dict[str, "Plot"]:
    options = results.get("options", results["config"])
    coverages, fills, several = options["coverages"], results["fills"], results["frames"] > 1
    middle = int(np.abs(np.array(coverages) - 0.5).argmin())
    plain = [row for row in results["curves"] if row["network"] == results["plain"]]
    drawing = {
        "curves-video": lambda: curve_figure([row for row in plain if row["level"] == "video"], fills),
        "ordering": lambda: ordering_figure(_asked(results, "video"), fills),
        "table": lambda: gain_figure(results),
        "masks": lambda: strip_figure(
            {f: [v[0] for v in videos] for f, videos in strips.items()}, [f"{c:.0%}" for c in coverages]
        ),
        "frames": lambda: strip_figure(
            {f: videos[middle] for f, videos in strips.items()}, [f"frame {i + 1}" for i in range(results["frames"])]
        ),
        "reliability": lambda: reliability_figure(
            [r for r in results["reliability"] if r["coverage"] in (0, coverages[middle])], fills
        ),
        "regression": lambda: regression_figure(results["regression"], fills),
        "curves-frame": lambda: curve_figure([row for row in plain if row["level"] == "frame"], fills),
    }
    wanted = {
        "ordering": bool(results["ordering"]),
        "table": bool(results["augmentations"]),
        "frames": several,
        "curves-frame": several,
    }
    return {name: draw() for name, draw in drawing.items() if wanted.get(name, True) and (not only or name in only)}


def _captioned(shown: Mapping[str, bytes]) -> dict[str, Figure]:
    return {name: Figure(image, _CAPTIONS[name]) for name, image in shown.items()}


_CAPTIONS = {
    "masks": "One image under masks of each shape (rows) at the same shares of hidden pixels (columns). What is hidden"
    " is drawn in blue here; the classifier sees the fill there.",
    "frames": "One video under masks of about half the image (blue), which move in each shape's own way.",
    "curves-video": "The plain classifier against the hidden share, a column for each fill, with 95% bootstrap"
    " intervals.",
    "curves-frame": "The same for single frames.",
    "ordering": "The post's claims, one by one and by how much is hidden: by how much the second shape is worse than"
    " the first, in each metric, averaged over those shares, with 95% intervals. Blue: held. Red: contradicted. Grey:"
    " undecided.",
    "reliability": "Accuracy against confidence at about half the image hidden; points are bins, sized by their counts."
    " Below the diagonal the classifier is surer than it is right.",
    "regression": "Change of accuracy (single frames, in points) with one standard deviation of each property, the"
    " others held, at three hidden shares; shapes pooled, 95% bootstrap intervals.",
    "table": "Gain of accuracy over plain training, in points, averaged over the hidden shares: training with (rows)"
    " against hiding by (columns).",
}  # fmt: skip


def sections(results: Mapping[str, Any], shown: Mapping[str, Figure]) -> list[Section]:
    fills = results["fills"]
    found = [
        Section(
            "Does the shape matter?",
            "Every mask hides exactly the stated share of the whole image, whatever its shape.",
            [accuracy_table(results), *([claim_table(results, "video", "accuracy")] if results["ordering"] else [])],
            [shown[name] for name in ("curves-video", "ordering") if name in shown],
        ),
    ]
    if results["augmentations"]:
        found.append(
            Section(
                "Does training with augmentations help, and against which masks?",
                "One classifier per training: the same initial weights, images, order and number of steps. Intervals"
                " are over test images; each classifier was trained once, so what differs between two trainings of the"
                f" same kind is not in them. Trainings that hide show {fill_words(fills[0])} there.",
                [cost_table(results), *(gain_table(results, fill) for fill in fills)],
                [shown["table"]],
            )
        )
    found += [
        Section("What the words mean", _asked_words(results), [word_table(results)]),
        Section("What the masks look like", figures=[shown[name] for name in ("masks", "frames") if name in shown]),
        Section("Confidence against accuracy", figures=[shown["reliability"]]),
        Section(
            "Which property of a mask hurts?",
            "Least squares of being right on the mask's largest connected component (share of the image), the"
            " logarithm of its number of components (8-connected) and, where it is known, the hidden share of the"
            " object's box.",
            [regression_table(results["regression"]), family_table(results["regression"], fills)],
            [shown["regression"]],
        ),
    ]
    if results["ordering"]:
        found.append(
            Section(
                "The post's claims in the other metrics",
                tables=[claim_table(results, "video", metric) for metric in LABELS if metric != "accuracy"],
            )
        )
    if "curves-frame" in shown:
        tables = [claim_table(results, "frame", metric) for metric in LABELS] if results["ordering"] else []
        found.append(Section("The same by single frames", tables=tables, figures=[shown["curves-frame"]]))
    if results["augmentations"]:
        found.append(
            Section(
                "Trainings in every metric",
                "Averaged over the hidden shares, with 95% intervals.",
                [augmentation_table(results, metric, fill) for fill in fills for metric in LABELS],
            )
        )
    if results["notes"]:
        found.append(Section("What was left out or repaired", "\n".join(listed_notes(results["notes"], 30))))
    return found


def accuracy_table(results: Mapping[str, Any]) -> Table:
    """Accuracy of the plain classifier by shape, averaged over the hidden shares, a column for each fill."""
    rows = [row for row in results["table"] if row["augmentation"] == results["plain"] and row["metric"] == "accuracy"]
    cells = {(row["family"], row["fill"]): row for row in rows}
    clean = cells[NONE, results["fills"][0]]
    return Table(
        ["hidden by", *(f"{fill_words(fill)} shows" for fill in results["fills"])],
        [
            ["nothing", *[_percent(clean)] * len(results["fills"])],
            *([family, *(_percent(cells[family, fill]) for fill in results["fills"])] for family in _families(rows)),
        ],
        "Accuracy of the plain classifier in percent, averaged over the hidden shares, with 95% intervals.",
    )


def claim_table(results: Mapping[str, Any], level: str, metric: str) -> Table:
    """The verdicts on the post's claims: a row for each claim and band of coverage, a column for each fill."""
    rows = [row for row in _asked(results, level) if row["metric"] == metric]
    cells = {(row["gentler"], row["worse"], row["coverages"], row["fill"]): row for row in rows}
    claims = dict.fromkeys((row["gentler"], row["worse"], row["coverages"]) for row in rows)
    factor, unit = (100, " in points") if metric == "accuracy" else (1, "")

    def cell(row: Mapping[str, Any]) -> str:
        by, low, high = (factor * row[key] for key in ("by", "low", "high"))
        return f"{row['verdict']} {_estimate(by, low, high, '+', 1 if metric == 'accuracy' else 3)}"

    unit_of = "videos" if results["frames"] > 1 and level == "video" else "frames" if level == "frame" else "images"
    return Table(
        ["claim", "hidden", *(fill_words(fill) for fill in results["fills"])],
        [
            [
                *(f"{gentler} {_unbroken(f'gentler than {worse}')}", _unbroken(band)),
                *(cell(cells[gentler, worse, band, fill]) for fill in results["fills"]),
            ]
            for gentler, worse, band in claims
        ],
        f"The order that the post “{POST}” found, judged by {LABELS[metric]} of {unit_of}: by how much the second shape"
        f" is worse than the first{unit}, averaged over the hidden shares, on the same images. A claim held where the"
        " 95% interval lies above 0, was contradicted where it lies below, and is undecided where it holds 0; one"
        " interval in twenty misses by chance.",
    )


def _asked(results: Mapping[str, Any], level: str) -> Rows:
    return [row for row in results["ordering"] if row["level"] == level]


def cost_table(results: Mapping[str, Any]) -> Table:
    """Accuracy with nothing hidden, and what each training costs there."""
    rows = [row for row in results["table"] if row["family"] == NONE and row["metric"] == "accuracy"]
    return Table(
        ["trained with", "accuracy with nothing hidden, %", "cost in points, over plain"],
        [
            [
                row["augmentation"],
                _percent(row),
                "–"
                if row["augmentation"] == results["plain"]
                else _estimate(-100 * row["gain"], -100 * row["gain_high"], -100 * row["gain_low"], "+", 1),
            ]
            for row in rows
        ],
        "What training with augmentations costs on untouched images: above 0 it is worse than plain training there.",
    )


def gain_table(results: Mapping[str, Any], fill: str) -> Table:
    """Rows: trainings; columns: families; gain of accuracy over plain training."""
    rows = [row for row in results["table"] if row["metric"] == "accuracy" and row["fill"] == fill]
    cells = {(row["augmentation"], row["family"]): row for row in rows}
    names = [name for name in dict.fromkeys(row["augmentation"] for row in rows) if name != results["plain"]]
    families = _families(rows)

    def cell(row: Mapping[str, Any]) -> str:
        gain, low, high = (100 * row[key] for key in ("gain", "gain_low", "gain_high"))
        return _estimate(gain, low, high, "+", 1)

    return Table(
        ["trained with", *(f"against {family}" for family in families)],
        [[name, *(cell(cells[name, family]) for family in families)] for name in names],
        f"Gain of accuracy over plain training in points, where {fill_words(fill)} shows; averaged over the hidden"
        " shares, with 95% intervals.",
    )


def augmentation_table(results: Mapping[str, Any], metric: str, fill: str) -> Table:
    """Rows: trainings; columns: clean, then the families."""
    rows = [
        row for row in results["table"] if row["metric"] == metric and (row["fill"] == fill or row["family"] == NONE)
    ]
    cells = {(row["augmentation"], row["family"]): row for row in rows}
    families = [NONE, *_families(rows)]
    return Table(
        ["trained with", "nothing hidden", *families[1:]],
        [
            [name, *(_estimate(c["value"], c["low"], c["high"]) for c in (cells[name, f] for f in families))]
            for name in dict.fromkeys(row["augmentation"] for row in rows)
        ],
        f"{LABELS[metric]}, where {fill_words(fill)} shows.",
    )


def _asked_words(results: Mapping[str, Any]) -> str:
    count, groups, units = results["videos"], results["groups"], "videos" if results["frames"] > 1 else "images"
    each = f" of {results['frames']} frames" if results["frames"] > 1 else ""
    text = f"Data: {count} test {units}{each}"
    text += f", {results['data']}." if results["data"] else "."
    if groups < count:
        text += f" They show {groups} different things, which the bootstrap draws together."
    network = results["subject"].partition(" on ")[0]
    return f"{text}\nClassifier: {network}, of {results['classes']} classes. {results['entry']}"


def word_table(results: Mapping[str, Any]) -> Table:
    options = results.get("options", results["config"])
    rows = [
        ["shape of a mask (family)", "which pixels are hidden, when their share is given:"],
        *([f"– {name}", _FAMILIES.get(name, results["families"][name])] for name in results["families"]),
        ["hidden share (coverage)", "the hidden pixels, as a share of all pixels of the image"],
        ["fill", "what the classifier sees where pixels are hidden: "
                 + ", ".join(fill_words(fill) for fill in results["fills"])],
        ["plain", "the classifier trained without any augmentation" if results["augmentations"] else
                  "the classifier as it is given; nothing was trained"],
        *([f"trained with {name}", _TRAININGS.get(name, how)] for name, how in results["augmentations"].items()),
        ["accuracy", "share of right answers (the most probable class is the true one)"],
        ["points", "percentage points: a difference of two accuracies in percent"],
        ["confidence", "the largest of a classifier's probabilities"],
        ["NLL", "negative log-likelihood: mean of −log p(true class); 0 is best"],
        ["Brier score", "mean squared distance of the probabilities from the truth (0 to 2); 0 is best"],
        ["ECE", "expected calibration error: mean gap between confidence and accuracy over 15 equal bins of confidence;"
                " 0 is best. Noise counts as a gap: compare it only between figures of as many images"],
        ["95% interval", f"from a bootstrap of {options['draws']} resamples of the test images"],
        ["clearly (in the first two sentences)",
         "the interval of the difference, widened for all pairs of shapes that are compared (Bonferroni), does not"
         " hold 0"],
    ]  # fmt: skip
    if results["frames"] > 1:
        rows.insert(5, ["a video's answer", "the mean log-probability of its frames, normalised"])
    return Table(["word", "meaning"], rows)


def regression_table(rows: Rows) -> Table:
    return Table(
        ["fill", "hidden", "property", "slope", "95% interval"],
        [
            [
                *(fill_words(row["fill"]), f"{row['coverage']:.0%}", name, 100 * one["value"]),
                _interval(100 * one["low"], 100 * one["high"], 1),
            ]
            for row in rows
            for name, one in row["slopes"].items()
        ],
        "Change of accuracy in points with one standard deviation.",
        decimals=1,
    )


def family_table(rows: Rows, fills: Sequence[str]) -> Table:
    by_fill = {(row["coverage"], row["fill"]): row["families"] for row in rows}
    return Table(
        [
            *("hidden", "shape", "really hidden, %", "furthest from it, %", "largest component, %", "components"),
            *(f"accuracy of frames, {fill_words(fill)}, %" for fill in fills),
        ],
        [
            [
                *(f"{row['coverage']:.0%}", name),
                *(100 * one[key] for key in ("coverage", "error", "largest")),
                one["components"],
                *(100 * by_fill[row["coverage"], fill][name]["accuracy"] for fill in fills),
            ]
            for row in rows
            if row["fill"] == fills[0]
            for name, one in row["families"].items()
        ],
        "Means over the masks of the first frames, as shares of the image, components as a number; furthest from it is"
        " how far any mask's hidden share lies from the stated one.",
        decimals=(None, None, 1, 3, 1, 1, *[1] * len(fills)),
    )


def table_text(results: Mapping[str, Any]) -> str:
    """Accuracy of the plain classifier in percent by shape and hidden share, as text for a terminal."""
    rows = {
        (row["family"], row["coverage"], row["fill"]): row
        for row in results["curves"]
        if (row["network"], row["level"], row["metric"]) == (results["plain"], "video", "accuracy")
    }
    fills = results["fills"]
    lines = [("hidden by", "share", *fills)]
    clean = f"{100 * rows[NONE, 0.0, fills[0]]['value']:.1f}"
    lines.append(("nothing", "0%", *[clean] * len(fills)))
    for family, coverage in dict.fromkeys((f, c) for f, c, _ in rows if f != NONE):
        cells = (f"{100 * rows[family, coverage, fill]['value']:.1f}" for fill in fills)
        lines.append((family, f"{coverage:.0%}", *cells))
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(w) if i < 1 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths)))
        for line in lines
    )


def curve_figure(rows: Rows, fills: Sequence[str]) -> "Plot":
    """The four metrics against coverage (rows), a column for each fill; all start at the clean images."""
    clean = {row["metric"]: row for row in rows if row["family"] == NONE}
    figure = _plot(5.2 * len(fills) + 0.4, 10)
    grid = figure.subplots(len(LABELS), len(fills), sharex=True, sharey="row", squeeze=False)
    for i, (metric, label) in enumerate(LABELS.items()):
        for j, fill in enumerate(fills):
            axes = grid[i, j]
            for family in _families(rows):
                points = [
                    clean[metric],
                    *(r for r in rows if (r["family"], r["metric"], r["fill"]) == (family, metric, fill)),
                ]
                x = [point["coverage"] for point in points]
                colour = _colour(family)
                axes.plot(x, [p["value"] for p in points], color=colour, marker="o", markersize=3.5, label=family)
                low, high = ([p[edge] for p in points] for edge in ("low", "high"))
                axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
            _plain(axes)
            if not i:
                axes.set_title(f"hidden pixels show {fill_words(fill)}", fontsize=10)
            if i == len(LABELS) - 1:
                axes.set_xlabel("hidden share of the image", fontsize=9)
            if not j:
                axes.set_ylabel(label, fontsize=9)
        grid[i, 0].set_ylim(bottom=0)  # when all of the row is drawn: before, it would fix the top as well
    figure.axes[0].legend(frameon=False, fontsize=9)
    figure.tight_layout()
    return figure


def ordering_figure(rows: Rows, fills: Sequence[str]) -> "Plot":
    """A panel a metric, a line a claim, band of coverage and fill: how much worse the second family is."""
    from matplotlib.ticker import MaxNLocator

    bands = list(dict.fromkeys(row["coverages"] for row in rows))
    bands = bands[1:] or bands  # the first holds the others together
    claims = list(dict.fromkeys((row["gentler"], row["worse"]) for row in rows))
    heads = {claim: i * (len(bands) + 1.2) for i, claim in enumerate(claims)}
    height = 0.25 if len(fills) == 1 else 0.36
    figure = _plot(10.5, 1.0 + height * len(claims) * (len(bands) + 1.2))
    offsets = dict(zip(fills, np.linspace(-0.2, 0.2, len(fills)) if len(fills) > 1 else [0.0]))
    for axes, (metric, label) in zip(figure.subplots(1, len(LABELS), sharey=True), LABELS.items()):
        axes.axvline(0, color="#999", linewidth=0.8)
        factor = 100 if metric == "accuracy" else 1
        for row in rows:
            if row["metric"] == metric and row["coverages"] in bands:
                y = heads[row["gentler"], row["worse"]] + 1 + bands.index(row["coverages"]) + offsets[row["fill"]]
                colour, marker = _VERDICTS[row["verdict"]], _MARKERS[fills.index(row["fill"]) % len(_MARKERS)]
                axes.hlines(y, factor * row["low"], factor * row["high"], color=colour, linewidth=2)
                axes.plot(factor * row["by"], y, marker, color=colour, markersize=5)
        axes.set_xlabel(f"worse by, {label}{', points' * (metric == 'accuracy')}", fontsize=9)
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
    if len(fills) > 1:
        handles = [
            figure.axes[0].plot([], [], _MARKERS[i % len(_MARKERS)], color="#444", label=fill_words(fill))[0]
            for i, fill in enumerate(fills)
        ]
        figure.legend(handles=handles, loc="upper center", ncols=len(fills), frameon=False, fontsize=9)
        figure.tight_layout(rect=(0, 0, 1, 1 - 0.3 / figure.get_figheight()))
    else:
        figure.tight_layout()
    return figure


def reliability_figure(rows: Rows, fills: Sequence[str]) -> "Plot":
    """A row for each fill; nothing hidden stands in each of them first."""
    clean = [row for row in rows if row["family"] == NONE]
    shown = {fill: [*clean, *(r for r in rows if r["fill"] == fill and r["family"] != NONE)] for fill in fills}
    width = max(map(len, shown.values()))
    figure = _plot(2.6 * width, 3.1 * len(fills))
    grid = figure.subplots(len(fills), width, sharey=True, squeeze=False)
    for line, (fill, chosen) in zip(grid, shown.items()):
        for i, (axes, row) in enumerate(zip(line, chosen)):
            count, confidence, accuracy = (np.array(row[key], float) for key in ("count", "confidence", "accuracy"))
            used = count > 0
            gap = float((count[used] * np.abs(confidence - accuracy)[used]).sum() / count.sum())
            colour, sizes = _colour(row["family"]), 8 + 240 * count[used] / count.sum()
            axes.plot([0, 1], [0, 1], color="#999", linewidth=0.8, linestyle="--")
            axes.plot(confidence[used], accuracy[used], color=colour, linewidth=0.9)
            axes.scatter(confidence[used], accuracy[used], s=sizes, color=colour, alpha=0.75)
            name = "nothing hidden" if row["family"] == NONE else f"{row['family']}, {row['coverage']:.0%}"
            axes.set_title(f"{name}\nECE {gap:.3f}", fontsize=9)
            axes.set_xlim(0, 1.03)
            axes.set_ylim(-0.03, 1.03)
            axes.set_xlabel("confidence", fontsize=9)
            if not i:
                axes.set_ylabel(f"accuracy, {fill_words(fill)}", fontsize=9)
            _plain(axes)
    figure.tight_layout()
    return figure


def strip_figure(rows: Mapping[str, Sequence[np.ndarray]], titles: Sequence[str]) -> "Plot":
    """Images in rows with names, under column titles."""
    height, width = next(iter(rows.values()))[0].shape[:2]
    figure = _plot(1.25 * len(titles), 1.25 * height / width * len(rows) + 0.4)
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


def regression_figure(rows: Rows, fills: Sequence[str]) -> "Plot":
    """Rows: fills; columns: coverages."""
    from matplotlib.ticker import MaxNLocator

    by_fill = {fill: [row for row in rows if row["fill"] == fill] for fill in fills}
    width = max(map(len, by_fill.values()))
    figure = _plot(3.6 * width + 1.2, 2.4 * len(fills))
    grid = figure.subplots(len(fills), width, sharex=True, sharey=True, squeeze=False)
    for line, (fill, chosen) in zip(grid, by_fill.items()):
        for axes, row in zip(line, chosen):
            for y, one in enumerate(row["slopes"].values()):
                axes.hlines(y, 100 * one["low"], 100 * one["high"], color="#1f6fb4", linewidth=2)
                axes.plot(100 * one["value"], y, "o", color="#1f6fb4", markersize=5)
            axes.axvline(0, color="#999", linewidth=0.8)
            axes.set_yticks(range(len(row["slopes"])), list(row["slopes"]), fontsize=9)
            axes.set_ylim(len(row["slopes"]) - 0.5, -0.5)
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.set_title(f"{row['coverage']:.0%} hidden, {fill_words(fill)}", fontsize=9)
            axes.set_xlabel("change of accuracy, points", fontsize=9)
            _plain(axes)
    figure.tight_layout()
    return figure


def gain_figure(results: Mapping[str, Any]) -> "Plot":
    """Gains of accuracy over plain training as grids of colours with numbers, side by side for the fills."""
    fills = results["fills"]
    rows = [r for r in results["table"] if r["metric"] == "accuracy" and r["augmentation"] != results["plain"]]
    names, families = list(dict.fromkeys(row["augmentation"] for row in rows)), _families(rows)
    cells = {(row["augmentation"], row["family"], row["fill"]): 100 * row["gain"] for row in rows}
    values = {
        fill: np.array(
            [[cells[name, NONE, fills[0]], *(cells[name, family, fill] for family in families)] for name in names]
        )
        for fill in fills
    }
    limit = max(float(np.abs(one).max()) for one in values.values()) or 1.0
    width = 1.0 + 0.85 * (1 + len(families))
    figure = _plot(1.2 + width * len(fills), 1.2 + 0.36 * len(names))
    for i, (axes, (fill, shown)) in enumerate(zip(figure.subplots(1, len(fills), squeeze=False)[0], values.items())):
        axes.imshow(shown, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
        for (y, x), value in np.ndenumerate(shown):
            colour = "white" if abs(value) > 0.6 * limit else "black"
            text = f"{value:+.1f}".replace("-", "−")
            axes.text(x, y, text, ha="center", va="center", fontsize=8, color=colour)
        axes.set_xticks(range(1 + len(families)), ["nothing", *families], fontsize=8)
        axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names] if not i else [], fontsize=9)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.set_title(f"hidden pixels show {fill_words(fill)}", fontsize=9)
    figure.tight_layout()
    return figure


def _plot(width: float, height: float) -> "Plot":
    from matplotlib.figure import Figure as Plot  # on use: who only computes does not wait for it

    return Plot(figsize=(width, height))


def _families(rows: Rows) -> list[str]:
    return [name for name in dict.fromkeys(row["family"] for row in rows) if name != NONE]


def _colour(family: str) -> str:
    return _COLOURS.get(family, "#5d6672")


def _percent(row: Mapping[str, Any]) -> str:
    value, low, high = (100 * row[key] for key in ("value", "low", "high"))
    return _estimate(value, low, high, "", 1)


def _interval(low: float, high: float, decimals: int = 3) -> str:
    low, high = (round(edge, decimals) + 0.0 for edge in (low, high))  # no -0.0
    return _unbroken(f"[{low:.{decimals}f}, {high:.{decimals}f}]")


def _estimate(value: float, low: float, high: float, sign: str = "", decimals: int = 3) -> str:
    return _unbroken(f"{round(value, decimals) + 0.0:{sign}.{decimals}f} {_interval(low, high, decimals)}")


def _unbroken(text: str) -> str:
    """On one line of a table, with true minus signs."""
    return text.replace(" ", "\u00a0").replace("–", "\u2060–\u2060").replace("-", "−")


def _plain(axes: "Axes") -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.grid(color="#ddd", linewidth=0.6)
    axes.set_axisbelow(True)
