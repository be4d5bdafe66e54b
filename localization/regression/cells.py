"""What a cell of a grid shows of a photo, and the ridge from that to the share of the cell that the box covers.

One set of weights serves all cells of all photos (a 1x1 convolution), so a photo is rows * columns samples. Features
are a tuple of arrays, each a saliency map float `[n, h, w]` or a layer's activations float `[n, h, w, c]`; they may be
of unlike sizes. Boxes are float `[n, 4]`, `x0 y0 x1 y1` in shares of the photo's width and height.

Nothing here tells left from right: a mirrored photo's features give mirrored cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax import Array
from jaxtyping import Float, Int

from localization.regression.rows import total
from localization.transforms import areas, gaussian
from saliency._batches import batches, shard_batch
from saliency._checks import kind_of, number, whole
from saliency.devices import on_cpu
from saliency.errors import InputError

Inputs = tuple[np.ndarray, ...]
LAMBDAS = (1e-4, 1e-3, 0.01, 0.1, 1.0)
CHUNK = 32  # photos that a device multiplies at once
ROWS = 4096  # cells whose numbers are held in float64
# powers of x and y: even in x, so that a mirrored photo gets the mirrored box
POLYNOMIALS = ((2, 0), (0, 1), (0, 2), (4, 0), (0, 3), (0, 4), (2, 1), (2, 2))
BITS = 18
DEAD = 1e-6  # a channel whose variance is that share of its mean square is rounding


@dataclass(frozen=True)
class Cells:
    """What a cell shows, on a `grid` of (rows, columns).

    A map is divided by its mean absolute value and smoothed by Gaussians of `scales`; each enters as it is and as its
    signed square root. A layer is divided by its root mean square; with `context` it enters smoothed as well.
    Scales are shares of the photo's height and width. `layers` are the indices of the arrays that are used (None: all).
    """

    grid: tuple[int, int] = (14, 14)
    scales: tuple[float, ...] = (0.0, 0.05, 0.11, 0.21)
    context: tuple[float, ...] = ()
    layers: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        kind_of("grid", self.grid, tuple, "(rows, columns) of at least 2")
        if len(self.grid) != 2:
            raise InputError(f"grid must be (rows, columns) of at least 2, not {self.grid}")
        for side in self.grid:
            whole("grid", side, least=2)
        for name in ("scales", "context"):
            kind_of(name, getattr(self, name), tuple, "shares of the photo's side")
            for scale in getattr(self, name):
                number(name, scale, least=0)
        if not self.scales:
            raise InputError("scales must be one or more shares of the photo's side; (0.0,) leaves maps as they are")
        if self.layers is not None:
            kind_of("layers", self.layers, tuple, "indices of the arrays of features, or None for all")
            for layer in self.layers:
                whole("layers", layer)
            if not self.layers or len(set(self.layers)) < len(self.layers):
                raise InputError(f"layers must be one or more indices, each once, or None for all, not {self.layers}")

    def used(self, count: int) -> tuple[int, ...]:
        """Which of `count` arrays are used; InputError for an index that there is none of."""
        layers = tuple(range(count)) if self.layers is None else self.layers
        if max(layers) >= count:
            raise InputError(f"layers must be indices below {count}, the number of arrays of features, not {layers}")
        return layers

    def count(self, shapes: Sequence[tuple[int, ...]]) -> int:
        """Channels of a cell, for arrays of these shapes, `[h, w]` or `[h, w, c]`."""
        return sum(self._width(shapes[i]) for i in self.used(len(shapes))) + len(POLYNOMIALS)

    def numbers(self, shapes: Sequence[tuple[int, ...]]) -> Int[np.ndarray, " z"]:
        """Which of the numbers `z` of a cell that shows all arrays (`Moments`) are those of one that shows `layers`."""
        ends = np.cumsum([1, *map(self._width, shapes)])
        own = [np.arange(ends[i], ends[i + 1]) for i in self.used(len(shapes))]
        return np.concatenate([[0], *own, ends[-1] + np.arange(len(POLYNOMIALS) + 1)])

    def _width(self, shape: tuple[int, ...]) -> int:
        """Channels that an array of `shape` gives."""
        return 2 * len(self.scales) if len(shape) == 2 else shape[2] * (1 + len(self.context))


@partial(jax.jit, static_argnames="cells")
def channels(features: tuple[Array, ...], *, cells: Cells) -> Float[Array, "n rows columns c"]:
    """What each cell shows: the channels of the features, and polynomials of its place."""
    product = partial(jnp.einsum, "ih,nhwc,jw->nijc", precision=jax.lax.Precision.HIGHEST)

    def smooth(x: Array, scale: float) -> Array:
        rows, columns = (jnp.asarray(gaussian(side, scale * side), jnp.float32) for side in cells.grid)
        return product(rows, x, columns) if scale else x

    parts: list[Array] = []
    for i in cells.used(len(features)):
        own = features[i].astype(jnp.float32)
        is_map = own.ndim == 3
        own = own[..., None] if is_map else own
        rows, columns = (jnp.asarray(resizing(*p), jnp.float32) for p in zip(own.shape[1:3], cells.grid))
        own = product(rows, own, columns)
        if is_map:
            own = own / jnp.maximum(jnp.abs(own).mean((1, 2, 3), keepdims=True), 1e-30)
            smoothed = [smooth(own, scale) for scale in cells.scales]
            parts += [form for one in smoothed for form in (one, jnp.sign(one) * jnp.sqrt(jnp.abs(one)))]
        else:
            own = own / jnp.sqrt(jnp.maximum((own**2).mean((1, 2, 3), keepdims=True), 1e-30))
            parts += [own, *(smooth(own, scale) for scale in cells.context)]
    place = jnp.asarray(polynomials(cells.grid), jnp.float32)
    return jnp.concatenate([*parts, jnp.broadcast_to(place, (len(features[0]), *place.shape))], -1)


def polynomials(grid: tuple[int, int]) -> Float[np.ndarray, "rows columns p"]:
    """Polynomials of a cell's centre, x and y in -1/2 .. 1/2."""
    y, x = np.meshgrid(*((np.arange(side) + 0.5) / side - 0.5 for side in grid), indexing="ij")
    return np.stack([x**i * y**j for i, j in POLYNOMIALS], -1)


def resizing(size: int, to: int) -> Float[np.ndarray, "to size"]:
    """Averages by area where there are more pixels than cells, bilinear between pixel centres where there are fewer."""
    if size > to:
        return areas(size, to)
    at = np.clip((np.arange(to) + 0.5) * size / to - 0.5, 0, size - 1)
    return np.maximum(1 - np.abs(at[:, None] - np.arange(size)), 0)


def covered(boxes: Float[np.ndarray, "n 4"], grid: tuple[int, int]) -> Float[np.ndarray, "n rows columns"]:
    """The share of each cell that the box covers."""

    def shares(low: np.ndarray, high: np.ndarray, cells: int) -> np.ndarray:
        edges = np.arange(cells + 1)
        inside = np.minimum(high[:, None] * cells, edges[1:]) - np.maximum(low[:, None] * cells, edges[:-1])
        return np.maximum(inside, 0)

    x0, y0, x1, y1 = boxes.T
    return shares(y0, y1, grid[0])[:, :, None] * shares(x0, x1, grid[1])[:, None, :]


class Moments:
    """Second moments of each fold's cells, all that the ridge and its cross-validation need, in constant memory.

    A cell is `z = (1, channels, covered share)`; `matrix` float64 `[folds, z, z]` holds the sums of `z z'`. Photos are
    added block by block, their channels computed in chunks of one shape in float32 and multiplied in float64: on this
    process's devices, or where that is one CPU by BLAS, which is several times as fast there as XLA's product and
    computes half of what is symmetric. Moments of other photos, of another process too, are added by `merged`.
    """

    def __init__(self, cells: Cells, folds: int, shapes: Sequence[tuple[int, ...]]) -> None:
        """`shapes` are those of one photo's features."""
        self.cells, self.folds = cells, folds
        width = cells.count(shapes) + 2
        self._matrix = np.zeros((folds, width, width))
        self._waiting: list[list[tuple[Inputs, np.ndarray]]] = [[] for _ in range(folds)]

    def add(self, features: Inputs, boxes: Float[np.ndarray, "n 4"], fold_of: Int[np.ndarray, " n"]) -> None:
        """Photos with their boxes, each in one of the folds 0 .. folds - 1."""
        targets = covered(boxes, self.cells.grid).astype(np.float32)
        for fold in np.unique(fold_of):
            rows = np.flatnonzero(fold_of == fold)
            waiting = self._waiting[fold]
            # a copy: a caller may fill the same buffer with its next block
            waiting.append((tuple(one[rows] for one in features), targets[rows]))
            if sum(len(targets) for _, targets in waiting) >= self._chunk:
                self._multiply(int(fold), leave=True)

    @property
    def matrix(self) -> Float[np.ndarray, "folds z z"]:
        for fold in range(self.folds):
            if self._waiting[fold]:
                self._multiply(fold, leave=False)
        return self._matrix

    def merged(self, *others: "Moments") -> Float[np.ndarray, "folds z z"]:
        """The moments of all these, summed over all processes."""
        return total(sum((other.matrix for other in others), self.matrix))

    @property
    def _chunk(self) -> int:
        return CHUNK * jax.local_device_count()

    def _multiply(self, fold: int, leave: bool) -> None:
        """Add the fold's waiting photos in whole chunks; the rest waits on, or is padded with photos that count 0."""
        waiting, self._waiting[fold] = self._waiting[fold], []
        features = tuple(np.concatenate(parts) for parts in zip(*(features for features, _ in waiting)))
        targets = np.concatenate([targets for _, targets in waiting])
        end = len(targets) - len(targets) % self._chunk if leave else len(targets)
        by_blas = on_cpu() and jax.local_device_count() == 1
        for index in batches(end, self._chunk):
            counts = np.arange(index[0], index[0] + len(index)) < end
            chunk = tuple(shard_batch(one, index) for one in features)
            if by_blas:
                shown = np.asarray(_numbers(chunk, jnp.asarray(targets[index]), cells=self.cells))[counts]
                self._matrix[fold] += squared(shown.reshape(-1, shown.shape[-1]))
                continue
            with jax.enable_x64(True):  # rank-deficient moments must stay so: channels are often more than the cells
                summed = _second_moments(
                    chunk, shard_batch(targets, index), shard_batch(counts, np.arange(len(counts))), cells=self.cells
                )
            self._matrix[fold] += np.asarray(summed)
        if end < len(targets):
            self._waiting[fold] = [(tuple(one[end:] for one in features), targets[end:])]


def squared(z: Float[np.ndarray, "r z"]) -> Float[np.ndarray, "z z"]:
    """z'z in float64, some rows at a time."""
    total = np.zeros((z.shape[1], z.shape[1]))
    for start in range(0, len(z), ROWS):
        some = z[start : start + ROWS].astype(np.float64)
        total += some.T @ some  # NumPy sees that it is symmetric
    return total


@partial(jax.jit, static_argnames="cells")
def _numbers(
    features: tuple[Array, ...], targets: Float[Array, "n rows columns"], *, cells: Cells
) -> Float[Array, "n rows columns z"]:
    x = channels(features, cells=cells)
    return jnp.concatenate([jnp.ones_like(x[..., :1]), x, targets[..., None]], -1)


@partial(jax.jit, static_argnames="cells")
def _second_moments(
    features: tuple[Array, ...], targets: Float[Array, "n rows columns"], counts: Array, *, cells: Cells
) -> Float[Array, "z z"]:
    z = _numbers(features, targets, cells=cells) * counts[:, None, None, None]
    z = z.reshape(-1, z.shape[-1]).astype(jnp.float64)
    return z.T @ z


def solved(matrix: Float[np.ndarray, "z z"], lambdas: Sequence[float]) -> Float[np.ndarray, "l z"]:
    """For each penalty the ridge solution as `v = (intercept, weights, -1)`, so that `z @ v` is a cell's residual.

    Minimises |Q w + b - y|^2 + penalty * cells * |w|^2 of standardised channels Q; a constant channel gets no weight.
    """
    n, mean = matrix[0, 0], matrix[0] / matrix[0, 0]
    centred = matrix[1:, 1:] - n * np.outer(mean[1:], mean[1:])
    variance = np.diag(centred)[:-1] / n
    varies = variance > DEAD * np.diag(matrix)[1:-1] / n
    deviation = np.sqrt(variance[varies])
    gram = centred[:-1, :-1][np.ix_(varies, varies)] / np.outer(deviation, deviation)
    right = centred[:-1, -1][varies] / deviation
    solutions = np.zeros((len(lambdas), len(matrix)))
    for solution, penalty in zip(solutions, lambdas):
        penalised = gram.copy()
        penalised[np.diag_indices_from(gram)] += penalty * n
        factor = scipy.linalg.cho_factor(penalised, overwrite_a=True, check_finite=False)
        solution[1:-1][varies] = scipy.linalg.cho_solve(factor, right, check_finite=False) / deviation
        solution[0] = mean[-1] - mean[1:-1] @ solution[1:-1]
        solution[-1] = -1
    return _rounded(solutions)


def _rounded(values: np.ndarray) -> np.ndarray:
    """To BITS significant bits. In which order moments were added up, over blocks, devices and processes, then changes
    nothing that comes after, and the correction's descent, which is not smooth, goes the same way."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(mantissa * 2**BITS) / 2**BITS, exponent)


def squared_error(matrix: Float[np.ndarray, "z z"], solutions: Float[np.ndarray, "l z"]) -> Float[np.ndarray, " l"]:
    """The sum of squared residuals of the cells that the moments are of."""
    return (solutions @ matrix * solutions).sum(1)


@dataclass(frozen=True)
class CrossFit:
    """`whole` `[z]` is learned from all folds, `left_out[k]` from all but fold k; all by one penalty, whose left-out
    mean squared error is the smallest of `errors`."""

    whole: Float[np.ndarray, " z"]
    left_out: Float[np.ndarray, "folds z"]
    penalty: float
    errors: dict[float, float]


def cross_fit(matrix: Float[np.ndarray, "folds z z"], lambdas: Sequence[float]) -> CrossFit:
    """One Cholesky factorisation a fold and penalty; of equal errors the largest penalty."""
    lambdas = sorted(lambdas, reverse=True)
    everything = matrix.sum(0)
    filled = [fold for fold in range(len(matrix)) if matrix[fold, 0, 0] > 0]
    solutions = {fold: solved(everything - matrix[fold], lambdas) for fold in filled}
    errors = sum(squared_error(matrix[fold], solutions[fold]) for fold in filled) / everything[0, 0]
    best = int(np.argmin(errors))
    left_out = np.zeros((len(matrix), len(everything)))
    for fold, solution in solutions.items():
        left_out[fold] = solution[best]
    return CrossFit(
        solved(everything, lambdas[best : best + 1])[0],
        left_out,
        lambdas[best],
        {penalty: float(error) for penalty, error in zip(lambdas, errors)},
    )


@partial(jax.jit, static_argnames="cells")
def coverage(
    features: tuple[Array, ...], solutions: Float[Array, "n z"], *, cells: Cells
) -> Float[Array, "n rows columns"]:
    """Each photo's coverage map by its own solution."""
    x = channels(features, cells=cells)
    weights = solutions[:, 1:-1]
    return jnp.einsum("nijc,nc->nij", x, weights, precision=jax.lax.Precision.HIGHEST) + solutions[:, :1, None]
