"""ONNX's operators in JAX, for inference: `OPERATORS` names a function for each.

A function takes the node's attributes and its inputs, None for one that is left out, and gives its output or a tuple.
Inputs that are known beforehand (shapes, axes, small constants) are NumPy arrays and stay so; others are JAX's.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Attributes = Mapping[str, Any]


MOST_KNOWN = 2**20  # numbers up to which what is known beforehand is computed at once


def _of(*xs: Any) -> Any:
    """NumPy for what is known beforehand and stays small, else jax.numpy, which states sizes before it computes."""
    if not all(x is None or isinstance(x, np.ndarray | np.generic | int | float) for x in xs):
        return jnp
    sizes = [np.shape(x) for x in xs if x is not None]
    try:
        most = math.prod(np.broadcast_shapes(*sizes))
    except ValueError:  # they are joined, not set against one another
        most = sum(map(math.prod, sizes))
    return np if most <= MOST_KNOWN else jnp


def _ints(x: Any) -> list[int]:
    """A known list of integers."""
    if not isinstance(x, np.ndarray | list | tuple | int | np.generic):
        raise ValueError("an axis, a shape or a size depends on the image")
    return [int(v) for v in np.atleast_1d(x)]


def _axes(a: Attributes, given: Any, rank: int) -> tuple[int, ...] | None:
    axes = _ints(given) if given is not None else a.get("axes")
    return tuple(axis % rank for axis in axes) if axes else None


def _pads(a: Attributes, sizes: Sequence[int], window: Sequence[int], ceil: bool = False) -> list[tuple[int, int]]:
    """Lines of padding before and after along each axis; `window` with its dilation."""
    rank = len(window)
    stride = a.get("strides", [1] * rank)
    given = a.get("pads", [0] * 2 * rank)
    kind = a.get("auto_pad", "NOTSET")
    pads = []
    for i in range(rank):
        before, after = given[i], given[i + rank]
        if kind.startswith("SAME"):
            total = max((-(-sizes[i] // stride[i]) - 1) * stride[i] + window[i] - sizes[i], 0)
            small, large = total // 2, total - total // 2
            before, after = (small, large) if kind == "SAME_UPPER" else (large, small)
        elif kind == "VALID":
            before = after = 0
        if ceil:
            reach = sizes[i] + before + after - window[i]
            count = -(-reach // stride[i])
            if count * stride[i] >= sizes[i] + before:  # no window starts in the padding
                count -= 1
            after += max(0, count * stride[i] + window[i] - (sizes[i] + before + after))
        pads.append((before, after))
    return pads


def conv(a: Attributes, x: Any, w: Any, b: Any = None) -> Any:
    rank = x.ndim - 2
    dilation = a.get("dilations", [1] * rank)
    window = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilation)]
    spec = ("NCHW", "OIHW", "NCHW") if rank == 2 else ("NCH", "OIH", "NCH")
    y = lax.conv_general_dilated(
        x, w, a.get("strides", [1] * rank), _pads(a, x.shape[2:], window),
        rhs_dilation=dilation, dimension_numbers=spec, feature_group_count=a.get("group", 1),
    )  # fmt: skip
    return y if b is None else y + jnp.reshape(b, (-1, *[1] * rank))


def _pool(a: Attributes, x: Any, start: float, reducer: Any) -> tuple[Any, list[tuple[int, int]]]:
    window = a["kernel_shape"]
    dilation = a.get("dilations", [1] * len(window))
    wide = [(k - 1) * d + 1 for k, d in zip(window, dilation)]
    pads = _pads(a, x.shape[2:], wide, bool(a.get("ceil_mode", 0)))
    strides = (1, 1, *a.get("strides", [1] * len(window)))
    y = lax.reduce_window(
        x, np.asarray(start, x.dtype), reducer, (1, 1, *window), strides, [(0, 0), (0, 0), *pads],
        window_dilation=(1, 1, *dilation),
    )  # fmt: skip
    return y, pads


def max_pool(a: Attributes, x: Any) -> Any:
    return _pool(a, x, -np.inf, lax.max)[0]


def average_pool(a: Attributes, x: Any) -> Any:
    total, pads = _pool(a, x, 0.0, lax.add)
    window, sizes = a["kernel_shape"], x.shape[2:]
    stated = a.get("pads", [0] * 2 * len(window)) if a.get("auto_pad", "NOTSET") == "NOTSET" else None
    counts = []
    for i, (before, after) in enumerate(pads):
        starts = np.arange(total.shape[2 + i]) * a.get("strides", [1] * len(window))[i] - before
        if a.get("count_include_pad", 0):  # what lies beyond the stated padding does not count
            low, high = -before, sizes[i] + (stated[i + len(window)] if stated else after)
        else:
            low, high = 0, sizes[i]
        dilation = a.get("dilations", [1] * len(window))[i]
        lines = starts[:, None] + np.arange(window[i]) * dilation
        counts.append(((lines >= low) & (lines < high)).sum(1))
    count = np.multiply.outer(*counts) if len(counts) == 2 else counts[0]
    return total / (count.flat[0] if (count == count.flat[0]).all() else count.astype(total.dtype))


def batch_normalization(a: Attributes, x: Any, scale: Any, bias: Any, mean: Any, variance: Any) -> Any:
    if a.get("training_mode", 0):
        raise ValueError("it is in training mode")
    shape = (-1, *[1] * (x.ndim - 2))
    factor = scale / jnp.sqrt(variance + a.get("epsilon", 1e-5))
    return x * jnp.reshape(factor, shape) + jnp.reshape(bias - mean * factor, shape)


def lrn(a: Attributes, x: Any) -> Any:
    size = a["size"]
    squares = jnp.pad(x * x, [(0, 0), ((size - 1) // 2, size // 2), *[(0, 0)] * (x.ndim - 2)])
    total = squares[:, : x.shape[1]]
    for i in range(1, size):
        total = total + squares[:, i : i + x.shape[1]]
    return x / (a.get("bias", 1.0) + a.get("alpha", 1e-4) / size * total) ** a.get("beta", 0.75)


def layer_normalization(a: Attributes, x: Any, scale: Any, bias: Any = None) -> Any:
    axes = tuple(range(a.get("axis", -1) % x.ndim, x.ndim))
    centred = x - x.mean(axes, keepdims=True)
    y = centred * lax.rsqrt((centred**2).mean(axes, keepdims=True) + a.get("epsilon", 1e-5)) * scale
    return y if bias is None else y + bias


def instance_normalization(a: Attributes, x: Any, scale: Any, bias: Any) -> Any:
    axes, shape = tuple(range(2, x.ndim)), (-1, *[1] * (x.ndim - 2))
    centred = x - x.mean(axes, keepdims=True)
    y = centred * lax.rsqrt((centred**2).mean(axes, keepdims=True) + a.get("epsilon", 1e-5))
    return y * jnp.reshape(scale, shape) + jnp.reshape(bias, shape)


def gemm(a: Attributes, x: Any, w: Any, c: Any = None) -> Any:
    x = x.T if a.get("transA", 0) else x
    y = lax.dot_general(x, w, (((1,), (1 if a.get("transB", 0) else 0,)), ((), ())))
    y = y if a.get("alpha", 1.0) == 1 else a["alpha"] * y
    if c is None:
        return y
    return y + (c if a.get("beta", 1.0) == 1 else a["beta"] * c)


def reshape(a: Attributes, x: Any, shape: Any = None) -> Any:
    sizes = _ints(shape) if shape is not None else list(a["shape"])
    if not a.get("allowzero", 0):
        sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return _of(x).reshape(x, sizes)


def flatten(a: Attributes, x: Any) -> Any:
    axis = a.get("axis", 1)
    return x.reshape(int(np.prod(x.shape[:axis])), -1)


def unsqueeze(a: Attributes, x: Any, axes: Any = None) -> Any:
    given = _ints(axes) if axes is not None else a["axes"]
    return _of(x).expand_dims(x, tuple(axis % (np.ndim(x) + len(given)) for axis in given))


def squeeze(a: Attributes, x: Any, axes: Any = None) -> Any:
    return _of(x).squeeze(x, _axes(a, axes, np.ndim(x)))


def pad(a: Attributes, x: Any, pads: Any = None, value: Any = None, axes: Any = None) -> Any:
    given = _ints(pads) if pads is not None else list(a["pads"])
    along = _axes({}, axes, x.ndim) or tuple(range(x.ndim))
    mode = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}[a.get("mode", "constant")]
    widths = [(0, 0)] * x.ndim
    for i, axis in enumerate(along):
        widths[axis] = (given[i], given[i + len(along)])
    if min(map(min, widths)) < 0:
        raise ValueError("it takes lines away")
    if mode != "constant":
        return jnp.pad(x, widths, mode)
    fill = float(a.get("value", 0.0) if value is None else np.asarray(value).item())
    return lax.pad(x, np.asarray(fill, x.dtype), [(*each, 0) for each in widths])


def slice_(a: Attributes, x: Any, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None) -> Any:
    begin, end = (_ints(v) if v is not None else list(a[k]) for v, k in ((starts, "starts"), (ends, "ends")))
    along = _axes(a, axes, np.ndim(x)) or tuple(range(len(begin)))
    index = [slice(None)] * np.ndim(x)
    for axis, first, last, step in zip(along, begin, end, _ints(steps) if steps is not None else [1] * len(along)):
        last = None if step < 0 and last < -np.shape(x)[axis] else last
        index[axis] = slice(first, last, step)
    return x[tuple(index)]


def split(a: Attributes, x: Any, sizes: Any = None) -> Any:
    axis = a.get("axis", 0) % x.ndim
    parts = _ints(sizes) if sizes is not None else a.get("split")
    if parts is None:
        count = a["num_outputs"]
        each = -(-x.shape[axis] // count)
        parts = [each] * (count - 1) + [x.shape[axis] - each * (count - 1)]
    return tuple(_of(x).split(x, np.cumsum(parts)[:-1], axis))


def gather(a: Attributes, x: Any, indices: Any) -> Any:
    axis = a.get("axis", 0) % np.ndim(x)
    if isinstance(indices, np.ndarray | np.generic) and np.ndim(indices) == 0:
        index = int(indices) % np.shape(x)[axis]
        return x[(slice(None),) * axis + (index,)]
    return _of(x, indices).take(x, indices, axis)


def reduction(name: str) -> Callable:
    def reduce(a: Attributes, x: Any, axes: Any = None) -> Any:
        along = _axes(a, axes, np.ndim(x))
        if along is None and a.get("noop_with_empty_axes", 0):
            return x
        return getattr(_of(x), name)(x, axis=along, keepdims=bool(a.get("keepdims", 1)))

    return reduce


def clip(a: Attributes, x: Any, low: Any = None, high: Any = None) -> Any:
    low = a.get("min") if low is None else low
    high = a.get("max") if high is None else high
    x = x if low is None else _of(x, low).maximum(x, np.asarray(low, x.dtype) if isinstance(low, float) else low)
    return (
        x if high is None else _of(x, high).minimum(x, np.asarray(high, x.dtype) if isinstance(high, float) else high)
    )


def gelu(a: Attributes, x: Any) -> Any:
    return jax.nn.gelu(x, approximate=a.get("approximate", "none") == "tanh")


def depth_to_space(a: Attributes, x: Any) -> Any:
    n, c, h, w = x.shape
    b = a["blocksize"]
    if a.get("mode", "DCR") == "DCR":
        return x.reshape(n, b, b, c // b**2, h, w).transpose(0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)
    return x.reshape(n, c // b**2, b, b, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(n, c // b**2, h * b, w * b)


def softmax(function: Callable) -> Callable:
    def apply(a: Attributes, x: Any) -> Any:
        if a["opset"] >= 13:
            return function(x, axis=a.get("axis", -1))
        axis = a.get("axis", 1) % x.ndim  # of all axes from there on, as one
        return function(x.reshape(*x.shape[:axis], -1), axis=-1).reshape(x.shape)

    return apply


def simple(name: str) -> Callable:
    return lambda a, *xs: getattr(_of(*xs), name)(*xs)


def chain(name: str) -> Callable:
    """Of any number of operands."""

    def apply(a: Attributes, first: Any, *others: Any) -> Any:
        for other in others:
            first = getattr(_of(first, other), name)(first, other)
        return first

    return apply


def divide(a: Attributes, x: Any, y: Any) -> Any:
    return (_of(x, y).floor_divide if np.issubdtype(x.dtype, np.integer) else _of(x, y).true_divide)(x, y)


def cast(a: Attributes, x: Any) -> Any:
    import onnx

    return x.astype(onnx.helper.tensor_dtype_to_np_dtype(a["to"]))


def constant_of_shape(a: Attributes, shape: Any) -> Any:
    value = a.get("value", np.zeros(1, np.float32))
    return np.broadcast_to(value.reshape(()), _ints(shape))


def range_(a: Attributes, start: Any, limit: Any, delta: Any) -> Any:
    if abs(limit.item() - start.item()) > MOST_KNOWN * abs(delta.item()):
        raise ValueError(f"it counts to more than {MOST_KNOWN:,}")
    return np.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


def expand(a: Attributes, x: Any, shape: Any) -> Any:
    return _of(x).broadcast_to(x, np.broadcast_shapes(np.shape(x), tuple(_ints(shape))))


OPERATORS: dict[str, Callable] = {
    "Abs": simple("abs"),
    "Add": simple("add"),
    "And": simple("logical_and"),
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "Cast": cast,
    "Ceil": simple("ceil"),
    "Clip": clip,
    "Concat": lambda a, *xs: _of(*xs).concatenate(xs, a["axis"]),
    "ConstantOfShape": constant_of_shape,
    "Conv": conv,
    "DepthToSpace": depth_to_space,
    "Div": divide,
    "Dropout": lambda a, x, *_: x,
    "Einsum": lambda a, *xs: jnp.einsum(a["equation"], *xs),
    "Elu": lambda a, x: jnp.where(x > 0, x, a.get("alpha", 1.0) * jnp.expm1(jnp.minimum(x, 0))),
    "Equal": simple("equal"),
    "Erf": lambda a, x: lax.erf(x),
    "Exp": simple("exp"),
    "Expand": expand,
    "Flatten": flatten,
    "Floor": simple("floor"),
    "Gather": gather,
    "Gelu": gelu,
    "Gemm": gemm,
    "GlobalAveragePool": lambda a, x: x.mean(tuple(range(2, x.ndim)), keepdims=True),
    "GlobalMaxPool": lambda a, x: x.max(tuple(range(2, x.ndim)), keepdims=True),
    "Greater": simple("greater"),
    "GreaterOrEqual": simple("greater_equal"),
    "HardSigmoid": lambda a, x: jnp.clip(a.get("alpha", 0.2) * x + a.get("beta", 0.5), 0, 1),
    "HardSwish": lambda a, x: x * jnp.clip(x / 6 + 0.5, 0, 1),
    "Identity": lambda a, x: x,
    "InstanceNormalization": instance_normalization,
    "LRN": lrn,
    "LayerNormalization": layer_normalization,
    "LeakyRelu": lambda a, x: jnp.where(x >= 0, x, a.get("alpha", 0.01) * x),
    "Less": simple("less"),
    "LessOrEqual": simple("less_equal"),
    "Log": simple("log"),
    "LogSoftmax": softmax(jax.nn.log_softmax),
    "MatMul": simple("matmul"),
    "Max": chain("maximum"),
    "MaxPool": max_pool,
    "Mean": lambda a, *xs: chain("add")(a, *xs) / len(xs),
    "Min": chain("minimum"),
    "Mish": lambda a, x: x * jnp.tanh(jax.nn.softplus(x)),
    "Mod": lambda a, x, y: _of(x, y).fmod(x, y) if a.get("fmod", 0) else _of(x, y).mod(x, y),
    "Mul": simple("multiply"),
    "Neg": simple("negative"),
    "Not": simple("logical_not"),
    "Or": simple("logical_or"),
    "PRelu": lambda a, x, slope: jnp.where(x >= 0, x, jnp.multiply(slope, x)),
    "Pad": pad,
    "Pow": lambda a, x, y: _of(x, y).power(x, y.astype(x.dtype)) if np.size(y) != 1 or not isinstance(y, np.ndarray)
    else x ** (int(y.item()) if float(y.item()).is_integer() else float(y.item())),
    "Range": range_,
    "Reciprocal": lambda a, x: 1 / x,
    "ReduceL2": lambda a, x, axes=None: jnp.sqrt(reduction("sum")(a, x * x, axes)),
    "ReduceMax": reduction("max"),
    "ReduceMean": reduction("mean"),
    "ReduceMin": reduction("min"),
    "ReduceProd": reduction("prod"),
    "ReduceSum": reduction("sum"),
    "Relu": lambda a, x: jax.nn.relu(x),
    "Reshape": reshape,
    "Selu": lambda a, x: jax.nn.selu(x),
    "Sign": simple("sign"),
    "Shape": lambda a, x: np.array(np.shape(x)[a.get("start", 0) : a.get("end")], np.int64),
    "Sigmoid": lambda a, x: jax.nn.sigmoid(x),
    "Slice": slice_,
    "Softmax": softmax(jax.nn.softmax),
    "Softplus": lambda a, x: jax.nn.softplus(x),
    "Split": split,
    "Sqrt": simple("sqrt"),
    "Squeeze": squeeze,
    "Sub": simple("subtract"),
    "Sum": chain("add"),
    "Swish": lambda a, x: x * jax.nn.sigmoid(a.get("alpha", 1.0) * x),
    "Tanh": simple("tanh"),
    "Tile": lambda a, x, n: (_of(x) if math.prod(_ints(n)) * np.size(x) <= MOST_KNOWN else jnp).tile(x, _ints(n)),
    "Transpose": lambda a, x: _of(x).transpose(x, a.get("perm")),
    "Unsqueeze": unsqueeze,
    "Where": lambda a, c, x, y: _of(c, x, y).where(c, x, y),
}  # fmt: skip
