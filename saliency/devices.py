"""What follows from the device that computes: how much of its memory to take, how precisely it multiplies, how many
calls to have under way, and what to do where its memory is too small after all.

A CPU is fastest with what fits into its cache; an accelerator wants many images at once, and the next call before the
last one's result is read.
"""

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import jax
import numpy as np
from jax import lax
from jax.errors import JaxRuntimeError
from jax.typing import ArrayLike

Item = TypeVar("Item")
Result = TypeVar("Result")

CPU_BUDGET = 256 * 2**20  # bytes of activations at once
SHARE = 0.5  # of an accelerator's free memory: the rest is for what a library's convolutions want besides
NO_MEMORY = ("resource_exhausted", "out of memory", "failed to allocate")  # what XLA's errors of that kind say
UNDER_WAY = 2  # calls: one that computes, and the next one


def on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def default_budget() -> int:
    """Bytes of activations to hold at once: 256 MiB on a CPU, half of an accelerator's free memory."""
    if on_cpu():
        return CPU_BUDGET
    free = free_memory()
    return CPU_BUDGET if free is None else max(1, int(SHARE * free))


def free_memory() -> int | None:
    """Bytes that JAX may still take on the fullest of this process's devices; None where the device does not say."""
    free = []
    for device in jax.local_devices():
        stats = device.memory_stats() or {}
        if "bytes_limit" not in stats or "bytes_in_use" not in stats:
            return None
        free.append(max(0, stats["bytes_limit"] - stats["bytes_in_use"]))
    return min(free)


def precision() -> lax.Precision | None:
    """How precisely float32 is multiplied: in float32, unless `jax.default_matmul_precision` says otherwise.

    Left to itself an accelerator rounds factors to 10 bits (TF32) or fewer, and scores are then good to 1e-3 only. For
    several times the speed at that precision: `with jax.default_matmul_precision("tensorfloat32")`, or the environment
    variable JAX_DEFAULT_MATMUL_PRECISION. To be asked for while a function is traced: JAX compiles anew for another.
    """
    stated = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    return None if stated is not None or on_cpu() else lax.Precision.HIGHEST


def under_way(launch: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """What `launch` makes of each item; on an accelerator the next item is launched before one is handed out."""
    depth, waiting = 1 if on_cpu() else UNDER_WAY, deque[Result]()
    for item in items:
        waiting.append(launch(item))
        if len(waiting) == depth:
            yield waiting.popleft()
    yield from waiting


def in_turn(
    function: Callable[[np.ndarray], ArrayLike],
    total: int,
    size: int,
    done: Callable[[int], None],
    what: str = "images",
) -> list[np.ndarray]:
    """What `function` makes of the indices 0 .. total-1, `size` of them at a time, in order; `done` is told how many.

    The last call repeats the last index, so that one compiled shape serves all: the results hold no fewer than `total`
    rows. Where the device's memory is too small it goes on with half as many, and a warning says so.
    """
    parts: list[np.ndarray] = []
    first = 0
    while first < total:
        indices = [np.minimum(np.arange(i, i + size), total - 1) for i in range(first, total, size)]
        try:
            for value in under_way(function, indices):
                parts.append(np.asarray(value))
                done(min(size, total - first))
                first = min(first + size, total)
        except JaxRuntimeError as error:
            size = halved(size, error, what)
    return parts


def halved(size: int, error: JaxRuntimeError, what: str) -> int:
    """Half of what was too much for the device's memory, with a warning; any other error is raised again."""
    if size == 1 or not any(sign in str(error).lower() for sign in NO_MEMORY):
        raise error
    half = -(-size // 2)
    warnings.warn(
        f"the device's memory is too small for {size} {what} at once; going on with {half} (a smaller budget, batch or"
        " chunk saves the attempt)",
        RuntimeWarning,
        stacklevel=3,
    )
    return half
