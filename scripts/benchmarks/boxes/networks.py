"""Networks that only the benchmark reads: EfficientNet-Lite0, and VGG16's convolutions by themselves."""

from functools import partial, reduce
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from PIL import Image

from saliency._reading import read_tensors
from saliency.models.checkpoints import TORCHVISION
from saliency.models.graph import Architecture, Node
from saliency.models.network import Network
from saliency.models.operators import GlobalAvgPool
from saliency.models.zoo.vgg import vgg16

EFFICIENT_STAGES = (  # efficientnet-lite0: repeats, kernel, stride, expansion, features
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip


def vgg16_features(weights: Path | str) -> Network:
    """VGG16's thirteen convolutions without its classifier, photos stretched; its last layer is relu5_3's mean.

    For `--network scripts.benchmarks.boxes.networks:vgg16_features --weights FILE`, the file in torchvision's names.
    """
    tensors, _ = read_tensors(weights)
    whole = vgg16()
    nodes = whole.nodes[: 1 + [node.name for node in whole.nodes].index(whole.gestalt_layer)]
    architecture = Architecture(
        "vgg16_features", (*nodes, Node("mean", GlobalAvgPool(), (nodes[-1].name,))), whole.gestalt_layer, whole.size
    )
    modules = sorted({int(name.split(".")[1]) for name in tensors if name.startswith("features.")})
    layers = [node.name for node in nodes if node.name.startswith("conv")]
    parameters = {
        layer: {
            "kernel": tensors[f"features.{module}.weight"].astype(np.float32).transpose(2, 3, 1, 0),
            "bias": tensors[f"features.{module}.bias"].astype(np.float32),
        }
        for layer, module in zip(layers, modules, strict=True)
    }
    return Network(architecture, parameters, TORCHVISION.changed("stretch"))


def efficient_input(images: list[np.ndarray], side: int = 224) -> Float[np.ndarray, "n h w 3"]:
    """Photos stretched to a square, bicubic, (pixel - 127) / 128."""
    sized = [np.asarray(Image.fromarray(i).resize((side, side), Image.Resampling.BICUBIC)) for i in images]
    return (np.array(sized, np.float32) - 127) / 128


def efficient_forward(tensors: dict[str, Array], x: Array, start: int = 0) -> dict[str, Array]:
    """Activations of each block, of the last convolution ("head"), and the logits, for x `[n, h, w, 3]` (names of
    efficientnet_pytorch). With `start`, x is the activation of block start - 1."""
    found: dict[str, Array] = {}
    x = x if start else relu6(_conv(tensors, x, "_conv_stem", "_bn0", 2))
    number = 0
    for repeats, _kernel, stride, expansion, width in EFFICIENT_STAGES:
        for repeat in range(repeats):
            if number >= start:
                before, own = x, f"_blocks.{number}."
                if expansion > 1:
                    x = relu6(_conv(tensors, x, f"{own}_expand_conv", f"{own}_bn0"))
                x = relu6(_conv(tensors, x, f"{own}_depthwise_conv", f"{own}_bn1", 1 if repeat else stride))
                x = _conv(tensors, x, f"{own}_project_conv", f"{own}_bn2")
                x = x + before if repeat and before.shape[-1] == width else x
                found[f"block{number}"] = x
            number += 1
    head = relu6(_conv(tensors, x, "_conv_head", "_bn1"))
    return {**found, "head": head, "logits": head.mean((1, 2)) @ tensors["_fc.weight"].T + tensors["_fc.bias"]}


relu6 = partial(jnp.clip, min=0, max=6)


def _conv(tensors: dict[str, Array], x: Array, name: str, norm: str, stride: int = 1) -> Array:
    kernel = tensors[f"{name}.weight"].transpose(2, 3, 1, 0)
    if kernel.shape[2] < x.shape[-1]:
        x = _depthwise(x, kernel[:, :, 0], stride)
    else:
        x = jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    weight, bias, mean, variance = (
        tensors[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) * (weight * jax.lax.rsqrt(variance + 1e-3)) + bias


def _depthwise(x: Float[Array, "n h w c"], kernel: Float[Array, "k k c"], stride: int) -> Array:
    """A sum of shifted images, TensorFlow's SAME padding: on a CPU five times as fast as XLA's grouped convolution."""
    k = len(kernel)
    sides = [-(-side // stride) for side in x.shape[1:3]]
    pads = [max((out - 1) * stride + k - side, 0) for out, side in zip(sides, x.shape[1:3])]
    x = jnp.pad(x, ((0, 0), *((pad // 2, pad - pad // 2) for pad in pads), (0, 0)))
    rows, columns = ((out - 1) * stride + 1 for out in sides)
    shifted = (x[:, i : i + rows : stride, j : j + columns : stride] * kernel[i, j] for i in range(k) for j in range(k))
    return reduce(jnp.add, shifted)
