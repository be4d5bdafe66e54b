"""The layers a classifier is made of, as plain data, so that its structure stays visible.

Every layer is a hashable description that knows two things: the shape it gives, and how to compute it.
Activations are float `[n, h, w, c]`, or `[n, c]` after a `Flatten` or a global pool. Kernels are
`[kh, kw, c_in // groups, c_out]`, dense kernels `[c_in, c_out]`. Padding is explicit, `((top, bottom), (left, right))`:
"SAME" means different things to different frameworks at stride 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from saliency._checks import Pair
from saliency.devices import precision
from saliency.models import winograd
from saliency.models.winograd import Padding

Parameters = Mapping[str, Array]
NO_PADDING: Padding = ((0, 0), (0, 0))
WINOGRAD = 128  # channels from which a single image's convolutions are worth the transforms, and their memory


@dataclass(frozen=True)
class Image:
    """The network's input."""

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def __call__(self, parameters: Parameters, x: Array) -> Array:
        return x


@dataclass(frozen=True)
class Conv:
    features: int
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = NO_PADDING
    groups: int = 1

    @property
    def square(self) -> bool:
        """Whether Winograd's algorithm applies: 3x3, stride 1, all channels together."""
        plain = self.kernel == (3, 3) and self.stride == (1, 1) and self.groups == 1
        return plain and max(max(pair) for pair in self.padding) <= 2

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return *_slid(self, shape), self.features

    def parameter_shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        return {"kernel": (*self.kernel, shape[-1] // self.groups, self.features), "bias": (self.features,)}

    def __call__(self, parameters: Parameters, x: Array) -> Array:
        return self.linear(parameters["kernel"], x) + parameters["bias"]

    def linear(self, kernel: Array, x: Array) -> Array:
        if self.square and x.shape[0] == 1 and min(kernel.shape[2:]) >= WINOGRAD and jax.default_backend() == "cpu":
            return winograd.convolution(self.padding, x, kernel)
        return lax.conv_general_dilated(
            x,
            kernel,
            self.stride,
            self.padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=self.groups,
            precision=precision(),
        )


@dataclass(frozen=True)
class Relu:
    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def __call__(self, parameters: Parameters, x: Array) -> Array:
        return jax.nn.relu(x)


@dataclass(frozen=True)
class MaxPool:
    """Maximum over windows; `ceil` keeps a last, partial window (Caffe's and `ceil_mode=True`'s rule)."""

    window: Pair
    stride: Pair
    padding: Padding = NO_PADDING
    ceil: bool = False

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return *_slid(self, shape), shape[-1]

    def __call__(self, parameters: Parameters, x: Array) -> Array:
        return _max_pool(self, x)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _max_pool(layer: MaxPool, x: Array) -> Array:
    return reduce(jnp.maximum, _views(layer, x, -jnp.inf))


def _max_pool_forward(layer: MaxPool, x: Array) -> tuple[Array, tuple[Array, Array]]:
    """Besides the maxima, the place in its window that each came from, the first among equals.

    `argmax` is a reduction: unlike comparisons, XLA does not compute it again for every reader.
    """
    views = jnp.stack(_views(layer, x, -jnp.inf))
    return views.max(0), (views.argmax(0).astype(jnp.int16), x)


def _max_pool_backward(layer: MaxPool, saved: tuple[Array, Array], up: Array) -> tuple[Array]:
    """Every input asks the windows over it whether they took it: dense loops, where XLA's own rule scatters."""
    winner, x = saved
    places = [np.arange(size) + before for size, (before, _) in zip(x.shape[1:3], layer.padding)]  # once padded
    total = jnp.zeros_like(x)
    # of the windows over an input the last one starts in the input's own stride, the others in those before
    for back in np.ndindex(*(-(-window // stride) for window, stride in zip(layer.window, layer.stride))):
        row, col = (place % stride + b * stride for place, stride, b in zip(places, layer.stride, back))
        inside = (row < layer.window[0])[:, None] & (col < layer.window[1])
        place = np.where(inside, row[:, None] * layer.window[1] + col, -1)[..., None].astype(np.int16)
        taken = _over_inputs(layer, winner, back, x.shape, -2) == place
        total += jnp.where(taken, _over_inputs(layer, up, back, x.shape, 0), 0)
    return (total,)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def _over_inputs(layer: MaxPool, x: Array, back: tuple[int, ...], shape: tuple[int, ...], fill: int) -> Array:
    """What belongs to windows, at each input: of the window that starts `back` strides before the input's own."""
    n, height, width, channels = shape
    (top, _), (left, _) = layer.padding
    tall, wide = layer.stride
    rows, cols = -(-(height + top) // tall), -(-(width + left) // wide)
    pads = [(b, count - size - b, 0) for b, count, size in zip(back, (rows, cols), x.shape[1:3])]
    x = lax.pad(x, jnp.array(fill, x.dtype), ((0, 0, 0), *pads, (0, 0, 0)))
    x = jnp.broadcast_to(x[:, :, None, :, None], (n, rows, tall, cols, wide, channels))
    return x.reshape(n, rows * tall, cols * wide, channels)[:, top : top + height, left : left + width]


@dataclass(frozen=True)
class AvgPool:
    """Mean over windows. Padding counts as zeros, but positions beyond the padding (`ceil`) do not count."""

    window: Pair
    stride: Pair
    padding: Padding = NO_PADDING
    ceil: bool = False

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return *_slid(self, shape), shape[-1]

    def __call__(self, parameters: Parameters, x: Array) -> Array:
        return reduce(jnp.add, _views(self, x, 0.0)) / self.counts(x.shape[1], x.shape[2]).astype(x.dtype)

    def counts(self, height: int, width: int) -> np.ndarray:
        """How many positions, padding included, each output averages: int `[h', w', 1]`."""
        rows, cols = (
            np.minimum(np.arange(count) * stride + window, size + sum(padding)) - np.arange(count) * stride
            for size, count, window, stride, padding in zip(
                (height, width), _slid(self, (height, width, 1)), self.window, self.stride, self.padding
            )
        )
        return np.outer(rows, cols)[..., None]


@dataclass(frozen=True)
class LocalResponseNorm:
    """AlexNet's normalisation across channels: x / (k + alpha / size * sum of squares) ** beta (Caffe's form)."""

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def __call__(self, parameters: Parameters, x: Array) -> Array:
        before = self.size // 2
        squares = jnp.pad(x * x, [(0, 0)] * (x.ndim - 1) + [(before, self.size - 1 - before)])
        total = reduce(jnp.add, (squares[..., i : i + x.shape[-1]] for i in range(self.size)))
        return x / (self.k + self.alpha / self.size * total) ** self.beta


@dataclass(frozen=True)
class Concat:
    """Channels side by side."""

    def shape(self, *shapes: tuple[int, ...]) -> tuple[int, ...]:
        return *shapes[0][:-1], sum(shape[-1] for shape in shapes)

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        return jnp.concatenate(xs, axis=-1)


@dataclass(frozen=True)
class Add:
    def shape(self, *shapes: tuple[int, ...]) -> tuple[int, ...]:
        return shapes[0]

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        return reduce(jnp.add, xs)


@dataclass(frozen=True)
class GlobalAvgPool:
    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[-1],)

    def __call__(self, parameters: Parameters, x: Array) -> Array:
        return x.mean((1, 2))


@dataclass(frozen=True)
class GlobalMaxPool:
    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[-1],)

    def __call__(self, parameters: Parameters, x: Array) -> Array:
        return x.max((1, 2))


@dataclass(frozen=True)
class Flatten:
    """Height, width, channel order: checkpoints trained on a CHW flatten are permuted when loaded."""

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        height, width, channels = shape
        return (height * width * channels,)

    def __call__(self, parameters: Parameters, x: Array) -> Array:
        return x.reshape(x.shape[0], -1)


@dataclass(frozen=True)
class Dense:
    features: int

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.features,)

    def parameter_shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        return {"kernel": (shape[-1], self.features), "bias": (self.features,)}

    def __call__(self, parameters: Parameters, x: Array) -> Array:
        return jnp.matmul(x, parameters["kernel"], precision=precision()) + parameters["bias"]


Layer = (
    Image | Conv | Relu | MaxPool | AvgPool | LocalResponseNorm | Concat | Add
    | GlobalAvgPool | GlobalMaxPool | Flatten | Dense
)  # fmt: skip


def output_size(size: int, window: int, stride: int, padding: Pair, ceil: bool = False) -> int:
    """Positions of a sliding window along one axis; may be < 1 where the window does not fit."""
    reach = size + sum(padding) - window
    if not ceil:
        return reach // stride + 1
    count = -(-reach // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding[0] else count  # no window starts in the padding


def _slid(layer: Conv | MaxPool | AvgPool, shape: tuple[int, ...]) -> Pair:
    window = layer.kernel if isinstance(layer, Conv) else layer.window
    ceil = not isinstance(layer, Conv) and layer.ceil
    height, width = (
        output_size(shape[axis], window[axis], layer.stride[axis], layer.padding[axis], ceil) for axis in (0, 1)
    )
    return height, width


def _views(layer: MaxPool | AvgPool, x: Array, fill: float) -> list[Array]:
    """The windows' first elements, second elements, ...: strided slices, whose backward pass is fast on CPU.

    XLA's backward pass of `reduce_window` is several times slower there.
    """
    height, width = _slid(layer, x.shape[1:])
    pads = []
    for size, count, window, stride, (before, after) in zip(
        x.shape[1:3], (height, width), layer.window, layer.stride, layer.padding
    ):
        pads.append((before, max(after, (count - 1) * stride + window - size - before)))
    if any(p != (0, 0) for p in pads):
        x = jnp.pad(x, [(0, 0), *pads, (0, 0)], constant_values=fill)
    n, _, _, c = x.shape
    return [
        lax.slice(
            x,
            (0, i, j, 0),
            (n, i + (height - 1) * layer.stride[0] + 1, j + (width - 1) * layer.stride[1] + 1, c),
            (1, *layer.stride, 1),
        )
        for i in range(layer.window[0])
        for j in range(layer.window[1])
    ]
