"""What tests share: folders of real data, random arrays, and small networks with random weights."""

import os
from pathlib import Path

import numpy as np
import pytest

from saliency.networks.architecture import Architecture
from saliency.networks.network import Network
from saliency.preprocessing import Preprocessing


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real weights and photos; tests that need it skip without it."""
    folder = os.environ.get("SALBOX_SHARED")
    if not folder or not Path(folder).is_dir():
        pytest.skip("SALBOX_SHARED does not name a folder with real weights and photos")
    return Path(folder)


def random_network(architecture: Architecture, seed: int = 0, dtype: type = np.float32) -> Network:
    """An architecture with random weights, scaled so that activations neither vanish nor explode."""
    rng = np.random.default_rng(seed)
    weights = {
        layer: {
            name: (rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]) if name == "kernel" else 0.01)).astype(
                dtype
            )
            for name, shape in shapes.items()
        }
        for layer, shapes in architecture.parameter_shapes().items()
    }
    return Network(architecture, weights, Preprocessing(architecture.size, mode="stretch"))
