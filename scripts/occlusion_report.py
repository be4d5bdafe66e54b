"""The report of an occlusion analysis: its files, tables, figures and words, made of what was measured."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure as Plot
from PIL import Image

from saliency.models.network import Network
from saliency.models.preprocessing import Placement
from saliency.report import (
    Figure,
    Section,
    Table,
    content_hash,
    png,
    record,
    write_bytes,
    write_csv,
    write_json,
    write_page,
)
from saliency.zeiler_fergus import Measure, RegionRow, Sweep, pictures, rank_correlations, ranked
from scripts import cli

if TYPE_CHECKING:
    from scripts.analyze_occlusion import Options

Boxes = Mapping[str, Sequence[int]]
POSITION_COLUMNS = (
    "photo", "fill", "mask_height", "mask_width", "index", "row", "column", "x0", "y0", "x1", "y1",
    "probability", "drop", "predicted", "predicted_name", "confidence",
)  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """One photo: `seen` is uint8 `[h, w, 3]`, what the network gets of it, `x` the same normalised."""

    name: str
    file: str
    placement: Placement
    seen: np.ndarray
    x: Float[np.ndarray, "h w 3"]
    belief: Float[np.ndarray, " classes"]
    target: int
    label: str | None
    box: tuple[float, ...] | None  # of the object, in the photo, where it is known


@dataclass(frozen=True)
class Analysis:
    """What was measured on one photo: sweeps by fill, the windows whose interactions were measured, and the time.

    `cover` uint8 `[h, w, 3]` is what shows where the first fill hides.
    """

    subject: Subject
    cover: np.ndarray
    sweeps: Mapping[str, list[Sweep]]
    boxes: np.ndarray
    matrix: np.ndarray
    seconds: float

    @property
    def main(self) -> list[Sweep]:
        return next(iter(self.sweeps.values()))

    @property
    def middle(self) -> Sweep:
        return self.main[len(self.main) // 2]

    @property
    def correlations(self) -> tuple[list[tuple[str, int]], np.ndarray]:
        """(fill, size) of each drop map, and the maps' rank correlations."""
        labels = [(fill, one.windows.patch[0]) for fill, sweeps in self.sweeps.items() for one in sweeps]
        maps = np.stack([one.drop_map for sweeps in self.sweeps.values() for one in sweeps])
        return labels, rank_correlations(maps)


def write(
    options: "Options", net: Network, analyses: Sequence[Analysis], regions: Mapping[str, Boxes],
    rows: Sequence[RegionRow], start: float,
) -> None:  # fmt: skip
    """All files of the analysis; the report last, so that it is there only with everything else."""
    names = _namer(net)
    out, sections = options.out, [photo_section(options, net, one) for one in analyses]
    if rows:
        sections.append(region_section(options, analyses, regions, rows))
        write_csv(out / "regions.csv", region_records(rows), ("region", "layer", "photos", "measure", *MEASURES))
    write_csv(
        out / "positions.csv", (row for one in analyses for row in position_records(one, names)), POSITION_COLUMNS
    )

    seconds = time.perf_counter() - start
    inputs = content_hash(net.digest, *(one.subject.x for one in analyses))
    origin = record(options, options.seed, inputs, cli.command())
    result = {
        **origin,
        "network": {"name": net.name, "digest": net.digest, "preprocessing": net.preprocess, "layers": options.layers},
        "photos": [photo_record(one, names) for one in analyses],
        "regions": list(region_records(rows)),
        "seconds": seconds,
    }
    write_json(out / "results.json", result)
    lead = (
        f"{net.name} on {len(analyses)} photo{'s' * (len(analyses) > 1)}: a mask of {_listed(analyses[0].main)} px"
        f" slides over each in steps of {analyses[0].main[0].windows.stride[0]} px. Fills: {', '.join(options.fills)};"
        f" figures are made with {options.fills[0]} unless they say otherwise. Done in {seconds:.0f} s."
    )
    write_page(
        out / "report.html",
        "What the classifier depends on",
        lead,
        [summary_section(options, analyses, names), *sections],
        origin,
    )
    if not options.quiet:
        print(f"{len(analyses)} photos in {seconds:.0f} s; wrote {out / 'report.html'}")


def summary_section(options: "Options", analyses: Sequence[Analysis], names: pictures.Names) -> Section:
    sizes = [one.windows.patch[0] for one in analyses[0].main]
    means = [f"{size} px" for size in sizes]
    table = Table(
        ["photo", "target", "untouched", *means, f"right at {sizes[-1]} px", "worst"],
        [
            [one.subject.name, names(one.subject.target), one.main[0].base, *(s.mean for s in one.main),
             one.main[-1].kept, min(s.probability.min() for s in one.main)]
            for one in analyses
        ],
        "Probability of the target: untouched, averaged over the positions of a mask of each size, and at the worst"
        " position of all. Right: the share of positions at which the target is still the predicted class.",
        decimals=3,
    )  # fmt: skip
    figures = []
    if len(analyses) > 1:
        plot = pictures.curves({one.subject.name: one.main for one in analyses})
        figures.append(
            _figure(options.out / "curves.png", plot, "Confidence against the mask's size, for every photo.")
        )
    return Section("All photos", "", [table], figures)


def photo_section(options: "Options", net: Network, one: Analysis) -> Section:
    subject, names, folder = one.subject, _namer(net), options.out / "photos" / one.subject.name
    target, main, middle = names(subject.target), one.main, one.middle
    best = ranked(subject.belief, 5)
    rank = int((subject.belief > subject.belief[subject.target]).sum()) + 1
    fill = options.fills[0]
    tables = [
        Table(
            ["rank", "class", "index", "probability"],
            [[i, names(int(k)), int(k), float(subject.belief[k])] for i, k in enumerate(best, 1)],
            "The untouched photo's five most probable classes.",
            best=rank - 1 if rank <= len(best) else None,
            decimals=3,
        ),
        Table(
            ["mask (px)", "positions", "mean p", "sd over positions", "10th pct", "90th pct", "still right",
             "worst p", "worst at (x, y)", "it then says"],
            [
                [s.windows.patch[0], s.probability.size, s.mean, s.spread, *np.percentile(s.probability, (10, 90)),
                 s.kept, float(s.probability.flat[s.worst]), _at(s), names(int(s.top.flat[s.worst]))]
                for s in main
            ],
            f"The probability of {target} under a {fill} mask.",
            decimals=3,
        ),
    ]  # fmt: skip
    hidden = []
    for s in main:
        x0, y0, x1, y1 = s.box(s.worst)
        picture = subject.seen.copy()
        picture[y0:y1, x0:x1] = one.cover[y0:y1, x0:x1]
        hidden.append(picture)
    frames = pictures.film(subject.seen, one.cover, middle, names)
    film = _gif(frames)
    write_bytes(folder / "mask.gif", film)
    shown = sorted({0, len(main) // 2, len(main) - 1})
    side = middle.windows.patch[0]
    figures = [
        Figure(
            film, f"A {side} px mask moving over the photo; the map of the probability of {target} fills up beside it."
        ),
        _figure(
            folder / "curves.png",
            pictures.curves({subject.name: main}),
            "Confidence against the mask's size. The band is the spread over positions, not an error of the mean.",
        ),
        _figure(
            folder / "maps.png",
            pictures.belief_maps(subject.seen, main, names),
            f"Probability of {target}, most probable class, and drop with the mask at each position (Zeiler & Fergus"
            " 2014, figure 7 d and e). Each cell lies around the centre of what its mask hides.",
        ),
        _figure(
            folder / "overlays.png",
            pictures.overlays(subject.seen, [main[i] for i in shown]),
            "Mean drop over the masks that hide each pixel, as measured and smoothed by a Gaussian of a quarter of the"
            f" mask's side ({', '.join(f'{pictures.smoothing(main[i]):.3g}' for i in shown)} px). Blue: hiding helps.",
        ),
        _figure(
            folder / "worst.png",
            pictures.worst(hidden, main, names),
            f"Each mask at its worst position for {target}, and what the network says then.",
        ),
        _figure(
            folder / "traces.png",
            pictures.traces(main),
            "Probability as a function of the mask's index, left to right and top to bottom. Dashed: untouched. Red"
            f" dots: positions at which another class than {target} wins.",
        ),
    ]
    labels, matrix = one.correlations
    if len(labels) > 1:
        at = len(main) // 2
        figures.append(
            _figure(
                folder / "dependence.png",
                pictures.dependence(
                    labels, matrix, subject.seen, {text: sweeps[at] for text, sweeps in one.sweeps.items()}
                ),
                "How far the map hangs on what hides and how large it is: rank correlation over pixels between the drop"
                " maps of all fills and sizes. 100 would be the same ranking of pixels.",
            )
        )
    if len(one.boxes) > 1:
        figures.append(
            _figure(
                folder / "interactions.png",
                pictures.interaction_plot(subject.seen, one.boxes, one.matrix, "log-probability (nats)"),
                f"Drop of the log-probability of {target} when two {side} px windows are hidden together, minus the sum"
                " of their single drops. Above zero either part is enough; below zero, losing one is most of the loss.",
            )
        )
    return Section(subject.name, findings(one, names, rank), tables, figures)


def findings(one: Analysis, names: pictures.Names, rank: int) -> str:
    """What the figures of one photo say, in words."""
    subject, main = one.subject, one.main
    target = names(subject.target)
    worst = min(main, key=lambda s: s.probability.min())
    x0, y0, x1, y1 = worst.box(worst.worst)
    says = names(int(worst.top.flat[worst.worst]))
    seen, photo = (f"{width}x{height} px" for height, width in (subject.seen.shape[:2], subject.placement.photo))
    text = (
        f"{subject.file}: the network sees {seen} of a photo of {photo}."
        + (f" True class: {subject.label}." if subject.label is not None else "")
        + f" Target: {target}, rank {rank} on the untouched photo with p = {main[0].base:.3f}."
        f" Averaged over positions p goes from {main[0].mean:.3f} under a {main[0].windows.patch[0]} px mask to"
        f" {main[-1].mean:.3f} under {main[-1].windows.patch[0]} px, where {target} still wins at"
        f" {main[-1].kept:.0%} of the positions. It is lowest, {worst.probability.min():.3f}, with"
        f" {worst.windows.patch[0]} px hidden at x {x0}–{x1}, y {y0}–{y1}; the network then says {says}."
    )
    labels, matrix = one.correlations
    fills = list(one.sweeps)
    if len(fills) > 1:
        at = [i for i, (_, size) in enumerate(labels) if size == one.middle.windows.patch[0]]
        between = matrix[np.ix_(at, at)][np.triu_indices(len(at), 1)]
        text += (
            f" Drop maps of one size ({one.middle.windows.patch[0]} px) with different fills have rank correlations of"
            f" {between.min():.2f} to {between.max():.2f}."
        )
    return text


def region_section(
    options: "Options", analyses: Sequence[Analysis], regions: Mapping[str, Boxes], rows: Sequence[RegionRow]
) -> Section:
    def cells(row: RegionRow, measure: Measure | None) -> list[object]:
        if measure is None:
            return []
        return [
            row.region, row.layer, len(row.photos), f"{measure.value:.4f}",
            f"{measure.mean:.4f} ± {measure.deviation:.4f}",
            f"{measure.random_mean:.4f} ± {measure.random_deviation:.4f}", measure.p,
        ]  # fmt: skip

    columns = ["region", "layer", "photos", "as given", "moved a little", "random boxes", "permutation p"]
    tables = [
        Table(columns, [cells(row, row.sign_change) for row in rows],
              "Mean feature sign change: share of a layer's features that change sign when the region is hidden.",
              decimals=4),
    ]  # fmt: skip
    shared = [row for row in rows if row.correspondence]
    if shared:
        tables.append(
            Table(columns, [cells(row, row.correspondence) for row in shared],
                  "Correspondence (Zeiler & Fergus 2014, section 4.4): Hamming distance between the signs of two"
                  " photos' feature changes, averaged over pairs. Smaller: the network sees the same part in it, or it"
                  " merely lies at the same place in every photo, for features are compared place by place.",
                  decimals=4),
        )  # fmt: skip
    photos = {
        one.subject.name: (
            one.subject.seen,
            {name: boxes[one.subject.name] for name, boxes in regions.items() if one.subject.name in boxes},
        )
        for one in analyses
    }
    figures = [
        _figure(options.out / "regions.png", pictures.region_plot(photos), "The regions, as the network sees them."),
        _figure(
            options.out / "region_measures.png",
            pictures.region_measures(rows),
            "Both measures at both layers: mean and standard deviation over draws.",
        ),
    ]
    text = (
        f"± is the standard deviation over {options.draws} draws: of the region moved by up to a tenth of its sides,"
        " and of boxes of its size anywhere in the photo. p: share of swaps of the region with random boxes, photo by"
        " photo, that are at least as extreme (sign change as large, correspondence as small)."
    )
    return Section("Regions", text, tables, figures)


MEASURES = ("value", "mean", "deviation", "random_mean", "random_deviation", "p")


def region_records(rows: Sequence[RegionRow]) -> list[dict[str, object]]:
    return [
        {"region": row.region, "layer": row.layer, "photos": " ".join(row.photos), "measure": kind, **vars(measure)}
        for row in rows
        for kind, measure in (("sign_change", row.sign_change), ("correspondence", row.correspondence))
        if measure
    ]


def position_records(one: Analysis, names: pictures.Names) -> list[dict[str, object]]:
    """One row for every position of every mask."""
    records = []
    for fill, sweeps in one.sweeps.items():
        for s in sweeps:
            columns = s.probability.shape[1]
            for index in range(s.probability.size):
                top = int(s.top.flat[index])
                records.append(
                    {
                        "photo": one.subject.name,
                        "fill": fill,
                        "mask_height": s.windows.patch[0],
                        "mask_width": s.windows.patch[1],
                        "index": index,
                        "row": index // columns,
                        "column": index % columns,
                        **dict(zip(("x0", "y0", "x1", "y1"), s.box(index))),
                        "probability": s.probability.flat[index],
                        "drop": s.drop.flat[index],
                        "predicted": top,
                        "predicted_name": names(top),
                        "confidence": s.confidence.flat[index],
                    }
                )
    return records


def photo_record(one: Analysis, names: pictures.Names) -> dict[str, object]:
    subject = one.subject
    labels, correlations = one.correlations
    return {
        "name": subject.name,
        "file": subject.file,
        "placement": subject.placement,
        "label": subject.label,
        "target": {"index": subject.target, "name": names(subject.target), "probability": one.main[0].base},
        "top5": [
            {"index": int(k), "name": names(int(k)), "probability": subject.belief[k]}
            for k in ranked(subject.belief, 5)
        ],
        "sweeps": [
            {
                "fill": fill,
                "mask": s.windows.patch,
                "stride": s.windows.stride,
                "positions": s.probability.size,
                "mean": s.mean,
                "deviation_over_positions": s.spread,
                "percentiles_10_50_90": np.percentile(s.probability, (10, 50, 90)),
                "still_right": s.kept,
                "worst": {
                    "index": s.worst,
                    "box": s.box(s.worst),
                    "probability": s.probability.flat[s.worst],
                    "predicted": names(int(s.top.flat[s.worst])),
                },
            }
            for fill, sweeps in one.sweeps.items()
            for s in sweeps
        ],
        "rank_correlations": {"maps": [f"{fill} {size}" for fill, size in labels], "matrix": correlations},
        "interactions": {"score": "log_probability", "boxes": one.boxes, "matrix": one.matrix},
        "seconds": one.seconds,
    }


def _figure(path: Path, plot: Plot, caption: str) -> Figure:
    """A figure as a file fit for print, and half as large in the report: drawing it again would take longer."""
    printed, buffer = png(plot, dpi=240), BytesIO()
    write_bytes(path, printed)
    with Image.open(BytesIO(printed)) as image:
        image.convert("RGB").reduce(2).save(buffer, "PNG")
    return Figure(buffer.getvalue(), caption)


def _gif(frames: Sequence[Image.Image], milliseconds: int = 120) -> bytes:
    """One palette for all frames, so that only what changes is stored."""
    some = np.concatenate([np.asarray(frame) for frame in frames[:: max(1, len(frames) // 6)]])
    palette = Image.fromarray(some).quantize(256, dither=Image.Dither.NONE)
    first, *others = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    buffer = BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=milliseconds, loop=0)
    return buffer.getvalue()


def _namer(net: Network) -> pictures.Names:
    return lambda index: net.class_name(index).replace("_", " ")


def _at(s: Sweep) -> str:
    x0, y0, _, _ = s.box(s.worst)
    return f"{x0}, {y0}"


def _listed(sweeps: Sequence[Sweep]) -> str:
    sides = [str(s.windows.patch[0]) for s in sweeps]
    return sides[0] if len(sides) == 1 else f"{', '.join(sides[:-1])} and {sides[-1]}"
