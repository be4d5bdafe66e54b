"""Controls: what they must not depend on."""

import numpy as np
import pytest

from localization.datasets.scenes import scenes
from saliency import load_network
from saliency.faithfulness import deletion, energy_pointing_game
from saliency.maps.controls import cascade, centre_gaussian, edge_maps, random_maps, randomised
from saliency.methods import CONTROLS, METHODS, Options
from saliency.models.network import Network
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn


@pytest.fixture(scope="module")
def net() -> Network:
    return random_network(scenes_cnn(blocks=((4,), (6,))))


def changed(a: Network, b: Network) -> list[str]:
    return [
        layer
        for layer, arrays in a.weights.items()
        if any(not np.array_equal(value, b.weights[layer][name]) for name, value in arrays.items())
    ]


def test_the_last_layers_lose_their_weights_and_keep_their_scale(net):
    assert changed(net, randomised(net, 0)) == []
    assert changed(net, randomised(net, 1)) == ["logits"]
    assert changed(net, randomised(net, 2)) == ["conv2_1", "logits"]
    assert changed(net, randomised(net)) == ["conv1_1", "conv2_1", "logits"]
    kernel, drawn = (np.asarray(n.weights["conv2_1"]["kernel"]) for n in (net, randomised(net)))
    assert drawn.shape == kernel.shape and drawn.dtype == kernel.dtype
    assert drawn.std() == pytest.approx(kernel.std(), rel=0.2)
    assert abs(np.corrcoef(drawn.ravel(), kernel.ravel())[0, 1]) < 0.2


def test_a_cascade_loses_one_more_layer_at_a_time(net):
    steps = dict(cascade(net, seed=4))
    assert list(steps) == ["logits", "conv2_1", "conv1_1"]
    assert changed(net, steps["conv2_1"]) == ["conv2_1", "logits"]
    assert changed(steps["conv2_1"], steps["conv1_1"]) == ["conv1_1"]
    assert changed(randomised(net, seed=4), steps["conv1_1"]) == []
    assert changed(randomised(net, seed=5), steps["conv1_1"]) != []


def test_noise_belongs_to_the_image_and_the_seed(rng):
    x = rng.normal(size=(3, 5, 7, 3)).astype(np.float32)
    maps = random_maps(x, seed=1)
    np.testing.assert_array_equal(random_maps(x[::-1], seed=1), maps[::-1])
    assert not np.allclose(maps[0], maps[1])
    assert not np.allclose(maps, random_maps(x, seed=2))
    assert 0 <= maps.min() and maps.max() < 1


def test_the_bump_is_in_the_middle_of_images_of_any_shape():
    (map_,) = centre_gaussian(np.zeros((1, 5, 9, 3)))
    assert np.unravel_index(map_.argmax(), map_.shape) == (2, 4)
    np.testing.assert_allclose(map_, map_[::-1, ::-1], rtol=1e-6)
    assert map_[2, 4] == 1
    assert map_[2, 0] == pytest.approx(np.exp(-0.5 * (4 / (9 / 4)) ** 2))


def test_edges_are_where_the_image_changes():
    x = np.zeros((1, 6, 8, 3), np.float32)
    x[:, :, 5:] = 1
    (map_,) = edge_maps(x)
    assert set(np.nonzero(map_)[1]) == {4, 5}
    np.testing.assert_allclose(map_[:, 4:6], 4)


@pytest.mark.slow
def test_the_controls_rank_last():
    """On scenes, with the shipped classifier: less of the map on the digit, and a slower fall of its probability."""
    drawn = scenes("test", 16)
    net = load_network("scenes_cnn")
    x = net.preprocess(drawn.images)
    energy, area = {}, {}
    for name in ("gradient-max", "input-x-gradient", "grad-cam", "occlusion", *CONTROLS):
        maps = METHODS[name].maps(net, x, target=drawn.labels, options=Options(patch=16, stride=16))
        energy[name] = energy_pointing_game(maps, drawn.boxes).mean()
        area[name] = deletion(net, x, maps, target=drawn.labels, steps=8).auc.mean()
    methods = [name for name in energy if name not in CONTROLS]
    assert min(energy[name] for name in methods) > 1.2 * max(energy[name] for name in CONTROLS), energy
    assert max(area[name] for name in methods) < min(area[name] for name in CONTROLS), area
