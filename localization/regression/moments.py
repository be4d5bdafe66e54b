"""All that least squares needs to know of any number of rows: their second moments, in constant memory, on any mesh.

A row is `z = (1, x - shift, y)`, float32; the sum of `z z'` holds the count, the sums, and the Gram and cross products.
Products are float32 at highest precision; blocks are added in pairs of float32 (value and rounding error), which is as
good as float64. Each device adds up rows of its own, so that devices and processes exchange one matrix, at the end.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float

from localization.regression.rows import FeatureBlocks, total

BLOCK = 4096  # rows a device multiplies at once
PANELS = 12  # of columns: only those on and above the diagonal are computed, 13/24 of the work
Panels = tuple[Array, ...]


@dataclass(frozen=True)
class Moments:
    """`matrix` float64 `[1 + d + t, 1 + d + t]`, the sum of `z z'`, of features moved by `shift` `[d]`."""

    matrix: Float[np.ndarray, "z z"]
    shift: Float[np.ndarray, " d"]

    def __add__(self, other: "Moments") -> "Moments":
        if not np.array_equal(self.shift, other.shift):
            raise ValueError("moments of features moved by different shifts do not add")
        return Moments(self.matrix + other.matrix, self.shift)

    @property
    def n(self) -> int:
        return round(self.matrix[0, 0])

    @property
    def mean_x(self) -> Float[np.ndarray, " d"]:
        return self.shift + self.matrix[0, 1 : len(self.shift) + 1] / self.n

    @property
    def mean_y(self) -> Float[np.ndarray, " t"]:
        return self.matrix[0, len(self.shift) + 1 :] / self.n

    def centred(self) -> tuple[Float[np.ndarray, "d d"], Float[np.ndarray, "d t"], Float[np.ndarray, "t t"]]:
        """Gram, cross and target products about the means."""
        sums = self.matrix[0, 1:]
        d = len(self.shift)
        gram = self.matrix[1 : d + 1, 1 : d + 1].copy()
        for start in range(0, d, BLOCK // 8):  # without a second matrix
            some = slice(start, start + BLOCK // 8)
            gram[some] -= np.outer(sums[:d][some], sums[:d] / self.n)
        cross = self.matrix[1 : d + 1, d + 1 :] - np.outer(sums[:d], sums[d:] / self.n)
        own = self.matrix[d + 1 :, d + 1 :] - np.outer(sums[d:], sums[d:] / self.n)
        return gram, cross, own

    def loss(self, weights: Float[np.ndarray, "d t"]) -> float:
        """Half the mean squared residual of a solution with the best intercept."""
        gram, cross, own = self.centred()
        return float(np.trace(own - 2 * weights.T @ cross + weights.T @ gram @ weights)) / (2 * self.n)


def moments(rows: FeatureBlocks, *, shift: Float[np.ndarray, " d"] | None = None, block: int = BLOCK) -> Moments:
    """Over the rows of all processes, on all devices. `shift` (default: the first block's mean) keeps what is summed
    small; moments to be added need the same one."""
    mesh = Mesh(np.array(jax.devices()), ("rows",))
    shift = first_mean(rows) if shift is None else shift
    width = 1 + rows.width + rows.targets.shape[1]
    edges = tuple(int(edge) for edge in np.linspace(0, width, min(PANELS, width) + 1))
    local = block * jax.local_device_count()
    sharding = NamedSharding(mesh, PartitionSpec("rows"))
    zeros = [np.zeros((jax.local_device_count(), end, end - start), np.float32) for start, end in pairwise(edges)]
    sums = tuple(jax.make_array_from_process_local_data(sharding, panel) for panel in zeros)
    state = sums, tuple(jnp.zeros_like(panel) for panel in sums)
    for z in together(augmented(rows, shift, local), -(-len(rows) // local), (local, width)):
        jax.block_until_ready(state)  # or blocks would queue up, and memory grow with the rows
        if isinstance(z, Array):
            placed = jax.device_put(z, sharding)
        else:
            placed = jax.make_array_from_process_local_data(sharding, z)
        state = _added(state, placed, edges=edges, mesh=mesh)
    matrix = np.empty((width, width))
    for start, end, high, low in zip(edges, edges[1:], *state):
        panel = total(_local(high, low))
        matrix[:end, start:end] = panel
        matrix[start:end, :end] = panel.T
    return Moments(matrix, shift)


def together(
    blocks: Iterator[np.ndarray | Array], count: int, shape: tuple[int, int]
) -> Iterator[Float[np.ndarray | Array, "size z"]]:
    """All blocks; of several processes' each gives as many, as all step together: who has none left adds zeros."""
    if jax.process_count() == 1:
        yield from blocks
        return
    for _ in range(int(multihost_utils.process_allgather(np.array(count)).max())):
        yield next(blocks, np.zeros(shape, np.float32))


def augmented(
    rows: FeatureBlocks, shift: Float[np.ndarray, " d"], size: int
) -> Iterator[Float[np.ndarray | Array, "size z"]]:
    """Rows `z` in blocks of one size, filled up with zeros, which add nothing: the last one, and any that was made on
    this process's devices (a JAX array), where it stays unless there are other processes to keep step with."""
    z, filled = np.zeros((size, 1 + rows.width + rows.targets.shape[1]), np.float32), 0
    for where, x in rows.sliced():
        y, done = rows.targets[where], 0
        if isinstance(x, Array) and jax.process_count() == 1:
            for start in range(0, len(x), size):
                part = slice(start, start + size)
                yield _on_device(x[part], jnp.asarray(shift), jnp.asarray(y[part], jnp.float32), size=size)
            continue
        x = np.asarray(x)
        while done < len(x):
            count = min(len(x) - done, size - filled)
            part, into = slice(done, done + count), slice(filled, filled + count)
            z[into, 0] = 1
            z[into, 1 : rows.width + 1] = x[part] - shift
            z[into, rows.width + 1 :] = y[part]
            done, filled = done + count, filled + count
            if filled == size:
                yield z
                z, filled = np.zeros_like(z), 0
    if filled:
        yield z


@partial(jax.jit, static_argnames="size")
def _on_device(x: Array, shift: Array, y: Array, *, size: int) -> Float[Array, "size z"]:
    z = jnp.concatenate([jnp.ones((len(x), 1), jnp.float32), x - shift, y], 1)
    return jnp.pad(z, ((0, size - len(x)), (0, 0)))


def first_mean(rows: FeatureBlocks) -> Float[np.ndarray, " d"]:
    """The mean of the first block of the first process, as float32 can hold it."""
    mean = np.asarray(next(rows.blocks())).mean(0, dtype=np.float64).astype(np.float32)
    return np.asarray(multihost_utils.broadcast_one_to_all(mean)) if jax.process_count() > 1 else mean


@partial(jax.jit, static_argnames=("edges", "mesh"), donate_argnums=0)
def _added(state: tuple[Panels, Panels], z: Array, *, edges: tuple[int, ...], mesh: Mesh) -> tuple[Panels, Panels]:
    @partial(jax.shard_map, mesh=mesh, in_specs=PartitionSpec("rows"), out_specs=PartitionSpec("rows"))
    def add(sums: Panels, errors: Panels, z: Array) -> tuple[Panels, Panels]:
        pairs = []
        for start, end, high, low in zip(edges, edges[1:], sums, errors):
            product = jax.lax.dot_general(
                z[:, :end], z[:, start:end], (((0,), (0,)), ((), ())), precision=jax.lax.Precision.HIGHEST
            )[None]
            new = high + product
            kept = new - high  # Knuth: (high + product) - new, exactly
            pairs.append((new, low + ((high - (new - kept)) + (product - kept))))
        return tuple(new for new, _ in pairs), tuple(error for _, error in pairs)

    return add(*state, z)


def _local(*pairs: Array) -> Float[np.ndarray, "end width"]:
    """The sum over this process's devices, added up in place: such a panel can be a gigabyte."""
    parts = [np.asarray(shard.data)[0] for panels in pairs for shard in panels.addressable_shards]
    summed = parts[0].astype(np.float64)
    for part in parts[1:]:
        summed += part
    return summed
