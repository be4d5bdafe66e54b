"""DeepLIFT's multipliers of a program, primitive by primitive: each step runs for the input and for its reference, and
its rule on the way back accounts for all of the difference."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from saliency.models.operators import backward
from saliency.models.operators.primitives import ELEMENTWISE, LINEAR

Run = Callable[..., Any]


def lifted(run: Run, name: str, dependent: Sequence[bool], values: Sequence[Array], references: Sequence[Array]) -> Any:
    """A primitive's result, `run(*values)`, whose derivative to the `dependent` values is their multiplier."""
    return _lifted(run, name, tuple(dependent), tuple(values), tuple(references))


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _lifted(run: Run, name: str, dependent: tuple[bool, ...], values: tuple, references: tuple) -> Any:
    return run(*values)


def _forward(run: Run, name: str, dependent: tuple[bool, ...], values: tuple, references: tuple) -> tuple[Any, Any]:
    return run(*values), (values, references)


def _backward(run: Run, name: str, dependent: tuple[bool, ...], saved: tuple, up: Any) -> tuple[tuple, tuple]:
    values, references = saved
    places = [i for i, one in enumerate(dependent) if one]

    def function(*xs: Array) -> Any:
        held = list(values)
        for i, x in zip(places, xs):
            held[i] = x
        return run(*held)

    xs, others = ([all_of[i] for i in places] for all_of in (values, references))
    found: list[Any] = [jnp.zeros_like(value) for value in values]
    for i, one in zip(places, _multipliers(function, name, xs, others, up)):
        found[i] = one
    return tuple(found), tuple(map(jnp.zeros_like, references))


_lifted.defvjp(_forward, _backward)


def _multipliers(
    function: Run, name: str, xs: Sequence[Array], references: Sequence[Array], up: Any
) -> Sequence[Array]:
    if len(xs) == 1 and name in ELEMENTWISE:
        return [backward.rescaled(function, xs[0], references[0], up, least=0.0)]
    if name in ("mul", "dot_general"):
        return backward.at_the_middle(function, xs, references, up)
    if name == "div":  # of two that depend on the image; by a constant it is elementwise
        return backward.of_quotient(xs, references, up)
    if name in LINEAR:
        return backward.derivative(function, xs, up)
    if name == "reduce_max":
        return [backward.of_maxima(function, xs[0], references[0], up)]
    if name == "reduce_min":
        return [backward.of_maxima(lambda x: -function(x), xs[0], references[0], -up)]
    return backward.mean_derivative(function, xs, references, up)
