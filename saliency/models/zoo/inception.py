"""GoogLeNet (Szegedy et al. 2015), also called Inception v1, with batch norms, which are folded: torchvision's.

Where the paper has 5x5 convolutions, torchvision has 3x3; the two auxiliary classifiers serve training alone.
"""

from saliency.models.checkpoints import Source
from saliency.models.graph import Architecture, Builder
from saliency.models.operators import Concat, Conv, Dense, GlobalAvgPool, MaxPool

Widths = tuple[int, int, int, int, int, int]
PAD = ((1, 1), (1, 1))
# features of 1x1; before and of 3x3; before and of the second 3x3; after the pool. None is a pool
MODULES: tuple[tuple[str, Widths] | None, ...] = (
    ("3a", (64, 96, 128, 16, 32, 32)), ("3b", (128, 128, 192, 32, 96, 64)), None,
    ("4a", (192, 96, 208, 16, 48, 64)), ("4b", (160, 112, 224, 24, 64, 64)), ("4c", (128, 128, 256, 24, 64, 64)),
    ("4d", (112, 144, 288, 32, 64, 64)), ("4e", (256, 160, 320, 32, 128, 128)), None,
    ("5a", (256, 160, 320, 32, 128, 128)), ("5b", (384, 192, 384, 48, 128, 128)),
)  # fmt: skip


def inception_v1(
    stem: tuple[int, int, int] = (64, 64, 192),
    modules: tuple[tuple[str, Widths] | None, ...] = MODULES,
    classes: int = 1000,
    size: tuple[int, int] = (224, 224),
) -> Architecture:
    """conv1, relu1, pool1, conv2, relu2, conv3, relu3, pool2, inception3a ... inception5b, pool5, fc.

    `inception3a` is a module's output; inside it are its four branches: inception3a_1x1, _3x3_reduce, _3x3,
    _second_reduce, _second, _pool and _pool_proj, each convolution with its _relu.
    """
    build = Builder()
    build.conv_relu("conv1", "relu1", Conv(stem[0], (7, 7), (2, 2), ((3, 3), (3, 3))))
    build.add("pool1", MaxPool((3, 3), (2, 2), ceil=True))
    build.conv_relu("conv2", "relu2", Conv(stem[1], (1, 1)))
    build.conv_relu("conv3", "relu3", Conv(stem[2], (3, 3), padding=PAD))
    x, pools = build.add("pool2", MaxPool((3, 3), (2, 2), ceil=True)), 2
    for module in modules:
        if module is None:
            pools += 1
            side = 3 if pools == 3 else 2
            x = build.add(f"pool{pools}", MaxPool((side, side), (2, 2), ceil=True))
            continue
        name, (one, reduce, three, second_reduce, second, pooled) = f"inception{module[0]}", module[1]

        def convolve(part: str, conv: Conv, before: str, name: str = name) -> str:
            return build.conv_relu(f"{name}_{part}", f"{name}_{part}_relu", conv, before)

        branches = [convolve("1x1", Conv(one, (1, 1)), x)]
        for part, narrow, wide in (("3x3", reduce, three), ("second", second_reduce, second)):
            narrowed = convolve(f"{part}_reduce", Conv(narrow, (1, 1)), x)
            branches.append(convolve(part, Conv(wide, (3, 3), padding=PAD), narrowed))
        build.add(f"{name}_pool", MaxPool((3, 3), (1, 1), PAD, ceil=True), x)
        branches.append(convolve("pool_proj", Conv(pooled, (1, 1)), f"{name}_pool"))
        x = build.add(name, Concat(), *branches)
    build.add("pool5", GlobalAvgPool())
    build.add("fc", Dense(classes))
    return Architecture("inception_v1", tuple(build.nodes), x, size)


def torchvision_names(architecture: Architecture) -> dict[str, Source]:
    parts = {"1x1": "branch1", "3x3_reduce": "branch2.0", "3x3": "branch2.1", "second_reduce": "branch3.0",
             "second": "branch3.1", "pool_proj": "branch4.1"}  # fmt: skip
    sources = {}
    for name in architecture.parameter_shapes():
        unit, _, part = name.partition("_")
        inside = f"{unit}.{parts[part]}" if part else unit
        sources[name] = Source(f"{inside}.conv", f"{inside}.bn", bias=False)
    return sources | {"fc": Source("fc")}
