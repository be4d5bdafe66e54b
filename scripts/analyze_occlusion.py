"""Slide a mask over photos and report how one classifier depends on their parts (seeds 000 and 002).

For every photo: top-5 table, confidence against the mask's size, probability by position, predicted class by position,
drop maps and overlays, how far the maps hang on fill and size, interactions of windows; for named regions: sign
change and correspondence of features. Everything lands in `--out`: report.html, results.json, positions.csv,
regions.csv and a folder of pictures for each photo. Run again with the same options, it goes on where it stopped.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from jaxtyping import Float
from tqdm import tqdm

from localization.datasets.scenes import scenes
from saliency import InputError, Score, load_network
from saliency._files import check_writable, complete, written
from saliency._reading import read_arrays, read_json, read_rows
from saliency.models.network import Network
from saliency.occlusion import Engine, Windows, fill_images
from saliency.occlusion.windows import Fill
from saliency.photos import read_photo
from saliency.report import content_hash
from saliency.scores import score_values
from saliency.zeiler_fergus import (
    Sweep,
    feature_layers,
    interactions,
    probabilities,
    ranked,
    region_table,
    separate,
    sweep,
)
from scripts import cli
from scripts.occlusion_report import Analysis, Subject, write

THIRDS = {
    "top": (1, 0), "left": (0, 1), "centre": (1, 1), "right": (2, 1), "bottom": (1, 2),
}  # fmt: skip


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
    engine: Engine = "auto"
    """How hidden photos are computed: dense, incremental (the same numbers), or whichever is expected to be cheaper."""
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


def main(options: Options) -> int:
    start = time.perf_counter()
    fills = {text: parsed_fill(text) for text in options.fills}
    if not fills:
        raise InputError("fills must name at least one fill, such as grey")
    check_writable(options.out)
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
    with complete():
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
        photos.append((name, path.name, read_photo(path), None, None))
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
    filled = filling(options, net, subject, fill)
    matrix = interactions(
        lambda x: score_values(net, x, Score("log_probability"), np.full(len(x), subject.target)),
        subject.x,
        filled,
        boxes,
    )
    cover = net.preprocess.pixels(filled).round().clip(0, 255).astype(np.uint8)
    return Analysis(subject, cover, sweeps, boxes, matrix, time.perf_counter() - start)


def measured(
    options: Options, net: Network, subject: Subject, text: str, fill: Fill, sizes: Sequence[Windows], bar: tqdm
) -> list[Sweep]:
    """The sweeps of one photo with one fill, read back where an earlier run with the same input left them."""
    path = options.out / "photos" / subject.name / f"positions_{text.replace(',', '-')}.npz"
    key = content_hash(net.digest, net.preprocess, subject.x, subject.target, text, sizes, options.seed)
    fields = ("probability", "top", "confidence")
    count = sum(len(windows.positions) for windows in sizes)
    try:
        known = read_arrays(path)
        if str(known["key"]) == key:
            base = float(known["base"])
            sweeps = [
                Sweep(windows, subject.target, base, *(known[f"{field}{i}"] for field in fields))
                for i, windows in enumerate(sizes)
            ]
            bar.update(count)
            return sweeps
    except (InputError, KeyError):
        pass  # nothing there yet, or not ours: measured anew
    before = bar.n
    sweeps = sweep(
        net, subject.x, subject.target, sizes, fill=fill, engine=options.engine, seed=options.seed,
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
    given = [("--region", *_region(text)) for text in options.region]
    given += [(str(options.regions), *region) for region in read_regions(options.regions)] if options.regions else []
    found: dict[str, dict[str, list[int]]] = {}
    for file, photo, name, corners in given:
        matching = [s for s in subjects if photo in (None, "", s.file, s.name)]
        if not matching:
            raise InputError(f"{file}: {photo!r} is none of the photos {', '.join(s.file for s in subjects)}")
        for subject in matching:
            found.setdefault(name, {})[subject.name] = _placed(f"{file}: region {name!r}", corners, subject)
    if given:
        return found
    objects = {
        s.name: _placed("the object's box", [str(edge) for edge in s.box], s) for s in subjects if s.box is not None
    }
    height, width = subjects[0].seen.shape[:2]
    side = height // 3, width // 3
    return ({"object": objects} if objects else {}) | {
        name: {s.name: [i * side[1], j * side[0], (i + 1) * side[1], (j + 1) * side[0]] for s in subjects}
        for name, (i, j) in THIRDS.items()
    }


def read_regions(path: Path) -> list[tuple[str | None, str, list[str]]]:
    """(photo or None for all, name, corners as text) of every region in a JSON or CSV file."""
    if path.suffix.lower() != ".json":
        corners = ("x0", "y0", "x1", "y1")
        rows = read_rows(path, ("photo", "name", *corners))
        return [(row["photo"], row["name"], [row[corner] for corner in corners]) for row in rows]
    try:
        return [
            (photo, name, [str(corner) for corner in corners])
            for photo, boxes in read_json(path).items()
            for name, corners in boxes.items()
        ]
    except (AttributeError, TypeError) as error:
        raise InputError(f"{path}: regions must be {{photo: {{name: [x0, y0, x1, y1]}}}} ({error})") from error


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
        box = [max(0, round(x0)), max(0, round(y0)), min(width, round(x1)), min(height, round(y1))]
    except (ValueError, OverflowError):  # no numbers, or NaN and infinity, which cannot be rounded
        raise InputError(
            f"{name} must be four numbers x0,y0,x1,y1, in pixels or all with %, not {','.join(corners)!r}"
        ) from None
    if box[0] >= box[2] or box[1] >= box[3]:
        raise InputError(
            f"{name} has nothing in the part of {subject.file} that the network sees; put x0 below x1 and y0"
            f" below y1, or take the whole photo with --resize stretch"
        )
    return box


def _spoken(name: str) -> str:
    return name.replace("_", " ").casefold().strip()


if __name__ == "__main__":
    cli.run(main, tyro.cli(Options))
