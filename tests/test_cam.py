"""CAM and Grad-CAM: their weights read off heads where both are known, and each other."""

import numpy as np
import pytest

from saliency.cam import cam, grad_cam
from saliency.errors import InputError
from saliency.networks.architecture import Architecture, Builder
from saliency.networks.layers import Conv, Dense, GlobalAvgPool, GlobalMaxPool, MaxPool
from saliency.networks.network import Network
from tests.conftest import random_network

SIZE = (8, 13)
PAD = ((1, 1), (1, 1))


def network(head: str) -> Network:
    """Full-size activations of five channels, then a head."""
    build = Builder()
    build.conv_relu("conv1", "relu1", Conv(5, (3, 3), padding=PAD))
    gestalt = build.nodes[-1].name
    bypass = ()
    if head == "squeezenet":
        build.conv_relu("conv2", "relu2", Conv(4, (1, 1)))
        build.add("pool", GlobalAvgPool())
        bypass = ("relu2",)
    else:
        build.add("pool", GlobalAvgPool() if head == "average" else GlobalMaxPool())
        build.add("logits", Dense(4))
    return random_network(Architecture(head, tuple(build.nodes), gestalt, SIZE, bypass), seed=1)


@pytest.fixture
def x(rng) -> np.ndarray:
    return rng.normal(size=(3, *SIZE, 3)).astype(np.float32)


@pytest.mark.parametrize("head", ["average", "max"])
def test_cam_weighs_the_channels_as_the_dense_layer_does(x, head):
    net = network(head)
    activation, dense = np.asarray(net.upto(x, "relu1")), net.weights["logits"]
    for target in range(4):
        expected = np.zeros((3, *SIZE))
        for channel in range(5):
            expected += activation[..., channel] * float(dense["kernel"][channel, target])
        maps = cam(net, x, target=target)
        np.testing.assert_allclose(maps, expected + float(dense["bias"][target]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", ["average", "squeezenet"])
def test_the_mean_of_a_cam_is_the_logit(x, head):
    net = network(head)
    before = net.architecture.without(*net.architecture.logit_bypass).upto(net.weights, x)
    for target in range(4):
        np.testing.assert_allclose(cam(net, x, target=target).mean((1, 2)), before[:, target], rtol=1e-4, atol=1e-5)


def test_grad_cam_is_the_rectified_cam_where_the_head_averages(x):
    """Its weights are the dense layer's, over the number of places; it knows no bias."""
    net = network("average")
    targets = [2, 0, 3]
    bias = np.asarray(net.weights["logits"]["bias"])[targets]
    expected = np.maximum(0, cam(net, x, target=targets) - bias[:, None, None]) / np.prod(SIZE)
    np.testing.assert_allclose(grad_cam(net, x, target=targets), expected, rtol=1e-4, atol=1e-7)


def test_the_default_target_is_the_predicted_class(x):
    net = network("average")
    predicted = np.asarray(net(x)).argmax(-1)
    np.testing.assert_array_equal(cam(net, x), cam(net, x, target=predicted))
    np.testing.assert_array_equal(grad_cam(net, x), grad_cam(net, x, target=predicted))


def test_grad_cam_at_another_layer_has_its_size_unless_resized(x):
    build = Builder()
    build.conv_relu("conv1", "relu1", Conv(3, (3, 3), padding=PAD))
    build.add("pool1", MaxPool((2, 2), (2, 2)))
    build.conv_relu("conv2", "relu2", Conv(4, (1, 1)))
    build.add("pool", GlobalAvgPool())
    net = random_network(Architecture("deep", tuple(build.nodes), "relu2", SIZE))
    assert grad_cam(net, x, layer="pool1", resize=False).shape == (3, 4, 6)
    assert grad_cam(net, x, layer="pool1").shape == (3, *SIZE)
    assert grad_cam(net, x[:0]).shape == cam(net, x[:0]).shape == (0, *SIZE)


def test_bad_layers_and_targets_are_named(x):
    net = network("average")
    with pytest.raises(InputError, match="has no layer 'conv9'"):
        grad_cam(net, x, layer="conv9")
    with pytest.raises(InputError, match="needs a layer with height and width, which pool of average has not"):
        grad_cam(net, x, layer="pool")
    for maps in (cam, grad_cam):
        with pytest.raises(InputError, match=r"target must lie in 0\.\.3"):
            maps(net, x, target=4)
