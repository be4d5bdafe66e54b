"""From the ridge solution to the solver that was asked for: the one place that knows them all."""

from collections.abc import Callable
from typing import Literal

from localization.features import Coding
from localization.regression import lad, overlap, sgd
from localization.regression.ridge import Spectrum
from localization.regression.rows import FeatureBlocks
from localization.regression.solution import Solution

Method = Literal["ridge", "lad", "iou", "sgd"]


def refined(
    method: Method,
    ridge: Solution,
    spectrum: Spectrum,
    rows: FeatureBlocks,
    *,
    coding: Coding,
    steps: int | None = None,
    batches: Callable[[], sgd.Batches],
) -> Solution:
    """The solution of `method` with the ridge solution's penalty, on the same rows.

    "ridge" is there already; "lad" and "iou" start from it, `steps` (default: each one's own) on; "sgd" takes `batches`
    of the rows, and of the ridge solution the penalty alone.
    """
    match method:
        case "ridge":
            return ridge
        case "lad":
            return lad.refine(ridge, spectrum, rows, steps or lad.STEPS)
        case "iou":
            return overlap.refine(ridge, spectrum, rows, centre=coding == "centre", steps=steps or overlap.STEPS)
        case "sgd":
            return sgd.descend(
                batches(),
                spectrum.mean_x,
                spectrum.mean_y,
                float(spectrum.squares.max(initial=1e-12)) / len(rows),
                alpha=spectrum.alpha(ridge.penalty) / len(rows),
                penalty=ridge.penalty,
                steps=steps or sgd.STEPS,
            )
