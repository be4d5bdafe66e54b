"""SqueezeNet 1.0 and 1.1 (Iandola et al. 2016): Fire modules, no dense layer, so any input size will do."""

from saliency.models.checkpoints import Source
from saliency.models.graph import Architecture, Builder
from saliency.models.operators import Concat, Conv, GlobalAvgPool, MaxPool, Relu

# (squeeze, each expand) features of the Fire modules; None is a pool
FIRES_1_0 = ((16, 64), (16, 64), (32, 128), None, (32, 128), (48, 192), (48, 192), (64, 256), None, (64, 256))
FIRES = ((16, 64), (16, 64), None, (32, 128), (32, 128), None, (48, 192), (48, 192), (64, 256), (64, 256))


def squeezenet1_1(
    stem: int = 64,
    fires: tuple[tuple[int, int] | None, ...] = FIRES,
    classes: int = 1000,
    size: tuple[int, int] = (224, 224),
    name: str = "squeezenet1_1",
    *,
    window: int = 3,
) -> Architecture:
    """conv1, relu1, pool1, fire2 ... fire9, conv10, relu10, and the global average as logits.

    The ReLU after the last convolution can leave a logit without a gradient: a class score goes round it.
    """
    build = Builder()
    pool = MaxPool((3, 3), (2, 2), ceil=True)
    build.conv_relu("conv1", "relu1", Conv(stem, (window, window), (2, 2)))
    build.add("pool1", pool)
    fire = 2
    for widths in fires:
        if widths is None:
            build.add(f"pool{fire - 1}", pool)
            continue
        squeeze, expand = widths
        module = f"fire{fire}"
        squeezed = build.conv_relu(f"{module}_squeeze", f"{module}_squeeze_relu", Conv(squeeze, (1, 1)))
        build.add(f"{module}_expand1x1", Conv(expand, (1, 1)), squeezed)
        build.add(f"{module}_expand3x3", Conv(expand, (3, 3), padding=((1, 1), (1, 1))), squeezed)
        build.add(f"{module}_concat", Concat(), f"{module}_expand1x1", f"{module}_expand3x3")
        build.add(module, Relu())
        fire += 1
    gestalt = build.nodes[-1].name
    build.conv_relu("conv10", "relu10", Conv(classes, (1, 1)))
    build.add("pool10", GlobalAvgPool())
    return Architecture(name, tuple(build.nodes), gestalt, size, logit_bypass=("relu10",))


def squeezenet1_0(
    stem: int = 96,
    fires: tuple[tuple[int, int] | None, ...] = FIRES_1_0,
    classes: int = 1000,
    size: tuple[int, int] = (224, 224),
) -> Architecture:
    """The paper's own: a 7x7 convolution first, and its pools later."""
    return squeezenet1_1(stem, fires, classes, size, "squeezenet1_0", window=7)


def torchvision_names(architecture: Architecture) -> dict[str, Source]:
    """conv1, relu1, pool1, fire2, ... are numbered; the parts of a Fire module are named within it."""
    units = [name for name in architecture.layers if "_" not in name]
    sources = {}
    for name in architecture.parameter_shapes():
        unit, _, part = name.partition("_")
        sources[name] = Source(f"features.{units.index(unit)}" + (f".{part}" if part else ""))
    return sources | {"conv10": Source("classifier.1")}
