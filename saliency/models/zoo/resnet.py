"""ResNet50 (He et al. 2016), batch norm folded into the convolutions: bottlenecks, no size-bound dense layer."""

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
    widths: tuple[int, ...], blocks: tuple[int, ...], classes: int, size: tuple[int, int], name: str, stride_at: int
) -> Architecture:
    build = Builder()
    build.conv_relu("conv1", "relu1", Conv(widths[0], (7, 7), (2, 2), ((3, 3), (3, 3))))
    x = build.add("pool1", MaxPool((3, 3), (2, 2), ((1, 1), (1, 1))))
    for i, (width, count) in enumerate(zip(widths, blocks), 1):
        for j in range(count):
            block = f"layer{i}_{j}"
            stride = (2, 2) if i > 1 and j == 0 else (1, 1)
            strides = {stride_at: stride}
            build.conv_relu(f"{block}_conv1", f"{block}_relu1", Conv(width, (1, 1), strides.get(1, (1, 1))), x)
            inner = Conv(width, (3, 3), strides.get(2, (1, 1)), ((1, 1), (1, 1)))
            build.conv_relu(f"{block}_conv2", f"{block}_relu2", inner)
            y = build.add(f"{block}_conv3", Conv(EXPANSION * width, (1, 1)))
            if j == 0:
                x = build.add(f"{block}_downsample", Conv(EXPANSION * width, (1, 1), stride), x)
            build.add(f"{block}_add", Add(), y, x)
            x = build.add(block, Relu())
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
