"""FullGrad: what the image and every layer's constant term add to the score, as one map (Srinivas & Fleuret 2019).

A layer f stands at x for its tangent J x + b, with b = f(x) - J x: a convolution's bias, 0 for a ReLU or a pool, and
what curves of a SiLU or a normalisation. Then score = <d score / d image, image> + the sum over layers of
<d score / d output, b>, exactly, for every network (their Eq. 4 and 8).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from saliency._batches import default_batch, map_batches, shard_batch
from saliency._checks import ImagesLike, function, kind_of
from saliency.maps.gradient import Progress
from saliency.models.graph import Architecture, Weights
from saliency.models.network import Network, check_input
from saliency.models.operators import Operator, Parameters
from saliency.scores import Score, Target, class_logits, resolve_targets


def full_grad(
    net: Network,
    x: ImagesLike,
    *,
    target: Target = None,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n h w"]:
    """The absolute values of input times gradient and of each layer's bias gradient, each scaled to 0..1 an image,
    enlarged bilinearly and added up over channels and layers (Srinivas & Fleuret 2019, Eq. 9).

    `x` is float `[n, h, w, 3]` as `net.preprocess` gives it, `target` class indices or names (default: the predicted
    class); maps are float32 `[n, h, w]`, at least 0. Layers without height and width add to the score, but not to the
    map. One forward and one backward pass.

    >>> import numpy as np, saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> x = net.preprocess(np.zeros((1, 96, 96, 3), np.uint8))
    >>> saliency.full_grad(net, x, target=3).shape
    (1, 96, 96)
    """
    kind_of("net", net, Network, "as load_network gives it")
    function("progress", progress, "(done, total)")
    x = check_input(net, x)
    targets = resolve_targets(net, x, Score(), target)
    weights, architecture = net.weights, net.architecture

    def maps(i: np.ndarray) -> Array:
        return _maps(weights, shard_batch(x, i), shard_batch(targets, i), architecture=architecture)

    return map_batches(
        maps, len(x), default_batch(architecture, x.shape, architecture.last), x.shape[1:3], progress
    ).astype(np.float32, copy=False)


def full_gradients(
    architecture: Architecture, weights: Weights, x: Float[Array, "n h w 3"], targets: Array
) -> dict[str, Array]:
    """Layer -> what each of its outputs adds to the class logit by its constant term; the first layer, the image,
    stands for input times gradient. All of them add up to the logit."""
    path = architecture.ancestors(architecture.last)
    outputs = architecture.activations(weights, x)

    def logit(offsets: dict[str, Array]) -> Array:
        done: dict[str, Array] = {}
        for node in path:
            found = node.layer(weights.get(node.name, {}), *([done[name] for name in node.inputs] or [x]))
            done[node.name] = found + offsets[node.name]
        logits = class_logits(architecture, done[architecture.last])
        return jnp.take_along_axis(logits, targets[:, None], -1).sum()

    derivatives = jax.grad(logit)({name: jnp.zeros_like(value) for name, value in outputs.items()})
    found = {path[0].name: derivatives[path[0].name] * outputs[path[0].name]}
    for node in path[1:]:
        if not (node.layer.rectifies or node.layer.takes_maximum):  # those are their own tangents
            constant = _constant(node.layer, weights.get(node.name, {}), [outputs[name] for name in node.inputs])
            found[node.name] = derivatives[node.name] * constant
    return found


def _constant(layer: Operator, parameters: Parameters, inputs: list[Array]) -> Array:
    """What a layer adds to its tangent's product with the inputs."""
    if layer.linear:
        return layer(parameters, *map(jnp.zeros_like, inputs))
    output, along = jax.jvp(partial(layer, parameters), inputs, inputs)
    return output - along


@partial(jax.jit, static_argnames="architecture")
def _maps(weights: Weights, x: Array, targets: Array, *, architecture: Architecture) -> Array:
    total = jnp.zeros(x.shape[:3], x.dtype)
    for layer, terms in full_gradients(architecture, weights, x, targets).items():
        terms = jnp.abs(architecture.as_map(layer, terms))
        if terms.ndim != 4:
            continue
        lowest, highest = terms.min((1, 2, 3), keepdims=True), terms.max((1, 2, 3), keepdims=True)
        scaled = (terms - lowest) / jnp.where(highest > lowest, highest - lowest, 1)
        total += jax.image.resize(scaled.sum(-1), x.shape[:3], "bilinear")
    return total
