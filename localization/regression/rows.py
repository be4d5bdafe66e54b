"""Rows of features that may not fit into memory, and how one sweep over them is summed over all processes.

Features float32 `[b, d]` a block, targets float64 `[n, t]` all at once: four numbers an image are always affordable.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Float, Int


@dataclass(frozen=True)
class FeatureBlocks:
    """`blocks()` gives the features in the order of `targets`, the same ones at every call; `width` is d.

    Blocks that are JAX arrays are used on the device that holds them, by `moments` and `ridge.polished`.
    With several processes each holds rows of its own.
    """

    blocks: Callable[[], Iterator[Float[np.ndarray, "b d"]]]
    targets: Float[np.ndarray, "n t"]
    width: int

    def __len__(self) -> int:
        return len(self.targets)

    def sliced(self) -> Iterator[tuple[slice, Float[np.ndarray, "b d"]]]:
        """Blocks with the rows that they are."""
        start = 0
        for x in self.blocks():
            yield slice(start, start + len(x)), x
            start += len(x)


def in_memory(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n t"]) -> FeatureBlocks:
    return FeatureBlocks(lambda: iter([x]), y, x.shape[1])


def total(array: np.ndarray) -> np.ndarray:
    """A float64 array summed over all processes, to nearly float64's precision: it travels as two float32 halves."""
    if jax.process_count() == 1:
        return array
    high, low = (multihost_utils.process_allgather(half).astype(np.float64) for half in _halves(array))
    return (high + low).sum(0)


def gathered(array: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "m ..."]:
    """Every process's rows, one process's after another's, as float64 to about 48 bits."""
    if jax.process_count() == 1:
        return array
    counts = multihost_utils.process_allgather(np.array(len(array)))
    padded = np.zeros((int(counts.max()), *array.shape[1:]))
    padded[: len(array)] = array
    high, low = (multihost_utils.process_allgather(half).astype(np.float64) for half in _halves(padded))
    return np.concatenate([part[:count] for part, count in zip(high + low, counts)])


def gathered_in_order(
    images: Int[np.ndarray, " n"], array: Float[np.ndarray, "n ..."]
) -> tuple[Int[np.ndarray, " m"], Float[np.ndarray, "m ..."]]:
    """Every process's images and their rows, by the images' numbers: the same whoever computed which."""
    everywhere, rows = gathered(images.astype(float)).astype(int), gathered(array)
    order = np.argsort(everywhere)
    return everywhere[order], rows[order]


def _halves(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    high = array.astype(np.float32)
    return high, (array - high).astype(np.float32)
