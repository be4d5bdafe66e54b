"""ConvNeXt (Liu et al. 2022): depthwise 7x7 convolutions, layer norms over channels, GELU. Layer scale is folded in."""

from saliency.models.checkpoints import Source
from saliency.models.graph import Architecture, Builder
from saliency.models.operators import Add, Conv, Dense, Gelu, GlobalAvgPool, LayerNorm

NORM = LayerNorm(1e-6)


def convnext_tiny(
    widths: tuple[int, ...] = (96, 192, 384, 768),
    blocks: tuple[int, ...] = (3, 3, 9, 3),
    classes: int = 1000,
    size: tuple[int, int] = (224, 224),
) -> Architecture:
    """stem, stem_norm, stage1_0 ... stage4_2, pool, norm, fc.

    `stage1_0` is a block's output; inside it are stage1_0_depthwise, _norm, _fc1, _gelu and _fc2. Before the later
    stages: stage2_norm and stage2_downsample.
    """
    build = Builder()
    build.add("stem", Conv(widths[0], (4, 4), (4, 4)))
    x = build.add("stem_norm", NORM)
    for i, (width, count) in enumerate(zip(widths, blocks), 1):
        if i > 1:
            build.add(f"stage{i}_norm", NORM)
            x = build.add(f"stage{i}_downsample", Conv(width, (2, 2), (2, 2)))
        for j in range(count):
            block = f"stage{i}_{j}"
            build.add(f"{block}_depthwise", Conv(width, (7, 7), padding=((3, 3), (3, 3)), groups=width), x)
            build.add(f"{block}_norm", NORM)
            build.add(f"{block}_fc1", Dense(4 * width))
            build.add(f"{block}_gelu", Gelu())
            build.add(f"{block}_fc2", Dense(width))
            x = build.add(block, Add(), x, f"{block}_fc2")
    build.add("pool", GlobalAvgPool())
    build.add("norm", NORM)
    build.add("fc", Dense(classes))
    return Architecture("convnext_tiny", tuple(build.nodes), x, size)


def _named(
    architecture: Architecture, down: str, block: str, parts: dict[str, str], ends: tuple[str, str, str, str]
) -> dict[str, Source]:
    """`down` and `block` are names with {0} for the stage and {1} for the block, from 0 on."""
    stem, stem_norm, norm, head = ends
    sources = {"stem": Source(stem), "stem_norm": Source(stem_norm)}
    for name in architecture.parameter_shapes():
        if not name.startswith("stage"):
            continue
        unit, *rest = name.removeprefix("stage").split("_")
        number = int(unit) - 1
        if len(rest) == 1:
            sources[name] = Source(down.format(number, int(rest[0] == "downsample")))
        else:
            inside = block.format(number, rest[0])
            factor = f"{inside}.{parts['scale']}" if rest[1] == "fc2" else None
            sources[name] = Source(f"{inside}.{parts[rest[1]]}", factor=factor)
    return sources | {"norm": Source(norm), "fc": Source(head)}


def torchvision_names(architecture: Architecture) -> dict[str, Source]:
    """Stages and what lies between them are numbered alternately."""
    parts = {"depthwise": "block.0", "norm": "block.2", "fc1": "block.3", "fc2": "block.5", "scale": "layer_scale"}
    ends = ("features.0.0", "features.0.1", "classifier.0", "classifier.2")
    found = _named(architecture, "{0}.{1}", "{0}.{1}", parts, ends)

    def numbered(name: str | None, between: bool) -> str | None:
        if name is None:
            return None
        number, _, rest = name.partition(".")
        return f"features.{2 * int(number) + (not between)}.{rest}"

    return {
        layer: Source(numbered(source.module, layer.count("_") == 1), factor=numbered(source.factor, False))
        if layer.startswith("stage")
        else source
        for layer, source in found.items()
    }


def timm_names(architecture: Architecture) -> dict[str, Source]:
    parts = {"depthwise": "conv_dw", "norm": "norm", "fc1": "mlp.fc1", "fc2": "mlp.fc2", "scale": "gamma"}
    ends = ("stem.0", "stem.1", "head.norm", "head.fc")
    return _named(architecture, "stages.{0}.downsample.{1}", "stages.{0}.blocks.{1}", parts, ends)


def facebook_names(architecture: Architecture) -> dict[str, Source]:
    """Those of the authors' files."""
    parts = {"depthwise": "dwconv", "norm": "norm", "fc1": "pwconv1", "fc2": "pwconv2", "scale": "gamma"}
    ends = ("downsample_layers.0.0", "downsample_layers.0.1", "norm", "head")
    return _named(architecture, "downsample_layers.{0}.{1}", "stages.{0}.{1}", parts, ends)
