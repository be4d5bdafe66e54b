"""The CAM family, FullGrad and their kin against their formulas written out in loops."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.decomposition import KernelPCA

from saliency.errors import InputError
from saliency.maps.cam import grad_cam, stage_layers
from saliency.maps.cam_passes import _varying, ablation_cam, affine_after, score_cam
from saliency.maps.cam_rules import RULES
from saliency.maps.full_grad import full_grad, full_gradients
from saliency.maps.gradient import gradient_maps
from saliency.methods import METHODS, Cost, Options
from saliency.models.from_jax import from_function
from saliency.models.weights import random_network
from saliency.models.zoo.resnet import resnet50
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.models.zoo.squeezenet import squeezenet1_1

SIZE = (11, 14)
TARGETS = [1, 7]


@pytest.fixture(scope="module")
def net():
    return random_network(scenes_cnn(((4,), (5, 6)), size=SIZE), seed=4)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(2).normal(size=(2, *SIZE, 3)).astype(np.float32)


def by_hand(rule: str, a: np.ndarray, g: np.ndarray) -> np.ndarray:
    """One image's map of activations and derivatives `[h, w, c]`, channel by channel and place by place."""
    rows, columns, channels = a.shape
    total = np.zeros((rows, columns))
    for k in range(channels):
        if rule == "xgrad-cam":
            total += (g[..., k] * a[..., k]).sum() / a[..., k].sum() * a[..., k]
        elif rule == "grad-cam++":
            weight = 0.0
            for i in range(rows):
                for j in range(columns):
                    d = g[i, j, k]
                    if d > 0:
                        weight += d**2 / (2 * d**2 + a[..., k].sum() * d**3) * d
            total += weight * a[..., k]
        elif rule == "hires-cam":
            total += g[..., k] * a[..., k]
        elif rule == "element-wise":
            total += np.maximum(g[..., k] * a[..., k], 0)
        elif rule == "layer-cam":
            total += np.maximum(g[..., k], 0) * a[..., k]
        elif rule == "fem":
            total += a[..., k].mean() * (a[..., k] > a[..., k].mean() + 2 * a[..., k].std())
    if rule in ("eigen-cam", "eigengrad-cam"):
        values = (a if rule == "eigen-cam" else g * a).reshape(-1, channels)
        values = values - values.mean(0)
        _, _, right = np.linalg.svd(values, full_matrices=False)
        total = (values @ right[0]).reshape(rows, columns)
        total *= np.sign((total.ravel() * values.sum(1)).sum())
    if rule == "kpca-cam":  # scikit-learn's, as pytorch-grad-cam calls it
        values = a.reshape(-1, channels) - a.reshape(-1, channels).mean(0)
        total = KernelPCA(n_components=1, kernel="sigmoid").fit_transform(values).reshape(rows, columns)
        total *= np.sign((total.ravel() * values.sum(1)).sum())
    return np.maximum(total, 0)


@pytest.mark.parametrize("layer", ["relu1_1", "relu2_2"])
@pytest.mark.parametrize("rule", sorted(set(RULES) - {"grad-cam"}))
def test_rules_by_hand(net, x, rule, layer):
    found = grad_cam(net, x, rule=rule, layer=layer, target=TARGETS, resize=False)
    for image, target, ours in zip(x, TARGETS, found):
        a = net.upto(image[None], layer)
        g = jax.grad(lambda a, t=target: net.after(a, layer)[0, t])(a)
        expected = by_hand(rule, np.asarray(a[0], float), np.asarray(g[0], float))
        assert expected.max() > 0
        np.testing.assert_allclose(ours, expected, rtol=2e-3, atol=2e-4 * expected.max())


def test_a_kernel_of_too_many_places_is_refused():
    wide = random_network(scenes_cnn(((2,), (3,)), size=(72, 70)), seed=1)
    with pytest.raises(InputError, match="too many for 72 x 70 of them: take a later layer"):
        grad_cam(wide, np.zeros((1, 72, 70, 3), np.float32), rule="kpca-cam", layer="relu1_1", target=0)


def test_a_pooled_head_makes_three_of_them_one(x):
    """After a global average the derivative is the same everywhere (issue 26's own observation)."""
    net = random_network(resnet50((2, 3), (1, 1), 5, (32, 40)))
    photos = np.random.default_rng(0).normal(size=(1, 32, 40, 3)).astype(np.float32)
    plain, others = grad_cam(net, photos, target=2), ("xgrad-cam", "hires-cam")
    assert plain.max() > 0
    for rule in others:
        np.testing.assert_allclose(grad_cam(net, photos, rule=rule, target=2), plain, rtol=1e-3, atol=1e-6)


def test_several_layers_are_scaled_and_fused(net, x):
    layers = ["relu1_1", "relu2_2"]
    each = [grad_cam(net, x, rule="layer-cam", layer=one, target=TARGETS) for one in layers]
    scaled = np.stack([one / one.max((1, 2), keepdims=True) for one in each])
    for fuse, expected in {"mean": scaled.mean(0), "max": scaled.max(0), "product": scaled.prod(0)}.items():
        found = grad_cam(net, x, rule="layer-cam", layer=layers, fuse=fuse, target=TARGETS)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match="fused at the image's size"):
        grad_cam(net, x, layer=layers, resize=False)
    with pytest.raises(InputError, match="fuse must be one of mean, max, product"):
        grad_cam(net, x, layer=layers, fuse="sum")
    with pytest.raises(InputError, match="rule must be one of grad-cam"):
        grad_cam(net, x, rule="no-cam")
    with pytest.raises(InputError, match="layer must be the name of a layer, or a list of names, not 3"):
        grad_cam(net, x, layer=3)
    with pytest.raises(InputError, match="a Gestalt total knows of no class"):
        grad_cam(net, x, score="gestalt")


def test_stages_are_layers_that_nothing_bypasses():
    assert stage_layers(scenes_cnn(((4,), (5, 6)), size=(40, 36))) == ("relu1_1", "relu2_2")
    squeeze = squeezenet1_1(4, ((2, 3), (2, 3)), 5, (40, 44))
    for layer in stage_layers(squeeze):
        activation = jnp.zeros((1, *squeeze.shapes(40, 44)[layer]))
        squeeze.after(random_network(squeeze).weights, activation, layer)  # raises where a part goes round it
    assert len(stage_layers(squeeze)) >= 2


def finer(logits: np.ndarray, target: int) -> float:
    others = sorted((abs(value - logits[target]), value) for i, value in enumerate(logits) if i != target)
    return logits[target] - 0.6 * np.mean([value for _, value in others[:3]])


def test_finer_score(net, x):
    logits = np.asarray(net(x))
    found = METHODS["finer-cam"].maps(net, x, target=TARGETS)
    for row, (image, target) in enumerate(zip(x, TARGETS)):
        activation = net.upto(image[None], "relu2_2")
        order = np.argsort([abs(v - logits[row, target]) if i != target else np.inf for i, v in enumerate(logits[row])])

        def score(a, target=target, order=order):
            out = net.after(a, "relu2_2")[0]
            return out[target] - 0.6 * out[order[:3]].mean()

        assert float(score(activation)) == pytest.approx(finer(logits[row], target), rel=1e-4)
        g = np.asarray(jax.grad(score)(activation))[0]
        expected = np.maximum((g.mean((0, 1)) * np.asarray(activation)[0]).sum(-1), 0)
        expected = jax.image.resize(expected, SIZE, "bilinear")
        np.testing.assert_allclose(found[row], expected, rtol=1e-3, atol=1e-5 * float(expected.max()))


def test_finer_needs_two_classes(x):
    one = random_network(scenes_cnn(((4,),), classes=1, size=SIZE))
    with pytest.raises(InputError, match="a network of two classes at least"):
        gradient_maps(one, x, score="finer", target=0)


def test_score_cam_by_hand(net, x):
    found = score_cam(net, x, target=TARGETS)
    for image, target, ours in zip(x, TARGETS, found):
        a = np.asarray(net.upto(image[None], "relu2_2"))[0]
        logits = []
        for k in range(a.shape[-1]):
            mask = np.asarray(jax.image.resize(a[..., k], SIZE, "bilinear"))
            span = np.ptp(mask)
            mask = (mask - mask.min()) / (span if span > 0 else 1)
            logits.append(float(net(image[None] * mask[None, ..., None])[0, target]))
        weights = np.exp(logits - np.max(logits)) / np.exp(logits - np.max(logits)).sum()
        expected = jax.image.resize(np.maximum((a * weights).sum(-1), 0), SIZE, "bilinear")
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("most", [2, 4, 99])
def test_score_cam_of_the_channels_that_vary_most(net, x, most):
    found = score_cam(net, x, channels=most, target=TARGETS)
    for image, target, ours in zip(x, TARGETS, found):
        a = np.asarray(net.upto(image[None], "relu2_2"))[0]
        chosen = sorted(range(a.shape[-1]), key=lambda k: -a[..., k].var())[:most]
        logits = []
        for k in chosen:
            mask = np.asarray(jax.image.resize(a[..., k], SIZE, "bilinear"))
            span = np.ptp(mask)
            mask = (mask - mask.min()) / (span if span > 0 else 1)
            logits.append(float(net(image[None] * mask[None, ..., None])[0, target]))
        weights = np.exp(logits - np.max(logits)) / np.exp(logits - np.max(logits)).sum()
        expected = jax.image.resize(np.maximum((a[..., chosen] * weights).sum(-1), 0), SIZE, "bilinear")
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)
    method, options = METHODS["score-cam"], Options(channels=most)
    np.testing.assert_array_equal(method.maps(net, x, target=TARGETS, options=options), found)
    assert method.cost(net, x.shape[1:3], options).forwards == 1 + min(most, a.shape[-1])


def test_channels_that_show_nothing_share_a_pass():
    activation = np.zeros((3, 4, 6), np.float32)
    activation[..., 1], activation[0, 0, 3], activation[..., 4] = 2, 5, np.arange(12).reshape(3, 4)
    chosen, source = _varying(activation, None)
    assert chosen.tolist() == [0, 1, 2, 3, 4, 5] and source.tolist() == [0, 0, 0, 3, 4, 0]
    chosen, source = _varying(activation, 2)
    assert chosen.tolist() == [3, 4] == source.tolist()


@pytest.mark.parametrize("layer", ["relu1_1", "relu2_2"])
def test_ablation_cam_by_hand(net, x, layer):
    told = []
    found = ablation_cam(net, x, layer=layer, target=TARGETS, progress=lambda done, total: told.append((done, total)))
    for image, target, ours in zip(x, TARGETS, found):
        a = np.asarray(net.upto(image[None], layer))
        own = float(net(image[None])[0, target])
        total = np.zeros(a.shape[1:3])
        for k in range(a.shape[-1]):
            without = a.copy()
            without[..., k] = 0
            total += (own - float(net.after(without, layer)[0, target])) / abs(own) * a[0, ..., k]
        expected = np.asarray(jax.image.resize(np.maximum(total, 0), SIZE, "bilinear"))
        np.testing.assert_allclose(ours, expected, rtol=2e-3, atol=2e-4 * expected.max())
    assert told[-1][0] == told[-1][1] == 2 * a.shape[-1]


def test_costs_of_channels(net):
    assert METHODS["score-cam"].cost(net, SIZE).forwards == METHODS["ablation-cam"].cost(net, SIZE).forwards == 7
    assert 5.9 < METHODS["ablation-cam"].cost(net, SIZE).saved < 6  # the dense layer alone is computed anew
    early = METHODS["ablation-cam"].cost(net, SIZE, replace(Options(), layer="relu1_1"))
    first, others = 11 * 14 * 27 * 4, 5 * 7 * (36 * 5 + 45 * 6) + 6 * 10  # multiplications before the layer, and after
    assert early.forwards == 5 and early.saved == pytest.approx(4 * first / (first + others))


def test_ablation_cam_in_one_pass_where_the_rest_is_affine():
    """After a global average and a dense layer no channel needs a pass of its own; a loop over them finds the same."""
    net = random_network(resnet50((2, 3), (1, 1), 5, (32, 40)))
    layer, x = net.architecture.gestalt_layer, np.random.default_rng(0).normal(size=(1, 32, 40, 3)).astype(np.float32)
    a = np.asarray(net.upto(x, layer))
    own, total = float(net(x)[0, 2]), np.zeros(a.shape[1:3])
    for k in range(a.shape[-1]):
        without = a.copy()
        without[..., k] = 0
        total += (own - float(net.after(without, layer)[0, 2])) / abs(own) * a[0, ..., k]
    expected = np.asarray(jax.image.resize(np.maximum(total, 0), (32, 40), "bilinear"))
    told = []
    found = ablation_cam(net, x, target=2, progress=lambda done, total: told.append((done, total)))
    assert expected.max() > 0
    np.testing.assert_allclose(found[0], expected, rtol=2e-3, atol=2e-4 * expected.max())
    assert told == [(a.shape[-1], a.shape[-1])]
    assert METHODS["ablation-cam"].cost(net, (32, 40)) == Cost(1, 1)


def test_what_is_affine_after_a_layer():
    average = resnet50((2, 3), (1, 1), 5, (32, 40))
    assert affine_after(average, average.gestalt_layer) and not affine_after(average, average.nodes[1].name)
    scenes = scenes_cnn(((4,), (5, 6)), size=SIZE)  # a maximum over places
    assert not affine_after(scenes, scenes.gestalt_layer)
    squeeze = squeezenet1_1(4, ((2, 3), (2, 3)), 5, (40, 44))  # a ReLU before its pool, and halves side by side
    assert not any(affine_after(squeeze, layer) for layer in ("conv10", "fire3_expand1x1"))


def swish(p, x):
    """A function with a curved layer, a skip connection and a normalisation: nothing in it has a bias of its own."""
    y = jax.nn.silu(jax.lax.conv_general_dilated(x, p["a"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")))
    y = y + jax.nn.gelu(x @ p["b"])
    y = (y - y.mean(-1, keepdims=True)) / jnp.sqrt(y.var(-1, keepdims=True) + 0.1)
    return y.mean((1, 2)) @ p["c"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["scenes_cnn", "resnet50", "squeezenet1_1", "function"])
def test_full_gradients_add_up_to_the_logit(kind, rng):
    size = (32, 40)
    if kind == "function":
        p = {"a": rng.normal(size=(3, 3, 3, 6)) / 5, "b": rng.normal(size=(3, 6)), "c": rng.normal(size=(6, 5))}
        net = from_function(swish, jax.tree.map(lambda v: v.astype(np.float32), p), size=size)
    else:
        makers = {
            "scenes_cnn": lambda: scenes_cnn(((4,), (6,)), size=size),
            "resnet50": lambda: resnet50((2, 3), (1, 1), 5, size),
            "squeezenet1_1": lambda: squeezenet1_1(4, ((2, 3),), 5, size),
        }
        net = random_network(makers[kind](), seed=3)
    x = rng.normal(size=(2, *size, 3)).astype(np.float32)
    terms = full_gradients(net.architecture, net.weights, x, np.array([1, 4]))
    total = sum(np.asarray(term, float).reshape(2, -1).sum(1) for term in terms.values())
    logits = np.asarray(net(x))[[0, 1], [1, 4]]
    np.testing.assert_allclose(total, logits, rtol=1e-3, atol=1e-3 * np.abs(logits).max())


def test_full_grad_by_hand(net, x):
    """The biases of a ReLU network are its convolutions'; their map is put together channel by channel."""
    found = full_grad(net, x, target=TARGETS)
    weights = net.weights

    def scaled(values: np.ndarray) -> np.ndarray:
        return (values - values.min()) / (np.ptp(values) or 1)

    for image, target, ours in zip(x, TARGETS, found):
        gradient = np.asarray(jax.grad(lambda v, t=target: net(v)[0, t])(image[None]))[0]
        expected = scaled(np.abs(gradient * image)).sum(-1)
        for layer in ("conv1_1", "conv2_1", "conv2_2"):
            activation = net.upto(image[None], layer)
            g = np.asarray(jax.grad(lambda a, t=target, layer=layer: net.after(a, layer)[0, t])(activation))[0]
            terms = scaled(np.abs(g * np.asarray(weights[layer]["bias"])))
            for k in range(terms.shape[-1]):
                expected = expected + np.asarray(jax.image.resize(terms[..., k], SIZE, "bilinear"))
        np.testing.assert_allclose(ours, expected, rtol=2e-3, atol=2e-3 * expected.max())


def test_guided_grad_cam_is_the_product(net, x):
    found = METHODS["guided-grad-cam"].maps(net, x, target=TARGETS)
    product = METHODS["guided-backprop"].maps(net, x, target=TARGETS) * METHODS["grad-cam"].maps(net, x, target=TARGETS)
    np.testing.assert_allclose(found, product, rtol=1e-5)
