"""DeepLIFT and LRP against backward passes by hand, their sums, and what they refuse."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency import deep_lift, lrp
from saliency.errors import InputError
from saliency.methods import METHODS
from saliency.models.from_jax import from_function
from saliency.models.graph import Architecture, Builder
from saliency.models.network import Network
from saliency.models.operators import (
    AvgPool,
    Conv,
    Dense,
    Gelu,
    GlobalAvgPool,
    GlobalMaxPool,
    LayerNorm,
    LocalResponseNorm,
    MaxPool,
    Pad,
    Relu,
    backward,
)
from saliency.models.preprocessing import Preprocessing
from saliency.models.weights import random_network
from saliency.occlusion import fill_images
from saliency.scores import Score, score_values
from tests.small_networks import SMALL

SIZE = (9, 12)
PAD = ((1, 1), (1, 1))
TARGETS = np.array([2, 0], np.int32)
QUICK = ("scenes_cnn", "resnet18", "squeezenet1_1")
SLOW = (
    "alexnet_2012",
    "densenet121",
    "inception_v1",
    "mobilenetv2",
    "vit_small",
    "convnext_tiny",
)  # no LRP-0 of the last two: they keep constants


def chain(*layers, channels: int = 3, size=SIZE, name: str = "chain") -> Network:
    build = Builder()
    for i, layer in enumerate(layers):
        build.add(f"layer{i}", layer)
    architecture = Architecture(name, tuple(build.nodes), "layer0", size, channels=channels)
    preprocess = Preprocessing(size, mean=(0.4,) * channels, std=(0.25,) * channels)
    return Network(architecture, random_network(architecture, seed=4).weights, preprocess)


def without_biases(net: Network) -> Network:
    weights = {
        layer: {name: jnp.zeros_like(value) if name == "bias" else value for name, value in parameters.items()}
        for layer, parameters in net.weights.items()
    }
    return Network(net.architecture, weights, net.preprocess)


def plain(channels: int = 3, pool: bool = True) -> Network:
    middle = (MaxPool((2, 2), (2, 2)),) if pool else (AvgPool((3, 2), (2, 2), ceil=True),)
    return chain(
        Conv(4, (3, 3), padding=PAD), Relu(), *middle, Conv(6, (3, 2)), Relu(1.0), GlobalAvgPool(), Dense(5),
        channels=channels,
    )  # fmt: skip


def images(rng, net: Network, n: int = 2) -> np.ndarray:
    return rng.normal(size=(n, *net.architecture.size, net.architecture.channels)).astype(np.float32)


def difference(net: Network, x: np.ndarray, score: Score, fill) -> np.ndarray:
    baseline = np.asarray(fill_images(x, fill, net.preprocess))
    return score_values(net, x, score, TARGETS) - score_values(net, baseline, score, TARGETS)


# ---- DeepLIFT


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_deep_lift_by_hand(rng, channels):
    """Unit by unit from the logit: weights for linear layers, slopes for ReLUs, the winner's place for pools."""
    net = plain(channels)
    x = images(rng, net)
    found = deep_lift(net, x, target=TARGETS, fill="blur")
    reference = np.asarray(fill_images(x, "blur", net.preprocess))
    one, other = (net.architecture.activations(net.weights, jnp.asarray(v)) for v in (x, reference))
    up = np.zeros(one["layer6"].shape)
    up[[0, 1], TARGETS] = 1
    for node in reversed(net.architecture.nodes[1:]):
        a, b = (np.asarray(values[node.inputs[0]], float) for values in (one, other))
        after, before = (np.asarray(values[node.name], float) for values in (one, other))
        if isinstance(node.layer, Relu):
            same = np.abs(a - b) < 1e-6
            active = (a > 0) & (a < (node.layer.most or np.inf))
            slope = np.where(same, active, (after - before) / np.where(same, 1, a - b))
            up = up * slope
        elif isinstance(node.layer, MaxPool):
            share = np.zeros_like(a)
            for n, i, j, k in np.ndindex(*after.shape):
                rows, cols = slice(2 * i, 2 * i + 2), slice(2 * j, 2 * j + 2)
                rise = after[n, i, j, k] - before[n, i, j, k]
                windows = (a if rise > 0 else b)[n, rows, cols, k]
                at = np.unravel_index(windows.argmax(), windows.shape)
                share[n, 2 * i + at[0], 2 * j + at[1], k] += up[n, i, j, k] * rise
            up = share / np.where(a == b, 1, a - b)
        else:
            layer = lambda v, node=node: node.layer(net.weights.get(node.name, {}), v)  # noqa: E731
            (up,) = map(np.asarray, jax.vjp(layer, jnp.asarray(a, jnp.float32))[1](jnp.asarray(up, jnp.float32)))
    expected = ((x - reference) * up).sum(-1)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("kind", [*QUICK, *(pytest.param(kind, marks=pytest.mark.slow) for kind in SLOW)])
def test_deep_lift_is_complete_for_every_network(rng, kind):
    """sum of the map = score - score of the fill: 1% of the difference, products, norms and attention included."""
    net = random_network(SMALL[kind](), seed=2)
    x = images(rng, net)
    expected = difference(net, x, Score(), "grey")
    found = deep_lift(net, x, target=TARGETS).sum((1, 2))
    np.testing.assert_allclose(found, expected, rtol=0.01, atol=0.01 * np.abs(expected).mean())


@pytest.mark.parametrize("score", ["log_probability", "gestalt", "contrast:1"])
def test_deep_lift_of_other_scores_is_complete(rng, score):
    net = plain()
    x = images(rng, net)
    kind = Score("contrast", against=1) if score.startswith("contrast") else Score(score)
    found = deep_lift(net, x, score=score, target=None if score == "gestalt" else TARGETS, fill="mean")
    np.testing.assert_allclose(found.sum((1, 2)), difference(net, x, kind, "mean"), rtol=0.01)


def test_deep_lift_of_many_baselines_is_their_mean(rng):
    net = plain()
    x, baselines = images(rng, net), images(rng, net, 3)
    found = deep_lift(net, x, target=TARGETS, baselines=baselines)
    each = [deep_lift(net, x, target=TARGETS, baselines=one[None]) for one in baselines]
    np.testing.assert_allclose(found, np.mean(each, 0), rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match=r"baselines must be images of x's size, \[m, 9, 12, 3\]"):
        deep_lift(net, x, baselines=baselines[:, :8])


def gated(p, x):
    """A function with a swish, a gate of its own channels' means, and a normalisation that was written out."""
    y = jax.nn.silu(jax.lax.conv_general_dilated(x, p["a"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")))
    gate = jax.nn.sigmoid(jax.nn.relu(y.mean((1, 2)) @ p["b"]) @ p["c"])
    y = y * gate[:, None, None]
    return y.mean((1, 2)) @ p["d"]


def gated_network(rng) -> Network:
    shapes = {"a": (3, 3, 3, 6), "b": (6, 4), "c": (4, 6), "d": (6, 5)}
    p = {name: (rng.normal(size=shape) / 2).astype(np.float32) for name, shape in shapes.items()}
    return from_function(gated, p, size=SIZE)


def attending(p, x):
    """A softmax over places that was written out, a maximum among its steps, and a choice."""
    y = x @ p["b"] / 200
    y = jnp.where(y > 0, y, jnp.exp(y) - 1)
    tokens = y.reshape(len(y), -1, y.shape[-1])
    logits = tokens @ p["b"].T @ p["b"] @ tokens.swapaxes(1, 2) / 9
    powers = jnp.exp(logits - logits.max(-1, keepdims=True))
    return (powers / powers.sum(-1, keepdims=True) @ tokens).mean(1) @ p["c"]


def normalised(p, x):
    y = x @ p["b"]
    y = (y - y.mean(-1, keepdims=True)) / jnp.sqrt(y.var(-1, keepdims=True) + 0.1)
    return y.mean((1, 2)) @ p["c"]


def normalised_network(rng, function=normalised) -> Network:
    p = {"b": rng.normal(size=(3, 6)).astype(np.float32), "c": rng.normal(size=(6, 5)).astype(np.float32)}
    return from_function(function, p, size=SIZE)


def attending_network(rng) -> Network:
    return normalised_network(rng, attending)


@pytest.mark.parametrize("make", [gated_network, normalised_network, attending_network])
def test_deep_lift_of_a_function_is_complete(rng, make):
    net = make(rng)
    x = images(rng, net)
    found = deep_lift(net, x, target=TARGETS).sum((1, 2))
    np.testing.assert_allclose(found, difference(net, x, Score(), "grey"), rtol=0.01)


def test_the_rescale_rule_is_the_mean_derivative(rng):
    x, reference, up = (jnp.asarray(rng.normal(size=(4, 7)), jnp.float32) for _ in range(3))
    for function in (jnp.tanh, jax.nn.silu, lambda v: v**3):
        by_mean = backward.mean_derivative(function, [x], [reference], up)[0]
        np.testing.assert_allclose(backward.rescaled(function, x, reference, up), by_mean, rtol=1e-3, atol=1e-4)
    same = backward.rescaled(jnp.tanh, x, x, up)
    np.testing.assert_allclose(same, up * (1 - jnp.tanh(x) ** 2), rtol=1e-5)


# ---- LRP


def pieces(net: Network, x: np.ndarray, target: int, rule, first) -> np.ndarray:
    """Relevance of one image in the plain way: `rule(kernel, bias, a, R, layer)` for weighted layers, in float64."""
    done = {k: np.asarray(v, float) for k, v in net.architecture.activations(net.weights, jnp.asarray(x[None])).items()}
    last = net.architecture.last
    relevance = np.zeros_like(done[last])
    relevance[0, target] = done[last][0, target]
    for node in reversed(net.architecture.nodes[1:]):
        a = done[node.inputs[0]]
        parameters = {k: np.asarray(v, float) for k, v in net.weights.get(node.name, {}).items()}

        def run(kernel, bias, v, layer=node.layer):
            with jax.enable_x64(True):
                held = {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(layer.features) + bias}
                return np.asarray(layer(held, jnp.asarray(v)))

        def back(kernel, s, layer=node.layer, a=a):
            with jax.enable_x64(True):
                pull = jax.vjp(partial(layer.linear_part, {"kernel": jnp.asarray(kernel)}), jnp.asarray(a))[1]
                return np.asarray(pull(jnp.asarray(s))[0])

        if node.layer.weighted:
            chosen = first if node.name == "layer0" else rule
            relevance = chosen(parameters["kernel"], parameters["bias"], a, relevance, run, back)
        elif not isinstance(node.layer, Relu):  # pools: what each input contributes
            layer = lambda v, node=node: node.layer({}, v)  # noqa: E731
            output, pull = jax.vjp(layer, jnp.asarray(a, jnp.float32))
            share = relevance / np.where(output == 0, 1, np.asarray(output, float))
            relevance = a * np.asarray(pull(jnp.asarray(share, jnp.float32))[0])
    return relevance[0].sum(-1)


def stable(z, epsilon=1e-6):
    return z + np.where(z < 0, -epsilon, epsilon)


def epsilon_by_hand(kernel, bias, a, relevance, run, back):
    return a * back(kernel, relevance / stable(run(kernel, bias, a)))


def gamma_by_hand(kernel, bias, a, relevance, run, back, gamma=0.25):
    """Contribution by contribution: those of the output's sign are 1 + gamma times as heavy."""
    total = np.zeros_like(a)
    z = run(kernel, bias, a)
    for sign in (1, -1):
        agree = lambda w, part: w + gamma * np.where(np.sign(w) == part, w, 0)  # noqa: E731
        up, down = agree(kernel, sign), agree(kernel, -sign)  # beside positive inputs, beside negative ones
        positive, negative = np.maximum(a, 0), np.minimum(a, 0)
        strong = run(up, agree(bias, sign), positive) + run(down, 0.0, negative)
        s = np.where(sign * z > 0, relevance, 0) / stable(strong)
        total += positive * back(up, s) + negative * back(down, s)
    return total


def box_by_hand(low, high):
    def rule(kernel, bias, a, relevance, run, back):
        up, down = np.maximum(kernel, 0), np.minimum(kernel, 0)
        lows, highs = (np.broadcast_to(end.astype(float), a.shape) for end in (low, high))
        z = run(kernel, 0.0, a) - run(up, 0.0, lows) - run(down, 0.0, highs)
        s = relevance / stable(z)
        return a * back(kernel, s) - lows * back(up, s) - highs * back(down, s)

    return rule


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("rule", ["epsilon", "gamma", "epsilon-gamma-box"])
def test_lrp_by_hand(rng, rule, channels):
    net = plain(channels, pool=channels != 1)
    x = images(rng, net)
    low, high = np.sort(net.preprocess.normalise(np.array([[0.0] * channels, [255.0] * channels])), 0)

    def composite(kernel, bias, a, relevance, run, back):
        return (gamma_by_hand if kernel.ndim == 4 else epsilon_by_hand)(kernel, bias, a, relevance, run, back)

    rules = {
        "epsilon": (epsilon_by_hand, epsilon_by_hand),
        "gamma": (gamma_by_hand, gamma_by_hand),
        "epsilon-gamma-box": (composite, box_by_hand(low, high)),
    }[rule]
    expected = np.stack([pieces(net, image, target, *rules) for image, target in zip(x, TARGETS)])
    found = lrp(net, x, rule=rule, target=TARGETS)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize("kind", [*QUICK, *(pytest.param(kind, marks=pytest.mark.slow) for kind in SLOW[:-2])])
def test_lrp_zero_is_complete_without_biases(rng, kind):
    """sum of the map = the logit: 1%, of networks of convolutions, ReLUs, pools, joins and skip connections."""
    net = without_biases(random_network(SMALL[kind](), seed=2))
    x = images(rng, net)
    logits = np.asarray(net(x))[[0, 1], TARGETS]
    found = lrp(net, x, rule="zero", target=TARGETS).sum((1, 2))
    np.testing.assert_allclose(found, logits, rtol=0.01, atol=0.01 * np.abs(logits).mean())


def test_lrp_zero_of_layer_norm_and_gelu_is_complete_without_biases(rng):
    """A normalisation's deviation is a constant, and what is passed through is neither lost nor added to."""
    net = without_biases(
        chain(Conv(4, (3, 3), padding=PAD), LayerNorm(), Gelu(), Conv(3, (2, 2)), LocalResponseNorm(), GlobalMaxPool())
    )
    x = images(rng, net)
    found = lrp(net, x, rule="zero", target=TARGETS).sum((1, 2))
    np.testing.assert_allclose(found, np.asarray(net(x))[[0, 1], TARGETS], rtol=0.01)


def test_the_box_loses_nothing_to_a_bias(rng):
    net = chain(Conv(5, (3, 3)), GlobalAvgPool())
    x = images(rng, net)
    logits = np.asarray(net(x))[[0, 1], TARGETS]
    np.testing.assert_allclose(lrp(net, x, target=TARGETS).sum((1, 2)), logits, rtol=1e-3)
    assert np.abs(lrp(net, x, rule="gamma", target=TARGETS).sum((1, 2)) / logits - 1).min() > 0.003


def test_the_box_reaches_through_a_layer_of_padding(rng):
    net = chain(Pad(PAD), Conv(5, (3, 3)), GlobalAvgPool())
    x = images(rng, net)
    inner = chain(Conv(5, (3, 3), padding=PAD), GlobalAvgPool())
    same = Network(inner.architecture, {"layer0": net.weights["layer1"]}, net.preprocess)
    np.testing.assert_allclose(lrp(net, x, target=TARGETS), lrp(same, x, target=TARGETS), rtol=1e-3, atol=1e-6)


def test_the_factors_of_a_gate_share(rng):
    """y * gate: half to each, so that nothing is counted twice; the sigmoid passes its half on."""
    net = gated_network(rng)
    x = images(rng, net)
    found = lrp(net, x, rule="zero", target=TARGETS).sum((1, 2))
    logits = np.asarray(net(x))[[0, 1], TARGETS]
    np.testing.assert_allclose(found, logits, rtol=0.01)


@pytest.mark.parametrize("kind", ["vit_small", pytest.param("convnext_tiny", marks=pytest.mark.slow)])
def test_transformers_have_relevance(rng, kind):
    net = random_network(SMALL[kind](), seed=2)
    x = images(rng, net)
    found = lrp(net, x, target=TARGETS)
    assert found.shape == x.shape[:3] and np.isfinite(found).all() and np.ptp(found) > 0


def test_what_has_no_rule_is_refused(rng):
    net = normalised_network(rng)
    with pytest.raises(InputError, match=r"LRP has no rule for layer .*nor a product; deep-lift and int"):
        lrp(net, images(rng, net))
    with pytest.raises(InputError, match="LRP has no rule for layer"):
        METHODS["lrp-epsilon"].cost(net, SIZE)
    net = plain()
    for name, value in {"rule": "alpha-beta", "epsilon": -1, "gamma": -0.1}.items():
        with pytest.raises(InputError, match=name):
            lrp(net, images(rng, net), **{name: value})


def test_one_output_has_two_classes(rng):
    """Class 0's relevance is the negative of class 1's."""
    net = chain(Conv(4, (3, 3)), Relu(), GlobalAvgPool(), Dense(1))
    net = Network(replace(net.architecture, probabilities="sigmoid"), net.weights, net.preprocess)
    x = images(rng, net)
    for method in (lrp, deep_lift):
        np.testing.assert_allclose(method(net, x, target=0), -method(net, x, target=1), rtol=1e-5, atol=1e-7)
