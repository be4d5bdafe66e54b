"""Training classifiers with occlusions, on a CPU too: a convolution whose weight gradient is fast, and the loop."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Int, UInt8

from saliency._checks import folder as as_folder
from saliency._checks import function, kind_of, number, texts, whole
from saliency.errors import InputError
from saliency.maps.gradient import Progress
from saliency.models.graph import Architecture, Weights
from saliency.models.network import Network
from saliency.models.preprocessing import Preprocessing
from saliency.report import content_hash
from saliency.robustness.augment import Augmentation, as_augmentation, augment
from saliency.robustness.parts import SCHEMA, Parts
from saliency.scores import class_count

if TYPE_CHECKING:
    import optax

PLAIN = "plain"
BATCH = 64


def for_training(architecture: Architecture) -> Architecture:
    """The same network, each operator in the form that is best to train."""
    return replace(architecture, nodes=tuple(replace(n, layer=n.layer.for_training()) for n in architecture.nodes))


def untrained(architecture: Architecture, preprocess: Preprocessing, seed: int, classes: Sequence[str] = ()) -> Network:
    """Random weights (He et al. 2015), biases 0."""
    from flax import nnx

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
    batch: int = BATCH,
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
def _rule(steps: int, rate: float) -> "optax.GradientTransformation":
    """One object for one setting, so that trainings that differ in their images alone share a compilation."""
    import optax

    return optax.adamw(optax.cosine_onecycle_schedule(steps, rate, pct_start=0.2), weight_decay=0.01)


@partial(jax.jit, static_argnames=("architecture", "rule"))
def _step(
    weights: Weights,
    state: "optax.OptState",
    x: Array,
    y: Array,
    *,
    architecture: Architecture,
    rule: "optax.GradientTransformation",
) -> tuple[Weights, "optax.OptState", Array]:
    import optax

    def loss(weights: Weights) -> Array:
        return optax.softmax_cross_entropy(architecture.upto(weights, x), y).mean()

    value, gradient = jax.value_and_grad(loss)(weights)
    updates, state = rule.update(gradient, state, weights)
    return optax.apply_updates(weights, updates), state, value


def train_each(
    net: Network,
    images: UInt8[np.ndarray, "n h w 3"],
    labels: Int[np.ndarray, " n"],
    augmentations: Sequence[str],
    *,
    epochs: int,
    rate: float = 3e-3,
    fill: float | np.ndarray = 0.0,
    seed: int = 0,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Network]:
    """Copies of `net`, trained alike but for the augmentation: "plain", which has none, first, then each by its name.

    The arguments are those of `train`. `progress(done, total)` counts steps of all trainings together. With a `folder`,
    finished networks are kept in it, and found again by the content of all that entered them. Raises InputError for an
    unknown augmentation and fewer images than a batch.
    """
    kind_of("net", net, Network, "as load_network gives it")
    function("progress", progress, "(done, total)")
    texts("augmentations", augmentations)
    names = list(dict.fromkeys([PLAIN, *augmentations]))
    chosen = {name: as_augmentation(name) for name in names}
    whole("epochs", epochs, least=1)
    whole("seed", seed)
    number("rate", rate, above=0)
    images, labels, classes = np.asarray(images), np.asarray(labels), class_count(net.architecture)
    if images.ndim != 4 or images.dtype != np.uint8 or len(images) < BATCH:
        raise InputError(
            f"images must be at least {BATCH}, as uint8 [n, h, w, 3], not {images.dtype} {list(images.shape)}"
        )
    if (
        labels.shape != images.shape[:1]
        or labels.dtype.kind not in "iu"
        or not ((labels >= 0) & (labels < classes)).all()
    ):
        raise InputError(f"labels must be a class index 0..{classes - 1} for each of the {len(images)} images")
    if np.size(fill) not in (1, 3) or not np.isfinite(fill).all():
        raise InputError(f"fill must be one finite number or three, in normalised units, not {fill!r}")
    folder = as_folder("folder", folder)
    parts, steps = Parts(folder), epochs * (len(images) // BATCH)
    known = content_hash(SCHEMA, net.digest, net.preprocess, images, labels, epochs, rate, np.asarray(fill), seed)

    def flat(name: str, before: int) -> dict[str, np.ndarray]:
        trained = train(
            net, images, labels, chosen[name], epochs=epochs, rate=rate, fill=fill, seed=seed,
            progress=(lambda step, loss: progress(before + step + 1, steps * len(names))) if progress else None,
        )  # fmt: skip
        return {f"{layer}.{p}": np.asarray(v) for layer, values in trained.weights.items() for p, v in values.items()}

    nets = {}
    for i, (name, augmentation) in enumerate(chosen.items()):
        tensors = parts.get(
            f"network-{name}",
            content_hash(known, repr(augmentation)),
            lambda n=name, b=i * steps: flat(n, b),  # type: ignore[misc]
        )
        nets[name] = _with(net, tensors)
        if progress:
            progress((i + 1) * steps, steps * len(names))
    return nets


def _with(net: Network, tensors: Mapping[str, np.ndarray]) -> Network:
    """The same network with other weights, named `layer.parameter`."""
    weights: dict[str, dict[str, np.ndarray]] = {}
    for tensor, value in tensors.items():
        layer, _, parameter = tensor.rpartition(".")
        weights.setdefault(layer, {})[parameter] = value
    return Network(net.architecture, weights, net.preprocess, classes=net.classes)
