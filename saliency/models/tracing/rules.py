"""What becomes of each primitive: one rule a primitive, True where it took care of the equation.

A rule that does not know what to do leaves the equation to `Opaque`, which is exact for anything.
"""

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from saliency.models.operators import (
    Add,
    Concat,
    Conv,
    Dense,
    GlobalMaxPool,
    GlobalSumPool,
    MaxPool,
    Pad,
    Relu,
    Shape,
    Slice,
    SumPool,
)
from saliency.models.operators.program import canonical_shape
from saliency.models.tracing.equations import Equation, function_name
from saliency.models.tracing.pieces import (
    Broadcast,
    Piece,
    Spatial,
    Value,
    at_one_place,
    broadcast_params,
    constant_ref,
    moved,
    of_image,
    operand_ref,
    places,
)

if TYPE_CHECKING:
    from saliency.models.tracing.graph import Graph

REDUCTIONS = {"reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or"}


def _elementwise(graph: "Graph", e: Equation) -> bool:
    name, operands = e.primitive.name, [graph.read(i) for i in e.inputs]
    values = [v for v in operands if isinstance(v, Value)]
    if name == "max" and len(values) == 1 and any(np.ndim(o) == 0 and o == 0 for o in operands if not of_image(o)):
        return _relu(graph, e)
    if name in ("add", "add_any") and len(values) == 1 and _as_bias(graph, e, operands):
        return True
    if name in ("mul", "div") and len(values) == 1 and _as_factor(graph, e, operands):
        return True
    alike = len(values) == len(operands) and len({(v.shape, v.spatial) for v in values}) == 1
    growing = any(v.piece.operator is None and v.piece.scope == e.scope for v in values)
    if name in ("add", "add_any") and alike and not growing:
        return graph._named(e, Add(), values, values[0].shape, values[0].spatial)
    spatial = next((v.spatial for v in values if v.spatial), None)
    return spatial is not None and graph._pointwise(e, e.params, spatial)


def _relu(graph: "Graph", e: Equation) -> bool:
    value = next((v for v in map(graph._value, e.inputs) if isinstance(v, Value)), None)
    if value is None or (e.primitive.name == "custom_jvp_call" and function_name(e) != "relu"):
        return False
    return graph._named(e, Relu(), [value], value.shape, value.spatial)


def _as_bias(graph: "Graph", e: Equation, operands: list[Any]) -> bool:
    """A constant that is added to each feature of a convolution or a dense layer becomes its bias."""
    i = next(i for i, v in enumerate(operands) if isinstance(v, Value))
    value, other = operands[i], operands[1 - i]
    operator = value.piece.operator
    biased = operator and operator.with_bias()
    if not biased or not value.alone or graph.readers[id(e.inputs[i])] != 1:
        return False
    channel = [a for a, size in enumerate(value.shape) if size != 1 and a not in (value.spatial or ())]
    if isinstance(other, Broadcast):
        shape = getattr(other.source, "shape", ())
        along = [a for a, size in zip(other.dimensions, shape) if size != 1]
        other = other.source
    else:
        along = [a for a, size in enumerate(np.shape(other)) if size != 1]
    features = canonical_shape(value.shape, value.spatial)[-1]
    if of_image(other) or np.size(other) != features or (features > 1 and along != channel[-1:]):
        return False
    value.piece.operator = biased
    value.piece.parameters["bias"] = jnp.reshape(other, -1)
    graph.values[id(e.outputs[0])] = value
    return True


def _as_factor(graph: "Graph", e: Equation, operands: list[Any]) -> bool:
    """Times a number that the operator can take in: a sum over all places divided by their number is a mean."""
    i = next(i for i, v in enumerate(operands) if isinstance(v, Value))
    value, other = operands[i], operands[1 - i]
    piece = value.piece
    if not piece.operator or not value.alone or graph.readers[id(e.inputs[i])] != 1:
        return False
    if isinstance(other, Broadcast):
        other = other.source
    if of_image(other) or np.size(other) != 1 or (e.primitive.name == "div" and i == 1):
        return False
    factor = float(np.reshape(other, ()))
    factor = factor if e.primitive.name == "mul" else 1 / (factor or np.inf)
    shapes = [canonical_shape(v.shape, v.spatial) for v in piece.inputs]
    if (scaled := piece.operator.times(factor, *shapes)) is None:
        return False
    piece.operator, piece.kind = scaled, type(scaled).__name__.lower()
    graph.values[id(e.outputs[0])] = value
    return True


def _reduction(graph: "Graph", e: Equation) -> bool:
    value = graph.read(e.inputs[0])
    if not isinstance(value, Value) or not value.spatial:
        return False
    axes, spatial = e.params["axes"], value.spatial
    if not set(axes) & set(spatial):
        kept = [axis for axis in range(len(value.shape)) if axis not in axes]
        params = {**e.params, "axes": tuple(moved(axis, spatial) for axis in axes)}
        return graph._pointwise(e, params, (kept.index(spatial[0]), kept.index(spatial[1])))
    pools = {"reduce_sum": GlobalSumPool(), "reduce_max": GlobalMaxPool()}
    whole_map = set(axes) >= set(spatial) and all(value.shape[axis] == 1 for axis in axes if axis not in spatial)
    if not whole_map or e.primitive.name not in pools:
        return False
    return graph._named(e, pools[e.primitive.name], [value], tuple(e.avals[0].shape), None)


def _broadcasting(graph: "Graph", e: Equation) -> bool:
    value, shape, dimensions = graph.read(e.inputs[0]), e.params["shape"], e.params["broadcast_dimensions"]
    if not isinstance(value, Value) or len(e.inputs) > 1:
        return False
    if not value.spatial:
        if canonical_shape(tuple(shape), None) == canonical_shape(value.shape, None):
            graph.view(e, value, tuple(shape), None)
        else:
            graph.values[id(e.outputs[0])] = Broadcast(value, tuple(shape), tuple(dimensions))
        return True
    at = dimensions[value.spatial[0]], dimensions[value.spatial[1]]
    if tuple(shape[a] for a in at) != places(value):
        return False
    rest = tuple(moved(dimensions[axis], at) for axis in range(len(value.shape)) if axis not in value.spatial)
    return graph._pointwise(e, {**e.params, **broadcast_params(at_one_place(shape, at), rest)}, at)


def _reshape(graph: "Graph", e: Equation) -> bool:
    value, shape = graph.read(e.inputs[0]), tuple(e.avals[0].shape)
    if isinstance(value, Broadcast) or not isinstance(value, Value):
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


def _transpose(graph: "Graph", e: Equation) -> bool:
    value, order = graph.read(e.inputs[0]), e.params["permutation"]
    if not isinstance(value, Value) or not value.spatial:
        return False
    at = order.index(value.spatial[0]), order.index(value.spatial[1])
    rest = tuple(moved(axis, value.spatial) for axis in order if axis not in value.spatial)
    sizes = at_one_place(value.shape, value.spatial)
    moving = [axis for axis in rest if sizes[axis] != 1]
    if moving == sorted(moving):  # channels stay in order
        graph.view(e, value, tuple(e.avals[0].shape), at)
        return True
    return graph._pointwise(e, {**e.params, "permutation": rest}, at)


def _concatenate(graph: "Graph", e: Equation) -> bool:
    values, axis = [graph.read(i) for i in e.inputs], e.params["dimension"]
    if not all(isinstance(v, Value) for v in values):
        spatial = next((v.spatial for v in values if isinstance(v, Value)), None)
        if not spatial or axis in spatial:
            return False
        return graph._pointwise(e, {**e.params, "dimension": moved(axis, spatial)}, spatial)
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
    return graph._pointwise(e, {**e.params, "dimension": moved(axis, spatial)}, spatial)


def _slice(graph: "Graph", e: Equation) -> bool:
    value = graph.read(e.inputs[0])
    if not isinstance(value, Value) or not value.spatial:
        return False
    start, stop = e.params["start_indices"], e.params["limit_indices"]
    stride = e.params["strides"] or (1,) * len(start)
    shape, at = tuple(e.avals[0].shape), value.spatial
    if places(value) == tuple(shape[a] for a in at):
        params = {name: each and at_one_place(each, at) for name, each in e.params.items()}
        return graph._pointwise(e, params, at)
    if at_one_place(shape, at) != at_one_place(value.shape, at):
        return False
    (t, left), (b, right), (v, h) = (tuple(each[a] for a in at) for each in (start, stop, stride))
    return graph._named(e, Slice((t, left), (b, right), (v, h)), [value], shape, at)


def _split(graph: "Graph", e: Equation) -> bool:
    value = graph.read(e.inputs[0])
    if not isinstance(value, Value) or not value.spatial or e.params["axis"] in value.spatial:
        return False
    return graph._pointwise(e, {**e.params, "axis": moved(e.params["axis"], value.spatial)}, value.spatial)


def _pad(graph: "Graph", e: Equation) -> bool:
    value, fill = graph.read(e.inputs[0]), graph.read(e.inputs[1])
    if not isinstance(value, Value) or not value.spatial or np.ndim(fill) or of_image(fill):
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


def _product(graph: "Graph", e: Equation) -> bool:
    left, right = (graph.read(i) for i in e.inputs)
    ((lc, rc), (lb, _)), shape = e.params["dimension_numbers"], tuple(e.avals[0].shape)
    if not isinstance(left, Value):
        return False
    right = None if isinstance(right, Value) else graph._value(e.inputs[1])
    if right is None or isinstance(right, Value) or lb or e.avals[0].dtype != graph.dtype:
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
    params = {**e.params, "dimension_numbers": ((tuple(moved(a, left.spatial) for a in lc), rc), ((), ()))}
    count = prod(at_one_place(shape, spatial)) * prod(left.shape[a] for a in lc)  # type: ignore[arg-type]
    piece = Piece("pointwise", e.scope, [], [(shape, spatial)], multiplications=count)
    piece.steps.append((e.primitive, params, [operand_ref(piece, left), constant_ref(piece, right, None)], 1))
    return graph._set(e, piece)


def _convolution(graph: "Graph", e: Equation) -> bool:
    value, kernel = graph.read(e.inputs[0]), graph._value(e.inputs[1])
    p = e.params
    if not isinstance(value, Value) or isinstance(kernel, Value) or not value.spatial or len(value.shape) != 4:
        return False
    lhs, rhs, out = p["dimension_numbers"]
    plain = p["batch_group_count"] == 1 and set(p["lhs_dilation"]) == {1} and e.avals[0].dtype == graph.dtype
    if not plain or tuple(lhs[2:]) != value.spatial or value.shape[lhs[0]] != 1:
        return False
    order = (*rhs[2:], rhs[1], rhs[0])
    kernel = kernel if order == (0, 1, 2, 3) else jnp.transpose(kernel, order)
    height, width, _, features = kernel.shape
    top, left = map(tuple, p["padding"])
    if min(*top, *left) < 0:
        return False
    groups, dilation = p["feature_group_count"], tuple(p["rhs_dilation"])
    operator = Conv(features, (height, width), tuple(p["window_strides"]), (top, left), groups, dilation, False)
    return graph._named(e, operator, [value], tuple(e.avals[0].shape), (out[2], out[3]), kernel=kernel)


def _window(graph: "Graph", e: Equation) -> bool:
    value, p = graph.read(e.inputs[0]), e.params
    if not isinstance(value, Value) or not value.spatial:
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


RULES: dict[str, Callable[["Graph", Equation], bool]] = {
    "elementwise": _elementwise,
    "custom_jvp_call": _relu,
    "reduction": _reduction,
    "broadcast_in_dim": _broadcasting,
    "reshape": _reshape,
    "squeeze": _reshape,
    "expand_dims": _reshape,
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
