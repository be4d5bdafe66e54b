"""Score boxes on a data set as it lies on disk, by a named protocol, with intervals and the published rows beside.

    python -m scripts.evaluate --dataset voc --data-root VOCdevkit/VOC2007 --split test --check
    python -m scripts.evaluate --dataset voc --data-root VOCdevkit/VOC2007 --split test --train-split trainval \
        --protocol paper-voc07 --network vgg16 --weights FILE
    python -m scripts.evaluate --dataset wsol --data-root DIR --maps SCOREMAPS --protocol wsol

Boxes come from a CSV, from a folder of maps, or from a network's maps: through a saved linear map (`--bundle`, which
knows how its maps were made), or through a linear map or heuristic learned on `--train-split`. Without any of these
the baselines alone are scored.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from tqdm import tqdm

from localization.boxes import below_half, to_input, to_photo, visible
from localization.boxes_file import boxes_of, read_boxes
from localization.datasets import Dataset, load
from localization.datasets.names import inside
from localization.features import pooled
from localization.heuristics import fit_heuristic
from localization.maxboxacc import BoxAccuracy, box_accuracy
from localization.metrics import best_iou, corloc, corloc_by_class, hits, mean_iou, top1_loc
from localization.protocols import MAP_PROTOCOLS, PROTOCOLS, Protocol, Samples, baselines, samples
from localization.published import published_rows
from localization.regression import LinearMap, fit_linear_map, load_linear_map, status
from localization.report import figures, tables
from localization.statistics import Estimate, mcnemar_exact, paired_difference
from saliency import load_network, report
from saliency._checks import whole
from saliency._files import check_writable, complete
from saliency._reading import read_map, read_text, refusing
from saliency.errors import InputError
from saliency.methods import METHODS, Method
from saliency.methods import Options as MethodOptions
from saliency.models.classes import read_classes
from saliency.models.network import Network
from saliency.models.preprocessing import Placement, from_record
from saliency.scores import predicted
from scripts import cli

CHUNK = 32  # photos decoded at once
OURS = "ours"
PLACES = {"mean IoU": 3}  # decimals, of others one
SMALL = ("small", "its 95% interval")  # samples whose largest true box covers less than half of the photo
IMAGE_COLUMNS = ("image", "label", "method", "x0", "y0", "x1", "y1", "iou", "correct")


@dataclass(frozen=True)
class Options:
    """Score boxes or maps on a data set."""

    dataset: str = "scenes"
    """scenes, voc, imagenet, tiny_imagenet, coco, wsol, folder or tfds."""
    data_root: Path | None = None
    """Where the data set lies."""
    split: str | None = None
    """Split that is scored (default: the data set's usual one)."""
    train_split: str | None = None
    """Split whose boxes may be learned from (scenes: train)."""
    only: Path | None = None
    """Text file of the labels to keep, one a line."""
    limit: int | None = None
    """So many photos of each split, drawn from the seed."""
    protocol: str = "corloc"
    """corloc, paper-voc07, paper-imagenet, gt-known, top1-loc, maxboxacc, maxboxacc-v2 or wsol."""
    difficult: bool = False
    """Objects marked difficult count as targets too."""
    truncated: bool = True
    """Objects marked truncated count as targets."""
    boxes: Path | None = None
    """Boxes to score: CSV image,x0,y0,x1,y1 and perhaps label, in the photos' pixels."""
    maps: Path | None = None
    """Maps to score: IMAGE.npy for each image id, float [h, w] over the whole photo."""
    network: str | None = None
    """Classifier whose maps are scored."""
    weights: str | None = None
    classes: Path | None = None
    """Which label is which of its outputs: LOC_synset_mapping.txt, or CSV index,wnid,name."""
    entry: tyro.conf.OmitArgPrefixes[cli.Entry] = field(default_factory=cli.Entry)
    method: str | None = None
    """How its maps are made, as `scripts.compare --list` names it; A+B stacks two (default: the protocol's)."""
    bundle: Path | None = None
    """A saved linear map: unless told otherwise, maps are made as they were for it."""
    route: Literal["linear", "heuristic"] = "linear"
    """Without a bundle: what is learned on the training split."""
    map_size: tuple[int, int] = (56, 56)
    """Rows and columns that maps are pooled to before anything is learned from them."""
    settings: tyro.conf.OmitArgPrefixes[MethodOptions] = field(default_factory=MethodOptions)
    check: bool = False
    """Only read the data set, and say what was repaired or left out."""
    out: Path = Path("runs/evaluate")
    quiet: bool = False


@dataclass(frozen=True)
class MapSource:
    """`maps(data, samples, indices)` gives float `[k, h, w]`, or `[k, m, h, w]` of m methods stacked;
    `placement(photo, map)` says where a photo lies in its map."""

    name: str
    maps: Callable[[Dataset, Samples, np.ndarray], np.ndarray]
    placement: Callable[[tuple[int, int], tuple[int, int]], Placement]
    record: Mapping[str, Any] = field(default_factory=dict)


def main(options: Options) -> int:
    protocol = checked(options)
    test, train = read(options, protocol)
    if options.check:
        print("\n".join([test.summary(), *(f"    {note}" for note in test.notes)]))
        return 0
    chosen = partial(samples, each=protocol.each, difficult=options.difficult, truncated=options.truncated)
    wanted, learned = chosen(test), chosen(train) if train is not None else None
    linear = load_linear_map(options.bundle) if options.bundle else None
    net = network(options, linear) if options.network else None
    class_of = class_indices(options, net)
    source = map_source(options, protocol, net, class_of, linear)
    origin = report.record(
        replace(options, out=Path(options.out.name)), options.settings.seed, hashed(test), cli.command()
    )
    results: dict[str, Any] = {
        **origin,
        "protocol": protocol,
        "dataset": f"{test.name} {test.split}",
        "photos": len(test),
        "samples": len(wanted),
        "notes": [str(note) for note in test.notes],
        "cropped_away": cropped_away(net, test, wanted) if net else 0,
    }
    found: dict[str, np.ndarray] = {}
    if protocol.name in MAP_PROTOCOLS:
        assert source is not None  # checked
        results |= threshold_figures(source, options, protocol, test, wanted, train, learned)
    else:
        found = baseline_boxes(test, wanted, train, learned)
        if options.boxes:
            found[options.boxes.stem] = boxes_of_csv(options.boxes, test, wanted)
        elif source is not None:
            found[source.name] = boxes_of_maps(source, options, test, wanted, train, learned, linear)
        right = predicted_right(net, class_of, test, wanted) if protocol.name == "top1-loc" and net else None
        small = below_half(wanted.largest, sizes(test, wanted))
        results["small_samples"] = int(small.sum())
        results |= box_figures(found, protocol, wanted, small, right, options.settings.seed)
    columns, rows = table(results)
    rows = [[as_text(column, value) for column, value in zip(columns, row)] for row in rows]
    with complete():
        if found:
            images = image_rows(found, protocol, test, wanted)
            report.write_csv(options.out / "images.csv", images, IMAGE_COLUMNS)
            write_page(options.out, found, test, wanted, results, origin)
        for suffix, form in (("csv", tables.comma_separated), ("md", tables.markdown), ("tex", tables.latex)):
            report.write_bytes(options.out / f"table.{suffix}", form(columns, rows).encode())
        report.write_json(options.out / "results.json", results)
    print(f"{results['dataset']}: {len(test):,} photos, {len(wanted):,} samples; {protocol.name}: {protocol.summary}")
    print(f"\n{tables.text(columns, rows)}\n")
    print("\n".join([*differences(results), f"results: {options.out / 'results.json'}"]))
    return 0


def checked(options: Options) -> Protocol:
    if options.protocol not in PROTOCOLS:
        raise InputError(f"--protocol must be one of {', '.join(PROTOCOLS)}, not {options.protocol!r}")
    given = [name for name in ("boxes", "maps", "network") if getattr(options, name)]
    if len(given) > 1:
        raise InputError(f"--{given[0]} and --{given[1]} exclude each other: score one at a time")
    if options.bundle and not options.network:
        raise InputError("--bundle needs --network, whose maps it applies to")
    several = len(known_methods(options.method)) > 1 if options.method else False
    if several and (options.protocol in MAP_PROTOCOLS or options.route == "heuristic"):
        raise InputError(f"--method {options.method}: only a linear map takes several methods at once; give one")
    if options.protocol in MAP_PROTOCOLS and given not in (["maps"], ["network"]):
        raise InputError(f"--protocol {options.protocol} scores maps: give --maps or --network")
    if options.protocol == "top1-loc" and given != ["network"]:
        raise InputError("--protocol top1-loc needs --network, whose class has to be right")
    for side in options.map_size:
        whole("--map-size", side, least=1)
    check_writable(options.out)
    return PROTOCOLS[options.protocol]


def known_methods(stacked: str) -> list[str]:
    """The methods of "A+B"."""
    names = stacked.split("+")
    for name in names:
        if name not in METHODS:
            raise InputError(f"unknown method {name!r}; choose from {', '.join(METHODS)}")
    return names


def read(options: Options, protocol: Protocol) -> tuple[Dataset, Dataset | None]:
    """What is scored, and what may be learned from."""
    only = read_text(options.only).split() if options.only else None
    seed = options.settings.seed

    def part(split: str | None) -> Dataset:
        return load(options.dataset, options.data_root, split=split, classes=only, limit=options.limit, seed=seed)

    train_split = options.train_split or ("train" if options.dataset == "scenes" else None)
    if protocol.shares and not train_split and not options.check:
        train, test, _ = part(options.split).split_by(protocol.shares, seed)
        return test, train
    return part(options.split), part(train_split) if train_split and not options.check else None


def network(options: Options, linear: LinearMap | None) -> Network:
    """The classifier; a linear map that says how photos entered it is asked, unless the options say so."""
    assert options.network is not None
    net = load_network(options.network, options.weights, classes=options.classes)
    stated = linear.source.get("preprocessing") if linear else None
    net.preprocess = (
        from_record(stated) if stated and options.entry == cli.Entry() else options.entry.of(net.preprocess)
    )
    return net


def class_indices(options: Options, net: Network | None) -> Mapping[str, int]:
    """The network's output of a label, by its own class names or by --classes."""
    known = {name: i for i, name in enumerate(net.classes)} if net else {}
    return known | ({wnid: i for i, (wnid, _) in enumerate(read_classes(options.classes))} if options.classes else {})


def hashed(data: Dataset) -> str:
    """Of everything that is known without decoding: the photos may be many."""
    return report.content_hash([a.source for a in data.annotations], *(a.boxes for a in data.annotations))


def map_source(
    options: Options, protocol: Protocol, net: Network | None, class_of: Mapping[str, int], linear: LinearMap | None
) -> MapSource | None:
    if options.maps:
        return folder_source(options.maps)
    if net is None:
        return None
    name, recipe = recipe_of(options, protocol, linear)

    def maps(data: Dataset, wanted: Samples, indices: np.ndarray) -> np.ndarray:
        photos, targets = wanted.images[indices], None
        back = np.arange(len(indices))
        if protocol.target == "label":
            unknown = [wanted.labels[i] for i in indices if wanted.labels[i] not in class_of]
            if unknown:
                raise InputError(
                    f"{net.name} has no class {unknown[0]!r}: give --classes, or a protocol without labels"
                )
            targets = np.array([class_of[wanted.labels[i]] for i in indices])
        else:  # the objects of a photo share its map
            photos, back = np.unique(photos, return_inverse=True)
        x = net.preprocess([data.images[i] for i in photos])
        stack = [method.maps(net, x, target=targets, options=settings) for method, settings in recipe]
        return (stack[0] if len(stack) == 1 else np.stack(stack, axis=1))[back]

    def placement(photo: tuple[int, int], size: tuple[int, int]) -> Placement:
        placed = net.preprocess.placement(photo)
        ratio = (size[1] / placed.input[1], size[0] / placed.input[0])
        scale, offset = ((pair[0] * ratio[0], pair[1] * ratio[1]) for pair in (placed.scale, placed.offset))
        return Placement(photo, size, scale, offset)

    said = {
        "method": name,
        "network": net.name,
        "weights": net.digest,
        "preprocessing": report.plain(net.preprocess.record()),
    }
    return MapSource(name, maps, placement, said)


def recipe_of(
    options: Options, protocol: Protocol, linear: LinearMap | None
) -> tuple[str, list[tuple[Method, MethodOptions]]]:
    """The methods' names, stacked, and each with its options: a linear map's own, unless a method is given."""
    if linear is None or options.method or "method" not in linear.source:
        name = options.method or protocol.method
        return name, [(METHODS[part], options.settings) for part in known_methods(name)]
    name = str(linear.source["method"])
    methods, stated = [METHODS[part] for part in known_methods(name)], linear.source.get("options", {})
    each = stated if isinstance(stated, list) else [stated] * len(methods)
    with refusing(options.bundle or "", "does not say how its maps were made; give --method"):
        return name, [(method, as_stated(own)) for method, own in zip(methods, each, strict=True)]


def as_stated(options: Mapping[str, Any]) -> MethodOptions:
    """Options as JSON holds them."""
    fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in options.items()}
    return MethodOptions(**fields)


def folder_source(folder: Path) -> MapSource:
    """Another tool's maps, each stretched over its whole photo."""

    def maps(data: Dataset, wanted: Samples, indices: np.ndarray) -> np.ndarray:
        found = [one_map(folder, data.annotations[wanted.images[i]].source) for i in indices]
        shapes = {map.shape for map in found}
        if len(shapes) > 1:
            raise InputError(f"{folder}: maps must be of one size to be learned from, not of {sorted(shapes)}")
        return np.stack(found)

    def placement(photo: tuple[int, int], size: tuple[int, int]) -> Placement:
        return Placement(photo, size, (size[1] / photo[1], size[0] / photo[0]), (0.0, 0.0))

    return MapSource(folder.name, maps, placement)


def one_map(folder: Path, source: str) -> np.ndarray:
    path = inside(folder, f"{source}.npy")
    if not path.is_file():
        raise InputError(f"{path}: no such file; every image needs a map of its name")
    return read_map(path)


def chunks(n: int, note: str, quiet: bool) -> Iterator[np.ndarray]:
    for first in tqdm(range(0, n, CHUNK), desc=note, unit=f"{CHUNK} photos", disable=cli.silent(quiet)):
        yield np.arange(first, min(first + CHUNK, n))


def at_most(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return pooled(maps.astype(np.float32), [min(own, most) for own, most in zip(maps.shape[-2:], size)])


def boxes_of_maps(
    source: MapSource,
    options: Options,
    test: Dataset,
    wanted: Samples,
    train: Dataset | None,
    learned: Samples | None,
    linear: LinearMap | None,
) -> np.ndarray:
    """Each sample's box in its photo's pixels; NaN where the map says nothing."""
    predict: Callable[[np.ndarray], np.ndarray]
    if linear:
        size, predict = linear.size, partial(linear.predict, source=source.record)
    elif train is None or learned is None:
        raise InputError("nothing to learn boxes from: give --train-split, or a linear map as --bundle")
    else:
        parts, known, size = [], [], options.map_size
        for indices in chunks(len(learned), "training maps", options.quiet):
            parts.append(at_most(source.maps(train, learned, indices), size))
            for i in indices:
                photo = train.annotations[learned.images[i]].size
                known.append(to_input(learned.largest[i], source.placement(photo, parts[-1].shape[-2:])))
        maps, boxes = np.concatenate(parts), np.array(known)
        usable = status(maps) == "ok"
        fit = fit_heuristic if options.route == "heuristic" else fit_linear_map
        predict = fit(maps[usable], boxes[usable], seed=options.settings.seed).predict
    found = np.full((len(wanted), 4), np.nan)
    for indices in chunks(len(wanted), "maps", options.quiet):
        maps = at_most(source.maps(test, wanted, indices), size)
        boxes = np.where((status(maps) == "ok")[:, None], predict(maps), np.nan)
        for i, box in zip(indices, boxes):
            photo = test.annotations[wanted.images[i]].size
            found[i] = to_photo(box, source.placement(photo, maps.shape[-2:]))
    return found


def boxes_of_csv(path: Path, data: Dataset, wanted: Samples) -> np.ndarray:
    """By image and label where the file has labels, else by image; a sample without a row counts as a miss."""
    shown = [data.annotations[i] for i in wanted.images]
    names, photos = [one.source for one in shown], [one.size for one in shown]
    return boxes_of(read_boxes(path), names, wanted.labels, photos, source=path).boxes


def sizes(data: Dataset, wanted: Samples) -> np.ndarray:
    return np.array([data.annotations[i].size for i in wanted.images], float)


def cropped_away(net: Network, data: Dataset, wanted: Samples) -> int:
    """Samples of which no true box is in the network's input at all."""
    photos = (data.annotations[i].size for i in wanted.images)
    return sum(not visible(true, net.preprocess.placement(photo)).any() for photo, true in zip(photos, wanted.true))


def baseline_boxes(
    test: Dataset, wanted: Samples, train: Dataset | None, learned: Samples | None
) -> dict[str, np.ndarray]:
    if train is None or learned is None:
        return {"full photo": sizes(test, wanted)[:, [1, 0, 1, 0]] * [0, 0, 1, 1]}
    return baselines(learned, sizes(train, learned), wanted, sizes(test, wanted))


def predicted_right(net: Network, class_of: Mapping[str, int], data: Dataset, wanted: Samples) -> np.ndarray:
    said = [
        predicted(net, net.preprocess([data.images[wanted.images[i]] for i in indices]))
        for indices in chunks(len(wanted), "classes", quiet=True)
    ]
    return np.concatenate(said) == np.array([class_of.get(label, -1) for label in wanted.labels])


def threshold_figures(
    source: MapSource,
    options: Options,
    protocol: Protocol,
    test: Dataset,
    wanted: Samples,
    train: Dataset | None,
    learned: Samples | None,
) -> dict[str, Any]:
    """The oracle's figure and, where there are training photos, the one whose thresholds come from those."""

    def accuracy(data: Dataset, of: Samples) -> BoxAccuracy:
        def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for i in tqdm(range(len(of)), unit="map", disable=cli.silent(options.quiet)):
                map = source.maps(data, of, np.array([i]))[0]
                yield map, to_input(of.true[i], source.placement(data.annotations[of.images[i]].size, map.shape))

        return box_accuracy(pairs(), v2=protocol.name == "maxboxacc-v2", compatible=protocol.name == "wsol")

    scored = accuracy(test, wanted)
    results = {"oracle threshold": scored.oracle(options.settings.seed)}
    thresholds = {"oracle threshold": [scored.thresholds[i] for i in scored.chosen]}
    if train is not None and learned is not None:
        other = accuracy(train, learned)
        results["threshold from training photos"] = scored.transferred(other, options.settings.seed)
        thresholds["threshold from training photos"] = [scored.thresholds[i] for i in other.chosen]
    return {"figures": results, "thresholds": thresholds, "curve": scored.hits.mean(0)}


def box_figures(
    found: Mapping[str, np.ndarray],
    protocol: Protocol,
    wanted: Samples,
    small: np.ndarray,
    right: np.ndarray | None,
    seed: int,
) -> dict[str, Any]:
    """Figures of every method, overall and of the `small` samples, and of each against the last, the one that is
    evaluated."""
    labels, images, true = np.array(wanted.labels), wanted.images, wanted.true
    classes = labels if protocol.mean_over == "classes" else None

    def figure(boxes: np.ndarray, of: np.ndarray, strict: bool) -> Estimate | None:
        if not len(of):
            return None
        own = [true[i] for i in of]
        if right is not None:
            return top1_loc(boxes[of], own, right[of], strict=strict, seed=seed)
        named = None if classes is None else classes[of]
        return corloc(boxes[of], own, named, images=images[of], strict=strict, seed=seed)

    everything, few = np.arange(len(wanted)), np.flatnonzero(small)
    rows, hit = [], {}
    for method, boxes in found.items():
        whole = figure(boxes, everything, protocol.strict)
        other = figure(boxes, everything, not protocol.strict)
        assert whole is not None and other is not None
        hit[method] = hits(best_iou(boxes, true), strict=protocol.strict)
        rows.append(
            {
                "method": method,
                "figure": whole,
                "equality_the_other_way": None if other.value == whole.value else other,
                "small": figure(boxes, few, protocol.strict),
                "mean_iou": mean_iou(boxes, true, classes, images=images, seed=seed),
                "classes": corloc_by_class(boxes, true, labels, images=images, strict=protocol.strict, seed=seed),
            }
        )

    def difference(of: np.ndarray, one: str, other: str) -> Estimate:
        named = None if classes is None else classes[of]
        return paired_difference(hit[one][of], hit[other][of], clusters=images[of], classes=named, seed=seed)

    *others, last = hit
    compared = [
        {
            "method": last,
            "against": method,
            "difference": difference(everything, last, method),
            "small": difference(few, last, method) if 0 < len(few) < len(wanted) else None,
            "mcnemar": mcnemar_exact(hit[last], hit[method]),
        }
        for method in others
    ]
    published = list(published_rows(protocol.name, set(wanted.labels)))
    return {"rows": rows, "paired": compared, "published": published}


def table(results: Mapping[str, Any]) -> tuple[list[str], list[list[object]]]:
    """Percent: each method's mean with its interval and, of up to 20 classes, each one's; then the published rows."""
    if "figures" in results:
        thresholds = results["thresholds"]
        return ["threshold", "accuracy", "95% interval", "chosen"], [
            [name, 100 * figure.value, interval(figure), " ".join(f"{t:.2f}" for t in thresholds[name])]
            for name, figure in results["figures"].items()
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


def as_text(column: str, value: object) -> object:
    """Numbers of other than one decimal are text to `tables`."""
    return f"{value:.{PLACES[column]}f}" if column in PLACES and value is not None else value


def differences(results: Mapping[str, Any]) -> Iterator[str]:
    """What is evaluated against each baseline on the same samples, as lines for a terminal."""
    for row in results.get("paired", ()):
        few = f"; small {points(row['small'])}" if row["small"] else ""
        p = row["mcnemar"].p
        yield f"{row['method']} minus {row['against']}: {points(row['difference'])}, McNemar p {p:.1g}{few}"


def points(difference: Estimate) -> str:
    return f"{100 * difference.value:+.1f} [{100 * difference.low:.1f}, {100 * difference.high:.1f}]"


def interval(figure: Estimate) -> str:
    return f"{100 * figure.low:.1f}-{100 * figure.high:.1f}"


def image_rows(
    found: Mapping[str, np.ndarray], protocol: Protocol, data: Dataset, wanted: Samples
) -> Iterator[dict[str, object]]:
    for method, boxes in found.items():
        overlaps = best_iou(boxes, wanted.true)
        for i, image in enumerate(wanted.images):
            corners = boxes[i].round(3).tolist()
            source, correct = data.annotations[image].source, hits(overlaps[i], strict=protocol.strict)
            values = (source, wanted.labels[i], method, *corners, overlaps[i].round(4), bool(correct))
            yield dict(zip(IMAGE_COLUMNS, values))


def write_page(
    out: Path,
    found: Mapping[str, np.ndarray],
    data: Dataset,
    wanted: Samples,
    results: Mapping[str, Any],
    origin: Mapping[str, object],
) -> None:
    """The table, and the last method's boxes: sampled in each class, the best, the worst."""
    method, boxes = list(found.items())[-1]
    overlaps = best_iou(boxes, wanted.true)
    order = np.argsort(-overlaps, kind="stable")
    rng = np.random.default_rng(0)
    labels = np.array(wanted.labels)
    of_class = [np.flatnonzero(labels == label) for label in dict.fromkeys(sorted(wanted.labels))][:20]
    chosen = {
        "samples": np.concatenate([rng.permutation(members)[: max(2, 16 // len(of_class))] for members in of_class]),
        "best": order[:8],
        "worst": order[::-1][:8],
    }
    pictures = {}
    for name, indices in chosen.items():
        photos = [data.images[wanted.images[i]] for i in indices]
        titles = [f"{wanted.labels[i]}  IoU {overlaps[i]:.2f}" for i in indices]
        plot = figures.cases(photos, [wanted.true[i] for i in indices], [boxes[i] for i in indices], titles)
        pictures[name] = report.png(plot)
        report.write_bytes(out / "pictures" / f"{name}.png", pictures[name])
    columns, rows = table(results)
    captions = {
        "samples": "Photos drawn at random from each class.",
        "best": "The best overlaps.",
        "worst": "The worst overlaps.",
    }
    compared = []
    for row in results["paired"]:
        difference = row["difference"]
        name = f"{row['method']} minus {row['against']}"
        few = [100 * row["small"].value, interval(row["small"])] if row["small"] else []
        compared.append([name, 100 * difference.value, interval(difference), row["mcnemar"].p, *few])
    sections = [
        report.Section("Figures", results["protocol"].summary, [
            report.Table(columns, rows, decimals=[PLACES.get(column, 1) for column in columns])
        ]),
        report.Section(f"Boxes of {method}", "Green: true, red: predicted.", figures=[
            report.Figure(picture, captions[name]) for name, picture in pictures.items()
        ]),
    ]  # fmt: skip
    if compared:
        headings = ["difference", "points", "95% interval", "McNemar p", *SMALL][: len(compared[0])]
        against = report.Table(headings, compared, decimals=[None, 1, None, None, 1, None])
        sections.insert(1, report.Section("On the same samples", tables=[against]))
    lead = f"{results['photos']:,} photos, {results['samples']:,} samples, protocol {results['protocol'].name}"
    if SMALL[0] in columns:
        lead += f"; small are {results['small_samples']:,}, whose largest box covers less than half of the photo"
    if results["cropped_away"]:
        lead += f"; the network's crop hides {results['cropped_away']:,} samples' boxes wholly"
    report.write_page(out / "report.html", results["dataset"], lead, sections, origin)


if __name__ == "__main__":
    cli.run(main, tyro.cli(Options))
