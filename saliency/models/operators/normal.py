"""Normalisation and activations at each place, of networks after 2016."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from saliency.models.operators.backward import Rules, epsilon_rule, rescaled
from saliency.models.operators.base import Operator
from saliency.models.operators.regions import Parameters, Shape


@dataclass(frozen=True)
class Scale(Operator):
    """A factor and a summand for each channel: a batch norm that no convolution precedes."""

    elementwise: ClassVar[bool] = True
    local: ClassVar[bool] = True
    linear: ClassVar[bool] = True
    recomputed: ClassVar[bool] = True
    channelwise: ClassVar[bool] = True

    def parameter_shapes(self, *shapes: Shape) -> dict[str, Shape]:
        return {"kernel": shapes[0][-1:], "bias": shapes[0][-1:]}

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        return _along(parameters["kernel"], xs[0]) * xs[0] + _along(parameters["bias"], xs[0])

    def linear_part(self, parameters: Parameters, *xs: Array) -> Array:
        return _along(parameters["kernel"], xs[0]) * xs[0]

    def in_torch(self, parameters: Parameters) -> Any:
        from saliency.models.operators import torch_modules

        return torch_modules.scaled(parameters)


@dataclass(frozen=True)
class LayerNorm(Operator):
    """Mean 0 and variance 1 over the channels of each place or token, then a factor and a summand for each channel."""

    epsilon: float = 1e-6

    local: ClassVar[bool] = True
    has_relevance: ClassVar[bool] = True

    def parameter_shapes(self, *shapes: Shape) -> dict[str, Shape]:
        return {"kernel": shapes[0][-1:], "bias": shapes[0][-1:]}

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        (x,) = xs
        centred = x - x.mean(-1, keepdims=True)
        normal = centred * jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + self.epsilon)
        return _along(parameters["kernel"], x) * normal + _along(parameters["bias"], x)

    def multipliers(
        self, parameters: Parameters, xs: Sequence[Array], references: Sequence[Array], up: Array
    ) -> tuple[Array, ...]:
        """Of a centred value times the inverse deviation: their product's, and the inverse's by the rescale rule."""
        one, other = (x - x.mean(-1, keepdims=True) for x in (xs[0], references[0]))
        variance, reference = ((centred * centred).mean(-1, keepdims=True) for centred in (one, other))

        def inverse(variance: Array) -> Array:
            return jax.lax.rsqrt(variance + self.epsilon)

        up, middle = up * _along(parameters["kernel"], up), (one + other) / 2
        of_inverse = (up * middle).sum(-1, keepdims=True)
        of_variance = rescaled(inverse, variance, reference, of_inverse, least=0.0)
        found = up * (inverse(variance) + inverse(reference)) / 2 + of_variance * 2 * middle / one.shape[-1]
        return (found - found.mean(-1, keepdims=True),)

    def relevance(self, parameters: Parameters, xs: Sequence[Array], up: Array, rules: Rules) -> tuple[Array, ...]:
        """The deviation counts as a constant (Ali et al. 2022, section 3.3)."""
        (x,) = xs
        factor = _along(parameters["kernel"], x) * jax.lax.rsqrt(x.var(-1, keepdims=True) + self.epsilon)
        return epsilon_rule(
            lambda x: factor * (x - x.mean(-1, keepdims=True)), xs, self(parameters, x), up, rules.epsilon
        )

    def in_torch(self, parameters: Parameters) -> Any:
        from saliency.models.operators import torch_modules

        return torch_modules.layer_norm(parameters, self.epsilon)


@dataclass(frozen=True)
class Gelu(Operator):
    """x times the standard normal distribution function of x (Hendrycks & Gimpel 2016)."""

    elementwise: ClassVar[bool] = True
    local: ClassVar[bool] = True
    channelwise: ClassVar[bool] = True
    feature: ClassVar[bool] = True

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        return jax.nn.gelu(xs[0], approximate=False)

    def in_torch(self, parameters: Parameters) -> Any:
        from saliency.models.operators import torch_modules

        return torch_modules.gelu()


def _along(vector: Array, x: Array) -> Array:
    return jnp.reshape(vector, (*[1] * (x.ndim - 1), -1))
