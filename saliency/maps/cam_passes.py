"""Class activation maps whose weights are found by forward passes, without a derivative: one pass for each channel.

Maps are float32 `[n, h, w]`, at least 0, brought to the image's size bilinearly.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from saliency._batches import default_batch, in_batches
from saliency._checks import ImagesLike, function, kind_of, whole
from saliency.maps.cam import spatial_shape
from saliency.maps.cam_rules import TINY
from saliency.maps.gradient import Progress
from saliency.models.graph import Architecture, Weights
from saliency.models.network import Network, check_input
from saliency.scores import Score, Target, class_logits, resolve_targets


def score_cam(
    net: Network,
    x: ImagesLike,
    *,
    layer: str | None = None,
    channels: int | None = None,
    target: Target = None,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n h w"]:
    """relu(sum over channels of weight * activation), the weights a softmax over the channels of the class logit of
    the image seen through each channel (Score-CAM, Wang et al. 2020).

    A channel, brought to the image's size and scaled to 0..1, multiplies the normalised image: what it does not show
    turns into the mean colour. Channels that are the same at all places show nothing, and share one pass.

    `channels` takes so many of an image's channels, those that vary most from place to place (None: all): the softmax
    and the sum are over them alone ("Faster Score-CAM", Hiroshi Tabayashi 2020, takes 10). `x` is float
    `[n, h, w, 3]` as `net.preprocess` gives it, `layer` where the channels are (default: the Gestalt layer), `target`
    class indices or names (default: the predicted class); `progress` is called with (done, total) channels. Raises
    InputError as `grad_cam` does.

    >>> import numpy as np, saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> x = net.preprocess(np.zeros((1, 96, 96, 3), np.uint8))
    >>> saliency.score_cam(net, x, target=3).shape
    (1, 96, 96)
    """
    whole("channels", channels, least=1, optional=True)
    return _by_passes(
        net, x, layer, target, progress, _masked, lambda logits, own: jax.nn.softmax(logits),
        select=partial(_varying, most=channels),
    )  # fmt: skip


def _varying(activation: Float[np.ndarray, "rows cols c"], most: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The channels that are weighed, and for each of them which one's pass stands for it: of those that do not vary,
    whose masks are all empty, the first."""
    flat = activation.reshape(-1, activation.shape[-1])
    chosen, asked = np.arange(flat.shape[1]), np.arange(flat.shape[1])
    if most is not None:
        chosen = np.sort(np.argsort(-flat.var(0), kind="stable")[:most])
    constant = chosen[(flat[:, chosen] == flat[0, chosen]).all(0)]
    asked[constant] = constant[:1].repeat(len(constant))
    return chosen, asked[chosen]


def ablation_cam(
    net: Network,
    x: ImagesLike,
    *,
    layer: str | None = None,
    target: Target = None,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n h w"]:
    """relu(sum over channels of weight * activation), the weight of a channel the share of the class logit that is lost
    when the channel is set to 0 (Ablation-CAM, Ramaswamy & Desai 2020).

    What comes before the layer is computed once. Where all after it is linear but for constants, what a channel adds is
    its activations times the logit's derivatives by them, without a pass for each. The share is of the logit's absolute
    value, so that a channel which supports the class counts for it where the logit is negative too. Arguments and
    errors as for `score_cam`; a layer that a skip connection bypasses is refused.

    >>> import numpy as np, saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> x = net.preprocess(np.zeros((1, 96, 96, 3), np.uint8))
    >>> saliency.ablation_cam(net, x, target=3).shape
    (1, 96, 96)
    """
    return _by_passes(
        net, x, layer, target, progress, _ablated, lambda logits, own: (own - logits) / jnp.maximum(jnp.abs(own), TINY),
        of_affine=_ablated_at_once,
    )  # fmt: skip


def affine_after(architecture: Architecture, layer: str) -> bool:
    """Whether the logits are a layer's activations times constants, and a constant: as after the last convolution of a
    network with a global average and a dense layer."""
    path = [node.name for node in architecture.ancestors(architecture.last)]
    if layer not in architecture.passages:
        return False
    return all(architecture.by_name[name].layer.linear for name in path[path.index(layer) + 1 :])


def _by_passes(
    net: Network,
    x: ImagesLike,
    layer: str | None,
    target: Target,
    progress: Progress | None,
    logits_of: Callable[..., Float[Array, " k"]],
    weigh: Callable[[Float[Array, " c"], Float[Array, ""]], Float[Array, " c"]],
    of_affine: Callable[..., Float[Array, " k"]] | None = None,
    select: Callable[[Float[np.ndarray, "rows cols c"]], tuple[np.ndarray, np.ndarray]] | None = None,
) -> Float[np.ndarray, "n h w"]:
    """Image by image: the class logit for each of the layer's channels, `weigh`ed beside the image's own. `of_affine`
    gives all logits in one call where what comes after the layer is affine; `select` says which channels of an image
    are weighed (default: all), and whose logit is taken for each."""
    kind_of("net", net, Network, "as load_network gives it")
    function("progress", progress, "(done, total)")
    architecture, weights = net.architecture, net.weights
    layer = architecture.require(layer or architecture.gestalt_layer)
    x = check_input(net, x)
    channels = spatial_shape(net, layer, x.shape)[-1]
    targets = resolve_targets(net, x, Score(), target)
    batch = default_batch(architecture, (channels, *x.shape[1:]), architecture.last)
    if of_affine is not None and affine_after(architecture, layer):
        logits_of, batch = of_affine, channels
    fixed = {"architecture": architecture, "layer": layer}
    maps = np.zeros(x.shape[:3], np.float32)
    for number, own in enumerate(targets):
        image = jnp.asarray(x[number])
        activation, logit = _untouched(weights, image, own, **fixed)
        logits = partial(logits_of, weights, image, activation, own, **fixed)

        chosen = source = np.arange(channels)
        if select is not None:
            chosen, source = select(np.asarray(architecture.as_map(layer, activation))[0])
        passes, back = np.unique(source, return_inverse=True)

        def told(done: int, total: int, before: int = number * channels) -> None:
            if progress is not None:
                progress(before + done * channels // total, len(x) * channels)

        index = np.concatenate([passes, passes[-1:].repeat(-len(passes) % batch)])  # calls of one size
        asked = partial(_of_channels, logits, index)
        found = np.concatenate(in_batches(asked, len(index), batch, told))
        weight = np.zeros(channels, found.dtype)
        weight[chosen] = weigh(jnp.asarray(found[back]), logit)
        maps[number] = _weighed(jnp.asarray(weight), activation, size=x.shape[1:3], **fixed)
    return maps


def _of_channels(logits: Callable[[np.ndarray], Array], index: np.ndarray, k: np.ndarray) -> Array:
    return logits(index[k])


@partial(jax.jit, static_argnames=("architecture", "layer"))
def _untouched(
    weights: Weights, image: Array, target: Array, *, architecture: Architecture, layer: str
) -> tuple[Array, Array]:
    """The layer's activation `[1, ...]` of an image `[h, w, 3]`, and its class logit."""
    activations = architecture.activations(weights, image[None])
    return activations[layer], class_logits(architecture, activations[architecture.last])[0, target]


@partial(jax.jit, static_argnames=("architecture", "layer"))
def _masked(
    weights: Weights, image: Array, activation: Array, target: Array, channels: Array, *,
    architecture: Architecture, layer: str,
) -> Float[Array, " k"]:  # fmt: skip
    """The class logit of the image behind each of the channels."""
    masks = jnp.moveaxis(architecture.as_map(layer, activation)[0][..., channels], -1, 0)
    masks = jax.image.resize(masks, (len(channels), *image.shape[:2]), "bilinear")
    lowest, highest = masks.min((1, 2), keepdims=True), masks.max((1, 2), keepdims=True)
    masks = (masks - lowest) / jnp.where(highest > lowest, highest - lowest, 1)
    seen = architecture.upto(weights, masks[..., None] * image[None])
    return class_logits(architecture, seen)[:, target]


@partial(jax.jit, static_argnames=("architecture", "layer"))
def _ablated(
    weights: Weights, image: Array, activation: Array, target: Array, channels: Array, *,
    architecture: Architecture, layer: str,
) -> Float[Array, " k"]:  # fmt: skip
    """The class logit without each of the channels."""
    kept = jnp.arange(activation.shape[-1])[None] != channels[:, None]
    kept = kept.reshape(len(channels), *[1] * (activation.ndim - 2), -1)
    return class_logits(architecture, architecture.after(weights, jnp.where(kept, activation, 0), layer))[:, target]


@partial(jax.jit, static_argnames=("architecture", "layer"))
def _ablated_at_once(
    weights: Weights, image: Array, activation: Array, target: Array, channels: Array, *,
    architecture: Architecture, layer: str,
) -> Float[Array, " k"]:  # fmt: skip
    """The same where the logit is affine in the activation: it loses what the channel adds to it."""

    def logit(activation: Array) -> Array:
        return class_logits(architecture, architecture.after(weights, activation, layer))[0, target]

    own, slope = jax.value_and_grad(logit)(activation)
    return own - (slope * activation).sum(range(activation.ndim - 1))[channels]


@partial(jax.jit, static_argnames=("architecture", "layer", "size"))
def _weighed(
    weight: Array, activation: Array, *, architecture: Architecture, layer: str, size: tuple[int, int]
) -> Float[Array, "h w"]:
    cam = jax.nn.relu((architecture.as_map(layer, activation)[0] * weight[None, None]).sum(-1))
    return jax.image.resize(cam, size, "bilinear")
