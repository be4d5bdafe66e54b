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

from localization.boxes import iou

SHARPNESS = 40.0  # how much a rectangle's weight grows with its soft IoU
LARGEST = 0.04  # share of the cells whose mean is the top of a relative map
AT_ONCE = 2  # maps; their rectangles fit into a CPU's cache
# clip((map - offset) * gain, 0, 1): of the map itself, and of its positive part over its largest cells
ABSOLUTE = ((1.0, 0.0), (1.5, 0.1), (1.5, 0.2), (2.5, 0.3))
RELATIVE = ((1.0, 0.0), (1.0, 0.2), (1.4, 0.3), (2.0, 0.5))
SETTINGS = len(ABSOLUTE) + len(RELATIVE)


def read(coverage: Float[Array, "n rows columns"]) -> Float[Array, "n s rows columns"]:
    """The SETTINGS readings of each map, of values in 0..1; one without any cell is replaced by the plain relative
    one."""
    largest = max(1, round(coverage[0].size * LARGEST))
    top = jax.lax.top_k(coverage.reshape(len(coverage), -1), largest)[0].mean(-1)
    relative = jnp.maximum(coverage, 0) / jnp.maximum(top, 1e-3)[:, None, None]
    found = [jnp.clip((coverage - offset) * gain, 0, 1) for gain, offset in ABSOLUTE]
    found += [jnp.clip((relative - offset) * gain, 0, 1) for gain, offset in RELATIVE]
    readings = jnp.stack(found, 1)
    empty = ~(readings > 0).any((2, 3), keepdims=True)
    return jnp.where(empty, jnp.clip(relative, 0, 1)[:, None], readings)


@jax.jit
def soft_boxes(coverage: Float[Array, "n rows columns"]) -> Float[Array, "n s 4"]:
    """The box of each map by each of the SETTINGS readings of it."""
    readings = read(coverage)
    return rectangles(readings.reshape(-1, *coverage.shape[1:])).reshape(len(coverage), SETTINGS, 4)


@partial(jax.jit, static_argnames="sharpness")
def rectangles(soft: Float[Array, "n rows columns"], sharpness: float = SHARPNESS) -> Float[Array, "n 4"]:
    """The mean of all rectangles of the grid, weighted by exp(sharpness * soft IoU) with masks of values in 0..1;
    sharpness must be below 80, or float32 has no room for the weights.

    The soft IoU is inside / (area + sum - inside), where inside is the difference of what lies left of two edges. All
    rectangles of a mask are gone through once, to write their weights, and once more, by a matrix product that sums
    those: a soft IoU is at most 1, so the largest need not be known to keep weights in range; and as no cell is above
    1, area + sum - inside is at least 1.
    """
    height, width = soft.shape[1:]
    rows, columns = spans(height), spans(width)
    in_rows, left_of = jnp.asarray(covers(height)), jnp.asarray(np.tri(width + 1, width, -1), jnp.float32)
    area = jnp.asarray(np.diff(columns) * np.diff(rows)[:, 0], jnp.float32)
    x, y = (jnp.asarray(one / size, jnp.float32) for one, size in ((columns, width), (rows, height)))
    edges = jnp.concatenate([jnp.ones((len(rows), 1)), y], 1)
    product = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)

    def mean_rectangle(mask: Float[Array, "rows columns"]) -> Float[Array, " 4"]:
        left = product(product(left_of, mask.T), in_rows.T)
        inside = left[columns[:, 1]] - left[columns[:, 0]]  # by interval of columns, then of rows
        weights = jnp.exp(sharpness * (inside / (area + mask.sum() - inside) - 1))
        summed = product(weights, edges)
        x0, x1 = product(summed[:, 0], x)
        return jnp.stack([x0, summed[:, 1].sum(), x1, summed[:, 2].sum()]) / summed[:, 0].sum()

    return jax.lax.map(mean_rectangle, soft.astype(jnp.float32), batch_size=AT_ONCE)


@jax.jit
def local_overlap(soft: Float[Array, "n rows columns"]) -> Float[Array, "n k l"]:
    """For each mask how well each of the grid's rectangles, by interval of rows and of columns, fits what lies about
    it: inside / (area + sum nearby - inside), where nearby is the rectangle grown by half its sides all round. Of a
    single object it is about the soft IoU; another object far away does not count."""
    product = partial(jnp.einsum, "kh,nhw,lw->nkl", precision=jax.lax.Precision.HIGHEST)
    own, near = (
        [jnp.asarray(matrix(size), jnp.float32) for size in soft.shape[1:]] for matrix in (covers, covers_nearby)
    )
    area = jnp.outer(own[0].sum(1), own[1].sum(1))
    inside = product(own[0], soft.astype(jnp.float32), own[1])
    return inside / jnp.maximum(area + product(near[0], soft.astype(jnp.float32), near[1]) - inside, 1e-6)


def separate_rectangles(
    overlap: Float[np.ndarray, "k l"], grid: tuple[int, int], most: int, limit: float, least: float = 0.1
) -> tuple[Float[np.ndarray, "m 4"], Float[np.ndarray, " m"]]:
    """The rectangles of the largest local overlap, best first, and these: at most `most`, none of which has an IoU
    above `limit` with a better one (non-maximum suppression), and none below `least` but the first."""
    order = np.argsort(-overlap, axis=None, kind="stable")
    rows, columns = (spans(size)[index] for size, index in zip(grid, np.unravel_index(order, overlap.shape)))
    boxes = np.stack([columns[:, 0], rows[:, 0], columns[:, 1], rows[:, 1]], 1)
    scores = overlap.ravel()[order]
    boxes, scores = boxes[scores >= min(least, scores[0])], scores[scores >= min(least, scores[0])]
    found: list[int] = []
    left = np.arange(len(boxes))
    while len(left) and len(found) < most:
        found.append(int(left[0]))
        left = left[1:][iou(boxes[left[1:]], boxes[left[0]]) <= limit]
    return boxes[found] / np.tile(grid[::-1], 2), scores[found]


@cache
def spans(size: int) -> Int[np.ndarray, "k 2"]:
    """All k = size (size + 1) / 2 intervals of whole cells, as (first edge, last edge)."""
    return np.array([(start, end) for start in range(size) for end in range(start + 1, size + 1)])


@cache
def covers(size: int) -> Float[np.ndarray, "k size"]:
    """Row i is 1 on the cells of interval i."""
    cells = np.arange(size)
    return ((spans(size)[:, :1] <= cells) & (cells < spans(size)[:, 1:])).astype(np.float32)


@cache
def covers_nearby(size: int) -> Float[np.ndarray, "k size"]:
    """Row i is 1 on the cells of interval i and on half as many before and after it."""
    cells, (start, end) = np.arange(size), spans(size).T[:, :, None]
    half = -(-(end - start) // 2)
    return ((start - half <= cells) & (cells < end + half)).astype(np.float32)
