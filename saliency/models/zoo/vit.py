"""Vision transformers (Dosovitskiy et al. 2021): 16x16 patches as tokens, a class token before them."""

from saliency.models.checkpoints import Source
from saliency.models.graph import Architecture, Builder
from saliency.models.operators import Add, Attention, Conv, Dense, Gelu, LayerNorm, Mix, Token, Tokens

NORM = LayerNorm(1e-6)


def vit(
    width: int = 384,
    depth: int = 12,
    heads: int = 6,
    patch: int = 16,
    classes: int = 1000,
    size: tuple[int, int] = (224, 224),
    name: str = "vit_small",
    *,
    before: int = 1,
) -> Architecture:
    """patch_embed, tokens, block0 ... block11, norm, class_token, head.

    `block3` is a block's output; inside it are block3_norm1, _qkv, _attention (flat, `[n, heads * t * t]`), _mix,
    _proj, _add, _norm2, _fc1, _gelu and _fc2. `before` tokens stand before those of the patches: the class token, and
    registers. The Gestalt layer is what the last attention reads: on what comes later patches have no say.
    """
    build = Builder()
    build.add("patch_embed", Conv(width, (patch, patch), (patch, patch)))
    x = build.add("tokens", Tokens(before))
    grids = ["tokens"]
    for i in range(depth):
        block = f"block{i}"
        build.add(f"{block}_norm1", NORM, x)
        joint = build.add(f"{block}_qkv", Dense(3 * width))
        build.add(f"{block}_attention", Attention(heads), joint)
        build.add(f"{block}_mix", Mix(heads), f"{block}_attention", joint)
        build.add(f"{block}_proj", Dense(width))
        middle = build.add(f"{block}_add", Add(), x, f"{block}_proj")
        build.add(f"{block}_norm2", NORM)
        build.add(f"{block}_fc1", Dense(4 * width))
        build.add(f"{block}_gelu", Gelu())
        build.add(f"{block}_fc2", Dense(width))
        x = build.add(block, Add(), middle, f"{block}_fc2")
        parts = ("norm1", "mix", "proj", "add", "norm2", "fc1", "gelu", "fc2")
        grids += [*(f"{block}_{part}" for part in parts), block]
    grids.append(build.add("norm", NORM))
    build.add("class_token", Token(0))
    build.add("head", Dense(classes))
    rows, columns = size[0] // patch, size[1] // patch
    return Architecture(
        name, tuple(build.nodes), f"block{depth - 1}_norm1", size,
        grids=tuple((layer, before, rows, columns) for layer in grids),
        attentions=tuple((f"block{i}_attention", heads) for i in range(depth)),
    )  # fmt: skip


def timm_names(architecture: Architecture) -> dict[str, Source]:
    """DeiT's and DINO's too."""
    parts = {"norm1": "norm1", "qkv": "attn.qkv", "proj": "attn.proj", "norm2": "norm2", "fc1": "mlp.fc1",
             "fc2": "mlp.fc2"}  # fmt: skip
    tokens = Source(copied=(("tokens", "cls_token"), ("positions", "pos_embed")))
    sources = {"patch_embed": Source("patch_embed.proj"), "tokens": tokens}
    for name in architecture.parameter_shapes():
        if name.startswith("block"):
            block, part = name.removeprefix("block").split("_")
            sources[name] = Source(f"blocks.{block}.{parts[part]}")
    return sources | {"norm": Source("norm"), "head": Source("head")}


def torchvision_names(architecture: Architecture) -> dict[str, Source]:
    return _torchvision(architecture, ("mlp.0", "mlp.3"))


def first_torchvision_names(architecture: Architecture) -> dict[str, Source]:
    """Those of torchvision's own files."""
    return _torchvision(architecture, ("mlp.linear_1", "mlp.linear_2"))


def _torchvision(architecture: Architecture, dense: tuple[str, str]) -> dict[str, Source]:
    parts = {"norm1": "ln_1", "proj": "self_attention.out_proj", "norm2": "ln_2", "fc1": dense[0], "fc2": dense[1]}
    tokens = Source(copied=(("tokens", "class_token"), ("positions", "encoder.pos_embedding")))
    sources = {"patch_embed": Source("conv_proj"), "tokens": tokens}
    for name in architecture.parameter_shapes():
        if name.startswith("block"):
            block, part = name.removeprefix("block").split("_")
            inside = f"encoder.layers.encoder_layer_{block}"
            joint = Source(f"{inside}.self_attention.in_proj", separator="_")
            sources[name] = joint if part == "qkv" else Source(f"{inside}.{parts[part]}")
    return sources | {"norm": Source("encoder.ln"), "head": Source("heads.head")}
