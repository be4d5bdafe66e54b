"""Train the embedded scenes classifier, fold its batch norm away, and write `data/scenes_cnn.safetensors`."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from flax import nnx
from jax import Array
from jax.typing import ArrayLike
from tqdm import tqdm

from localization.datasets.scenes import Scenes, scenes
from saliency.models.network import Network
from saliency.models.preprocessing import Preprocessing
from saliency.models.weights import save_network
from saliency.models.zoo.scenes_cnn import BLOCKS, CLASSES, scenes_cnn
from saliency.report import versions
from scripts import cli
from scripts.training import convolve

PREPROCESSING = Preprocessing((96, 96), mode="stretch", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


@dataclass(frozen=True)
class Options:
    """Train the classifier of the embedded data set."""

    out: Path = Path("data/scenes_cnn.safetensors")
    """Where the weights go; provenance goes beside them as .json."""
    epochs: int = 10
    """Passes over as many scenes, drawn anew each time."""
    scenes: int = 12_000
    """Scenes an epoch."""
    batch: int = 64
    rate: float = 3e-3
    """Peak learning rate of AdamW."""
    seed: int = 0
    quiet: bool = False


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
def step(model: Classifier, optimizer: nnx.Optimizer, x: ArrayLike, labels: ArrayLike) -> Array:
    def loss(model: Classifier) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(jnp.asarray(x)), labels).mean()

    value, grads = nnx.value_and_grad(loss)(model)
    optimizer.update(model, grads)
    return value


def drawn_ahead(options: Options) -> Iterator[Scenes]:
    """Each epoch's scenes, the next epoch's drawn while this one's are learned from."""
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(scenes, "train", options.scenes, options.seed)
        for epoch in range(1, options.epochs + 1):
            data = ahead.result()
            if epoch < options.epochs:
                ahead = pool.submit(scenes, "train", options.scenes, options.seed + epoch)
            yield data


def folded(model: Classifier) -> Network:
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


def accuracy(net: Network, split: str, n: int = 3000, seed: int = 0) -> float:
    data = scenes(split, n, seed)
    logits = nnx.jit(lambda net, x: net(x))
    right = [
        np.argmax(logits(net, net.preprocess(data.images[i : i + 100])), -1) == data.labels[i : i + 100]
        for i in range(0, n, 100)
    ]
    return float(np.mean(np.concatenate(right)))


def main(options: Options) -> int:
    start = time.time()
    steps = options.epochs * (options.scenes // options.batch)
    model = Classifier(nnx.Rngs(options.seed))
    schedule = optax.cosine_onecycle_schedule(steps, options.rate, pct_start=0.2)
    optimizer = nnx.Optimizer(model, optax.adamw(schedule, weight_decay=0.01), wrt=nnx.Param)
    rng = np.random.default_rng(options.seed)
    progress = tqdm(total=steps, unit="step", disable=cli.silent(options.quiet))
    for epoch, data in enumerate(drawn_ahead(options)):
        order = rng.permutation(len(data))
        for i in range(options.scenes // options.batch):
            batch = order[i * options.batch : (i + 1) * options.batch]
            loss = step(model, optimizer, PREPROCESSING(data.images[batch]), data.labels[batch])
            progress.update()
            if i % 20 == 0:
                progress.set_postfix(epoch=epoch, loss=f"{float(loss):.3f}")
    progress.close()
    model.eval()
    net = folded(model)
    figures = {split: accuracy(net, split) for split in ("val", "test")}
    provenance = {
        "command": f"python -m scripts.train_classifier --epochs {options.epochs} --scenes {options.scenes}"
        f" --batch {options.batch} --rate {options.rate} --seed {options.seed}",
        "accuracy": figures,
        "accuracy_scenes": 3000,
        "minutes": round((time.time() - start) / 60, 1),
        "versions": versions(),
    }
    save_network(net, options.out, provenance)
    print(f"accuracy on 3000 val scenes {figures['val']:.1%}, test {figures['test']:.1%}; wrote {options.out}")
    return 0


if __name__ == "__main__":
    cli.run(main, tyro.cli(Options))
