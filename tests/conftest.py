"""What tests share: folders of real data, and random numbers."""

import os
from pathlib import Path

import numpy as np
import pytest


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
