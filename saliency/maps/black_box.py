"""Forward passes alone: networks and other people's functions look alike here, a score function for each image.

A function is called with one batch size only, so it compiles once.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from saliency._batches import BATCH, in_batches
from saliency.devices import default_budget, on_cpu
from saliency.models.black_box import Classifier, ScoreFunction, score_functions
from saliency.models.network import Network
from saliency.occlusion.dense import CPU_CHUNK, chunked, positions_for
from saliency.scores import Score, Target, as_score, resolve_targets, score_of_batch


def probes(
    net: Classifier, x: Float[np.ndarray, "n h w c"], score: str | Score = "logit", target: Target = None
) -> list[ScoreFunction]:
    """For each image the function from its changed copies to their scores; `x` has passed `classifier_input`.

    A network explains `score` of `target`, by default of the class it predicts for the unchanged image; any other
    function its own answer, or the column of it that `target` says. Raises InputError for a target out of range.
    """
    if not isinstance(net, Network):
        return list(score_functions(net, len(x), target))
    score = as_score(score)
    weights, architecture = net.weights, net.architecture

    def probe(target: int, images: jax.Array) -> jax.Array:
        targets = np.full(len(images), target, np.int32)
        return score_of_batch(weights, images, targets, architecture=architecture, score=score)

    return [partial(probe, one) for one in resolve_targets(net, x, score, target)]


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
    """`function` of 0 .. n-1: networks are thread-safe, other people's functions may not be."""
    if isinstance(net, Network):
        return in_batches(lambda i: function(int(i[0])), n, 1, progress)
    values = []
    for i in range(n):
        values.append(function(i))
        if progress:
            progress(i + 1, n)
    return values
