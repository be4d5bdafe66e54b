"""An overlap loss, as a refinement of the ridge solution: 1 - generalised IoU of predicted and true boxes.

Gradient descent over all rows, preconditioned by the factorisation at hand, so that a step is one sweep and one ridge
solution. Codes are corners or centre and size, in shares of the image.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from localization.regression.ridge import Spectrum
from localization.regression.rows import FeatureBlocks, total
from localization.regression.solution import Solution

STEPS = 40


def refine(ridge: Solution, spectrum: Spectrum, rows: FeatureBlocks, *, centre: bool, steps: int = STEPS) -> Solution:
    """Start at the ridge solution; a step that does not lower the mean loss is taken back and halved."""
    n = total(np.array([float(len(rows))]))[0]
    at = best = slope = (ridge.weights, spectrum.mean_y)  # of centred features
    rate, curvature = 1.0, 0.0
    losses: list[float] = []
    for _ in range(steps + 1):
        loss, pull, right, sums = np.zeros(1), np.zeros(2), np.zeros_like(at[0]), np.zeros_like(at[1])
        for where, x in rows.sliced():
            x = x - spectrum.mean_x.astype(x.dtype)
            codes, y = at[1] + x @ at[0].astype(x.dtype), rows.targets[where]
            value, gradient = _loss(jnp.asarray(codes, jnp.float32), jnp.asarray(y, jnp.float32), centre)
            gradient = np.asarray(gradient, np.float64)
            loss += float(value)
            pull += np.abs(gradient).sum(), np.abs(codes - y).sum()
            right += x.T @ gradient.astype(x.dtype)
            sums += gradient.sum(0)
        loss, pull, right, sums = (total(part) for part in (loss, pull, right, sums))
        if not losses or loss[0] / n < losses[-1]:
            curvature = curvature or pull[0] / max(pull[1], np.finfo(float).tiny)
            losses.append(float(loss[0] / n))
            best = at
            penalty = spectrum.alpha(ridge.penalty) * best[0]
            slope = spectrum.solved(right / curvature + penalty, ridge.penalty), sums / (n * curvature)
        else:
            rate /= 2
        at = best[0] - rate * slope[0], best[1] - rate * slope[1]
    trace = {**ridge.trace, "overlap_loss": losses}
    return Solution(best[0], best[1] - spectrum.mean_x @ best[0], ridge.penalty, trace)


@jax.jit
def _loss(codes: Float[Array, "n 4"], true: Float[Array, "n 4"], centre: Array | bool) -> tuple[Array, Array]:
    """The summed loss and its gradient."""
    return jax.value_and_grad(lambda codes: (1 - generalised_iou(codes, true, centre)).sum())(codes)


def generalised_iou(
    a: Float[Array | np.ndarray, "n 4"], b: Float[Array | np.ndarray, "n 4"], centre: Array | bool
) -> Float[Array, " n"]:
    """IoU less the share of the common hull that neither box covers (Rezatofighi et al. 2019): it falls on with the
    distance where boxes do not meet."""
    a, b = (
        jnp.where(centre, jnp.concatenate([c[:, :2] - c[:, 2:] / 2, c[:, :2] + c[:, 2:] / 2], 1), c) for c in (a, b)
    )
    low, high = jnp.minimum(a[:, :2], a[:, 2:]), jnp.maximum(a[:, :2], a[:, 2:])
    inside = jnp.maximum(jnp.minimum(high, b[:, 2:]) - jnp.maximum(low, b[:, :2]), 0).prod(-1)
    hull = (jnp.maximum(high, b[:, 2:]) - jnp.minimum(low, b[:, :2])).prod(-1)
    union = (high - low).prod(-1) + (b[:, 2:] - b[:, :2]).prod(-1) - inside
    return inside / jnp.maximum(union, 1e-9) - (hull - union) / jnp.maximum(hull, 1e-9)
