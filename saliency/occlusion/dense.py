"""Occlusion by full re-inference: every position is a forward pass. The slow, obvious path, for any score."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from saliency.networks.architecture import Architecture, Weights
from saliency.occlusion.windows import Windows
from saliency.scores import Score

ScoreFunction = Callable[[Float[Array, "n h w c"]], Float[Array, " n"]]
Step = Callable[[int], None]  # told how many positions were done


def hidden_images(image: Array, fill: Array, template: Array, starts: Array) -> Float[Array, "k h w 3"]:
    """One image `[h, w, 3]` with a window at each start `[k, 2]` filled from `fill` `[h, w, 3]`."""
    height, width, _ = image.shape
    border = [(0, size) for size in template.shape]

    def hidden(start: Array) -> Array:
        opacity = lax.dynamic_update_slice(jnp.pad(jnp.zeros((height, width)), border), template, (start[0], start[1]))
        return image + opacity[:height, :width, None].astype(image.dtype) * (fill - image)

    return jax.vmap(hidden)(starts)


@partial(jax.jit, static_argnames=("architecture", "score"))
def network_scores(
    weights: Weights,
    image: Array,
    fill: Array,
    template: Array,
    starts: Array,
    target: Array,
    *,
    architecture: Architecture,
    score: Score,
) -> Float[Array, " k"]:
    """Scores of one image under each of `k` windows."""
    hidden = hidden_images(image, fill, template, starts)
    return score(architecture, weights, hidden, jnp.full(len(starts), target))


_hidden = jax.jit(hidden_images)


def dense_scores(
    architecture: Architecture,
    weights: Weights,
    image: Float[np.ndarray, "h w 3"],
    fill: Float[np.ndarray, "h w 3"],
    windows: Windows,
    *,
    score: Score,
    target: int,
    chunk: int,
    step: Step,
) -> Float[np.ndarray, " p"]:
    """The score of one image under every window, `chunk` windows at a time."""
    template = jnp.asarray(windows.template, image.dtype)
    return chunked(
        lambda starts: network_scores(
            weights, image, fill, template, starts, target, architecture=architecture, score=score
        ),
        windows,
        chunk,
        step,
    )


def black_box_scores(
    function: ScoreFunction,
    image: Float[np.ndarray, "h w c"],
    fill: Float[np.ndarray, "h w c"],
    windows: Windows,
    *,
    chunk: int,
    step: Step,
) -> Float[np.ndarray, " p"]:
    """The same for any function from images `[k, h, w, c]` to scores `[k]`, which need not be JAX's."""
    template = jnp.asarray(windows.template, image.dtype)
    return chunked(lambda starts: function(_hidden(image, fill, template, starts)), windows, chunk, step)


def chunked(
    function: Callable[[np.ndarray], Array], windows: Windows, chunk: int, step: Step
) -> Float[np.ndarray, " p"]:
    """Values of every position, `chunk` at a time; the last chunk is filled up with the last position."""
    positions = windows.positions
    count = -(-len(positions) // chunk)
    chunk = -(-len(positions) // count)  # as even as it goes, so that little is computed in vain
    values = []
    for first in range(0, len(positions), chunk):
        index = np.minimum(np.arange(first, first + chunk), len(positions) - 1)
        values.append(np.asarray(function(positions[index])))
        step(min(chunk, len(positions) - first))
    return np.concatenate(values)[: len(positions)]


def positions_for(architecture: Architecture, height: int, width: int, to: str, budget: int) -> int:
    """How many positions at once keep the activations below `budget` bytes: at least 1.

    XLA frees an activation once it is read, so the peak is the largest layer's inputs and output, twice over for
    copies that it makes.
    """
    shapes = architecture.shapes(height, width, to)
    peak = max(
        np.prod(shapes[node.name]) + sum(np.prod(shapes[name]) for name in node.inputs)
        for node in architecture.ancestors(to)
    )
    return max(1, int(budget // (2 * 4 * peak)))
