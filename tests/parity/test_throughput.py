"""The rival of `scripts.benchmark throughput` computes the same maps."""

import numpy as np
import pytest

pytest.importorskip("torch")

from saliency.models.weights import ARCHITECTURES, random_network
from saliency.occlusion import occlusion_maps
from scripts.benchmarks.throughput import folder, memory
from scripts.torch_twin import Twin, channels_last

pytestmark = pytest.mark.parity


def test_the_rivals_occlusion_is_ours(rng):
    net = random_network(ARCHITECTURES["scenes_cnn"](), 0)
    x = rng.normal(size=(1, *net.architecture.size, 3)).astype(np.float32)
    expected = occlusion_maps(net, x, patch=32, stride=16, fill="mean").maps[0]
    found = folder._occlusion(Twin(net), channels_last(x)[0], 32, 16).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_images_in_memory_agree():
    row = memory.measured("scenes_cnn", 2, 1, 1, 0)
    assert row["apart"] < 1e-4 and row["ratio"] > 0
