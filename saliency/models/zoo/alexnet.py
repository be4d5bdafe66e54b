"""AlexNet, twice: the network of 2012 as Caffe and MATLAB have it, and the slimmer one that torchvision has."""

from saliency.models.graph import Architecture, Builder
from saliency.models.operators import Conv, Dense, Flatten, LocalResponseNorm, MaxPool, Relu

Widths = tuple[int, int, int, int, int]


def alexnet(
    widths: Widths = (64, 192, 384, 256, 256),
    hidden: int = 4096,
    classes: int = 1000,
    size: tuple[int, int] = (224, 224),
) -> Architecture:
    """torchvision's, after Krizhevsky 2014 ("one weird trick"): no normalisation, no groups."""
    build = Builder()
    pool = MaxPool((3, 3), (2, 2))
    build.conv_relu("conv1", "relu1", Conv(widths[0], (11, 11), (4, 4), ((2, 2), (2, 2))))
    build.add("pool1", pool)
    build.conv_relu("conv2", "relu2", Conv(widths[1], (5, 5), padding=((2, 2), (2, 2))))
    build.add("pool2", pool)
    for i in (3, 4, 5):
        build.conv_relu(f"conv{i}", f"relu{i}", Conv(widths[i - 1], (3, 3), padding=((1, 1), (1, 1))))
    build.add("pool5", pool)
    return _headed("alexnet", build, hidden, classes, size)


def alexnet_2012(
    widths: Widths = (96, 256, 384, 384, 256),
    hidden: int = 4096,
    classes: int = 1000,
    size: tuple[int, int] = (227, 227),
) -> Architecture:
    """Krizhevsky et al. 2012: cross-channel normalisation after the first two ReLUs, two groups in conv2, 4 and 5."""
    build = Builder()
    pool = MaxPool((3, 3), (2, 2), ceil=True)
    build.conv_relu("conv1", "relu1", Conv(widths[0], (11, 11), (4, 4)))
    build.add("norm1", LocalResponseNorm())
    build.add("pool1", pool)
    build.conv_relu("conv2", "relu2", Conv(widths[1], (5, 5), padding=((2, 2), (2, 2)), groups=2))
    build.add("norm2", LocalResponseNorm())
    build.add("pool2", pool)
    for i, groups in ((3, 1), (4, 2), (5, 2)):
        build.conv_relu(f"conv{i}", f"relu{i}", Conv(widths[i - 1], (3, 3), padding=((1, 1), (1, 1)), groups=groups))
    build.add("pool5", pool)
    return _headed("alexnet_2012", build, hidden, classes, size)


def _headed(name: str, build: Builder, hidden: int, classes: int, size: tuple[int, int]) -> Architecture:
    build.add("flatten", Flatten())
    for i in (6, 7):
        build.add(f"fc{i}", Dense(hidden))
        build.add(f"relu{i}", Relu())
    build.add("fc8", Dense(classes))
    return Architecture(name, tuple(build.nodes), "relu5", size)
