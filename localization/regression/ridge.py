"""Ridge regression in closed form: one factorisation serves every penalty, and leave-one-out cross-validation too.

Minimises |y - x w - b|^2 + alpha |w|^2 with a free intercept b. A penalty is stated relative to the mean eigenvalue of
the centred Gram matrix, alpha = penalty * trace / d, so that one list of them suits features of any scale.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax import Array
from jaxtyping import Float

from localization.regression.moments import Moments
from localization.regression.rows import FeatureBlocks, total
from localization.regression.solution import Solution

SWEEP = 512  # rows in float64 at once
LAMBDAS = tuple(float(p) for p in np.logspace(-5, 3, 17))
Criterion = Callable[[Float[np.ndarray, "n t"]], float]  # of predictions; larger is better


@dataclass(frozen=True)
class Spectrum:
    """The centred Gram matrix as `basis @ diag(squares) @ basis.T`, thin; `cross` `[r, t]` is features times targets in
    that basis."""

    squares: Float[np.ndarray, " r"]
    basis: Float[np.ndarray, "d r"]
    cross: Float[np.ndarray, "r t"]
    mean_x: Float[np.ndarray, " d"]
    mean_y: Float[np.ndarray, " t"]

    def alpha(self, penalty: float) -> float:
        return penalty * float(self.squares.sum()) / len(self.mean_x)

    def solved(self, right: Float[np.ndarray, "d t"], penalty: float) -> Float[np.ndarray, "d t"]:
        """(Gram + alpha)^-1 times what lies in the features' span."""
        return self.basis @ ((self.basis.T @ right) / (self.squares + self.alpha(penalty))[:, None])

    def solution(self, penalty: float) -> Solution:
        weights = self.basis @ (self.cross / (self.squares + self.alpha(penalty))[:, None])
        return Solution(weights, self.mean_y - self.mean_x @ weights, penalty)


def from_rows(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n t"]) -> Spectrum:
    """In memory, by the smaller Gram matrix: of features (primal) where n >= d, of rows (dual) otherwise."""
    mean_x, mean_y = x.mean(0, dtype=np.float64), y.mean(0, dtype=np.float64)
    x, y = x.astype(np.float64) - mean_x, y - mean_y
    primal = len(x) >= x.shape[1]
    squares, basis = kept(*np.linalg.eigh(x.T @ x if primal else x @ x.T))
    if not primal:
        basis = x.T @ basis / np.sqrt(squares)
    return Spectrum(squares, basis, basis.T @ (x.T @ y), mean_x, mean_y)


def from_moments(moments: Moments) -> Spectrum:
    gram, cross, _ = moments.centred()
    squares, basis = scipy.linalg.eigh(gram, overwrite_a=True)
    squares = np.maximum(squares, 0)  # float32 products cannot tell a small one from none: `polished` can
    return Spectrum(squares, basis, basis.T @ cross, moments.mean_x, moments.mean_y)


def kept(squares: Float[np.ndarray, " d"], vectors: Float[np.ndarray, "d d"]) -> tuple[np.ndarray, np.ndarray]:
    """Eigenpairs above rounding: centring takes a rank, constant features more."""
    real = squares > squares[-1] * len(squares) * np.finfo(float).eps
    return squares[real], vectors[:, real]


def polished(
    factored: "Spectrum | Cholesky", rows: FeatureBlocks, solutions: Sequence[Solution], *, steps: int = 4
) -> list[Solution]:
    """Solutions from float32 products, to nearly float64's precision, by iterative refinement.

    A sweep in float64 gives what is left of every solution's gradient. A step against it, by the factorisation at hand,
    reduces the error to the Gram matrix's float32 accuracy times what it was; one below a millionth is the last.
    However rows are spread over devices and processes, the result is then the same.
    """
    n = total(np.array([float(len(rows))]))[0]
    weights = np.stack([solution.weights for solution in solutions])
    centred = np.stack([solution.intercept for solution in solutions]) + factored.mean_x @ weights
    alphas = [factored.alpha(solution.penalty) for solution in solutions]
    for _ in range(steps):
        left, sums = np.zeros_like(weights), np.zeros_like(centred)
        for where, block in rows.sliced():
            targets = rows.targets[where]
            if isinstance(block, Array):
                with jax.enable_x64(True):
                    parts = _left_on_device(block, factored.mean_x, targets, centred, weights)
                    left, sums = (whole + np.asarray(part) for whole, part in zip((left, sums), parts))
                continue
            for start in range(0, len(block), SWEEP):
                x = block[start : start + SWEEP] - factored.mean_x
                residual = targets[start : start + SWEEP] - centred[:, None] - x @ weights
                left += x.T @ residual
                sums += residual.sum(1)
        centred = centred + total(sums) / n
        left = total(left) - np.array(alphas)[:, None, None] * weights
        step = np.stack([factored.solved(one, solution.penalty) for one, solution in zip(left, solutions)])
        weights = weights + step
        if (np.abs(step).max((1, 2)) <= 1e-6 * np.abs(weights).max((1, 2))).all():
            break
    intercepts = centred - factored.mean_x @ weights
    return [Solution(w, b, old.penalty, old.trace) for w, b, old in zip(weights, intercepts, solutions)]


@jax.jit
def _left_on_device(
    x: Float[Array, "b d"], mean_x: Array, targets: Array, centred: Float[Array, "s t"], weights: Float[Array, "s d t"]
) -> tuple[Float[Array, "s d t"], Float[Array, "s t"]]:
    """What a block adds to every solution's gradient and residual; in float64, where x64 is on."""
    product = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    x = x.astype(mean_x.dtype) - mean_x
    residual = targets - centred[:, None] - product(x, weights)
    return product(x.T, residual), residual.sum(1)


@dataclass(frozen=True)
class Cholesky:
    """The Gram matrix with one penalty added, factored: much cheaper than its eigenvectors."""

    factor: tuple[Float[np.ndarray, "d d"], bool]
    added: float
    mean_x: Float[np.ndarray, " d"]

    def alpha(self, penalty: float) -> float:
        return self.added

    def solved(self, right: Float[np.ndarray, "d t"], penalty: float) -> Float[np.ndarray, "d t"]:
        return scipy.linalg.cho_solve(self.factor, right, check_finite=False)


def one_penalty(moments: Moments, penalty: float, rows: FeatureBlocks) -> Solution:
    """A single solution, of the rows that the moments are of."""
    gram, cross, _ = moments.centred()
    added = penalty * float(np.trace(gram)) / len(gram)
    gram[np.diag_indices_from(gram)] += added
    # symmetric, so its transpose, which LAPACK takes as it lies in memory, is the same
    factor = scipy.linalg.cho_factor(gram.T, overwrite_a=True, check_finite=False)
    cholesky = Cholesky(factor, added, moments.mean_x)
    weights = cholesky.solved(cross, penalty)
    rough = Solution(weights, moments.mean_y - moments.mean_x @ weights, penalty)
    return polished(cholesky, rows, [rough])[0]


def left_out(
    spectrum: Spectrum, x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n t"], lambdas: Sequence[float]
) -> dict[float, Float[np.ndarray, "n t"]]:
    """Each row's prediction by the solution of all other rows, exactly: y - residual / (1 - leverage)."""
    turned = (x - spectrum.mean_x) @ spectrum.basis
    predictions = {}
    for penalty in lambdas:
        shrink = 1 / (spectrum.squares + spectrum.alpha(penalty))
        residual = y - spectrum.mean_y - turned @ (spectrum.cross * shrink[:, None])
        leverage = 1 / len(y) + turned**2 @ shrink
        predictions[penalty] = y - residual / np.maximum(1 - leverage, 1e-9)[:, None]
    return predictions


def cross_validated(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n t"], lambdas: Sequence[float], criterion: Criterion
) -> tuple[Spectrum, Solution]:
    """The solution of the penalty whose left-out predictions are best; the larger penalty of two equals."""
    spectrum = from_rows(x, y)
    figures = {p: criterion(codes) for p, codes in left_out(spectrum, x, y, sorted(lambdas, reverse=True)).items()}
    best = spectrum.solution(max(figures, key=lambda p: figures[p]))
    return spectrum, Solution(best.weights, best.intercept, best.penalty, {"left_out": figures})


def conjugate_gradients(rows: FeatureBlocks, penalty: float, *, tolerance: float = 1e-6, steps: int = 500) -> Solution:
    """Without any d x d matrix: every step is one sweep over the rows. Stops at this relative residual."""
    n = total(np.array([float(len(rows))]))[0]
    mean_x = total(sum(x.sum(0, dtype=np.float64) for x in rows.blocks())) / n
    mean_y = total(rows.targets.sum(0)) / n
    trace = total(np.array([sum(float(((x - mean_x) ** 2).sum()) for x in rows.blocks())]))[0]
    alpha = penalty * trace / rows.width

    def product(direction: np.ndarray) -> np.ndarray:
        return total(sum((x - mean_x).T @ ((x - mean_x) @ direction) for x in rows.blocks())) + alpha * direction

    right = total(sum((x - mean_x).T @ (rows.targets[where] - mean_y) for where, x in rows.sliced()))
    weights, residual = np.zeros_like(right), right
    direction, size = residual, (residual**2).sum(0)
    target, taken = tolerance**2 * size, 0
    while (size > target).any() and taken < steps:
        image = product(direction)
        length = size / np.maximum((direction * image).sum(0), np.finfo(float).tiny)
        weights, residual = weights + length * direction, residual - length * image
        size, before = (residual**2).sum(0), size
        direction = residual + size / np.maximum(before, np.finfo(float).tiny) * direction
        taken += 1
    return Solution(weights, mean_y - mean_x @ weights, penalty, {"steps": taken})
