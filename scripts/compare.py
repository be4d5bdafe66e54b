"""The main job: the same photos through every method, its boxes, figures and cost, on one page.

    python -m scripts.compare                      scenes and their classifier, offline, in minutes
    python -m scripts.compare --network squeezenet1_1 --weights FILE --images FOLDER
    python -m scripts.compare --list

A run that was killed goes on where it was; a complete one is shown again.
"""

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from tqdm import tqdm

from localization.datasets import load
from saliency import load_network
from saliency._batches import default_batch
from saliency._files import alone, check_writable, complete, written
from saliency._reading import read_json
from saliency.errors import InputError
from saliency.methods import METHODS
from saliency.methods import Options as MethodOptions
from saliency.models.classes import read_classes
from saliency.models.network import Network
from saliency.report import content_hash, plain, record, write_csv, write_json
from saliency.scores import logits
from scripts import cli
from scripts.comparison import boxes
from scripts.comparison.maps import SHARD, Task, external, keep, make, read_maps, shards, tasks
from scripts.comparison.quality import quality
from scripts.comparison.report import looks, write_pictures, write_report
from scripts.comparison.samples import Samples, dataset_samples, folder_samples, scenes_samples

DEFAULT_METHODS = ("gradient-max", "gradient-mean", "gestalt-max", "gestalt-mean", "grad-cam", "occlusion")


@dataclass(frozen=True)
class Options:
    """Compare saliency methods on the same images: maps, boxes, CorLoc, cost, one report."""

    network: str = "scenes_cnn"
    """Classifier to explain."""
    weights: str | None = None
    """Its checkpoint: a file, or a Hugging Face hub id (scenes_cnn brings its own)."""
    entry: tyro.conf.OmitArgPrefixes[cli.Entry] = field(default_factory=cli.Entry)
    classes: Path | None = None
    """Names of its classes: LOC_synset_mapping.txt, or CSV index,wnid,name."""
    dataset: str = "scenes"
    """scenes, voc, imagenet, tiny_imagenet, coco, wsol, folder (with boxes.csv), tfds."""
    data_root: Path | None = None
    """Where the data set lies."""
    images: Path | None = None
    """Instead of a data set: a folder of photos without boxes, for maps, predictions and agreement."""
    train_split: str | None = None
    """Split whose boxes are learned from (default: train)."""
    split: str | None = None
    """Split that is scored (default: the data set's usual one)."""
    folds: int = 0
    """Cross-fitting: the split in so many folds, each scored by what the others taught."""
    each: Literal["class", "object"] = "class"
    """A sample is a class on a photo (any instance may be hit), or an object (the protocol of seed 003)."""
    n_train: int | None = None
    """Training images, drawn with the seed (default: 1000 scenes, all of another data set)."""
    n_test: int | None = None
    """Test images (default: 500 scenes, all of another data set)."""
    methods: tuple[str, ...] = DEFAULT_METHODS
    """Names from --list; all: every one that suits the network."""
    occlusion_strides: tuple[int, ...] = ()
    """Occlusion at these strides too, in pixels: its curve in the picture of CorLoc against cost."""
    stack: tuple[str, ...] = ("gradient-max", "gestalt-max", "grad-cam")
    """Methods whose maps one more linear map sees together, where all of them are compared."""
    fit: boxes.Fitting = "auto"
    """The linear map: least absolute deviations on profiles ("lad"), or a ridge that treats left and right alike
    ("mirrored"); auto takes the latter below 1000 training boxes of photos."""
    maps: tuple[str, ...] = ()
    """Maps of another tool: NAME=FOLDER, with an .npy or .npz for each image id."""
    boxes: tuple[str, ...] = ()
    """Boxes of another tool: NAME=FILE.csv with columns image,x0,y0,x1,y1."""
    target: Literal["predicted", "label"] = "predicted"
    """Class whose score is explained."""
    quality: int = 10
    """Test images for the figures that need no box: insertion, deletion, agreement and so on."""
    settings: tyro.conf.OmitArgPrefixes[MethodOptions] = field(
        default_factory=lambda: MethodOptions(samples=5, steps=10, masks=48)
    )
    """What the methods share."""
    out: Path = Path("runs/compare")
    keep_maps: bool = False
    """Keep every map, OUT/maps/METHOD/IMAGE.npy, as --maps takes them."""
    quiet: bool = False
    list: bool = False
    """Say what each method does, and stop."""


def main(options: Options) -> int:
    if options.list:
        print("\n\n".join(f"{m.name}  [{m.source}; {m.sign}]\n{m.summary}" for m in METHODS.values()))
        return 0
    check(options)
    net = load_network(options.network, options.weights, classes=options.classes)
    net.preprocess = options.entry.of(net.preprocess)
    samples = read_samples(options, net)
    key = content_hash(plain(replace(options, out=Path(), quiet=False)), samples.digest, net.digest)
    results = options.out / "results.json"
    if finished(results, key):
        print(f"this run is complete already; remove {results} to do it again")
    else:
        run(options, net, samples, key)
    print(table(read_json(results)))
    print(f"\nreport: {options.out / 'report.html'}")
    return 0


def check(options: Options) -> None:
    unknown = [name for name in options.methods if name not in METHODS and name != "all"]
    if unknown:
        raise InputError(f"unknown method {unknown[0]!r}; choose from all, {', '.join(METHODS)}")
    for name, least in (("n_train", 20), ("n_test", 1), ("quality", 0), ("folds", 0)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise InputError(f"--{name.replace('_', '-')} must be at least {least}, not {value}")
    if options.folds == 1:
        raise InputError("--folds must be at least 2: with one there is nothing left to learn from")
    if options.images and (options.data_root or options.dataset != "scenes"):
        raise InputError("--images takes photos without boxes: leave --dataset and --data-root out, or it")
    check_writable(options.out)


def read_samples(options: Options, net: Network) -> Samples:
    seed = options.settings.seed
    if options.images:
        return folder_samples(net, options.images, options.n_test, seed)
    if options.dataset == "scenes" and not options.folds:
        return scenes_samples(net, options.n_train or 1000, options.n_test or 500, seed)
    class_of = {name: i for i, name in enumerate(net.classes)}
    if options.classes:
        class_of |= {wnid: i for i, (wnid, _) in enumerate(read_classes(options.classes))}
    read = partial(load, options.dataset, options.data_root, seed=seed)
    test = read(split=options.split, limit=options.n_test)
    train = None if options.folds else read(split=options.train_split or "train", limit=options.n_train)
    return dataset_samples(net, test, train, each=options.each, class_of=class_of, folds=options.folds, seed=seed)


def finished(results: Path, key: str) -> bool:
    """Whether an earlier run has left its results here, whole: what makes no table is made again."""
    try:
        found = read_json(results)
        return found["key"] == key and bool(table(found))
    except (ValueError, LookupError, TypeError, AttributeError):
        return False


def run(options: Options, net: Network, samples: Samples, key: str) -> None:
    settings = options.settings
    strange_maps = {name: read_maps(name, Path(path), samples) for name, path in named(options.maps, "--maps")}
    strange_boxes = {
        name: boxes.read_boxes(name, Path(path), samples) for name, path in named(options.boxes, "--boxes")
    }
    wanted = tasks(net, options.methods, settings, options.occlusion_strides)
    several = default_batch(net.architecture, (SHARD, *net.preprocess.size), net.architecture.last)
    first = samples.input(range(min(several, len(samples))))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # compiles, which is not timed, and finds bad settings before anything is written
        list(pool.map(lambda task: task.method.maps(net, first, target=0, options=task.settings), wanted.values()))
    with alone(options.out):
        carry_out(options, net, samples, key, wanted, strange_maps, strange_boxes)


def carry_out(
    options: Options,
    net: Network,
    samples: Samples,
    key: str,
    wanted: Mapping[str, Task],
    strange_maps: Mapping[str, np.ndarray],
    strange_boxes: dict[str, boxes.Fit],
) -> None:
    """Everything that is written: the maps shard by shard, then at once what is learned from them."""
    settings, folder = options.settings, options.out / "maps"
    if folder.exists() and not ((folder / "key").is_file() and (folder / "key").read_text() == key):
        shutil.rmtree(folder)  # another run's, or what was left when a kill struck while it was removed
    with written(folder / "key") as temporary:
        temporary.write_text(key)
    start = time.perf_counter()
    progress = tqdm(total=len(wanted) * len(samples), unit="map", disable=cli.silent(options.quiet))
    classes = np.concatenate([logits(net, samples.input(i)) for i in shards(len(samples))])
    targets = explained(options, samples, classes)
    made = make(wanted, samples, targets, folder, progress)
    made |= {name: external(name, maps, folder) for name, maps in strange_maps.items()}
    progress.close()

    results: dict[str, Any] = {
        **record(replace(options, out=Path(options.out.name)), settings.seed, samples.digest, cli.command()),
        "key": key,
        "network": {
            "name": net.name,
            "digest": net.digest,
            "preprocessing": net.preprocess.record(),
            **net.provenance,
        },
        "dataset": samples.name,
        "train": len(samples.train),
        "test": len(samples.test),
        "folds": samples.folds,
        "methods": [one.record(name) for name, one in made.items()],
        "quality": quality(samples, made, targets, options.quality, settings.seed),
    }
    known = samples.test[samples.targets[samples.test] >= 0]
    if len(known):
        results["accuracy"] = float((classes[known].argmax(-1) == samples.targets[known]).mean())
    fits: dict[str, boxes.Fit] = {}
    if samples.true:
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            fits = dict(zip(made, pool.map(lambda name: boxes.localize((name,), made, samples, options.fit), made)))
        costs = {name: one.record(name) for name, one in made.items()}
        if len(options.stack) > 1 and set(options.stack) <= set(made):
            fits[boxes.STACKED] = boxes.localize(options.stack, made, samples, options.fit)
            costs[boxes.STACKED] = together([costs[name] for name in options.stack])
        fits |= strange_boxes | {"baseline": boxes.baselines(samples)}
        results["rows"] = boxes.rows(fits, samples, costs)
        results["paired"] = boxes.paired(results["rows"], fits, samples)
        results["settings"] = {name: fit.settings for name, fit in fits.items()}
    else:
        results["predictions"] = top5(samples, net, classes)
    results["seconds"] = time.perf_counter() - start
    results = plain(results)
    with complete():
        if samples.true:
            predicted = [net.class_name(int(k)) for k in classes.argmax(-1)]
            write_csv(options.out / "images.csv", boxes.image_rows(fits, samples, predicted), boxes.COLUMNS)
        pictures = write_pictures(options.out / "pictures", results, samples, made, fits)
        write_report(options.out / "report.html", results, pictures, looks(results, samples, made, fits))
        if options.keep_maps:
            keep(made, samples, folder)
        write_json(options.out / "results.json", results)
    if not options.keep_maps:
        shutil.rmtree(folder)


def named(values: Sequence[str], option: str) -> list[tuple[str, str]]:
    """The NAME=PATH pairs of an option."""
    pairs = [value.partition("=") for value in values]
    for name, equals, path in pairs:
        if not (name and equals and path) or name in METHODS:
            raise InputError(f"{option} takes NAME=PATH with a name of your own, not {name + equals + path!r}")
    return [(name, path) for name, _, path in pairs]


def explained(options: Options, samples: Samples, classes: np.ndarray) -> np.ndarray:
    """The class explained of each sample; the predicted one where the label is none of the network's."""
    predicted = classes.argmax(-1)
    return np.where(samples.targets >= 0, samples.targets, predicted) if options.target == "label" else predicted


def together(costs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What several methods cost, one after another; None where one of them is unknown."""
    joined: dict[str, Callable] = {
        "forwards": sum,
        "backwards": sum,
        "saved": sum,
        "ms_per_image": sum,
        "peak_mib": max,
    }
    values = {key: [cost[key] for cost in costs] for key in joined}
    return {key: None if None in values[key] else join(values[key]) for key, join in joined.items()}


def top5(samples: Samples, net: Network, classes: np.ndarray) -> list[dict[str, Any]]:
    """The five likeliest classes of each photo."""
    odds = np.exp(classes - classes.max(-1, keepdims=True))
    probability = odds / odds.sum(-1, keepdims=True)
    best = np.argsort(-classes, axis=-1, kind="stable")[:, :5]
    return [
        {
            "image": samples.ids[i],
            "classes": [net.class_name(int(k)) for k in best[i]],
            "probabilities": probability[i, best[i]],
        }
        for i in range(len(samples))
    ]


def table(results: Mapping[str, Any]) -> str:
    """The rows as text for a terminal, best first; without boxes, the methods and their quality."""
    test = f"{results['test']} test images" + (f" in {results['folds']} folds" if results["folds"] else "")
    train = "" if results["folds"] or not results["train"] else f"{results['train']} training and "
    right = f"; {results['network']['name']} is right on {results['accuracy']:.1%}" if "accuracy" in results else ""
    if "rows" in results:
        lines = sorted(results["rows"], key=lambda row: -row["corloc"])
        small = {} if lines[0]["corloc_small"] is None else {"small": 6}  # boxes below half of their photo
        columns = {"box route": 11, "CorLoc [95%]": 21, **small, "mean IoU": 9}
    else:
        columns = {"insertion": 10, "deletion": 10, "sparsity": 10}
        found = {row["method"]: row for row in (results["quality"] or {"rows": ()})["rows"]}
        lines = [method | found.get(method["method"], {}) for method in results["methods"]]
    columns = {"method": 18} | columns | {"fwd": 6, "bwd": 5, "saved": 6, "ms/image": 10, "peak MiB": 10}
    texts = [
        {
            "method": row["method"],
            "box route": row.get("route"),
            "CorLoc [95%]": share(row) if "corloc" in row else "",
            "small": shown(row.get("corloc_small"), ".1%"),
            "mean IoU": shown(row.get("mean_iou"), ".3f"),
            **{key: shown(row.get(key), ".3f") for key in ("insertion", "deletion", "sparsity")},
            "fwd": shown(row["forwards"], "d"),
            "bwd": shown(row["backwards"], "d"),
            "saved": shown(row["saved"], ".0f"),
            "ms/image": shown(row["ms_per_image"], ".1f"),
            "peak MiB": shown(row["peak_mib"], ".0f"),
        }
        for row in lines
    ]
    left = ("method", "box route", "CorLoc [95%]")
    body = [
        " ".join(f"{row[key]:<{width}}" if key in left else f"{row[key]:>{width}}" for key, width in columns.items())
        for row in [{key: key for key in columns}, *texts]
    ]
    return "\n".join([f"{results['dataset']}: {train}{test}{right}", "", *body])


def share(row: Mapping[str, Any]) -> str:
    return f"{100 * row['corloc']:5.1f} [{100 * row['corloc_low']:4.1f}, {100 * row['corloc_high']:4.1f}]"


def shown(value: float | None, how: str) -> str:
    return "-" if value is None else format(value, how)


if __name__ == "__main__":
    cli.run(main, tyro.cli(Options))
