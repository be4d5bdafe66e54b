"""How many are computed at once changes nothing; and where memory is too small, fewer are, which is said."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose

from saliency import gradient_maps, occlusion_maps
from saliency.devices import on_cpu
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.occlusion import Execution
from tests.gpu.problems import SMALL

pytestmark = pytest.mark.gpu
SHORT_OF_MEMORY = """
import json, warnings
import numpy as np
from saliency import occlusion_maps
from saliency.devices import free_memory
from saliency.occlusion import Execution
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.models.weights import random_network
net = random_network(scenes_cnn())
x = np.random.default_rng(0).normal(size=(1, 96, 96, 3)).astype(np.float32)
options = {"patch": 8, "stride": 1, "target": 1}
plain = occlusion_maps(net, x, **options, execution=Execution("dense", chunk=64)).scores
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    scores = occlusion_maps(net, x, **options, execution=Execution("dense", 2**60, 4096)).scores
apart = float(abs(scores - plain).max() / abs(plain).max())
print(json.dumps({"free": free_memory(), "apart": apart, "said": [str(w.message) for w in said]}))
"""


@pytest.fixture(scope="module")
def net():
    return random_network(scenes_cnn(((4,), (6, 5)), classes=3, size=(40, 36)) if SMALL else scenes_cnn())


@pytest.fixture(scope="module")
def x(net):
    return np.random.default_rng(1).normal(size=(5, *net.architecture.size, 3)).astype(np.float32)


@pytest.mark.parametrize("engine", ["dense", "incremental"])
def test_chunks_change_nothing(net, x, engine):
    options = {"patch": 12, "stride": 8, "target": 1}
    ways = (Execution(engine, chunk=chunk) for chunk in (None, 7, 64))
    first, *others = (occlusion_maps(net, x[:2], **options, execution=way).scores for way in ways)
    for other in others:
        assert_allclose(other, first, atol=1e-5 * np.abs(first).max())


def test_batches_change_nothing(net, x):
    first, *others = (gradient_maps(net, x, batch=batch, target=1) for batch in (None, 1, 3))
    for other in others:
        assert_allclose(other, first, atol=1e-4 * np.abs(first).max())


@pytest.mark.skipif(on_cpu(), reason="a CPU's memory is not bounded so; tests/test_devices.py says it is too small")
def test_a_budget_that_is_too_large_is_met_by_a_smaller_one(record_property):
    """On a hundredth of the device's memory."""
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.01"}
    found = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY], env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr[-2000:]
    seen = json.loads(found.stdout.splitlines()[-1])
    for name, value in seen.items():
        record_property(name, value)
    assert any("going on with" in line for line in seen["said"])
    assert seen["apart"] <= 1e-5
