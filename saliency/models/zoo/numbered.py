"""The names of networks whose convolutions torchvision numbers within `features`: VGG and AlexNet."""

from collections.abc import Callable

from saliency.models.checkpoints import Source
from saliency.models.graph import Architecture


def _features(architecture: Architecture, step: int) -> dict[str, int]:
    """Index of each convolution in torchvision's `features`, in which each takes `step` places (2 with its norm)."""
    indices, index = {}, 0
    for name, layer in architecture.layers.items():
        if layer.one_size:
            break
        if layer.weighted:
            indices[name] = index
        index += step if layer.weighted else 1
    return indices


def numbered(*head: str, norm: bool = False) -> Callable[[Architecture], dict[str, Source]]:
    """VGG and AlexNet: numbered `features`, and the modules that hold fc6, fc7 and fc8."""

    def sources(architecture: Architecture) -> dict[str, Source]:
        convs = {
            name: Source(f"features.{i}", f"features.{i + 1}" if norm else None)
            for name, i in _features(architecture, 2 if norm else 1).items()
        }
        return convs | {name: Source(module) for name, module in zip(("fc6", "fc7", "fc8"), head)}

    return sources
