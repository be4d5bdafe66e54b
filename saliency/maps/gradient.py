"""Sensitivity maps by one backward pass: |d score / d pixel|, channels reduce_channels (seed 003, Eq. 1-3).

Images are float `[n, h, w, 3]` in the network's normalised space, so the derivative is per normalised unit.
Maps are float32 `[n, h, w]`, at least 0.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from saliency._batches import default_batch, map_batches, shard_batch
from saliency._checks import function, kind_of, one_of, whole
from saliency.models.graph import Architecture, Weights
from saliency.models.network import Network, check_input
from saliency.scores import Score, Target, as_score, as_targets, class_count

Aggregate = Literal["max", "mean", "l2", "signed"]
Progress = Callable[[int, int], None]  # done, total


def gradient_maps(
    net: Network,
    x: Float[np.ndarray, "n h w 3"],
    *,
    score: str | Score = "logit",
    target: Target = None,
    aggregate: Aggregate = "max",
    batch: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """One backward pass per image: float32 `[n, h, w]`, or `[n, h, w, 3]` with the sign for aggregate="signed".

    `target` holds class indices (default: the predicted class, found in the same forward pass); a Gestalt score
    ignores it. `batch` images are taken at once (default: what a CPU's cache holds, or 64 for each accelerator).
    Raises InputError for an unknown score, layer or aggregate, a target out of range, and NaN in `x`.
    """
    one_of("aggregate", aggregate, get_args(Aggregate))
    whole("batch", batch, least=1, optional=True)
    function("progress", progress, "(done, total)")
    kind_of("net", net, Network, "as load_network gives it")
    score = as_score(score)
    x = check_input(net, x, score.layer_in(net.architecture))
    targets = as_targets(target, len(x), class_count(net.architecture), net.classes)
    weights = net.weights
    fit = default_batch(net.architecture, x.shape, score.layer_in(net.architecture))

    def maps(i: np.ndarray) -> Array:
        inputs = shard_batch(x[i]), shard_batch(targets[i])
        return reduce_channels(input_gradient(weights, *inputs, architecture=net.architecture, score=score), aggregate)

    each = x.shape[1:] if aggregate == "signed" else x.shape[1:3]
    return map_batches(maps, len(x), batch or fit, each, progress).astype(np.float32, copy=False)


@partial(jax.jit, static_argnames=("architecture", "score"))
def input_gradient(
    weights: Weights, x: Float[Array, "n h w 3"], targets: Array, *, architecture: Architecture, score: Score
) -> Float[Array, "n h w 3"]:
    """d score / d x, each image's own: images do not touch one another, so the sum's gradient is all of theirs."""
    return jax.grad(lambda x: score(architecture, weights, x, targets).sum())(x)


@partial(jax.jit, static_argnames="aggregate")
def reduce_channels(gradient: Float[Array, "n h w c"], aggregate: Aggregate) -> Array:
    """Channels reduce_channels: the largest or mean absolute value, or the Euclidean norm; "signed" leaves them."""
    match aggregate:
        case "max":
            return jnp.abs(gradient).max(-1)
        case "mean":
            return jnp.abs(gradient).mean(-1)
        case "l2":
            return jnp.sqrt((gradient**2).sum(-1))
        case "signed":
            return gradient
