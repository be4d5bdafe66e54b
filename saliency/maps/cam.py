"""Class activation maps: a layer's channels, weighted for the class, brought to the image's size bilinearly.

Maps are float32 `[n, h, w]`. Grad-CAM (Selvaraju et al. 2017) takes the score's mean derivative to each channel as
weight, and is at least 0; CAM (Zhou et al. 2016) reads the weights off the head, and is signed.
"""

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from saliency._batches import default_batch, map_batches, shard_batch
from saliency._checks import ImagesLike, described, function, kind_of, one_of
from saliency._programs import kept
from saliency.errors import InputError
from saliency.maps.cam_rules import CLASSLESS, DECOMPOSING, RULES, CamRule
from saliency.maps.gradient import Progress
from saliency.models.graph import Architecture, Weights
from saliency.models.network import Network, check_input, upto
from saliency.scores import (
    Score,
    Target,
    as_score,
    as_targets,
    class_count,
    class_logits,
    resolve_targets,
    settled_targets,
)

Fuse = Literal["mean", "max", "product"]


def grad_cam(
    net: Network,
    x: ImagesLike,
    *,
    rule: CamRule = "grad-cam",
    layer: str | Sequence[str] | None = None,
    fuse: Fuse = "mean",
    score: str | Score = "logit",
    target: Target = None,
    resize: bool = True,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n rows cols"]:
    """relu(sum over channels of mean(d score / d activation) * activation) at a layer (Selvaraju et al. 2017), or what
    another rule makes of the same two arrays.

    Args:
        net: a network.
        x: float `[n, h, w, 3]` as `net.preprocess` gives it.
        rule: how the channels become one map, a name of `saliency.maps.cam_rules.RULES`.
        layer: where the channels are weighed (default: the Gestalt layer, after the last convolution). Of several
            layers each gets a map, scaled to 1 at its highest, and the maps are fused.
        fuse: several layers' maps by their "mean", "max" or "product".
        score: what is explained, a score of the logits: "finer" makes Finer-CAM of Grad-CAM.
        target: class indices or names, one or one for each image (default: the predicted class).
        resize: bilinearly to the image's size; without it the map has the layer's own.
        progress: called with (done, total) images.

    Returns:
        float32 `[n, h, w]`, at least 0.

    The derivative is by what the layer itself gives on; what goes round it by a skip connection stays as it is.

    Raises InputError for an unknown layer, for one without a height and width, and for one that no score reads.

    >>> import numpy as np, saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> x = net.preprocess(np.zeros((1, 96, 96, 3), np.uint8))
    >>> saliency.grad_cam(net, x, target=3).shape, saliency.grad_cam(net, x, resize=False).shape
    ((1, 96, 96), (1, 12, 12))
    >>> saliency.grad_cam(net, x, rule="layer-cam", layer=("relu2_2", "relu4_1"), fuse="max").shape
    (1, 96, 96)
    """
    return grad_cams(
        net, x, (rule,), layer=layer, fuse=fuse, score=score, target=target, resize=resize, progress=progress
    )[:, 0]


def grad_cams(
    net: Network,
    x: ImagesLike,
    rules: Sequence[CamRule],
    *,
    layer: str | Sequence[str] | None = None,
    fuse: Fuse = "mean",
    score: str | Score = "logit",
    target: Target = None,
    resize: bool = True,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n rules rows cols"]:
    """`grad_cam` by each of several `rules`, of the same activations and derivatives: float32 `[n, rules, h, w]`. Other
    arguments and errors are its own."""
    kind_of("net", net, Network, "as load_network gives it")
    for rule in rules:
        one_of("rule", rule, get_args(CamRule))
    one_of("fuse", fuse, get_args(Fuse))
    function("progress", progress, "(done, total)")
    architecture = net.architecture
    count = class_count(architecture)
    if not (layer is None or isinstance(layer, str | list | tuple)):
        raise InputError(f"layer must be the name of a layer, or a list of names, not {described(layer)}")
    wanted = [layer or architecture.gestalt_layer] if layer is None or isinstance(layer, str) else list(layer)
    layers = [architecture.require(one) for one in wanted or [architecture.gestalt_layer]]
    if len(layers) > 1 and not resize:
        raise InputError("maps of several layers are fused at the image's size: leave resize=True")
    x = check_input(net, x)
    explained = as_score(score)
    if explained.kind == "gestalt":
        raise InputError("score must be one of the logits: a Gestalt total knows of no class")
    shapes = {one: spatial_shape(net, one, x.shape) for one in layers}
    targets = as_targets(target, len(x), count, net.classes)
    height, width = x.shape[1:3] if resize else shapes[layers[0]][:2]
    weights, size = net.weights, (height, width)
    read = explained.explained(architecture)
    on_the_way = {node.name for node in read.ancestors(read.last)}
    if missing := [one for one in layers if one not in on_the_way]:
        raise InputError(f"layer {missing[0]} of {net.name} is not on the way to the score {explained}; take another")

    def maps(i: np.ndarray) -> Array:
        images, classes = shard_batch(x, i), shard_batch(targets, i)
        if set(rules) <= set(CLASSLESS):
            activations = {one: upto(weights, images, layer=one, architecture=architecture) for one in layers}
            derivatives = activations  # which these rules do not look at
        else:
            activations, derivatives = _activations_and_derivatives(
                weights, images, classes, architecture=architecture, layers=tuple(layers), score=explained
            )
        return jnp.stack([drawn(activations, derivatives, rule) for rule in rules], 1)

    def drawn(activations: Mapping[str, Array], derivatives: Mapping[str, Array], rule: CamRule) -> Array:
        draw = _draw if rule in DECOMPOSING else _drawn
        found = [
            draw(activations[one], derivatives[one], architecture=architecture, layer=one, size=size, rule=rule)
            for one in layers
        ]
        return found[0] if len(found) == 1 else fused(jnp.stack(found), fuse)

    batch = default_batch(architecture, x.shape, architecture.last)
    return map_batches(maps, len(x), batch, (len(rules), *size), progress).astype(np.float32, copy=False)


def spatial_shape(net: Network, layer: str, images: Sequence[int]) -> tuple[int, ...]:
    """(height, width, channels) of a layer for images `[n, h, w, c]`; InputError where it is no map."""
    shape = net.architecture.map_shape(layer, net.architecture.shapes(images[1], images[2], layer))
    if len(shape) != 3:
        raise InputError(f"Grad-CAM needs a layer with height and width, which {layer} of {net.name} has not")
    return shape


@cache
def stage_layers(architecture: Architecture) -> tuple[str, ...]:
    """The last layer of each resolution through which the whole computation passes, from the finest to the coarsest:
    where maps of several layers are taken from by default."""
    shapes = architecture.shapes(*architecture.size)
    found: dict[tuple[int, ...], str] = {}
    for name in reversed(architecture.passages):
        shape = architecture.map_shape(name, shapes)
        if len(shape) == 3 and min(shape[:2]) > 1 and not architecture.by_name[name].layer.pools_globally:
            found.setdefault(shape[:2], name)
    return tuple(reversed(found.values()))


def _activations_and_derivatives(
    weights: Weights, x: Array, targets: Array, *, architecture: Architecture, layers: tuple[str, ...], score: Score
) -> tuple[dict[str, Array], dict[str, Array]]:
    """`_at_layers`; where all passes through the one layer, in two programs, the first of which `logits` needs too."""
    (layer, *others) = layers
    if others or layer not in architecture.passages or score.explained(architecture) is not architecture:
        return _at_layers(weights, x, targets, architecture=architecture, layers=layers, score=score)
    activation = upto(weights, x, layer=layer, architecture=architecture)
    slope = _slope(weights, activation, targets, architecture=architecture, layer=layer, score=score)
    return {layer: activation}, {layer: slope}


@kept("architecture", "layer", "score")
def _slope(
    weights: Weights, activation: Array, targets: Array, *, architecture: Architecture, layer: str, score: Score
) -> Array:
    """The score's derivatives by the activations of a layer through which the whole computation passes."""

    def total(activation: Array) -> Array:
        logits = architecture.after(weights, activation, layer)
        return score.of_logits(architecture, logits, settled_targets(architecture, logits, targets)).sum()

    return jax.grad(total)(activation)


@kept("architecture", "layers", "score")
def _at_layers(
    weights: Weights, x: Array, targets: Array, *, architecture: Architecture, layers: tuple[str, ...], score: Score
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Layer -> its activations, and layer -> the score's derivatives by them, of one forward and one backward pass;
    one program for all rules. A layer that something bypasses is moved by itself, and the rest stays."""

    def total(added: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        found = architecture.activations(weights, x, added=added)
        return score.of_activations(architecture, weights, found, targets).sum(), {one: found[one] for one in layers}

    derivatives, activations = jax.grad(total, has_aux=True)(architecture.unmoved(x, layers))
    return activations, derivatives


def _draw(
    activation: Array, derivative: Array, *,
    architecture: Architecture, layer: str, size: tuple[int, int], rule: CamRule,
) -> Float[Array, "n rows cols"]:  # fmt: skip
    cam = RULES[rule](architecture.as_map(layer, activation), architecture.as_map(layer, derivative))
    return _enlarged(cam, size=size)


_drawn = kept("architecture", "layer", "size", "rule")(_draw)


@partial(jax.jit, static_argnames="size")
def _enlarged(cam: Float[Array, "n h w"], *, size: tuple[int, int]) -> Float[Array, "n rows cols"]:
    return jax.image.resize(jax.nn.relu(cam), (len(cam), *size), "bilinear")


@partial(jax.jit, static_argnames="fuse")
def fused(maps: Float[Array, "layers n h w"], fuse: Fuse) -> Float[Array, "n h w"]:
    """Several layers' maps in one, each scaled to 1 at its highest absolute value."""
    highest = jnp.abs(maps).max((2, 3), keepdims=True)
    scaled = maps / jnp.where(highest > 0, highest, 1)
    match fuse:
        case "mean":
            return scaled.mean(0)
        case "max":
            return scaled.max(0)
        case "product":
            return scaled.prod(0)


def cam(
    net: Network,
    x: ImagesLike,
    *,
    target: Target = None,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n h w"]:
    """The class's logit at each place: the head without its global pool (Zhou et al. 2016). Signed.

    For an average pool its mean before it is enlarged is the logit. `x` is float `[n, h, w, 3]` as `net.preprocess`
    gives it, `target` class indices or names (default: the predicted class); maps are float32 `[n, h, w]`.
    Raises InputError where the head is not a global pool with at most one dense layer after it.

    >>> import numpy as np, saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> x = net.preprocess(np.zeros((1, 96, 96, 3), np.uint8))
    >>> saliency.cam(net, x, target=3).shape
    (1, 96, 96)
    """
    kind_of("net", net, Network, "as load_network gives it")
    function("progress", progress, "(done, total)")
    x = check_input(net, x)
    architecture = local_head(net.architecture)
    targets = resolve_targets(net, x, Score(), target)
    weights = net.weights
    return map_batches(
        lambda i: _local_logits(weights, shard_batch(x, i), shard_batch(targets, i), architecture=architecture),
        len(x),
        default_batch(architecture, x.shape, architecture.last),
        x.shape[1:3],
        progress,
    ).astype(np.float32, copy=False)


def activation_maps(
    net: Network,
    x: ImagesLike,
    *,
    layer: str | None = None,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n h w"]:
    """The mean over channels of a layer's activations (default: the Gestalt layer's): the Gestalt total before it is
    averaged over places. One forward pass; it knows of no class.

    `x` is float `[n, h, w, 3]` as `net.preprocess` gives it; maps are float32 `[n, h, w]`. Raises InputError for an
    unknown layer, and for one that has no spatial axes.

    >>> import numpy as np, saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> x = net.preprocess(np.zeros((1, 96, 96, 3), np.uint8))
    >>> saliency.activation_maps(net, x, layer="relu2_1").shape
    (1, 96, 96)
    """
    kind_of("net", net, Network, "as load_network gives it")
    function("progress", progress, "(done, total)")
    layer = net.architecture.require(layer or net.architecture.gestalt_layer)
    x = check_input(net, x, layer)
    if len(net.architecture.map_shape(layer, net.architecture.shapes(x.shape[1], x.shape[2], layer))) != 3:
        raise InputError(f"a map needs a layer with height and width, which {layer} of {net.name} has not")
    weights, architecture = net.weights, net.architecture
    return map_batches(
        lambda i: _mean_activations(weights, shard_batch(x, i), architecture=architecture, layer=layer),
        len(x),
        default_batch(architecture, x.shape, layer),
        x.shape[1:3],
        progress,
    ).astype(np.float32, copy=False)


@partial(jax.jit, static_argnames=("architecture", "layer"))
def _mean_activations(weights: Weights, x: Array, *, architecture: Architecture, layer: str) -> Array:
    activation = architecture.as_map(layer, architecture.upto(weights, x, layer))
    return jax.image.resize(activation.mean(-1), x.shape[:3], "bilinear")


@cache
def local_head(architecture: Architecture) -> Architecture:
    """The network whose logits keep their height and width, or InputError: CAM does not fit every head."""
    architecture.require_logits()
    *_, before, last = architecture.nodes
    pool = before if last.layer.weighted else last
    if not pool.layer.pools_globally:
        raise InputError(
            f"CAM needs a head of a global pool and at most one dense layer, which {architecture.name} has not;"
            " Grad-CAM takes any head"
        )
    return architecture.without(pool.name)


@partial(jax.jit, static_argnames="architecture")
def _local_logits(weights: Weights, x: Array, targets: Array, *, architecture: Architecture) -> Array:
    logits = class_logits(architecture, architecture.upto(weights, x))
    local = jnp.take_along_axis(logits, targets[:, None, None, None], -1)[..., 0]
    return jax.image.resize(local, x.shape[:3], "bilinear")
