"""Operators in the making: the pieces that a function's primitives become, before they are joined and named."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from saliency.models.operators import Operator, Shape
from saliency.models.operators.program import Scalar
from saliency.models.tracing.equations import Equation, flat

Spatial = tuple[int, int] | None  # which axes of a value are height and width
Ref = tuple[str, int]  # ("input", i), ("constant", i), ("result", i) of a piece


@dataclass(frozen=True, eq=False)
class Value:
    """A variable that depends on the image: a result of a piece, perhaps reshaped. `alone` means that nothing reads it
    but through the variable that it is read by now."""

    piece: "Piece"
    result: int
    shape: Shape
    spatial: Spatial
    alone: bool = True


@dataclass(eq=False)
class Piece:
    """An operator in the making: a finished one, or the steps of a `Pointwise` or an `Opaque` that is to grow."""

    kind: str
    scope: str
    inputs: list[Value]
    results: list[tuple[Shape, Spatial]]
    operator: Operator | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    steps: list[tuple[Any, dict[str, Any], list[Ref | Scalar], int]] = field(default_factory=list)
    constants: list[tuple[Any, Shape | None]] = field(default_factory=list)  # array; its shape at a place, if a map
    multiplications: int = 0
    heads: int = 0  # of attention, which becomes a layer of its own
    order: int = field(default_factory=count().__next__)

    def value(self, result: int = 0) -> Value:
        return Value(self, result, *self.results[result])


@dataclass(frozen=True, eq=False)
class Broadcast:
    """A constant or a vector that was repeated along new axes: kept as it was."""

    source: Any  # a constant, or a Value
    shape: Shape
    dimensions: tuple[int, ...]


def at_one_place(shape: Shape, spatial: tuple[int, int]) -> Shape:
    """The shape at one place."""
    return tuple(size for axis, size in enumerate(shape) if axis not in spatial)


def moved(axis: int, spatial: tuple[int, int]) -> int:
    """An axis other than height and width, once these are gone."""
    return axis - sum(s < axis for s in spatial)


def places(value: Value) -> tuple[int, int]:
    assert value.spatial
    return value.shape[value.spatial[0]], value.shape[value.spatial[1]]


def view(value: Value) -> tuple:
    return value.piece, value.result, value.shape, value.spatial


def inner(shape: Shape, spatial: Spatial, pointwise: bool) -> Shape:
    """How an operator's steps take a value."""
    if not pointwise:
        return tuple(shape)
    return at_one_place(shape, spatial) if spatial else (prod(shape),)


def operand_ref(piece: Piece, operand: Any) -> Ref | Scalar:
    if isinstance(operand, Value):
        views = [view(value) for value in piece.inputs]
        if view(operand) not in views:
            piece.inputs.append(operand)
            views.append(view(operand))
        return "input", views.index(view(operand))
    if np.ndim(operand) == 0:
        value = np.asarray(operand)
        return Scalar(value.item(), str(value.dtype))
    return constant_ref(piece, operand, None)


def constant_ref(piece: Piece, array: Any, placed: Shape | None) -> Ref:
    piece.constants.append((array, placed))
    return "constant", len(piece.constants) - 1


def append(piece: Piece, steps: list[tuple[Any, dict[str, Any]]], ref: Ref | Scalar) -> Ref:
    for primitive, params in steps:
        piece.steps.append((primitive, params, [ref], 1))
        ref = "result", sum(step[3] for step in piece.steps) - 1
    assert not isinstance(ref, Scalar)
    return ref


def traced_steps(function: Callable, size: int, dtype: Any) -> list[tuple[Any, dict[str, Any]]]:
    """A chain of one-operand primitives."""
    equations = flat(jax.make_jaxpr(function)(jnp.zeros(size, dtype)).jaxpr, {}, "")
    return [(e.primitive, e.params) for e in equations]


def broadcast_params(shape: Shape, dimensions: tuple[int, ...]) -> dict[str, Any]:
    return {"shape": tuple(shape), "broadcast_dimensions": tuple(dimensions), "sharding": None}


def multiplications(e: Equation, operands: list[Any]) -> int:
    if e.primitive.name == "dot_general":
        (contracted, _), _ = e.params["dimension_numbers"]
        return prod(e.avals[0].shape) * prod(operands[0].shape[i] for i in contracted)
    if e.primitive.name == "conv_general_dilated":
        kernel, spec = operands[1].shape, e.params["dimension_numbers"].rhs_spec
        return prod(e.avals[0].shape) * prod(kernel) // kernel[spec[0]]
    return 0


def of_image(operand: Any) -> bool:
    return isinstance(operand, Value | Broadcast)
