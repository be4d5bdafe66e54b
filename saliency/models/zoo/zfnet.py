"""Zeiler and Fergus' network (2014), as the ONNX model zoo has it: 512, 1024 and 512 features in the last layers."""

from saliency.models.checkpoints import Source
from saliency.models.graph import Architecture, Builder
from saliency.models.operators import Conv, Dense, Flatten, LocalResponseNorm, MaxPool, Relu


def zfnet512(
    widths: tuple[int, int, int, int, int] = (96, 256, 512, 1024, 512),
    hidden: tuple[int, int] = (4096, 1024),
    classes: int = 1000,
    size: tuple[int, int] = (224, 224),
) -> Architecture:
    """conv1, relu1, norm1, pool1, ..., pool5, fc6, relu6, fc7, relu7, fc8."""
    build = Builder()
    norm = LocalResponseNorm(5, 5e-4, 0.75, 2.0)
    for i, side in enumerate((7, 5, 3, 3, 3), 1):
        strided = i < 3
        padding = ((0, 0), (0, 0)) if strided else ((1, 1), (1, 1))
        stride = (2, 2) if strided else (1, 1)
        build.conv_relu(f"conv{i}", f"relu{i}", Conv(widths[i - 1], (side, side), stride, padding))
        if strided:
            build.add(f"norm{i}", norm)
            build.add(f"pool{i}", MaxPool((3, 3), (2, 2)))
    build.add("pool5", MaxPool((2, 2), (2, 2)))
    build.add("flatten", Flatten())
    for i, features in zip((6, 7), hidden):
        build.add(f"fc{i}", Dense(features))
        build.add(f"relu{i}", Relu())
    build.add("fc8", Dense(classes))
    return Architecture("zfnet512", tuple(build.nodes), "relu5", size)


def onnx_names(architecture: Architecture) -> dict[str, Source]:
    """The initializers of the model zoo's file."""
    return {name: Source(f"gpu_0/{name}", separator="_") for name in architecture.parameter_shapes()}
