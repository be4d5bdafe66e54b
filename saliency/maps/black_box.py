"""A classifier from outside: images in, one score each out. Networks and other people's functions look alike here.

A `ScoreFunction` takes images `[k, h, w, 3]` and gives scores `[k]`. It is called with one batch size only, so that
what is compiled, is compiled once.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from saliency.devices import default_budget, on_cpu
from saliency.errors import InputError
from saliency.models.network import Network, check_input
from saliency.models.preprocessing import AS_IT_IS, Preprocessing
from saliency.occlusion.dense import CPU_CHUNK, ScoreFunction, chunked, positions_for
from saliency.scores import BATCH, Score, as_score, in_batches, score_of_batch, settled_targets

Classifier = Network | ScoreFunction


def probes(
    net: Classifier,
    x: Float[np.ndarray, "n h w 3"],
    score: str | Score = "logit",
    target: int | Sequence[int] | np.ndarray | None = None,
) -> list[ScoreFunction]:
    """For each image the function from its changed copies to their scores.

    A network explains `score` of `target`, by default of the class it predicts for the unchanged image; any other
    function is its own probe. Raises InputError for what the network cannot take, and for NaN in `x`.
    """
    if not isinstance(net, Network):
        if not np.isfinite(x).all():
            raise InputError("x holds NaN or infinite values")
        return [net] * len(x)
    score = as_score(score)
    check_input(net, x, score.layer_in(net.architecture))
    weights, architecture = net.weights, net.architecture

    def probe(goal: int, images: jax.Array) -> jax.Array:
        targets = np.full(len(images), goal, np.int32)
        return score_of_batch(weights, images, targets, architecture=architecture, score=score)

    return [partial(probe, goal) for goal in settled_targets(net, x, score, target)]


def chunk_of(net: Classifier, size: tuple[int, int], score: str | Score = "logit") -> int:
    """How many images of (height, width) to score at once; on a CPU few, as `of_each` has several calls under way."""
    if not isinstance(net, Network):
        return CPU_CHUNK
    fit = positions_for(net.architecture, *size, as_score(score).layer_in(net.architecture), default_budget())
    return min(fit, BATCH) if on_cpu() else fit


def scored(
    probe: ScoreFunction, changed: Callable[[Int[np.ndarray, " k"]], np.ndarray], count: int, chunk: int
) -> Float[np.ndarray, " count"]:
    """Scores of the images `changed(i)` for i = 0 .. count-1, at most `chunk` at a time."""
    return chunked(lambda k: probe(jnp.asarray(changed(k))), count, chunk, lambda done: None).astype(float)


def of_each(
    net: Classifier,
    function: Callable[[int], np.ndarray],
    n: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[np.ndarray]:
    """`function` of 0 .. n-1: a network bears several calls at a time, other people's functions may not."""
    if isinstance(net, Network):
        return in_batches(lambda i: function(int(i[0])), n, 1, progress)
    values = []
    for i in range(n):
        values.append(function(i))
        if progress:
            progress(i + 1, n)
    return values


def preprocessing(net: Classifier) -> Preprocessing:
    """How pixels 0..255 become input: a black box takes them as they are."""
    return net.preprocess if isinstance(net, Network) else AS_IT_IS
