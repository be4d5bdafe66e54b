"""What training needs on a CPU: a convolution whose weight gradient is fast, and a loop with augmentations."""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array, lax

from saliency.models.graph import Architecture, Weights
from saliency.models.network import Network
from saliency.models.operators import Conv
from saliency.models.preprocessing import Preprocessing
from saliency.robustness.augment import Augmentation, augment
from saliency.scores import class_count


@jax.custom_vjp
def convolve(x: Array, kernel: Array) -> Array:
    """3x3 convolution, stride 1, same size, whose weight gradient is nine products: XLA's own is slow on CPU."""
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return convolve(x, kernel), (x, kernel)


def _backward(saved: tuple[Array, Array], up: Array) -> tuple[Array, Array]:
    x, kernel = saved
    _, height, width, channels = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    up_flat = up.reshape(-1, up.shape[-1])
    products = [
        padded[:, i : i + height, j : j + width].reshape(-1, channels).T @ up_flat for i in range(3) for j in range(3)
    ]
    return convolve(up, jnp.flip(kernel, (0, 1)).swapaxes(2, 3)), jnp.stack(products).reshape(kernel.shape)


convolve.defvjp(_forward, _backward)


@dataclass(frozen=True)
class TrainedConv(Conv):
    """A 3x3 convolution of the same size, computed by `convolve`."""

    def convolve(self, kernel: Array, x: Array) -> Array:
        return convolve(x, kernel)


def for_training(architecture: Architecture) -> Architecture:
    """The same network, its 3x3 convolutions of stride 1 with the fast weight gradient."""
    nodes = tuple(
        replace(node, layer=TrainedConv(*astuple(node.layer)))
        if isinstance(node.layer, Conv) and node.layer == Conv(node.layer.features, (3, 3), padding=((1, 1), (1, 1)))
        else node
        for node in architecture.nodes
    )
    return replace(architecture, nodes=nodes)


def untrained(architecture: Architecture, preprocess: Preprocessing, seed: int, classes: Sequence[str] = ()) -> Network:
    """Random weights (He et al. 2015), biases 0."""
    keys = nnx.Rngs(seed)
    initial = {"kernel": nnx.initializers.he_normal(), "bias": nnx.initializers.zeros_init()}
    weights = {
        layer: {name: initial[name](keys(), shape) for name, shape in shapes.items()}
        for layer, shapes in architecture.parameter_shapes().items()
    }
    return Network(architecture, weights, preprocess, classes=classes)


def train(
    net: Network,
    images: np.ndarray,
    labels: np.ndarray,
    augmentation: Augmentation | None = None,
    *,
    epochs: int,
    batch: int = 64,
    rate: float = 3e-3,
    fill: float | np.ndarray = 0.0,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> Network:
    """A copy of `net`, trained on pixels uint8 `[n, h, w, 3]` and labels `[n]`; every batch is augmented anew.

    The batches depend on the seed alone, so that networks with different augmentations see the same images in the same
    order. `fill` is stated in normalised units. `progress(step, loss)` is told of every step.
    """
    steps = epochs * (len(images) // batch)
    architecture, rule = for_training(net.architecture), _rule(steps, rate)
    weights, state = net.weights, rule.init(net.weights)
    rng, key = np.random.default_rng(seed), jax.random.key(seed)
    order = np.concatenate([rng.permutation(len(images))[: len(images) // batch * batch] for _ in range(epochs)])
    for i, chosen in enumerate(order.reshape(steps, batch)):
        x = jnp.asarray(net.preprocess.normalise(images[chosen]))
        y = jax.nn.one_hot(labels[chosen], class_count(net.architecture))
        if augmentation:  # compiled by itself: within the step, XLA took minutes over some of them
            x, y, *_ = augment(augmentation, jax.random.fold_in(key, i), x, y, fill=fill)
        weights, state, loss = _step(weights, state, x, y, architecture=architecture, rule=rule)
        if progress:
            progress(i, float(loss))
    return Network(net.architecture, weights, net.preprocess, classes=net.classes)


@cache
def _rule(steps: int, rate: float) -> optax.GradientTransformation:
    """One object for one setting, so that trainings that differ in their images alone share a compilation."""
    return optax.adamw(optax.cosine_onecycle_schedule(steps, rate, pct_start=0.2), weight_decay=0.01)


@partial(jax.jit, static_argnames=("architecture", "rule"))
def _step(
    weights: Weights,
    state: optax.OptState,
    x: Array,
    y: Array,
    *,
    architecture: Architecture,
    rule: optax.GradientTransformation,
) -> tuple[Weights, optax.OptState, Array]:
    def loss(weights: Weights) -> Array:
        return optax.softmax_cross_entropy(architecture.upto(weights, x), y).mean()

    value, gradient = jax.value_and_grad(loss)(weights)
    updates, state = rule.update(gradient, state, weights)
    return optax.apply_updates(weights, updates), state, value
