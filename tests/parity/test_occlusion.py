"""Occlusion maps against captum's, both engines: the same windows, the same mean over those that hide a pixel."""

import numpy as np
import pytest
import torch
from captum.attr import Occlusion
from numpy.testing import assert_allclose

from saliency import occlusion_maps
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.models.zoo.squeezenet import squeezenet1_1
from saliency.occlusion import Execution
from scripts.torch_twin import Twin, channels_last

NETWORKS = [
    scenes_cnn(((6,), (8, 8), (12,)), classes=5, size=(50, 42)),
    squeezenet1_1(8, ((4, 6), None, (6, 8)), classes=5, size=(51, 62)),
]


@pytest.mark.parametrize("engine", ["dense", "incremental"])
@pytest.mark.parametrize("architecture", NETWORKS, ids=lambda architecture: architecture.name)
def test_maps_are_captums(rng, architecture, engine):
    net = random_network(architecture, 4)
    x = rng.normal(size=(2, *architecture.size, 3)).astype(np.float32)
    targets = [2, 4]
    ours = occlusion_maps(net, x, patch=(13, 9), stride=(7, 5), fill=100, target=targets, execution=Execution(engine))
    twin = Twin(net)
    fill = torch.from_numpy(np.array(net.preprocess.normalise(np.full(3, 100.0)), np.float32))[None, :, None, None]
    with torch.no_grad():
        theirs = Occlusion(twin).attribute(
            channels_last(x),
            (3, 13, 9),
            (3, 7, 5),
            baselines=fill.expand(2, -1, *architecture.size),
            target=torch.tensor(targets),
            perturbations_per_eval=3,
        )
    expected = theirs.numpy()[:, 0]  # one window hides all three channels, so each has the same value
    assert np.ptp(expected) > 0.01
    assert_allclose(ours.maps, expected, atol=2e-5)
