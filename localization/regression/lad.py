"""Least absolute deviations with a ridge penalty: a linear map that aims at the median box, not at the mean one.

Minimises sum |y - x w - b| + alpha / 2 |w|^2 by ADMM: residuals are split off, so that a step is one sweep over the
rows with a soft threshold, and one ridge solution by the factorisation at hand.
"""

import numpy as np

from localization.regression.ridge import Spectrum
from localization.regression.rows import FeatureBlocks, total
from localization.regression.solution import Solution

STEPS = 200


def refine(ridge: Solution, spectrum: Spectrum, rows: FeatureBlocks, steps: int = STEPS) -> Solution:
    """Start at the ridge solution. Its penalty is carried over in the units of the new loss: both losses pull with the
    same force at a residual of the mean size."""
    n = total(np.array([float(len(rows))]))[0]
    weights, intercept = ridge.weights, spectrum.mean_y  # of centred features
    deviations = [_deviation(rows, spectrum, weights, intercept)]
    size = deviations[0] / n  # where the two losses agree, and the step of the threshold
    dual = np.zeros_like(rows.targets)
    for _ in range(steps):
        right, sums, deviation = np.zeros_like(weights), np.zeros_like(intercept), np.zeros_like(intercept)
        for where, x in rows.sliced():
            x = x - spectrum.mean_x.astype(x.dtype)
            residual = rows.targets[where] - intercept - x @ weights.astype(x.dtype)
            moved = residual + dual[where]
            split = np.sign(moved) * np.maximum(np.abs(moved) - size, 0)
            dual[where] = moved - split
            aim = rows.targets[where] - split + dual[where]
            right += x.T @ aim.astype(x.dtype)
            sums += aim.sum(0)
            deviation += np.abs(residual).sum(0)
        deviations.append(total(deviation))
        weights, intercept = spectrum.solved(total(right), ridge.penalty), total(sums) / n
    return Solution(
        weights,
        intercept - spectrum.mean_x @ weights,
        ridge.penalty,
        {**ridge.trace, "absolute_deviation": [float(d.sum() / n) for d in deviations]},
    )


def _deviation(rows: FeatureBlocks, spectrum: Spectrum, weights: np.ndarray, intercept: np.ndarray) -> np.ndarray:
    residuals = (rows.targets[where] - intercept - (x - spectrum.mean_x) @ weights for where, x in rows.sliced())
    return total(sum((np.abs(r).sum(0) for r in residuals), np.zeros_like(intercept)))
