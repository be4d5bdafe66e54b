"""Occlusion of whole published networks: incremental equals dense everywhere, and docs/speed.md holds their plans."""

from pathlib import Path

import numpy as np
import pytest

from saliency import Execution, Windows, occlusion_maps
from saliency.models.weights import ARCHITECTURES, random_network
from saliency.occlusion.plan import plan_for
from saliency.scores import Score

NETWORKS = ("resnet50", "densenet121", "convnext_tiny", "efficientnet_lite0")
TRANSFORMERS = ("vit_small", "deit_base")
SETTINGS = ((32, 16), (8, 4))


def predicted(name: str) -> str:
    """A row of the table: the plans' predicted speed-ups, and the engine that runs."""
    architecture = ARCHITECTURES[name]()
    found = [plan_for(architecture, Windows(architecture.size, *setting), Score()).speedup for setting in SETTINGS]
    return f"| `{name}` | {found[0]:.2f} | {found[1]:.2f} |"


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NETWORKS, *TRANSFORMERS])
def test_the_documentation_has_the_plan(name):
    assert predicted(name) in (Path(__file__).parents[1] / "docs" / "speed.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_position(name):
    """At full size, but for ConvNeXt, whose 224 pixels would take as long as all others together. Strides differ, so
    that one axis has windows at places that the network's own strides divide, and the other between them too."""
    net = random_network(ARCHITECTURES[name]())
    size = (128, 128) if name == "convnext_tiny" else net.architecture.size
    x = np.random.default_rng(0).normal(size=(1, *size, 3)).astype(np.float32)
    found = {
        engine: occlusion_maps(net, x, patch=32, stride=(32, 16), target=7, execution=Execution(engine))
        for engine in ("dense", "incremental")
    }
    dense, mine = (found[engine].scores for engine in ("dense", "incremental"))
    assert dense.shape == (1, (size[0] - 32) // 32 + 1, (size[1] - 32) // 16 + 1) and np.ptp(dense) > 0
    np.testing.assert_allclose(mine, dense, atol=1e-4 * np.abs(dense).max())


def test_transformers_take_the_dense_engine_in_the_budget():
    """Any change reaches every token: the plan says so, and positions go through in batches that the budget holds."""
    from tests.small_networks import SMALL

    net = random_network(SMALL["vit_small"]())
    x = np.random.default_rng(0).normal(size=(1, *net.architecture.size, 3)).astype(np.float32)
    roomy, tight = (
        occlusion_maps(net, x, patch=8, stride=4, execution=Execution(budget=budget)) for budget in (2**28, 2**16)
    )
    assert roomy.engine == tight.engine == "dense"
    np.testing.assert_allclose(roomy.scores, tight.scores, rtol=1e-5, atol=1e-5)
