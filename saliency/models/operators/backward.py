"""Backward rules besides the derivative, as functions of what a layer computes: DeepLIFT's multipliers, and LRP's
relevance. An operator says which is its own.

`up` is what the layers above say of the output; each rule gives the same for each input.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

Function = Callable[..., Array]
TINY = 1e-6  # an input that differs less from its reference has the derivative for a multiplier
POINTS = 16  # Gauss-Legendre's, on the line between reference and input


@dataclass(frozen=True)
class Rules:
    """LRP's: gamma of convolutions and of dense layers (0: the epsilon rule), the stabiliser `epsilon`, and whether the
    first layer has the z-box rule."""

    gamma: float = 0.25
    dense_gamma: float = 0.0
    epsilon: float = 1e-6
    box: bool = True


def derivative(function: Function, xs: Sequence[Array], up: Array) -> tuple[Array, ...]:
    return jax.vjp(function, *xs)[1](up)


def rescaled(function: Function, x: Array, reference: Array, up: Array, least: float = TINY) -> Array:
    """DeepLIFT's rescale rule for an elementwise function (Shrikumar et al. 2017, section 3.5.1)."""
    change = x - reference
    tiny = jnp.abs(change) <= least
    slope = (function(x) - function(reference)) / jnp.where(tiny, 1, change)
    return jnp.where(tiny, derivative(function, [x], up)[0], up * slope)


def of_maxima(function: Function, x: Array, reference: Array, up: Array) -> Array:
    """Of maxima, as captum has it: where the maximum rose it is its place that raised it, where it fell the place of
    the reference's maximum."""
    change = x - reference
    tiny = jnp.abs(change) < TINY
    rise = function(x) - function(reference)
    (risen,) = derivative(function, [x], up * jnp.maximum(rise, 0))
    (fallen,) = derivative(function, [reference], up * jnp.minimum(rise, 0))
    return jnp.where(tiny, derivative(function, [x], up)[0], (risen + fallen) / jnp.where(tiny, 1, change))


def mean_derivative(
    function: Function, xs: Sequence[Array], references: Sequence[Array], up: Array
) -> tuple[Array, ...]:
    """The mean derivative along the line from the references to the inputs: what the rescale rule is of an elementwise
    function, for one that mixes its inputs. It accounts for all of the change (Sundararajan et al. 2017)."""
    nodes, weights = np.polynomial.legendre.leggauss(POINTS)
    points = jnp.asarray(np.stack([(nodes + 1) / 2, weights / 2], 1), xs[0].dtype)

    def add(total: tuple[Array, ...], point: Array) -> tuple[tuple[Array, ...], None]:
        between = [r + point[0] * (x - r) for x, r in zip(xs, references)]
        found = derivative(function, between, up)
        return tuple(t + point[1] * f for t, f in zip(total, found)), None

    return lax.scan(add, tuple(map(jnp.zeros_like, xs)), points)[0]


def at_the_middle(function: Function, xs: Sequence[Array], references: Sequence[Array], up: Array) -> tuple[Array, ...]:
    """Of a product of two, which then are given all of its difference: the derivative halfway."""
    return derivative(function, [(x + r) / 2 for x, r in zip(xs, references)], up)


def of_quotient(xs: Sequence[Array], references: Sequence[Array], up: Array) -> tuple[Array, ...]:
    """Of a / b: a times 1 / b, of which 1 / b goes by the rescale rule."""
    (a, b), (first, second) = xs, references

    def line(x: Array, y: Array) -> Array:  # between the two pairs
        return x * ((1 / b + 1 / second) / 2) - (a + first) / 2 * (y / (b * second))

    return derivative(line, xs, up)


def of_softmax(logits: Array, reference: Array, up: Array) -> Array:
    """Of a softmax over the last axis: exponentials by the rescale rule, and their quotient."""
    shift = jnp.maximum(logits, reference).max(-1, keepdims=True)
    power, other = jnp.exp(logits - shift), jnp.exp(reference - shift)
    of_power, of_total = of_quotient((power, power.sum(-1, keepdims=True)), (other, other.sum(-1, keepdims=True)), up)
    return rescaled(lambda x: jnp.exp(x - shift), logits, reference, of_power + of_total.sum(-1, keepdims=True))


def epsilon_rule(linear: Function, xs: Sequence[Array], output: Array, up: Array, epsilon: float) -> tuple[Array, ...]:
    """Each input gets of an output's relevance what it contributes to the output (Bach et al. 2015, Eq. 58); what the
    bias contributes is lost."""
    found = derivative(linear, xs, divided(up, output, epsilon))
    return tuple(x * f for x, f in zip(xs, found))


def gamma_rule(
    linear: Callable[[Array, Array], Array],
    kernel: Array,
    bias: Array | float,
    x: Array,
    up: Array,
    gamma: float,
    epsilon: float,
) -> Array:
    """`linear(kernel, x) + bias` with the contributions that agree with the output's sign strengthened by `gamma`.

    Montavon et al. 2019 (Eq. 10.11, the bias a weight among others), for inputs and outputs of both signs as in Andéol
    et al. 2021 and zennit.
    """

    def positive(of: Any) -> Any:
        return of + gamma * jnp.maximum(of, 0)

    def negative(of: Any) -> Any:
        return of + gamma * jnp.minimum(of, 0)

    above, below = jnp.maximum(x, 0), jnp.minimum(x, 0)
    parts = jnp.concatenate([above, below])  # two passes with one kernel are one of twice the images
    by_positive, back_positive = jax.vjp(lambda x: linear(positive(kernel), x), parts)
    by_negative, back_negative = jax.vjp(lambda x: linear(negative(kernel), x), parts)
    (a, b), (c, d) = (jnp.split(by, 2) for by in (by_positive, by_negative))  # each of `above`, of `below`
    output = (a + b + c + d) / (2 + gamma) + bias
    rising = divided(jnp.where(output > 0, up, 0), a + d + positive(bias), epsilon)
    falling = divided(jnp.where(output < 0, up, 0), c + b + negative(bias), epsilon)
    (of_positive,), (of_negative,) = (
        back_positive(jnp.concatenate([rising, falling])),
        back_negative(jnp.concatenate([falling, rising])),
    )
    to_above, to_below = jnp.split(of_positive + of_negative, 2)
    return above * to_above + below * to_below


def box_rule(
    layer: Callable[[Array, Array], Array], kernel: Array, x: Array, low: Array, high: Array, up: Array, epsilon: float
) -> Array:
    """The z-box rule for inputs between `low` and `high` (Montavon et al. 2017, section 4.2): `layer(kernel, x)` is
    linear, the bias left out."""

    def above(x: Array, low: Array, high: Array) -> Array:
        return layer(kernel, x) - layer(jnp.maximum(kernel, 0), low) - layer(jnp.minimum(kernel, 0), high)

    xs = [x, low, high]
    return sum(epsilon_rule(above, xs, above(*xs), up, epsilon), jnp.zeros_like(x))


def homogeneous_rule(
    function: Function, degree: float, xs: Sequence[Array], output: Array, up: Array, epsilon: float
) -> tuple[Array, ...]:
    """Of a product: the factors share its relevance (Achtibat et al. 2024, Proposition 3.3), as input times derivative
    is `degree` times the output."""
    return epsilon_rule(function, xs, degree * output, up, epsilon)


def divided(up: Array, output: Array, epsilon: float) -> Array:
    """`up / output`, the output moved away from 0 by `epsilon`; 0 where it still is 0."""
    output = output + jnp.where(output < 0, -epsilon, epsilon).astype(output.dtype)
    return jnp.where(output == 0, 0, up / jnp.where(output == 0, 1, output))
