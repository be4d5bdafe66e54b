"""Boxes by coverage beside the other routes, on real photos and on scenes: CorLoc, intervals and paired tests, one table.

Every choice (penalties, grid, context, layers, thresholds) is made inside the training folds, and all routes of a set
share the same folds. Activations and maps are made once and kept in `--cache` as float16.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from PIL import Image
from tqdm import tqdm

from localization.boxes import area
from localization.datasets import Dataset, load, scenes
from localization.features import pooled
from saliency import report
from saliency._files import write_arrays
from saliency._reading import read_tensors
from saliency.methods import METHODS
from saliency.models.network import Network
from saliency.models.weights import load_network
from saliency.scores import in_batches

CHUNK = 64  # photos in memory at once
SIDE = 56  # pixels of the maps that are kept
MAPS = ("gradient-max", "guided-backprop", "grad-cam")
LAYERS = {"squeezenet1_1": ("fire7", "fire9"), "scenes_cnn": ("relu3_2", "relu4_2")}
EFFICIENT_STAGES = (  # efficientnet-lite0: repeats, kernel, stride, expansion, features
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip
EFFICIENT_BLOCKS = ("block10", "block15")


@dataclass(frozen=True)
class Photos:
    """One data set's photos with the box that is learned, in shares of the photo, and all boxes of its class."""

    name: str
    images: Sequence[np.ndarray]
    target: np.ndarray
    true: list[np.ndarray]
    folds: np.ndarray


def scenes_photos(n_train: int, n_test: int) -> Photos:
    """The embedded set: what is tested is fold 0, what is learned from folds 1 to 5."""
    train, test = scenes("train", n_train), scenes("test", n_test)
    boxes = np.concatenate([train.boxes, test.boxes]) / train.images.shape[1]
    folds = np.concatenate([1 + np.arange(n_train) % 5, np.zeros(n_test, int)])
    return Photos("scenes", np.concatenate([train.images, test.images]), boxes, list(boxes[:, None]), folds)


def voc_photos(name: str, root: Path, split: str, classes: Sequence[str] | None = None) -> Photos:
    """Photos by ten folds; with `classes` those that show one object alone, and it of these classes."""
    data: Dataset = load("voc", root, split=split)
    if classes is not None:
        data = data.select([i for i, a in enumerate(data.annotations) if len(a.labels) == 1 and a.labels[0] in classes])
    target, true = [], []
    for annotation in data.annotations:
        shares = annotation.boxes / np.tile(annotation.size[::-1], 2)
        largest = int(area(shares).argmax())
        target.append(shares[largest])
        true.append(shares[[label == annotation.labels[largest] for label in annotation.labels]])
    folds = np.random.default_rng(0).permutation(len(data)) % 10
    return Photos(name, data.images, np.array(target), true, folds)


def features(photos: Photos, network: str, weights: Path | None, cache: Path, quiet: bool) -> dict[str, np.ndarray]:
    """Activations and maps by name: float16 `[n, h, w, c]` and `[n, h, w]`, made once."""
    path = cache / f"{photos.name}-{network}-{len(photos.images)}.npz"
    if not path.exists():
        made: dict[str, list[np.ndarray]] = {}
        source = efficient(weights) if network == "efficientnet_lite0" and weights else ours(network, weights)
        for i in tqdm(range(0, len(photos.images), CHUNK), desc=f"{photos.name} {network}", disable=quiet):
            for name, part in source(list(photos.images[i : i + CHUNK])):
                made.setdefault(name, []).append(part.astype(np.float16))
        write_arrays(path, {name: np.concatenate(parts) for name, parts in made.items()})
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def ours(network: str, weights: Path | None):
    """Chosen layers and maps of a network of the zoo, photos stretched; targets are the predicted classes."""
    net = load_network(network, weights)
    net.preprocess = net.preprocess.changed("stretch")
    names = (*MAPS, "activation", "gestalt-max") if network == "scenes_cnn" else MAPS

    def source(images: Sequence[np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
        x = net.preprocess(images)
        for layer, values in layers(net, x, LAYERS[network]).items():
            yield layer, values
        side = min(SIDE, x.shape[1] // 2)
        for name in names:
            maps = METHODS[name].maps(net, x)
            # a gradient's unit is arbitrary, and float16 has no room for small ones
            yield name, pooled(maps, (side, side)) / np.maximum(np.abs(maps).max((1, 2), keepdims=True), 1e-30)

    return source


def layers(net: Network, x: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Activations of several layers from one forward pass."""

    @jax.jit
    def forward(x: Array) -> dict[str, Array]:
        found = net.architecture.activations(net.weights, x, names[-1])
        return {name: found[name] for name in names}

    parts = in_batches(lambda i: np.concatenate([v.reshape(len(i), -1) for v in forward(x[i]).values()], 1), len(x), 8)
    shapes = net.architecture.shapes(*x.shape[1:3], names[-1])
    flat = np.concatenate(parts)[: len(x)]
    ends = np.cumsum([np.prod(shapes[name]) for name in names])[:-1]
    return {name: part.reshape(-1, *shapes[name]) for name, part in zip(names, np.split(flat, ends, axis=1))}


def efficient(weights: Path):
    """EfficientNet-Lite0's blocks 10 and 15, photos stretched to 224 px, bicubic, (pixel - 127) / 128."""
    tensors, _ = read_tensors(weights)
    forward = jax.jit(partial(efficient_forward, {name: jnp.asarray(value) for name, value in tensors.items()}))

    def source(images: Sequence[np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
        sized = [np.asarray(Image.fromarray(i).resize((224, 224), Image.Resampling.BICUBIC)) for i in images]
        x = (np.array(sized, np.float32) - 127) / 128
        made: dict[str, list[np.ndarray]] = {}
        for start in range(0, len(x), 8):
            found = forward(np.resize(x[start : start + 8], (8, *x.shape[1:])))
            for block in EFFICIENT_BLOCKS:
                made.setdefault(block, []).append(np.asarray(found[block])[: len(x) - start])
        yield from ((name, np.concatenate(parts)) for name, parts in made.items())

    return source


def efficient_forward(tensors: dict[str, Array], x: Array) -> dict[str, Array]:
    """Activations of each block, and the logits, for x `[n, h, w, 3]` (names of efficientnet_pytorch)."""

    def conv(x: Array, name: str, norm: str, stride: int = 1) -> Array:
        kernel = tensors[f"{name}.weight"].transpose(2, 3, 1, 0)
        groups = x.shape[-1] // kernel.shape[2]
        x = jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups
        )
        weight, bias, mean, variance = (
            tensors[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) * (weight * jax.lax.rsqrt(variance + 1e-3)) + bias

    relu6 = partial(jnp.clip, min=0, max=6)
    x = relu6(conv(x, "_conv_stem", "_bn0", 2))
    found: dict[str, Array] = {}
    for repeats, _kernel, stride, expansion, width in EFFICIENT_STAGES:
        for repeat in range(repeats):
            before, own = x, f"_blocks.{len(found)}."
            if expansion > 1:
                x = relu6(conv(x, f"{own}_expand_conv", f"{own}_bn0"))
            x = relu6(conv(x, f"{own}_depthwise_conv", f"{own}_bn1", 1 if repeat else stride))
            x = conv(x, f"{own}_project_conv", f"{own}_bn2")
            x = x + before if repeat and before.shape[-1] == width else x
            found[f"block{len(found)}"] = x
    x = relu6(conv(x, "_conv_head", "_bn1")).mean((1, 2))
    return {**found, "logits": x @ tensors["_fc.weight"].T + tensors["_fc.bias"]}
