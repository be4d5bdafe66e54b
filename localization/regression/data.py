"""Images that have a map in every one of some stores, as a regression needs them: features, boxes, and the way back.

Boxes are in pixels of the maps where they are learned and predicted, and in pixels of the photos where they are scored.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from localization.boxes import area, to_input, to_photo
from localization.features import Features
from localization.regression.rows import FeatureBlocks
from localization.store import Record, Store, open_store
from saliency.errors import InputError
from saliency.models.preprocessing import Placement, from_record
from saliency.report.entry import entry_words

SOURCE = ("dataset", "network", "weights", "preprocessing", "target", "options")  # beside the method


@dataclass(frozen=True, eq=False)
class RegressionData:
    """`records` of the usable images of all shards; `where` `[n, 2]` is each one's (shard, row); `notes` count
    the others.

    `shards` are those whose maps this process reads. Features are kept in memory if they take at most `cache` bytes.
    """

    stores: tuple[Store, ...]
    features: Features
    records: tuple[Record, ...]
    where: Int[np.ndarray, "n 2"]
    shards: tuple[int, ...]
    cache: int
    notes: tuple[str, ...] = ()
    _kept: dict[int, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the maps."""
        height, width = self.stores[0].description["size"]
        return height, width

    @property
    def width(self) -> int:
        """Features an image."""
        return len(self.stores) * self.features.count(*self.size)

    @property
    def source(self) -> Mapping[str, Any]:
        """What the maps are, for a bundle to hold against others; a list where the stores differ in something."""
        source: dict[str, Any] = {"method": "+".join(store.description["method"] for store in self.stores)}
        for key in SOURCE:
            first, *rest = stated = [store.description[key] for store in self.stores]
            source[key] = first if all(own == first for own in rest) else stated
        return source

    def placement(self, i: int) -> Placement:
        return from_record(self.stores[0].description["preprocessing"]).placement(self.records[i].size)

    def entry(self) -> str:
        """How the photos entered the network, and what was cut away of them, as a sentence."""
        preprocess = from_record(self.stores[0].description["preprocessing"])
        return entry_words(preprocess, [record.size for record in self.records])

    def target_boxes(self) -> Float[np.ndarray, "n 4"]:
        """The box that is learned of each image, its largest, in pixels of the map."""
        placed = [to_input(boxes[area(boxes).argmax()], self.placement(i)) for i, boxes in enumerate(self.true())]
        return np.array(placed).reshape(-1, 4) * self._from_input()

    def photos(self) -> Int[np.ndarray, " n"]:
        """A number for the photo of each image; images of the same pixels have the same one."""
        shown = [record.pixels or f"image {record.source}" for record in self.records]
        return np.unique(shown, return_inverse=True)[1]

    def true(self) -> list[Float[np.ndarray, "k 4"]]:
        """All boxes of each image, in pixels of the photo."""
        return [np.array(record.boxes) for record in self.records]

    def to_photos(self, boxes: Float[np.ndarray, "m 4"], images: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m 4"]:
        """Boxes in pixels of the map, of these images, in pixels of their photos."""
        boxes = boxes / self._from_input()
        return np.array([to_photo(box, self.placement(int(i))) for box, i in zip(boxes, images)]).reshape(-1, 4)

    def typical(self) -> Float[np.ndarray, "k h w"]:
        """The mean map of the first shard, for a picture of the weights."""
        maps = np.stack([store.read(0).maps for store in self.stores], axis=1)
        return maps.mean(0, dtype=np.float64).astype(np.float32)

    def local_indices(self, images: Int[np.ndarray, " m"]) -> Int[np.ndarray, " k"]:
        """Those of the images whose maps this process reads, in the order in which `feature_blocks` gives them."""
        mine = np.sort(images)[np.isin(self.where[np.sort(images), 0], self.shards)]
        return mine[np.lexsort(self.where[mine].T[::-1])]

    def map_blocks(self, images: Int[np.ndarray, " m"]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """This process's share of the images, a shard at a time: their indices, and the maps of all stores float32
        `[k, h, w]`, or `[k, m, h, w]` of m stores."""
        own = self.local_indices(images)
        shards, rows = self.where[own].T
        for shard in np.unique(shards):
            maps = [store.read(int(shard)).maps[rows[shards == shard]] for store in self.stores]
            yield own[shards == shard], maps[0] if len(maps) == 1 else np.stack(maps, 1)

    def feature_blocks(self, images: Int[np.ndarray, " m"], targets: Float[np.ndarray, "n t"]) -> FeatureBlocks:
        """Features of this process's share of the images; `targets` are of all images."""
        own = self.local_indices(images)
        shards, rows = self.where[own].T

        def blocks() -> Iterator[np.ndarray]:
            for shard in np.unique(shards):
                yield self._features(int(shard))[rows[shards == shard]]

        return FeatureBlocks(blocks, targets[own], self.width)

    def _features(self, shard: int) -> Float[np.ndarray, "k d"]:
        if shard in self._kept:
            return self._kept[shard]
        maps = np.stack([store.read(shard).maps for store in self.stores], axis=1)
        x = self.features(maps)
        if 4 * self.width * len(self) <= self.cache:
            self._kept[shard] = x
        return x

    def _from_input(self) -> Float[np.ndarray, "4"]:
        height, width = self.stores[0].description["preprocessing"]["size"]
        return np.array([self.size[1] / width, self.size[0] / height] * 2)


def open_regression_data(
    folders: Sequence[Path], features: Features, *, part: int = 0, parts: int = 1, cache: int = 2**31
) -> RegressionData:
    """Stores of the same images, one method each, of which this process reads every `parts`-th shard from `part` on."""
    stores = tuple(open_store(folder) for folder in folders)
    if not stores:
        raise InputError("no store of maps was named: give one that make_maps has filled")
    for store in stores[1:]:
        for key in ("images", "size", "preprocessing"):
            if store.description[key] != stores[0].description[key]:
                raise InputError(f"{store.folder} and {stores[0].folder} differ in {key}, so they cannot be stacked")
        if store.shard_size != stores[0].shard_size:
            raise InputError(f"{store.folder} and {stores[0].folder} differ in shard_size, so they cannot be stacked")
    records, where = [], []
    no_map = [str(one["image"]) for one in stores[0].description.get("left_out", ())]
    no_box: list[str] = []
    for shard in stores[0].shards:
        for row, same in enumerate(zip(*(store.records(shard) for store in stores), strict=True)):
            _check_same(stores, same)
            if any(record.problem for record in same):
                no_map.append(same[0].source)
            elif not same[0].boxes:
                no_box.append(same[0].source)
            else:
                records.append(same[0])
                where.append((shard, row))
    notes = tuple(
        f"{len(found):,} images have no {what} and are left out, the first {found[0]}"
        for what, found in (("map", no_map), ("box", no_box))
        if found
    )
    if not records:
        raise InputError(f"{stores[0].folder}: none of its images has a map and a box")
    shards = tuple(stores[0].shards)[part::parts]
    return RegressionData(stores, features, tuple(records), np.array(where), shards, cache, notes)


def _check_same(stores: Sequence[Store], records: Sequence[Record]) -> None:
    """InputError where stores hold maps of other photos, or of other annotations, under one id."""
    first = records[0]
    for store, record in zip(stores[1:], records[1:]):
        for key in ("source", "pixels", "boxes", "labels"):
            if getattr(record, key) != getattr(first, key) and (key != "pixels" or (first.pixels and record.pixels)):
                raise InputError(
                    f"{store.folder} and {stores[0].folder} differ in the {key} of {first.source}, so they cannot be"
                    " stacked; make the older one again"
                )
