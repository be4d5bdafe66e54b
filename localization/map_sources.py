"""Where the maps come from that boxes are made of: a network explained by a method, or a folder of another tool's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from localization.datasets.dataset import Dataset
from localization.external import external_maps, placement
from localization.features import pooled
from localization.protocols import Samples
from localization.regression import CoverageMap, LinearMap
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
    `placement(photo, map)`, both (height, width), says where a photo lies in its map. `record` says what they are."""

    name: str
    maps: Callable[[Dataset, Samples, Int[np.ndarray, " k"]], Sequence[np.ndarray] | np.ndarray]
    placement: Callable[[Size, Size], Placement]
    record: Mapping[str, Any] = field(default_factory=dict)

    def pooled(
        self, data: Dataset, samples: Samples, indices: Int[np.ndarray, " k"], size: Size
    ) -> Float[np.ndarray, "k *m h w"]:
        """Maps averaged to `size` at most, and to exactly that where they are of several sizes."""
        maps = self.maps(data, samples, indices)
        shapes = {map.shape[-2:] for map in maps}
        to = size if len(shapes) > 1 else tuple(map(min, next(iter(shapes)), size))
        return np.stack([pooled(map.astype(np.float32), to) for map in maps])


def network_maps(
    net: Network,
    recipe: tuple[str, list[tuple[Method, Options]]],
    target: Literal["predicted", "label"],
    index_of: Mapping[str, int],
) -> MapSource:
    """The maps of a network: of the predicted class, or of each sample's own label, whose class `index_of` gives."""
    name, methods = recipe

    def maps(data: Dataset, samples: Samples, indices: np.ndarray) -> np.ndarray:
        photos, targets = samples.images[indices], None
        back = np.arange(len(indices))
        if target == "label":
            targets = np.array([index_of[samples.labels[i]] for i in indices])
        else:  # the objects of a photo share its map
            photos, back = np.unique(photos, return_inverse=True)
        x = net.preprocess([data.images[i] for i in photos])
        stack = [method.maps(net, x, target=targets, options=options) for method, options in methods]
        return (stack[0] if len(stack) == 1 else np.stack(stack, axis=1))[back]

    said = {
        "method": name,
        "network": net.name,
        "weights": net.digest,
        "preprocessing": plain(net.preprocess.record()),
    }
    return MapSource(name, maps, lambda photo, size: placement(net.preprocess, photo, size), said)


def recipe_of(
    method: str | None, options: Options, default: str, linear: LinearMap | CoverageMap | None
) -> tuple[str, list[tuple[Method, Options]]]:
    """The methods' names, A+B for stacked ones, and each with its options: a linear map's own, unless one is given."""
    if linear is None or method or "method" not in linear.source:
        name = method or default
        return name, [(METHODS[part], options) for part in known_methods(name)]
    name = str(linear.source["method"])
    methods, stated = [METHODS[part] for part in known_methods(name)], linear.source.get("options", {})
    each = stated if isinstance(stated, list) else [stated] * len(methods)
    with as_input_error("the linear map", "does not say how its maps were made; name the method"):
        return name, [(one, _as_stated(own)) for one, own in zip(methods, each, strict=True)]


def known_methods(stacked: str) -> list[str]:
    """The methods of "A+B". Raises InputError for one that is none."""
    names = stacked.split("+")
    for name in names:
        if name not in METHODS:
            raise InputError(f"unknown method {name!r}; choose from {', '.join(METHODS)}")
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
