"""The routes from maps to boxes, by the names that `compare` and `evaluate` share."""

from typing import Final, Literal

import numpy as np
from jaxtyping import Float

from localization.features import Features
from localization.regression import LinearMap, fit_linear_map

Route = Literal["linear map", "Eq. 4", "heuristic"]
LINEAR: Final = "linear map"
"""Weights shared by all places, `fit_coverage`; `Fitting` names the older ones."""
EQ4: Final = "Eq. 4"
"""A weight for each pixel and coordinate: Fast Object Localization via Sensitivity Analysis, Eq. 4."""
HEURISTIC: Final = "heuristic"
Fitting = Literal["coverage", "lad", "flip-equivariant"]


def fit_eq4(maps: Float[np.ndarray, "n *k h w"], boxes: Float[np.ndarray, "n 4"], seed: int = 0) -> LinearMap:
    """Eq. 4 as it stands, by ridge regression: corners are linear in the pixels of the raw map."""
    return fit_linear_map(maps, boxes, method="ridge", features=Features.raw(), seed=seed)
