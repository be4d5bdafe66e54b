"""A classifier under masks, and how its figures hang on the shape of what is hidden.

Videos are float `[n, t, h, w, 3]` in the network's normalised space (a photo is a video of one frame), masks bool
`[n, t, h, w]`, True where the fill shows, log-probabilities float32 `[n, t, k]`.
"""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from saliency._batches import batches, default_batch, shard_batch
from saliency.errors import InputError
from saliency.models.graph import Architecture, Weights
from saliency.models.network import Network
from saliency.robustness.calibration import Sampled
from saliency.scores import class_count


def masked_log_probabilities(
    net: Network,
    x: Float[np.ndarray, "n t h w 3"],
    hidden: Bool[np.ndarray, "n t h w"],
    fill: Float[np.ndarray, "n t h w 3"] | float = 0.0,
    batch: int | None = None,
) -> Float[np.ndarray, "n t k"]:
    """Log-probabilities of every frame with the fill, in normalised units, where it is hidden.

    Raises InputError where the masks are not of the frames' shape, and for a network with one output: it has no other
    class to mistake a frame for.
    """
    if class_count(net.architecture) < 2:
        raise InputError(f"{net.name} has one output; to be right or wrong takes two classes at least")
    if x.ndim != 5 or hidden.shape != x.shape[:4]:
        raise InputError(f"videos must be [n, t, h, w, 3] and masks [n, t, h, w], not {x.shape} and {hidden.shape}")
    n, t, height, width, channels = x.shape
    frames, masks = x.reshape(n * t, height, width, channels), np.asarray(hidden).reshape(n * t, height, width)
    fills = np.broadcast_to(fill, x.shape).reshape(frames.shape)
    weights = net.weights
    parts = [
        np.asarray(
            _masked(weights, *(shard_batch(part[i]) for part in (frames, masks, fills)), architecture=net.architecture)
        )
        for i in batches(n * t, batch or default_batch(net.architecture, frames.shape, net.architecture.last))
    ]
    return np.concatenate(parts)[: n * t].reshape(n, t, -1)


@partial(jax.jit, static_argnames="architecture")
def _masked(weights: Weights, x: Array, hidden: Array, fill: Array, *, architecture: Architecture) -> Array:
    return jax.nn.log_softmax(architecture.upto(weights, jnp.where(hidden[..., None], fill, x)))


def slopes(
    values: Float[np.ndarray, " n"],
    descriptors: Mapping[str, Float[np.ndarray, " n"]],
    weights: Float[np.ndarray, "draws n"],
) -> dict[str, Sampled]:
    """Least squares: how `values` change with one standard deviation of each descriptor while the others stay.

    `weights` are those of `calibration.resample_weights`. A descriptor that does not vary has slope 0.
    """
    columns = np.stack([np.asarray(column, float) for column in descriptors.values()], 1)
    deviation = columns.std(0)
    columns = np.divide(columns - columns.mean(0), deviation, out=np.zeros_like(columns), where=deviation > 1e-12)
    design = np.concatenate([np.ones((len(columns), 1)), columns], 1)
    weights = np.concatenate([np.ones((1, len(values))), weights])  # the first draw is the sample itself
    products = np.einsum("ni,nj->nij", design, design).reshape(len(design), -1)
    normal = (weights @ products).reshape(len(weights), *[design.shape[1]] * 2)
    moments = weights @ (design * np.asarray(values, float)[:, None])
    solved = np.einsum("dij,dj->di", np.linalg.pinv(normal, hermitian=True), moments)
    return {name: Sampled(float(solved[0, i]), solved[1:, i]) for i, name in enumerate(descriptors, 1)}
