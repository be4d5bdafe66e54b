"""What the linear map of a box regression sees of a saliency map: fixed transforms, nothing learned.

Maps are float `[n, h, w]`, or `[n, k, h, w]` for k methods stacked; features are float32 `[n, d]`, the
methods' one after another. Smoothing and pooling are products with a matrix for the rows and one for the columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from saliency._checks import StackedMapsLike, as_array, kind_of, number, one_of, whole
from saliency.errors import InputError

Normalise = Literal["none", "sum", "max", "standardised"]
CHUNK = 256  # maps at once
TINY = 1e-30
FOCUS_POWER = 8.0


@dataclass(frozen=True)
class Features:
    """Per map: smooth, focus, pool, raise to a power, normalise. `Features.raw()` is the paper's Eq. 4, all pixels.

    `smooth`: sigma of a Gaussian in pixels of the map. `size`: the most (rows, columns), pooled to by area (None: all).
    `normalise` divides a map by its sum or maximum, or makes it of mean 0 and deviation 1. `pixels=False` leaves the
    pixels themselves out.

    `focus`: sigma of a second Gaussian, as a share of the map's shorter side (0: none). The smoothed map's positive
    part is multiplied by the FOCUS_POWER-th power of itself under that Gaussian: what stands alone fades beside the
    largest group.

    `profiles`: quantiles q. The smoothed and powered map's share of mass above each row (left of each column), c, rises
    from 0 to 1; sigmoid((q - c) / `softness`) is then 1 before the q-quantile of the mass and 0 after it, so that
    a box's edge is nearly linear in these: their sum over the rows is the quantile's position. They are pooled to
    `size`, too.
    """

    size: tuple[int, int] | None = (24, 24)
    smooth: float = 1.0
    focus: float = 0.125
    power: float = 1.0
    normalise: Normalise = "sum"
    pixels: bool = False
    profiles: tuple[float, ...] = (0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98)
    softness: float = 0.05

    def __post_init__(self) -> None:
        one_of("normalise", self.normalise, get_args(Normalise))
        if self.size is not None:
            kind_of("size", self.size, tuple, "(rows, columns) of at least 1")
            if len(self.size) != 2:
                raise InputError(f"size must be (rows, columns), not {self.size}")
            for side in self.size:
                whole("size", side, least=1)
        for name in ("smooth", "focus"):
            number(name, getattr(self, name), least=0)
        for name in ("power", "softness"):
            number(name, getattr(self, name), above=0)
        kind_of("profiles", self.profiles, tuple, "quantiles between 0 and 1")
        for quantile in self.profiles:
            number("profiles", quantile, above=0, below=1)
        kind_of("pixels", self.pixels, bool, "whether pixels are features")
        if not self.pixels and not self.profiles:
            raise InputError("pixels=False without profiles leaves no features; give some quantiles as profiles")

    @classmethod
    def raw(cls, size: tuple[int, int] | None = None, normalise: Normalise = "none") -> "Features":
        return cls(size=size, smooth=0.0, focus=0.0, normalise=normalise, pixels=True, profiles=())

    def pooled(self, height: int, width: int) -> tuple[int, int]:
        """(rows, columns) that a map of height and width is pooled to."""
        rows, columns = self.size or (height, width)
        return min(rows, height), min(columns, width)

    def count(self, height: int, width: int) -> int:
        """Features of one method's map."""
        rows, columns = self.pooled(height, width)
        return rows * columns * self.pixels + len(self.profiles) * (rows + columns)

    def __call__(self, maps: StackedMapsLike) -> Float[np.ndarray, "n d"]:
        """Features in chunks of one compiled shape. A map that is not finite gives NaN features."""
        maps = stacked(maps)
        n, chunk = len(maps), min(CHUNK, len(maps))
        parts = [
            np.asarray(transformed(jnp.asarray(maps[np.minimum(np.arange(i, i + chunk), n - 1)]), features=self))
            for i in range(0, n, chunk or 1)
        ]
        width = maps.shape[1] * self.count(*maps.shape[2:])
        return np.concatenate(parts)[:n] if parts else np.empty((0, width), np.float32)


def stacked(maps: StackedMapsLike) -> Float[np.ndarray, "n k h w"]:
    """Maps with an axis of methods, or InputError for another shape."""
    maps = as_array("maps", maps, "numbers [n, h, w], or [n, k, h, w] for k methods stacked, of at least one pixel")
    if maps.ndim not in (3, 4) or 0 in maps.shape[1:] or maps.dtype.kind not in "fiub":
        raise InputError(
            f"maps must be numbers [n, h, w], or [n, k, h, w] for k methods stacked, of at least one pixel,"
            f" not {maps.dtype} {list(maps.shape)}"
        )
    return maps[:, None] if maps.ndim == 3 else maps


@partial(jax.jit, static_argnames="features")
def transformed(maps: Float[Array, "n k h w"], *, features: Features) -> Float[Array, "n d"]:
    """The features themselves, as a traceable function."""
    n, _, height, width = maps.shape
    rows, columns = features.pooled(height, width)
    smooth = [jnp.asarray(gaussian(size, features.smooth), jnp.float32) for size in (height, width)]
    pool = [jnp.asarray(areas(size, to), jnp.float32) for size, to in ((height, rows), (width, columns))]
    # float32 to the last bit on an accelerator too
    product = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    maps = maps.astype(jnp.float32)
    if features.smooth:
        maps = product(product(smooth[0], maps), smooth[1].T)
    if features.focus:
        sigma = features.focus * min(height, width)
        wide = [jnp.asarray(gaussian(size, sigma), jnp.float32) for size in (height, width)]
        positive = normalised(jnp.maximum(maps, 0), "max")
        maps = positive * normalised(product(product(wide[0], positive), wide[1].T), "max") ** FOCUS_POWER
    parts = []
    if features.pixels:
        pooled = product(product(pool[0], maps), pool[1].T)
        parts.append(normalised(powered(pooled, features.power), features.normalise).reshape(*maps.shape[:2], -1))
    if features.profiles:
        mass = powered(maps, features.power)
        quantiles = jnp.asarray(features.profiles, jnp.float32)[:, None]
        for axis, matrix in ((-1, pool[0]), (-2, pool[1])):
            share = mass.sum(axis)
            above = (jnp.cumsum(share, -1) - share / 2) / jnp.maximum(share.sum(-1, keepdims=True), TINY)
            steps = jax.nn.sigmoid((quantiles - above[..., None, :]) / features.softness)
            parts.append(product(steps, matrix.T).reshape(*maps.shape[:2], -1))
    return jnp.concatenate(parts, -1).reshape(n, -1)


def powered(maps: Array, power: float) -> Array:
    return maps if power == 1 else jnp.abs(maps) ** power


def normalised(maps: Float[Array, "*n h w"], how: Normalise) -> Float[Array, "*n h w"]:
    """Each map by itself. Sum and maximum are of absolute values; a sum of 1 is scaled to a mean of 1."""
    axes = (-2, -1)
    match how:
        case "sum":
            return maps / jnp.maximum(jnp.abs(maps).mean(axes, keepdims=True), TINY)
        case "max":
            return maps / jnp.maximum(jnp.abs(maps).max(axes, keepdims=True), TINY)
        case "standardised":
            return (maps - maps.mean(axes, keepdims=True)) / jnp.maximum(maps.std(axes, keepdims=True), TINY)
        case "none":
            return maps


def gaussian(size: int, sigma: float) -> Float[np.ndarray, "size size"]:
    """Row i weighs the pixels round i; at a border what is left of the bell is scaled up to 1."""
    if not sigma:
        return np.eye(size)
    distance = np.subtract.outer(np.arange(size), np.arange(size))
    bell = np.exp(-0.5 * (distance / sigma) ** 2)
    return bell / bell.sum(1, keepdims=True)


def areas(size: int, to: int) -> Float[np.ndarray, "to size"]:
    """Row i averages the i-th of `to` equal parts of `size` pixels, cutting pixels where it must."""
    edges = np.arange(to + 1) * size / to
    pixels = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.clip(overlap, 0, None) * to / size


def pooled(maps: Float[np.ndarray, "*n h w"], size: Sequence[int]) -> Float[np.ndarray, "*n rows columns"]:
    """Maps averaged to (rows, columns)."""
    if maps.shape[-2:] == tuple(size):
        return maps
    rows, columns = (areas(own, to).astype(np.float32) for own, to in zip(maps.shape[-2:], size))
    return rows @ maps @ columns.T
