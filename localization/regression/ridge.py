"""Ridge regression in closed form: one factorisation serves every penalty, and leave-one-out cross-validation too.

Minimises |y - x w - b|^2 + alpha |w|^2 with a free intercept b. A penalty is stated relative to the mean eigenvalue of
the centred Gram matrix, alpha = penalty * trace / d, so that one list of them suits features of any scale.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from localization.regression.solution import Solution

LAMBDAS = tuple(float(p) for p in np.logspace(-5, 3, 17))
Criterion = Callable[[Float[np.ndarray, "n t"]], float]  # of predictions; larger is better


@dataclass(frozen=True)
class Spectrum:
    """Centred features as thin `left @ diag(values) @ right.T`, what centred them, and the targets in that basis."""

    left: Float[np.ndarray, "n r"]
    values: Float[np.ndarray, " r"]
    right: Float[np.ndarray, "d r"]
    mean_x: Float[np.ndarray, " d"]
    mean_y: Float[np.ndarray, " t"]
    targets: Float[np.ndarray, "r t"]

    def alpha(self, penalty: float) -> float:
        return penalty * float((self.values**2).sum()) / len(self.mean_x)

    def solution(self, penalty: float) -> Solution:
        shrink = self.values / (self.values**2 + self.alpha(penalty))
        weights = self.right @ (shrink[:, None] * self.targets)
        return Solution(weights, self.mean_y - self.mean_x @ weights, penalty)

    def left_out(self, y: Float[np.ndarray, "n t"], penalty: float) -> Float[np.ndarray, "n t"]:
        """Each row's prediction by the solution of all other rows, exactly: y - residual / (1 - leverage)."""
        shrink = self.values**2 / (self.values**2 + self.alpha(penalty))
        leverage = 1 / len(y) + self.left**2 @ shrink
        fitted = self.mean_y + self.left @ (shrink[:, None] * self.targets)
        return y - (y - fitted) / np.maximum(1 - leverage, 1e-9)[:, None]


def spectrum(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n t"]) -> Spectrum:
    """By the smaller of the two Gram matrices: features (primal) where n >= d, rows (dual) where n < d."""
    mean_x, mean_y = x.mean(0, dtype=np.float64), y.mean(0, dtype=np.float64)
    centred = x.astype(np.float64) - mean_x
    primal = len(x) >= x.shape[1]
    squares, vectors = np.linalg.eigh(centred.T @ centred if primal else centred @ centred.T)
    kept = squares > squares[-1] * len(squares) * np.finfo(float).eps  # centring takes a rank, constant features more
    values, vectors = np.sqrt(squares[kept]), vectors[:, kept]
    if primal:
        left, right = centred @ vectors / values, vectors
    else:
        left, right = vectors, centred.T @ vectors / values
    return Spectrum(left, values, right, mean_x, mean_y, left.T @ (y - mean_y))


def cross_validated(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n t"], lambdas: Sequence[float], criterion: Criterion
) -> tuple[Spectrum, Solution]:
    """The solution of the penalty whose left-out predictions are best; the larger penalty of two equals."""
    decomposition = spectrum(x, y)
    path = {p: criterion(decomposition.left_out(y, p)) for p in sorted(lambdas, reverse=True)}
    best = decomposition.solution(max(path, key=lambda p: path[p]))
    return decomposition, Solution(best.weights, best.intercept, best.penalty, {"left_out": path})
