"""Maps of a whole data set on disk: shards that are whole or not there, each with what its images were.

A store is a folder. `store.json` says what the maps are (network, weights, preprocessing, score, method, options, size)
and of how many images; `maps-00000.safetensors` and so on hold `values` `[k, h, w]` (float16 or float32) and `scales`
float32 `[k]`, map = value * scale, with one record an image in the header; `index.json`, written when all shards are
there, lists them with their digests and the images that gave no map. The same input gives the same bytes.

A shard's key is a hash of the description and of its images' pixels, its digest one of all that it holds: a shard of
other images, a truncated and an altered one are told apart from a good one, and are never used.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from saliency._checks import described, whole
from saliency._files import write_tensors
from saliency._reading import read_json, read_tensors
from saliency.errors import InputError
from saliency.report.record import content_hash, write_json

Precision = Literal["float16", "float32"]
FORMAT = 1  # raised whenever the same description comes to mean other maps, or other records
REMOVED = "was removed while maps were made; run the same command again"


@dataclass(frozen=True)
class Record:
    """One image: its id, its photo's (height, width), its objects' labels and boxes in the photo's pixels, a hash of
    those pixels, the class that was explained (-1: the predicted one), and why there is no map ("": there is one)."""

    source: str
    size: tuple[int, int]
    labels: tuple[str, ...]
    boxes: tuple[tuple[float, ...], ...]
    pixels: str
    target: int = -1
    problem: str = ""


@dataclass(frozen=True)
class Shard:
    """Maps float32 `[k, h, w]` of the records; zeros where a record has a problem."""

    maps: Float[np.ndarray, "k h w"]
    records: tuple[Record, ...]


class Damaged(InputError):
    """A shard that is not what was written, or not of these images."""


@dataclass(frozen=True)
class Store:
    """`description` is what the maps are; `shard_size` images a shard, of `n` in all."""

    folder: Path
    description: Mapping[str, Any]
    n: int
    shard_size: int

    @property
    def shards(self) -> range:
        return range(-(-self.n // self.shard_size))

    def images(self, number: int) -> range:
        """Which images a shard holds, in the data set's order."""
        return range(number * self.shard_size, min((number + 1) * self.shard_size, self.n))

    def path(self, number: int) -> Path:
        return self.folder / f"maps-{number:05d}.safetensors"

    def key(self, pixels: Sequence[str]) -> str:
        """What a shard of images with these hashes must bear."""
        return content_hash(self.description, list(pixels))

    @property
    def header(self) -> dict[str, Any]:
        return {"format": FORMAT, "description": self.description, "n": self.n, "shard_size": self.shard_size}

    def check(self) -> None:
        """InputError where the folder is no longer this store: removed, or taken by a run with other settings."""
        path = self.folder / "store.json"
        if not path.exists():
            raise InputError(f"{self.folder}: {REMOVED}")
        if read_json(path) != json.loads(json.dumps(self.header)):
            raise InputError(f"{self.folder}: holds maps of another origin or setting; choose another folder")

    def write(self, number: int, shard: Shard) -> None:
        """Whole or not at all; float16 maps are divided by their maximum, for a gradient would vanish otherwise."""
        precision = self.description["precision"]
        scales = np.ones(len(shard.maps), np.float32)
        if precision == "float16":
            largest = np.abs(shard.maps).max((1, 2))
            scales = np.where(largest > 0, largest, 1).astype(np.float32)
        tensors = {"scales": scales, "values": (shard.maps / scales[:, None, None]).astype(precision)}
        records = [asdict(record) for record in shard.records]
        header = {
            "format": FORMAT,
            "key": self.key([record.pixels for record in shard.records]),
            "digest": content_hash(tensors["scales"], tensors["values"], records),
            "records": records,
        }
        self.check()
        (self.folder / "index.json").unlink(missing_ok=True)  # until it is true again
        write_tensors(self.path(number), tensors, {"shard": json.dumps(header)})

    def read(self, number: int) -> Shard:
        """A verified shard; Damaged names one that is missing, broken or altered."""
        header, tensors = self._opened(number)
        complete = {"scales", "values"} <= tensors.keys()
        if not complete or header["digest"] != content_hash(tensors["scales"], tensors["values"], header["records"]):
            raise Damaged(f"{self.path(number)}: not what was written; run make_maps again to replace it")
        maps = tensors["values"].astype(np.float32) * tensors["scales"][:, None, None]
        return Shard(maps, self._records(number, header))

    def __iter__(self) -> Iterator[Shard]:
        return (self.read(number) for number in self.shards)

    def finish(self, own: Iterable[int] = ()) -> bool:
        """Write the index if all shards are there (several processes may: they write the same).

        InputError where one of `own`, which this process has made or found, no longer is.
        """
        self.check()
        complete = all(self.path(number).exists() for number in self.shards)
        if complete:
            self._index()
        for path in map(self.path, own):  # after the index: they may go while their headers are read for it
            if not path.exists():
                raise InputError(f"{path}: {REMOVED}")
        return complete

    def _index(self) -> None:
        headers = [self._opened(number, only_header=True)[0] for number in self.shards]
        problems = list(self.description.get("left_out", ())) + [
            {"image": record["source"], "problem": record["problem"]}
            for header in headers
            for record in header["records"]
            if record["problem"]
        ]
        write_json(
            self.folder / "index.json",
            {
                "format": FORMAT,
                "images": self.n,
                "shards": [
                    {"file": self.path(number).name, "key": header["key"], "digest": header["digest"]}
                    for number, header in zip(self.shards, headers)
                ],
                "problems": problems,
            },
        )

    def digest(self) -> str:
        """A hash of all that the index lists."""
        return content_hash(read_json(self.folder / "index.json"))

    def records(self, number: int) -> tuple[Record, ...]:
        """What a shard says of its images, without reading or verifying its maps."""
        return self._records(number, self._opened(number, only_header=True)[0])

    def _records(self, number: int, header: Mapping[str, Any]) -> tuple[Record, ...]:
        try:
            records = tuple(_record(record) for record in header["records"])
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise Damaged(f"{self.path(number)}: not what was written; run make_maps again to replace it") from error
        if header["key"] != self.key([record.pixels for record in records]):
            raise Damaged(f"{self.path(number)}: a shard of other maps; run make_maps again to replace it")
        return records

    def _opened(self, number: int, only_header: bool = False) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        path = self.path(number)
        if not path.exists():
            raise Damaged(f"{path}: no such shard; run make_maps again to make it")
        try:
            tensors, metadata = read_tensors(path, only_header)
            header = json.loads(metadata.get("shard", "{}"))
        except ValueError as error:  # what JSON and our own readers raise
            raise Damaged(f"{error}: truncated or altered; run make_maps again to replace it") from error
        if not isinstance(header, dict) or not {"format", "key", "digest", "records"} <= header.keys():
            raise Damaged(f"{path}: truncated or altered; run make_maps again to replace it")
        return header, tensors


def create_store(folder: Path | str, description: Mapping[str, Any], n: int, shard_size: int) -> Store:
    """A new store, or the same one to be gone on with; InputError where the folder holds other maps."""
    folder = _folder(folder)
    store = Store(folder, description, n, shard_size)
    if not (folder / "store.json").exists():
        write_json(folder / "store.json", store.header)
    store.check()
    return store


def _folder(value: Path | str) -> Path:
    if not isinstance(value, str | Path):
        raise InputError(f"folder must be the path of a store, not {described(value)}")
    return Path(value)


def open_store(folder: Path | str) -> Store:
    """A complete store; InputError where there is none."""
    folder = _folder(folder)
    path, index = folder / "store.json", folder / "index.json"
    if not path.exists():
        raise InputError(f"{folder}: no store of maps; make_maps makes one")
    if not index.exists():
        raise InputError(f"{folder}: not complete; run make_maps with the same options again to finish it")
    header, listed = read_json(path), read_json(index)
    try:
        whole("n", header["n"])
        whole("shard_size", header["shard_size"], least=1)
        store = Store(folder, dict(header["description"]), header["n"], header["shard_size"])
        if (header["format"], listed["images"], len(listed["shards"])) != (FORMAT, store.n, len(store.shards)):
            raise InputError(f"{index.name} tells of other maps")
    except (TypeError, ValueError, KeyError) as error:
        said = f"{path} or {index.name} is not what was written ({error})"
        raise InputError(f"{said}; make the maps again in another folder") from error
    return store


def _record(record: Mapping[str, Any]) -> Record:
    boxes = tuple((float(x0), float(y0), float(x1), float(y1)) for x0, y0, x1, y1 in record["boxes"])
    height, width = record["size"]
    return Record(**{**record, "size": (height, width), "labels": tuple(record["labels"]), "boxes": boxes})
