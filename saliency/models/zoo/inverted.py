"""Inverted residuals (Sandler et al. 2018) as MobileNetV2 and EfficientNet-Lite have them, and their names."""

from saliency.models.checkpoints import Source
from saliency.models.graph import Architecture, Builder
from saliency.models.operators import Add, Conv, Dense, GlobalAvgPool, Relu

Stage = tuple[int, int, int, int, int]  # repeats, kernel, stride, expansion, features
RELU6 = Relu(6.0)


def inverted_residuals(
    stages: tuple[Stage, ...],
    ends: tuple[int, int],
    classes: int,
    size: tuple[int, int],
    name: str,
    *,
    same: bool = False,
) -> Architecture:
    """conv_stem, relu_stem, block0, block1, ..., conv_head, relu_head, pool, fc; `ends` are the features of the first
    and the last convolution.

    `block3` is a block's output; inside it are block3_expand, _relu1, _depthwise, _relu2 and, where a skip connection
    goes round the block, _project; elsewhere the projection is the block's output. With `same`, convolutions are padded
    as TensorFlow pads them for images of `size`: at the bottom and right more, where it must be.
    """
    build = Builder()
    sides, inside = size, 3

    def convolve(label: str, features: int, kernel: int, stride: int, groups: int = 1) -> str:
        nonlocal sides, inside
        above, beside = (_padding(side, kernel, stride, same) for side in sides)
        conv = Conv(features, (kernel, kernel), (stride, stride), (above, beside), groups)
        height, width, inside = conv.shape((*sides, inside))
        sides = height, width
        return build.add(label, conv)

    convolve("conv_stem", ends[0], 3, 2)
    build.add("relu_stem", RELU6)
    index = 0
    for repeats, kernel, stride, expansion, features in stages:
        for repeat in range(repeats):
            block, entered, before = f"block{index}", inside, build.nodes[-1].name
            step = 1 if repeat else stride
            if expansion > 1:
                convolve(f"{block}_expand", inside * expansion, 1, 1)
                build.add(f"{block}_relu1", RELU6)
            convolve(f"{block}_depthwise", inside, kernel, step, inside)
            build.add(f"{block}_relu2", RELU6)
            skips = step == 1 and entered == features
            projected = convolve(f"{block}_project" if skips else block, features, 1, 1)
            if skips:
                build.add(block, Add(), projected, before)
            index += 1
    convolve("conv_head", ends[1], 1, 1)
    build.add("relu_head", RELU6)
    build.add("pool", GlobalAvgPool())
    build.add("fc", Dense(classes))
    return Architecture(name, tuple(build.nodes), "relu_head", size)


def _padding(side: int, kernel: int, stride: int, same: bool) -> tuple[int, int]:
    if not same:
        return kernel // 2, kernel // 2
    total = max(0, (-(-side // stride) - 1) * stride + kernel - side)
    return total // 2, total - total // 2


def parts(architecture: Architecture) -> dict[str, tuple[int, str]]:
    """Each convolution within a block: the block's number, and "expand", "depthwise" or "project"."""
    found = {}
    for name in architecture.parameter_shapes():
        if name.startswith("block"):
            block, _, part = name.removeprefix("block").partition("_")
            found[name] = int(block), part or "project"
    return found


def timm_names(architecture: Architecture) -> dict[str, Source]:
    """blocks.STAGE.REPEAT: in a stage, all blocks but the first are bypassed by a skip connection."""
    inside = parts(architecture)
    expanded = {block for block, part in inside.values() if part == "expand"}
    sources, stage, repeat, last = {"conv_stem": Source("conv_stem", "bn1", bias=False)}, -1, 0, -1
    for name, (block, part) in inside.items():
        if block != last:
            skips = f"block{block}_project" in architecture.by_name
            stage, repeat, last = (stage, repeat + 1, block) if skips else (stage + 1, 0, block)
        with_expansion = {"expand": ("conv_pw", "bn1"), "depthwise": ("conv_dw", "bn2"), "project": ("conv_pwl", "bn3")}
        without = {"depthwise": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")}
        kernel, norm = (with_expansion if block in expanded else without)[part]
        sources[name] = Source(f"blocks.{stage}.{repeat}.{kernel}", f"blocks.{stage}.{repeat}.{norm}", bias=False)
    return sources | {"conv_head": Source("conv_head", "bn2", bias=False), "fc": Source("classifier")}
