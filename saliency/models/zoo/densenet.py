"""DenseNet (Huang et al. 2017): every layer reads all before it in its block; norms stand before the convolutions."""

from saliency.models.checkpoints import Source
from saliency.models.graph import Architecture, Builder
from saliency.models.operators import AvgPool, Concat, Conv, Dense, GlobalAvgPool, MaxPool, Relu, Scale

BOTTLENECK = 4  # features between a layer's two convolutions, over those that it adds


def densenet121(
    blocks: tuple[int, ...] = (6, 12, 24, 16),
    growth: int = 32,
    stem: int = 64,
    classes: int = 1000,
    size: tuple[int, int] = (224, 224),
) -> Architecture:
    """conv0, relu0, pool0, block1_layer1 ... block4_layer16, norm5, relu5, pool5, fc.

    `block1_layer1` is all features so far, its own added; inside it are block1_layer1_norm1, _relu1, _conv1 (its norm
    folded in), _relu2 and _conv2. Between blocks: transition1_norm, _relu, _conv, transition1 (the pool).
    """
    build = Builder()
    build.conv_relu("conv0", "relu0", Conv(stem, (7, 7), (2, 2), ((3, 3), (3, 3))))
    x, features = build.add("pool0", MaxPool((3, 3), (2, 2), ((1, 1), (1, 1)))), stem
    for i, count in enumerate(blocks, 1):
        for j in range(1, count + 1):
            layer = f"block{i}_layer{j}"
            build.add(f"{layer}_norm1", Scale(), x)
            build.add(f"{layer}_relu1", Relu())
            build.conv_relu(f"{layer}_conv1", f"{layer}_relu2", Conv(BOTTLENECK * growth, (1, 1)))
            build.add(f"{layer}_conv2", Conv(growth, (3, 3), padding=((1, 1), (1, 1)), bias=False))
            x, features = build.add(layer, Concat(), x, f"{layer}_conv2"), features + growth
        if i < len(blocks):
            features //= 2
            build.add(f"transition{i}_norm", Scale())
            build.add(f"transition{i}_relu", Relu())
            build.add(f"transition{i}_conv", Conv(features, (1, 1), bias=False))
            x = build.add(f"transition{i}", AvgPool((2, 2), (2, 2)))
    build.add("norm5", Scale())
    build.add("relu5", Relu())
    build.add("pool5", GlobalAvgPool())
    build.add("fc", Dense(classes))
    return Architecture("densenet121", tuple(build.nodes), "relu5", size)


def torchvision_names(architecture: Architecture) -> dict[str, Source]:
    """timm's too."""
    return _names(architecture, "")


def first_torchvision_names(architecture: Architecture) -> dict[str, Source]:
    """Those of torchvision's own files, from before module names could not hold dots."""
    return _names(architecture, ".")


def _names(architecture: Architecture, dot: str) -> dict[str, Source]:
    sources = {}
    for name in architecture.parameter_shapes():
        unit, _, part = name.rpartition("_")
        if unit.startswith("block"):
            block, _, layer = unit.removeprefix("block").partition("_layer")
            inside = f"features.denseblock{block}.denselayer{layer}"
            kind, number = part[:-1], part[-1]
            norm = f"{inside}.norm{dot}{1 if kind == 'norm' else 2}"
            kernel = f"{inside}.conv{dot}{number}"
            sources[name] = {
                "norm1": Source(norm=norm, bias=False), "conv1": Source(kernel, norm, bias=False),
                "conv2": Source(kernel, bias=False),
            }[part]  # fmt: skip
        elif unit:
            sources[name] = (
                Source(norm=f"features.{unit}.norm", bias=False)
                if part == "norm"
                else Source(f"features.{unit}.conv", bias=False)
            )
    first, last = Source("features.conv0", "features.norm0", bias=False), Source(norm="features.norm5", bias=False)
    return {"conv0": first, **sources, "norm5": last, "fc": Source("classifier")}
