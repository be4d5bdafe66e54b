"""The main job: the same photos through every method, its boxes, figures and cost."""

import os
import re
import shutil
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from localization.boxes_file import FORMATS, FoundBoxes
from localization.comparison.boxes import (
    BASELINES,
    HEURISTIC,
    STACKED,
    Fit,
    baselines,
    external_boxes,
    given,
    image_rows,
    localize,
    paired,
    rows,
)
from localization.comparison.maps import SHARD, Made, Progress, Task, external, keep, make, shards, tasks
from localization.comparison.options import DEFAULT_METHODS, CompareOptions
from localization.comparison.quality import quality
from localization.comparison.result import Comparison, saved, write
from localization.comparison.samples import Samples, gathered
from localization.datasets.dataset import Dataset
from localization.external import ExternalMaps, external_maps
from saliency._batches import default_batch
from saliency._checks import function, kind_of, one_of
from saliency._files import atomic_write, check_writable, exclusive_lock
from saliency.errors import InputError
from saliency.methods import METHODS
from saliency.models.classes import ClassList, read_classes
from saliency.models.network import Network
from saliency.report import content_hash, plain, record
from saliency.report.entry import entry_words
from saliency.scores import logits

SCHEMA = 2  # of what is reused: another number where the same input would give other figures or files


def compare(
    net: Network,
    data: Dataset,
    train: Dataset | None = None,
    *,
    methods: Sequence[str] = DEFAULT_METHODS,
    maps: Mapping[str, Path | str] | None = None,
    boxes: Mapping[str, Path | str] | None = None,
    box_format: str | None = None,
    classes: ClassList | Sequence[str] | Path | str | None = None,
    options: CompareOptions | None = None,
    folder: Path | str | None = None,
    progress: Progress | None = None,
    command: str = "",
) -> Comparison:
    """Saliency methods on the same photos: maps, boxes by a linear map and by a heuristic, CorLoc, quality and cost.

    net: the classifier; its `preprocess` is how photos enter it, and should show the whole photo
        (`net.preprocess.changed("stretch")`), for a box that a crop cut away is never found.
    data: the photos that are scored, `localization.datasets.load(...)`. Without any box there are maps, quality and
        predictions alone.
    train: the photos boxes are learned from, less those that are scored too, by their pixels. Without it, the data are
        cross-fitted: each fold's boxes are learned on everything outside of it.
    methods: names in `saliency.methods.METHODS`, or "all" for every one that suits the network.
    maps: another tool's maps to compare, by a name of your own: a folder as `localization.external` reads it.
    boxes: another tool's boxes, by name: a CSV with image,x0,y0,x1,y1 and perhaps label and score, in photo pixels.
    box_format: what the four numbers of these are, one of `localization.boxes_file.FORMATS` (default: xyxy in pixels).
    classes: what the network's outputs are called in the data's labels, as `read_classes` takes it (default: as the
        network says itself). Labels and names meet whatever their case, spaces and underscores.
    folder: where maps lie while the run goes on, and the result's files in the end: a run that was killed goes on
        there, a complete one of the same content is read back (default: nothing is kept).
    progress: is called with the maps done and those to do in all.
    command: what ran this, for the record.

    Raises InputError for an argument that is out of its range or does not suit, before anything is written.

    >>> import localization, saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> scenes = localization.datasets.load("scenes", split="test", limit=12)
    >>> options = localization.CompareOptions(folds=3, quality=2)
    >>> found = localization.compare(net, scenes, methods=["edges"], options=options)
    >>> [row["method"] for row in found.rows if row["route"] == "heuristic"]
    ['edges']
    """
    options = CompareOptions() if options is None else options
    _check(net, data, train, methods, options, progress)
    their_maps, their_boxes = _paths("maps", maps), _paths("boxes", boxes)
    kind_of("command", command, str, "what ran this")
    if box_format is not None:
        one_of("box_format", box_format, FORMATS)
    if folder is not None:
        folder = _path("folder", folder)
        check_writable(folder)
    if classes is not None and not isinstance(classes, ClassList):
        classes = read_classes(classes)
    samples = gathered(
        net,
        data,
        train,
        each=options.each,
        classes=classes or net.classes,
        folds=options.folds,
        scored=options.n_test,
        strict=options.strict,
        seed=options.settings.seed,
    )
    wanted = tasks(net, methods, options.settings, options.occlusion_strides)
    _check_names(wanted, their_maps, their_boxes)
    _check_kept(samples, options, their_maps)
    job = _job(net, samples, wanted, options, their_maps, their_boxes, box_format, command)
    tell = progress or (lambda done, total: None)
    if folder is None:
        _warm_up(job)
        return _in_passing(job, tell)
    if found := saved(folder, job.key):
        return found
    _warm_up(job)  # finds bad settings before anything is written
    with exclusive_lock(folder):
        maps_folder = folder / "maps"
        _reusable(maps_folder, job.key)
        found = _compared(job, maps_folder, tell)
        write(found, folder, (lambda: keep(found.made, samples, maps_folder)) if options.keep_maps else _nothing)
        if not options.keep_maps:
            shutil.rmtree(maps_folder)
    return found


@dataclass(frozen=True, eq=False)
class _Job:
    """All that enters a comparison, and its hash `key`, by which anything on disk is found again."""

    net: Network
    samples: Samples
    wanted: Mapping[str, Task]
    options: CompareOptions
    maps: Mapping[str, ExternalMaps]
    boxes: Mapping[str, FoundBoxes]
    command: str
    key: str


def _in_passing(job: _Job, progress: Progress) -> Comparison:
    """The maps lie in a folder of their own for as long as the result lives, whose pictures may still be drawn."""
    folder = mkdtemp(prefix="salbox-compare-")
    try:
        found = _compared(job, Path(folder), progress)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(found, shutil.rmtree, folder, ignore_errors=True)
    return found


def _job(
    net: Network,
    samples: Samples,
    wanted: Mapping[str, Task],
    options: CompareOptions,
    their_maps: Mapping[str, Path],
    their_boxes: Mapping[str, Path],
    box_format: str | None,
    command: str,
) -> _Job:
    theirs = {name: external_maps(path, samples.ids, samples.sizes) for name, path in their_maps.items()}
    given = {name: external_boxes(path, samples, box_format) for name, path in their_boxes.items()}
    key = content_hash(
        SCHEMA,
        list(wanted),
        options,
        samples.digest,
        samples.name,
        samples.ids,
        samples.notes,
        net.digest,
        net.preprocess.record(),
        net.classes,
        samples.targets,
        {name: one.digest for name, one in theirs.items()},
        *(part for name, one in given.items() for part in (name, one.boxes)),
    )
    return _Job(net, samples, wanted, options, theirs, given, command, key)


def _check(
    net: object, data: object, train: object, methods: object, options: CompareOptions, progress: object
) -> None:
    kind_of("net", net, Network, "as load_network gives it")
    kind_of("data", data, Dataset, "as localization.datasets.load gives it")
    if train is not None:
        kind_of("train", train, Dataset, "as localization.datasets.load gives it, or None for cross-fitting")
        if options.folds is not None:
            raise InputError("folds cross-fit the data alone: leave train out, or folds")
    kind_of("options", options, CompareOptions, "or None")
    function("progress", progress, "(done, total)")
    if isinstance(methods, str) or not isinstance(methods, Sequence):
        raise InputError(f"methods must be a list of names, not {methods!r}")
    unknown = [name for name in methods if name not in METHODS and name != "all"]
    if unknown:
        raise InputError(f"unknown method {unknown[0]!r}; choose from all, {', '.join(METHODS)}")


def _path(name: str, value: object) -> Path:
    if not isinstance(value, str | Path):
        raise InputError(f"{name} must be a path, not {value!r}")
    return Path(value)


def _paths(name: str, given: object) -> dict[str, Path]:
    """A mapping from names to paths."""
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise InputError(f"{name} must map names to paths, not {type(given).__name__}")
    return {key: _path(f"{name}[{key!r}]", value) for key, value in given.items()}


def _check_names(wanted: Mapping[str, Task], maps: Mapping[str, object], boxes: Mapping[str, object]) -> None:
    """Every row of the result has a name of its own."""
    taken = {*METHODS, *wanted, *BASELINES.values(), STACKED, "baseline"}
    for kind, names in (("maps", maps), ("boxes", boxes)):
        for name in names:
            if not re.fullmatch(r"[^/\\:\x00-\x1f.][^/\\:\x00-\x1f]{0,79}", name):
                raise InputError(f"{kind}: a name must be short and without / and :, not {name!r}")
            if name in taken:
                raise InputError(f"{kind}: {name!r} is the name of something else here; choose one of your own")
            taken.add(name)
    if not wanted and not maps and not boxes:
        raise InputError("methods: nothing to compare; name a method, or give maps or boxes")


def _check_kept(samples: Samples, options: CompareOptions, their_maps: Mapping[str, object]) -> None:
    """Maps on disk are found by their photo's id: there must be one for each."""
    if (options.keep_maps or their_maps) and (twice := samples.shared_id()):
        raise InputError(f"maps are kept and found by the id of their photo, and two photos are called {twice}")
    if options.keep_maps and options.target == "label" and len(set(samples.ids)) < len(samples):
        twice = next(name for name, count in Counter(samples.ids).items() if count > 1)
        raise InputError(
            f"keep_maps: {twice} has a map for each of its labels, and one map a photo is kept; explain the predicted"
            " class, or keep none"
        )


def _warm_up(job: _Job) -> None:
    """Compile, which is not timed."""
    preprocess = job.net.preprocess
    several = default_batch(job.net.architecture, (SHARD, *preprocess.size), job.net.architecture.last)
    first = job.samples.input(range(min(several, len(job.samples))))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda one: one.method.maps(job.net, first, target=0, options=one.settings), job.wanted.values()))


def _reusable(folder: Path, key: str) -> None:
    """Maps in `folder` stay where they were made of the same things."""
    if folder.exists() and not ((folder / "key").is_file() and (folder / "key").read_text() == key):
        shutil.rmtree(folder)  # another run's, or what was left when a kill struck while it was removed
    with atomic_write(folder / "key") as temporary:
        temporary.write_text(key)


def _compared(job: _Job, folder: Path, progress: Progress) -> Comparison:
    """The maps shard by shard in `folder`, then at once what is learned from them."""
    net, samples, options = job.net, job.samples, job.options
    start = time.perf_counter()
    outputs = np.concatenate([logits(net, samples.input(i)) for i in shards(len(samples))])
    predicted = outputs.argmax(-1)
    known = samples.targets >= 0
    targets = np.where(known, samples.targets, predicted) if options.target == "label" else predicted
    made = make(job.wanted, samples, targets, folder, progress)
    made |= {name: external(name, theirs, samples, folder) for name, theirs in job.maps.items()}
    fits = _fits(job, made) if samples.true else {}
    results: dict[str, Any] = {
        **record({"methods": list(job.wanted), **plain(options)}, options.settings.seed, samples.digest, job.command),
        "key": job.key,
        "network": {
            "name": net.name,
            "digest": net.digest,
            "preprocessing": net.preprocess.record(),
            **net.provenance,
        },
        "dataset": samples.name,
        "train": samples.learned if not samples.folds else 0,
        "test": len(samples.test),
        "photos": len(np.unique(samples.images[samples.test])),
        "folds": samples.folds,
        "notes": [*samples.notes, *_notes(job, known)],
        "left_out": samples.left_out,
        "entry": entry_words(net.preprocess, [samples.sizes[i] for i in samples.test]),
        "methods": [one.record(name) for name, one in made.items()],
        "quality": quality(samples, made, targets, options.quality, options.settings.seed) if made else None,
    }
    if known[samples.test].any() and outputs.shape[1] > 1:  # of one output no label could be wrong
        results["accuracy"] = float((predicted == samples.targets)[samples.test].mean())
        results["unknown_labels"] = int((~known[samples.test]).sum())
    if samples.true:
        costs = {name: one.record(name) for name, one in made.items()}
        if STACKED in fits:
            costs[STACKED] = _together([costs[name] for name in options.stack])
        results["cut_away"] = samples.cut_away()
        results["rows"] = rows(fits, samples, costs)
        results["paired"] = paired(results["rows"], fits, samples)
        results["settings"] = {name: fit.settings for name, fit in fits.items()}
    else:
        results["predictions"] = _top5(samples, net, outputs)
    results["seconds"] = time.perf_counter() - start
    results = plain(results)
    said = [net.class_name(int(k)) for k in predicted]
    images = image_rows(fits, samples, said) if samples.true else []

    def draw() -> Mapping[str, bytes]:
        from localization.comparison.report import Shown, rendered  # matplotlib, where something is drawn

        return rendered(Shown(results, samples, made, fits, [net.class_name(int(k)) for k in targets]))

    return Comparison(results, images, draw, made)


def _fits(job: _Job, made: Mapping[str, Made]) -> dict[str, Fit]:
    """Boxes of every method and route."""
    samples, options = job.samples, job.options
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        own = pool.map(lambda name: localize((name,), made, samples, options.fit, options.routes), made)
        found = dict(zip(made, own))
    if len(options.stack) > 1 and set(options.stack) <= set(made) and set(options.routes) != {HEURISTIC}:
        found[STACKED] = localize(options.stack, made, samples, options.fit, options.routes)
    theirs = {name: given(name, own) for name, own in job.boxes.items()}
    return found | theirs | {"baseline": baselines(samples)}


def _notes(job: _Job, known: np.ndarray) -> Iterator[str]:
    """What a reader of the figures has to know beside what the samples say."""
    scored = job.samples.test
    for name, theirs in job.boxes.items():
        yield from (f"{name}: {note}" for note in theirs.notes)
    if job.options.target == "label" and not known[scored].all():
        unknown = int((~known[scored]).sum())
        yield f"{unknown} of {len(scored)} scored samples: their label is no class, so the predicted one is explained"


def _together(costs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What several methods cost, one after another; None where one of them is unknown."""
    combine: dict[str, Callable] = {
        "forwards": sum,
        "backwards": sum,
        "saved": sum,
        "ms_per_image": sum,
        "peak_mib": max,
    }
    values = {key: [cost[key] for cost in costs] for key in combine}
    return {key: None if None in values[key] else total(values[key]) for key, total in combine.items()}


def _top5(samples: Samples, net: Network, outputs: np.ndarray) -> list[dict[str, Any]]:
    """The five likeliest classes of each photo."""
    odds = np.exp(outputs - outputs.max(-1, keepdims=True))
    probability = odds / odds.sum(-1, keepdims=True)
    best = np.argsort(-outputs, axis=-1, kind="stable")[:, :5]
    return [
        {
            "image": samples.ids[i],
            "classes": [net.class_name(int(k)) for k in best[i]],
            "probabilities": probability[i, best[i]],
        }
        for i in range(len(samples))
    ]


def _nothing() -> None:
    pass
