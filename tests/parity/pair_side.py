"""PAIR's `saliency` 0.2.1 on what it is handed, in an environment of its own: its package has the name of ours.

python tests/parity/pair_side.py IN.npz OUT.npz, with x, baseline, weights, attribution, steps and sigma in IN.
"""

import sys

import numpy as np
from saliency.core import XRAI, BlurIG, GuidedIG
from saliency.core.base import INPUT_OUTPUT_GRADIENTS

_quantile = np.quantile
np.quantile = lambda values, share, interpolation: _quantile(
    values, share, method=interpolation
)  # NumPy's name until 2.4


def main(given: str, path: str) -> None:
    held = np.load(given)
    x, baseline, weights, attribution = (held[name] for name in ("x", "baseline", "weights", "attribution"))
    steps, sigma = int(held["steps"]), float(held["sigma"])

    def model(images, call_model_args=None, expected_keys=None):
        """d/dx of the sum of sin(x w), rounded to float32 as a network's gradients are."""
        points = np.asarray(images).astype(np.float32).astype(np.float64)
        return {INPUT_OUTPUT_GRADIENTS: (np.cos(points * weights) * weights).astype(np.float32).astype(np.float64)}

    blur = BlurIG().GetMask(x, model, max_sigma=sigma, steps=steps)
    guided = GuidedIG().GetMask(x, model, x_baseline=baseline, x_steps=steps, fraction=0.25, max_dist=0.02)
    xrai = XRAI().GetMask(x, model, base_attribution=attribution)
    np.savez(path, blur=blur, guided=guided, xrai=xrai)


if __name__ == "__main__":
    main(*sys.argv[1:])
