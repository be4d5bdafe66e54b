"""The arithmetic of `localization.features`: maps smoothed, focused, pooled and normalised, and their profiles."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

if TYPE_CHECKING:
    from localization.features import Features, Normalise

TINY = 1e-30
FOCUS_POWER = 8.0


@partial(jax.jit, static_argnames="features")
def transformed(maps: Float[ArrayLike, "n k h w"], *, features: "Features") -> Float[Array, "n d"]:
    """The features themselves, as a traceable function."""
    maps = jnp.asarray(maps)
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


def normalised(maps: Float[Array, "*n h w"], how: "Normalise") -> Float[Array, "*n h w"]:
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
