"""Training the embedded classifier of scenes: with batch norm, which is folded away in the end."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from localization.datasets.scenes import Scenes, scenes
from localization.options.scenes import Training
from saliency.maps.gradient import Progress
from saliency.models.network import Network
from saliency.models.operators.fast_gradient import convolve
from saliency.models.preprocessing import Preprocessing
from saliency.models.zoo.scenes_cnn import BLOCKS, CLASSES, scenes_cnn

PREPROCESSING = Preprocessing((96, 96), mode="stretch", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def train_scenes(training: Training, progress: Progress | None = None) -> Network:
    """The classifier of the embedded data set, from scratch; `progress(done, total)` counts steps."""
    steps = training.epochs * (training.scenes // training.batch)
    model = Classifier(nnx.Rngs(training.seed))
    schedule = optax.cosine_onecycle_schedule(steps, training.rate, pct_start=0.2)
    optimizer = nnx.Optimizer(model, optax.adamw(schedule, weight_decay=0.01), wrt=nnx.Param)
    rng, done = np.random.default_rng(training.seed), 0
    for data in _prefetched(training):
        order = rng.permutation(len(data))
        for i in range(training.scenes // training.batch):
            batch = order[i * training.batch : (i + 1) * training.batch]
            _step(model, optimizer, PREPROCESSING(data.images[batch]), data.labels[batch])
            done += 1
            if progress:
                progress(done, steps)
    model.eval()
    return _folded(model)


def accuracy(net: Network, split: str, n: int = 3000, seed: int = 0) -> float:
    data = scenes(split, n, seed)
    logits = nnx.jit(lambda net, x: net(x))
    right = [
        np.argmax(logits(net, net.preprocess(data.images[i : i + 100])), -1) == data.labels[i : i + 100]
        for i in range(0, n, 100)
    ]
    return float(np.mean(np.concatenate(right)))


class Classifier(nnx.Module):
    """The same stack as `saliency.models.zoo.scenes_cnn`, with batch norm after each convolution."""

    def __init__(self, rngs: nnx.Rngs):
        widths = [3, *(features for block in BLOCKS for features in block)]
        self.convs = nnx.List(
            nnx.Conv(
                inside, outside, (3, 3), rngs=rngs, conv_general_dilated=lambda x, kernel, *_, **__: convolve(x, kernel)
            )
            for inside, outside in pairwise(widths)
        )
        self.norms = nnx.List(nnx.BatchNorm(width, momentum=0.95, rngs=rngs) for width in widths[1:])
        self.head = nnx.Linear(widths[-1], CLASSES, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        layers = iter(zip(self.convs, self.norms))
        for i, block in enumerate(BLOCKS):
            if i:
                x = jnp.maximum(
                    jnp.maximum(x[:, ::2, ::2], x[:, 1::2, ::2]), jnp.maximum(x[:, ::2, 1::2], x[:, 1::2, 1::2])
                )
            for _ in block:
                conv, norm = next(layers)
                x = jax.nn.relu(norm(conv(x)))
        return self.head(x.max((1, 2)))


@nnx.jit
def _step(model: Classifier, optimizer: nnx.Optimizer, x: ArrayLike, labels: ArrayLike) -> Array:
    def loss(model: Classifier) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(jnp.asarray(x)), labels).mean()

    value, grads = nnx.value_and_grad(loss)(model)
    optimizer.update(model, grads)
    return value


def _prefetched(training: Training) -> Iterator[Scenes]:
    """Each epoch's scenes, the next epoch's drawn while this one's are learned from."""
    with ThreadPoolExecutor(1) as pool:
        drawn = pool.submit(scenes, "train", training.scenes, training.seed)
        for epoch in range(1, training.epochs + 1):
            data = drawn.result()
            if epoch < training.epochs:
                drawn = pool.submit(scenes, "train", training.scenes, training.seed + epoch)
            yield data


def _folded(model: Classifier) -> Network:
    """The plain conv-relu-pool network of the same function: each norm's scale and shift put into its convolution."""
    architecture = scenes_cnn()
    names = [name for name in architecture.parameter_shapes() if name != "logits"]
    weights = {}
    for name, conv, norm in zip(names, model.convs, model.norms):
        assert norm.scale is not None and norm.bias is not None and conv.bias is not None
        gain = norm.scale.get_value() / jnp.sqrt(norm.var.get_value() + norm.epsilon)
        weights[name] = {
            "kernel": conv.kernel.get_value() * gain,
            "bias": (conv.bias.get_value() - norm.mean.get_value()) * gain + norm.bias.get_value(),
        }
    assert model.head.bias is not None
    weights["logits"] = {"kernel": model.head.kernel.get_value(), "bias": model.head.bias.get_value()}
    return Network(architecture, weights, PREPROCESSING, classes=[str(digit) for digit in range(CLASSES)])
