"""ResNet (He et al. 2016), batch norm folded into the convolutions: no size-bound dense layer."""

from saliency.models.checkpoints import Source
from saliency.models.graph import Architecture, Builder
from saliency.models.operators import Add, Conv, Dense, GlobalAvgPool, MaxPool, Relu

EXPANSION = 4  # a bottleneck's output features over its inner ones


def resnet50(
    widths: tuple[int, ...] = (64, 128, 256, 512),
    blocks: tuple[int, ...] = (3, 4, 6, 3),
    classes: int = 1000,
    size: tuple[int, int] = (224, 224),
    name: str = "resnet50",
) -> Architecture:
    """v1.5: a stage's stride sits on its first 3x3 convolution.

    conv1, relu1, pool1, layer1_0 ... layer4_2, avgpool, fc. `layer1_0` is a block's output; inside it are
    layer1_0_conv1, _relu1, _conv2, _relu2, _conv3, _downsample (a stage's first block only) and _add.
    """
    return _resnet(widths, blocks, classes, size, name, stride_at=2)


def resnet101(
    widths: tuple[int, ...] = (64, 128, 256, 512),
    blocks: tuple[int, ...] = (3, 4, 23, 3),
    classes: int = 1000,
    size: tuple[int, int] = (224, 224),
) -> Architecture:
    """The layers are those of `resnet50`."""
    return _resnet(widths, blocks, classes, size, "resnet101", stride_at=2)


def resnet18(
    widths: tuple[int, ...] = (64, 128, 256, 512),
    blocks: tuple[int, ...] = (2, 2, 2, 2),
    classes: int = 1000,
    size: tuple[int, int] = (224, 224),
    name: str = "resnet18",
) -> Architecture:
    """Blocks of two 3x3 convolutions: layer1_0_conv1, _relu1, _conv2, _downsample (where a stage changes height, width
    or features) and _add."""
    return _resnet(widths, blocks, classes, size, name, stride_at=1, bottleneck=False)


def resnet34(
    widths: tuple[int, ...] = (64, 128, 256, 512),
    blocks: tuple[int, ...] = (3, 4, 6, 3),
    classes: int = 1000,
    size: tuple[int, int] = (224, 224),
) -> Architecture:
    """The layers are those of `resnet18`."""
    return resnet18(widths, blocks, classes, size, "resnet34")


def resnet50_v1(
    widths: tuple[int, ...] = (64, 128, 256, 512),
    blocks: tuple[int, ...] = (3, 4, 6, 3),
    classes: int = 1000,
    size: tuple[int, int] = (224, 224),
    name: str = "resnet50_v1",
) -> Architecture:
    """The paper's own, which Keras has: the stride sits on the first 1x1 convolution."""
    return _resnet(widths, blocks, classes, size, name, stride_at=1)


def _resnet(
    widths: tuple[int, ...],
    blocks: tuple[int, ...],
    classes: int,
    size: tuple[int, int],
    name: str,
    stride_at: int,
    bottleneck: bool = True,
) -> Architecture:
    build = Builder()
    build.conv_relu("conv1", "relu1", Conv(widths[0], (7, 7), (2, 2), ((3, 3), (3, 3))))
    x, features = build.add("pool1", MaxPool((3, 3), (2, 2), ((1, 1), (1, 1)))), widths[0]
    for i, (width, count) in enumerate(zip(widths, blocks), 1):
        kernels = ((1, width), (3, width), (1, EXPANSION * width)) if bottleneck else ((3, width), (3, width))
        for j in range(count):
            block, before = f"layer{i}_{j}", x
            stride = (2, 2) if i > 1 and j == 0 else (1, 1)
            y = x
            for k, (side, wide) in enumerate(kernels, 1):
                pad = (side // 2, side // 2)
                step = stride if k == stride_at else (1, 1)
                y = build.add(f"{block}_conv{k}", Conv(wide, (side, side), step, (pad, pad)), y)
                if k < len(kernels):
                    y = build.add(f"{block}_relu{k}", Relu())
            if stride != (1, 1) or features != wide:
                before = build.add(f"{block}_downsample", Conv(wide, (1, 1), stride), x)
            build.add(f"{block}_add", Add(), y, before)
            x, features = build.add(block, Relu()), wide
    build.add("avgpool", GlobalAvgPool())
    build.add("fc", Dense(classes))
    return Architecture(name, tuple(build.nodes), x, size)


def torchvision_names(architecture: Architecture) -> dict[str, Source]:
    def source(name: str) -> Source:
        stage, _, rest = name.partition("_")
        block, _, part = rest.partition("_")
        if not part:
            return Source("fc") if name == "fc" else Source("conv1", "bn1", bias=False)
        kernel, norm = ("downsample.0", "downsample.1") if part == "downsample" else (part, part.replace("conv", "bn"))
        return Source(f"{stage}.{block}.{kernel}", f"{stage}.{block}.{norm}", bias=False)

    return {name: source(name) for name in architecture.parameter_shapes()}


def keras_names(architecture: Architecture) -> dict[str, Source]:
    def source(name: str) -> Source:
        if name == "fc":
            return Source("predictions")
        if name == "conv1":
            return Source("conv1_conv", "conv1_bn")
        stage, block, part = name.removeprefix("layer").split("_")
        place = 0 if part == "downsample" else int(part.removeprefix("conv"))
        prefix = f"conv{int(stage) + 1}_block{int(block) + 1}_{place}"
        return Source(f"{prefix}_conv", f"{prefix}_bn")

    return {name: source(name) for name in architecture.parameter_shapes()}
