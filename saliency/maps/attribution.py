"""Maps made of input gradients: multiplied by the input, averaged over noise or along a path, or with other ReLUs.

Images are float `[n, h, w, 3]` in the network's normalised space, maps float32 `[n, h, w]`. A recipe says how gradients
become a map. Only the gradient is compiled, once for all recipes; its values are summed as they come, so memory does
not grow with the number of samples or steps.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Literal, Protocol, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from saliency._batches import default_batch, map_batches, shard_batch
from saliency._checks import ImagesLike, function, kind_of, number, one_of, whole
from saliency.maps.gradient import Progress, input_gradient, reduce_channels
from saliency.models.graph import Architecture, Weights
from saliency.models.network import Network, check_input
from saliency.models.operators import Parameters, Relu
from saliency.occlusion.windows import Fill, fill_images
from saliency.scores import Score, Target, as_score, resolve_targets

Gradient = Callable[[Float[Array, "n h w c"]], Float[Array, "n h w c"]]
ReluRule = Literal["exact", "guided", "deconvolution"]
Moment = Literal["mean", "variance", "square"]  # of noisy copies' gradients


class Recipe(Protocol):
    """How gradients become a map of `x`; `baseline` is the image that stands for nothing."""

    def __call__(
        self, gradient: Gradient, x: Float[Array, "n h w c"], baseline: Float[Array, "n h w c"]
    ) -> Float[Array, "n h w"]: ...


@dataclass(frozen=True)
class Sensitivity:
    """The largest absolute derivative of the three channels."""

    def __call__(self, gradient: Gradient, x: Array, baseline: Array) -> Array:
        return reduce_channels(gradient(x), "max")


@dataclass(frozen=True)
class InputXGradient:
    """sum over channels of x * gradient: signed, and the score itself for a linear one (Shrikumar et al. 2016)."""

    def __call__(self, gradient: Gradient, x: Array, baseline: Array) -> Array:
        return (x * gradient(x)).sum(-1)


@dataclass(frozen=True)
class NoisyGradients:
    """The mean (SmoothGrad, Smilkov et al. 2017), variance (VarGrad, Adebayo et al. 2018) or mean square (SmoothGrad
    Squared, Hooker et al. 2019) of noisy images' gradients.

    `noise` is the Gaussian's deviation as a share of each image's range. All images get the same draws, so that a map
    does not depend on its neighbours.
    """

    moment: Moment
    samples: int
    noise: float
    seed: int = 0

    def __post_init__(self) -> None:
        one_of("moment", self.moment, get_args(Moment))
        whole("samples", self.samples, least=1)
        number("noise", self.noise, least=0)
        whole("seed", self.seed)

    def __call__(self, gradient: Gradient, x: Array, baseline: Array) -> Array:
        return NoisyMoments((self.moment,), self.samples, self.noise, self.seed)(gradient, x, baseline)[:, 0]


@dataclass(frozen=True)
class NoisyMoments:
    """`NoisyGradients` by each of several `moments`, of the same gradients: maps `[n, moments, h, w]`."""

    moments: tuple[Moment, ...]
    samples: int
    noise: float
    seed: int = 0

    def __call__(self, gradient: Gradient, x: Array, baseline: Array) -> Array:
        deviation = self.noise * (x.max((1, 2, 3), keepdims=True) - x.min((1, 2, 3), keepdims=True))
        rng = np.random.default_rng(self.seed)
        total = squares = jnp.zeros_like(x)
        for _ in range(self.samples):
            g = gradient(x + deviation * jnp.asarray(rng.standard_normal(x.shape[1:], np.float32), x.dtype)[None])
            total, squares = total + g, squares + g * g
        mean = total / self.samples
        found = {
            "mean": lambda: mean,
            "square": lambda: squares / self.samples,
            "variance": lambda: jnp.maximum(squares / self.samples - mean**2, 0),
        }
        return jnp.stack([reduce_channels(found[moment](), "max") for moment in self.moments], 1)


@dataclass(frozen=True)
class IntegratedGradients:
    """(x - baseline) * the mean gradient along the line from the baseline, summed over channels.

    Sundararajan et al. 2017.

    A map sums to score(x) - score(baseline), up to the error of Gauss-Legendre's rule with `steps` points, at most
    1000.
    """

    steps: int

    def __post_init__(self) -> None:
        whole("steps", self.steps, least=1, most=1000)  # the rule's points are eigenvalues of a matrix so large

    def __call__(self, gradient: Gradient, x: Array, baseline: Array) -> Array:
        return self.each_channel(gradient, x, baseline).sum(-1)

    def each_channel(self, gradient: Gradient, x: Array, baseline: Array) -> Array:
        """`[n, h, w, c]`, before the sum."""
        total = jnp.zeros_like(x)
        for node, weight in zip(*np.polynomial.legendre.leggauss(self.steps)):  # on -1..1, weights adding up to 2
            total += float(weight) / 2 * gradient(baseline + (float(node) + 1) / 2 * (x - baseline))
        return (x - baseline) * total


def attribution_maps(
    net: Network,
    x: ImagesLike,
    recipe: Recipe,
    *,
    score: str | Score = "logit",
    target: Target = None,
    relu: ReluRule = "exact",
    fill: Fill = "grey",
    progress: Progress | None = None,
) -> Float[np.ndarray, "n *moments h w"]:
    """The recipe's maps, of `NoisyMoments` one a moment; `fill` (in pixels, as for occlusion) makes the baseline.

    `target` holds class indices, default the class predicted for the image itself. Raises InputError as
    `gradient_maps` does.
    """
    kind_of("net", net, Network, "as load_network gives it")
    one_of("relu", relu, get_args(ReluRule))
    function("progress", progress, "(done, total)")
    score = as_score(score)
    x = check_input(net, x, score.layer_in(net.architecture))
    targets = resolve_targets(net, x, score, target)
    baseline = fill_images(x, fill, net.preprocess)
    architecture, weights = with_relu(net.architecture, relu), net.weights
    size = default_batch(architecture, x.shape, score.layer_in(architecture))

    def maps(i: np.ndarray) -> Array:
        gradient = partial(_gradient, weights, shard_batch(targets, i), architecture, score)
        return recipe(gradient, shard_batch(x, i), shard_batch(baseline, i))

    return map_batches(maps, len(x), size, x.shape[1:3], progress).astype(np.float32, copy=False)


def _gradient(weights: Weights, targets: Array, architecture: Architecture, score: Score, x: Array) -> Array:
    return input_gradient(weights, x, targets, architecture=architecture, score=score)


@dataclass(frozen=True)
class OneWayRelu(Relu):
    """A ReLU that sends only positive derivatives back.

    Guided backprop (Springenberg et al. 2015) keeps them where the unit was active too (its input positive, and below
    the ceiling of a ReLU6); a deconvolution network
    (Zeiler & Fergus 2014) everywhere.
    """

    rule: ReluRule = "guided"

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        return _one_way_relu(self.rule, Relu(self.most), xs[0])


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _one_way_relu(rule: ReluRule, relu: Relu, x: Array) -> Array:
    return relu({}, x)


def _forward(rule: ReluRule, relu: Relu, x: Array) -> tuple[Array, Array]:
    return relu({}, x), x > 0 if relu.most is None else (x > 0) & (x < relu.most)


def _backward(rule: ReluRule, relu: Relu, active: Array, derivative: Array) -> tuple[Array]:
    derivative = jax.nn.relu(derivative)
    return (jnp.where(active, derivative, 0) if rule == "guided" else derivative,)


_one_way_relu.defvjp(_forward, _backward)


@cache
def with_relu(architecture: Architecture, rule: ReluRule) -> Architecture:
    """The same network with another backward rule in every ReLU."""
    if rule == "exact":
        return architecture
    nodes = (
        replace(node, layer=OneWayRelu(node.layer.most, rule)) if isinstance(node.layer, Relu) else node
        for node in architecture.nodes
    )
    return replace(architecture, nodes=tuple(nodes))
