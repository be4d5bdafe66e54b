"""Map quality against Quantus, where that means the same: PointingGame has no tolerance there."""

import warnings

import numpy as np
import pytest

from saliency.faithfulness import deletion, energy_pointing_game, pointing_game, sparsity
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from scripts.torch_twin import Twin
from tests.parity.test_networks import images

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import quantus

pytestmark = pytest.mark.filterwarnings("ignore")

SIZE = (12, 18)
PLAIN = {"abs": False, "normalise": False, "disable_warnings": True}


@pytest.fixture(scope="module")
def net():
    return random_network(scenes_cnn(blocks=((4,), (6,))), seed=3)


def theirs(metric, net, maps: np.ndarray, **arguments) -> np.ndarray:
    torch_x = images(SIZE)[1].detach().numpy()
    return np.array(
        metric(
            Twin(net).eval(), torch_x, np.array([4, 0, 7]), maps[:, None].astype(float), channel_first=True, **arguments
        )
    )


def masks(boxes: np.ndarray) -> np.ndarray:
    inside = np.zeros((len(boxes), 1, *SIZE), bool)
    for mask, (x0, y0, x1, y1) in zip(inside, boxes.astype(int)):
        mask[0, y0:y1, x0:x1] = True
    return inside


def test_deletion(net):
    """Pixel flipping with the mean colour, which is 0 in the network's space, nine pixels of three channels a step."""
    maps = np.random.default_rng(0).normal(size=(3, *SIZE))
    metric = quantus.PixelFlipping(features_in_step=27, perturb_baseline=0.0, **PLAIN)
    mean = tuple(255 * value for value in net.preprocess.mean)
    curves = deletion(net, images(SIZE)[0], maps, target=[4, 0, 7], steps=24, fill=mean)
    np.testing.assert_allclose(curves.scores[:, 1:], theirs(metric, net, maps, softmax=True), rtol=1e-3, atol=1e-6)


def test_pointing_and_energy(net):
    rng = np.random.default_rng(1)
    maps = rng.normal(size=(3, *SIZE))
    boxes = np.array([[2, 1, 16, 11], [0, 0, 3, 5], [5, 2, 17, 12]], float)
    pointing = theirs(quantus.PointingGame(**PLAIN), net, maps, s_batch=masks(boxes))
    np.testing.assert_array_equal(pointing_game(maps, boxes, tolerance=0), pointing)
    assert 0 < pointing.sum() < 3
    energy = quantus.AttributionLocalisation(positive_attributions=True, **PLAIN)
    np.testing.assert_allclose(energy_pointing_game(maps, boxes), theirs(energy, net, maps, s_batch=masks(boxes)))


def test_sparsity(net):
    maps = np.random.default_rng(2).normal(size=(3, *SIZE))
    metric = quantus.Sparseness(**(PLAIN | {"abs": True}))
    np.testing.assert_allclose(sparsity(maps), theirs(metric, net, maps), rtol=1e-5)
