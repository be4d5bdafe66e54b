"""MobileNetV2 (Sandler et al. 2018). Batch norms are folded into the convolutions."""

from saliency.models.checkpoints import Source
from saliency.models.graph import Architecture
from saliency.models.zoo.inverted import Stage, inverted_residuals, parts

STAGES: tuple[Stage, ...] = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (3, 3, 2, 6, 32), (4, 3, 2, 6, 64), (3, 3, 1, 6, 96), (3, 3, 2, 6, 160),
    (1, 3, 1, 6, 320),
)  # fmt: skip


def mobilenetv2(
    stages: tuple[Stage, ...] = STAGES,
    ends: tuple[int, int] = (32, 1280),
    classes: int = 1000,
    size: tuple[int, int] = (224, 224),
) -> Architecture:
    """The layers are those of `inverted_residuals`; padded alike on all sides, as torchvision and timm do."""
    return inverted_residuals(stages, ends, classes, size, "mobilenetv2")


def torchvision_names(architecture: Architecture) -> dict[str, Source]:
    inside = parts(architecture)
    expanded = {block for block, part in inside.values() if part == "expand"}
    sources = {"conv_stem": Source("features.0.0", "features.0.1", bias=False)}
    for name, (block, part) in inside.items():
        first = f"features.{block + 1}.conv"
        place = {"expand": 0, "depthwise": int(block in expanded)}.get(part)
        if place is None:  # a convolution and its norm one after the other, not in a module of their own
            place = 1 + (block in expanded)
            sources[name] = Source(f"{first}.{place}", f"{first}.{place + 1}", bias=False)
        else:
            sources[name] = Source(f"{first}.{place}.0", f"{first}.{place}.1", bias=False)
    last = f"features.{1 + max(block for block, _ in inside.values()) + 1}"
    return sources | {"conv_head": Source(f"{last}.0", f"{last}.1", bias=False), "fc": Source("classifier.1")}
