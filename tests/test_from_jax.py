"""Any JAX function, and flax's modules, as networks: the same numbers, every map, and refusals in one sentence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from numpy.testing import assert_allclose

from saliency import InputError, Score, grad_cam, gradient_maps, occlusion_maps
from saliency.maps.attribution import Sensitivity, attribution_maps
from saliency.maps.cam import activation_maps
from saliency.models.from_flax import from_flax
from saliency.models.from_jax import from_function
from saliency.models.operators import Conv, Dense, GlobalAvgPool, MaxPool, Relu
from saliency.models.preprocessing import Preprocessing
from saliency.occlusion import Execution, Windows, choice, maps
from saliency.occlusion.plan import plan_for
from saliency.zeiler_fergus.regions import feature_layers

SIZE = (26, 31)
NCHW = ("NCHW", "OIHW", "NCHW")
NHWC = ("NHWC", "HWIO", "NHWC")


def weights(rng, **shapes):
    return {
        name: jnp.asarray(rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1])), jnp.float32)
        for name, shape in shapes.items()
    }


def stack(p, x):
    with jax.named_scope("stem"):
        x = jax.lax.conv_general_dilated(x, p["k1"], (2, 2), "SAME", dimension_numbers=NHWC) + p["b1"]
        x = jax.nn.relu(x)
    with jax.named_scope("block"):
        y = jax.lax.conv_general_dilated(x, p["k2"], (1, 1), "SAME", dimension_numbers=NHWC, feature_group_count=8)
        x = x + jax.nn.silu(y * p["scale"] + p["shift"])
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    with jax.named_scope("head"):
        return x.mean((1, 2)) @ p["w"] + p["b"]


SHAPES = {"k1": (3, 3, 2, 8), "b1": (8,), "k2": (3, 3, 1, 8), "scale": (8,), "shift": (8,), "w": (8, 5), "b": (5,)}


@pytest.fixture
def parameters(rng):
    return weights(rng, **SHAPES)


@pytest.fixture
def x(rng):
    return rng.normal(size=(2, *SIZE, 2)).astype(np.float32)


NORMALISED = Preprocessing(SIZE, "stretch", mean=(0.5, 0.5), std=(0.25, 0.25))


def check_maps(net, apply, x):
    """Each kind of map, against JAX's own derivative where there is one, and dense against incremental occlusion."""
    assert_allclose(net(x), apply(x), atol=1e-4 * np.abs(apply(x)).max())
    gradient = jax.grad(lambda x: apply(x)[:, 1].sum())(jnp.asarray(x))
    signed = gradient_maps(net, x, target=1, aggregate="signed")
    assert np.abs(gradient).max() > 0
    assert_allclose(signed, gradient, atol=1e-4 * np.abs(gradient).max())
    found = [
        occlusion_maps(net, x, patch=(9, 8), stride=(6, 5), fill="noise", target=1, execution=Execution(engine)).scores
        for engine in ("dense", "incremental")
    ]
    assert np.ptp(found[0]) > 1e-3
    assert_allclose(found[1], found[0], atol=1e-4 * np.abs(found[0]).max())
    assert np.isfinite(grad_cam(net, x)).all()
    assert np.ptp(activation_maps(net, x)) > 0


def test_every_map_of_a_function(parameters, x):
    net = from_function(stack, parameters, size=SIZE, channels=2, preprocess=NORMALISED)
    check_maps(net, lambda x: stack(parameters, x), x)
    assert gradient_maps(net, x).shape == (2, *SIZE)
    assert gradient_maps(net, x, aggregate="signed").shape == (2, *SIZE, 2)


def test_layers_have_names_and_kinds(parameters, x):
    net = from_function(stack, parameters, size=SIZE, channels=2, preprocess=NORMALISED)
    kinds = {name: type(layer).__name__ for name, layer in net.layers.items()}
    assert (kinds["stem/conv"], kinds["stem"], kinds["block"], kinds["head"]) == ("Conv", "Relu", "MaxPool", "Dense")
    assert net.architecture.gestalt_layer == "block"
    assert_allclose(net.after(net.upto(x, "stem"), "stem"), net(x), rtol=1e-4, atol=1e-5)
    assert len(repr(net)) < 120
    assert net.digest == from_function(stack, parameters, size=SIZE, channels=2, preprocess=NORMALISED).digest
    assert net.digest != from_function(stack, {**parameters, "b": parameters["b"] + 1}, size=SIZE, channels=2).digest
    guided = attribution_maps(net, x, Sensitivity(), relu="guided")
    assert not np.allclose(guided, gradient_maps(net, x))
    assert all(name in net.layers for name in feature_layers(net.architecture))


def test_it_is_traced_twice_and_never_again(parameters, x):
    calls = 0

    def counted(p, x):
        nonlocal calls
        calls += 1
        return stack(p, x)

    net = from_function(counted, parameters, size=SIZE, channels=2, preprocess=NORMALISED)
    assert calls == 2
    for images in (x, x + 1, x[:1]):
        gradient_maps(net, images)
        occlusion_maps(net, images, patch=13, stride=13, execution=Execution("incremental"))
        grad_cam(net, images)
    assert calls == 2


def test_nothing_at_all_is_traced_for_another_image(parameters, x):
    """Not the function alone: JAX itself says whenever it traces anything."""
    net = from_function(stack, parameters, size=SIZE, channels=2, preprocess=NORMALISED)
    traces = []
    jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: traces.append(event))

    def every_map(images):
        gradient_maps(net, images)
        grad_cam(net, images)
        for engine in ("dense", "incremental"):
            occlusion_maps(net, images, patch=13, stride=13, execution=Execution(engine))
        return traces.count("/jax/core/compile/jaxpr_trace_duration")

    first = every_map(x)
    assert first > 0
    assert every_map(x + 1) == first


def test_weights_are_used_where_they_lie(parameters):
    net = from_function(stack, parameters, size=SIZE, channels=2)
    mine = {a.unsafe_buffer_pointer() for a in jax.tree.leaves(net.weights)}
    for name in ("k1", "k2", "w"):
        assert parameters[name].unsafe_buffer_pointer() in mine


def channels_first(p, x):
    x = jnp.transpose(x, (0, 3, 1, 2))
    x = jax.lax.conv_general_dilated(x, p["k"], (1, 1), [(1, 1), (0, 2)], rhs_dilation=(1, 2), dimension_numbers=NCHW)
    x = jax.nn.relu(x + p["b"].reshape(1, -1, 1, 1))
    n, c, h, w = x.shape
    x = x.reshape(n, 2, c // 2, h, w).swapaxes(1, 2).reshape(n, c, h, w)  # channel shuffle
    scale = jax.nn.sigmoid(x.mean((2, 3), keepdims=True) * p["s"].reshape(1, -1, 1, 1))
    x = jnp.concatenate([x * scale, x], 1)
    return jnp.einsum("nc,kc->nk", x.max((2, 3)), p["w"])


def test_channels_first_and_what_is_global(rng, x):
    p = weights(rng, k=(6, 2, 3, 3), b=(6,), s=(6,), w=(4, 12))
    net = from_function(channels_first, p, size=SIZE, channels=2, preprocess=NORMALISED)
    kinds = [type(layer).__name__ for layer in net.layers.values()]
    assert {"Conv", "Relu", "GlobalAvgPool", "Concat", "GlobalMaxPool", "Dense"} <= {*kinds}
    check_maps(net, lambda x: channels_first(p, x), x)


def block(p, x):
    """A transformer's, without norms."""
    q, k, v = (jnp.einsum("ntd,dhe->nthe", x, p[name]) for name in "qkv")
    attention = jax.nn.softmax(jnp.einsum("nshe,nthe->nhst", q, k))
    x = x + jnp.einsum("nhst,nthe->nshe", attention, v).reshape(x.shape)
    return x + jax.nn.gelu(x @ p["up"]) @ p["down"]


def vision_transformer(p, x, prefix):
    x = jax.lax.conv_general_dilated(x, p["patches"], (5, 5), "VALID", dimension_numbers=NHWC)
    x = x.reshape(len(x), -1, x.shape[-1])
    if prefix:
        x = jnp.concatenate([jnp.broadcast_to(p["token"], (len(x), prefix, x.shape[-1])), x], 1)
    for i in range(2):
        with jax.named_scope(f"block{i}"):
            x = block(p, x)
    return (x[:, 0] if prefix else x.mean(1)) @ p["w"]


def test_auto_takes_the_dense_path_below_a_predicted_1_2(rng, parameters, x, monkeypatch):
    """For many images, where compiling counts little, and without the fixed cost of a layer: the networks are tiny."""
    monkeypatch.setattr(choice, "OVERHEAD", 0.0)
    monkeypatch.setattr(maps, "choices", choice.choices.__wrapped__)  # none is remembered from before, or for later
    many = Execution(images=10**6)

    def excited(p, x):
        x = jax.lax.conv_general_dilated(x, p["k"], (2, 2), "SAME", dimension_numbers=NHWC)
        x = x * jax.nn.sigmoid(x.mean((1, 2), keepdims=True))
        return jax.lax.conv_general_dilated(x, p["l"], (1, 1), "SAME", dimension_numbers=NHWC).max((1, 2)) @ p["w"]

    p = weights(rng, k=(3, 3, 2, 8), l=(3, 3, 8, 32), w=(32, 3))
    for apply, params, engine in ((excited, p, "dense"), (stack, parameters, "incremental")):
        net = from_function(apply, params, size=SIZE, channels=2, preprocess=NORMALISED)
        speedup = plan_for(net.architecture, Windows(SIZE, (5, 4), (5, 4)), Score(), len(x)).speedup
        assert (speedup >= 1.2) == (engine == "incremental"), speedup
        assert occlusion_maps(net, x, patch=(5, 4), stride=(5, 4), execution=many).engine == engine


@pytest.mark.slow
@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_tokens_are_seen_as_a_grid(rng, x, prefix):
    p = weights(rng, patches=(5, 5, 2, 8), q=(8, 2, 4), k=(8, 2, 4), v=(8, 2, 4), up=(8, 16), down=(16, 8), w=(8, 3))
    p["token"] = jnp.ones((1, 1, 8))
    net = from_function(lambda p, x: vision_transformer(p, x, prefix), p, size=SIZE, channels=2, preprocess=NORMALISED)
    check_maps(net, lambda x: vision_transformer(p, x, prefix), x)
    layer = net.architecture.gestalt_layer
    assert net.architecture.map_shape(layer, net.architecture.shapes(*SIZE)) == (5, 6, 8)
    tokens = net.upto(x, layer)
    assert_allclose(net.architecture.as_map(layer, tokens)[0, 2, 3], tokens[0, prefix + 2 * 6 + 3])
    derivative = jax.grad(lambda a: net.after(a, layer)[:, 1].sum())(tokens)
    assert (np.abs(derivative[:, prefix:]).max(-1) > 0).all(), "the logits depend on every place of the default layer"
    assert grad_cam(net, x, layer="block0", resize=False).shape == (2, 5, 6)
    assert net.architecture.require("block1") == "block1"


class Cnn(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.conv = nnx.Conv(2, 8, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.blocks = nnx.List([nnx.Conv(8, 8, (3, 3), strides=2, rngs=rngs)])
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.conv(x)))
        for conv in self.blocks:
            x = nnx.silu(conv(x))
        return self.head(self.drop(x.mean((1, 2))))


def test_nnx(x):
    model = Cnn(nnx.Rngs(0))
    model(jnp.asarray(x) + 1)  # moves the running statistics
    net = from_flax(model, size=SIZE, channels=2, preprocess=NORMALISED)
    assert not model.drop.deterministic, "the model itself stays in training"
    assert {"conv", "norm", "blocks.0", "head"} <= net.layers.keys()
    inference = nnx.merge(*nnx.split(model))
    inference.eval()
    check_maps(net, inference, x)


class Linen(linen.Module):
    @linen.compact
    def __call__(self, x, train: bool = True):
        x = linen.relu(linen.Conv(8, (3, 3), strides=2)(x))
        x = linen.BatchNorm(use_running_average=not train)(x)
        x = linen.max_pool(x, (2, 2), (2, 2))
        x = linen.Dropout(0.5, deterministic=not train)(x)
        return linen.Dense(3, name="head")(x.reshape(len(x), -1))


def test_linen(x):
    model = Linen()
    variables = model.init(jax.random.key(0), jnp.asarray(x), train=False)
    variables = jax.tree.map(lambda a: a + 0.1, variables)
    net = from_flax(model, variables, size=SIZE, channels=2, preprocess=NORMALISED)
    assert {"Conv_0", "BatchNorm_0", "head"} <= net.layers.keys()
    check_maps(net, lambda x: model.apply(variables, x, train=False), x)


def test_plan_of_a_function_is_that_of_the_same_network_by_hand(rng):
    """VGG's layers, traced: the same multiplications, dense and incremental."""
    from saliency.models.weights import random_network
    from saliency.models.zoo.vgg import vgg16

    def vgg(p, x):
        for i in (1, 2, 3):
            conv = p[f"conv{i}_1"]
            x = jax.lax.conv_general_dilated(x, conv["kernel"], (1, 1), "SAME", dimension_numbers=NHWC) + conv["bias"]
            x = jax.lax.reduce_window(jax.nn.relu(x), -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        x = x.reshape(len(x), -1)
        for name in ("fc6", "fc7", "fc8"):
            x = x @ p[name]["kernel"] + p[name]["bias"]
            x = x if name == "fc8" else jax.nn.relu(x)
        return x

    net = random_network(vgg16(((4,), (6,), (5,)), hidden=7, classes=3, size=(32, 26)))
    traced = from_function(vgg, net.weights, size=(32, 26), preprocess=net.preprocess)
    assert_allclose(traced(np.ones((1, 32, 26, 3), np.float32)), net(np.ones((1, 32, 26, 3), np.float32)), rtol=1e-5)
    windows = Windows((32, 26), (8, 6), (4, 4))
    by_hand, found = (plan_for(n.architecture, windows, Score()) for n in (net, traced))
    assert found.speedup >= by_hand.speedup
    assert sum(found.macs_dense.values()) == sum(by_hand.macs_dense.values())
    kinds = [type(layer) for layer in traced.layers.values()]
    assert kinds.count(Conv) == 3 and kinds.count(Dense) == 3 and kinds.count(Relu) == 5


def noisy(p, x):
    return stack(p, x) * jax.random.uniform(jax.random.key(0), (1, 5))


def normalised_by_the_batch(p, x):
    return stack(p, x) - stack(p, x).mean(0)


def called_back(p, x):
    given = jax.ShapeDtypeStruct((1, 5), np.float32)
    return jax.pure_callback(lambda x: np.full((1, 5), x.mean(), np.float32), given, x) + stack(p, x)


@pytest.mark.parametrize(
    "apply, message",
    [
        (lambda p, x: float(x.sum()), "apply cannot be traced for images"),
        (lambda p, x: stack(p, x)[x.sum() > 0], "apply cannot be traced for images"),
        (lambda p, x: stack(p, x)[0], r"must give logits \[n, classes\].*not \[5\]"),
        (lambda p, x: (stack(p, x), x), "must give logits.*not tuple"),
        (lambda p, x: x, r"not \[1, 26, 31, 2\]"),
        (noisy, "still draws random numbers"),
        (normalised_by_the_batch, "gives an image other logits when it comes with another one"),
        (lambda p, x: stack(p, x) * jnp.nan, "NaN or infinite"),
        (lambda p, x: jnp.ones((len(x), 5)) * p["b"], "the same logits whatever the image"),
        (lambda p, x: stack(p, x).astype(int), "must give logits in floating point, not int32"),
        (lambda p, x: stack(p, x) * 1j, "must give logits in floating point, not complex64"),
        (called_back, "a JAX function does what JAX cannot do for several images at once: vmap is only supported"),
        ("stack", "apply must be a function"),
    ],
)  # fmt: skip
def test_refusals(parameters, apply, message):
    with pytest.raises(InputError, match=message) as refused:
        from_function(apply, parameters, size=SIZE, channels=2)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"size": 0}, "size must be a whole number of at least 1"),
        ({"size": "large"}, "size must be a whole number of pixels"),
        ({"size": (8, 8, 8)}, "size must be a whole number of pixels"),
        ({"channels": 0}, "channels must be a whole number"),
        ({"channels": 3}, "cannot be traced for images"),
        ({"preprocess": 255}, "preprocess must be a Preprocessing"),
        ({"preprocess": Preprocessing(SIZE)}, "preprocess is for 3 channels, and the images have 2"),
        ({"classes": ("a", "b")}, "names 2 classes, but a JAX function tells 5 apart"),
        ({"params": {"k1": "weights"}}, "params must be arrays only"),
        ({"params": {"k1": "b"}}, "params must be arrays only"),
    ],
)
def test_bad_arguments(parameters, options, message):
    arguments = {"params": parameters, "size": SIZE, "channels": 2, **options}
    with pytest.raises(InputError, match=message):
        from_function(stack, arguments.pop("params"), **arguments)


def test_images_of_another_size_are_refused(parameters, x):
    net = from_function(stack, parameters, size=SIZE, channels=2, preprocess=NORMALISED)
    with pytest.raises(InputError, match="function was traced and takes images of 26x31 only, not 26x30"):
        gradient_maps(net, x[:, :, :30])


def test_from_flax_refuses(parameters, x):
    for arguments, message in (((stack,), "must be a flax module"), ((Linen(),), "needs its variables")):
        with pytest.raises(InputError, match=message):
            from_flax(*arguments, size=SIZE, channels=2)


def test_pools_are_told_apart(rng, x):
    """Means of all places, of windows with and without padding, and maxima."""

    def apply(p, x):
        x = linen.avg_pool(x, (3, 2), (2, 2), "SAME", count_include_pad=False)
        x = linen.max_pool(x, (2, 2), (1, 2), "SAME")
        return x.mean((1, 2)) @ p["w"]

    p = weights(rng, w=(2, 3))
    net = from_function(apply, p, size=SIZE, channels=2, preprocess=NORMALISED)
    kinds = [type(layer) for layer in net.layers.values()]
    assert MaxPool in kinds and GlobalAvgPool in kinds
    check_maps(net, lambda x: apply(p, x), x)
