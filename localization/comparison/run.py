"""The main job: the same photos through every method, its boxes, figures and cost."""

import re
import shutil
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import jax.numpy as jnp
import numpy as np

from localization.boxes_file import FORMATS, FoundBoxes
from localization.channels import READERS, layers_of
from localization.comparison.boxes import (
    AT_ONCE,
    BASELINES,
    STACKED,
    Fit,
    baselines,
    carried,
    external_boxes,
    given,
    image_rows,
    localize,
    paired,
    rows,
)
from localization.comparison.budget import Choice, choose, save
from localization.comparison.maps import (
    Made,
    Progress,
    Task,
    complete,
    external,
    keep,
    make,
    readings,
    shards,
    tasks,
    warmed,
)
from localization.comparison.options import DEFAULT_MEASURES, DEFAULT_METHODS, CompareOptions
from localization.comparison.quality import REGIONS, quality
from localization.comparison.reading import carried_over, localize_channels, needs, read_bundle, source_of
from localization.comparison.result import Comparison, saved, write
from localization.comparison.samples import Samples, gathered
from localization.comparison.seeds import again, spread
from localization.comparison.verdict import by_route, verdict
from localization.datasets.dataset import Dataset
from localization.external import ExternalMaps, external_maps
from localization.regression import CoverageMap, bundle_hash
from localization.routes import HEURISTIC, LINEAR
from saliency._checks import function, kind_of, one_of
from saliency._files import atomic_write, check_writable, exclusive_lock
from saliency._names import unknown
from saliency.errors import InputError
from saliency.methods import METHODS
from saliency.models.classes import ClassList, read_classes
from saliency.models.network import Network
from saliency.report import content_hash, plain, record
from saliency.report.entry import entry_words
from saliency.scores import class_logits, class_probabilities, logits

SCHEMA = 6  # of what is reused: another number where the same input would give other figures or files


def compare(
    net: Network,
    data: Dataset,
    train: Dataset | None = None,
    *,
    methods: Sequence[str] = DEFAULT_METHODS,
    maps: Mapping[str, Path | str] | None = None,
    boxes: Mapping[str, Path | str] | None = None,
    box_format: str | None = None,
    bundles: Sequence[Path | str] = (),
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
    methods: names in `saliency.methods.METHODS`, alone or in wrappers, or "all" for every one that suits the network,
        or as many of these as `options.budget` allows; and readers, which have no maps: names in
        `localization.channels.READERS`.
    maps: another tool's maps to compare, by a name of your own: a folder as `localization.external` reads it.
    boxes: another tool's boxes, by name: a CSV with image,x0,y0,x1,y1 and perhaps label and score, in photo pixels.
    box_format: what the four numbers of these are, one of `localization.boxes_file.FORMATS` (default: xyxy in pixels).
    bundles: files of coverage maps that were learned on another data set, from features that are compared here; each
        gets a row of its own, and its difference to what is learned here is stated.
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
    if options.budget is not None and "all" not in methods:
        raise InputError("budget chooses from the whole menu: name all in methods, or leave it out")
    choice, settings = None, options.settings.expecting(len(samples))
    wanted = tasks(net, methods, settings, options.occlusion_strides)
    readers = [name for name in dict.fromkeys(methods) if name in READERS]
    _check_names([*wanted, *readers], their_maps, their_boxes)
    _check_readers(readers, [*wanted, *their_maps], options)
    elsewhere = _bundles(bundles, [*wanted, *their_maps])
    _check_kept(samples, options, their_maps)
    if options.budget is not None:
        choice = choose(samples, options, folder)
        methods = [*choice.taken, *(name for name in methods if name != "all")]
        options = replace(options, settings=choice.settings)
        settings = options.settings.expecting(len(samples))
        wanted = tasks(net, methods, settings, options.occlusion_strides)
        elsewhere = _bundles(bundles, [*wanted, *their_maps])  # of what is left out nothing can be carried over
    job = _job(net, samples, wanted, readers, options, their_maps, their_boxes, box_format, elsewhere, command)
    seeds = again(net, wanted, settings, options.repeats) if samples.true else {}
    job = replace(job, choice=choice, again=seeds)
    tell = progress or (lambda done, total: None)
    if folder is None:
        _warm_up(job)
        return _in_passing(job, tell)
    if found := saved(folder, job.key):
        return found
    maps_folder = folder / "maps"
    _warm_up(job, maps_folder)  # finds bad settings before anything is written
    with exclusive_lock(folder):
        if choice:
            save(choice, folder)
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
    readers: Sequence[str]
    options: CompareOptions
    maps: Mapping[str, ExternalMaps]
    boxes: Mapping[str, FoundBoxes]
    bundles: Sequence[CoverageMap]
    command: str
    key: str
    choice: Choice | None = None
    again: Mapping[str, Task] = field(default_factory=dict)


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
    readers: Sequence[str],
    options: CompareOptions,
    their_maps: Mapping[str, Path],
    their_boxes: Mapping[str, Path],
    box_format: str | None,
    bundles: Sequence[CoverageMap],
    command: str,
) -> _Job:
    theirs = {name: external_maps(path, samples.ids, samples.sizes) for name, path in their_maps.items()}
    given = {name: external_boxes(path, samples, box_format) for name, path in their_boxes.items()}
    key = content_hash(
        SCHEMA,
        [*wanted, *readers],
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
        [(bundle_hash(one), plain(one.source)) for one in bundles],
    )
    return _Job(net, samples, wanted, readers, options, theirs, given, bundles, command, key)


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
    for name in methods:
        if name not in METHODS and name not in READERS and name != "all":
            raise InputError(unknown("method", name, (*METHODS, *READERS), "all"))


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


def _check_readers(readers: Sequence[str], with_maps: Sequence[str], options: CompareOptions) -> None:
    """A reader has no map, so one route fits."""
    for name in readers:
        if LINEAR not in options.routes or options.fit != "coverage":
            raise InputError(
                f"methods: {name} has no map, and its boxes come from the linear map by coverage alone: keep routes"
                f" {LINEAR!r} and fit 'coverage', or leave {name} out"
            )
        if READERS[name].maps and not with_maps:
            raise InputError(f"methods: {name} reads the maps of other methods too: name one or more")


def _bundles(given: object, with_maps: Sequence[str]) -> list[CoverageMap]:
    """Read, each with a row of its own, of features that are there."""
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise InputError(f"bundles must be a list of paths, not {given!r}")
    found = [read_bundle(_path("bundles", one)) for one in given]
    for path, bundle in zip(given, found):
        if missing := [name for name in needs(bundle)[1] if name not in with_maps]:
            raise InputError(
                f"{path}: was learned from maps of {missing[0]}, which is not compared: name it in methods"
            )
    labels = [(one.source.get("name", one.source["method"]), one.source["dataset"]) for one in found]
    if len(set(labels)) < len(labels):
        raise InputError("bundles: two are of the same features and data set, so that their rows would be one")
    return found


def _check_names(wanted: Sequence[str], maps: Mapping[str, object], boxes: Mapping[str, object]) -> None:
    """Every row of the result has a name of its own."""
    taken = {*METHODS, *READERS, *wanted, *BASELINES.values(), STACKED, "baseline"}
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


def _warm_up(job: _Job, folder: Path | None = None) -> None:
    """Compile, which is not timed, for the tasks that have maps left to make in `folder`."""
    left = _tasks(job)
    if folder is not None and _of(folder, job.key):
        left = {name: task for name, task in left.items() if not complete(folder, name, len(job.samples))}
    ready = job.choice.compiled if job.choice else ()
    warmed({name: task for name, task in left.items() if name not in ready}, job.samples)


def _tasks(job: _Job) -> dict[str, Task]:
    """Maps, and where boxes can be learned from them the channels that are read."""
    readers = [*job.readers, *(name for bundle in job.bundles for name in needs(bundle)[0])]
    read = readings(job.net, readers, job.options.layers) if job.samples.true else {}
    return {**job.wanted, **job.again, **read}


def _reusable(folder: Path, key: str) -> None:
    """Maps in `folder` stay where they were made of the same things."""
    if folder.exists() and not _of(folder, key):
        shutil.rmtree(folder)  # another run's, or what was left when a kill struck while it was removed
    with atomic_write(folder / "key") as temporary:
        temporary.write_text(key)


def _of(folder: Path, key: str) -> bool:
    """Whether the maps in there were made of the same things."""
    return (folder / "key").is_file() and (folder / "key").read_text() == key


def _compared(job: _Job, folder: Path, progress: Progress) -> Comparison:
    """The maps shard by shard in `folder`, then at once what is learned from them."""
    net, samples, options = job.net, job.samples, job.options
    start = time.perf_counter()
    outputs = np.concatenate([logits(net, samples.input(i)) for i in shards(len(samples))])
    probability = class_probabilities(net.architecture, outputs)
    outputs = np.asarray(class_logits(net.architecture, jnp.asarray(outputs)))
    predicted = outputs.argmax(-1)
    known = samples.targets >= 0
    targets = np.where(known, samples.targets, predicted) if options.target == "label" else predicted
    everything = make(_tasks(job), samples, targets, folder, progress)
    seeds = {name: one for name, one in everything.items() if name in job.again}
    read = {name: one for name, one in everything.items() if name not in job.wanted and name not in seeds}
    made = {name: one for name, one in everything.items() if name in job.wanted}
    made |= {name: external(name, theirs, samples, folder) for name, theirs in job.maps.items()}
    begun = time.perf_counter()
    fits = _fits(job, made, read) if samples.true else {}
    looked = quality(samples, made, targets, options) if made else None
    took = (time.perf_counter() - begun) / max(1, len(made)) / len(np.unique(samples.images))  # as `after` foretells
    costs = {name: one.record(name) for name, one in made.items()}
    for name in job.readers if samples.true else ():
        own = read[_read_by(name)].record(name) | {"base": name}
        costs[name] = own | _together([own, *(costs[one] for one in made)]) if READERS[name].maps else own
    results: dict[str, Any] = {
        **record(
            {"methods": [*job.wanted, *job.readers], **plain(options)},
            options.settings.seed,
            samples.digest,
            job.command,
        ),
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
        "methods": list(costs.values()),
        "quality": looked,
        "budget": job.choice.record() | {"took": took} if job.choice else None,
    }
    if known[samples.test].any() and outputs.shape[1] > 1:  # of one output no label could be wrong
        results["accuracy"] = float((predicted == samples.targets)[samples.test].mean())
        results["unknown_labels"] = int((~known[samples.test]).sum())
    if samples.true:
        if STACKED in fits:
            costs = costs | {STACKED: _together([costs[name] for name in options.stack])}
        results["cut_away"] = samples.cut_away()
        results["rows"] = rows(fits, samples, costs)
        results["paired"] = paired(results["rows"], fits, samples)
        results["verdict"] = verdict(results["rows"], fits, samples)
        results["by_route"] = by_route(fits, samples)
        results["seeds"] = spread(fits, _of_seeds(job, seeds), samples)
        if job.bundles:
            results["carried"] = carried(results["rows"], fits, samples)
        results["settings"] = {name: fit.settings for name, fit in fits.items()}
    else:
        results["predictions"] = _top5(samples, net, outputs, probability)
    results["seconds"] = time.perf_counter() - start
    results = plain(results)
    said = [net.class_name(int(k)) for k in predicted]
    images = image_rows(fits, samples, said) if samples.true else []

    def draw() -> Mapping[str, bytes]:
        from localization.comparison.report import Shown, rendered  # matplotlib, where something is drawn

        return rendered(Shown(results, samples, made, fits, [net.class_name(int(k)) for k in targets]))

    bundles = {name: fit.learned for name, fit in fits.items() if fit.learned is not None}
    return Comparison(results, images, draw, made, bundles)


def _fits(job: _Job, made: Mapping[str, Made], read: Mapping[str, Made]) -> dict[str, Fit]:
    """Boxes of every method, reader and route."""
    samples, options = job.samples, job.options

    def source(name: str, methods: Sequence[str], **more: Any) -> dict[str, Any] | None:
        settings = plain(options.settings)
        return source_of(name, methods, made, samples, options=settings, **more) if options.keep_bundles else None

    def of_method(name: str) -> Fit:
        return localize((name,), made, samples, options.fit, options.routes, source(name, [name]))

    def of_reader(name: str) -> Fit:
        layers = list(options.layers or layers_of(job.net))
        stated = source(name, [_read_by(name), *(made if READERS[name].maps else ())], layers=layers)
        return localize_channels(name, read[_read_by(name)], made, samples, stated)

    def of_stack(names: Sequence[str]) -> Fit:
        return localize(names, made, samples, options.fit, options.routes, source(STACKED, names))

    stacked = len(options.stack) > 1 and set(options.stack) <= set(made) and set(options.routes) != {HEURISTIC}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        longest = pool.submit(of_stack, options.stack) if stacked else None  # first, or it would run alone at the end
        own, theirs = pool.map(of_method, made), pool.map(of_reader, job.readers)
        found = dict(zip((*made, *job.readers), (*own, *theirs)))
        if longest is not None:
            found[STACKED] = longest.result()
    for bundle in job.bundles:
        fit = carried_over(bundle, made, read, samples)
        found[" ".join(next(iter(fit.boxes)))] = fit
    foreign = {name: given(name, own) for name, own in job.boxes.items()}
    return found | foreign | {"baseline": baselines(samples)}


def _of_seeds(job: _Job, seeds: Mapping[str, Made]) -> dict[str, Fit]:
    """The boxes of random methods by other seeds."""
    samples, options = job.samples, job.options
    return {name: localize((name,), {name: one}, samples, options.fit, options.routes) for name, one in seeds.items()}


def _read_by(reader: str) -> str:
    """The name of the channels that it reads."""
    return "class channels" if READERS[reader].by_class else "channels"


def _notes(job: _Job, known: np.ndarray) -> Iterator[str]:
    """What a reader of the figures has to know beside what the samples say."""
    scored = job.samples.test
    if job.choice:
        yield job.choice.sentence()
    if not job.samples.true:
        yield from _without_boxes(job)
    elif job.options.repeats > 1 and not job.again:
        yield "repeats: none is made, for no method that is compared has chance in it"
    for name, theirs in job.boxes.items():
        yield from (f"{name}: {note}" for note in theirs.notes)
    if job.options.target == "label" and not known[scored].all():
        unknown = int((~known[scored]).sum())
        yield f"{unknown} of {len(scored)} scored samples: their label is no class, so the predicted one is explained"


def _without_boxes(job: _Job) -> Iterator[str]:
    """What was asked for and needs boxes."""
    if job.readers:
        yield f"{', '.join(job.readers)}: left out, for there is no box to learn from"
    carried = [f"bundle of {one.source['method']}" for one in job.bundles]
    seeds = ["repeats"] if job.options.repeats > 1 else []
    measures = [name for name in job.options.measures if name in REGIONS and job.options.measures != DEFAULT_MEASURES]
    if scored := [*carried, *job.boxes, *seeds, *measures]:
        yield f"{', '.join(scored)}: left out, for there is no box to score against"
    if job.options.keep_bundles:
        yield "bundles: none is kept, for there is no box to learn from"


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


def _top5(samples: Samples, net: Network, outputs: np.ndarray, probability: np.ndarray) -> list[dict[str, Any]]:
    """The five likeliest classes of each photo."""
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
