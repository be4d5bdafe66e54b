"""The benchmark of a million maps: what it makes can be learned, and is the same at every sweep."""

import numpy as np
import pytest

from scripts.benchmarks.scale import Made, measured


def test_every_sweep_makes_the_same_maps():
    made = Made(5000, 8, 3)
    first, second = (
        [np.concatenate(part) for part in zip(*[(*one[0], *one[1:]) for one in made()], strict=True)] for _ in range(2)
    )
    for one, again in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, again)
    assert first[0].shape == (5000, 8, 8) and (first[2] == np.arange(5000)).all() and made.sweeps == 2


@pytest.mark.slow  # fits twice
def test_a_map_bright_in_its_box_gives_the_box():
    row = measured(400, 24, 0)
    assert row["mean_iou"] > 0.8, "boxes of other maps than those that were made"
    assert row["sweeps"] >= 2 and 0 < row["making_cpu_seconds"] < row["cpu_seconds"]
