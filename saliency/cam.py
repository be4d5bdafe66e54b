"""Grad-CAM (Selvaraju et al. 2017): a layer's channels weighted by the mean derivative of the score to each.

Maps are float32 `[n, h, w]`, at least 0, brought to the image's size by bilinear interpolation.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from saliency.errors import InputError
from saliency.gradient import Progress
from saliency.networks.architecture import Architecture, Weights
from saliency.networks.network import Network, check_input
from saliency.scores import as_targets, batches, class_count, default_batch


def grad_cam(
    net: Network,
    x: Float[np.ndarray, "n h w 3"],
    *,
    layer: str | None = None,
    target: int | Sequence[int] | np.ndarray | None = None,
    resize: bool = True,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n h w"]:
    """relu(sum over channels of mean(d logit / d activation) * activation) at `layer` (default: the Gestalt layer).

    With `resize=False` at the layer's own size. Raises InputError for an unknown layer, for one without a height and
    width, or for one that some of the computation goes round.
    """
    architecture = net.architecture
    layer = architecture.require(layer or architecture.gestalt_layer)
    check_input(net, x)
    shape = architecture.shapes(x.shape[1], x.shape[2])[layer]
    if len(shape) != 3:
        raise InputError(f"Grad-CAM needs a layer with height and width, which {layer} of {net.name} has not")
    targets = as_targets(target, len(x), class_count(architecture))
    weights, parts = net.weights, []
    size = x.shape[1:3] if resize else shape[:2]
    for index in batches(len(x), default_batch()):
        parts.append(
            np.asarray(_maps(weights, x[index], targets[index], architecture=architecture, layer=layer, size=size))
        )
        if progress:
            progress(min(int(index[-1]) + 1, len(x)), len(x))
    return np.concatenate(parts)[: len(x)] if parts else np.empty((0, *size), np.float32)


@partial(jax.jit, static_argnames=("architecture", "layer", "size"))
def _maps(
    weights: Weights, x: Array, targets: Array, *, architecture: Architecture, layer: str, size: tuple[int, int]
) -> Array:
    activation = architecture.upto(weights, x, layer)
    predicted = architecture.after(weights, activation, layer).argmax(-1)
    targets = jnp.where(targets < 0, predicted, targets)
    explained = architecture.without(*architecture.logit_bypass)

    def total(activation: Array) -> Array:
        logits = explained.after(weights, activation, layer)
        return jnp.take_along_axis(logits, targets[:, None], -1).sum()

    weight = jax.grad(total)(activation).mean((1, 2), keepdims=True)
    cam = jax.nn.relu((weight * activation).sum(-1))
    return jax.image.resize(cam, (len(cam), *size), "bilinear")
