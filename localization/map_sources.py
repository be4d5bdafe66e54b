"""Where the maps come from that boxes are made of: a network explained by a method, or a folder of another tool's."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from localization.channels import READERS, Reader, read_channels
from localization.datasets.dataset import Dataset
from localization.external import external_maps, placement
from localization.protocols import Samples
from localization.regression import CoverageMap, LinearMap
from localization.regression.coverage import of_methods
from localization.transforms import pooled
from saliency._names import unknown
from saliency._reading import as_input_error
from saliency.errors import InputError
from saliency.methods import METHODS, Method, Options
from saliency.models.network import Network
from saliency.models.preprocessing import Placement
from saliency.report.record import plain

Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class MapSource:
    """`maps(data, samples, indices)` gives for each sample a map float `[h, w]`, or `[m, h, w]` of m methods stacked;
    `placement(photo, map)`, both (height, width), says where a photo lies in its map. `record` says what they are.

    `channels`, of the same arguments, gives what is read of a network without a map, over an input of `frame`; then
    there may be no maps."""

    name: str
    maps: Callable[[Dataset, Samples, Int[np.ndarray, " k"]], Sequence[np.ndarray] | np.ndarray] | None
    placement: Callable[[Size, Size], Placement]
    record: Mapping[str, Any] = field(default_factory=dict)
    channels: Callable[[Dataset, Samples, Int[np.ndarray, " k"]], list[np.ndarray]] | None = None
    frame: Size = (1, 1)

    def features(
        self, data: Dataset, samples: Samples, indices: Int[np.ndarray, " k"], size: Size
    ) -> tuple[list[np.ndarray], Size]:
        """Channels, then the maps of each method, and the (height, width) in whose pixels boxes are learned."""
        maps = of_methods(self.pooled(data, samples, indices, size)) if self.maps else []
        if self.channels is None:
            return maps, (maps[0].shape[1], maps[0].shape[2])
        return [*self.channels(data, samples, indices), *maps], self.frame

    def pooled(
        self, data: Dataset, samples: Samples, indices: Int[np.ndarray, " k"], size: Size
    ) -> Float[np.ndarray, "k *m h w"]:
        """Maps averaged to `size` at most, and to exactly that where they are of several sizes."""
        assert self.maps is not None  # the caller's
        maps = self.maps(data, samples, indices)
        shapes = {map.shape[-2:] for map in maps}
        to = size if len(shapes) > 1 else tuple(map(min, next(iter(shapes)), size))
        return np.stack([pooled(map.astype(np.float32), to) for map in maps])


@dataclass(frozen=True)
class Recipe:
    """What is made of a network: methods with their options, stacked, and a reader's channels of some layers."""

    name: str
    methods: Sequence[tuple[Method, Options]]
    reader: Reader | None = None
    layers: tuple[str, ...] = ()


def network_maps(
    net: Network, recipe: Recipe, target: Literal["predicted", "label"], index_of: Mapping[str, int]
) -> MapSource:
    """The maps and channels of a network: of the predicted class, or of each sample's own label, whose class
    `index_of` gives."""

    def chosen(samples: Samples, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Photos, their target classes, and what takes these back to the samples."""
        photos = samples.images[indices]
        if target == "label":
            return photos, np.array([index_of[samples.labels[i]] for i in indices]), np.arange(len(indices))
        photos, back = np.unique(photos, return_inverse=True)  # the objects of a photo share its map
        return photos, None, back

    def maps(data: Dataset, samples: Samples, indices: np.ndarray) -> np.ndarray:
        photos, targets, back = chosen(samples, indices)
        x = net.preprocess([data.images[i] for i in photos])
        stack = [method.maps(net, x, target=targets, options=options) for method, options in recipe.methods]
        return (stack[0] if len(stack) == 1 else np.stack(stack, axis=1))[back]

    def channels(data: Dataset, samples: Samples, indices: np.ndarray) -> list[np.ndarray]:
        photos, targets, back = chosen(samples, indices)
        x = net.preprocess([data.images[i] for i in photos])
        by_class = recipe.reader is not None and recipe.reader.by_class
        targets = np.full(len(x), -1) if targets is None else targets
        return [own[back] for own in read_channels(net, x, recipe.layers, target=targets if by_class else None)]

    said = {
        "method": recipe.name,
        "network": net.name,
        "weights": net.digest,
        "preprocessing": plain(net.preprocess.record()),
    }
    return MapSource(
        recipe.name,
        maps if recipe.methods else None,
        lambda photo, size: placement(net.preprocess, photo, size),
        said,
        channels if recipe.reader else None,
        net.preprocess.size,
    )


def recipe_of(
    method: str | None,
    options: Options,
    default: str,
    linear: LinearMap | CoverageMap | None,
    layers: tuple[str, ...] = (),
) -> Recipe:
    """The methods' names, A+B for stacked ones, and each with its options: a linear map's own, unless one is given."""
    stated_by_linear = linear is not None and not method and "method" in linear.source
    name = str(linear.source["method"]) if linear is not None and stated_by_linear else method or default
    names = known_methods(name)
    readers = [READERS[one] for one in names if one in READERS]
    methods = [METHODS[one] for one in names if one in METHODS]
    if len(readers) > 1:
        raise InputError(f"`method` {name}: class channels hold the channels too; give one of them")
    each: Sequence[Any] = [options] * len(methods)
    if linear is not None and stated_by_linear:
        stated = linear.source.get("options", {})
        layers = layers or tuple(linear.source.get("layers", ()))
        with as_input_error("the linear map", "does not say how its maps were made; name the method"):
            each = [_as_stated(own) for own in (stated if isinstance(stated, list) else [stated] * len(methods))]
    with as_input_error("the linear map", "does not say how its maps were made; name the method"):
        return Recipe(name, list(zip(methods, each, strict=True)), readers[0] if readers else None, layers)


def known_methods(stacked: str) -> list[str]:
    """The methods and readers of "A+B". Raises InputError for one that is none."""
    able = [*METHODS, *(name for name, reader in READERS.items() if not reader.maps)]
    names = re.split(r"\+(?=[a-z])", stacked)  # not the pluses that end a name
    for name in names:
        if name not in able and name not in METHODS:
            raise InputError(unknown("method", name, able))
    return names


def folder_maps(folder: Path, parts: Sequence[tuple[Dataset, Samples]]) -> tuple[MapSource, str]:
    """Another tool's maps of the photos of all samples, and a hash of them; see `localization.external`."""
    photos = {
        data.annotations[i].source: data.annotations[i].size for data, samples in parts for i in set(samples.images)
    }
    found = external_maps(folder, list(photos), list(photos.values()))

    def maps(data: Dataset, samples: Samples, indices: np.ndarray) -> list[np.ndarray]:
        return [found.read(data.annotations[samples.images[i]].source) for i in indices]

    return MapSource(folder.resolve().name, maps, found.placement), found.digest


def _as_stated(options: Mapping[str, Any]) -> Options:
    """Options as JSON holds them."""
    fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in options.items()}
    return Options(**fields)
