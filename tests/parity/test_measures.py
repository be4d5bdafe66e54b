"""Measures of map quality against captum's and Quantus', where they mean the same, on equal perturbations."""

import warnings

import captum
import numpy as np
import pytest
import torch

from saliency import faithfulness
from saliency.methods import METHODS
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from scripts.torch_twin import Twin
from tests.parity.test_networks import images

pytestmark = pytest.mark.filterwarnings("ignore")

SIZE, TARGET = (12, 18), [4, 0, 7]
PLAIN = {"abs": False, "normalise": False, "disable_warnings": True}


@pytest.fixture(scope="module")
def net():
    return random_network(scenes_cnn(blocks=((4,), (6,))), seed=3)


@pytest.fixture
def maps() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, *SIZE)).astype(np.float32)


@pytest.mark.parametrize("best", [False, True])
def test_infidelity_is_captums_on_equal_masks(net, maps, best):
    x, torch_x = images(SIZE)
    masks = np.random.default_rng(1).random((9, *SIZE)) < 0.3
    fill = tuple(255 * value for value in net.preprocess.mean)  # 0 in the network's space
    number = iter([0])

    def perturbed(inputs):
        """Captum repeats each image in turn for every mask; the map's sum is over one channel of three."""
        hidden = torch.tensor(np.tile(masks, (3, 1, 1)))[:, None].expand_as(inputs)
        next(number)
        return hidden.float() / 3, torch.where(hidden, torch.zeros(()), inputs)

    theirs = captum.metrics.infidelity(
        Twin(net).eval(), perturbed, torch_x, torch.tensor(maps)[:, None].expand(-1, 3, -1, -1),
        target=torch.tensor(TARGET), n_perturb_samples=9, normalize=best,
    )  # fmt: skip
    ours = faithfulness.infidelity(net, x, maps, target=TARGET, masks=masks, fill=fill, scaled_at_best=best)
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-4)


def test_max_sensitivity_is_captums_on_equal_images(net):
    x, torch_x = images(SIZE)
    twin, draws = Twin(net).eval(), np.random.default_rng(2)
    scale = 0.05 * np.ptp(x, axis=(1, 2, 3), keepdims=True)
    near = iter([(x + scale * draws.uniform(-1, 1, x.shape[1:])).astype(np.float32) for _ in range(4)])

    def perturbed(inputs):
        return torch.tensor(np.moveaxis(next(near), -1, 1).copy())

    def explain(inputs):
        """A tuple: of a tensor captum would take each image's map for that of one more input, and compare the first."""
        images = inputs if isinstance(inputs, torch.Tensor) else inputs[0]
        found = captum.attr.InputXGradient(twin).attribute(images, target=torch.tensor(TARGET))
        return (found.sum(1, keepdim=True),)

    theirs = captum.metrics.sensitivity_max(
        explain, torch_x, perturb_func=perturbed, n_perturb_samples=4, max_examples_per_batch=3
    )
    method = METHODS["input-x-gradient"]
    plain = method.maps(net, x, target=TARGET)
    ours = faithfulness.sensitivity(method, net, x, plain, target=TARGET, radius=0.05, count=4, seed=2)
    np.testing.assert_allclose(ours.max, theirs.detach().numpy(), rtol=1e-4)


def test_what_quantus_says_of_regions_and_spread(net, maps):
    import quantus

    x, _ = images(SIZE)
    maps, inside = np.abs(maps), np.random.default_rng(3).random((3, *SIZE)) < 0.3
    batches = faithfulness.to_quantus(x, maps, TARGET, inside)

    def theirs(metric) -> np.ndarray:
        given = {name: batch.copy() for name, batch in batches.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.array(metric(Twin(net).eval(), **given, channel_first=True))

    pairs = {
        quantus.RelevanceRankAccuracy(**PLAIN): faithfulness.relevance_rank(maps, inside),
        quantus.RelevanceMassAccuracy(**PLAIN): faithfulness.relevance_mass(maps, inside),
        quantus.AUC(**PLAIN): faithfulness.roc_auc(maps, inside),
        quantus.TopKIntersection(k=22, **PLAIN): faithfulness.top_in_mask(maps, inside, share=0.1),
        quantus.Complexity(**PLAIN): faithfulness.entropy(maps),
    }
    for metric, ours in pairs.items():
        np.testing.assert_allclose(ours, theirs(metric), rtol=1e-4, err_msg=type(metric).__name__)


def test_imputation_is_quantus_noisy_linear_imputation_without_the_noise():
    """The reason for no parity of ROAD itself: theirs is the accuracy over all images, ours a probability each, and
    their broadcast of one map to three channels ranks every pixel three times."""
    from quantus.functions.perturb_func import noisy_linear_imputation

    x, torch_x = images(SIZE)
    hidden = np.random.default_rng(4).random((3, *SIZE)) < [[[0.2]], [[0.5]], [[0.9]]]
    ours = faithfulness.noisy_linear_imputation(x, hidden)
    for k, image in enumerate(torch_x.detach().numpy()):
        theirs = noisy_linear_imputation(image.copy(), np.flatnonzero(hidden[k]), noise=0.0)
        np.testing.assert_allclose(np.moveaxis(ours[k], -1, 0), theirs.reshape(3, *SIZE), rtol=1e-4, atol=1e-4)


def test_the_other_classes_map_as_quantus_random_logit(net):
    import quantus

    method = METHODS["input-x-gradient"]
    two = random_network(scenes_cnn(blocks=((4,), (6,))), seed=3)
    x, target = images(SIZE)[0], np.array(TARGET)
    other = (target + np.random.default_rng(0).integers(1, 10, 3)) % 10
    maps = method.maps(two, x, target=target)
    ours = faithfulness.random_logit(method, two, x, maps, target=target, seed=0)
    similarity = quantus.similarity_func.correlation_spearman
    against = method.maps(two, x, target=other)
    np.testing.assert_allclose(ours, [similarity(a.ravel(), b.ravel()) for a, b in zip(maps, against)], rtol=1e-4)
