"""Every family of masks over 1,000 seeds and many sizes: `python -m tests.campaigns.masks` (minutes, mostly drawing).

Prints the largest error of the coverage, in percentage points, and exits with 1 where one is above 0.5.
"""

import sys

import numpy as np

from saliency.robustness.masks import FAMILIES, draw_fields, hide

SEEDS = 1000
SIZES = ((10, 10), (1, 200), (200, 1), (17, 23), (64, 64), (96, 128), (224, 224))
TOLERANCE = 0.005


def largest_error(family: str, size: tuple[int, int], seeds: int) -> float:
    """Of one mask a seed, each at a coverage of its own between 0 and 1."""
    worst = 0.0
    for seed in range(seeds):
        coverage = np.random.default_rng(seed).random()
        hidden = hide(draw_fields(family, 1, size, seed=seed), coverage)
        worst = max(worst, abs(float(np.asarray(hidden).mean()) - coverage))
    return worst


def main() -> int:
    held = True
    for size in SIZES:
        for family in FAMILIES:
            error = largest_error(family, size, SEEDS)
            held &= error <= TOLERANCE
            print(f"{size[0]}x{size[1]} {family}: {SEEDS} seeds, off by at most {100 * error:.3f} points", flush=True)
    print("held" if held else f"more than {100 * TOLERANCE} points off")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
