"""Many images through a function a few at a time: sizes of batches, threads on a CPU, devices side by side."""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int

from saliency._cores import cores
from saliency.devices import in_turn, on_cpu
from saliency.models.graph import Architecture

CACHE = 5 * 2**19  # bytes of an activation that a CPU is fastest with ...
BATCH = 8  # ... but no more images than that: those of the last batch that are missing are computed in vain

_SETTINGS: Mapping[str, Callable[[Any], AbstractContextManager]] = {  # by the names in jax.config
    "enable_x64": jax.enable_x64,
    "default_matmul_precision": jax.default_matmul_precision,
    "default_device": jax.default_device,
    "numpy_dtype_promotion": jax.numpy_dtype_promotion,
    "numpy_rank_promotion": jax.numpy_rank_promotion,
    "debug_nans": jax.debug_nans,
}


def batches(n: int, size: int) -> list[np.ndarray]:
    """Indices of equal batches; the last batch is padded with its last image, so that one compiled shape serves all."""
    return [np.minimum(np.arange(i, i + size), n - 1) for i in range(0, n, size)]


def balanced_size(total: int, limit: int) -> int:
    """The size of as few parts as hold `total` with no more than `most` each, when they are as equal as can be."""
    return math.ceil(total / math.ceil(total / limit)) if total else 1


def default_batch(architecture: Architecture, shape: Sequence[int], to: str) -> int:
    """Images at a time, of images `shape` (n, height, width, ...) on their way to a layer: for each of this process's
    devices many on an accelerator, on a CPU as many as keep the largest activation in its cache."""
    n, height, width = shape[:3]
    each = 64
    if on_cpu():
        largest = 4 * max(math.prod(one) for one in architecture.shapes(height, width, to).values())
        each = balanced_size(n, min(max(CACHE // largest, 1), BATCH))
    return each * jax.local_device_count()


def in_batches(
    function: Callable[[np.ndarray], Array | np.ndarray],
    n: int,
    size: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[np.ndarray]:
    """What `function` makes of the indices of each batch, in order.

    On one CPU a few batches run at a time: a single image's small convolutions leave its cores idle. An accelerator
    is sent the next batch before the last one's result is copied back.
    """
    size, told = max(1, min(size, n)), 0  # a batch larger than what there is would be padded for nothing

    def done(count: int) -> None:
        nonlocal told
        told += count
        if progress:
            progress(told, n)

    if not on_cpu() or jax.local_device_count() > 1:
        return in_turn(function, n, size, done)
    indices, parts = batches(n, size), []
    with workers(min(4, cores())) as pool:
        for index, part in zip(indices, pool.map(lambda i: np.asarray(function(i)), indices)):
            parts.append(part)
            done(min(int(index[-1]) + 1, n) - told)
    return parts


def map_batches(
    function: Callable[[np.ndarray], Array | np.ndarray],
    n: int,
    size: int,
    each: Sequence[int],
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """`in_batches` as one array `[n, *each]`; `each` is the shape of one image's result, which n = 0 needs."""
    parts = in_batches(function, n, size, progress)
    return np.concatenate(parts)[:n] if parts else np.empty((0, *each), np.float32)


def workers(threads: int) -> ThreadPoolExecutor:
    """Threads that compute as the caller does: what is set in a context of JAX's holds for one thread alone."""
    settings = [(state, getattr(jax.config, f"jax_{name}")) for name, state in _SETTINGS.items()]

    def begin() -> None:
        for state, value in settings:
            state(value).__enter__()

    return ThreadPoolExecutor(threads, initializer=begin)


def shard_batch(x: np.ndarray, i: Int[np.ndarray, " k"]) -> Array:
    """Rows of `x`, dealt out to this process's devices where their number allows: a jitted function runs on all."""
    x = x[i[0] : i[-1] + 1] if len(i) and i[-1] - i[0] + 1 == len(i) else x[i]  # a batch in a row needs no copy
    devices = jax.local_devices()
    if len(x) % len(devices):
        return jnp.asarray(x)
    mesh = Mesh(np.array(devices), ("images",))
    return jax.device_put(x, NamedSharding(mesh, PartitionSpec("images")))
