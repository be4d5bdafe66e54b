"""EfficientNet-Lite (Liu 2020, after Tan & Le 2019): no squeeze-and-excitation, ReLU6. Batch norms are folded."""

from functools import partial
from math import ceil

from saliency.models.checkpoints import Source
from saliency.models.graph import Architecture
from saliency.models.zoo.inverted import Stage, inverted_residuals, parts

STAGES: tuple[Stage, ...] = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip
ENDS = (32, 1280)  # whatever the width


def efficientnet_lite0(
    stages: tuple[Stage, ...] = STAGES,
    ends: tuple[int, int] = ENDS,
    classes: int = 1000,
    size: tuple[int, int] = (224, 224),
    name: str = "efficientnet_lite0",
) -> Architecture:
    """As TensorFlow trained it, padded accordingly; the layers are those of `inverted_residuals`."""
    return inverted_residuals(stages, ends, classes, size, name, same=True)


def efficientnet_lite0_ra(
    stages: tuple[Stage, ...] = STAGES,
    ends: tuple[int, int] = ENDS,
    classes: int = 1000,
    size: tuple[int, int] = (224, 224),
) -> Architecture:
    """As timm trained it under the name efficientnet_lite0: padded alike on all sides."""
    return inverted_residuals(stages, ends, classes, size, "efficientnet_lite0_ra")


def scaled(width: float, depth: float) -> tuple[Stage, ...]:
    """Features rounded to multiples of 8, repeats up; the first and the last stage are never repeated."""
    stages = []
    for i, (repeats, kernel, stride, expansion, features) in enumerate(STAGES):
        rounded = max(8, int(features * width + 4) // 8 * 8)
        rounded += 8 * (rounded < 0.9 * features * width)
        count = repeats if i in (0, len(STAGES) - 1) else ceil(depth * repeats)
        stages.append((count, kernel, stride, expansion, rounded))
    return tuple(stages)


efficientnet_lite1, efficientnet_lite2, efficientnet_lite3, efficientnet_lite4 = (
    partial(efficientnet_lite0, scaled(width, depth), size=(side, side), name=f"efficientnet_lite{i}")
    for i, (width, depth, side) in enumerate(((1.0, 1.1, 240), (1.1, 1.2, 260), (1.2, 1.4, 280), (1.4, 1.8, 300)), 1)
)


def pytorch_names(architecture: Architecture) -> dict[str, Source]:
    """efficientnet_pytorch's."""
    modules = {"expand": ("_expand_conv", "_bn0"), "depthwise": ("_depthwise_conv", "_bn1"),
               "project": ("_project_conv", "_bn2")}  # fmt: skip
    sources = {"conv_stem": Source("_conv_stem", "_bn0", bias=False)}
    for name, (block, part) in parts(architecture).items():
        kernel, norm = (f"_blocks.{block}.{module}" for module in modules[part])
        sources[name] = Source(kernel, norm, bias=False)
    return sources | {"conv_head": Source("_conv_head", "_bn1", bias=False), "fc": Source("_fc")}
