"""Maps from attention against the formulas, entry by entry; the promises of the menu; transformers from elsewhere."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from saliency import (
    METHODS,
    InputError,
    Options,
    attention_maps,
    class_attention_maps,
    from_flax,
    from_function,
    grad_cam,
)
from saliency.methods import ATTENTION
from saliency.models.network import Network
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.models.zoo.vit import vit

SIZE = (16, 24)
TOKENS, GRID, HEADS, DEPTH, CLASSES = 1 + 2 * 3, (2, 3), 2, 2, 5


def transformer(before: int = 1, dtype: type = np.float32) -> Network:
    architecture = vit(width=6, depth=DEPTH, heads=HEADS, patch=8, classes=CLASSES, size=SIZE, before=before)
    return random_network(architecture, 1, dtype)


@pytest.fixture(scope="module")
def net() -> Network:
    return transformer()


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(3, *SIZE, 3)).astype(np.float32)


def blocks(net: Network, x: np.ndarray, tokens: int = TOKENS) -> np.ndarray:
    """Attention `[blocks, n, heads, t, t]`."""
    found = [np.asarray(net.upto(x, f"block{i}_attention")) for i in range(DEPTH)]
    return np.array(found).reshape(DEPTH, len(x), HEADS, tokens, tokens)


def slopes(net: Network, x: np.ndarray, target: int) -> np.ndarray:
    """Central differences of a logit to each attention, for one image in float64."""
    count = HEADS * TOKENS * TOKENS

    @jax.jit
    def logit(added):
        named = {f"block{i}_attention": added[i][None] for i in range(DEPTH)}
        return net.architecture.activations(net.weights, x, added=named)[net.architecture.last][0, target]

    found, step = np.zeros((DEPTH, count)), 1e-5
    for i, j in np.ndindex(DEPTH, count):
        nudge = np.zeros((DEPTH, count))
        nudge[i, j] = step
        found[i, j] = (logit(nudge) - logit(-nudge)) / (2 * step)
    return found.reshape(DEPTH, HEADS, TOKENS, TOKENS)


def multiplied(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    product = np.zeros((len(a), b.shape[1]))
    for i, j, k in np.ndindex(len(a), b.shape[1], len(b)):
        product[i, j] += a[i, k] * b[k, j]
    return product


def rolled(attention: np.ndarray) -> np.ndarray:
    """Abnar & Zuidema 2020: with half of the identity, rows adding up to 1, block after block."""
    found = np.eye(attention.shape[-1])
    for block in attention:
        step = np.maximum(block.mean(0), 0) + np.eye(len(found))
        for row in step:
            row /= row.sum()
        found = multiplied(step, found)
    return found


def test_rollout_is_the_formula(net, x):
    found = attention_maps(net, x, resize=False)
    for image, attention in zip(found, blocks(net, x).swapaxes(0, 1)):
        np.testing.assert_allclose(image, rolled(attention)[0, 1:].reshape(GRID), rtol=1e-5)


def test_class_rules_are_the_formulas(x):
    with jax.enable_x64(True):
        net, image = transformer(dtype=np.float64), x[:1].astype(np.float64)
        attention, derivative = blocks(net, image)[:, 0], slopes(net, image, 3)
        gradient, chefer = (
            attention_maps(net, image, rule, target=3, resize=False)[0] for rule in ("gradient-rollout", "chefer")
        )
    np.testing.assert_allclose(gradient, rolled(attention * derivative)[0, 1:].reshape(GRID), rtol=1e-4, atol=1e-8)
    relevance = np.eye(TOKENS)
    for block, slope in zip(attention, derivative):
        relevance = relevance + multiplied(np.maximum(block * slope, 0).mean(0), relevance)
    np.testing.assert_allclose(chefer, relevance[0, 1:].reshape(GRID), rtol=1e-4, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("before", [1, 3])
def test_legrad_is_the_formula(x, before):
    """Block by block: the head reads the block's tokens, and only that block's own attention moves."""
    net, target = transformer(before), 3
    run, weights, expected = net.architecture.activations, net.weights, 0
    for i in range(DEPTH):
        name = f"block{i}_attention"

        def logit(added, i=i, name=name):
            tokens = run(weights, x, f"block{i}", added={name: added})[f"block{i}"]
            return net.architecture.after(weights, tokens, f"block{DEPTH - 1}")[:, target].sum()

        slope = np.asarray(jax.grad(logit)(jnp.zeros_like(net.upto(x, name))))
        slope = slope.reshape(3, HEADS, before + 6, before + 6)
        expected = expected + np.maximum(slope, 0).mean((1, 2))[:, before:].reshape(3, *GRID) / DEPTH
    assert expected.max() > 0
    found = attention_maps(net, x, "legrad", target=target, resize=False)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-9)


def test_legrad_wants_blocks_that_are_alike(x):
    one = random_network(vit(width=6, depth=1, heads=HEADS, patch=8, classes=CLASSES, size=SIZE))
    for call in (lambda: METHODS["legrad"].maps(one, x), lambda: METHODS["legrad"].cost(one, SIZE)):
        with pytest.raises(InputError, match="of two or more, and not all of these are layers of their own"):
            call()


def test_the_class_token_by_head(net, x):
    found = class_attention_maps(net, x, layer="block0_attention", resize=False)
    np.testing.assert_allclose(found, blocks(net, x)[0, :, :, 0, 1:].reshape(3, HEADS, *GRID), rtol=1e-5)
    mean = METHODS["class-attention"].maps(net, x, options=Options(layer="block0_attention"))
    np.testing.assert_allclose(
        mean, class_attention_maps(net, x, layer="block0_attention").mean(1), rtol=1e-5, atol=1e-7
    )
    with pytest.raises(InputError, match="block0 is no attention of vit_small; those are block0_attention, block1_att"):
        class_attention_maps(net, x, layer="block0")


def test_registers_are_left_out(x):
    """Three tokens stand before the patches."""
    net = transformer(before=3)
    attention = blocks(net, x, 3 + 6)
    np.testing.assert_allclose(
        attention_maps(net, x, resize=False)[0], rolled(attention[:, 0])[0, 3:].reshape(GRID), rtol=1e-5
    )
    assert grad_cam(net, x, layer="block0", resize=False).shape == (3, *GRID)


@pytest.mark.parametrize("name", ATTENTION)
def test_the_promises_of_the_menu(net, x, name):
    method = METHODS[name]
    maps = method.maps(net, x)
    assert maps.shape == (3, *SIZE) and maps.dtype == np.float32 and maps.min() >= 0
    assert np.ptp(maps, axis=(1, 2)).min() > 0
    np.testing.assert_allclose(method.maps(net, x[2:])[0], maps[2], rtol=1e-5, atol=1e-7)
    predicted = np.asarray(net(x)).argmax(-1)
    np.testing.assert_allclose(method.maps(net, x, target=predicted), maps, rtol=1e-5, atol=1e-7)
    other = method.maps(net, x, target=(predicted + 1) % CLASSES)
    assert np.array_equal(other, maps) == (name in ("attention-rollout", "class-attention"))
    assert method.maps(net, np.empty((0, *SIZE, 3), np.float32)).shape == (0, *SIZE)
    assert len(method.summary.splitlines()) == 2 and max(map(len, method.summary.splitlines())) <= 110
    convolutional = random_network(scenes_cnn(((4,), (6,)), size=SIZE))
    for call in (method.maps, method.cost):
        with pytest.raises(InputError, match="scenes_cnn has no attention among patches that can be seen"):
            call(convolutional, x if call == method.maps else SIZE)


def test_without_classes(net, x):
    """DINO: attention without a class works, a class rule is refused."""
    trained = net.architecture
    features = trained.features(["head"])
    weights = {layer: parts for layer, parts in net.weights.items() if layer in features.by_name}
    dino = Network(features, weights, net.preprocess)
    np.testing.assert_array_equal(attention_maps(dino, x), attention_maps(net, x))
    np.testing.assert_array_equal(class_attention_maps(dino, x), class_attention_maps(net, x))
    assert METHODS["gestalt-max"].maps(dino, x).shape == METHODS["activation"].maps(dino, x).shape == (3, *SIZE)
    for name in ("chefer", "gradient-rollout", "grad-cam", "gradient-max"):
        with pytest.raises(InputError, match="holds features alone, without a classifier"):
            METHODS[name].maps(dino, x)


def test_a_traced_transformer_is_recognised(net, x):
    """The same function, of which nothing is known but its primitives."""
    traced = from_function(lambda weights, x: net.architecture.upto(weights, x), net.weights, size=SIZE)
    traced.preprocess = net.preprocess
    assert [heads for _, heads in traced.architecture.attentions] == [HEADS] * DEPTH
    with pytest.raises(InputError, match="not all of these are layers of their own here"):
        METHODS["legrad"].maps(traced, x, target=2)  # the last block's sum is one layer with the norm after it
    for name in set(ATTENTION) - {"legrad"}:
        np.testing.assert_allclose(
            METHODS[name].maps(traced, x, target=2), METHODS[name].maps(net, x, target=2), rtol=1e-4, atol=1e-6
        )


class FlaxTransformer(nnx.Module):
    """Without a class token: the mean of all tokens is classified."""

    def __init__(self, rngs: nnx.Rngs):
        self.patch = nnx.Conv(3, 8, (8, 8), (8, 8), rngs=rngs)
        self.norm = nnx.LayerNorm(8, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)
        self.head = nnx.Linear(8, CLASSES, rngs=rngs)

    def __call__(self, x):
        x = self.patch(x)
        x = x.reshape(len(x), -1, 8)
        return self.head((x + self.attention(self.norm(x))).mean(1))


def test_a_flax_transformer_is_recognised(x):
    net = from_flax(FlaxTransformer(nnx.Rngs(0)), size=SIZE)
    net.preprocess = transformer().preprocess
    ((layer, heads),) = net.architecture.attentions
    attention = np.asarray(net.upto(x, layer)).reshape(3, heads, 6, 6)
    assert heads == 2
    np.testing.assert_allclose(attention.sum(-1), 1, rtol=1e-5)
    found = attention_maps(net, x, resize=False)
    for image, one in zip(found, attention):
        np.testing.assert_allclose(image, rolled(one[None]).mean(0).reshape(GRID), rtol=1e-5)
    assert jnp.isfinite(attention_maps(net, x, "chefer")).all()


@pytest.mark.parametrize("rule", ["gradient-rollout", "chefer", "legrad"])
def test_of_one_output_the_predicted_class_is_explained(rule, x):
    """Which is class 1 where the logit is above 0, and class 0 below."""
    one = vit(width=6, depth=DEPTH, heads=HEADS, patch=8, classes=1, size=SIZE)
    net = random_network(replace(one, probabilities="sigmoid"))
    for sign, predicted in ((1, 1), (-1, 0)):
        net.weights["head"]["bias"] = jnp.full(1, 100.0 * sign)
        found = attention_maps(net, x, rule=rule)
        np.testing.assert_array_equal(found, attention_maps(net, x, rule=rule, target=predicted))
    assert np.ptp(found) > 0
