"""Every operator's own rules against its definition: a window's change is what the whole function's change is there,
and outside of it there is none. Random shapes, windows, strides and fills; float64.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from saliency import Score
from saliency.models import operators
from saliency.models.from_jax import from_function
from saliency.models.graph import Architecture, Node
from saliency.models.operators import (
    Add,
    Attention,
    AvgPool,
    Concat,
    Conv,
    Dense,
    Flatten,
    Gelu,
    GlobalAvgPool,
    GlobalMaxPool,
    GlobalSumPool,
    Image,
    LayerNorm,
    LocalResponseNorm,
    MaxPool,
    Mix,
    Operator,
    Pad,
    Relu,
    Scale,
    Slice,
    SumPool,
    Token,
    Tokens,
)
from saliency.occlusion import Windows
from saliency.occlusion.incremental import _Regions, prepared
from saliency.occlusion.plan import macs, plan_with

CHANNELS = 6


def pairs(least: int, most: int):
    return st.tuples(st.integers(least, most), st.integers(least, most))


@st.composite
def convolutions(draw) -> Conv:
    kernel, dilation, groups = draw(pairs(1, 3)), draw(pairs(1, 2)), draw(st.sampled_from([1, 2, CHANNELS]))
    return Conv(
        6, kernel, draw(pairs(1, 3)), draw(st.tuples(pairs(0, 2), pairs(0, 2))), groups, dilation, draw(st.booleans())
    )


@st.composite
def pools(draw, kind: type) -> Operator:
    window = draw(pairs(1, 3))
    padding = tuple((draw(st.integers(0, (size - 1) // 2)), draw(st.integers(0, (size - 1) // 2))) for size in window)
    return kind(window, draw(pairs(1, 3)), padding, draw(st.booleans()) and kind is not SumPool)


@st.composite
def slices(draw) -> Slice:
    return Slice(draw(pairs(0, 3)), draw(pairs(9, 12)), draw(pairs(1, 3)))


ONE = {  # operators of one map
    "Conv": convolutions(),
    "Dense": st.builds(Dense, st.integers(1, 5), st.booleans()),
    "Relu": st.builds(Relu, st.sampled_from([None, 0.5, 6.0])),
    "LocalResponseNorm": st.builds(LocalResponseNorm, alpha=st.just(0.5), size=st.integers(2, 5)),
    "MaxPool": pools(MaxPool),
    "AvgPool": pools(AvgPool),
    "SumPool": pools(SumPool),
    "Pad": st.builds(Pad, st.tuples(pairs(0, 3), pairs(0, 3)), st.sampled_from([0.0, 1.5])),
    "Slice": slices(),
    "GlobalAvgPool": st.just(GlobalAvgPool()),
    "GlobalSumPool": st.just(GlobalSumPool()),
    "GlobalMaxPool": st.just(GlobalMaxPool()),
    "Flatten": st.just(Flatten()),
    "Scale": st.just(Scale()),
    "LayerNorm": st.builds(LayerNorm, st.sampled_from([1e-6, 0.5])),
    "Gelu": st.just(Gelu()),
    "Tokens": st.builds(Tokens, st.integers(1, 3)),
}
SEVERAL = {"Add": Add(), "Concat": Concat()}


def test_every_operator_is_proved():
    kinds = {name for name in operators.__all__ if isinstance(getattr(operators, name), type)}
    named = {name for name in kinds if issubclass(getattr(operators, name), Operator)} - {"Operator"}
    assert named == {*ONE, *SEVERAL, "Image", "Attention", "Mix", "Token"}


def check(architecture: Architecture, weights, windows: Windows, to: str, seed: int) -> None:
    """Each layer's change within its window, for the image's random change within each position's window."""
    rng = np.random.default_rng(seed)
    plan = plan_with(architecture, windows, Score("gestalt", to), 1)
    (group,) = plan.groups
    image, fill = rng.normal(size=(2, *windows.image, architecture.channels))
    hidden = np.repeat(image[None], len(group.positions), 0)
    for k, (row, col) in enumerate(windows.positions[group.positions]):
        hidden[k, row : row + windows.patch[0], col : col + windows.patch[1]] = fill[
            row : row + windows.patch[0], col : col + windows.patch[1]
        ]
    (height, width), starts = group.layout.region["image"], group.starts["image"]
    first = np.stack([(hidden[k] - image)[r : r + height, c : c + width] for k, (r, c) in enumerate(starts)])

    @jax.jit
    def compared(weights, image, hidden, first):
        clean = architecture.activations(weights, image[None], to)
        dense = architecture.activations(weights, hidden, to)
        regions = _Regions(
            plan.architecture, plan.shapes, weights, prepared(plan, weights).made,
            {name: x[0] for name, x in clean.items()}, group.layout,
            {name: jnp.asarray(start) for name, start in group.starts.items()},
        )  # fmt: skip
        changes, found = {"image": first}, {}
        for node in architecture.ancestors(to)[1:]:
            changes[node.name] = regions.change(node, changes)
            whole = jnp.broadcast_to(regions.whole(node.name, changes[node.name]), dense[node.name].shape)
            found[node.name] = whole, dense[node.name] - clean[node.name], jnp.abs(dense[node.name]).max()
        return found

    for name, (found, expected, scale) in compared(weights, image, hidden, first).items():
        assert_allclose(found, expected, atol=1e-9 * (1 + scale), err_msg=str(architecture.by_name[name]))


@pytest.mark.parametrize("kind", [*ONE, *SEVERAL])
@settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_change_is_the_difference_of_the_whole(kind, data):
    size = data.draw(pairs(12, 16))
    nodes = [Node("image", Image())]
    if kind in ONE:
        nodes.append(Node("it", data.draw(ONE[kind]), ("image",)))
    else:  # of windows that lie differently
        nodes.append(Node("wide", Conv(CHANNELS, (3, 3), padding=((1, 1), (1, 1))), ("image",)))
        nodes.append(Node("it", SEVERAL[kind], ("wide", "image")))
    architecture = Architecture("it", tuple(nodes), "it", size, channels=CHANNELS)
    if min(architecture.shapes(*size)["it"]) < 1:
        return
    patch = data.draw(pairs(1, 9))
    windows = Windows(size, patch, tuple(max(1, side // 2) for side in patch))
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    with jax.enable_x64(True):
        weights = {
            layer: {name: jnp.asarray(rng.normal(size=shape)) for name, shape in shapes.items()}
            for layer, shapes in architecture.parameter_shapes().items()
        }
        check(architecture, weights, windows, "it", 1)


def test_a_change_of_tokens():
    """Attention, the mix of values and the class token, after the places of a map became tokens."""
    layers = (
        ("tokens", Tokens(2), ("image",)), ("qkv", Dense(12), ("tokens",)), ("attention", Attention(2), ("qkv",)),
        ("mix", Mix(2), ("attention", "qkv")), ("it", Token(1), ("mix",)),
    )  # fmt: skip
    nodes = (Node("image", Image()), *(Node(*layer) for layer in layers))
    architecture = Architecture("it", nodes, "it", (5, 4), channels=CHANNELS)
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        weights = {
            layer: {name: jnp.asarray(rng.normal(size=shape)) for name, shape in shapes.items()}
            for layer, shapes in architecture.parameter_shapes().items()
        }
        check(architecture, weights, Windows((5, 4), (2, 3), (1, 2)), "it", 1)


def layer_norm(p, x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * p["scale"] + p["shift"]


def shuffle(p, x):
    n, h, w, c = x.shape
    return x.reshape(n, h, w, 2, c // 2).swapaxes(3, 4).reshape(x.shape)


def channels_first(p, x):
    return (x.transpose(0, 3, 1, 2) * 2).max(1, keepdims=True).transpose(0, 2, 3, 1)


def grouped_product(p, x):
    return jnp.einsum("nhwgc,cd->nhwgd", x.reshape(*x.shape[:3], 2, 3), p["square"])


def squeeze_and_excitation(p, x):
    return x * jax.nn.sigmoid(x.mean((1, 2), keepdims=True) * p["scale"])


FUNCTIONS = {  # name -> function of a map, the kind of operator that it must become
    "affine": (lambda p, x: x * p["scale"] + p["shift"], "Pointwise"),
    "by place": (lambda p, x: x * p["map"] + p["map"], "Pointwise"),
    "relu6": (lambda p, x: jax.nn.relu6(x), "Pointwise"),
    "silu": (lambda p, x: jax.nn.silu(x), "Pointwise"),
    "gelu": (lambda p, x: jax.nn.gelu(x, approximate=False), "Pointwise"),
    "hard swish": (lambda p, x: jax.nn.hard_swish(x), "Pointwise"),
    "layer norm": (layer_norm, "Pointwise"),
    "channel shuffle": (shuffle, "Pointwise"),
    "channels first": (channels_first, "Pointwise"),
    "grouped product": (grouped_product, "Pointwise"),
    "part of the channels": (lambda p, x: jnp.concatenate([x[..., 2:], jnp.tanh(x[..., :3])], -1), "Concat"),
    "squeeze and excitation": (squeeze_and_excitation, "Pointwise"),
    "upsampling": (lambda p, x: jax.image.resize(x, (1, 20, 22, x.shape[-1]), "bilinear"), "Opaque"),
    "cumulative": (lambda p, x: jnp.cumsum(x, 1), "Opaque"),
    "mirror": (lambda p, x: x[:, ::-1], "Opaque"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("patch, stride", [((4, 3), (3, 5)), ((12, 14), (1, 1))])
def test_pieces_of_functions(name, patch, stride, rng):
    """What has no name of its own, in the middle of a network, traced."""
    function, kind = FUNCTIONS[name]
    size = (13, 15)
    with jax.enable_x64(True):
        p = {
            "kernel": rng.normal(size=(3, 3, 2, CHANNELS)), "scale": rng.normal(size=CHANNELS),
            "shift": rng.normal(size=CHANNELS), "map": rng.normal(size=(*size, 1)), "square": rng.normal(size=(3, 3)),
        }  # fmt: skip

        def apply(p, x):
            x = jax.lax.conv_general_dilated(x, p["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            with jax.named_scope("it"):
                x = function(p, x)
            with jax.named_scope("end"):
                return (x**2).mean((1, 2)).reshape(len(x), -1)

        net = from_function(apply, p, size=size, channels=2)
        assert type(net.layers[net.architecture.require("it")]).__name__ == kind
        assert net.dtype == np.float64
        check(
            net.architecture, net.weights, Windows(size, patch, stride, convention="xplique"), net.architecture.last, 2
        )


def test_multiplications_are_counted():
    """By hand: 3x3 kernels of 6 channels on a window of 4x5; a product of 6 channels at each place."""
    shapes = {"x": (9, 9, 6), "y": (9, 9, 8)}
    assert macs(Node("y", Conv(8, (3, 3), padding=((1, 1), (1, 1))), ("x",)), shapes, (4, 5)) == 20 * 9 * 6 * 8
    assert (
        macs(Node("y", Conv(8, (3, 3), padding=((1, 1), (1, 1)), groups=2), ("x",)), shapes, (4, 5)) == 20 * 9 * 3 * 8
    )
    assert macs(Node("y", Dense(8), ("x",)), shapes, None) == 81 * 6 * 8
    assert macs(Node("y", Relu(), ("x",)), shapes, None) == 0


def test_representations_outlive_new_fields():
    """A digest holds them."""
    assert repr(Conv(4, (3, 3))) == (
        "Conv(features=4, kernel=(3, 3), stride=(1, 1), padding=((0, 0), (0, 0)), groups=1)"
    )
    assert repr(Conv(4, (3, 3), dilation=(2, 2))).endswith("groups=1, dilation=(2, 2))")
    assert (repr(Image()), repr(Dense(3))) == ("Image()", "Dense(features=3)")


def test_a_capped_relu_gives_nothing_back_at_either_end():
    """As torch's: of JAX's own minimum, half comes back where both are equal."""
    x = np.array([-1.0, 0.0, 3.0, 6.0, 7.0], np.float32)
    layer = Relu(6.0)
    assert layer({}, x).tolist() == [0, 0, 3, 6, 6]
    assert jax.grad(lambda x: layer({}, x).sum())(x).tolist() == [0, 0, 1, 0, 0]
