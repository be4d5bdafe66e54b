"""Least absolute deviations with a ridge penalty: a linear map that aims at the median box, not at the mean one.

Minimises sum |y - x w - b| + alpha / 2 |w|^2 by ADMM: residuals r are split off, so that every step is one ridge
solution by the factorisation at hand and one soft threshold.
"""

import numpy as np
from jaxtyping import Float

from localization.regression.ridge import Spectrum
from localization.regression.solution import Solution

STEPS = 300


def refine(ridge: Solution, spectrum: Spectrum, y: Float[np.ndarray, "n t"], steps: int = STEPS) -> Solution:
    """Start at the ridge solution. Its penalty is carried over in the units of the new loss: both losses pull with the
    same force at a residual of the mean size."""
    shrink = spectrum.values**2 / (spectrum.values**2 + spectrum.alpha(ridge.penalty))
    at, intercept = shrink[:, None] * spectrum.targets, spectrum.mean_y
    split = y - intercept - spectrum.left @ at
    size = np.abs(split).mean(0)  # per target, the residual at which the losses agree, and the step of the threshold
    dual = np.zeros_like(split)
    for _ in range(steps):
        aim = y - split + dual
        intercept = aim.mean(0)  # the left vectors are centred
        at = shrink[:, None] * (spectrum.left.T @ aim)
        residual = y - intercept - spectrum.left @ at
        split = np.sign(residual + dual) * np.maximum(np.abs(residual + dual) - size, 0)
        dual += residual - split
    weights = spectrum.right @ (at / spectrum.values[:, None])
    return Solution(
        weights,
        intercept - spectrum.mean_x @ weights,
        ridge.penalty,
        {**ridge.trace, "absolute_deviation": float(np.abs(residual).mean())},
    )
