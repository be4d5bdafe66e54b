"""A network that only the benchmark reads: VGG16's convolutions by themselves."""

from pathlib import Path

import numpy as np

from saliency._reading import read_tensors
from saliency.models.graph import Architecture, Node
from saliency.models.network import Network
from saliency.models.operators import GlobalAvgPool
from saliency.models.zoo.catalogue import TORCHVISION
from saliency.models.zoo.vgg import vgg16


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
