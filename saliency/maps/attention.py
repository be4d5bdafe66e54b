"""Maps from the attention of vision transformers: how much of each patch reaches the class token.

Attention of a block is `[heads, t, t]`, each row adding up to 1. Rows and columns of the class token and of registers
are part of the computation, and left out of the map, which holds the patches alone. Where no token stands before the
patches, the mean over all tokens stands for the class token. Maps are float32, at least 0.

- rollout: Abnar & Zuidema 2020. Heads averaged, half of the identity for the skip connection, the blocks' product.
- gradient rollout: Gildenblat 2020. The same of attention times the class score's derivative to it, negative ones left
  out.
- Chefer et al. 2021 (Generic Attention-model Explainability, Eq. 5 and 6): of the same products, blocks add to what
  earlier ones made relevant, R = R + A R from R = identity.
- LeGrad: Bousselham et al. 2025. The score is read off every block's tokens, by the network's own head; its positive
  derivatives by that block's attention, the mean over heads, rows and blocks.
- class attention: Caron et al. 2021 (DINO). The class token's row of one block, a map for each head.
"""

from functools import cache, partial
from itertools import pairwise
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from saliency._batches import default_batch, map_batches, shard_batch
from saliency._checks import function, kind_of, one_of
from saliency.errors import InputError
from saliency.maps.gradient import Progress
from saliency.models.graph import Architecture, Weights
from saliency.models.network import Network, check_input
from saliency.models.operators.tokens import attention_of
from saliency.scores import Score, Target, as_targets, class_count, settled_targets

Rule = Literal["rollout", "gradient-rollout", "chefer", "legrad"]


def attention_maps(
    net: Network,
    x: Float[np.ndarray, "n h w 3"],
    rule: Rule = "rollout",
    *,
    target: Target = None,
    resize: bool = True,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n rows cols"]:
    """What reaches the class token of each patch through all blocks, by one of the rules that the module lists.

    Args:
        net: a vision transformer: one of the zoo's, or one from elsewhere whose attention was recognised.
        x: float `[n, h, w, 3]` as `net.preprocess` gives it.
        rule: "rollout", which knows of no class, "gradient-rollout", "chefer" or "legrad".
        target: class indices or names, one or one for each image (default: the predicted class).
        resize: bilinearly to the image's size; without it the map has a value a patch.
        progress: called with (done, total) images.

    Raises InputError for a network without attention, for a class rule where there are no classes, and for "legrad"
    where the network's blocks are not all alike.

    >>> import numpy as np, saliency
    >>> from saliency.models.weights import random_network
    >>> from saliency.models.zoo.vit import vit
    >>> net = random_network(vit(width=6, depth=2, heads=2, patch=8, classes=5, size=(16, 24)))
    >>> saliency.attention_maps(net, np.ones((1, 16, 24, 3), np.float32), resize=False).shape
    (1, 2, 3)
    """
    kind_of("net", net, Network, "as load_network gives it")
    function("progress", progress, "(done, total)")
    one_of("rule", rule, get_args(Rule))
    architecture = net.architecture
    layers = attentions(architecture)
    last = layers[-1][0] if rule == "rollout" else architecture.last
    if rule == "rollout":
        x = check_input(net, x, last)
        targets = np.zeros(len(x), np.int32)
    else:
        classes = class_count(architecture)
        x = check_input(net, x)
        targets = as_targets(target, len(x), classes, net.classes)
    if rule == "legrad":
        block_ends(architecture)
    weights = net.weights
    _, rows, columns = patches(architecture)
    size = x.shape[1:3] if resize else (rows, columns)

    def maps(i: np.ndarray) -> Array:
        inputs = shard_batch(x, i), shard_batch(targets, i)
        return _maps(weights, *inputs, architecture=architecture, rule=rule, size=size)

    batch = default_batch(architecture, x.shape, last)
    return map_batches(maps, len(x), batch, size, progress).astype(np.float32, copy=False)


def class_attention_maps(
    net: Network,
    x: Float[np.ndarray, "n h w 3"],
    *,
    layer: str | None = None,
    resize: bool = True,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n heads rows cols"]:
    """How far the class token looks at each patch, per head, in one block (default: the last). It knows of no class.

    `layer` is one of the network's attention layers, such as "block11_attention". Other arguments and errors are those
    of `attention_maps`; maps are float32 `[n, heads, h, w]`.

    >>> import numpy as np, saliency
    >>> from saliency.models.weights import random_network
    >>> from saliency.models.zoo.vit import vit
    >>> net = random_network(vit(width=6, depth=2, heads=2, patch=8, classes=5, size=(16, 24)))
    >>> saliency.class_attention_maps(net, np.ones((1, 16, 24, 3), np.float32), layer="block0_attention").shape
    (1, 2, 16, 24)
    """
    kind_of("net", net, Network, "as load_network gives it")
    function("progress", progress, "(done, total)")
    architecture = net.architecture
    found = dict(attentions(architecture))
    layer = layer or list(found)[-1]
    if layer not in found:
        raise InputError(f"{layer} is no attention of {architecture.name}; those are {', '.join(found)}")
    x = check_input(net, x, layer)
    weights, heads = net.weights, found[layer]
    _, rows, columns = patches(architecture)
    size = x.shape[1:3] if resize else (rows, columns)

    def maps(i: np.ndarray) -> Array:
        return _class_attention(weights, shard_batch(x, i), architecture=architecture, layer=layer, size=size)

    batch = default_batch(architecture, x.shape, layer)
    return map_batches(maps, len(x), batch, (heads, *size), progress).astype(np.float32, copy=False)


def attentions(architecture: Architecture) -> tuple[tuple[str, int], ...]:
    """The attention layers and their heads; InputError where there are none."""
    if not architecture.attentions or not architecture.grids:
        raise InputError(
            f"{architecture.name} has no attention among patches that can be seen; this is a method for vision"
            " transformers"
        )
    return architecture.attentions


def patches(architecture: Architecture) -> tuple[int, int, int]:
    """Tokens before the patches, rows and columns of these."""
    shapes = architecture.shapes(*architecture.size)
    name, heads = architecture.attentions[-1]
    tokens = round((int(np.prod(shapes[name])) / heads) ** 0.5)
    for _, before, rows, columns in architecture.grids:
        if before + rows * columns == tokens:
            return before, rows, columns
    raise InputError(f"{architecture.name}: the {tokens} tokens of {name} are not those of its patches")


@cache
def block_ends(architecture: Architecture) -> tuple[str, ...]:
    """The tokens that each block gives on, one layer for each attention.

    A block ends with the last layer of tokens that nothing goes round; the last block as many layers after its
    attention as those before it, so that what follows is the head. Raises InputError where they do not end alike, as in
    a function's graph, in which the last sum is part of the norm that alone reads it.
    """
    path = [node.name for node in architecture.ancestors(architecture.last)]
    starts = [path.index(name) for name, _ in attentions(architecture)]
    before, rows, columns = patches(architecture)
    shapes, count = architecture.shapes(*architecture.size), before + rows * columns
    able = [path.index(name) for name in architecture.passages if shapes[name][:1] == (count,)]
    lengths = {max([i - a for i in able if a < i < b], default=0) for a, b in pairwise(starts)}
    ends = [start + length for length in lengths for start in starts]
    alike = len(lengths) == 1 and set(ends) <= set(able)
    if not alike or len({(architecture.by_name[path[i]].layer, shapes[path[i]]) for i in ends}) > 1:
        raise InputError(
            f"{architecture.name}: LeGrad reads the class off the tokens of every block, of two or more, and not all of"
            " these are layers of their own here; chefer takes this network too"
        )
    return tuple(path[i] for i in ends)


@partial(jax.jit, static_argnames=("architecture", "rule", "size"))
def _maps(
    weights: Weights, x: Array, targets: Array, *, architecture: Architecture, rule: Rule, size: tuple[int, int]
) -> Array:
    layers = architecture.attentions
    if rule == "legrad":
        slopes = _slopes_of_blocks(weights, x, targets, architecture)
        tokens = [jax.nn.relu(attention_of(slopes[name], heads)).mean((1, 2)) for name, heads in layers]
        return _grid(jnp.stack(tokens).mean(0), architecture, size)
    if rule == "rollout":
        found = architecture.activations(weights, x, layers[-1][0])
        blocks = [attention_of(found[name], heads) for name, heads in layers]
    else:

        def total(added: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
            done = architecture.activations(weights, x, added=added)
            scores = Score().of_activations(architecture, weights, done, targets)
            return scores.sum(), {name: done[name] for name, _ in layers}

        slopes, found = jax.grad(total, has_aux=True)(architecture.unmoved(x, dict(layers)))
        blocks = [attention_of(found[name], heads) * attention_of(slopes[name], heads) for name, heads in layers]
    return _patch_map(_relevance(blocks, rule), architecture, size)


def _slopes_of_blocks(weights: Weights, x: Array, targets: Array, architecture: Architecture) -> dict[str, Array]:
    """Attention layer -> the derivatives by it of the score that is read off its own block's tokens."""
    ends, last = block_ends(architecture), architecture.last

    def total(added: dict[str, Array]) -> Array:
        done: dict[str, Array] = {}
        read: list[Array] = []
        for node in architecture.ancestors(last):
            value = node.layer(weights.get(node.name, {}), *([done[name] for name in node.inputs] or [x]))
            done[node.name] = value + added[node.name] if node.name in added else value
            if node.name in ends:
                read.append(architecture.after(weights, done[node.name], ends[-1]))
                done[node.name] = jax.lax.stop_gradient(done[node.name])  # later blocks' scores are their own
        chosen = settled_targets(architecture, done[last], targets)
        return jnp.stack([Score().of_logits(architecture, logits, chosen) for logits in read]).sum()

    return jax.grad(total)(architecture.unmoved(x, dict(architecture.attentions)))


def _relevance(blocks: list[Array], rule: Rule) -> Array:
    """`[n, t, t]`: how much of each token (column) is in each of the last block's (row)."""
    identity = jnp.eye(blocks[0].shape[-1], dtype=blocks[0].dtype)[None]
    found = jnp.broadcast_to(identity, (len(blocks[0]), *identity.shape[1:]))
    for block in blocks:
        if rule == "chefer":
            found = found + jax.nn.relu(block).mean(1) @ found
            continue
        step = jax.nn.relu(block.mean(1)) + identity
        found = (step / step.sum(-1, keepdims=True)) @ found
    return found - identity if rule == "chefer" else found


def _patch_map(relevance: Array, architecture: Architecture, size: tuple[int, int]) -> Array:
    before, *_ = patches(architecture)
    return _grid(relevance[..., 0, :] if before else relevance.mean(-2), architecture, size)


def _grid(row: Array, architecture: Architecture, size: tuple[int, int]) -> Array:
    """Values of all tokens `[..., t]` as a map of the patches."""
    before, rows, columns = patches(architecture)
    grid = row[..., before : before + rows * columns].reshape(*row.shape[:-1], rows, columns)
    return jax.image.resize(grid, (*grid.shape[:-2], *size), "bilinear")


@partial(jax.jit, static_argnames=("architecture", "layer", "size"))
def _class_attention(
    weights: Weights, x: Array, *, architecture: Architecture, layer: str, size: tuple[int, int]
) -> Array:
    attention = attention_of(architecture.upto(weights, x, layer), dict(architecture.attentions)[layer])
    return _patch_map(attention, architecture, size)
