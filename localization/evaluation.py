"""Boxes scored on a data set by a named protocol: from a file, from maps, or from a network's maps.

    result = evaluate(load("voc", "VOC2007", split="test"), boxes="mine.csv")
    print(result.table())
    result.save("runs/mine")

What may be learned from (a linear map or heuristic, thresholds, baseline boxes) is learned on training photos alone, or
in folds; photos that are scored are never among them, whatever their files are called.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Int

from localization.boxes import below_half, to_input, visible
from localization.boxes_file import FORMATS, FoundBoxes, boxes_of, read_boxes
from localization.channels import READERS
from localization.datasets.dataset import Dataset, Progress
from localization.detection import average_precision, recall_at
from localization.map_sources import MapSource, Recipe, folder_maps, known_methods, network_maps, recipe_of
from localization.maxboxacc import BoxAccuracy, box_accuracy
from localization.metrics import best_iou, corloc, corloc_by_class, hits, mean_iou, top1_loc
from localization.protocols import MAP_PROTOCOLS, PROTOCOLS, Protocol, Samples, baselines, samples
from localization.published import published_rows
from localization.regression import CoverageMap, LinearMap, bundle_hash, load_bundle
from localization.report import evaluated
from localization.routes import HEURISTIC, LINEAR, Route
from localization.source_boxes import CHUNK, Bundle, Photos, Several, boxes_of_source, map_size_of, size_of, sizes_of
from localization.statistics import Estimate, bootstrap, mcnemar_exact, paired_difference
from saliency._checks import function, kind_of, one_of, whole
from saliency._files import check_writable
from saliency.errors import InputError
from saliency.methods import Options as MethodOptions
from saliency.models.classes import ClassList, Match, match_labels, read_classes
from saliency.models.network import Network
from saliency.report.entry import entry_words
from saliency.report.record import content_hash, plain, record
from saliency.scores import class_count, predicted, require_classes

Classes = Path | str | Sequence[str] | ClassList


@dataclass(frozen=True)
class EvaluationOptions:
    """How boxes are scored, and how they are made from maps."""

    protocol: str = "corloc"
    """corloc, paper-voc07, paper-imagenet, gt-known, top1-loc, maxboxacc, maxboxacc-v2 or wsol."""
    difficult: bool = False
    """Objects marked difficult count as targets too."""
    truncated: bool = True
    """Objects marked truncated count as targets."""
    folds: int = 0
    """Learn in so many folds of the photos that are scored, each scored by what the others taught; 0 does not."""
    method: str | None = None
    """How a network's maps are made, a name of `saliency.METHODS`; A+B stacks two (default: the protocol's). Or what is
    read without a map, "channels" or "class channels", by itself or beside maps: channels+A."""
    route: Route | None = None
    """What is learned on the training photos, where no saved map to boxes is given: the linear map, Eq. 4 (each pixel
    its own weights, as in the paper) or the heuristic (default: the protocol's)."""
    target: Literal["predicted", "label"] | None = None
    """Class that maps and class channels are of: the predicted one, or each sample's label, so that the box is that of
    the class asked for (default: the protocol's)."""
    layers: tuple[str, ...] = ()
    """Layers whose channels are read, where `method` has channels (default: `localization.channels.layers_of`)."""
    several: int = 0
    """Also find so many boxes a sample, scored by recall and average precision; 0 does not."""
    map_size: tuple[int, int] = (56, 56)
    """Rows and columns that maps are pooled to before anything is learned from them."""
    settings: MethodOptions = field(default_factory=MethodOptions)
    """What the methods share; its seed is every seed here."""

    @property
    def seed(self) -> int:
        return self.settings.seed

    def check(self) -> None:
        """InputError for a value that is none."""
        one_of("protocol", self.protocol, PROTOCOLS)
        if self.route is not None:
            one_of("route", self.route, get_args(Route))
        if self.target is not None:
            one_of("target", self.target, ("predicted", "label"))
        for name in ("difficult", "truncated"):
            kind_of(name, getattr(self, name), bool, "whether such objects count")
        whole("folds", self.folds)
        if self.folds == 1:
            raise InputError("folds must be 0 or at least 2, not 1: with one there is nothing left to learn from")
        kind_of("map_size", self.map_size, tuple, "(rows, columns)")
        if len(self.map_size) != 2:
            raise InputError(f"map_size must be (rows, columns), not {self.map_size}")
        for side in self.map_size:
            whole("map_size", side, least=1)
        kind_of("settings", self.settings, MethodOptions, "the options of the methods")
        several = len(known_methods(self.method)) > 1 if self.method else False
        if several and (self.protocol in MAP_PROTOCOLS or self.route == HEURISTIC):
            raise InputError(f"`method` {self.method}: only a linear map takes several methods at once; give one")
        kind_of("layers", self.layers, tuple, "names of layers")
        whole("several", self.several)
        if self.method and self.protocol in MAP_PROTOCOLS and set(known_methods(self.method)) & set(READERS):
            raise InputError(f"`protocol` {self.protocol} scores maps, and `method` {self.method} has channels, no map")
        if self.several and PROTOCOLS[self.protocol].each != "class":
            raise InputError("`several` boxes are for protocols whose samples are a photo and a class")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """`results` is all that is written as JSON. `found` holds boxes float `[n, 4]` in pixels of the photos, by method,
    of the n `samples` of `data`; empty where maps are scored by thresholds. `right` says whether each sample's class
    is predicted right, where the protocol asks for that."""

    results: Mapping[str, Any]
    data: Dataset
    samples: Samples
    found: Mapping[str, np.ndarray]
    right: Bool[np.ndarray, " n"] | None = None

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row a method (or a choice of threshold), as JSON holds it, with `Estimate`s as objects of numbers."""
        return plain(self.results["rows"] if "rows" in self.results else evaluated.threshold_rows(self.results))

    @property
    def notes(self) -> list[str]:
        """What was repaired or left out while the photos were read, each as one line."""
        return list(self.results["notes"])

    def table(self) -> str:
        """Everything for a terminal: what was scored, the figures, differences, what was left out."""
        return evaluated.text(self.results)

    def save(self, folder: Path | str, *, command: str = "") -> Path:
        """Write results.json, report.html, tables, images.csv and pictures; gives the path of results.json.

        `command` is the command line, where there was one. Raises InputError where nothing can be written.
        """
        check_writable(Path(folder))
        results = {**self.results, "command": command}
        return evaluated.write(Path(folder), results, self.data, self.samples, self.found, self.right)

    def _repr_html_(self) -> str:
        return evaluated.notebook(self.results, self.data, self.samples, self.found)


def evaluate(
    data: Dataset,
    *,
    boxes: Path | str | None = None,
    box_format: str | None = None,
    maps: Path | str | None = None,
    net: Network | None = None,
    linear: Bundle | Path | str | None = None,
    classes: Classes | None = None,
    train: Dataset | None = None,
    options: EvaluationOptions | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Score boxes on `data`, beside baselines that look at no photo.

    Boxes come from one of: `boxes`, a CSV image,x0,y0,x1,y1 and perhaps label, in `box_format` (see
    `localization.boxes_file`); `maps`, a folder with an .npy for each image id (see `localization.external`); `net`,
    whose maps are made by `options.method`. Without any the baselines alone are scored. Maps become boxes by `linear`,
    a fitted linear map, a coverage map of maps, or the file of one, which knows how its maps were made, or by what is
    learned on `train` or in `options.folds`. `classes` names the network's classes where its checkpoint does not, as
    `load_network` takes them.

    A photo that cannot be decoded is left out with a note; `strict` stops there. `progress` is called with
    (done, total) of the photos, then of the maps. Raises InputError for arguments that do not fit together, before any
    map is made.
    """
    options = EvaluationOptions() if options is None else options
    _check(data, boxes, maps, net, linear, train, options, progress)
    protocol = PROTOCOLS[options.protocol]
    linear = load_bundle(linear) if isinstance(linear, Path | str) else linear
    if linear is not None:
        map_size_of(linear)
    known = classes if classes is None or isinstance(classes, ClassList) else read_classes(classes)
    if box_format is not None:
        one_of("box_format", box_format, FORMATS)
    learns = boxes is None and (maps is not None or net is not None) and linear is None
    if learns and protocol.name not in MAP_PROTOCOLS and not (train or options.folds or protocol.shares):
        raise InputError("nothing to learn boxes from: give `train`, `folds`, or a fitted linear map as `linear`")
    scored, learned_from = _contents(data, train, protocol, options, strict, progress)
    photos = _photos(scored, learned_from, protocol, options)
    inputs: dict[str, Any] = {"photos": scored.digest, "training photos": learned_from.digest if learned_from else None}
    results: dict[str, Any] = {}
    found: dict[str, np.ndarray] = {}
    right = None
    match = _match(net, known, photos.samples) if net else None
    if net is not None and match is not None and protocol.name == "top1-loc":
        require_classes(net)
    source = None
    if maps is not None:
        source, inputs["maps"] = folder_maps(Path(maps), [(photos.data, photos.samples), *photos.training])
    elif net is not None:
        recipe = recipe_of(options.method, options.settings, protocol.method, linear, options.layers)
        _check_channels(linear, recipe)
        target = options.target or protocol.target
        index_of = _index_of(net, known, photos) if target == "label" else {}
        source = network_maps(net, recipe, target, index_of)
        inputs["network"] = net.digest
    if linear is not None:
        inputs["linear"] = bundle_hash(linear)
    if protocol.name in MAP_PROTOCOLS:
        assert source is not None  # checked
        results |= _threshold_figures(source, options, photos, progress)
    else:
        found = _baseline_boxes(photos)
        small = below_half(photos.samples.largest, photos.sizes)
        results["small_samples"] = int(small.sum())
        if boxes is not None:
            read, inputs["boxes"] = _boxes_of_file(Path(boxes), photos, box_format)
            found[Path(boxes).stem] = read.boxes
            results["boxes_notes"] = list(read.notes)
        elif source is not None:
            found[source.name], several = boxes_of_source(
                source, photos, route=options.route or protocol.route, bundle=linear, map_size=options.map_size,
                several=options.several, seed=options.seed, progress=progress,
            )  # fmt: skip
            results["route"] = options.route or protocol.route if linear is None else "saved"
            if options.several:
                results["several"] = _several(several, photos.samples, options.several)
        if net is not None and match is not None and (protocol.name == "top1-loc" or _classifies(net, match)):
            said = _predicted_right(net, match.indices, photos, progress)
            results["class_accuracy"] = bootstrap(said, clusters=photos.samples.images, seed=options.seed)
            results["labels"] = match.describe()
            right = said if protocol.name == "top1-loc" else None
        results |= _box_figures(found, protocol, photos, small, right, options.seed)
    origin = record({"options": options, "strict": strict}, options.seed, content_hash(inputs))
    return Evaluation(
        {
            **origin,
            "protocol": protocol,
            "dataset": f"{data.name} {data.split}",
            "photos": len(photos.data),
            "samples": len(photos.samples),
            "training": _training(photos),
            "source": dict(source.record) if source is not None else {},
            "notes": [str(note) for note in photos.data.notes],
            "summary": photos.data.summary(),
            "labels": "",
            "entry": entry_words(net.preprocess, [a.size for a in photos.data.annotations]) if net else "",
            "boxes_notes": [],
            "cropped_away": cropped_away(net, photos.data, photos.samples) if net else 0,
            **results,
        },
        photos.data,
        photos.samples,
        found,
        right,
    )


def _check_channels(bundle: Bundle | None, recipe: Recipe) -> None:
    """InputError for a coverage map of channels where none are read."""
    if isinstance(bundle, CoverageMap) and recipe.reader is None and any(len(shape) != 2 for shape in bundle.shapes):
        said = ", ".join("x".join(map(str, shape)) for shape in bundle.shapes)
        raise InputError(
            f"`linear`: a coverage map of features {said} cannot be applied to maps of a method alone;"
            " `method` channels reads such features"
        )


def _several(found: Sequence[Several], of: Samples, k: int) -> dict[str, Any]:
    """Recall at 1 and k boxes of all true boxes, average precision of each class among the samples that show it."""
    labels = np.array(of.labels)
    boxes, scores = [own for own, _ in found], [own for _, own in found]
    rows = []
    for label in sorted(set(of.labels)):
        own = np.flatnonzero(labels == label)
        parts = [[array[i] for i in own] for array in (boxes, scores, of.true)]
        recalls = {f"recall_at_{count}": recall_at(parts[0], parts[2], count) for count in (1, k)}
        rows.append({"class": label, "true": sum(map(len, parts[2])), "ap": average_precision(*parts), **recalls})
    return {
        "k": k,
        "mean_ap": float(np.mean([row["ap"] for row in rows])),
        **{f"recall_at_{count}": recall_at(boxes, of.true, count) for count in (1, k)},
        "classes": rows,
    }


def cropped_away(net: Network, data: Dataset, samples: Samples) -> int:
    """Samples of which no true box is in the network's input at all."""
    photos = (data.annotations[i].size for i in samples.images)
    return sum(not visible(true, net.preprocess.placement(photo)).any() for photo, true in zip(photos, samples.true))


def _check(
    data: Dataset,
    boxes: Path | str | None,
    maps: Path | str | None,
    net: Network | None,
    linear: Bundle | Path | str | None,
    train: Dataset | None,
    options: EvaluationOptions,
    progress: Progress | None,
) -> None:
    kind_of("options", options, EvaluationOptions, "or None for the default ones")
    options.check()
    kind_of("data", data, Dataset, "as localization.datasets.load gives it")
    if train is not None:
        kind_of("train", train, Dataset, "as localization.datasets.load gives it")
    if net is not None:
        kind_of("net", net, Network, "as load_network gives it")
    function("progress", progress, "(done, total)")
    given = [name for name, value in (("boxes", boxes), ("maps", maps), ("net", net)) if value is not None]
    for name, value in (("boxes", boxes), ("maps", maps)):
        if value is not None and not isinstance(value, Path | str):
            raise InputError(f"{name} must be a path, not {type(value).__name__}")
    if linear is not None and not isinstance(linear, LinearMap | CoverageMap | Path | str):
        raise InputError(
            f"linear must be a LinearMap, a CoverageMap or the path of a saved one, not {type(linear).__name__}"
        )
    if len(given) > 1:
        raise InputError(f"`{given[0]}` and `{given[1]}` exclude each other: score one at a time")
    if options.several and (isinstance(linear, LinearMap) or given not in (["maps"], ["net"])):
        raise InputError("`several` boxes are found in maps or channels by coverage: give `maps` or `net`")
    route = options.route or PROTOCOLS[options.protocol].route
    if linear is None and route != LINEAR:
        if options.several:
            raise InputError(f"`several` boxes are found by `route` {LINEAR!r}, not by {route!r}")
        if options.method and set(known_methods(options.method)) & set(READERS):
            raise InputError(
                f"`method` {options.method} has channels, whose boxes come by `route` {LINEAR!r}, not by {route!r}"
            )
    if linear is not None and given != ["net"]:
        raise InputError("`linear` needs `net`, whose maps it applies to")
    if options.folds and (train is not None or PROTOCOLS[options.protocol].shares):
        raise InputError("`folds` and training photos exclude each other: folds learn on the photos that are scored")
    if options.protocol in MAP_PROTOCOLS and given not in (["maps"], ["net"]):
        raise InputError(f"`protocol` {options.protocol} scores maps: give `maps` or `net`")
    if options.protocol == "top1-loc" and given != ["net"]:
        raise InputError("`protocol` top1-loc needs `net`, whose class has to be right")


def _contents(
    data: Dataset,
    train: Dataset | None,
    protocol: Protocol,
    options: EvaluationOptions,
    strict: bool,
    progress: Progress | None,
) -> tuple[Dataset, Dataset | None]:
    """The photos that are scored and, apart from those, the ones that may be learned from."""
    learned, scored = train, data
    if protocol.shares and train is None:
        learned, scored, _ = data.split_by(protocol.shares, options.seed)
    own = scored.decodable(strict=strict, progress=progress)
    if learned is None:
        return own, None
    return own, learned.decodable(strict=strict, progress=progress).without(own)


def _photos(data: Dataset, other: Dataset | None, protocol: Protocol, options: EvaluationOptions) -> Photos:
    def chosen(data: Dataset) -> Samples:
        return samples(data, protocol.each, difficult=options.difficult, truncated=options.truncated)

    wanted = chosen(data)
    if options.folds:
        shown = _alike(wanted, data)
        return Photos(data, wanted, data, wanted, _folds(shown, options), shown)
    if other is None:
        return Photos(data, wanted, None, None, [], np.empty(0, int))
    learned = chosen(other)
    parts = [(np.arange(len(learned)), np.arange(len(wanted)))]
    return Photos(data, wanted, other, learned, parts, _alike(learned, other))


def _alike(of: Samples, data: Dataset) -> Int[np.ndarray, " n"]:
    """A number for each sample's photo; photos that show the same have one number."""
    hashes = np.array(data.hashes or ())
    return np.unique(hashes[of.images], return_inverse=True)[1]


def _folds(shown: Int[np.ndarray, " n"], options: EvaluationOptions) -> list[tuple[np.ndarray, np.ndarray]]:
    """The samples of the other folds, and of the fold; photos that show the same are in one fold."""
    count = int(shown.max()) + 1
    if options.folds > count:
        raise InputError(f"folds must be at most the {count} photos with boxes that count, not {options.folds}")
    fold_of = np.random.default_rng(options.seed).permutation(np.arange(count) % options.folds)[shown]
    return [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(options.folds)]


def _training(photos: Photos) -> dict[str, Any] | None:
    """What was learned from, for the record and the page."""
    if photos.train is None or photos.learned is None:
        return None
    if photos.folded:
        return {"folds": len(photos.parts)}
    return {
        "dataset": f"{photos.train.name} {photos.train.split}",
        "photos": len(photos.train),
        "samples": len(photos.learned),
        "notes": [str(note) for note in photos.train.notes],
        "summary": photos.train.summary(),
    }


def _match(net: Network, classes: ClassList | None, of: Samples) -> Match:
    return match_labels(of.labels, net.classes if classes is None else classes)


def _classifies(net: Network, match: Match) -> bool:
    """Whether the network can be right or wrong: it has several classes, of which one is a label of the samples."""
    return class_count(net.architecture) > 1 and bool((match.indices >= 0).any())


def _index_of(net: Network, classes: ClassList | None, photos: Photos) -> dict[str, int]:
    """The network's class of every label; InputError where one has none, for then there is no map to make."""
    index_of: dict[str, int] = {}
    for own in (photos.samples, photos.learned):
        if own is not None:
            match = _match(net, classes, own)
            if match.missed:
                first = [*match.unknown, *match.ambiguous][0]
                raise InputError(
                    f"{net.name} has no class {first!r}: {match.describe()}; name its classes by `classes`, keep other"
                    " labels, or take a protocol that explains the predicted class"
                )
            index_of |= {label: int(i) for label, i in zip(own.labels, match.indices)}
    return index_of


def _boxes_of_file(path: Path, photos: Photos, box_format: str | None) -> tuple[FoundBoxes, str]:
    """Each sample's box, and the file's hash; a sample without a row counts as a miss."""
    data, of = photos.data, photos.samples
    images = [data.annotations[i].source for i in of.images]
    sizes = [data.annotations[i].size for i in of.images]
    rows = read_boxes(path, box_format)
    return boxes_of(rows, images, of.labels, sizes, source=path, box_format=box_format), content_hash(path.read_bytes())


def _baseline_boxes(photos: Photos) -> dict[str, np.ndarray]:
    """Boxes that look at no photo, by name, of every sample."""
    if photos.train is None or photos.learned is None:
        return {"full photo": photos.sizes[:, [1, 0, 1, 0]] * [0, 0, 1, 1]}
    sizes = sizes_of(photos.train, photos.learned)
    found: dict[str, np.ndarray] = {}
    for learned, scored in photos.parts:
        own = photos.samples.select(scored)
        part = baselines(photos.learned.select(learned), sizes[learned], own, photos.sizes[scored])
        for name, boxes in part.items():
            found.setdefault(name, np.empty((len(photos.samples), 4)))[scored] = boxes
    return found


def _predicted_right(
    net: Network, indices: Int[np.ndarray, " n"], photos: Photos, progress: Progress | None
) -> Bool[np.ndarray, " n"]:
    """Whether the class of the largest logit is the sample's label; no class is right for a label that is none."""
    images = photos.samples.images
    shown = np.unique(images)
    said = np.full(len(photos.data), -2)
    for first in range(0, len(shown), CHUNK):
        own = shown[first : first + CHUNK]
        said[own] = predicted(net, net.preprocess([photos.data.images[i] for i in own]))
        if progress is not None:
            progress(first + len(own), len(shown))
    return said[images] == indices


def _threshold_figures(
    source: MapSource, options: EvaluationOptions, photos: Photos, progress: Progress | None
) -> dict[str, Any]:
    """The oracle's figure and, where there are training photos, the one whose thresholds come from those."""
    protocol = options.protocol

    def accuracy(data: Dataset, of: Samples) -> BoxAccuracy:
        def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for i in range(len(of)):
                assert source.maps is not None  # checked
                (map,) = source.maps(data, of, np.array([i]))
                yield map, to_input(of.true[i], source.placement(size_of(data, of, i), (map.shape[0], map.shape[1])))
                if progress is not None:
                    progress(i + 1, len(of))

        return box_accuracy(pairs(), v2=protocol == "maxboxacc-v2", compatible=protocol == "wsol")

    scored = accuracy(photos.data, photos.samples)
    results = {"oracle threshold": scored.oracle(options.seed)}
    thresholds = {"oracle threshold": [scored.thresholds[i] for i in scored.chosen]}
    if photos.train is not None and photos.learned is not None:
        other = scored if photos.folded else accuracy(photos.train, photos.learned)
        name = "threshold from other folds" if photos.folded else "threshold from training photos"
        chosen = [other.select(learned).chosen for learned, _ in photos.parts]
        results[name] = scored.at_parts([part for _, part in photos.parts], chosen, options.seed)
        thresholds[name] = (
            [scored.thresholds[i] for i in sorted({int(i) for own in chosen for i in own})]
            if (photos.folded)
            else [scored.thresholds[i] for i in chosen[0]]
        )
    return {"figures": results, "thresholds": thresholds, "curve": scored.hits.mean(0)}


def _box_figures(
    found: Mapping[str, np.ndarray],
    protocol: Protocol,
    photos: Photos,
    small: Bool[np.ndarray, " n"],
    right: Bool[np.ndarray, " n"] | None,
    seed: int,
) -> dict[str, Any]:
    """Figures of every method, overall and of the `small` samples, and of each against the last, the one that is
    evaluated."""
    labels, images, true = np.array(photos.samples.labels), photos.samples.images, photos.samples.true
    classes = labels if protocol.mean_over == "classes" else None

    def figure(boxes: np.ndarray, of: np.ndarray, strict: bool) -> Estimate | None:
        if not len(of):
            return None
        own = [true[i] for i in of]
        if right is not None:
            return top1_loc(boxes[of], own, right[of], strict=strict, seed=seed)
        named = None if classes is None else classes[of]
        return corloc(boxes[of], own, named, images=images[of], strict=strict, seed=seed)

    everything, few = np.arange(len(true)), np.flatnonzero(small)
    rows, hit = [], {}
    for method, boxes in found.items():
        overall = figure(boxes, everything, protocol.strict)
        other = figure(boxes, everything, not protocol.strict)
        assert overall is not None and other is not None
        hit[method] = hits(best_iou(boxes, true), strict=protocol.strict)
        if right is not None:  # as the figures, or they would differ by more than the figures do
            hit[method] &= right
        rows.append(
            {
                "method": method,
                "figure": overall,
                "equality_the_other_way": None if other.value == overall.value else other,
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
            "small": difference(few, last, method) if 0 < len(few) < len(true) else None,
            "mcnemar": mcnemar_exact(hit[last], hit[method]),
        }
        for method in others
    ]
    published = list(published_rows(protocol.name, set(photos.samples.labels)))
    return {"rows": rows, "paired": compared, "published": published}
