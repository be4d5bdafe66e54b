"""VGG (Simonyan & Zisserman 2015): 8 to 16 3x3 convolutions in five blocks, three dense layers."""

from functools import partial

from saliency.models.checkpoints import Source
from saliency.models.graph import Architecture, Builder
from saliency.models.operators import Conv, Dense, Flatten, MaxPool, Relu

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg16(
    blocks: tuple[tuple[int, ...], ...] = BLOCKS,
    hidden: int = 4096,
    classes: int = 1000,
    size: tuple[int, int] = (224, 224),
    name: str = "vgg16",
) -> Architecture:
    """conv1_1, relu1_1, ..., pool5, fc6, relu6, fc7, relu7, fc8. `blocks` holds the features between the pools."""
    build = Builder()
    for i, block in enumerate(blocks, 1):
        for j, features in enumerate(block, 1):
            build.conv_relu(f"conv{i}_{j}", f"relu{i}_{j}", Conv(features, (3, 3), padding=((1, 1), (1, 1))))
        build.add(f"pool{i}", MaxPool((2, 2), (2, 2)))
    build.add("flatten", Flatten())
    for i in (6, 7):
        build.add(f"fc{i}", Dense(hidden))
        build.add(f"relu{i}", Relu())
    build.add("fc8", Dense(classes))
    return Architecture(name, tuple(build.nodes), f"relu{len(blocks)}_{len(blocks[-1])}", size)


def vgg16_bn(
    blocks: tuple[tuple[int, ...], ...] = BLOCKS,
    hidden: int = 4096,
    classes: int = 1000,
    size: tuple[int, int] = (224, 224),
    name: str = "vgg16_bn",
) -> Architecture:
    """VGG16 trained with batch norm, which inference folds into the convolutions: the same layers remain."""
    return vgg16(blocks, hidden, classes, size, name)


def blocks_of(*counts: int) -> tuple[tuple[int, ...], ...]:
    """Features of so many convolutions in each block."""
    return tuple((block[0],) * count for block, count in zip(BLOCKS, counts))


vgg11 = partial(vgg16, blocks_of(1, 1, 2, 2, 2), name="vgg11")
vgg13 = partial(vgg16, blocks_of(2, 2, 2, 2, 2), name="vgg13")
vgg19 = partial(vgg16, blocks_of(2, 2, 4, 4, 4), name="vgg19")
vgg11_bn = partial(vgg16, blocks_of(1, 1, 2, 2, 2), name="vgg11_bn")
vgg13_bn = partial(vgg16, blocks_of(2, 2, 2, 2, 2), name="vgg13_bn")
vgg19_bn = partial(vgg16, blocks_of(2, 2, 4, 4, 4), name="vgg19_bn")


def keras_names(architecture: Architecture) -> dict[str, Source]:
    dense = {"fc6": "fc1", "fc7": "fc2", "fc8": "predictions"}
    return {
        name: Source(dense.get(name) or name.replace("conv", "block").replace("_", "_conv"))
        for name in architecture.parameter_shapes()
    }
