"""Blur IG, Guided IG and XRAI against PAIR's own package, 1e-4 of the largest value: `make parity`.

PAIR's package is called `saliency` too, so it runs in an environment of its own, whose Python PAIR_PYTHON names;
without it there is nothing to compare with, and the tests are skipped. The score is a small function of numpy's, whose
gradients both sides round alike: Guided IG's choices then are the same to the last bit.
"""

import os
import subprocess
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from saliency.maps.paths import BlurIntegratedGradients, GuidedIntegratedGradients
from saliency.maps.xrai import gains, regions

PYTHON = os.environ.get("PAIR_PYTHON")
SIZE = (224, 200)
STEPS, SIGMA = 12, 9.0

pytestmark = pytest.mark.skipif(not PYTHON, reason="PAIR_PYTHON names no Python with PAIR's saliency (make parity)")


@pytest.fixture(scope="module")
def given() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    coarse = rng.normal(size=(8, 7, 3))
    x = np.kron(coarse, np.ones((28, 29, 1)))[: SIZE[0], : SIZE[1]] + 0.1 * rng.normal(size=(*SIZE, 3))
    return {
        "x": x.astype(np.float32).astype(float),
        "baseline": np.full((*SIZE, 3), 0.25),
        "weights": rng.normal(size=(*SIZE, 3)),
        "attribution": rng.normal(size=(*SIZE, 3)) + np.kron(coarse, np.ones((28, 29, 1)))[: SIZE[0], : SIZE[1]],
    }


@pytest.fixture(scope="module")
def theirs(given, tmp_path_factory) -> dict[str, np.ndarray]:
    folder = tmp_path_factory.mktemp("pair")
    np.savez(folder / "in.npz", **given, steps=STEPS, sigma=SIGMA)
    side = Path(__file__).with_name("pair_side.py")
    subprocess.run([PYTHON, side, folder / "in.npz", folder / "out.npz"], check=True, cwd=folder)
    return dict(np.load(folder / "out.npz"))


def close(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()


def gradient_of(weights: np.ndarray):
    def gradient(points):
        points = np.asarray(points).astype(np.float32).astype(np.float64)
        return jnp.asarray((np.cos(points * weights) * weights).astype(np.float32))

    return gradient


def run(recipe, given) -> np.ndarray:
    x, baseline = (jnp.asarray(given[name][None], jnp.float32) for name in ("x", "baseline"))
    return np.asarray(recipe(gradient_of(given["weights"]), x, baseline))[0]


def test_blur_ig(given, theirs):
    close(run(BlurIntegratedGradients(STEPS, SIGMA), given), theirs["blur"].sum(-1))


def test_guided_ig(given, theirs):
    close(run(GuidedIntegratedGradients(STEPS), given), theirs["guided"].sum(-1))


def test_xrai(given, theirs):
    masks = regions(given["x"], radius=5)
    close(gains(given["attribution"].max(-1), masks, added=50), theirs["xrai"])
