"""Grad-CAM against its formula written out, CAM against the head it takes apart."""

import jax
import numpy as np
import pytest

from saliency.errors import InputError
from saliency.maps.cam import activation_maps, cam, grad_cam
from saliency.models.weights import random_network
from saliency.models.zoo.resnet import resnet50
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.models.zoo.squeezenet import squeezenet1_1
from saliency.models.zoo.vgg import vgg16


@pytest.fixture(scope="module")
def net():
    return random_network(scenes_cnn(((4,), (5, 6)), size=(10, 14)))


@pytest.fixture
def x(rng):
    return rng.normal(size=(3, 10, 14, 3)).astype(np.float32)


@pytest.mark.parametrize("layer", ["relu2_2", "conv2_1", "relu1_1"])
def test_grad_cam_by_the_formula(net, x, layer):
    targets = [1, 7, 4]
    maps = grad_cam(net, x, layer=layer, target=targets, resize=False)
    for image, target, ours in zip(x, targets, maps):
        activation = net.upto(image[None], layer)
        gradient = np.asarray(jax.grad(lambda a, t=target: net.after(a, layer)[0, t])(activation))[0]
        expected = np.zeros(gradient.shape[:2])
        for channel in range(gradient.shape[-1]):
            expected += gradient[..., channel].mean() * np.asarray(activation)[0, ..., channel]
        np.testing.assert_allclose(ours, np.maximum(expected, 0), rtol=1e-4, atol=1e-6)


def test_grad_cam_defaults(net, x):
    """The Gestalt layer, the predicted class, and the image's size by bilinear interpolation."""
    predicted = np.asarray(net(x)).argmax(-1)
    small = grad_cam(net, x, layer="relu2_2", target=predicted, resize=False)
    maps = grad_cam(net, x)
    assert maps.shape == (3, 10, 14) and maps.dtype == np.float32
    np.testing.assert_allclose(maps, jax.image.resize(small, maps.shape, "bilinear"), rtol=1e-5, atol=1e-7)


def test_grad_cam_explains_the_logit_itself(rng):
    """SqueezeNet's, after its last ReLU: places where the class is off have no say in the weights."""
    net = random_network(squeezenet1_1(4, ((2, 3),), 5, (20, 24)))
    x = rng.normal(size=(1, 20, 24, 3)).astype(np.float32)
    kernel = np.asarray(net.weights["conv10"]["kernel"])[0, 0, :, 2]
    activation = np.asarray(net.upto(x, "fire2"))[0]
    on = (np.asarray(net.upto(x, "conv10"))[0, ..., 2] > 0).mean()
    assert 0 < on < 1
    expected = np.maximum((activation * kernel * on / np.prod(activation.shape[:2])).sum(-1), 0)
    np.testing.assert_allclose(grad_cam(net, x, target=2, resize=False)[0], expected, rtol=1e-4, atol=1e-7)


def test_a_layer_that_something_bypasses_moves_alone(rng):
    """A fire module's one half: the derivative is by what it gives on, while the other half stays as it is."""
    net = random_network(squeezenet1_1(4, ((2, 3),), 5, (20, 24)))
    x, layer = rng.normal(size=(1, 20, 24, 3)).astype(np.float32), "fire2_expand1x1"
    activation = np.asarray(net.upto(x, layer))
    run, last = net.architecture.activations, net.architecture.last
    logit = jax.grad(lambda more: run(net.weights, x, added={layer: more})[last][0, 2])
    derivative = np.asarray(logit(np.zeros_like(activation)))
    expected = np.maximum((derivative.mean((1, 2), keepdims=True) * activation).sum(-1), 0)
    assert expected.max() > 0
    np.testing.assert_allclose(grad_cam(net, x, target=2, layer=layer, resize=False), expected, rtol=1e-4, atol=1e-8)
    assert grad_cam(net, x, rule="eigen-cam", layer=layer).max() > 0


def test_cam_averages_to_the_logit(rng):
    """For a global average in front of the dense layer, the local logits' mean is the logit (bias and all)."""
    net = random_network(resnet50((2, 3), (1, 1), 5, (32, 40)))
    x = rng.normal(size=(2, 32, 40, 3)).astype(np.float32)
    maps = cam(net, x, target=[1, 4])
    assert maps.shape == (2, 32, 40)
    local = np.asarray(net.upto(x, net.architecture.gestalt_layer)) @ np.asarray(net.weights["fc"]["kernel"])
    local += np.asarray(net.weights["fc"]["bias"])
    np.testing.assert_allclose(local.mean((1, 2)), net(x), rtol=1e-4, atol=1e-5)
    expected = jax.image.resize(np.stack([local[0, ..., 1], local[1, ..., 4]]), maps.shape, "bilinear")
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-5)


def test_bad_arguments(net, x):
    for options, message in (
        ({"layer": "conv7"}, "has no layer 'conv7'"),
        ({"layer": "logits"}, "needs a layer with height and width"),
        ({"target": 10}, r"target must lie in 0\.\.9"),
    ):
        with pytest.raises(InputError, match=message):
            grad_cam(net, x, **options)
    dense = random_network(vgg16(((4,),), 6, 5, (8, 12)))
    with pytest.raises(InputError, match="CAM needs a head of a global pool"):
        cam(dense, np.zeros((1, 8, 12, 3), np.float32))


def test_no_images(net, x):
    assert grad_cam(net, x[:0]).shape == (0, 10, 14)


def test_activation_maps_average_the_channels(rng):
    net = random_network(scenes_cnn(blocks=((4,), (6,))))
    x = rng.normal(size=(2, 12, 20, 3)).astype(np.float32)
    inner = np.asarray(net.upto(x, "relu2_1"))  # 6 x 10
    own = activation_maps(net, x)
    np.testing.assert_allclose(own, jax.image.resize(inner.mean(-1), (2, 12, 20), "bilinear"), rtol=1e-5, atol=1e-6)
    assert activation_maps(net, x[:0]).shape == (0, 12, 20)
    with pytest.raises(InputError, match="needs a layer with height and width, which logits"):
        activation_maps(net, x, layer="logits")
    with pytest.raises(InputError, match="no layer 'conv7'"):
        activation_maps(net, x, layer="conv7")
