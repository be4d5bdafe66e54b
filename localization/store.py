"""Maps of a whole data set on disk: shards that are whole or not there, each with what its images were.

A store is a folder. `store.json` says what the maps are (network, weights, preprocessing, score, method, options, size)
and of how many images; `maps-00000.safetensors` and so on hold `values` `[k, h, w]` (float16 or float32) and `scales`
float32 `[k]`, map = value * scale, with one record an image in the header; `index.json`, written when all shards are
there, lists them with their digests and the images that gave no map. The same input gives the same bytes.

A shard's key is a hash of the description and of its images' pixels, its digest one of all that it holds: a shard of
other images, a truncated and an altered one are told apart from a good one, and are never used.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError, safe_open

from localization.report import content_hash, write_json
from saliency.errors import InputError
from saliency.files import write_tensors

Precision = Literal["float16", "float32"]
FORMAT = 1


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
        try:
            found = json.loads((self.folder / "store.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{self.folder}: was removed while maps were made; run the same command again") from None
        except ValueError as error:
            raise InputError(f"{self.folder / 'store.json'}: damaged ({error}); remove {self.folder}") from None
        if found != json.loads(json.dumps(self.header)):
            raise InputError(f"{self.folder}: holds maps of another origin or setting; choose another --out")

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
        records = header.get("records", [])
        known = {"scales", "values"} <= tensors.keys() and header.get("format") == FORMAT
        if not known or header["digest"] != content_hash(tensors["scales"], tensors["values"], records):
            raise Damaged(f"{self.path(number)}: not what was written; run make_maps again to replace it")
        if header["key"] != self.key([record["pixels"] for record in records]):
            raise Damaged(f"{self.path(number)}: a shard of other maps; run make_maps again to replace it")
        maps = tensors["values"].astype(np.float32) * tensors["scales"][:, None, None]
        return Shard(maps, tuple(_record(record) for record in records))

    def __iter__(self) -> Iterator[Shard]:
        return (self.read(number) for number in self.shards)

    def finish(self) -> bool:
        """Write the index if all shards are there (several processes may: they write the same)."""
        self.check()
        if not all(self.path(number).exists() for number in self.shards):
            return False
        headers = [self._opened(number, tensors=False)[0] for number in self.shards]
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
        return True

    def digest(self) -> str:
        """A hash of all that the index lists."""
        return content_hash(json.loads((self.folder / "index.json").read_text(encoding="utf-8")))

    def records(self, number: int) -> tuple[Record, ...]:
        """What a shard says of its images, without reading or verifying its maps."""
        return tuple(_record(record) for record in self._opened(number, tensors=False)[0]["records"])

    def _opened(self, number: int, tensors: bool = True) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        path = self.path(number)
        try:
            with safe_open(path, "numpy") as file:
                header = json.loads((file.metadata() or {}).get("shard", "{}"))
                return header, {name: file.get_tensor(name) for name in sorted(file.keys()) if tensors}
        except FileNotFoundError:
            raise Damaged(f"{path}: no such shard; run make_maps again to make it") from None
        except (OSError, SafetensorError, ValueError) as error:
            raise Damaged(f"{path}: truncated or altered ({error}); run make_maps again to replace it") from error


def create_store(folder: Path, description: Mapping[str, Any], n: int, shard_size: int) -> Store:
    """A new store, or the same one to be gone on with; InputError where the folder holds other maps."""
    store = Store(folder, description, n, shard_size)
    if not (folder / "store.json").exists():
        write_json(folder / "store.json", store.header)
    store.check()
    return store


def open_store(folder: Path) -> Store:
    """A complete store; InputError where there is none."""
    try:
        header = json.loads((folder / "store.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{folder}: no store of maps; make one with scripts.make_maps --out {folder}") from None
    if not (folder / "index.json").exists():
        raise InputError(f"{folder}: not complete; run make_maps with the same options again to finish it")
    return Store(folder, header["description"], header["n"], header["shard_size"])


def _record(record: Mapping[str, Any]) -> Record:
    boxes = tuple(tuple(box) for box in record["boxes"])
    return Record(**{**record, "size": tuple(record["size"]), "labels": tuple(record["labels"]), "boxes": boxes})
