"""Maps of a whole data set, on disk: the stock that fit_boxes feeds on.

    python -m scripts.make_maps --dataset tiny_imagenet --root DIR --network squeezenet1_1 --weights FILE --out STORE

A killed run goes on with the first shard that is not whole. Many hosts: give each its `--shard I/N`, or
`--coordinator HOST:PORT --process-id I --processes N`, and one folder that all can reach.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from tqdm import tqdm

from localization import datasets
from localization.datasets import Dataset
from localization.features import pooled
from localization.regression import status
from localization.store import Damaged, Precision, Record, Shard, Store, create_store
from saliency import load_network
from saliency._checks import whole
from saliency._files import check_writable
from saliency.errors import InputError
from saliency.methods import METHODS, Method
from saliency.methods import Options as MethodOptions
from saliency.models.network import Network
from saliency.report import content_hash, plain
from scripts import cli
from scripts.processes import Processes

DECODERS = 8  # threads; Pillow leaves Python's lock while it decodes


@dataclass(frozen=True)
class Options:
    """Make the maps of a data set and keep them in a store."""

    out: Path
    """Folder of the store."""
    dataset: str = "scenes"
    """scenes, voc, imagenet, tiny_imagenet, coco, wsol, folder or tfds."""
    root: Path | None = None
    """Where the data set lies; scenes need none."""
    split: str | None = None
    """In the data set's own words."""
    classes: tuple[str, ...] | None = None
    """Labels to keep (default: all)."""
    limit: int | None = None
    """As many images, drawn from the seed (default: all)."""
    network: str = "scenes_cnn"
    weights: str | None = None
    """Checkpoint: a file, or a Hugging Face hub id (scenes_cnn brings its own)."""
    entry: tyro.conf.OmitArgPrefixes[cli.Entry] = field(default_factory=cli.Entry)
    method: str = "gradient-max"
    """A name from `scripts.compare --list`."""
    target: Literal["predicted", "label"] = "predicted"
    """Class whose score is explained; "label" needs a network that knows the data set's labels."""
    map: MethodOptions = field(default_factory=MethodOptions)
    size: tuple[int, int] | None = None
    """Rows and columns that maps are pooled to by area (default: the network's input)."""
    precision: Precision = "float16"
    shard_size: int = 256
    """Images in one file: what a kill can cost."""
    shard: str = "0/1"
    """I/N: make every N-th file, from the I-th on."""
    processes: tyro.conf.OmitArgPrefixes[Processes] = field(default_factory=Processes)
    strict: bool = False
    """Stop at the first image that gives no map, instead of listing it."""
    seed: int = 0
    quiet: bool = False


@dataclass(frozen=True)
class Decoded:
    """One image, ready for the network; `placed` is None where `record.problem` says why."""

    record: Record
    placed: np.ndarray | None


def main(options: Options) -> int:
    options.processes.start()
    if options.method not in METHODS:
        raise InputError(f"unknown method {options.method!r}; choose from {', '.join(METHODS)}")
    part, parts = options.processes.share(options.shard)
    whole("--shard-size", options.shard_size, least=1)
    for side in options.size or ():
        whole("--size", side, least=1)
    check_writable(options.out)
    net = load_network(options.network, options.weights)
    net.preprocess = options.entry.of(net.preprocess)
    data = datasets.load(
        options.dataset,
        options.root,
        split=options.split,
        classes=options.classes,
        limit=options.limit,
        seed=options.seed,
    )
    if options.strict:
        refuse([f"{one['image']}: {one['problem']}" for one in left_out(data)])
    targets = targets_of(data, net) if options.target == "label" else np.full(len(data), -1)
    store = create_store(options.out, description(options, net, data), len(data), options.shard_size)
    start, made = time.perf_counter(), 0
    problems = [f"{one['image']}: {one['problem']}" for one in store.description["left_out"]]
    own = [number for number in store.shards if number % parts == part]
    with tqdm(total=sum(len(store.images(n)) for n in own), unit="img", disable=cli.silent(options.quiet)) as progress:
        for number, decoded in ahead(data, targets, net, store, own):
            shard = standing(store, number, decoded)
            if shard is None:
                shard = computed(METHODS[options.method], net, decoded, options)
                if options.strict:
                    refuse([f"{record.source}: {record.problem}" for record in shard.records if record.problem])
                store.write(number, shard)
                made += len(decoded)
            problems += [f"{record.source}: {record.problem}" for record in shard.records if record.problem]
            progress.update(len(decoded))
    complete = store.finish(own)
    seconds = time.perf_counter() - start
    print(f"{made:,} maps made in {seconds:.1f} s ({made / max(seconds, 1e-9):.1f} a second), of {len(data):,} images")
    for line in problems[:10]:
        print(f"  no map: {line}")
    if problems[10:]:
        print(f"  and {len(problems) - 10} more, in {store.folder / 'index.json'}")
    print(f"{'complete' if complete else 'waiting for the other shards'}: {store.folder}")
    return 0


def description(options: Options, net: Network, data: Dataset) -> dict[str, Any]:
    """What the maps are; two stores of the same description hold the same maps of the same images."""
    height, width = net.preprocess.size
    return plain(
        {
            "dataset": data.name,
            "split": data.split,
            "images": content_hash([annotation.source for annotation in data.annotations]),
            "left_out": left_out(data),
            "network": net.name,
            "weights": net.digest,
            "preprocessing": net.preprocess.record(),
            "method": options.method,
            "target": options.target,
            "options": options.map,
            "size": options.size or (height, width),
            "precision": options.precision,
        }
    )


def left_out(data: Dataset) -> list[dict[str, str]]:
    """The images that the data set's reader found unusable."""
    usable = {annotation.source for annotation in data.annotations}
    notes = [note for note in data.notes if note.outcome == "left out" and note.source not in usable]
    return [{"image": note.source, "problem": note.problem} for note in notes]


def targets_of(data: Dataset, net: Network) -> np.ndarray:
    """The network's index of each image's first label."""
    index = {name: i for i, name in enumerate(net.classes)}
    labels = [annotation.labels[0] if annotation.labels else "" for annotation in data.annotations]
    unknown = sorted({label for label in labels if label not in index})
    if unknown:
        raise InputError(f"{net.name} has no class {unknown[0]!r} ({len(unknown)} labels); use --target predicted")
    return np.array([index[label] for label in labels])


def ahead(
    data: Dataset, targets: np.ndarray, net: Network, store: Store, numbers: Sequence[int]
) -> Iterator[tuple[int, list[Decoded]]]:
    """Shards' images, decoded while the shard before is computed."""
    with ThreadPoolExecutor(DECODERS) as pool:

        def begin(number: int) -> list[Future[Decoded]]:
            return [pool.submit(decode, data, i, int(targets[i]), net) for i in store.images(number)]

        waiting = begin(numbers[0]) if numbers else []
        for number, following in zip(numbers, [*numbers[1:], None]):
            begun = waiting
            waiting = begin(following) if following is not None else []
            yield number, [future.result() for future in begun]


def decode(data: Dataset, i: int, target: int, net: Network) -> Decoded:
    annotation = data.annotations[i]
    placed, pixels, problem = None, "", ""
    try:
        photo = data.images[i]
        placed, pixels = net.preprocess.place(photo), content_hash(photo)
    except InputError as error:
        problem = str(error)
    boxes = tuple(tuple(map(float, box)) for box in annotation.boxes)
    return Decoded(
        Record(annotation.source, annotation.size, annotation.labels, boxes, pixels, target, problem), placed
    )


def standing(store: Store, number: int, decoded: Sequence[Decoded]) -> Shard | None:
    """The shard on disk, if it is whole and of these very images and annotations."""
    try:
        shard = store.read(number)
    except Damaged:
        return None
    same = len(shard.records) == len(decoded) and all(
        record.pixels == one.record.pixels and record.boxes == one.record.boxes and record.source == one.record.source
        for record, one in zip(shard.records, decoded)
    )
    return shard if same else None


def computed(method: Method, net: Network, decoded: Sequence[Decoded], options: Options) -> Shard:
    """The maps of a shard, pooled; an image without one, or with one that says nothing, has a problem in its record."""
    size = options.size or net.preprocess.size
    maps, records = np.zeros((len(decoded), *size), np.float32), [one.record for one in decoded]
    placed = {i: one.placed for i, one in enumerate(decoded) if one.placed is not None}
    if placed:
        good = list(placed)
        x = net.preprocess.normalise(np.stack(list(placed.values())))
        target = None if options.target == "predicted" else np.array([records[i].target for i in good])
        found = method.maps(net, x, target=target, options=options.map)
        maps[good] = pooled(found, size)
        for i, said in zip(good, status(maps[good])):
            if said != "ok":
                maps[i] = 0
                records[i] = replace(records[i], problem=f"the map is {said}")
    return Shard(maps, tuple(records))


def refuse(problems: Sequence[str]) -> None:
    if problems:
        raise InputError(f"{problems[0]}; without --strict such images are listed and left out")


if __name__ == "__main__":
    cli.run(main, tyro.cli(Options))
