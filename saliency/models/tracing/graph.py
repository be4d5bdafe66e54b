"""The walk over a traced function, from the image to the logits."""

from collections import Counter
from dataclasses import replace
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend import core

from saliency.errors import InputError
from saliency.models.graph import Architecture
from saliency.models.operators import Image, Operator, Shape
from saliency.models.operators.primitives import ELEMENTWISE
from saliency.models.operators.program import Scalar
from saliency.models.tracing.assembly import assembled, grids_of, last_with_places, shapes_of
from saliency.models.tracing.equations import RANDOM, Constant, Equation, evaluated, flat, needed_for
from saliency.models.tracing.pieces import (
    Broadcast,
    Piece,
    Ref,
    Spatial,
    Value,
    append,
    at_one_place,
    broadcast_params,
    constant_ref,
    multiplications,
    of_image,
    operand_ref,
    places,
    traced_steps,
)
from saliency.models.tracing.rules import REDUCTIONS, RULES


class Graph:
    """The walk over a traced function; `values` holds what each variable is: constant, broadcast, or of the image."""

    def __init__(self, traced: core.ClosedJaxpr, leaves: list[Array], dtype: Any):
        jaxpr = traced.jaxpr
        names: dict[Any, Any] = {}
        for var, value in zip(jaxpr.constvars, traced.consts):
            names[var] = Constant(value)
        for var, leaf in zip(jaxpr.invars[:-1], leaves):
            names[var] = Constant(leaf)
        self.image = names[jaxpr.invars[-1]] = object()
        equations = flat(jaxpr, names, "")
        out = jaxpr.outvars[0]
        self.out = out if isinstance(out, core.Literal) else names.get(out)
        self.dtype = dtype
        self.shape: Shape = jaxpr.invars[-1].aval.shape
        self.equations = needed_for(equations, self.out)
        self.pieces: list[Piece] = []
        self.values: dict[Any, Any] = {}
        self.readers = Counter(id(i) for e in self.equations for i in e.inputs)
        self.readers[id(self.out)] += 1
        self._fold()

    def _fold(self) -> None:
        """What does not depend on the image is computed at once."""
        dependent = {id(self.image)}
        constant: list[Equation] = []
        for e in self.equations:
            if any(id(i) in dependent for i in e.inputs):
                dependent.update(map(id, e.outputs))
            else:
                constant.append(e)
        if id(self.out) not in dependent:
            raise InputError("apply gives the same logits whatever the image")
        self.dependent = dependent
        self.rest = [e for e in self.equations if any(id(i) in dependent for i in e.inputs)]
        for e in self.rest:
            if e.primitive.name in RANDOM:
                raise InputError("apply draws random numbers from the image")
        made = {id(o) for e in constant for o in e.outputs}
        lazily = {
            id(e.outputs[0]): e for e in constant if e.primitive.name == "broadcast_in_dim" and len(e.inputs) == 1
        }
        read = {id(i) for e in self.rest for i in e.inputs if id(i) in made}
        sources = {id(e.inputs[0]) for key, e in lazily.items() if key in read and id(e.inputs[0]) in made}
        wanted = [o for e in constant for o in e.outputs if id(o) in (read - lazily.keys()) | sources]
        needed = needed_for(constant, *wanted)
        if any(e.primitive.name in RANDOM for e in needed):
            raise InputError(
                "apply still draws random numbers (dropout, stochastic depth, noise); set the model to inference"
            )
        for value, var in zip(evaluated(needed, wanted), wanted):
            self.values[id(var)] = Constant(value)
        for key, e in lazily.items():
            if key in read:
                source = self.known(e.inputs[0])
                self.values[key] = Broadcast(source, tuple(e.params["shape"]), tuple(e.params["broadcast_dimensions"]))

    def known(self, atom: Any) -> Any:
        if isinstance(atom, core.Literal):
            return atom.val
        if isinstance(atom, Constant):
            return atom.value
        return self.values[id(atom)].value

    def read(self, atom: Any) -> Any:
        """A Value, a Broadcast, or an array."""
        if isinstance(atom, core.Literal | Constant):
            return self.known(atom)
        found = self.values[id(atom)]
        return found.value if isinstance(found, Constant) else found

    # --- the walk

    def network(self, name: str, size: tuple[int, int], channels: int) -> tuple[Architecture, dict, str]:
        first = Piece("image", "image", [], [(self.shape, (1, 2))], Image(str(self.dtype), True))
        self.pieces.append(first)
        self.values[id(self.image)] = first.value()
        for e in self.rest:
            self._convert(e)
        output, last = self._without_probabilities(self._value(self.out))
        nodes, weights, names = assembled([last])
        shapes = shapes_of(nodes, (*size, channels))
        grids = grids_of(nodes, shapes)
        probabilities = "sigmoid" if output == "sigmoid" or shapes[nodes[-1].name] == (1,) else "softmax"
        attentions = tuple((label, piece.heads) for (piece, _), label in names.items() if piece.heads)
        architecture = Architecture(
            name, tuple(nodes), last_with_places(nodes, shapes, grids), size, channels=channels,
            probabilities=probabilities, grids=grids, attentions=attentions,  # type: ignore[arg-type]
        )  # fmt: skip
        return architecture, weights, output

    def _without_probabilities(self, out: Value) -> tuple[str, Value]:
        """Which function the logits go through at the end, and the logits. Told by what it computes, not how."""
        tail = self.rest[-40:]
        if not {e.primitive.name for e in tail} & {"exp", "exp2", "logistic", "log", "tanh"}:
            return "logits", out
        candidates: list[Value] = []
        for e in tail:
            for atom in (*e.inputs, *e.outputs):
                found = None if isinstance(atom, core.Literal | Constant) else self.values.get(id(atom))
                if isinstance(found, Value) and found is not out and prod(found.shape) == prod(out.shape):
                    candidates.append(found)
        candidates = [v for v in dict.fromkeys(candidates) if v.spatial is None]
        candidates.sort(key=lambda value: self.pieces.index(value.piece))
        *found, given = self._probe([*candidates, out])
        for value, logits in zip(candidates, found):
            for output in ("softmax", "log_softmax", "sigmoid"):
                if output != "sigmoid" and logits.shape[-1] == 1:
                    continue  # of one logit a softmax is always 1
                if np.allclose(published(logits, output), given, rtol=1e-4, atol=1e-7):
                    return output, value
        return "logits", out

    def _probe(self, values: list[Value]) -> list[np.ndarray]:
        """Values for random images, faint to strong, float `[n, d]`."""
        x = np.random.default_rng(1).normal(size=(4, *self.shape[1:])) * np.array([0.01, 0.1, 1, 50]).reshape(
            4, 1, 1, 1
        )
        nodes, weights, names = assembled(values)
        last = values[-1]
        architecture = Architecture("probe", tuple(nodes), nodes[-1].name, self.shape[1:3], channels=self.shape[-1])  # type: ignore[arg-type]

        @jax.jit
        def run(weights: Any, x: Array) -> list[Array]:
            done = architecture.activations(weights, x, names[last.piece, last.result])
            return [done[names[v.piece, v.result]] for v in values]

        return [np.asarray(found, float).reshape(4, -1) for found in run(weights, x.astype(self.dtype))]

    def _value(self, atom: Any) -> Any:
        """A Value or an array: what was only noted as repeated is repeated."""
        found = self.read(atom)
        if not isinstance(found, Broadcast):
            return found
        if isinstance(found.source, Value):
            source = found.source
            refs: list[Ref | Scalar] = [("input", 0)]
            step = (jax.lax.broadcast_in_dim_p, broadcast_params(found.shape, found.dimensions), refs, 1)
            piece = Piece("opaque", source.piece.scope, [source], [(found.shape, None)], steps=[step])
            self.pieces.append(piece)
            return piece.value()
        return jax.lax.broadcast_in_dim(found.source, found.shape, found.dimensions)

    def _convert(self, e: Equation) -> None:
        """One primitive, by the rule that its name has in RULES, or as an Opaque."""
        self.here = e
        name = "elementwise" if e.primitive.name in ELEMENTWISE else e.primitive.name
        name = "reduction" if name in REDUCTIONS else name
        rule = RULES.get(name)
        if not (rule and rule(self, e)):
            self._opaque(e)

    def view(self, e: Equation, value: Value, shape: Shape, spatial: Spatial) -> None:
        """The same numbers under another shape."""
        alone = value.alone and self.readers[id(e.inputs[0])] == 1
        self.values[id(e.outputs[0])] = replace(value, shape=shape, spatial=spatial, alone=alone)

    def _set(self, e: Equation, piece: Piece) -> bool:
        self.pieces.append(piece)
        for i, out in enumerate(e.outputs):
            self.values[id(out)] = piece.value(i)
        return True

    def _named(
        self, e: Equation, operator: Operator, inputs: list[Value], shape: Shape, spatial: Spatial, **parameters: Any
    ) -> bool:
        kind = type(operator).__name__.lower()
        return self._set(e, Piece(kind, e.scope, inputs, [(shape, spatial)], operator, parameters))

    def _opaque(self, e: Equation) -> bool:
        """Anything: its own primitive, for one image."""
        operands = [self._value(i) for i in e.inputs]
        piece = Piece("opaque", e.scope, [], [])
        refs: list[Ref | Scalar] = []
        for operand in operands:
            refs.append(operand_ref(piece, operand))
        spatial = next((v.spatial for v in piece.inputs if v.spatial), None)
        shape_in = next((v.shape for v in piece.inputs if v.spatial), ())
        for aval in e.avals:
            same = spatial and len(aval.shape) == len(shape_in) and all(aval.shape[a] == shape_in[a] for a in spatial)
            piece.results.append((tuple(aval.shape), spatial if same else None))
        piece.steps.append((e.primitive, e.params, refs, len(e.outputs)))
        piece.multiplications = multiplications(e, operands)
        if e.primitive.name == "dot_general" and all(isinstance(v, Value) for v in operands):
            for value in operands:
                value.piece.heads = value.piece.heads or heads_of(value)
        return self._set(e, piece)

    def _pointwise(
        self, e: Equation, params: dict[str, Any], spatial: tuple[int, int], multiplications: int = 0
    ) -> bool:
        """The primitive at one place; False where its operands do not allow that. `spatial` is the result's."""
        piece = Piece("pointwise", e.scope, [], [], multiplications=multiplications)
        operands = [self.read(i) for i in e.inputs]
        maps = [v for v in operands if isinstance(v, Value) and v.spatial]
        if not maps or len({(v.spatial, places(v)) for v in maps}) != 1:
            return False
        at, size = maps[0].spatial, places(maps[0])
        assert at
        refs: list[Ref | Scalar] = []
        for operand in operands:
            mapped = isinstance(operand, Value) and operand.spatial
            if mapped or (not of_image(operand) and np.ndim(operand) == 0):
                refs.append(operand_ref(piece, operand))
                continue
            ref = self._repeated(piece, operand, at, size)
            if ref is None:
                return False
            refs.append(ref)
        piece.results = [(tuple(aval.shape), spatial) for aval in e.avals]
        piece.steps.append((e.primitive, params, refs, len(e.outputs)))
        return self._set(e, piece)

    def _repeated(self, piece: Piece, operand: Any, at: tuple[int, int], size: tuple[int, int]) -> Ref | None:
        """A constant or a vector, beside maps of height and width `size` at the axes `at`; None if it does not fit."""
        if len(operand.shape) <= max(at) or any(operand.shape[a] not in (1, n) for a, n in zip(at, size)):
            return None
        if not isinstance(operand, Broadcast):
            operand = Broadcast(operand, operand.shape, tuple(range(len(operand.shape))))
        source, rest = operand.source, at_one_place(operand.shape, at)
        sizes = source.shape if isinstance(source, Value) else np.shape(source)
        along = dict(zip(operand.dimensions, sizes))
        if all(along.get(a, 1) == 1 for a in at):  # the same at every place
            unit = tuple(along.get(axis, 1) for axis in range(len(operand.shape)) if axis not in at)
            if not isinstance(source, Value):
                return constant_ref(piece, jnp.broadcast_to(jnp.reshape(source, unit), rest), None)
            if source.spatial:
                return None
            steps = traced_steps(lambda x: jnp.broadcast_to(x.reshape(unit), rest), prod(sizes), self.dtype)
            return append(piece, steps, operand_ref(piece, source))
        if isinstance(source, Value):
            return None
        array = jax.lax.broadcast_in_dim(source, operand.shape, operand.dimensions)
        moved = jnp.moveaxis(array, at, (0, 1))
        moved = jnp.broadcast_to(moved, (*size, *moved.shape[2:]))
        if bool((moved == moved[:1, :1]).all()):
            return constant_ref(piece, moved[0, 0], None)
        return constant_ref(piece, moved.reshape(*size, -1), rest)


def heads_of(value: Value) -> int:
    """Of attention, a softmax over tokens `[..., t, t]` that another product reads: how many there are; else 0."""
    piece = value.piece
    shape, spatial = piece.results[value.result]
    if spatial or len(shape) < 3 or shape[-1] != shape[-2] or shape[-1] == 1 or len(piece.steps) != 1:
        return 0
    primitive, _, refs, _ = piece.steps[0]
    if primitive.name != "div" or refs[0] != ("input", 0):
        return 0
    before = piece.inputs[0].piece.steps
    return prod(shape[:-2]) if before and before[-1][0].name in ("exp", "exp2") else 0


def published(logits: np.ndarray, output: str) -> np.ndarray:
    """What the function itself gives, for the logits that go into its last layer."""
    with np.errstate(over="ignore"):
        if output == "softmax":
            e = np.exp(logits - logits.max(-1, keepdims=True))
            return e / e.sum(-1, keepdims=True)
        if output == "log_softmax":
            shifted = logits - logits.max(-1, keepdims=True)
            return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
        if output == "sigmoid":
            return 1 / (1 + np.exp(-logits))
    return logits
