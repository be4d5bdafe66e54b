"""Attributions against loops over samples, steps and layers, and against closed forms of a linear score."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from localization.datasets.scenes import scenes
from saliency import load_network
from saliency.errors import InputError
from saliency.maps import attribution
from saliency.maps.attribution import InputXGradient, IntegratedGradients, NoisyGradients, Sensitivity, attribution_maps
from saliency.maps.gradient import gradient_maps, input_gradient
from saliency.models.graph import Architecture, Builder
from saliency.models.network import Network
from saliency.models.operators import Conv, GlobalAvgPool, MaxPool, Relu
from saliency.models.weights import random_network
from saliency.occlusion import fill_images
from saliency.scores import Score, score_values

SIZE = (9, 12)
PAD = ((1, 1), (1, 1))
SMOOTH = NoisyGradients("mean", samples=4, noise=0.5, seed=5)


def small_network(linear: bool = False, most: float | None = None) -> Network:
    build = Builder()
    build.add("conv1", Conv(4, (3, 3), padding=PAD))
    if not linear:
        build.add("relu1", Relu(most))
        build.add("pool1", MaxPool((2, 2), (2, 2)))
    build.add("conv2", Conv(5, (3, 2)))
    gestalt = "conv2" if linear else build.add("relu2", Relu(most))
    build.add("pool", GlobalAvgPool())
    return random_network(Architecture("small", tuple(build.nodes), gestalt, SIZE))


@pytest.fixture(scope="module")
def net() -> Network:
    return small_network()


@pytest.fixture
def x(rng) -> np.ndarray:
    return rng.normal(size=(2, *SIZE, 3)).astype(np.float32)


def scores(net: Network, x: np.ndarray, target: int) -> np.ndarray:
    return score_values(net, x, Score(), np.full(len(x), target, np.int32))


def test_linear_scores_have_closed_forms(x):
    net = small_network(linear=True)
    zero = np.zeros_like(x)
    product = attribution_maps(net, x, InputXGradient(), target=1)
    np.testing.assert_allclose(product.sum((1, 2)), scores(net, x, 1) - scores(net, zero, 1), rtol=1e-4, atol=1e-5)
    grey = fill_images(x, 30.0, net.preprocess)
    path = attribution_maps(net, x, IntegratedGradients(3), target=1, fill=30.0)
    np.testing.assert_allclose(path.sum((1, 2)), scores(net, x, 1) - scores(net, grey, 1), rtol=1e-4, atol=1e-5)
    gradient = gradient_maps(net, x, target=1, aggregate="signed")
    np.testing.assert_allclose(path, ((x - grey) * gradient).sum(-1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fill", ["grey", "blur"])
def test_integrated_gradients_are_complete_within_a_hundredth(net, x, fill):
    """sum of the map = score(x) - score(baseline), though the way there crosses the kinks of ReLUs and pools."""
    maps = attribution_maps(net, x, IntegratedGradients(128), target=2, fill=fill)
    difference = scores(net, x, 2) - scores(net, np.asarray(fill_images(x, fill, net.preprocess)), 2)
    np.testing.assert_allclose(maps.sum((1, 2)), difference, rtol=0.01)


@pytest.mark.slow
def test_the_trained_classifier_s_integrated_gradients_are_complete():
    """Within a hundredth too; of the mean difference, since one scene's may be next to nothing."""
    drawn, net = scenes("test", 3), load_network("scenes_cnn")
    x, targets = net.preprocess(drawn.images), drawn.labels.astype(np.int32)
    maps = attribution_maps(net, x, IntegratedGradients(100), target=targets)
    baseline = np.asarray(fill_images(x, "grey", net.preprocess))
    difference = score_values(net, x, Score(), targets) - score_values(net, baseline, Score(), targets)
    np.testing.assert_allclose(maps.sum((1, 2)), difference, rtol=0.01, atol=0.01 * np.abs(difference).mean())


def test_integrated_gradients_equal_a_loop_over_the_steps(net, x):
    nodes, weights = np.polynomial.legendre.leggauss(6)
    baseline = np.asarray(fill_images(x, "mean", net.preprocess))
    total = np.zeros_like(x)
    for node, weight in zip(nodes, weights):
        between = (baseline + (node + 1) / 2 * (x - baseline)).astype(np.float32)
        total += weight / 2 * gradient_maps(net, between, target=[3, 0], aggregate="signed")
    maps = attribution_maps(net, x, IntegratedGradients(6), target=[3, 0], fill="mean")
    np.testing.assert_allclose(maps, ((x - baseline) * total).sum(-1), rtol=1e-4, atol=1e-5)


def test_noisy_gradients_equal_a_loop_over_the_samples(net, x):
    deviation = SMOOTH.noise * np.ptp(x, axis=(1, 2, 3), keepdims=True)
    noise = np.random.default_rng(SMOOTH.seed).standard_normal((SMOOTH.samples, *x.shape[1:]), np.float32)
    gradients = [gradient_maps(net, x + deviation * draw, target=[1, 4], aggregate="signed") for draw in noise]
    mean = attribution_maps(net, x, SMOOTH, target=[1, 4])
    np.testing.assert_allclose(mean, np.abs(np.mean(gradients, 0)).max(-1), rtol=1e-4, atol=1e-6)
    variance = attribution_maps(net, x, replace(SMOOTH, moment="variance"), target=[1, 4])
    np.testing.assert_allclose(variance, np.var(gradients, 0).max(-1), rtol=1e-3, atol=1e-6)


def test_the_class_stays_that_of_the_clean_image(net, x):
    """Noise this strong changes the prediction of most copies."""
    stated = attribution_maps(net, x, SMOOTH, target=np.asarray(net(x)).argmax(-1))
    np.testing.assert_array_equal(attribution_maps(net, x, SMOOTH), stated)


@pytest.mark.parametrize("rule", ["guided", "deconvolution"])
@pytest.mark.parametrize("most", [None, 0.5])
def test_other_relu_rules_equal_a_backward_pass_by_hand(x, rule, most):
    """Layer by layer from the logits, each by its own transpose; only the ReLUs do as the rule says."""
    net = small_network(most=most)
    activations = net.architecture.activations(net.weights, jnp.asarray(x))
    signal = jnp.zeros_like(activations["pool"]).at[:, 2].set(1.0)
    for node in reversed(net.architecture.nodes[1:]):
        before = activations[node.inputs[0]]
        if isinstance(node.layer, Relu):
            active = (before > 0) & (before < (most or np.inf))
            passes = (signal > 0) & (active | (rule == "deconvolution"))
            signal = jnp.where(passes, signal, 0)
        else:
            layer = lambda a, node=node: node.layer(net.weights.get(node.name, {}), a)  # noqa: E731
            (signal,) = jax.vjp(layer, before)[1](signal)
    maps = attribution_maps(net, x, Sensitivity(), target=2, relu=rule)
    np.testing.assert_allclose(maps, np.abs(signal).max(-1), rtol=1e-5, atol=1e-7)
    assert not np.allclose(maps, gradient_maps(net, x, target=2))


def test_exact_relus_give_the_gradient_map(net, x):
    np.testing.assert_allclose(
        attribution_maps(net, x, Sensitivity(), score="gestalt"), gradient_maps(net, x, score="gestalt"), rtol=1e-6
    )


def test_rewriting_relus_leaves_the_logits(net, x):
    guided = attribution.with_relu(net.architecture, "guided")
    np.testing.assert_array_equal(guided.upto(net.weights, x), net(x))
    assert guided == attribution.with_relu(net.architecture, "guided") != net.architecture


def test_nothing_is_traced_twice(net, x):
    attribution_maps(net, x, IntegratedGradients(2))
    traces = input_gradient.jitted._cache_size()
    attribution_maps(net, x + 1, IntegratedGradients(2), target=1, fill="blur")
    other_weights = {name: {k: 2 * v for k, v in arrays.items()} for name, arrays in net.weights.items()}
    attribution_maps(Network(replace(net.architecture), other_weights, net.preprocess), x, IntegratedGradients(2))
    assert input_gradient.jitted._cache_size() == traces


def test_no_images_give_no_maps(net):
    assert attribution_maps(net, np.empty((0, *SIZE, 3), np.float32), InputXGradient()).shape == (0, *SIZE)


def test_bad_recipes_are_refused():
    with pytest.raises(InputError, match="steps must be a whole number of at least 1, not 0"):
        IntegratedGradients(0)
    with pytest.raises(InputError, match="samples must be a whole number of at least 1, not 0"):
        NoisyGradients("mean", 0, 0.1)
    with pytest.raises(InputError, match=r"noise must be a finite number of at least 0, not -0\.1"):
        NoisyGradients("mean", 3, -0.1)
