"""Any JAX function from images to logits as a network: its traced primitives become named operators.

The function is traced once, for one image. What does not depend on the image is computed once and becomes parameters;
the rest is told apart into convolutions, dense layers, pools, ReLUs, joins, what works at each place (`Pointwise`) and
anything else (`Opaque`). Names are those of `jax.named_scope`, which linen's modules set themselves.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend import core

from saliency._checks import function, kind_of, pair, whole
from saliency.errors import InputError
from saliency.models.graph import Architecture, Node
from saliency.models.network import Network
from saliency.models.operators import (
    Add,
    Concat,
    Conv,
    Dense,
    GlobalAvgPool,
    GlobalMaxPool,
    GlobalSumPool,
    Image,
    MaxPool,
    Operator,
    Pad,
    Relu,
    Shape,
    Slice,
    SumPool,
    is_map,
)
from saliency.models.operators.program import Opaque, Pointwise, Scalar, Step, canonical_shape
from saliency.models.preprocessing import Preprocessing

INLINED = {"jit", "pjit", "closed_call", "core_call", "checkpoint", "remat", "remat2", "custom_jvp_call"}
# functions of jax.nn and jax.numpy whose own derivative is that of what they compute: they are looked into
KNOWN = {
    "relu6",
    "silu",
    "softmax",
    "_softmax",
    "logsumexp",
    "logaddexp",
    "softplus",
    "gelu",
    "sinc",
    "clip",
    "log_softmax",
}
ELEMENTWISE = frozenset(
    [
        "add",
        "add_any",
        "sub",
        "mul",
        "div",
        "rem",
        "max",
        "min",
        "pow",
        "integer_pow",
        "neg",
        "sign",
        "abs",
        "floor",
        "ceil",
        "round",
        "exp",
        "exp2",
        "expm1",
        "log",
        "log1p",
        "logistic",
        "tanh",
        "tan",
        "sin",
        "cos",
        "asin",
        "acos",
        "atan",
        "atan2",
        "sinh",
        "cosh",
        "asinh",
        "acosh",
        "atanh",
        "sqrt",
        "rsqrt",
        "cbrt",
        "square",
        "erf",
        "erfc",
        "erf_inv",
        "lgamma",
        "digamma",
        "select_n",
        "clamp",
        "gt",
        "lt",
        "ge",
        "le",
        "eq",
        "ne",
        "and",
        "or",
        "xor",
        "not",
        "is_finite",
        "convert_element_type",
        "copy",
        "stop_gradient",
        "nextafter",
        "reduce_precision",
    ]
)
REDUCTIONS = {"reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or"}
RANDOM = {"threefry2x32", "random_bits", "random_seed", "random_wrap", "random_unwrap", "random_fold_in",
          "random_split", "rng_bit_generator", "rng_uniform"}  # fmt: skip
TOLERANCE = 1e-4  # of the largest logit
Spatial = tuple[int, int] | None  # which axes of a value are height and width


@dataclass(frozen=True, eq=False)
class _Value:
    """A variable that depends on the image: a result of a piece, perhaps reshaped. `alone` means that nothing reads it
    but through the variable that it is read by now."""

    piece: "_Piece"
    result: int
    shape: Shape
    spatial: Spatial
    alone: bool = True


Ref = tuple[str, int]  # ("input", i), ("constant", i), ("result", i) of a piece


@dataclass(eq=False)
class _Piece:
    """An operator in the making: a finished one, or the steps of a `Pointwise` or an `Opaque` that is to grow."""

    kind: str
    scope: str
    inputs: list[_Value]
    results: list[tuple[Shape, Spatial]]
    operator: Operator | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    steps: list[tuple[Any, dict[str, Any], list[Ref | Scalar], int]] = field(default_factory=list)
    constants: list[tuple[Any, Shape | None]] = field(default_factory=list)  # array; its shape at a place, if a map
    multiplications: int = 0
    order: int = field(default_factory=count().__next__)

    def value(self, result: int = 0) -> _Value:
        return _Value(self, result, *self.results[result])


@dataclass(frozen=True, eq=False)
class _Broadcast:
    """A constant or a vector that was repeated along new axes: kept as it was."""

    source: Any  # a constant, or a _Value
    shape: Shape
    dimensions: tuple[int, ...]


def from_function(
    apply: Callable[[Any, Array], Array],
    params: Any,
    *,
    size: int | tuple[int, int],
    channels: int = 3,
    preprocess: Preprocessing | None = None,
    classes: Sequence[str] = (),
    name: str = "function",
) -> Network:
    """A network of any pure JAX function `apply(params, x)` from images `[n, h, w, channels]` to logits `[n, classes]`.

    `params` is any pytree of arrays; they are used where they lie, not copied. `size` is the (height, width) that images
    have, one number for a square. `preprocess` (default: pixels 0..255 as they are) says how photos become images, and
    `classes` names the logits. A softmax or a sigmoid at the end is taken off, and `net.provenance["output"]` says so.

    Layers bear the names of `jax.named_scope`. The function is traced twice (for one image, and for two, to compare),
    and never again. Raises InputError for a function that cannot be traced, whose output is not `[n, classes]`, that
    still draws random numbers, that mixes the images of a batch, or whose network differs by more than 1e-4 of the
    largest logit.
    """
    return network_of(
        apply, params, None, size=size, channels=channels, preprocess=preprocess, classes=classes, name=name,
        source="a JAX function",
    )  # fmt: skip


def network_of(
    apply: Callable[[Any, Array], Array],
    params: Any,
    oracle: Callable[[np.ndarray], Any] | None,
    *,
    size: int | tuple[int, int],
    channels: int,
    preprocess: Preprocessing | None,
    classes: Sequence[str],
    name: str,
    source: str,
    explain: Callable[[np.ndarray], str] | None = None,
) -> Network:
    """`from_function` for a function that stands for a model of `source`, whose own framework computes `oracle(x)` for
    images `[n, h, w, channels]` (None: the function itself). `explain(x)` says where the two part."""
    function("apply", apply, "(params, images)")
    whole("channels", channels, least=1)
    size = pair("size", size)
    for side in size:
        whole("size", side, least=1)
    if preprocess is None:
        preprocess = Preprocessing(size, "stretch", scale=1.0, mean=(0.0,) * channels, std=(1.0,) * channels)  # type: ignore[arg-type]
    kind_of("preprocess", preprocess, Preprocessing, "how photos become images")
    leaves, tree = jax.tree.flatten(params)
    try:
        leaves = [jnp.asarray(leaf) for leaf in leaves]
    except TypeError as error:
        raise InputError(f"params must be arrays only: {_first_line(error)}") from error
    floats = [leaf.dtype for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)]
    dtype = jnp.result_type(jnp.float32, *floats) if floats else jnp.dtype(jnp.float32)

    def call(leaves: list[Array], x: Array) -> Array:
        return apply(jax.tree.unflatten(tree, leaves), x)

    image = jax.ShapeDtypeStruct((1, *size, channels), dtype)
    traced = _traced(call, leaves, image)
    graph = _Graph(traced, leaves, dtype)
    architecture, weights, output = graph.network(name, size, channels)
    if classes and len(classes) != (given := architecture.shapes(*size)[architecture.last][-1]):
        raise InputError(f"classes names {len(classes)} classes, but the function gives {given} logits")
    provenance = {"from": source, "output": output}
    net = Network(architecture, weights, preprocess, classes=classes, provenance=provenance)
    compiled = jax.jit(call)
    _compare(net, oracle or (lambda x: compiled(leaves, x)), output, source, explain)
    return net


def _traced(call: Callable, leaves: list[Array], image: jax.ShapeDtypeStruct) -> core.ClosedJaxpr:
    try:
        traced, out = jax.make_jaxpr(call, return_shape=True)(leaves, image)
    except InputError:
        raise
    except Exception as error:  # whatever the function raises
        raise InputError(
            f"apply cannot be traced for images {list(image.shape)} ({type(error).__name__}: {_first_line(error)});"
            " it must be a pure JAX function apply(params, images)"
        ) from error
    if not isinstance(out, jax.ShapeDtypeStruct) or len(out.shape) != 2 or out.shape[0] != 1 or 0 in out.shape:
        given = list(out.shape) if isinstance(out, jax.ShapeDtypeStruct) else type(out).__name__
        raise InputError(f"apply must give logits [n, classes], which for one image is [1, classes], not {given}")
    return traced


def _compare(
    net: Network, oracle: Callable[[np.ndarray], Any], output: str, source: str, explain: Callable[[np.ndarray], str] | None
) -> None:
    """On two random images."""
    architecture = net.architecture
    noise = np.random.default_rng(0).normal(size=(2, *architecture.size, architecture.channels))
    x = np.asarray(net.preprocess.normalise((255 * (0.5 + noise / 6)).clip(0, 255)))
    x = x.astype(architecture.nodes[0].layer.dtype)  # type: ignore[attr-defined]
    mine = _published(np.asarray(_jitted(net.weights, x, architecture), float), output)

    def theirs(x: np.ndarray) -> np.ndarray:
        found = np.asarray(oracle(x), float)
        if found.shape != (len(x), mine.shape[-1]):
            raise ValueError(f"{found.shape} for {len(x)} images")
        return found

    single = np.concatenate([theirs(x[:1]), theirs(x[1:])])
    if not np.isfinite(single).all():
        raise InputError(f"{source} gives NaN or infinite values for random images")
    limit = TOLERANCE * max(np.abs(single).max(), 1e-6)
    if (worst := np.abs(mine - single).max()) > limit:
        where = f"; {explain(x[:1])}" if explain else ""
        raise InputError(
            f"the network differs from {source} by {worst:.2g} on a random image, more than {TOLERANCE} of the largest"
            f" output{where}"
        )
    try:
        together = theirs(x)
    except Exception:  # it takes one image at a time
        return
    if np.abs(together - single).max() > limit:
        raise InputError(
            f"{source} gives an image other logits when it comes with another one (batch statistics?);"
            " set the model to inference"
        )


_jitted = jax.jit(lambda weights, x, architecture: architecture.upto(weights, x), static_argnums=2)


def _published(logits: np.ndarray, output: str) -> np.ndarray:
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


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


@dataclass(frozen=True)
class _Equation:
    """A primitive of the function with all calls taken apart."""

    primitive: Any
    params: dict[str, Any]
    inputs: list[Any]  # variables (objects), or Literals
    outputs: list[Any]
    avals: list[Any]  # of the outputs
    scope: str


def _flat(jaxpr: Any, names: dict[Any, Any], scope: str) -> list[_Equation]:
    """The equations in order; calls are looked into. `names` says what variables stand for."""

    def named(atom: Any) -> Any:
        return atom if isinstance(atom, core.Literal) else names.setdefault(atom, object())

    equations: list[_Equation] = []
    for eqn in jaxpr.eqns:
        inner = "/".join(part for part in (scope, str(eqn.source_info.name_stack)) if part)
        sub = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
        custom = eqn.primitive.name == "custom_jvp_call"
        if eqn.primitive.name in INLINED and sub is not None and not (custom and _kept(eqn)):
            closed = isinstance(sub, core.ClosedJaxpr)
            body = sub.jaxpr if closed else sub
            local: dict[Any, Any] = dict(zip(body.invars, map(named, eqn.invars)))
            if closed:
                for var, value in zip(body.constvars, sub.consts):
                    local[var] = _Constant(value)
            equations += _flat(body, local, inner)
            for outer, result in zip(eqn.outvars, body.outvars):
                names[outer] = result if isinstance(result, core.Literal) else local.setdefault(result, object())
        else:
            equations.append(
                _Equation(
                    eqn.primitive,
                    dict(eqn.params),
                    list(map(named, eqn.invars)),
                    list(map(named, eqn.outvars)),
                    [var.aval for var in eqn.outvars],
                    inner,
                )  # fmt: skip
            )
    return equations


def _kept(eqn: Any) -> bool:
    """A function with a derivative of its own, which has to be kept."""
    return _function_name(eqn) not in KNOWN


def _function_name(eqn: Any) -> str:
    """The name of a function with a derivative of its own, where it is JAX's."""
    origin = eqn.params["call_jaxpr"].jaxpr.debug_info
    file = str(getattr(origin, "func_filename", "") or "")
    return origin.func_name if "jax" in file.replace("\\", "/").split("/") else ""


@dataclass(frozen=True, eq=False)
class _Constant:
    value: Any


class _Graph:
    """The walk over a traced function; `values` holds what each variable is: constant, broadcast, or of the image."""

    def __init__(self, traced: core.ClosedJaxpr, leaves: list[Array], dtype: Any):
        jaxpr = traced.jaxpr
        names: dict[Any, Any] = {}
        for var, value in zip(jaxpr.constvars, traced.consts):
            names[var] = _Constant(value)
        for var, leaf in zip(jaxpr.invars[:-1], leaves):
            names[var] = _Constant(leaf)
        self.image = names[jaxpr.invars[-1]] = object()
        equations = _flat(jaxpr, names, "")
        out = jaxpr.outvars[0]
        self.out = out if isinstance(out, core.Literal) else names.get(out)
        self.dtype = dtype
        self.shape: Shape = jaxpr.invars[-1].aval.shape
        self.equations = _needed(equations, self.out)
        self.pieces: list[_Piece] = []
        self.values: dict[Any, Any] = {}
        self.readers = Counter(id(i) for e in self.equations for i in e.inputs)
        self.readers[id(self.out)] += 1
        self._fold()

    def _fold(self) -> None:
        """What does not depend on the image is computed at once."""
        dependent = {id(self.image)}
        constant: list[_Equation] = []
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
        needed = _needed(constant, *wanted)
        if any(e.primitive.name in RANDOM for e in needed):
            raise InputError(
                "apply still draws random numbers (dropout, stochastic depth, noise); set the model to inference"
            )
        for value, var in zip(_evaluated(needed, wanted), wanted):
            self.values[id(var)] = _Constant(value)
        for key, e in lazily.items():
            if key in read:
                source = self._constant(e.inputs[0])
                self.values[key] = _Broadcast(source, tuple(e.params["shape"]), tuple(e.params["broadcast_dimensions"]))

    def _constant(self, atom: Any) -> Any:
        if isinstance(atom, core.Literal):
            return atom.val
        if isinstance(atom, _Constant):
            return atom.value
        return self.values[id(atom)].value

    def read(self, atom: Any) -> Any:
        """A _Value, a _Broadcast, or an array."""
        if isinstance(atom, core.Literal | _Constant):
            return self._constant(atom)
        found = self.values[id(atom)]
        return found.value if isinstance(found, _Constant) else found

    # --- the walk

    def network(self, name: str, size: tuple[int, int], channels: int) -> tuple[Architecture, dict, str]:
        first = _Piece("image", "image", [], [(self.shape, (1, 2))], Image(str(self.dtype), True))
        self.pieces.append(first)
        self.values[id(self.image)] = first.value()
        for e in self.rest:
            self._convert(e)
        output, last = self._without_probabilities(self._value(self.out))
        nodes, weights, _ = _assembled([last])
        shapes = _shapes(nodes, (*size, channels))
        grids = _grids(nodes, shapes)
        probabilities = "sigmoid" if output == "sigmoid" or shapes[nodes[-1].name] == (1,) else "softmax"
        architecture = Architecture(
            name, tuple(nodes), _last_with_places(nodes, shapes, grids), size,
            channels=channels, probabilities=probabilities, grids=grids,  # type: ignore[arg-type]
        )  # fmt: skip
        return architecture, weights, output

    def _without_probabilities(self, out: _Value) -> tuple[str, _Value]:
        """Which function the logits go through at the end, and the logits. Told by what it computes, not how."""
        tail = self.rest[-40:]
        if not {e.primitive.name for e in tail} & {"exp", "exp2", "logistic", "log", "tanh"}:
            return "logits", out
        candidates: list[_Value] = []
        for e in tail:
            for atom in (*e.inputs, *e.outputs):
                found = None if isinstance(atom, core.Literal | _Constant) else self.values.get(id(atom))
                if isinstance(found, _Value) and found is not out and prod(found.shape) == prod(out.shape):
                    candidates.append(found)
        candidates = [v for v in dict.fromkeys(candidates) if v.spatial is None]
        candidates.sort(key=lambda value: self.pieces.index(value.piece))
        *found, published = self._probe([*candidates, out])
        for value, logits in zip(candidates, found):
            for output in ("softmax", "log_softmax", "sigmoid"):
                if output != "sigmoid" and logits.shape[-1] == 1:
                    continue  # of one logit a softmax is always 1
                if np.allclose(_published(logits, output), published, rtol=1e-4, atol=1e-7):
                    return output, value
        return "logits", out

    def _probe(self, values: list[_Value]) -> list[np.ndarray]:
        """Values for random images, faint to strong, float `[n, d]`."""
        x = np.random.default_rng(1).normal(size=(4, *self.shape[1:])) * np.array([0.01, 0.1, 1, 50]).reshape(
            4, 1, 1, 1
        )
        nodes, weights, names = _assembled(values)
        last = values[-1]
        architecture = Architecture("probe", tuple(nodes), nodes[-1].name, self.shape[1:3], channels=self.shape[-1])  # type: ignore[arg-type]

        @jax.jit
        def run(weights: Any, x: Array) -> list[Array]:
            done = architecture.activations(weights, x, names[last.piece, last.result])
            return [done[names[v.piece, v.result]] for v in values]

        return [np.asarray(found, float).reshape(4, -1) for found in run(weights, x.astype(self.dtype))]

    def _value(self, atom: Any) -> Any:
        """A _Value or an array: what was only noted as repeated is repeated."""
        found = self.read(atom)
        if not isinstance(found, _Broadcast):
            return found
        if isinstance(found.source, _Value):
            source = found.source
            step = (jax.lax.broadcast_in_dim_p, _broadcast(found.shape, found.dimensions), [("input", 0)], 1)
            piece = _Piece("opaque", source.piece.scope, [source], [(found.shape, None)], steps=[step])
            self.pieces.append(piece)
            return piece.value()
        return jax.lax.broadcast_in_dim(found.source, found.shape, found.dimensions)

    def _convert(self, e: _Equation) -> None:
        """One primitive, by the rule that its name has in RULES, or as an Opaque."""
        self.here = e
        name = "elementwise" if e.primitive.name in ELEMENTWISE else e.primitive.name
        name = "reduction" if name in REDUCTIONS else name
        rule = RULES.get(name)
        if not (rule and rule(self, e)):
            self._opaque(e)

    def view(self, e: _Equation, value: _Value, shape: Shape, spatial: Spatial) -> None:
        """The same numbers under another shape."""
        alone = value.alone and self.readers[id(e.inputs[0])] == 1
        self.values[id(e.outputs[0])] = replace(value, shape=shape, spatial=spatial, alone=alone)

    def _set(self, e: _Equation, piece: _Piece) -> bool:
        self.pieces.append(piece)
        for i, out in enumerate(e.outputs):
            self.values[id(out)] = piece.value(i)
        return True

    def _named(
        self, e: _Equation, operator: Operator, inputs: list[_Value], shape: Shape, spatial: Spatial, **parameters: Any
    ) -> bool:
        kind = type(operator).__name__.lower()
        return self._set(e, _Piece(kind, e.scope, inputs, [(shape, spatial)], operator, parameters))

    def _opaque(self, e: _Equation) -> bool:
        """Anything: its own primitive, for one image."""
        operands = [self._value(i) for i in e.inputs]
        piece = _Piece("opaque", e.scope, [], [])
        refs: list[Ref | Scalar] = []
        for operand in operands:
            refs.append(_operand(piece, operand))
        spatial = next((v.spatial for v in piece.inputs if v.spatial), None)
        shape_in = next((v.shape for v in piece.inputs if v.spatial), ())
        for aval in e.avals:
            same = spatial and len(aval.shape) == len(shape_in) and all(aval.shape[a] == shape_in[a] for a in spatial)
            piece.results.append((tuple(aval.shape), spatial if same else None))
        piece.steps.append((e.primitive, e.params, refs, len(e.outputs)))
        piece.multiplications = _multiplications(e, operands)
        return self._set(e, piece)

    def _pointwise(
        self, e: _Equation, params: dict[str, Any], spatial: tuple[int, int], multiplications: int = 0
    ) -> bool:
        """The primitive at one place; False where its operands do not allow that. `spatial` is the result's."""
        piece = _Piece("pointwise", e.scope, [], [], multiplications=multiplications)
        operands = [self.read(i) for i in e.inputs]
        maps = [v for v in operands if isinstance(v, _Value) and v.spatial]
        if not maps or len({(v.spatial, _places(v)) for v in maps}) != 1:
            return False
        at, size = maps[0].spatial, _places(maps[0])
        assert at
        refs: list[Ref | Scalar] = []
        for operand in operands:
            mapped = isinstance(operand, _Value) and operand.spatial
            if mapped or (not _of_image(operand) and np.ndim(operand) == 0):
                refs.append(_operand(piece, operand))
                continue
            ref = self._repeated(piece, operand, at, size)
            if ref is None:
                return False
            refs.append(ref)
        piece.results = [(tuple(aval.shape), spatial) for aval in e.avals]
        piece.steps.append((e.primitive, params, refs, len(e.outputs)))
        return self._set(e, piece)

    def _repeated(self, piece: _Piece, operand: Any, at: tuple[int, int], size: tuple[int, int]) -> Ref | None:
        """A constant or a vector, beside maps with height and width `size` at the axes `at`; None if it does not fit."""
        if len(operand.shape) <= max(at) or any(operand.shape[a] not in (1, n) for a, n in zip(at, size)):
            return None
        if not isinstance(operand, _Broadcast):
            operand = _Broadcast(operand, operand.shape, tuple(range(len(operand.shape))))
        source, rest = operand.source, _rest(operand.shape, at)
        sizes = source.shape if isinstance(source, _Value) else np.shape(source)
        along = dict(zip(operand.dimensions, sizes))
        if all(along.get(a, 1) == 1 for a in at):  # the same at every place
            unit = tuple(along.get(axis, 1) for axis in range(len(operand.shape)) if axis not in at)
            if not isinstance(source, _Value):
                return _constant(piece, jnp.broadcast_to(jnp.reshape(source, unit), rest), None)
            if source.spatial:
                return None
            steps = _traced_steps(lambda x: jnp.broadcast_to(x.reshape(unit), rest), prod(sizes), self.dtype)
            return _append(piece, steps, _operand(piece, source))
        if isinstance(source, _Value):
            return None
        array = jax.lax.broadcast_in_dim(source, operand.shape, operand.dimensions)
        moved = jnp.moveaxis(array, at, (0, 1))
        moved = jnp.broadcast_to(moved, (*size, *moved.shape[2:]))
        if bool((moved == moved[:1, :1]).all()):
            return _constant(piece, moved[0, 0], None)
        return _constant(piece, moved.reshape(*size, -1), rest)


def _rest(shape: Shape, spatial: tuple[int, int]) -> Shape:
    """The shape at one place."""
    return tuple(size for axis, size in enumerate(shape) if axis not in spatial)


def _moved(axis: int, spatial: tuple[int, int]) -> int:
    """An axis other than height and width, once these are gone."""
    return axis - sum(s < axis for s in spatial)


def _places(value: _Value) -> tuple[int, int]:
    assert value.spatial
    return value.shape[value.spatial[0]], value.shape[value.spatial[1]]


def _operand(piece: _Piece, operand: Any) -> Ref | Scalar:
    if isinstance(operand, _Value):
        views = [_view(value) for value in piece.inputs]
        if _view(operand) not in views:
            piece.inputs.append(operand)
            views.append(_view(operand))
        return "input", views.index(_view(operand))
    if np.ndim(operand) == 0:
        value = np.asarray(operand)
        return Scalar(value.item(), str(value.dtype))
    return _constant(piece, operand, None)


def _constant(piece: _Piece, array: Any, placed: Shape | None) -> Ref:
    piece.constants.append((array, placed))
    return "constant", len(piece.constants) - 1


def _append(piece: _Piece, steps: list[tuple[Any, dict[str, Any]]], ref: Ref | Scalar) -> Ref:
    for primitive, params in steps:
        piece.steps.append((primitive, params, [ref], 1))
        ref = "result", sum(step[3] for step in piece.steps) - 1
    assert not isinstance(ref, Scalar)
    return ref


def _traced_steps(function: Callable, size: int, dtype: Any) -> list[tuple[Any, dict[str, Any]]]:
    """A chain of one-operand primitives."""
    equations = _flat(jax.make_jaxpr(function)(jnp.zeros(size, dtype)).jaxpr, {}, "")
    return [(e.primitive, e.params) for e in equations]


def _broadcast(shape: Shape, dimensions: tuple[int, ...]) -> dict[str, Any]:
    return {"shape": tuple(shape), "broadcast_dimensions": tuple(dimensions), "sharding": None}


def _multiplications(e: _Equation, operands: list[Any]) -> int:
    if e.primitive.name == "dot_general":
        (contracted, _), _ = e.params["dimension_numbers"]
        return prod(e.avals[0].shape) * prod(operands[0].shape[i] for i in contracted)
    if e.primitive.name == "conv_general_dilated":
        kernel, spec = operands[1].shape, e.params["dimension_numbers"].rhs_spec
        return prod(e.avals[0].shape) * prod(kernel) // kernel[spec[0]]
    return 0


# --- one rule a primitive: True where the equation was taken care of


def _elementwise(graph: _Graph, e: _Equation) -> bool:
    name, operands = e.primitive.name, [graph.read(i) for i in e.inputs]
    values = [v for v in operands if isinstance(v, _Value)]
    if name == "max" and len(values) == 1 and any(np.ndim(o) == 0 and o == 0 for o in operands if not _of_image(o)):
        return _relu(graph, e)
    if name in ("add", "add_any") and len(values) == 1 and _as_bias(graph, e, operands):
        return True
    if name in ("mul", "div") and len(values) == 1 and _as_mean(graph, e, operands):
        return True
    alike = len(values) == len(operands) and len({(v.shape, v.spatial) for v in values}) == 1
    growing = any(v.piece.operator is None and v.piece.scope == e.scope for v in values)
    if name in ("add", "add_any") and alike and not growing:
        return graph._named(e, Add(), values, values[0].shape, values[0].spatial)
    spatial = next((v.spatial for v in values if v.spatial), None)
    return spatial is not None and graph._pointwise(e, e.params, spatial)


def _of_image(operand: Any) -> bool:
    return isinstance(operand, _Value | _Broadcast)


def _relu(graph: _Graph, e: _Equation) -> bool:
    value = next((v for v in map(graph._value, e.inputs) if isinstance(v, _Value)), None)
    if value is None or (e.primitive.name == "custom_jvp_call" and _function_name(e) != "relu"):
        return False
    return graph._named(e, Relu(), [value], value.shape, value.spatial)


def _as_bias(graph: _Graph, e: _Equation, operands: list[Any]) -> bool:
    """A constant that is added to each feature of a convolution or a dense layer becomes its bias."""
    i = next(i for i, v in enumerate(operands) if isinstance(v, _Value))
    value, other = operands[i], operands[1 - i]
    operator = value.piece.operator
    if (
        not isinstance(operator, Conv | Dense)
        or operator.bias
        or not value.alone
        or graph.readers[id(e.inputs[i])] != 1
    ):
        return False
    channel = [a for a, size in enumerate(value.shape) if size != 1 and a not in (value.spatial or ())]
    if isinstance(other, _Broadcast):
        shape = getattr(other.source, "shape", ())
        along = [a for a, size in zip(other.dimensions, shape) if size != 1]
        other = other.source
    else:
        along = [a for a, size in enumerate(np.shape(other)) if size != 1]
    if _of_image(other) or np.size(other) != operator.features or (operator.features > 1 and along != channel[-1:]):
        return False
    value.piece.operator = replace(operator, bias=True)
    value.piece.parameters["bias"] = jnp.reshape(other, -1)
    graph.values[id(e.outputs[0])] = value
    return True


def _as_mean(graph: _Graph, e: _Equation, operands: list[Any]) -> bool:
    """A sum over all places divided by their number is a mean."""
    i = next(i for i, v in enumerate(operands) if isinstance(v, _Value))
    value, other = operands[i], operands[1 - i]
    piece = value.piece
    if not isinstance(piece.operator, GlobalSumPool) or not value.alone or graph.readers[id(e.inputs[i])] != 1:
        return False
    if isinstance(other, _Broadcast):
        other = other.source
    if _of_image(other) or np.size(other) != 1 or (e.primitive.name == "div" and i == 1):
        return False
    factor = float(np.reshape(other, ()))
    factor = factor if e.primitive.name == "mul" else 1 / factor
    if abs(factor * prod(_places(piece.inputs[0])) - 1) > 1e-6:
        return False
    piece.operator, piece.kind = GlobalAvgPool(), "globalavgpool"
    graph.values[id(e.outputs[0])] = value
    return True


def _reduction(graph: _Graph, e: _Equation) -> bool:
    value = graph.read(e.inputs[0])
    if not isinstance(value, _Value) or not value.spatial:
        return False
    axes, spatial = e.params["axes"], value.spatial
    if not set(axes) & set(spatial):
        kept = [axis for axis in range(len(value.shape)) if axis not in axes]
        params = {**e.params, "axes": tuple(_moved(axis, spatial) for axis in axes)}
        return graph._pointwise(e, params, (kept.index(spatial[0]), kept.index(spatial[1])))
    pools = {"reduce_sum": GlobalSumPool(), "reduce_max": GlobalMaxPool()}
    whole_map = set(axes) >= set(spatial) and all(value.shape[axis] == 1 for axis in axes if axis not in spatial)
    if not whole_map or e.primitive.name not in pools:
        return False
    return graph._named(e, pools[e.primitive.name], [value], tuple(e.avals[0].shape), None)


def _broadcasting(graph: _Graph, e: _Equation) -> bool:
    value, shape, dimensions = graph.read(e.inputs[0]), e.params["shape"], e.params["broadcast_dimensions"]
    if not isinstance(value, _Value) or len(e.inputs) > 1:
        return False
    if not value.spatial:
        if canonical_shape(tuple(shape), None) == canonical_shape(value.shape, None):
            graph.view(e, value, tuple(shape), None)
        else:
            graph.values[id(e.outputs[0])] = _Broadcast(value, tuple(shape), tuple(dimensions))
        return True
    at = dimensions[value.spatial[0]], dimensions[value.spatial[1]]
    if tuple(shape[a] for a in at) != _places(value):
        return False
    rest = tuple(_moved(dimensions[axis], at) for axis in range(len(value.shape)) if axis not in value.spatial)
    return graph._pointwise(e, {**e.params, **_broadcast(_rest(shape, at), rest)}, at)


def _reshape(graph: _Graph, e: _Equation) -> bool:
    value, shape = graph.read(e.inputs[0]), tuple(e.avals[0].shape)
    if isinstance(value, _Broadcast) or not isinstance(value, _Value):
        return False
    if not value.spatial:
        if canonical_shape(shape, None) != canonical_shape(value.shape, None):
            return False
        graph.view(e, value, shape, None)
        return True
    if e.params.get("dimensions") is not None or (at := _surviving(value.shape, shape, value.spatial)) is None:
        return False
    graph.view(e, value, shape, at)  # the order of channels is the same
    return True


def _surviving(shape: Shape, other: Shape, spatial: tuple[int, int]) -> tuple[int, int] | None:
    """Where height and width are after a reshape that leaves them whole, or None."""
    found = [
        [i for i in range(len(other)) if other[i] == shape[axis] and prod(other[:i]) == prod(shape[:axis])]
        for axis in spatial
    ]
    pairs = [(i, j) for i in found[0] for j in found[1] if i != j and (i < j) == (spatial[0] < spatial[1])]
    return pairs[-1] if pairs else None


def _transpose(graph: _Graph, e: _Equation) -> bool:
    value, order = graph.read(e.inputs[0]), e.params["permutation"]
    if not isinstance(value, _Value) or not value.spatial:
        return False
    at = order.index(value.spatial[0]), order.index(value.spatial[1])
    rest = tuple(_moved(axis, value.spatial) for axis in order if axis not in value.spatial)
    sizes = _rest(value.shape, value.spatial)
    moving = [axis for axis in rest if sizes[axis] != 1]
    if moving == sorted(moving):  # channels stay in order
        graph.view(e, value, tuple(e.avals[0].shape), at)
        return True
    return graph._pointwise(e, {**e.params, "permutation": rest}, at)


def _concatenate(graph: _Graph, e: _Equation) -> bool:
    values, axis = [graph.read(i) for i in e.inputs], e.params["dimension"]
    if not all(isinstance(v, _Value) for v in values):
        spatial = next((v.spatial for v in values if isinstance(v, _Value)), None)
        if not spatial or axis in spatial:
            return False
        return graph._pointwise(e, {**e.params, "dimension": _moved(axis, spatial)}, spatial)
    spatial, shape = values[0].spatial, tuple(e.avals[0].shape)
    if len({v.spatial for v in values}) != 1 or (spatial and axis in spatial):
        return False
    whole_channels = canonical_shape(shape, spatial)[-1] == shape[axis]
    if not spatial:
        ends = all(canonical_shape(v.shape, None)[-1] == v.shape[axis] for v in values)
        if not (whole_channels and ends and len({canonical_shape(v.shape, None)[:-1] for v in values}) == 1):
            return False
    if whole_channels:
        return graph._named(e, Concat(), values, shape, spatial)
    return graph._pointwise(e, {**e.params, "dimension": _moved(axis, spatial)}, spatial)


def _slice(graph: _Graph, e: _Equation) -> bool:
    value = graph.read(e.inputs[0])
    if not isinstance(value, _Value) or not value.spatial:
        return False
    start, stop = e.params["start_indices"], e.params["limit_indices"]
    stride = e.params["strides"] or (1,) * len(start)
    shape, at = tuple(e.avals[0].shape), value.spatial
    if _places(value) == tuple(shape[a] for a in at):
        params = {name: each and _rest(each, at) for name, each in e.params.items()}
        return graph._pointwise(e, params, at)
    if _rest(shape, at) != _rest(value.shape, at):
        return False
    (t, left), (b, right), (v, h) = (tuple(each[a] for a in at) for each in (start, stop, stride))
    return graph._named(e, Slice((t, left), (b, right), (v, h)), [value], shape, at)


def _split(graph: _Graph, e: _Equation) -> bool:
    value = graph.read(e.inputs[0])
    if not isinstance(value, _Value) or not value.spatial or e.params["axis"] in value.spatial:
        return False
    return graph._pointwise(e, {**e.params, "axis": _moved(e.params["axis"], value.spatial)}, value.spatial)


def _pad(graph: _Graph, e: _Equation) -> bool:
    value, fill = graph.read(e.inputs[0]), graph.read(e.inputs[1])
    if not isinstance(value, _Value) or not value.spatial or np.ndim(fill) or _of_image(fill):
        return False
    config, at = e.params["padding_config"], value.spatial
    around = tuple(tuple(config[a][:2]) for a in at)
    others = [c for axis, c in enumerate(config) if axis not in at]
    if (
        all(c == (0, 0, 0) for c in others)
        and min(min(pads) for pads in around) >= 0
        and not any(config[a][2] for a in at)
    ):
        return graph._named(e, Pad(around, float(fill)), [value], tuple(e.avals[0].shape), at)  # type: ignore[arg-type]
    if around == ((0, 0), (0, 0)) and not any(config[a][2] for a in at):
        return graph._pointwise(e, {**e.params, "padding_config": tuple(others)}, at)
    return False


def _product(graph: _Graph, e: _Equation) -> bool:
    left, right = (graph.read(i) for i in e.inputs)
    ((lc, rc), (lb, rb)), shape = e.params["dimension_numbers"], tuple(e.avals[0].shape)
    if not isinstance(left, _Value):
        return False
    right = None if isinstance(right, _Value) else graph._value(e.inputs[1])
    if right is None or isinstance(right, _Value) or lb or e.avals[0].dtype != graph.dtype:
        return False
    free = [axis for axis in range(len(left.shape)) if axis not in lc]
    spatial: Spatial = None
    if left.spatial:
        if set(lc) & set(left.spatial):
            return False
        spatial = free.index(left.spatial[0]), free.index(left.spatial[1])
    inside, outside = canonical_shape(left.shape, left.spatial), canonical_shape(shape, spatial)
    features = prod(size for axis, size in enumerate(right.shape) if axis not in rc)
    last = len(lc) == 1 and (left.spatial is not None or lc[0] == len(left.shape) - 1)
    if last and left.shape[lc[0]] == inside[-1] and outside == (*inside[:-1], features):
        kernel = right if rc == (0,) and right.ndim == 2 else jnp.moveaxis(right, rc[0], 0).reshape(-1, features)
        return graph._named(e, Dense(features, bias=False), [left], shape, spatial, kernel=kernel)
    if not left.spatial:
        return False
    params = {**e.params, "dimension_numbers": ((tuple(_moved(a, left.spatial) for a in lc), rc), ((), ()))}
    count = prod(_rest(shape, spatial)) * prod(left.shape[a] for a in lc)  # type: ignore[arg-type]
    piece = _Piece("pointwise", e.scope, [], [(shape, spatial)], multiplications=count)
    piece.steps.append((e.primitive, params, [_operand(piece, left), _constant(piece, right, None)], 1))
    return graph._set(e, piece)


def _convolution(graph: _Graph, e: _Equation) -> bool:
    value, kernel = graph.read(e.inputs[0]), graph._value(e.inputs[1])
    p = e.params
    if not isinstance(value, _Value) or isinstance(kernel, _Value) or not value.spatial or len(value.shape) != 4:
        return False
    lhs, rhs, out = p["dimension_numbers"]
    plain = p["batch_group_count"] == 1 and set(p["lhs_dilation"]) == {1} and e.avals[0].dtype == graph.dtype
    if not plain or tuple(lhs[2:]) != value.spatial or value.shape[lhs[0]] != 1:
        return False
    order = (*rhs[2:], rhs[1], rhs[0])
    kernel = kernel if order == (0, 1, 2, 3) else jnp.transpose(kernel, order)
    operator = Conv(
        kernel.shape[3], kernel.shape[:2], tuple(p["window_strides"]), tuple(map(tuple, p["padding"])),
        p["feature_group_count"], tuple(p["rhs_dilation"]), False,
    )  # fmt: skip
    if min(map(min, operator.padding)) < 0:
        return False
    return graph._named(e, operator, [value], tuple(e.avals[0].shape), (out[2], out[3]), kernel=kernel)


def _window(graph: _Graph, e: _Equation) -> bool:
    value, p = graph.read(e.inputs[0]), e.params
    if not isinstance(value, _Value) or not value.spatial:
        return False
    at = value.spatial
    others = [axis for axis in range(len(value.shape)) if axis not in at]
    plain = set(p["base_dilation"]) == {1} and set(p["window_dilation"]) == {1}
    alone = all(
        p["window_dimensions"][a] == p["window_strides"][a] == 1 and tuple(p["padding"][a]) == (0, 0) for a in others
    )
    if not (plain and alone):
        return False
    kind = MaxPool if e.primitive.name == "reduce_window_max" else SumPool
    window, stride = (tuple(p[key][a] for a in at) for key in ("window_dimensions", "window_strides"))
    operator = kind(window, stride, tuple(tuple(p["padding"][a]) for a in at))  # type: ignore[arg-type]
    return graph._named(e, operator, [value], tuple(e.avals[0].shape), at)


def _same(graph: _Graph, e: _Equation) -> bool:
    """Another axis of one, or one fewer: the same numbers."""
    return _reshape(graph, e)


RULES: dict[str, Callable[[_Graph, _Equation], bool]] = {
    "elementwise": _elementwise,
    "custom_jvp_call": _relu,
    "reduction": _reduction,
    "broadcast_in_dim": _broadcasting,
    "reshape": _reshape,
    "squeeze": _same,
    "expand_dims": _same,
    "transpose": _transpose,
    "concatenate": _concatenate,
    "slice": _slice,
    "split": _split,
    "pad": _pad,
    "dot_general": _product,
    "conv_general_dilated": _convolution,
    "reduce_window_max": _window,
    "reduce_window_sum": _window,
}


# --- from pieces to nodes

Key = tuple[_Piece, int]


def _assembled(outs: list[_Value]) -> tuple[list[Node], dict[str, dict[str, Any]], dict[Key, str]]:
    """Nodes and parameters of what the values need, and the node of each piece's result. Pieces without an operator
    that follow one another within a scope become one, up to a result that others read."""
    pieces: set[_Piece] = set()
    waiting = [value.piece for value in outs]
    while waiting:
        piece = waiting.pop()
        if piece not in pieces:
            pieces.add(piece)
            waiting += [value.piece for value in piece.inputs]
    ordered = sorted(pieces, key=lambda piece: piece.order)
    read = {(v.piece, v.result) for v in outs}
    read.update((v.piece, v.result) for piece in ordered for v in piece.inputs if not _joined(v, piece))
    keys = [
        (piece, i) for piece in ordered for i in range(len(piece.results)) if (piece, i) in read or not piece.inputs
    ]
    names = _named_keys(keys)
    nodes, weights = [], {}
    for key in keys:
        operator, inputs, parameters = _operator(key, read)
        nodes.append(Node(names[key], operator, tuple(names[v.piece, v.result] for v in inputs)))
        if parameters:
            weights[names[key]] = parameters
    return nodes, weights, names


def _joined(value: _Value, reader: _Piece) -> bool:
    """Whether a value may become an inner one of its reader's operator."""
    piece = value.piece
    if piece.operator or reader.operator or piece.kind != reader.kind or piece.scope != reader.scope:
        return False
    view = (value.shape, value.spatial) == piece.results[value.result]
    return view or piece.kind == "pointwise" or (value.spatial is None and piece.results[value.result][1] is None)


def _operator(key: Key, read: set[Key]) -> tuple[Operator, list[_Value], dict[str, Any]]:
    """The operator that gives a result, what it reads, and its parameters."""
    last, result = key
    if last.operator:
        return last.operator, last.inputs, last.parameters
    members, waiting = {last}, [last]
    while waiting:
        piece = waiting.pop()
        for value in piece.inputs:
            if _joined(value, piece) and (value.piece, value.result) not in read and value.piece not in members:
                members.add(value.piece)
                waiting.append(value.piece)
    ordered = sorted(members, key=lambda piece: piece.order)
    pointwise = last.kind == "pointwise"
    views: dict[tuple, int] = {}
    inputs: list[_Value] = []
    for piece in ordered:
        for value in piece.inputs:
            if value.piece not in members or (value.piece, value.result) in read:
                if _view(value) not in views:
                    views[_view(value)] = len(inputs)
                    inputs.append(value)
    constants = [constant for piece in ordered for constant in piece.constants]
    slots = len(inputs) + len(constants)
    steps: list[Step] = []
    results: dict[Key, int] = {}
    first = len(inputs)
    for piece in ordered:
        own: list[int] = []  # slots of the piece's steps' results
        local: dict[int, int] = {}
        for i, value in enumerate(piece.inputs):
            if _view(value) in views:
                local[i] = views[_view(value)]
                continue
            local[i] = results[value.piece, value.result]
            inner, stated = (_inner(shape, spatial, pointwise) for shape, spatial in (
                (value.shape, value.spatial), value.piece.results[value.result]))  # fmt: skip
            if inner != stated:
                params = (("dimensions", None), ("new_sizes", inner), ("sharding", None))
                steps.append(Step(jax.lax.reshape_p, params, (local[i],)))
                local[i], slots = slots, slots + 1
        for primitive, params, refs, count in piece.steps:
            operands = []
            for ref in refs:
                match ref:
                    case ("input", i):
                        operands.append(local[i])
                    case ("constant", i):
                        operands.append(first + i)
                    case ("result", i):
                        operands.append(own[i])
                    case _:
                        operands.append(ref)
            steps.append(Step(primitive, _frozen(params), tuple(operands), count))
            own += range(slots, slots + count)
            slots += count
        first += len(piece.constants)
        for i in range(len(piece.results)):
            results[piece, i] = own[len(own) - len(piece.results) + i]
    shape, spatial = last.results[result]
    common = (
        tuple(steps),
        tuple(_inner(v.shape, v.spatial, pointwise) for v in inputs),
        results[key],
        _inner(shape, spatial, pointwise),
        len(constants),
        sum(piece.multiplications for piece in ordered),
    )
    operator: Operator
    if pointwise:
        operator = Pointwise(*common, tuple(shape for _, shape in constants))
    else:
        held = max(prod(shape) for piece in ordered for shape, _ in piece.results)
        operator = Opaque(*common, tuple(v.spatial for v in inputs), spatial, held)
    return operator, inputs, {f"p{i}": array for i, (array, _) in enumerate(constants)}


def _view(value: _Value) -> tuple:
    return value.piece, value.result, value.shape, value.spatial


def _inner(shape: Shape, spatial: Spatial, pointwise: bool) -> Shape:
    """How an operator's steps take a value."""
    if not pointwise:
        return tuple(shape)
    return _rest(shape, spatial) if spatial else (prod(shape),)


@dataclass(frozen=True, eq=False)
class _Held:
    """A parameter of a primitive that cannot be hashed: itself alone is equal to it."""

    value: Any

    def __repr__(self) -> str:
        return repr(self.value)


def _frozen(params: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    def hashable(value: Any) -> bool:
        try:
            hash(value)
        except TypeError:
            return False
        return True

    return tuple((name, value if hashable(value) else _Held(value)) for name, value in sorted(params.items()))


def _named_keys(keys: list[Key]) -> dict[Key, str]:
    """A name for each: its scope's for the last one within it, scope/kind for those before, numbered where it must be."""
    scopes = {piece.scope for piece, _ in keys if piece.scope and piece.inputs}
    common = _common([scope.split("/") for scope in scopes])
    last = {piece.scope: (piece, i) for piece, i in keys}
    names: dict[Key, str] = {}
    used: Counter[str] = Counter()
    for piece, i in keys:
        scope = "/".join(piece.scope.split("/")[common:]) if piece.inputs else piece.scope
        if not scope:
            base = piece.kind
        else:
            base = scope if last[piece.scope] == (piece, i) else f"{scope}/{piece.kind}"
        used[base] += 1
        name = base + (str(used[base]) if not scope else f"_{used[base]}" if used[base] > 1 else "")
        while name in names.values():
            name += "_"
        names[piece, i] = name
    return names


def _common(paths: list[list[str]]) -> int:
    """How many first parts all paths share, each keeping at least one of its own."""
    if len(paths) < 2:
        return 0
    count = 0
    while all(len(path) > count + 1 for path in paths) and len({path[count] for path in paths}) == 1:
        count += 1
    return count


def _shapes(nodes: list[Node], image: Shape) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for node in nodes:
        shapes[node.name] = node.layer.shape(*([shapes[i] for i in node.inputs] or [image]))
    return shapes


def _grids(nodes: list[Node], shapes: dict[str, Shape]) -> tuple[tuple[str, int, int, int], ...]:
    """Layers of tokens `[t, d]`, whose last tokens are the places of the map that they were made of."""
    places: dict[str, tuple[int, int]] = {}
    grids = []
    for node in nodes:
        shape = shapes[node.name]
        found = [places[name] for name in node.inputs if name in places]
        if is_map(shape):
            places[node.name] = shape[:2]
        elif found:
            rows, columns = places[node.name] = found[0]
            if len(shape) == 2 and 0 <= shape[0] - rows * columns <= 8:
                grids.append((node.name, shape[0] - rows * columns, rows, columns))
    return tuple(grids)


def _last_with_places(nodes: list[Node], shapes: dict[str, Shape], grids: Sequence[tuple[str, int, int, int]]) -> str:
    """The last activation that still has height and width. Of tokens, where some stand before the grid, the last on
    which all others still depend: what attention reads for the last time."""
    order = [node.name for node in nodes]
    maps = [name for name in order[1:] if is_map(shapes[name])]
    tokens = [name for name, *_ in grids]
    if not tokens or (maps and order.index(maps[-1]) > order.index(tokens[-1])):
        return maps[-1] if maps else order[-1]
    if grids[-1][1] == 0:
        return tokens[-1]
    by_name = {node.name: node for node in nodes}
    mixing = [n for n in nodes if not n.layer.linear and n.layer.macs([], ()) and any(i in tokens for i in n.inputs)
              and isinstance(n.layer, Opaque)]  # fmt: skip
    if not mixing:
        return tokens[-1]
    name = next(i for i in mixing[-1].inputs if i in tokens)
    while by_name[name].layer.weighted and by_name[name].inputs[0] in tokens:
        name = by_name[name].inputs[0]
    return name


def _needed(equations: list[_Equation], *outs: Any) -> list[_Equation]:
    wanted = set(map(id, outs))
    kept = []
    for e in reversed(equations):
        if any(id(o) in wanted for o in e.outputs):
            kept.append(e)
            wanted.update(map(id, e.inputs))
    return kept[::-1]


def _evaluated(equations: list[_Equation], outs: list[Any]) -> list[Array]:
    """Constants, computed by one compiled function; arrays that are as large as weights go in as arguments."""
    if not outs:
        return []
    fixed = {id(i): i.value for e in equations for i in e.inputs if isinstance(i, _Constant)}

    @jax.jit
    def run(fixed: dict[int, Any]) -> list[Array]:
        done: dict[int, Any] = dict(fixed)
        for e in equations:
            step = Step(e.primitive, tuple(e.params.items()), tuple(range(len(e.inputs))), len(e.outputs))
            slots = [jnp.asarray(i.val) if isinstance(i, core.Literal) else done[id(i)] for i in e.inputs]
            step.run(slots)
            done.update(zip(map(id, e.outputs), slots[len(e.inputs) :]))
        return [done[id(o)] for o in outs]

    return run(fixed)
