"""Classifiers of flax as users write them, trained on digits that lie anywhere: their maps find the digit.

Every photo is a dark noisy canvas with one digit of known box; a map finds it where its maximum lies in the box. It is
set against random maps and against the same maps given to other photos, which no map of a constant place can beat.
Measured, in 200 photos (accuracy; maxima in the box, others' maps in brackets; random maps: 8.5%):

| | accuracy | gradient | Grad-CAM | occlusion |
|---|---|---|---|---|
| nnx | 92.5% | 89.5% (18.5) | 96.0% (15.5) | 82.0% (15.5) |
| linen | 94.5% | 83.0% (14.5) | 92.5% (15.0) | 90.0% (13.5) |
| ViT | 91.5% | 94.0% (13.5) | 21.5% (9.0) after the first block, 17.5% (7.0) after the second | 86.5% (14.5) |
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

from localization.datasets.moving_digits import moving_digits
from localization.statistics import mcnemar_exact
from saliency import from_flax, grad_cam, gradient_maps, occlusion_maps
from saliency.maps.controls import random_maps
from saliency.models.preprocessing import Preprocessing

SIZE = (32, 40)
PREPROCESS = Preprocessing(SIZE, "stretch", mean=(0.25,), std=(0.25,))
BATCH = 64
OPTIMISED = {"xla_backend_optimization_level": 3}  # the step of training, which runs hundreds of times

pytestmark = pytest.mark.slow


class Cnn(nnx.Module):
    """Batch norm, max-pools, the mean of all places."""

    def __init__(self, rngs: nnx.Rngs):
        sizes = (1, 16, 32, 48)
        self.convs = nnx.List([nnx.Conv(a, b, (3, 3), rngs=rngs) for a, b in pairwise(sizes)])
        self.norms = nnx.List([nnx.BatchNorm(b, rngs=rngs) for b in sizes[1:]])
        self.head = nnx.Linear(48, 10, rngs=rngs)

    def __call__(self, x):
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms)):
            x = nnx.relu(norm(conv(x)))
            x = nnx.max_pool(x, (2, 2), (2, 2)) if i < 2 else x
        return self.head(x.mean((1, 2)))


class Separable(linen.Module):
    """Strides, SiLU, layer norm over channels, a depthwise convolution, dropout, the maximum over all places."""

    @linen.compact
    def __call__(self, x, train: bool = True):
        for features in (16, 48):
            x = linen.LayerNorm()(linen.silu(linen.Conv(features, (3, 3), 2)(x)))
        x = linen.silu(linen.Conv(48, (3, 3), feature_group_count=48)(x))
        x = linen.relu(linen.Conv(64, (1, 1))(x))
        x = linen.Dropout(0.1, deterministic=not train)(x.max((1, 2)))
        return linen.Dense(10)(x)


class Block(nnx.Module):
    def __init__(self, width: int, rngs: nnx.Rngs):
        self.before, self.between = nnx.LayerNorm(width, rngs=rngs), nnx.LayerNorm(width, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(4, width, decode=False, rngs=rngs)
        self.up, self.down = nnx.Linear(width, 2 * width, rngs=rngs), nnx.Linear(2 * width, width, rngs=rngs)

    def __call__(self, x):
        x = x + self.attention(self.before(x))
        return x + self.down(nnx.gelu(self.up(self.between(x))))


class VisionTransformer(nnx.Module):
    """A stem of three convolutions (Xiao et al. 2021: they train faster than patches), three blocks, a token."""

    def __init__(self, rngs: nnx.Rngs, width: int = 48):
        sizes = (1, 16, 32, width)
        self.stem = nnx.List([nnx.Conv(a, b, (3, 3), 2, rngs=rngs) for a, b in pairwise(sizes)])
        self.token = nnx.Param(jnp.zeros((1, 1, width)))
        self.places = nnx.Param(0.1 * jax.random.normal(rngs.params(), (1, 21, width)))
        self.blocks = nnx.List([Block(width, rngs) for _ in range(3)])
        self.norm, self.head = nnx.LayerNorm(width, rngs=rngs), nnx.Linear(width, 10, rngs=rngs)

    def __call__(self, x):
        for i, conv in enumerate(self.stem):
            x = conv(nnx.gelu(x) if i else x)
        x = x.reshape(len(x), -1, x.shape[-1])
        x = jnp.concatenate([jnp.broadcast_to(self.token[...], (len(x), 1, x.shape[-1])), x], 1) + self.places[...]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


def photos(split: str, n: int, seed: int = 0):
    """Images `[n, h, w, 1]` as the networks take them, labels, boxes."""
    digits = moving_digits(split, n, frames=1, size=SIZE, seed=seed)
    noise = np.random.default_rng([seed, n]).integers(0, 64, (n, *SIZE, 1), np.uint8)
    return (
        PREPROCESS.normalise(np.maximum(digits.frames[:, 0, ..., :1], noise)),
        digits.labels[:, 0],
        digits.boxes[:, 0, 0],
    )


def batches(steps: int):
    x, labels, _ = photos("train", 6000)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        chosen = rng.integers(0, len(x), BATCH)
        yield x[chosen], labels[chosen]


def rule(steps: int):
    return optax.adamw(optax.cosine_onecycle_schedule(steps, 3e-3, pct_start=0.2), weight_decay=0.01)


def loss(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def trained_nnx(kind: Callable, steps: int):
    model = kind(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, rule(steps), wrt=nnx.Param)

    graph, state = nnx.split((model, optimizer))

    @partial(jax.jit, compiler_options=OPTIMISED)
    def step(state, x, labels):
        model, optimizer = nnx.merge(graph, state)
        optimizer.update(model, nnx.grad(lambda model: loss(model(x), labels))(model))
        return nnx.state((model, optimizer))

    for x, labels in batches(steps):
        state = step(state, x, labels)
    nnx.update((model, optimizer), state)
    return from_flax(model, size=SIZE, channels=1, preprocess=PREPROCESS)


def trained_linen(kind: Callable, steps: int):
    model, descent = kind(), rule(steps)
    variables = model.init(jax.random.key(0), jnp.zeros((1, *SIZE, 1)), train=False)

    @partial(jax.jit, compiler_options=OPTIMISED)
    def step(variables, state, x, labels, key):
        def of(variables):
            return loss(model.apply(variables, x, train=True, rngs={"dropout": key}), labels)

        updates, state = descent.update(jax.grad(of)(variables), state, variables)
        return optax.apply_updates(variables, updates), state

    state = descent.init(variables)
    for i, (x, labels) in enumerate(batches(steps)):
        variables, state = step(variables, state, x, labels, jax.random.key(i))
    return from_flax(model, variables, size=SIZE, channels=1, preprocess=PREPROCESS)


def inside(maps: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Whether each map's maximum lies in its photo's box (the pointing game, Zhang et al. 2016)."""
    rows, columns = np.unravel_index(maps.reshape(len(maps), -1).argmax(1), maps.shape[1:])
    x0, y0, x1, y1 = boxes.T
    return (x0 <= columns) & (columns < x1) & (y0 <= rows) & (rows < y1)


@pytest.mark.parametrize(
    "train, least, layer",
    [
        (partial(trained_nnx, Cnn, 400), 0.9, None),
        (partial(trained_linen, Separable, 400), 0.9, None),
        (partial(trained_nnx, VisionTransformer, 500), 0.8, "blocks.0"),  # later tokens have seen all others
    ],
    ids=["nnx", "linen", "vit"],
)
def test_maps_find_the_digit(train, least, layer):
    net = train()
    x, labels, boxes = photos("test", 200)
    accuracy = (np.asarray(net(x)).argmax(1) == labels).mean()
    maps = {
        "gradient": gradient_maps(net, x, target=labels),
        "grad-cam": grad_cam(net, x, target=labels, layer=layer),
        "occlusion": occlusion_maps(net, x, patch=8, stride=4, fill="mean", target=labels).maps,
    }
    print(f"\naccuracy {accuracy:.3f}; box {np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).mean() / np.prod(SIZE):.3f}")
    random = inside(random_maps(x), boxes)
    for name, found in maps.items():
        own, others = inside(found, boxes), inside(np.roll(found, 1, axis=0), boxes)
        print(f"{name}: {own.mean():.3f}, others' {others.mean():.3f}, random {random.mean():.3f}")
    assert accuracy >= least
    for found in maps.values():
        own, others = inside(found, boxes), inside(np.roll(found, 1, axis=0), boxes)
        for control in (others, random):
            assert own.mean() > control.mean() and mcnemar_exact(own, control).p < 0.01
