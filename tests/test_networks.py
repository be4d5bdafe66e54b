"""Layers against slow loops; the architectures' shapes, and that running them in parts is running them whole."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency.errors import InputError
from saliency.models.graph import Architecture
from saliency.models.network import check_input
from saliency.models.operators import AvgPool, Conv, LocalResponseNorm, MaxPool, output_size
from saliency.models.weights import ARCHITECTURES, random_network
from saliency.models.zoo.squeezenet import squeezenet1_1
from saliency.scores import Score, score_of_batch
from tests.oracles import layers as slow
from tests.small_networks import REPRESENTED, SMALL


@pytest.fixture(params=SMALL)
def small(request) -> Architecture:
    return SMALL[request.param]()


def images(architecture: Architecture, n: int = 2) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, *architecture.size, 3)).astype(np.float32)


def test_every_architecture_is_tested():
    assert SMALL.keys() == ARCHITECTURES.keys() - REPRESENTED


def test_shapes_are_those_computed(small):
    net, x = random_network(small), images(small)
    order: list[str] = []

    @jax.jit
    def run(weights, x):
        found = small.activations(weights, x)
        order.extend(found)  # what a program returns is in another
        return found

    activations = run(net.weights, x)
    assert {name: a.shape[1:] for name, a in activations.items()} == small.shapes(*small.size)
    np.testing.assert_allclose(net(x), activations[small.last], rtol=1e-5, atol=1e-6)
    assert list(net.layers) == [name for name in order if name != "image"]


def test_after_upto_is_the_whole(small):
    """At every layer that all of the computation passes; at the others, a sentence that says why not."""
    net, x = random_network(small), images(small)
    logits = np.asarray(net(x))

    @jax.jit  # one program: what follows two layers is compiled once
    def through(weights, x):
        activations, found = small.activations(weights, x), []
        for layer in net.layers:
            try:
                found.append(small.after(weights, activations[layer], layer))
            except InputError as error:
                assert "cannot stand for them" in str(error)
                assert any(len(node.inputs) > 1 for node in small.nodes)
        return found

    found = through(net.weights, x)
    assert len(found) >= 8
    for again in found:
        np.testing.assert_allclose(again, logits, rtol=1e-5, atol=1e-6)
    last = [node.name for node in small.ancestors(small.last)][-2]
    np.testing.assert_allclose(net.after(net.upto(x, last), last), logits, rtol=1e-5, atol=1e-6)


def test_gestalt_needs_no_head(small):
    """The layers after the last convolution may even be missing."""
    net = random_network(small)
    needed = {node.name for node in small.ancestors(small.gestalt_layer)}
    headless = {layer: parameters for layer, parameters in net.weights.items() if layer in needed}
    assert headless.keys() < net.weights.keys()
    x = images(small)
    totals = Score("gestalt")(small, headless, jnp.asarray(x), np.zeros(2, np.int32))
    activation = net.upto(x, small.gestalt_layer)  # a map, or tokens
    np.testing.assert_allclose(totals, activation.mean(range(1, activation.ndim)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["squeezenet1_1", "alexnet", "vgg16"])
def test_gestalt_map_costs_less_than_the_class_map(name):
    """Floating-point operations of the backward pass as XLA counts them, for the published size."""
    architecture = ARCHITECTURES[name]()

    def operations(kind: str) -> float:
        def total(weights, x, targets):
            return score_of_batch(weights, x, targets, architecture=architecture, score=Score(kind)).sum()

        weights = {
            layer: {part: jax.ShapeDtypeStruct(shape, np.float32) for part, shape in shapes.items()}
            for layer, shapes in architecture.parameter_shapes().items()
        }
        x = jax.ShapeDtypeStruct((1, *architecture.size, 3), np.float32)
        targets = jax.ShapeDtypeStruct((1,), np.int32)
        return jax.jit(jax.grad(total, argnums=1)).lower(weights, x, targets).cost_analysis()["flops"]

    assert operations("gestalt") < operations("logit")


def test_any_size_without_a_dense_layer():
    for build in (SMALL["squeezenet1_1"], SMALL["resnet50"], SMALL["scenes_cnn"]):
        net = random_network(build())
        assert not net.architecture.fixed_size
        for size in ((41, 57), (64, 38)):
            assert net(np.zeros((1, *size, 3), np.float32)).shape == (1, 10 if net.name == "scenes_cnn" else 5)


def test_one_size_with_a_dense_layer():
    net = random_network(SMALL["vgg16"]())
    assert net.architecture.fixed_size
    x = np.zeros((1, 16, 20, 3), np.float32)
    with pytest.raises(InputError, match=r"fully connected layer and takes images of 12x20 only, not 16x20"):
        check_input(net, x)
    check_input(net, x, net.architecture.gestalt_layer)
    assert net.upto(x, "relu2_1").shape == (1, 8, 10, 6)


def test_too_small():
    with pytest.raises(InputError, match="4x40 is too small for squeezenet1_1: nothing is left at pool1"):
        squeezenet1_1().shapes(4, 40)


def test_unknown_layers():
    architecture = SMALL["vgg16"]()
    with pytest.raises(InputError, match=r"vgg16 has no layer 'conv9_9'; its layers are conv1_1, relu1_1"):
        architecture.require("conv9_9")
    net = random_network(architecture)
    with pytest.raises(InputError, match="layer fc8 is not on the way to pool1"):
        architecture.after(net.weights, np.zeros((1, 5)), "fc8", "pool1")


def test_without():
    architecture = SMALL["squeezenet1_1"]()
    shorter = architecture.without("relu10")
    assert set(architecture.layers) - set(shorter.layers) == {"relu10"}
    assert shorter.logit_bypass == ()
    net, x = random_network(architecture), images(architecture)
    np.testing.assert_allclose(shorter.upto(net.weights, x), net.upto(x, "conv10").mean((1, 2)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "x, message",
    [
        (np.zeros((12, 20, 3), np.float32), r"x must be \[n, h, w, 3\]"),
        (np.zeros((1, 12, 20, 1), np.float32), r"x must be \[n, h, w, 3\]"),
        (np.zeros((1, 12, 20, 3), np.uint8), "x must be float, normalised by net.preprocess, not uint8"),
        (np.full((2, 12, 20, 3), np.nan, np.float32), r"NaN or infinite values in image 0 \(2 of 2 images\)"),
    ],
)
def test_bad_images(x, message):
    with pytest.raises(InputError, match=message):
        check_input(random_network(SMALL["vgg16"]()), x)


def test_class_names(small):
    net = random_network(small)
    assert net.class_name(3) == "3"


@pytest.mark.parametrize(
    "layer, size",
    [
        (Conv(6, (3, 3), padding=((1, 1), (1, 1))), (7, 5)),
        (Conv(6, (3, 2), (2, 3), ((2, 1), (0, 1)), groups=2), (9, 8)),
        (Conv(4, (1, 1), (2, 2)), (6, 9)),
    ],
)
def test_conv(layer, size, rng):
    x = rng.normal(size=(2, *size, 4)).astype(np.float32)
    kernel = rng.normal(size=layer.parameter_shapes(x.shape[1:])["kernel"]).astype(np.float32)
    bias = rng.normal(size=layer.features).astype(np.float32)
    out = layer.shape(x.shape[1:])[:2]
    expected = [slow.conv(image, kernel, bias, layer.stride, layer.padding, layer.groups, out) for image in x]
    found = jax.jit(layer)({"kernel": kernel, "bias": bias}, x)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


POOLS = [
    ((2, 2), (2, 2), ((0, 0), (0, 0)), False, (7, 10)),
    ((3, 3), (2, 2), ((0, 0), (0, 0)), True, (8, 12)),
    ((3, 3), (2, 2), ((1, 1), (1, 1)), False, (9, 6)),
    ((3, 2), (2, 3), ((1, 0), (0, 1)), True, (8, 9)),
    ((2, 2), (3, 3), ((0, 0), (0, 0)), False, (10, 11)),
]


@pytest.mark.parametrize("window, stride, padding, ceil, size", POOLS)
def test_pools(window, stride, padding, ceil, size, rng):
    x = rng.normal(size=(2, *size, 3)).astype(np.float32)
    for pool, oracle in ((MaxPool, slow.max_pool), (AvgPool, slow.avg_pool)):
        layer = pool(window, stride, padding, ceil)
        out = layer.shape(x.shape[1:])[:2]
        expected = [oracle(image, window, stride, padding, out) for image in x]
        np.testing.assert_allclose(jax.jit(partial(layer, {}))(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("window, stride, padding, ceil, size", POOLS)
def test_max_pool_gradient(window, stride, padding, ceil, size, rng):
    """Each output's gradient goes to the one input that it took."""
    layer = MaxPool(window, stride, padding, ceil)
    x = rng.normal(size=(2, *size, 3)).astype(np.float32)
    up = rng.normal(size=(2, *layer.shape(x.shape[1:]))).astype(np.float32)
    expected = np.zeros_like(x)
    for n in range(2):
        for i, j, patch in slow.windows(x[n], window, stride, padding, up.shape[1:3], -np.inf):
            for c in range(3):
                a, b = np.unravel_index(patch[..., c].argmax(), window)
                row, col = i * stride[0] + a - padding[0][0], j * stride[1] + b - padding[1][0]
                expected[n, row, col, c] += up[n, i, j, c]
    (gradient,) = jax.jit(lambda x, up: jax.vjp(partial(layer, {}), x)[1](up))(x, up)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


def test_response_norm(rng):
    layer = LocalResponseNorm(5, 0.3, 0.75, 1.5)
    x = rng.normal(size=(4, 5, 9))
    expected = slow.response_norm(x, 5, 0.3, 0.75, 1.5)
    np.testing.assert_allclose(layer({}, x[None].astype(np.float32))[0], expected, rtol=1e-5)


@pytest.mark.parametrize("size, ceil, count", [(111, True, 55), (112, True, 56), (112, False, 55), (2, False, 0)])
def test_output_size(size, ceil, count):
    assert output_size(size, 3, 2, (0, 0), ceil) == count
