"""What every solver gives: weights and an intercept, of features `[n, d]` for targets `[n, t]`, all float64."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Solution:
    """`penalty` is relative to the mean eigenvalue of the centred Gram matrix; `trace` says how it was found."""

    weights: Float[np.ndarray, "d t"]
    intercept: Float[np.ndarray, " t"]
    penalty: float
    trace: dict[str, Any] = field(default_factory=dict)

    def __call__(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n t"]:
        return x @ self.weights + self.intercept
