"""Boxes from a coverage map: the rectangles that overlap most with it, averaged. Nothing is learned here.

Coverage maps are float `[n, rows, columns]`, 1 where a cell lies in the box and 0 where it does not; boxes are float
`[n, 4]`, `x0 y0 x1 y1` in shares of the map's width and height.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

SHARPNESS = 40.0  # how much a rectangle's weight grows with its soft IoU
LARGEST = 0.04  # share of the cells whose mean is the top of a relative map
AT_ONCE = 4  # maps; their rectangles fit into a CPU's cache
# clip((map - offset) * gain, 0, 1): of the map itself, and of its positive part over its largest cells
ABSOLUTE = ((1.0, 0.0), (1.5, 0.1), (1.5, 0.2), (2.5, 0.3))
RELATIVE = ((1.0, 0.0), (1.0, 0.2), (1.4, 0.3), (2.0, 0.5))
SETTINGS = len(ABSOLUTE) + len(RELATIVE)


@jax.jit
def soft_boxes(coverage: Float[Array, "n rows columns"]) -> Float[Array, "n s 4"]:
    """The box of each map by each of the SETTINGS readings of it; a reading without any cell is replaced by the plain
    relative one."""
    largest = max(1, round(coverage[0].size * LARGEST))
    top = jax.lax.top_k(coverage.reshape(len(coverage), -1), largest)[0].mean(-1)
    relative = jnp.maximum(coverage, 0) / jnp.maximum(top, 1e-3)[:, None, None]
    read = [jnp.clip((coverage - offset) * gain, 0, 1) for gain, offset in ABSOLUTE]
    read += [jnp.clip((relative - offset) * gain, 0, 1) for gain, offset in RELATIVE]
    readings = jnp.stack(read, 1)
    empty = ~(readings > 0).any((2, 3), keepdims=True)
    readings = jnp.where(empty, jnp.clip(relative, 0, 1)[:, None], readings)
    return rectangles(readings.reshape(-1, *coverage.shape[1:])).reshape(len(coverage), SETTINGS, 4)


@partial(jax.jit, static_argnames="sharpness")
def rectangles(soft: Float[Array, "n rows columns"], sharpness: float = SHARPNESS) -> Float[Array, "n 4"]:
    """The mean of all rectangles of the grid, weighted by exp(sharpness * soft IoU) with masks of values in 0..1.

    The soft IoU is inside / (area + sum - inside): two matrix products give the mask's sum inside all rectangles.
    """
    rows, columns = (spans(size) for size in soft.shape[1:])
    in_rows, in_columns = (jnp.asarray(covers(size), jnp.float32) for size in soft.shape[1:])
    area = jnp.outer(in_rows.sum(1), in_columns.sum(1))
    product = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)

    def mean_rectangle(mask: Float[Array, "rows columns"]) -> Float[Array, " 4"]:
        inside = product(product(in_rows, mask), in_columns.T)
        overlap = inside / jnp.maximum(area + mask.sum() - inside, 1e-6)
        weight = jnp.exp(sharpness * (overlap - overlap.max()))
        by_row, by_column = weight.sum(1), weight.sum(0)
        y = product(by_row, jnp.asarray(rows, jnp.float32)) / by_row.sum() / mask.shape[0]
        x = product(by_column, jnp.asarray(columns, jnp.float32)) / by_column.sum() / mask.shape[1]
        return jnp.stack([x[0], y[0], x[1], y[1]])

    return jax.lax.map(mean_rectangle, soft.astype(jnp.float32), batch_size=AT_ONCE)


@cache
def spans(size: int) -> Int[np.ndarray, "k 2"]:
    """All k = size (size + 1) / 2 intervals of whole cells, as (first edge, last edge)."""
    return np.array([(start, end) for start in range(size) for end in range(start + 1, size + 1)])


@cache
def covers(size: int) -> Float[np.ndarray, "k size"]:
    """Row i is 1 on the cells of interval i."""
    cells = np.arange(size)
    return ((spans(size)[:, :1] <= cells) & (cells < spans(size)[:, 1:])).astype(np.float32)
