"""What a comparison's figures owe to the seed: random methods again by other seeds, and how their CorLoc spreads."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from localization.comparison.boxes import Fit
from localization.comparison.maps import Task, task_of
from localization.comparison.samples import Samples
from localization.metrics import best_iou, hits
from saliency.methods import METHODS, Options
from saliency.models.network import Network
from saliency.wrappers import is_random

MARK = " seed "  # between a method's name and the seed, in the name of its maps


def again(net: Network, wanted: Mapping[str, Task], settings: Options, repeats: int) -> dict[str, Task]:
    """The maps of random methods by the seeds that follow, each as NAME seed SEED; none where there is no chance."""
    return {
        f"{name}{MARK}{seed}": task_of(METHODS[name], net, replace(settings, seed=seed))
        for name in wanted
        if name in METHODS and is_random(METHODS[name], settings)
        for seed in range(settings.seed + 1, settings.seed + repeats)
    }


def spread(fits: Mapping[str, Fit], others: Mapping[str, Fit], samples: Samples) -> list[dict[str, Any]]:
    """CorLoc of each seed of each random method and route, their mean and standard deviation (with k - 1)."""
    true = [samples.true[i] for i in samples.test]
    found = []
    for name, fit in fits.items():
        seeds = [own for key, own in others.items() if key.rpartition(MARK)[0] == name]
        for (method, route), boxes in fit.boxes.items() if seeds else ():
            every = [boxes, *(next(b for (_, r), b in own.boxes.items() if r == route) for own in seeds)]
            shares = [float(hits(best_iou(own, true)).mean()) for own in every]
            found.append(
                {
                    "method": method,
                    "route": route,
                    "corloc": shares,
                    "mean": float(np.mean(shares)),
                    "deviation": float(np.std(shares, ddof=1)),
                }
            )
    return found


def sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """How far a figure moves by the seed alone."""
    worst = max(rows, key=lambda row: row["deviation"])
    return (
        f"CorLoc of {len(rows[0]['corloc'])} seeds of each method with chance in it, on the same images and folds: what"
        f" differs within a row is noise. The most it moves is {worst['method']} through the {worst['route']}, by a"
        f" standard deviation of {100 * worst['deviation']:.1f} points."
    )
