"""Many images through a function a few at a time: sizes of batches, threads on a CPU, devices side by side."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import lru_cache
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
from saliency.models.operators import Operator

BATCH = 8  # images at once on a CPU where nothing is known of what computes them

# What a CPU's batch is chosen by: rough figures of one core, whose ratios to one another are what counts
RATE = 5e10  # multiplications a second
MEMORY = 8e9  # bytes a second, of what does not lie in the cache
CACHE = 5 * 2**19  # bytes of an activation that stay there
READS = 3  # of each weight for a batch: once forwards, once backwards, and to bring it into the product's order
TOUCHED = 4  # times an activation is written or read: made, used, used backwards, and its own gradient
CALL = 3e-4  # s to start a batch
HELD = 2**29  # bytes of activations that a backward pass may keep
ROUNDS = 2  # batches for each core, from which on each has a core to itself
# XLA's options for that: programs wait less for one another than if each of them shared all cores for each of its loops
ONE_CORE = {"xla_cpu_multi_thread_eigen": False}
SIZES = (1, 2, 4, 8, 16)  # no more: what the last batch lacks is computed in vain
ENOUGH = 1.01  # times the least time: of batches that take no longer the smallest is best

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
    devices many on an accelerator, on a CPU what `cpu_batch` says, in batches as equal as can be."""
    n, height, width = shape[:3]
    each = balanced_size(n, cpu_batch(architecture, height, width, to)) if on_cpu() else 64
    return each * jax.local_device_count()


@lru_cache(maxsize=256)
def cpu_batch(architecture: Architecture, height: int, width: int, to: str) -> int:
    """Images at once that are done first on a CPU.

    Weights are read once for a batch, however many images it has, and so are dense layers' worth large ones; an
    activation that leaves the cache is slow to come back, which is worth small ones. The memory of a backward pass
    bounds both.
    """
    shapes = architecture.shapes(height, width, to)
    nodes = architecture.ancestors(to)
    read = {node.name: [shapes[name] for name in node.inputs] for node in nodes}
    weights = 4 * sum(
        math.prod(one) for node in nodes if node.inputs for one in _parameters(node.layer, read[node.name])
    )
    multiplied = sum(node.layer.macs(read[node.name], shapes[node.name][:-1]) for node in nodes if node.inputs)
    made = [4 * math.prod(one) for one in shapes.values()]

    def seconds(size: int) -> float:
        """An image's, in a batch of so many."""
        lost = sum(one * max(0.0, 1 - CACHE / (size * one)) for one in made)
        return 2 * multiplied / RATE + (READS * weights / MEMORY + CALL) / size + TOUCHED * lost / MEMORY

    able = [size for size in SIZES if size == 1 or size * sum(made) <= HELD]
    least = min(map(seconds, able))
    return next(size for size in able if seconds(size) <= ENOUGH * least)


def side_by_side(n: int, size: int) -> bool:
    """Whether batches of `n` images have a core of a CPU each, for there are so many of them that all cores are busy
    with programs compiled as ONE_CORE says."""
    return on_cpu() and jax.local_device_count() == 1 and -(-n // size) >= ROUNDS * cores() > ROUNDS


def first_few(n: int, size: int) -> int:
    """As few of `n` images, `size` at a time, as are computed by the same programs as all of them."""
    return min(n, size * ROUNDS * cores() if side_by_side(n, size) else size)


def _parameters(layer: Operator, inputs: Sequence[tuple[int, ...]]) -> Iterable[tuple[int, ...]]:
    return layer.parameter_shapes(*inputs).values()


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
    if len(indices) == 1:  # here, where the memory lies that the last call has freed
        parts.append(np.asarray(function(indices[0])))
        done(n)
        return parts
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
