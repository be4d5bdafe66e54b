"""Operators without a name of their own: pieces of a JAX function, as the primitives that it was traced to.

`Pointwise` works at each place on its own, whatever it does there (activations, normalisation across channels, channel
shuffles, products of branches): its steps are stated for one place, without height and width. `Opaque` is anything
(attention, a resize, a sort): its steps are those of the function for one image, and any change changes all of it.

A step reads slots: first the operator's inputs, then its parameters `p0`, `p1`, ..., then the results of earlier steps.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from saliency.devices import precision
from saliency.models.operators.backward import Rules, derivative, homogeneous_rule
from saliency.models.operators.base import Operator
from saliency.models.operators.paired import lifted
from saliency.models.operators.primitives import CHEAP, ELEMENTWISE, LINEAR, degree
from saliency.models.operators.regions import Parameters, Region, Shape, cut, is_map


@dataclass(frozen=True)
class Scalar:
    """A constant in a step's operands."""

    value: Any
    dtype: str

    def array(self) -> Array:
        return jnp.asarray(self.value, self.dtype)


@dataclass(frozen=True, eq=False)
class Held:
    """A parameter of a primitive that cannot be hashed: itself alone is equal to it."""

    value: Any

    def __repr__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True)
class Step:
    """One primitive: `inputs` are slots or constants, `outputs` how many slots it fills."""

    primitive: Any
    params: tuple[tuple[str, Any], ...]
    inputs: tuple[int | Scalar, ...]
    outputs: int = 1

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value}" for name, value in self.params if value is not None)
        return re.sub(r" at 0x[0-9a-f]+", "", f"{self.primitive.name}[{told}]{self.inputs}")

    def run(self, slots: list[Any]) -> None:
        """Its results, appended to the slots."""
        result = self.apply(*self.operands(slots))
        slots.extend(result if self.primitive.multiple_results else [result])

    def operands(self, slots: Sequence[Any]) -> list[Any]:
        return [i.array() if isinstance(i, Scalar) else slots[i] for i in self.inputs]

    def apply(self, *values: Any) -> Any:
        params = {name: value.value if isinstance(value, Held) else value for name, value in self.params}
        if "precision" in params and params["precision"] is None and (wanted := precision()) is not None:
            params["precision"] = (wanted, wanted)
        bound = self.primitive.get_bind_params(params)
        functions, params = bound if isinstance(bound, tuple) else ([], bound)  # older versions of JAX give both
        return self.primitive.bind(*functions, *values, **params)


@dataclass(frozen=True, repr=False)
class Program(Operator):
    """What the two have in common. `inside` are the inputs' shapes as the steps take them, `out` the slot and the shape
    of the result. `multiplications` are those of one place (Pointwise) or of one image (Opaque)."""

    steps: tuple[Step, ...]
    inside: tuple[Shape, ...]
    output: int
    out: Shape
    constants: int = 0
    multiplications: int = 0

    def run(self, constants: Sequence[Array], *xs: Array) -> Array:
        slots: list[Any] = [*xs, *constants]
        for step in self.steps:
            step.run(slots)
        return slots[self.output]

    def parameters_of(self, parameters: Parameters) -> list[Array]:
        return [parameters[f"p{i}"] for i in range(self.constants)]

    @property
    def elementwise(self) -> bool:  # type: ignore[override]
        if len(self.inside) != 1 or self.inside[0] != self.out:
            return False
        dependent = {0}
        slot = 1 + self.constants
        for step in self.steps:
            if dependent.intersection(step.inputs):
                if step.primitive.name not in ELEMENTWISE:
                    return False
                dependent.update(range(slot, slot + step.outputs))
            slot += step.outputs
        return True

    def multipliers(
        self, parameters: Parameters, xs: Sequence[Array], references: Sequence[Array], up: Array
    ) -> tuple[Array, ...]:
        if self.linear or self.elementwise:
            return super().multipliers(parameters, xs, references, up)
        constants, doubled = self.parameters_of(parameters), self._doubled()
        return derivative(lambda *xs: doubled._everywhere(self._run_lifted, constants, *xs, *references), xs, up)

    def _doubled(self) -> "Program":
        """The same for inputs and their references, one after the other."""
        raise NotImplementedError

    def _everywhere(self, function: Any, constants: Sequence[Array], *xs: Array) -> Array:
        """A function of what the steps take, for all places or all images."""
        raise NotImplementedError

    def _run_lifted(self, constants: Sequence[Array], *both: Array) -> Array:
        """The steps for inputs and references: `run` with multipliers for derivatives. A program that compares what
        depends on the image goes by its own mean derivative, as a choice has none."""
        count = len(both) // 2
        slots, others = [*both[:count], *constants], [*both[count:], *constants]
        dependent = [*[True] * count, *[False] * len(constants)]
        for step in self.steps:
            of = [not isinstance(i, Scalar) and dependent[i] for i in step.inputs]
            dependent += [any(of)] * step.outputs
            values, references = step.operands(slots), step.operands(others)
            name = step.primitive.name
            result = lifted(step.apply, name, of, values, references) if any(of) else step.apply(*values)
            slots.extend(result if step.primitive.multiple_results else [result])
            step.run(others)
            if any(of) and not all(jnp.issubdtype(value.dtype, jnp.floating) for value in slots[-step.outputs :]):
                first, second = [*both[:count], *constants], [*both[count:], *constants]
                return lifted(lambda *v: self.run(v[count:], *v[:count]), "", dependent[: len(first)], first, second)
        return slots[self.output]

    @property
    def has_relevance(self) -> bool:
        return super().has_relevance or self._is_product

    @property
    def _is_product(self) -> bool:
        return (self._degrees()[self.output] or 0) > 0

    def relevance(self, parameters: Parameters, xs: Sequence[Array], up: Array, rules: Rules) -> tuple[Array, ...]:
        if self.linear or self.elementwise:
            return super().relevance(parameters, xs, up, rules)
        function = partial(self, parameters)
        return homogeneous_rule(function, self._degrees()[self.output] or 1, xs, function(*xs), up, rules.epsilon)

    def _degrees(self) -> list[float | None]:
        """Of each slot k, where its value goes with the k-th power of all inputs together: 0 for constants, None where
        there is no such k, or none is seen."""
        degrees: list[float | None] = [*[1.0] * len(self.inside), *[0.0] * self.constants]
        for step in self.steps:
            of = [0.0 if isinstance(i, Scalar) else degrees[i] for i in step.inputs]
            zeros = [isinstance(i, Scalar) and bool(np.all(i.value == 0)) for i in step.inputs]
            degrees += [degree(step.primitive.name, dict(step.params), of, zeros)] * step.outputs
        return degrees


@dataclass(frozen=True, repr=False)
class Pointwise(Program):
    """`placed` holds, for each parameter that is a map `[h, w, c]`, different from place to place, its shape at one
    place as the steps take it; None for the others."""

    placed: tuple[Shape | None, ...] = ()

    local: ClassVar[bool] = True

    @property
    def linear(self) -> bool:  # type: ignore[override]
        """Without its constant terms, which `linear_part` leaves out."""
        dependent = set(range(len(self.inside)))
        slot = len(self.inside) + self.constants
        for step in self.steps:
            of = [i in dependent for i in step.inputs]
            name = step.primitive.name
            if any(of):
                sums = name in ("add", "add_any", "sub", "concatenate")
                if name not in LINEAR or not (sums or sum(of) == 1) or (name == "div" and not of[0]):
                    return False
                if name == "concatenate" and not all(of):
                    return False
                dependent.update(range(slot, slot + step.outputs))
            slot += step.outputs
        return self.output in dependent

    @property
    def recomputed(self) -> bool:  # type: ignore[override]
        return all(step.primitive.name in CHEAP for step in self.steps)

    @property
    def feature(self) -> bool:  # type: ignore[override]
        return not self.linear

    @property
    def one_size(self) -> bool:  # type: ignore[override]
        return self._is_placed

    @property
    def _is_placed(self) -> bool:
        return any(shape is not None for shape in self.placed)

    def shape(self, *shapes: Shape) -> Shape:
        height, width, _ = next(filter(is_map, shapes))
        return height, width, prod(self.out)

    def macs(self, shapes: Sequence[Shape], places: Shape) -> int:
        return self.multiplications * int(np.prod(places))

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        return self._everywhere(self.run, self.parameters_of(parameters), *xs)

    def linear_part(self, parameters: Parameters, *xs: Array) -> Array:
        return self._everywhere(self._homogeneous, self.parameters_of(parameters), *xs)

    def change(self, region: Region, *changes: Array) -> Array:
        if self._is_placed:
            constants = self.parameters_of(region.parameters)
            local = [
                p if shape is None else cut(p, region.start, region.size) for p, shape in zip(constants, self.placed)
            ]
            if self.linear:
                return self._everywhere(self._homogeneous, local, *changes)
            clean = [region.cut_before(i) for i in range(len(changes))]
            changed = self._everywhere(self.run, local, *(x + d for x, d in zip(clean, changes)))
            return changed - (self._everywhere(self.run, local, *clean) if self.recomputed else region.cut_after())
        return super().change(region, *changes)

    def _homogeneous(self, constants: Sequence[Array], *xs: Array) -> Array:
        """A linear chain without its constant terms."""
        slots: list[Any] = [*xs, *constants]
        dependent = set(range(len(xs)))
        for step in self.steps:
            of = [i in dependent for i in step.inputs]
            if any(of):
                dependent.update(range(len(slots), len(slots) + step.outputs))
            if step.primitive.name in ("add", "add_any", "sub") and sum(of) == 1:
                value = slots[step.inputs[of.index(True)]]  # type: ignore[index]
                slots.append(-value if step.primitive.name == "sub" and of[1] else value)
            else:
                step.run(slots)
        return slots[self.output]

    def _doubled(self) -> Program:
        return replace(self, inside=self.inside * 2)

    def _everywhere(self, function: Any, constants: Sequence[Array], *xs: Array) -> Array:
        """A function of one place at all places of all images."""
        maps = [x.ndim == 4 for x in xs]
        values = [x.reshape(*x.shape[: 3 if at else 1], *inside) for x, at, inside in zip(xs, maps, self.inside)]
        constants = [
            p[0] if p.ndim == 4 and len(p) == 1 and at is not None else p for p, at in zip(constants, self.placed)
        ]
        several = [shape is not None and p.ndim == 4 for p, shape in zip(constants, self.placed)]  # cut for positions
        constants = [
            p if shape is None else p.reshape(*p.shape[:-1], *shape) for p, shape in zip(constants, self.placed)
        ]
        here = [[None if shape is None else 0 for shape in self.placed], *(0 if at else None for at in maps)]
        images = [[0 if more else None for more in several], *(0 for _ in maps)]

        def place(constants: list[Array], *xs: Array) -> Array:
            return function(constants, *xs)

        for axes in (here, here, images):
            place = jax.vmap(place, in_axes=tuple(axes))
        y = place(list(constants), *values)
        return y.reshape(*y.shape[:3], -1)


@dataclass(frozen=True, repr=False)
class Opaque(Program):
    """`spatial` tells of each input, and `result` of the output, which axes are height and width: None has none."""

    spatial: tuple[tuple[int, int] | None, ...] = ()
    result: tuple[int, int] | None = None
    held: int = 0

    one_size: ClassVar[bool] = True
    ties: ClassVar[str] = "was traced"

    def shape(self, *shapes: Shape) -> Shape:
        return canonical_shape(self.out, self.result)

    def macs(self, shapes: Sequence[Shape], places: Shape) -> int:
        return self.multiplications

    def scratch(self) -> int:
        return self.held

    @property
    def attends(self) -> bool:  # type: ignore[override]
        constants = range(len(self.inside), len(self.inside) + self.constants)
        return any(
            step.primitive.name == "dot_general"
            and not any(isinstance(i, Scalar) or i in constants for i in step.inputs)
            for step in self.steps
        )

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        return self._everywhere(self.run, self.parameters_of(parameters), *xs)

    def _doubled(self) -> Program:
        return replace(self, inside=self.inside * 2, spatial=self.spatial * 2)

    def _everywhere(self, function: Any, constants: Sequence[Array], *xs: Array) -> Array:
        def image(*xs: Array) -> Array:
            values = [from_canonical(x, inside, axes) for x, inside, axes in zip(xs, self.inside, self.spatial)]
            return to_canonical(function(constants, *values), self.result)

        return jax.vmap(image)(*xs)


def canonical_shape(shape: Shape, spatial: tuple[int, int] | None) -> Shape:
    """How activations are kept that a function has in `shape`: `[h, w, c]` where height and width are known, `[t, d]`
    for tokens of one image, else `[d]`."""
    if spatial:
        height, width = (shape[axis] for axis in spatial)
        return height, width, prod(shape) // max(1, height * width)
    if len(shape) == 3 and shape[0] == 1 and shape[1] > 1:
        return shape[1:]
    return (prod(shape),)


def to_canonical(x: Array, spatial: tuple[int, int] | None) -> Array:
    shape = canonical_shape(x.shape, spatial)
    return (jnp.moveaxis(x, spatial, (0, 1)) if spatial else x).reshape(shape)


def from_canonical(x: Array, shape: Shape, spatial: tuple[int, int] | None) -> Array:
    if not spatial:
        return x.reshape(shape)
    rest = [size for axis, size in enumerate(shape) if axis not in spatial]
    return jnp.moveaxis(x.reshape(*(shape[axis] for axis in spatial), *rest), (0, 1), spatial)
