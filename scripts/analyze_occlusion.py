"""Slide a mask over photos and report how one classifier depends on their parts (seeds 000 and 002).

For every photo: top-5 table, confidence against the mask's size, probability by position, predicted class by position,
drop maps and overlays, how far the maps hang on fill and size, interactions of windows; for named regions: sign
change and correspondence of features. Everything lands in `--out`: report.html, results.json, positions.csv,
regions.csv and a folder of pictures for each photo. Run again with the same options, it goes on where it stopped.
"""

import csv
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Annotated, Literal
from zipfile import BadZipFile

import numpy as np
import tyro
from jaxtyping import Float
from matplotlib.figure import Figure as Plot
from PIL import Image
from tqdm import tqdm

from localization.datasets.photos import read_photo
from localization.datasets.scenes import scenes
from localization.report import (
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
from saliency import InputError, Score, load_network
from saliency.files import written
from saliency.networks.network import Network
from saliency.occlusion import Windows, fill_images
from saliency.occlusion.windows import Fill
from saliency.preprocessing import Placement
from saliency.scores import score_values
from saliency.zeiler_fergus import (
    Measure,
    RegionRow,
    Sweep,
    feature_layers,
    interactions,
    pictures,
    probabilities,
    rank_correlations,
    ranked,
    region_table,
    separate,
    sweep,
)
from scripts import cli

Boxes = dict[str, list[int]]
THIRDS = {
    "top": (1, 0), "left": (0, 1), "centre": (1, 1), "right": (2, 1), "bottom": (1, 2),
}  # fmt: skip
POSITION_COLUMNS = (
    "photo", "fill", "mask_height", "mask_width", "index", "row", "column", "x0", "y0", "x1", "y1",
    "probability", "drop", "predicted", "predicted_name", "confidence",
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """Occlusion analysis of one classifier and a few photos."""

    photos: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Image files; without any, scenes of the embedded data set are taken."""
    network: str = "scenes_cnn"
    weights: str | None = None
    """Checkpoint file; scenes_cnn brings its own."""
    classes: Path | None = None
    """File of class names, for checkpoints without any (CSV with index, wnid and name, or LOC_synset_mapping.txt)."""
    resize: Literal["crop", "stretch", "letterbox"] | None = None
    """How a photo becomes the network's input; default: as the checkpoint was trained."""
    target: str = "rank:1"
    """Class to follow: rank:K on the untouched photo, a class index, or a class name."""
    sizes: tuple[int, ...] = ()
    """Sides of the mask in input pixels; default: 2 to 6 strides (20 to 60 px for a 224 px input)."""
    stride: int | None = None
    """Default: a 22nd of the input's shorter side (10 px for 224)."""
    fills: tuple[str, ...] = ("grey", "mean", "blur", "noise")
    """What hides: grey, mean, blur, noise, a level 0..255, or r,g,b. The first is the one that all figures but the
    comparison use."""
    region: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """name=x0,y0,x1,y1 in pixels of the photo, or with % signs in percent of what the network sees; for all photos."""
    regions: Path | None = None
    """JSON {photo: {name: [x0, y0, x1, y1]}} or CSV with photo (empty: all), name, x0, y0, x1, y1; photo pixels."""
    layers: tuple[str, ...] = ()
    """Layers whose features are compared; default: the nearest to AlexNet's fifth and seventh."""
    draws: int = 50
    """Moved and random boxes for each region; 0 leaves the regions out."""
    windows: int = 8
    """Windows whose interactions are measured; below 2 leaves them out."""
    scenes: int = 3
    """How many scenes, where no photos are given."""
    out: Path = Path("out/analyze_occlusion")
    seed: int = 0
    quiet: bool = False


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
    """What was measured on one photo: sweeps by fill, the windows whose interactions were measured, and the time."""

    subject: Subject
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


def main(options: Options) -> int:
    start = time.perf_counter()
    fills = {text: parsed_fill(text) for text in options.fills}
    if not fills:
        raise InputError("fills must name at least one fill, such as grey")
    net = load_network(options.network, options.weights, classes=options.classes)
    if options.resize:
        net.preprocess = replace(net.preprocess, mode=options.resize)
    subjects = load_subjects(options, net)
    sizes = all_windows(options, subjects[0].seen.shape[:2])
    regions = named_regions(options, subjects)
    # all of them now, so that a bad one is found before anything is measured
    filled = [{s.name: filling(options, net, s, fill) for s in subjects} for fill in fills.values()]
    rows = (
        region_table(
            net,
            {s.name: s.x for s in subjects},
            filled[0],
            regions,
            options.layers or feature_layers(net.architecture),
            draws=options.draws,
            seed=options.seed,
        )
        if options.draws
        else []
    )
    total = len(subjects) * len(fills) * sum(len(windows.positions) for windows in sizes)
    bar = tqdm(total=total, unit="mask", disable=cli.silent(options.quiet))
    analyses = [analysis(options, net, subject, fills, sizes, bar) for subject in subjects]
    bar.close()
    write(options, net, analyses, regions, rows, start)
    return 0


def load_subjects(options: Options, net: Network) -> list[Subject]:
    """The photos as given, or scenes; names are unique."""
    photos: list[tuple[str, str, np.ndarray, str | None, tuple[float, ...] | None]] = []
    for path in options.photos:
        taken, stem = [name for name, *_ in photos], path.stem
        name = next(n for n in (stem, *(f"{stem}-{i}" for i in range(2, len(taken) + 3))) if n not in taken)
        photos.append((name, path.name, read_photo(path, exif=True), None, None))
    if not photos:
        if options.scenes < 1:
            raise InputError("give photos, or a number of scenes of at least 1")
        data = scenes("test", options.scenes, options.seed)
        for i, (image, label, box) in enumerate(zip(data.images, data.labels, data.boxes)):
            photos.append((f"scene-{i}", f"scene {i} of test, seed {data.seed}", image, str(label), tuple(box)))
    subjects = []
    for name, file, photo, label, box in photos:
        seen, x = net.preprocess.place(photo), net.preprocess([photo])[0]
        belief = probabilities(net, x[None])[0]
        target = chosen_class(options.target, belief, net.classes)
        placement = net.preprocess.placement(photo.shape[:2])
        subjects.append(Subject(name, file, placement, seen, x, belief, target, label, box))
    return subjects


def chosen_class(text: str, belief: Float[np.ndarray, " classes"], classes: Sequence[str]) -> int:
    """A class by "rank:K" (1: the predicted one), by index, or by name."""
    kind, _, number = text.partition(":")
    if kind == "rank":
        if not number.isdecimal() or not 1 <= int(number) <= len(belief):
            raise InputError(f"target rank must be rank:1 to rank:{len(belief)}, not {text!r}")
        return int(ranked(belief, int(number))[-1])
    named = [i for i, name in enumerate(classes) if _spoken(name) == _spoken(text)]
    if len(named) > 1:
        raise InputError(f"target {text!r} names the classes {', '.join(map(str, named))}; give one of these indices")
    if named:
        return named[0]
    if text.isdecimal() and int(text) < len(belief):
        return int(text)
    raise InputError(f"target must be rank:K, an index 0..{len(belief) - 1} or a class name, not {text!r}")


def all_windows(options: Options, image: tuple[int, int]) -> list[Windows]:
    """Square masks of every size; by default in proportion to the 20 to 60 px in steps of 10 of seed 000."""
    stride = max(1, round(min(image) / 22.4)) if options.stride is None else options.stride
    sides = sorted(set(options.sizes)) or [stride * factor for factor in range(2, 7)]
    return [Windows(image, (side, side), (stride, stride)) for side in sides]


def parsed_fill(text: str) -> Fill:
    """A fill as `fill_images` takes it: a name, a level or r,g,b."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        return text
    return numbers[0] if len(numbers) == 1 else tuple(numbers)  # type: ignore[return-value]


def filling(options: Options, net: Network, subject: Subject, fill: Fill) -> Float[np.ndarray, "h w 3"]:
    """What shows where a part of the photo is hidden."""
    return fill_images(subject.x[None], fill, net.preprocess, options.seed)[0]


def analysis(
    options: Options, net: Network, subject: Subject, fills: Mapping[str, Fill], sizes: Sequence[Windows], bar: tqdm
) -> Analysis:
    start = time.perf_counter()
    bar.set_description(subject.name)
    sweeps = {text: measured(options, net, subject, text, fill, sizes, bar) for text, fill in fills.items()}
    (text, fill), *_ = fills.items()
    middle = sweeps[text][len(sizes) // 2]
    chosen = separate(middle.drop, middle.windows, options.windows)
    boxes = np.array([middle.box(i) for i in chosen], int).reshape(-1, 4)
    filled = fill_images(subject.x[None], fill, net.preprocess, options.seed)[0]
    matrix = interactions(
        lambda x: score_values(net, x, Score("log_probability"), np.full(len(x), subject.target)),
        subject.x,
        filled,
        boxes,
    )
    return Analysis(subject, sweeps, boxes, matrix, time.perf_counter() - start)


def measured(
    options: Options, net: Network, subject: Subject, text: str, fill: Fill, sizes: Sequence[Windows], bar: tqdm
) -> list[Sweep]:
    """The sweeps of one photo with one fill, read back where an earlier run with the same input left them."""
    path = options.out / "photos" / subject.name / f"positions_{text.replace(',', '-')}.npz"
    key = content_hash(net.digest, net.preprocess, subject.x, subject.target, text, sizes, options.seed)
    fields = ("probability", "top", "confidence")
    count = sum(len(windows.positions) for windows in sizes)
    try:
        with open(path, "rb") as file, np.load(file) as known:
            if str(known["key"]) == key:
                base = float(known["base"])
                sweeps = [
                    Sweep(windows, subject.target, base, *(known[f"{field}{i}"] for field in fields))
                    for i, windows in enumerate(sizes)
                ]
                bar.update(count)
                return sweeps
    except (OSError, ValueError, KeyError, BadZipFile):
        pass  # nothing there yet, or not ours: measured anew
    before = bar.n
    sweeps = sweep(
        net, subject.x, subject.target, sizes, fill=fill, seed=options.seed,
        progress=lambda done, _: bar.update(before + done - bar.n),
    )  # fmt: skip
    arrays = {f"{field}{i}": getattr(one, field) for i, one in enumerate(sweeps) for field in fields}
    with written(path) as temporary:
        np.savez_compressed(temporary, key=key, base=sweeps[0].base, **arrays)
    return sweeps


def named_regions(options: Options, subjects: Sequence[Subject]) -> dict[str, dict[str, list[int]]]:
    """Region -> photo -> box in the network's input; by default thirds of it, and the object's box where known."""
    if not options.draws:
        return {}
    given = [_region(text) for text in options.region] + (read_regions(options.regions) if options.regions else [])
    found: dict[str, Boxes] = {}
    for photo, name, corners in given:
        matching = [s for s in subjects if photo in (None, "", s.file, s.name)]
        if not matching:
            raise InputError(
                f"{options.regions}: {photo!r} is none of the photos {', '.join(s.file for s in subjects)}"
            )
        for subject in matching:
            found.setdefault(name, {})[subject.name] = _placed(name, corners, subject)
    if given:
        return found
    objects = {s.name: _placed("object", [str(edge) for edge in s.box], s) for s in subjects if s.box is not None}
    height, width = subjects[0].seen.shape[:2]
    side = height // 3, width // 3
    return ({"object": objects} if objects else {}) | {
        name: {s.name: [i * side[1], j * side[0], (i + 1) * side[1], (j + 1) * side[0]] for s in subjects}
        for name, (i, j) in THIRDS.items()
    }


def read_regions(path: Path) -> list[tuple[str | None, str, list[str]]]:
    """(photo or None for all, name, corners as text) of every region in a JSON or CSV file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            return [
                (photo, name, [str(corner) for corner in corners])
                for photo, boxes in json.loads(text).items()
                for name, corners in boxes.items()
            ]
        return [
            (row["photo"], row["name"], [row[corner] for corner in ("x0", "y0", "x1", "y1")])
            for row in csv.DictReader(text.splitlines())
        ]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(
            f"{path}: regions must be JSON {{photo: {{name: [x0, y0, x1, y1]}}}} or CSV with the columns photo, name,"
            f" x0, y0, x1 and y1 ({type(error).__name__}: {error})"
        ) from error


def _region(text: str) -> tuple[str | None, str, list[str]]:
    name, _, corners = text.partition("=")
    if not name or not corners:
        raise InputError(f"region must be name=x0,y0,x1,y1, not {text!r}")
    return None, name, corners.split(",")


def _placed(name: str, corners: Sequence[str], subject: Subject) -> list[int]:
    """A region's corners, brought from the photo's pixels (or percent of the input) to the input's, and cut to it."""
    (height, width), place = subject.seen.shape[:2], subject.placement
    try:
        x0, y0, x1, y1 = (
            float(text.strip("% ")) * size / 100 if "%" in text else float(text) * scale + offset
            for text, size, scale, offset in zip(
                corners, (width, height) * 2, place.scale * 2, place.offset * 2, strict=True
            )
        )
    except ValueError:
        raise InputError(
            f"region {name!r} must be four numbers x0,y0,x1,y1, in pixels or all with %, not {','.join(corners)!r}"
        ) from None
    box = [max(0, round(x0)), max(0, round(y0)), min(width, round(x1)), min(height, round(y1))]
    if box[0] >= box[2] or box[1] >= box[3]:
        raise InputError(
            f"region {name!r} has nothing in the part of {subject.file} that the network sees; put x0 below x1 and y0"
            f" below y1, or take the whole photo with --resize stretch"
        )
    return box


def write(
    options: Options, net: Network, analyses: Sequence[Analysis], regions: Mapping[str, Boxes],
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
    origin = record(options, options.seed, inputs)
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


def summary_section(options: Options, analyses: Sequence[Analysis], names: pictures.Names) -> Section:
    sizes = [one.windows.patch[0] for one in analyses[0].main]
    means = [f"mean at {size} px" for size in sizes]
    table = Table(
        ["photo", "target", "untouched", *means, f"right at {sizes[-1]} px", "worst"],
        [
            [one.subject.name, names(one.subject.target), one.main[0].base, *(s.mean for s in one.main),
             one.main[-1].kept, min(s.probability.min() for s in one.main)]
            for one in analyses
        ],
        "Probability of the target: untouched, averaged over the positions of each mask, and at the worst position.",
    )  # fmt: skip
    figures = []
    if len(analyses) > 1:
        plot = pictures.curves({one.subject.name: one.main for one in analyses})
        figures.append(
            _figure(options.out / "curves.png", plot, "Confidence against the mask's size, for every photo.")
        )
    return Section("All photos", "", [table], figures)


def photo_section(options: Options, net: Network, one: Analysis) -> Section:
    subject, names, folder = one.subject, _namer(net), options.out / "photos" / one.subject.name
    target, main, middle = names(subject.target), one.main, one.middle
    best = ranked(subject.belief, 5)
    rank = int((subject.belief > subject.belief[subject.target]).sum()) + 1
    fill = options.fills[0]
    colours = (
        net.preprocess.pixels(filling(options, net, subject, parsed_fill(fill))).round().clip(0, 255).astype(np.uint8)
    )
    tables = [
        Table(
            ["rank", "class", "index", "probability"],
            [[i, names(int(k)), int(k), float(subject.belief[k])] for i, k in enumerate(best, 1)],
            "The untouched photo's five most probable classes.",
            best=rank - 1 if rank <= len(best) else None,
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
        ),
    ]  # fmt: skip
    hidden = []
    for s in main:
        x0, y0, x1, y1 = s.box(s.worst)
        picture = subject.seen.copy()
        picture[y0:y1, x0:x1] = colours[y0:y1, x0:x1]
        hidden.append(picture)
    frames = pictures.film(subject.seen, colours, middle, names)
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
    options: Options, analyses: Sequence[Analysis], regions: Mapping[str, Boxes], rows: Sequence[RegionRow]
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
              "Mean feature sign change: share of a layer's features that change sign when the region is hidden."),
    ]  # fmt: skip
    shared = [row for row in rows if row.correspondence]
    if shared:
        tables.append(
            Table(columns, [cells(row, row.correspondence) for row in shared],
                  "Correspondence (Zeiler & Fergus 2014, section 4.4): Hamming distance between the signs of two"
                  " photos' feature changes, averaged over pairs. Smaller: the network treats it as the same part."),
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
    """A figure as a file fit for print, and smaller in the report."""
    write_bytes(path, png(plot, dpi=220))
    return Figure(png(plot, dpi=120), caption)


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


def _spoken(name: str) -> str:
    return name.replace("_", " ").casefold().strip()


def _at(s: Sweep) -> str:
    x0, y0, _, _ = s.box(s.worst)
    return f"{x0}, {y0}"


def _listed(sweeps: Sequence[Sweep]) -> str:
    sides = [str(s.windows.patch[0]) for s in sweeps]
    return sides[0] if len(sides) == 1 else f"{', '.join(sides[:-1])} and {sides[-1]}"


if __name__ == "__main__":
    cli.run(main, tyro.cli(Options))
