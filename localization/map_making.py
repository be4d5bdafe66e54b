"""Maps of a whole data set into a store, shard by shard: a killed run goes on, and many can share the work.

    made = make_maps(load_network("scenes_cnn"), load("scenes", limit=500), "runs/maps")
    print(made.table())

What is found in the store is used again where it is of the very same photos, annotations and target classes, made by
the same weights in the same way; all of that is known by content.
"""

import html
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from localization._processes import check_part
from localization.datasets.dataset import DECODERS, Dataset, Progress, refuse
from localization.options.maps import MapOptions
from localization.store import Damaged, Record, Shard, Store, create_store
from localization.transforms import pooled
from saliency._checks import function, kind_of
from saliency._cores import cores
from saliency._files import check_writable
from saliency.errors import InputError
from saliency.maps.status import status
from saliency.methods import METHODS, Method
from saliency.models.classes import ClassList, match_labels, read_classes
from saliency.models.network import Network
from saliency.report.record import content_hash, plain


@dataclass(frozen=True)
class MadeMaps:
    """The `store`, how many maps this run made (`made`) in how many `seconds`, of how many `images`; `rows` are those
    without a map, each with why; `complete` is False while other runs' shards are awaited."""

    store: Store
    made: int
    seconds: float
    images: int
    rows: Sequence[dict[str, str]]
    complete: bool

    @property
    def notes(self) -> list[str]:
        """Each image without a map, as one line."""
        return [f"{row['image']}: {row['problem']}" for row in self.rows]

    def table(self) -> str:
        """For a terminal: how many maps, how fast, and the first images without one."""
        rate = self.made / max(self.seconds, 1e-9)
        lines = [f"{self.made:,} maps made in {self.seconds:.1f} s ({rate:.1f} a second), of {self.images:,} images"]
        lines += [f"  no map: {note}" for note in self.notes[:10]]
        if self.rows[10:]:
            lines.append(f"  and {len(self.rows) - 10} more, in {self.store.folder / 'index.json'}")
        lines.append(f"{'complete' if self.complete else 'waiting for the other shards'}: {self.store.folder}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.table())}</pre>"


@dataclass(frozen=True)
class Decoded:
    """One image, ready for the network; `placed` is None where `record.problem` says why."""

    record: Record
    placed: np.ndarray | None


def make_maps(
    net: Network,
    data: Dataset,
    folder: Path | str,
    *,
    options: MapOptions | None = None,
    classes: ClassList | Path | str | Sequence[str] | None = None,
    part: int = 0,
    parts: int = 1,
    strict: bool = False,
    progress: Progress | None = None,
) -> MadeMaps:
    """Make the maps of `data` and keep them in the store `folder`, going on with what an earlier run has left there.

    Of many processes each makes every `parts`-th shard from `part` on. `classes` names the network's classes where its
    checkpoint does not, for target "label". An image that gives no map is listed; with `strict` it ends the run.
    `progress` is called with (done, total) images. Raises InputError for bad arguments before anything is written, and
    where the folder holds maps of another origin.
    """
    options = MapOptions() if options is None else options
    kind_of("net", net, Network, "as load_network gives it")
    kind_of("data", data, Dataset, "as localization.datasets.load gives it")
    kind_of("options", options, MapOptions, "or None for the default ones")
    options.check()
    check_part(part, parts)
    function("progress", progress, "(done, total)")
    folder = Path(folder)
    check_writable(folder)
    if strict:
        refuse([f"{note.source}: {note.problem}" for note in data.left_out])
    known = classes if classes is None or isinstance(classes, ClassList) else read_classes(classes)
    targets = _targets(data, net, known) if options.target == "label" else np.full(len(data), -1)
    store = create_store(folder, _description(options, net, data), len(data), options.shard_size)
    start, made, done = time.perf_counter(), 0, 0
    rows = list(store.description["left_out"])
    own = [number for number in store.shards if number % parts == part]
    total = sum(len(store.images(number)) for number in own)
    asked = replace(options, settings=options.settings.expecting(len(data)))
    for number, decoded in _prefetched(data, targets, net, store, own):
        shard = _reusable(store, number, decoded)
        if shard is None:
            shard = _computed(net, decoded, asked)
            if strict:
                refuse([f"{record.source}: {record.problem}" for record in shard.records if record.problem])
            store.write(number, shard)
            made += len(decoded)
        rows += [{"image": record.source, "problem": record.problem} for record in shard.records if record.problem]
        done += len(decoded)
        if progress is not None:
            progress(done, total)
    complete = store.finish(own)
    return MadeMaps(store, made, time.perf_counter() - start, len(data), rows, complete)


def _description(options: MapOptions, net: Network, data: Dataset) -> dict[str, Any]:
    """What the maps are; two stores of the same description hold the same maps of the same images."""
    height, width = net.preprocess.size
    return plain(
        {
            "dataset": data.name,
            "split": data.split,
            "images": content_hash([annotation.source for annotation in data.annotations]),
            "left_out": [{"image": note.source, "problem": note.problem} for note in data.left_out],
            "network": net.name,
            "weights": net.digest,
            "preprocessing": net.preprocess.record(),
            "method": options.method,
            "target": options.target,
            "options": options.settings,
            "size": options.size or (height, width),
            "precision": options.precision,
        }
    )


def _targets(data: Dataset, net: Network, classes: ClassList | None) -> Int[np.ndarray, " n"]:
    """The network's index of each image's first label."""
    labels = [annotation.labels[0] if annotation.labels else "" for annotation in data.annotations]
    match = match_labels(labels, net.classes if classes is None else classes)
    if match.missed:
        first = [*match.unknown, *match.ambiguous][0]
        raise InputError(
            f"{net.name} has no class {first!r}: {match.describe()}; name its classes by `classes`, or use"
            " `target` predicted"
        )
    return match.indices


def _prefetched(
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
    record = Record(annotation.source, annotation.size, annotation.labels, boxes, pixels, target, problem)
    return Decoded(record, placed)


def _reusable(store: Store, number: int, decoded: Sequence[Decoded]) -> Shard | None:
    """The shard on disk, if it is whole and of these very images, annotations and targets."""
    try:
        shard = store.read(number)
    except Damaged:
        return None
    same = len(shard.records) == len(decoded) and all(
        replace(found, problem=one.record.problem) == one.record for found, one in zip(shard.records, decoded)
    )
    return shard if same else None


def _computed(net: Network, decoded: Sequence[Decoded], options: MapOptions) -> Shard:
    """The maps of a shard, pooled; an image without one, or with one that says nothing, has a problem in its record."""
    method: Method = METHODS[options.method]
    size = options.size or net.preprocess.size
    maps, records = np.zeros((len(decoded), *size), np.float32), [one.record for one in decoded]
    placed = {i: one.placed for i, one in enumerate(decoded) if one.placed is not None}
    if placed:
        good = list(placed)
        x = _normalised(net, list(placed.values()))
        target = None if options.target == "predicted" else np.array([records[i].target for i in good])
        found = method.maps(net, x, target=target, options=options.settings)
        maps[good] = pooled(found, size)
        for i, said in zip(good, status(maps[good])):
            if said != "ok":
                maps[i] = 0
                records[i] = replace(records[i], problem=f"the map is {said}")
    return Shard(maps, tuple(records))


def _normalised(net: Network, placed: Sequence[np.ndarray]) -> np.ndarray:
    """Float32 `[n, h, w, c]` as the network takes them, all cores at work."""
    x = np.empty((len(placed), *placed[0].shape), np.float32)

    def enter(i: int) -> None:
        x[i] = net.preprocess.normalise(placed[i])

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(enter, range(len(x))))  # raises what a thread raised
    return x
