"""Occlusion by full re-inference: every position is a forward pass. The slow, obvious path, for any score."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from saliency._batches import balanced_size
from saliency._programs import kept
from saliency.devices import in_turn, on_cpu
from saliency.models.black_box import ScoreFunction
from saliency.models.graph import Architecture, Weights
from saliency.occlusion.windows import Windows
from saliency.scores import Score

Step = Callable[[int], None]  # told how many positions were done
CPU_CHUNK = 16  # more positions at once leave the cache and run slower there
# Positions at once that keep an accelerator busy: more are no faster, and activations grow past 2**31 numbers
MAX_POSITIONS = 256


def hidden_images(image: Array, fill: Array, template: Array, starts: Array) -> Float[Array, "k h w c"]:
    """One image `[h, w, 3]` with a window at each start `[k, 2]` filled from `fill` `[h, w, 3]`."""
    height, width, _ = image.shape
    border = [(0, size) for size in template.shape]

    def hidden(start: Array) -> Array:
        blank = jnp.pad(jnp.zeros((height, width), template.dtype), border)
        opacity = lax.dynamic_update_slice(blank, template, (start[0], start[1]))
        return image + opacity[:height, :width, None].astype(image.dtype) * (fill - image)

    return jax.vmap(hidden)(starts)


@kept("architecture", "score")
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
    image: Float[np.ndarray, "h w c"],
    fill: Float[np.ndarray, "h w c"],
    windows: Windows,
    *,
    score: Score,
    target: int,
    chunk: int,
    step: Step,
) -> tuple[Float[np.ndarray, " p"], float]:
    """The score of one image under every window, `chunk` windows at a time; and the untouched image's: one position
    more, whose window lies beyond the image. By the same program, what hides nothing changes nothing, not even by
    rounding, and no other has to be compiled."""
    template, count = jnp.asarray(windows.template, image.dtype), len(windows.positions)
    starts = np.concatenate([windows.positions, np.array([windows.image], windows.positions.dtype)])
    left = count

    def counted(done: int) -> None:
        nonlocal left
        step(min(done, left))  # the one beyond is no position
        left -= min(done, left)

    scores = chunked(
        lambda i: network_scores(
            weights, image, fill, template, starts[i], target, architecture=architecture, score=score
        ),
        count + 1,
        chunk,
        counted,
    )
    return scores[:count], float(scores[count])


@kept("architecture")
def network_logits(
    weights: Weights,
    image: Array,
    fill: Array,
    templates: Float[Array, "s ph pw"],
    kinds: Array,
    starts: Array,
    *,
    architecture: Architecture,
) -> Float[Array, "k classes"]:
    """Every class's logit for one image under `k` windows, the i-th of which is `templates[kinds[i]]`."""
    hidden = jax.vmap(lambda kind, start: hidden_images(image, fill, templates[kind], start[None])[0])(kinds, starts)
    return architecture.upto(weights, hidden)


def dense_logits(
    architecture: Architecture,
    weights: Weights,
    image: Float[np.ndarray, "h w c"],
    fill: Float[np.ndarray, "h w c"],
    sizes: Sequence[Windows],
    *,
    chunk: int,
    step: Step,
) -> list[Float[np.ndarray, "p classes"]]:
    """Every class's logit of one image under every window of several sizes, which share one compilation.

    Templates are padded with transparent pixels to the largest, so that they have one shape.
    """
    reach = np.max([windows.patch for windows in sizes], axis=0)
    templates = jnp.asarray(
        [np.pad(w.template, [(0, largest - size) for largest, size in zip(reach, w.patch)]) for w in sizes], image.dtype
    )
    kinds = np.repeat(np.arange(len(sizes)), [len(windows.positions) for windows in sizes])
    starts = np.concatenate([windows.positions for windows in sizes])
    logits = chunked(
        lambda i: network_logits(weights, image, fill, templates, kinds[i], starts[i], architecture=architecture),
        len(starts),
        chunk,
        step,
    )
    return np.split(logits, np.cumsum([len(windows.positions) for windows in sizes])[:-1])


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
    return chunked(
        lambda i: function(_hidden(image, fill, template, windows.positions[i])), len(windows.positions), chunk, step
    )


def chunked(
    function: Callable[[np.ndarray], ArrayLike], total: int, chunk: int, step: Step
) -> Num[np.ndarray, "p ..."]:
    """`function` of the indices of `total` positions, `chunk` at a time; the last chunk repeats the last position."""
    chunk = balanced_size(total, chunk)  # so that little is computed in vain
    return np.concatenate(in_turn(function, total, chunk, step, "positions"))[:total]


def positions_for(architecture: Architecture, height: int, width: int, to: str, budget: int) -> int:
    """How many positions at once keep the activations below `budget` bytes: at least 1; no more than pay.

    XLA frees an activation once it is read, so the peak is the largest layer's inputs and output, twice over for
    copies that it makes.
    """
    shapes = architecture.shapes(height, width, to)
    peak = max(
        np.prod(shapes[node.name]) + sum(np.prod(shapes[name]) for name in node.inputs) + node.layer.scratch()
        for node in architecture.ancestors(to)
    )
    fit = max(1, int(budget // (2 * 4 * peak)))
    return min(fit, CPU_CHUNK if on_cpu() else MAX_POSITIONS)
