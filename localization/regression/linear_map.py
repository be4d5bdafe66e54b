"""The linear map as it is applied and stored: maps `[n, (k,) h, w]` to boxes `[n, 4]`.

A bundle is a safetensors file with the weights and, in its header, JSON: which features, which coding, what the maps
were, how it was fitted. It applies to maps of the same origin only.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from localization.boxes import as_boxes, clip, ordered
from localization.features import Coding, Features, stacked
from localization.transforms import transformed
from saliency._checks import StackedMapsLike, one_of
from saliency._files import write_tensors
from saliency._reading import as_input_error, read_tensors
from saliency.devices import precision
from saliency.errors import InputError
from saliency.maps.status import usable

FORMAT = 2


@dataclass(frozen=True)
class LinearMap:
    """`weights` float64 `[d, 4]`, `intercept` float64 `[4]`, of box codes in shares of the maps' width and height.

    `typical` is the mean of the training maps, k methods stacked. `source` says what the maps were: method, network,
    score, layer and so on. `record` says how the fit was made.
    """

    weights: Float[np.ndarray, "d 4"]
    intercept: Float[np.ndarray, " 4"]
    features: Features
    coding: Coding
    typical: Float[np.ndarray, "k h w"]
    source: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def methods(self) -> int:
        return self.typical.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the maps it applies to."""
        return self.typical.shape[1], self.typical.shape[2]

    def predict(self, maps: StackedMapsLike, *, source: Mapping[str, Any] | None = None) -> Float[np.ndarray, "n 4"]:
        """Boxes `x0 y0 x1 y1` in pixels of the maps, clipped to them and ordered.

        A map that says nothing gives a box of NaN, and `status` says why: its box would be the training boxes' alone.
        Raises InputError for maps of another size or number, or of another `source` where both sides state it.
        """
        maps = self.checked(maps, source or {})
        return np.where(usable(maps)[:, None], self.predict_features(self.features(maps)), np.nan)

    def predict_features(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n 4"]:
        """The same from features that were computed before."""
        finite = np.isfinite(x).all(1, keepdims=True)
        codes = np.where(finite, x, 0) @ self.weights + self.intercept
        return np.where(finite, decoded(codes, self.coding, self.size), np.nan)

    def checked(self, maps: StackedMapsLike, source: Mapping[str, Any]) -> Float[np.ndarray, "n k h w"]:
        if isinstance(maps, list | tuple) and not len(maps):
            maps = np.empty((0, self.methods, *self.size))
        maps = stacked(maps)
        if maps.shape[1] != self.methods:
            raise InputError(f"this linear map takes {self.methods} stacked map(s) an image, not {maps.shape[1]}")
        if maps.shape[2:] != self.size:
            got, own = ("x".join(map(str, size)) for size in (maps.shape[2:], self.size))
            raise InputError(f"this linear map was fitted to maps of {own} and cannot be applied to {got}: fit another")
        for key, own in self.source.items():
            if key in source and source[key] != own:
                raise InputError(
                    f"this linear map was fitted to maps of {key} {own!r}, these are of {source[key]!r}: fit another"
                )
        return maps

    @property
    def penalty(self) -> float:
        """The ridge penalty, relative to the mean eigenvalue of the features' covariance."""
        return float(self.record["penalty"])

    def images(self) -> Float[np.ndarray, "4 k h w"]:
        """How each pixel moves each number of the code, about the typical map: for features that are pixels, the
        weights themselves."""
        weights = jnp.asarray(self.weights, jnp.float32)
        return np.asarray(
            jax.jacrev(
                lambda maps: jnp.matmul(
                    transformed(maps[None], features=self.features)[0], weights, precision=precision()
                )
            )(self.typical)
        )

    def save(self, path: Path | str) -> None:
        header = {
            "format": FORMAT,
            "features": asdict(self.features),
            "coding": self.coding,
            "source": dict(self.source),
            "record": dict(self.record),
        }
        tensors = {name: np.ascontiguousarray(getattr(self, name)) for name in ("weights", "intercept", "typical")}
        write_tensors(path, tensors, {"linear_map": json.dumps(header)})


def load_linear_map(path: Path | str) -> LinearMap:
    """A saved linear map; InputError for a file that is none, or is broken."""
    tensors, metadata = read_tensors(path)
    with as_input_error(path, "not a linear map of this version; fit and save it again"):
        header = json.loads(metadata["linear_map"])
        stated: Any = {key: tuple(v) if isinstance(v, list) else v for key, v in header["features"].items()}
        features = Features(**stated)
        linear = LinearMap(
            tensors["weights"],
            tensors["intercept"],
            features,
            header["coding"],
            tensors["typical"],
            dict(header["source"]),
            dict(header["record"]),
        )
        one_of("coding", linear.coding, get_args(Coding))
        shapes = (linear.methods * features.count(*linear.size), 4), (4,)
        if header["format"] != FORMAT or (linear.weights.shape, linear.intercept.shape) != shapes:
            raise ValueError(f"format {header['format']}, weights {list(linear.weights.shape)}")
        if not all(np.isfinite(tensors[name]).all() for name in ("weights", "intercept", "typical")):
            raise ValueError("numbers that are not finite")
    return linear


def encoded(boxes: Float[np.ndarray, "n 4"], coding: Coding, size: tuple[int, int]) -> Float[np.ndarray, "n 4"]:
    """Boxes in pixels as shares of the map's width and height: corners, or centre, width and height."""
    one_of("coding", coding, get_args(Coding))
    corners = as_boxes(boxes) / np.array([size[1], size[0]] * 2)
    if coding == "corners":
        return corners
    low, high = corners[:, :2], corners[:, 2:]
    return np.concatenate([(low + high) / 2, high - low], 1)


def decoded(codes: Float[np.ndarray, "n 4"], coding: Coding, size: tuple[int, int]) -> Float[np.ndarray, "n 4"]:
    """The boxes of codes, with their corners in order and inside the map."""
    a, b = codes[:, :2], codes[:, 2:]
    low, high = (a - b / 2, a + b / 2) if coding == "centre" else (a, b)
    return clip(ordered(np.concatenate([low, high], 1) * np.array([size[1], size[0]] * 2)), size)
