"""The score handed back layer by layer, by rules of each operator's own: DeepLIFT's multipliers and LRP's relevance.

Images are float `[n, h, w, c]` in the network's normalised space, maps float32 `[n, h, w]`, signed.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from saliency._batches import default_batch, map_batches, shard_batch
from saliency._checks import ImagesLike, function, kind_of, number, one_of
from saliency.errors import InputError
from saliency.maps.gradient import Progress
from saliency.models.graph import Architecture, Node, Weights
from saliency.models.network import Network, check_input
from saliency.models.operators.backward import Rules, mean_derivative
from saliency.occlusion.windows import Fill, fill_images
from saliency.scores import Score, Target, as_score, class_logits, resolve_targets

LrpRule = Literal["epsilon-gamma-box", "epsilon", "gamma", "zero"]


def deep_lift(
    net: Network,
    x: ImagesLike,
    *,
    score: str | Score = "logit",
    target: Target = None,
    fill: Fill = "grey",
    baselines: ImagesLike | None = None,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n h w"]:
    """DeepLIFT by the rescale rule (Shrikumar et al. 2017): what each pixel's difference from the fill adds to the
    score. A map sums to score(image) - score(fill).

    An elementwise layer multiplies by its output's difference over its input's, a maximum goes by captum's rule, a
    linear layer by its weights; every other one (a normalisation, attention, a product) by its mean derivative along
    the line from the one activation to the other, which is what the rescale rule is for an elementwise one.

    Args:
        net: any network.
        x: float `[n, h, w, c]` as `net.preprocess` gives it.
        score: as for `gradient_maps`.
        target: class indices or names (default: the predicted class).
        fill: the reference, in pixels, as for occlusion.
        baselines: references in place of `fill`: normalised images `[m, h, w, c]`, each the reference of all; the map
            is the mean over them (DeepLIFT SHAP, Lundberg & Lee 2017).
        progress: called with (done, total) images.

    Returns:
        float32 `[n, h, w]`, the channels summed. Two forward passes and one backward for each reference.

    Raises InputError as `gradient_maps` does, and for baselines of another size than the images.

    >>> import numpy as np, saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> x = net.preprocess(np.full((1, 96, 96, 3), 200, np.uint8))
    >>> found = saliency.deep_lift(net, x, target=3, fill=0)
    >>> black = net.preprocess(np.zeros((1, 96, 96, 3), np.uint8))
    >>> bool(np.isclose(found.sum(), (net(x) - net(black))[0, 3], rtol=1e-2))
    True
    """
    kind_of("net", net, Network, "as load_network gives it")
    function("progress", progress, "(done, total)")
    score = as_score(score)
    last = score.layer_in(net.architecture)
    x = check_input(net, x, last)
    targets = resolve_targets(net, x, score, target)
    if baselines is None:
        references = np.asarray(fill_images(x, fill, net.preprocess))[None]  # [1, n, h, w, c]
    else:
        references = check_input(net, baselines, last)[:, None]
        if references.shape[2:] != x.shape[1:] or not len(references):
            raise InputError(f"baselines must be images of x's size, [m, {', '.join(map(str, x.shape[1:]))}]")
    weights, architecture = net.weights, score.explained(net.architecture)
    last = score.layer_in(architecture)

    def maps(i: np.ndarray) -> Array:
        image, own = shard_batch(x, i), shard_batch(targets, i)
        total = jnp.zeros(image.shape[:3], image.dtype)
        for each in references:
            reference = shard_batch(np.broadcast_to(each, x.shape), i)
            total += _lifted(weights, image, reference, own, architecture=architecture, score=score)
        return total / len(references)

    size = default_batch(architecture, x.shape, last)
    return map_batches(maps, len(x), size, x.shape[1:3], progress).astype(np.float32, copy=False)


def lrp(
    net: Network,
    x: ImagesLike,
    *,
    rule: LrpRule = "epsilon-gamma-box",
    epsilon: float = 1e-6,
    gamma: float = 0.25,
    target: Target = None,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n h w"]:
    """Layer-wise relevance propagation: the class logit, shared out layer by layer among what contributed to it.

    Args:
        net: a network; one that came as a function, and has a layer that is neither linear nor elementwise nor a
            product, is refused.
        x: float `[n, h, w, c]` as `net.preprocess` gives it.
        rule: "epsilon" (Bach et al. 2015, Eq. 58) for all linear layers; "gamma" (Montavon et al. 2019) for all;
            "zero", epsilon with nothing added, which loses nothing but what biases take; or "epsilon-gamma-box",
            the usual composite (zennit's EpsilonGammaBox): epsilon for dense layers, gamma for convolutions, and for
            the first layer the z-box rule (Montavon et al. 2017) between black and white.
        epsilon: what is added to a layer's output before it divides.
        gamma: how much contributions that agree with an output's sign are strengthened.
        target: class indices or names (default: the predicted class).
        progress: called with (done, total) images.

    Elementwise layers pass relevance through, a maximum gives it to its place, a normalisation's deviation and
    attention count as constants (Ali et al. 2022), and the factors of a product share.

    Returns:
        float32 `[n, h, w]`, the channels summed.

    Raises InputError as `gradient_maps` does, and for numbers out of range.

    >>> import numpy as np, saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> x = net.preprocess(np.zeros((1, 96, 96, 3), np.uint8))
    >>> saliency.lrp(net, x, target=3).shape
    (1, 96, 96)
    """
    kind_of("net", net, Network, "as load_network gives it")
    function("progress", progress, "(done, total)")
    one_of("rule", rule, get_args(LrpRule))
    number("epsilon", epsilon, least=0)
    number("gamma", gamma, least=0)
    rules = {
        "epsilon-gamma-box": Rules(gamma, 0.0, epsilon, box=True),
        "epsilon": Rules(0.0, 0.0, epsilon, box=False),
        "gamma": Rules(gamma, gamma, epsilon, box=False),
        "zero": Rules(0.0, 0.0, 0.0, box=False),
    }[rule]
    check_relevance(net.architecture)
    x = check_input(net, x)
    targets = resolve_targets(net, x, Score(), target)
    weights, architecture = net.weights, net.architecture
    ends = np.array([[0.0] * net.preprocess.channels, [255.0] * net.preprocess.channels])
    box = jnp.sort(jnp.asarray(net.preprocess.normalise(ends), x.dtype), 0)  # [2, c]

    def maps(i: np.ndarray) -> Array:
        inputs = shard_batch(x, i), shard_batch(targets, i)
        return _relevance(weights, *inputs, box, architecture=architecture, rules=rules)

    size = default_batch(architecture, x.shape, architecture.last)
    return map_batches(maps, len(x), size, x.shape[1:3], progress).astype(np.float32, copy=False)


def check_relevance(architecture: Architecture) -> None:
    """InputError where a layer has no LRP rule."""
    architecture.require_logits()
    for node in architecture.ancestors(architecture.last):
        if not node.layer.has_relevance:
            raise InputError(
                f"{architecture.name}: LRP has no rule for layer {node.name}, which is neither linear nor elementwise"
                " nor a product; deep-lift and integrated-gradients take any network"
            )


@partial(jax.jit, static_argnames=("architecture", "score"))
def _lifted(
    weights: Weights, x: Array, reference: Array, targets: Array, *, architecture: Architecture, score: Score
) -> Float[Array, "n h w"]:
    last = score.layer_in(architecture)
    done, other = (architecture.activations(weights, images, last) for images in (x, reference))

    def scored(activation: Array) -> Array:
        if score.kind == "gestalt":
            return activation.mean(range(1, activation.ndim))
        return score.of_logits(architecture, activation, targets)

    (first,) = mean_derivative(scored, [done[last]], [other[last]], jnp.ones(len(x), done[last].dtype))

    def handed(node: Node, inputs: Sequence[str], up: Array) -> Sequence[Array]:
        xs, references = ([values[name] for name in inputs] for values in (done, other))
        return node.layer.multipliers(weights.get(node.name, {}), xs, references, up)

    return ((x - reference) * _handed_back(architecture, last, first, handed)).sum(-1)


@partial(jax.jit, static_argnames=("architecture", "rules"))
def _relevance(
    weights: Weights, x: Array, targets: Array, box: Float[Array, "2 c"], *, architecture: Architecture, rules: Rules
) -> Float[Array, "n h w"]:
    last = architecture.last
    done = architecture.activations(weights, x)

    def logit(outputs: Array) -> Array:
        return jnp.take_along_axis(class_logits(architecture, outputs), targets[:, None], -1).sum()

    first = _first_weighted(architecture) if rules.box else set()
    bounds = [
        _early(architecture, weights, jnp.broadcast_to(end, (1, *x.shape[1:])), first) for end in (box if first else ())
    ]

    def handed(node: Node, inputs: Sequence[str], up: Array) -> Sequence[Array]:
        parameters, xs = weights.get(node.name, {}), [done[name] for name in inputs]
        if node.name not in first:
            return node.layer.relevance(parameters, xs, up, rules)
        ends = [values[inputs[0]] for values in bounds]
        low, high = (jnp.broadcast_to(end, xs[0].shape) for end in (jnp.minimum(*ends), jnp.maximum(*ends)))
        return [node.layer.boxed_relevance(parameters, xs[0], low, high, up, rules)]

    return _handed_back(architecture, last, jax.grad(logit)(done[last]) * done[last], handed).sum(-1)


def _handed_back(
    architecture: Architecture, last: str, first: Array, handed: Callable[[Node, Sequence[str], Array], Sequence[Array]]
) -> Array:
    """What reaches the image of what the layer `last` starts with, each layer handing its own to its inputs."""
    path = architecture.ancestors(last)
    found: dict[str, Array] = {last: first}
    for node in reversed(path[1:]):
        for name, part in zip(node.inputs, handed(node, node.inputs, found[node.name])):
            found[name] = found[name] + part if name in found else part
    return found[path[0].name]


def _first_weighted(architecture: Architecture) -> set[str]:
    """The weighted layers that see pixels: before them there is nothing but padding, scaling and the like."""
    path = architecture.ancestors(architecture.last)
    plain = {path[0].name}
    for node in path[1:]:
        if node.layer.linear and not node.layer.weighted and plain.issuperset(node.inputs):
            plain.add(node.name)
    return {node.name for node in path[1:] if node.layer.weighted and plain.issuperset(node.inputs)}


def _early(architecture: Architecture, weights: Weights, x: Array, to: set[str]) -> dict[str, Array]:
    """The activations that the layers `to` read, of an image of one colour."""
    found: dict[str, Array] = {}
    for name in to:
        for before in architecture.by_name[name].inputs:
            found |= architecture.activations(weights, x, before)
    return found
