"""Class activation maps: a layer's channels, weighted for the class, brought to the image's size bilinearly.

Maps are float32 `[n, h, w]`. Grad-CAM (Selvaraju et al. 2017) takes the score's mean derivative to each channel as
weight, and is at least 0; CAM (Zhou et al. 2016) reads the weights off the head, and is signed.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from saliency._batches import default_batch, map_batches, shard_batch
from saliency._checks import ImagesLike, function, kind_of
from saliency.errors import InputError
from saliency.maps.gradient import Progress
from saliency.models.graph import Architecture, Weights
from saliency.models.network import Network, check_input
from saliency.scores import Score, Target, as_targets, class_count, class_logits, resolve_targets


def grad_cam(
    net: Network,
    x: ImagesLike,
    *,
    layer: str | None = None,
    target: Target = None,
    resize: bool = True,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n rows cols"]:
    """relu(sum over channels of mean(d logit / d activation) * activation) at a layer (Selvaraju et al. 2017).

    Args:
        net: a network.
        x: float `[n, h, w, 3]` as `net.preprocess` gives it.
        layer: where the channels are weighed (default: the Gestalt layer, after the last convolution).
        target: class indices or names, one or one for each image (default: the predicted class).
        resize: bilinearly to the image's size; without it the map has the layer's own.
        progress: called with (done, total) images.

    Returns:
        float32 `[n, h, w]`, at least 0.

    Raises InputError for an unknown layer, for one without a height and width, and for one that a skip connection
    bypasses.

    >>> import numpy as np, saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> x = net.preprocess(np.zeros((1, 96, 96, 3), np.uint8))
    >>> saliency.grad_cam(net, x, target=3).shape, saliency.grad_cam(net, x, resize=False).shape
    ((1, 96, 96), (1, 12, 12))
    """
    kind_of("net", net, Network, "as load_network gives it")
    function("progress", progress, "(done, total)")
    architecture = net.architecture
    layer = architecture.require(layer or architecture.gestalt_layer)
    x = check_input(net, x)
    shape = architecture.map_shape(layer, architecture.shapes(x.shape[1], x.shape[2]))
    if len(shape) != 3:
        raise InputError(f"Grad-CAM needs a layer with height and width, which {layer} of {net.name} has not")
    targets = as_targets(target, len(x), class_count(architecture), net.classes)
    weights, size = net.weights, x.shape[1:3] if resize else shape[:2]

    def maps(i: np.ndarray) -> Array:
        return _maps(
            weights, shard_batch(x, i), shard_batch(targets, i), architecture=architecture, layer=layer, size=size
        )

    batch = default_batch(architecture, x.shape, architecture.last)
    return map_batches(maps, len(x), batch, size, progress).astype(np.float32, copy=False)


@partial(jax.jit, static_argnames=("architecture", "layer", "size"))
def _maps(
    weights: Weights, x: Array, targets: Array, *, architecture: Architecture, layer: str, size: tuple[int, int]
) -> Array:
    activation = architecture.upto(weights, x, layer)
    predicted = class_logits(architecture, architecture.after(weights, activation, layer)).argmax(-1)
    targets = jnp.where(targets < 0, predicted.astype(targets.dtype), targets)

    def total(activation: Array) -> Array:
        logits = architecture.after(weights, activation, layer)
        return Score().of_logits(architecture, logits, targets).sum()

    weight = architecture.as_map(layer, jax.grad(total)(activation)).mean((1, 2), keepdims=True)
    cam = jax.nn.relu((weight * architecture.as_map(layer, activation)).sum(-1))
    return jax.image.resize(cam, (len(cam), *size), "bilinear")


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
