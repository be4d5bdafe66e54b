"""Gradient maps by one backward pass: |d score / d pixel|, reduced over the channels (Simonyan et al. 2013).

Images are float `[n, h, w, 3]` in the network's normalised space, so the derivative is per normalised unit.
Maps are float32 `[n, h, w]`, at least 0.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from saliency._batches import ONE_CORE, default_batch, map_batches, shard_batch, side_by_side
from saliency._checks import ImagesLike, function, kind_of, one_of, whole
from saliency._programs import kept
from saliency.models.graph import Architecture, Weights
from saliency.models.network import Network, check_input
from saliency.scores import Score, Target, as_score, targets_for

Aggregate = Literal["max", "mean", "l2", "signed"]
Progress = Callable[[int, int], None]  # done, total


def gradient_maps(
    net: Network,
    x: ImagesLike,
    *,
    score: str | Score = "logit",
    target: Target = None,
    aggregate: Aggregate = "max",
    batch: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """How much the score answers to the smallest change of each pixel: one backward pass an image.

    Simonyan et al. 2013; Fast Object Localization via Sensitivity Analysis, Eq. 1 (a class score) and 3 (Gestalt).

    Args:
        net: a network.
        x: float `[n, h, w, 3]` as `net.preprocess` gives it.
        score: "logit", "log_probability", "gestalt", "gestalt:LAYER", or a `Score`.
        target: class indices or names, one or one for each image; default: the predicted class, found in the same
            forward pass. A Gestalt score has none.
        aggregate: of the channels' derivatives the largest ("max") or mean absolute value, the Euclidean norm ("l2"),
            or all of them with their sign ("signed").
        batch: images at once (default: what a CPU's cache holds, or 64 for each accelerator).
        progress: called with (done, total) images.

    Returns:
        float32 `[n, h, w]`, at least 0, a derivative per normalised unit; `[n, h, w, 3]` for "signed".

    Raises InputError for an unknown score, layer or aggregate, a target out of range, and NaN in `x`.

    >>> import numpy as np, saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> x = net.preprocess(np.zeros((1, 96, 96, 3), np.uint8))
    >>> saliency.gradient_maps(net, x, target=3).shape
    (1, 96, 96)
    >>> saliency.gradient_maps(net, x, score="gestalt", aggregate="signed").shape
    (1, 96, 96, 3)
    """
    one_of("aggregate", aggregate, get_args(Aggregate))
    maps = gradients_reduced(net, x, (aggregate,), score=score, target=target, batch=batch, progress=progress)
    return maps[:, 0]


def gradients_reduced(
    net: Network,
    x: ImagesLike,
    aggregates: Sequence[Aggregate],
    *,
    score: str | Score = "logit",
    target: Target = None,
    batch: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """`gradient_maps` for each of several `aggregates`, of one pass: float32 `[n, aggregates, h, w]`; of "signed" ones
    `[n, 1, h, w, 3]`, alone. Other arguments and errors are its own."""
    whole("batch", batch, least=1, optional=True)
    function("progress", progress, "(done, total)")
    kind_of("net", net, Network, "as load_network gives it")
    score = as_score(score)
    x = check_input(net, x, score.layer_in(net.architecture))
    targets = targets_for(net, len(x), score, target)
    weights = net.weights
    size = batch or default_batch(net.architecture, x.shape, score.layer_in(net.architecture))
    program = _on_one_core if side_by_side(len(x), size) else input_gradient

    def maps(i: np.ndarray) -> Array:
        inputs = shard_batch(x, i), shard_batch(targets, i)
        gradient = program(weights, *inputs, architecture=net.architecture, score=score)
        return _each_reduced(gradient, aggregates=tuple(aggregates))

    each = len(aggregates), *(x.shape[1:] if aggregates[0] == "signed" else x.shape[1:3])
    return map_batches(maps, len(x), size, each, progress).astype(np.float32, copy=False)


def _input_gradient(
    weights: Weights, x: Float[Array, "n h w c"], targets: Array, *, architecture: Architecture, score: Score
) -> Float[Array, "n h w c"]:
    """d score / d x, each image's own: images do not touch one another, so the sum's gradient is all of theirs."""
    return jax.grad(lambda x: score(architecture, weights, x, targets).sum())(x)


input_gradient = kept("architecture", "score")(_input_gradient)
_on_one_core = kept("architecture", "score", compiled=ONE_CORE)(_input_gradient)


@partial(jax.jit, static_argnames="aggregate")
def reduce_channels(gradient: Float[Array, "n h w c"], aggregate: Aggregate) -> Array:
    """One number a pixel: the largest or mean absolute value, or the Euclidean norm; "signed" leaves them."""
    match aggregate:
        case "max":
            return jnp.abs(gradient).max(-1)
        case "mean":
            return jnp.abs(gradient).mean(-1)
        case "l2":
            return jnp.sqrt((gradient**2).sum(-1))
        case "signed":
            return gradient


@partial(jax.jit, static_argnames="aggregates")
def _each_reduced(gradient: Float[Array, "n h w c"], aggregates: tuple[Aggregate, ...]) -> Array:
    return jnp.stack([reduce_channels(gradient, aggregate) for aggregate in aggregates], 1)
