"""The page of an occlusion analysis: its files, tables, figures and words, made of what was measured."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from saliency._fills import fill_words
from saliency.models.network import Network
from saliency.report import Figure, Section, Table, listed_notes, png, write_bytes, write_csv, write_json, write_page
from saliency.zeiler_fergus import pictures
from saliency.zeiler_fergus.measuring import Options, PhotoAnalysis
from saliency.zeiler_fergus.regions import Measure, RegionRow
from saliency.zeiler_fergus.sweep import Sweep, ranked

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Plot

Boxes = Mapping[str, Sequence[int]]
POSITION_COLUMNS = (
    "photo", "fill", "mask_height", "mask_width", "index", "row", "column", "x0", "y0", "x1", "y1",
    "probability", "drop", "predicted", "predicted_name", "confidence",
)  # fmt: skip


def write_report(
    out: Path,
    net: Network,
    options: Options,
    analyses: Sequence[PhotoAnalysis],
    regions: Mapping[str, Boxes],
    rows: Sequence[RegionRow],
    result: Mapping[str, Any],
    notes: Sequence[str],
) -> None:
    """All files of the analysis; the report last, so that it is there only with everything else.

    `result` is what results.json holds: the origin of the figures, and the figures.
    """
    names = namer(net)
    sections = [photo_section(out, options, names, one) for one in analyses]
    if rows:
        sections.append(region_section(out, options, analyses, regions, rows))
        write_csv(out / "regions.csv", region_records(rows), ("region", "layer", "photos", "measure", *MEASURES))
    write_csv(
        out / "positions.csv", (row for one in analyses for row in position_records(one, names)), POSITION_COLUMNS
    )
    write_json(out / "results.json", result)
    if notes:
        sections.append(Section("What was left out or repaired", "\n".join(listed_notes(notes, 30))))
    origin = {
        key: result[key] for key in ("schema", "config", "seed", "inputs", "versions", "device", "command", "seconds")
    }
    write_page(
        out / "report.html",
        "What the classifier depends on",
        "\n".join(result["conclusion"]),
        [summary_section(out, analyses, names), word_section(net, options, analyses), *sections],
        origin,
    )


def conclusion(analyses: Sequence[PhotoAnalysis], names: pictures.Names) -> list[str]:
    """Three sentences: how much hiding costs, whether it changes the answer, and whether the fill decides where."""
    count = len(analyses)
    photos = "the photo" if count == 1 else f"{count} photos"
    fills = list(analyses[0].beside)
    largest = analyses[0].main[-1]
    base = float(np.mean([one.main[0].base for one in analyses]))
    means = [float(np.mean([one.sweeps[fill][-1].mean for one in analyses])) for fill in fills]
    height, width = largest.windows.patch
    share = height * width / (largest.windows.image[0] * largest.windows.image[1])
    target = f"of {names(analyses[0].subject.target)}" if count == 1 else "of the class that is followed"
    said = _listed([f"{mean:.3f} where {fill_words(fill)} shows" for mean, fill in zip(means, fills)])
    return [
        f"Hiding {share:.0%} of what the network sees of {photos} (a mask of {width}x{height} px, at every position in"
        f" turn) takes the probability {target} from {base:.3f} to {said}, averaged over positions"
        f"{' and photos' * (count > 1)}.",
        _changed(analyses, fills, names),
        _places(analyses, fills),
    ]


def _changed(analyses: Sequence[PhotoAnalysis], fills: Sequence[str], names: pictures.Names) -> str:
    """Whether one mask is enough to change the answer, and how often the answer was wrong from the start."""
    followed = [one for one in analyses if one.subject.predicted == one.subject.target]
    known = [one for one in analyses if one.subject.true is not None]
    wrong = [one for one in known if one.subject.predicted != one.subject.true]
    parts = []
    for fill in fills:
        sides = [
            min((s.windows.patch[0] for s in one.sweeps[fill] if (s.top != one.subject.target).any()), default=None)
            for one in followed
        ]
        changed = [side for side in sides if side is not None]
        text = f"in {len(changed)} of {len(followed)} photo{'s' * (len(followed) > 1)} where {fill_words(fill)} shows"
        parts.append(f"{text} (the smallest that does: {min(changed)} px)" if changed else text)
    text = (
        f"A single mask somewhere changes the predicted class {_listed(parts)}"
        if followed
        else "No photo is predicted as the class that is followed, so no mask could take that answer away"
    )
    if followed and len(followed) < len(analyses):
        text += f"; the other {len(analyses) - len(followed)} are not predicted as the class followed even untouched"
    if known:
        text += f"; untouched, {len(wrong)} of the {len(known)} photos whose true class is known are classified wrongly"
    if wrong:
        text += f" ({', '.join(one.subject.name for one in wrong[:5])}{', ...' if len(wrong) > 5 else ''})"
    return f"{text}."


def _places(analyses: Sequence[PhotoAnalysis], fills: Sequence[str]) -> str:
    """Whether two fills point at the same place."""
    middle = len(analyses[0].main) // 2
    side = analyses[0].main[middle].windows.patch[0]
    if len(fills) < 2:
        return (
            f"Only {fill_words(fills[0])} was shown in the mask's place, so nothing here says how far the maps hang on"
            " what hides."
        )
    pairs = [[one.sweeps[fill][middle] for fill in fills] for one in analyses]
    same = sum(_overlap(*(s.box(s.worst) for s in pair)) > 0 for pair in pairs)
    found = [_between(one, middle, fills) for one in analyses]
    known = [value for value in found if np.isfinite(value)]
    text = (
        f"Where it hurts: with {' and '.join(map(fill_words, fills))} the worst positions of the {side} px mask overlap"
        f" in {same} of {len(analyses)} photo{'s' * (len(analyses) > 1)}"
    )
    if known:
        middle_of = float(np.median(known))
        spread = f" (median; {min(known):.2f} to {max(known):.2f})" if len(known) > 1 else ""
        hangs = (
            "little (0.8 or more)" if middle_of >= 0.8 else "in part (0.5 to 0.8)" if middle_of >= 0.5 else "strongly"
        )
        text += (
            f", and the drop maps' rank correlation is {middle_of:.2f}{spread}, so the maps hang {hangs} on what hides"
        )
    return f"{text}."


def _between(one: PhotoAnalysis, middle: int, fills: Sequence[str]) -> float:
    """Rank correlation of one size's drop maps with two fills."""
    labels, matrix = one.correlations
    side = one.main[middle].windows.patch[0]
    first, second = (labels.index((fill, side)) for fill in fills[:2])
    return float(matrix[first, second])


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    return float(np.prod(np.clip(sides, 0, None)))


def summary_table(analyses: Sequence[PhotoAnalysis], names: pictures.Names) -> Table:
    """All photos, a row for each of the first two fills."""
    sizes = [one.windows.patch[0] for one in analyses[0].main]
    true = any(one.subject.label is not None for one in analyses)

    def cells(one: PhotoAnalysis, fill: str, sweeps: Sequence[Sweep]) -> list[object]:
        predicted = names(one.subject.predicted)
        return [
            *(one.subject.name, names(one.subject.target), predicted, *([_words(one.subject.label)] if true else [])),
            *(fill_words(fill), sweeps[0].base, *(s.mean for s in sweeps), sweeps[-1].predicted_share),
            min(float(s.probability.min()) for s in sweeps),
        ]

    return Table(
        ["photo", "target", "predicted", *(["true class"] if true else []), "fill", "untouched",
         *(f"{size} px" for size in sizes), f"target predicted, {sizes[-1]} px", "worst"],
        [cells(one, fill, sweeps) for one in analyses for fill, sweeps in one.beside.items()],
        "Probability of the target: untouched, averaged over the positions of a mask of each size, and at the worst"
        " position of all. Target predicted: the share of positions at which the target is the predicted class.",
        decimals=3,
    )  # fmt: skip


def summary_section(
    out: Path | None,
    analyses: Sequence[PhotoAnalysis],
    names: pictures.Names,
    title: str = "All photos",
    text: str = "",
) -> Section:
    """The table of all photos and their curves, which go to OUT/curves.png too where there are several photos."""
    figures = []
    if len(analyses) > 1 or out is None:
        path = None if out is None else out / "curves.png"
        caption = "Probability of the target against the mask's size, for every photo and both fills."
        figures.append(_figure(path, pictures.curves(_series(analyses)), caption))
    return Section(title, text, [summary_table(analyses, names)], figures)


def _series(analyses: Sequence[PhotoAnalysis]) -> dict[str, dict[str, list[Sweep]]]:
    """By the words of each of the first two fills, the sweeps of each photo."""
    return {fill_words(fill): {one.subject.name: one.sweeps[fill] for one in analyses} for fill in analyses[0].beside}


def word_section(net: Network, options: Options, analyses: Sequence[PhotoAnalysis]) -> Section:
    main = analyses[0].main
    sides, stride = _listed([str(s.windows.patch[0]) for s in main]), main[0].windows.stride[0]
    rows = [
        ["classifier", f"{net.name}, of {analyses[0].subject.probability.size} classes"],
        ["input", net.preprocess.summary([one.subject.placement.photo for one in analyses])],
        ["mask", f"a square of {sides} px of the input that hides what lies under it, at every {stride}th pixel of both"
                 " axes; at the border it is cut off"],
        ["fill", "what the classifier sees in the mask's place: " + ", ".join(map(fill_words, options.fills))],
        ["target", "the class whose probability is followed: where nothing else was asked for, the one predicted for"
                   " the untouched photo, right or wrong"],
        ["predicted", "the class with the largest probability"],
        ["drop", "probability of the target on the untouched photo minus under the mask: positive where hiding hurts"],
        ["drop map", "for every pixel the mean drop over the masks that hide it"],
        ["rank correlation", "Spearman's, over pixels: 1 where two maps rank the pixels alike, 0 where they have"
                             " nothing in common"],
        ["worst", "the position with the smallest probability of the target"],
    ]  # fmt: skip
    return Section("What the words mean", "", [Table(["word", "meaning"], rows)])


def photo_section(out: Path, options: Options, names: pictures.Names, one: PhotoAnalysis) -> Section:
    subject, folder = one.subject, out / "photos" / one.subject.name
    target, main, middle, beside = names(subject.target), one.main, one.middle, one.beside
    best = ranked(subject.probability, 5)
    rank = int((subject.probability > subject.probability[subject.target]).sum()) + 1
    first = fill_words(next(iter(beside)))
    tables = [
        Table(
            ["rank", "class", "index", "probability"],
            [[i, names(int(k)), int(k), float(subject.probability[k])] for i, k in enumerate(best, 1)],
            "The untouched photo's five most probable classes; bold: the target.",
            best=rank - 1 if rank <= len(best) else None,
            decimals=3,
        ),
        Table(
            ["fill", "mask (px)", "positions", "mean p", "sd over positions", "10th pct", "90th pct",
             "target predicted", "worst p", "worst at (x, y)", "predicted there"],
            [
                [fill_words(fill), s.windows.patch[0], s.probability.size, s.mean, s.spread,
                 *np.percentile(s.probability, (10, 90)), s.predicted_share, float(s.probability.flat[s.worst]), _at(s),
                 names(int(s.top.flat[s.worst]))]
                for fill, sweeps in beside.items()
                for s in sweeps
            ],
            f"p: the probability of {target}.",
            decimals=3,
        ),
    ]  # fmt: skip
    hidden = []
    for s in main:
        x0, y0, x1, y1 = s.box(s.worst)
        picture = subject.seen.copy()
        picture[y0:y1, x0:x1] = one.cover[y0:y1, x0:x1]
        hidden.append(picture)
    film = _gif(pictures.film(subject.seen, one.cover, middle, names))
    write_bytes(folder / "mask.gif", film)
    shown = sorted({0, len(main) // 2, len(main) - 1})
    side = middle.windows.patch[0]
    figures = [
        Figure(
            film,
            f"A {side} px mask ({first}) moving over the photo; the map of the probability of {target} fills up beside"
            " it.",
        ),
        _figure(
            folder / "curves.png",
            pictures.curves(_series([one])),
            "Probability against the mask's size. The band is the spread over positions, not an error of the mean.",
        ),
    ]
    for i, (fill, sweeps) in enumerate(beside.items()):
        figures.append(
            _figure(
                folder / ("maps.png" if not i else f"maps_{fill.replace(',', '-')}.png"),
                pictures.probability_maps(subject.seen, sweeps, names),
                f"Where {fill_words(fill)} shows: probability of {target}, predicted class, and drop with the mask at"
                " each position (Zeiler & Fergus 2014, figure 7 d and e). Each cell lies around the centre of what its"
                " mask hides.",
            )
        )
    figures += [
        _figure(
            folder / "overlays.png",
            pictures.overlays(
                subject.seen, {fill_words(fill): [sweeps[i] for i in shown] for fill, sweeps in beside.items()}
            ),
            "Drop maps, as measured and smoothed by a Gaussian of a quarter of the mask's side"
            f" ({', '.join(f'{pictures.smoothing(main[i]):.3g}' for i in shown)} px). Blue: hiding helps.",
        ),
        _figure(
            folder / "worst.png",
            pictures.worst(hidden, main, names),
            f"Each mask ({first}) at its worst position for {target}, and the class predicted there.",
        ),
        _figure(
            folder / "traces.png",
            pictures.traces(main),
            f"Probability ({first}) as a function of the mask's index, left to right and top to bottom. Dashed:"
            f" untouched. Red dots: positions at which another class than {target} is predicted.",
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
                f"Drop of the log-probability of {target} when two {side} px windows ({first}) are hidden together,"
                " minus the sum of their single drops. Above zero either part is enough; below zero, losing one is most"
                " of the loss.",
            )
        )
    return Section(subject.name, findings(one, names, rank), tables, figures)


def findings(one: PhotoAnalysis, names: pictures.Names, rank: int) -> str:
    """What the figures of one photo say, in words."""
    subject, main = one.subject, one.main
    target = names(subject.target)
    seen, photo = (f"{width}x{height} px" for height, width in (subject.seen.shape[:2], subject.placement.photo))
    text = f"{subject.file}: the network sees {seen} of a photo of {photo}."
    if subject.label is not None:
        judged = ""
        if subject.true is not None:
            right = subject.predicted == subject.true
            judged = (
                f", which the classifier {'predicts' if right else f'misses: it predicts {names(subject.predicted)}'}"
            )
        text += f" True class: {_words(subject.label)}{judged}."
    text += f" Target: {target}, rank {rank} on the untouched photo with p = {main[0].base:.3f}."
    for fill, sweeps in one.beside.items():
        worst = min(sweeps, key=lambda s: s.probability.min())
        x0, y0, x1, y1 = worst.box(worst.worst)
        text += (
            f"\nWhere {fill_words(fill)} shows, p averaged over positions is {sweeps[0].mean:.3f} under a"
            f" {sweeps[0].windows.patch[0]} px mask and {sweeps[-1].mean:.3f} under {sweeps[-1].windows.patch[0]} px,"
            f" with which {target} is predicted at {sweeps[-1].predicted_share:.0%} of the positions. It is lowest,"
            f" {worst.probability.min():.3f}, with {worst.windows.patch[0]} px hidden at x {x0}–{x1}, y {y0}–{y1}; the"
            f" class predicted there is {names(int(worst.top.flat[worst.worst]))}."
        )
    labels, matrix = one.correlations
    if len(one.sweeps) > 1:
        at = [i for i, (_, size) in enumerate(labels) if size == one.middle.windows.patch[0]]
        between = matrix[np.ix_(at, at)][np.triu_indices(len(at), 1)]
        text += (
            f"\nDrop maps of one size ({one.middle.windows.patch[0]} px) with different fills: rank correlation"
            f" {between.min():.2f}{f' to {between.max():.2f}' * (len(between) > 1)}."
        )
    return text


def region_section(
    out: Path,
    options: Options,
    analyses: Sequence[PhotoAnalysis],
    regions: Mapping[str, Boxes],
    rows: Sequence[RegionRow],
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
        _figure(out / "regions.png", pictures.region_plot(photos), "The regions, as the network sees them."),
        _figure(
            out / "region_measures.png",
            pictures.region_measures(rows),
            "Both measures at both layers: mean and standard deviation over draws.",
        ),
    ]
    text = (
        f"What hides is {fill_words(options.fills[0])}. ± is the standard deviation over {options.draws} draws: of the"
        " region moved by up to a tenth of its sides,"
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


def position_records(one: PhotoAnalysis, names: pictures.Names) -> list[dict[str, object]]:
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


def photo_record(one: PhotoAnalysis, names: pictures.Names) -> dict[str, object]:
    subject = one.subject
    labels, correlations = one.correlations
    return {
        "name": subject.name,
        "file": subject.file,
        "placement": subject.placement,
        "label": subject.label,
        "predicted": {"index": subject.predicted, "name": names(subject.predicted)},
        "true": subject.true,
        "target": {"index": subject.target, "name": names(subject.target), "probability": one.main[0].base},
        "top5": [
            {"index": int(k), "name": names(int(k)), "probability": subject.probability[k]}
            for k in ranked(subject.probability, 5)
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
                "predicted_share": s.predicted_share,
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


def _figure(path: Path | None, plot: "Plot", caption: str) -> Figure:
    """A figure as a file fit for print, where it has a path, and half as large in the report: drawing it again would
    take longer."""
    printed, buffer = png(plot, dpi=240), BytesIO()
    if path is not None:
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


def namer(net: Network) -> pictures.Names:
    """The words for a class index."""
    return lambda index: _words(net.class_name(index))


def _words(label: str | None) -> str:
    return (label or "–").replace("_", " ")


def _at(s: Sweep) -> str:
    x0, y0, _, _ = s.box(s.worst)
    return f"{x0}, {y0}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
