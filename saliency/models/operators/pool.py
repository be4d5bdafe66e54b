"""Maxima and means over windows, and over all places."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any, ClassVar, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.experimental.xla_metadata import set_xla_metadata

from saliency._checks import Pair
from saliency.models.operators.base import Operator, Sliding
from saliency.models.operators.regions import Parameters, Region, Shape, cut, maximum_outside
from saliency.models.strided import inside, lines, to_image, widened
from saliency.models.winograd import Padding

NO_PADDING: Padding = ((0, 0), (0, 0))
PoolT = TypeVar("PoolT", bound="Pool")


@dataclass(frozen=True)
class Pool(Operator):
    """What pools have in common."""

    window: Pair
    stride: Pair
    padding: Padding = NO_PADDING
    ceil: bool = False

    local: ClassVar[bool] = True
    channelwise: ClassVar[bool] = True

    @property
    def slides(self) -> Sliding:
        return Sliding(self.window, self.stride, (self.padding[0][0], self.padding[1][0]))

    def shape(self, *shapes: Shape) -> Shape:
        return *self.sizes(shapes[0]), shapes[0][-1]

    def sizes(self, shape: Sequence[int]) -> Pair:
        """Height and width of the output, for those of an input."""
        height, width = (
            output_size(size, window, stride, padding, self.ceil)
            for size, window, stride, padding in zip(shape, self.window, self.stride, self.padding)
        )
        return height, width


@dataclass(frozen=True)
class MaxPool(Pool):
    """Maximum over windows; `ceil` keeps a last, partial window (Caffe's and `ceil_mode=True`'s rule)."""

    maximizes: ClassVar[bool] = True
    takes_maximum: ClassVar[bool] = True

    @property
    def overlaps(self) -> bool:
        """Whether an input may lie in several windows."""
        return self.window[0] > self.stride[0] or self.window[1] > self.stride[1]

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        return _max_pool(self, xs[0])

    def change(self, region: Region, *changes: Array) -> Array:
        clean = cut(
            self._framed(region.before(0), region.output),
            region.origin + np.array([self.slides.before], np.int32),
            region.receptive_size,
        )
        return region.then(_bare(self)({}, clean + changes[0])) - region.cut_after()

    def _framed(self, x: Array, output: Shape) -> Array:
        """The untouched input `[h, w, c]` with -inf wherever windows stick out."""
        pads = [
            (before, max(after, (count - 1) * stride + window - size - before))
            for size, count, window, stride, (before, after) in zip(
                x.shape, output, self.window, self.stride, self.padding
            )
        ]
        return jnp.pad(x, (*pads, (0, 0)), constant_values=-jnp.inf)

    def in_torch(self, parameters: Parameters) -> Any:
        from saliency.models.operators import torch_modules

        return torch_modules.max_pool(self.window, self.stride, self.padding, self.ceil)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _max_pool(layer: MaxPool, x: Array) -> Array:
    return reduce(jnp.maximum, _views(layer, x, -jnp.inf))


def _max_pool_forward(layer: MaxPool, x: Array) -> tuple[Array, tuple[Array, Array]]:
    """Besides the maxima, the place in its window that each came from, the first among equals."""
    if not layer.overlaps:  # `argmax` is a reduction: XLA does not compute it again for every reader
        stacked = jnp.stack(_views(layer, x, -jnp.inf))
        return stacked.max(0), (stacked.argmax(0).astype(jnp.int16), x)
    with set_xla_metadata(inlineable="false"):  # nor these, a loop each, which copy none of their many windows
        most = _most(layer, x)
        return most, (_winner(layer, x, most), x)


@partial(jax.jit, static_argnames="layer")
def _most(layer: MaxPool, x: Array) -> Array:
    return reduce(jnp.maximum, _views(layer, x, -jnp.inf))


@partial(jax.jit, static_argnames="layer")
def _winner(layer: MaxPool, x: Array, most: Array) -> Array:
    winner = jnp.zeros(most.shape, jnp.int16)
    for place, view in reversed(list(enumerate(_views(layer, x, -jnp.inf)))):
        winner = lax.select(view == most, jnp.full_like(winner, place), winner)
    return winner


def _max_pool_backward(layer: MaxPool, saved: tuple[Array, Array], up: Array) -> tuple[Array]:
    """Every input asks the windows over it whether they took it: dense loops, where XLA's own rule scatters."""
    winner, x = saved
    padding = (layer.padding[0][0], 0), (layer.padding[1][0], 0)  # what lies after the image took nothing
    size = x.shape[1], x.shape[2]
    if not layer.overlaps:
        return (inside(_of_one_window(layer, winner, up, lines(size, layer.stride, padding)), size, padding),)

    def taken(i: int, j: int, up: Array, winner: Array) -> Array:
        return jnp.where(winner == i * layer.window[1] + j, up, 0)

    return (to_image(taken, {0: up, -1: winner}, size, layer.window, layer.stride, padding),)


def _of_one_window(layer: MaxPool, winner: Array, up: Array, count: Pair) -> Array:
    """What comes back to each input of the only window over it, if there is one."""
    row, col = (np.arange(step * lines) % step for step, lines in zip(layer.stride, count))
    within = (row < layer.window[0])[:, None] & (col < layer.window[1])
    own = np.where(within, row[:, None] * layer.window[1] + col, -2)[None, ..., None].astype(np.int16)

    def of_inputs(x: Array, fill: int) -> Array:
        n, channels = x.shape[0], x.shape[-1]
        x = widened(x, (0, 0), count, fill)[:, : count[0], None, : count[1], None]
        x = jnp.broadcast_to(x, (n, count[0], layer.stride[0], count[1], layer.stride[1], channels))
        return x.reshape(n, *own.shape[1:3], channels)

    return jnp.where(of_inputs(winner, -1) == own, of_inputs(up, 0), 0)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)


@dataclass(frozen=True)
class AvgPool(Pool):
    """Mean over windows. Padding counts as zeros, but positions beyond the padding (`ceil`) do not count."""

    linear: ClassVar[bool] = True

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        (x,) = xs
        return reduce(jnp.add, _views(self, x, 0.0)) / self.counts(x.shape[1], x.shape[2]).astype(x.dtype)

    def change(self, region: Region, *changes: Array) -> Array:
        counts = jnp.asarray(self.counts(*region.inputs[0][:2]), changes[0].dtype)
        totals = _bare(self)({}, changes[0]) * float(np.prod(self.window))
        return totals / cut(counts, region.start, region.size)

    def counts(self, height: int, width: int) -> np.ndarray:
        """How many positions, padding included, each output averages: int `[h', w', 1]`."""
        rows, cols = (
            np.minimum(np.arange(count) * stride + window, size + sum(padding)) - np.arange(count) * stride
            for size, count, window, stride, padding in zip(
                (height, width), self.sizes((height, width)), self.window, self.stride, self.padding
            )
        )
        return np.outer(rows, cols)[..., None]

    def in_torch(self, parameters: Parameters) -> Any:
        from saliency.models.operators import torch_modules

        return torch_modules.average_pool(self.window, self.stride, self.padding, self.ceil)


@dataclass(frozen=True)
class SumPool(Pool):
    """Sum over windows; padding counts as zeros."""

    linear: ClassVar[bool] = True

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        return reduce(jnp.add, _views(self, xs[0], 0.0))

    def change(self, region: Region, *changes: Array) -> Array:
        return _bare(self)({}, changes[0])

    def in_torch(self, parameters: Parameters) -> Any:
        from saliency.models.operators import torch_modules

        return torch_modules.sum_pool(self.window, self.stride, self.padding, self.ceil)


@dataclass(frozen=True)
class Pad(Operator):
    """Lines of a constant value around a map."""

    padding: Padding
    value: float = 0.0

    rearranges: ClassVar[bool] = True
    local: ClassVar[bool] = True
    linear: ClassVar[bool] = True
    channelwise: ClassVar[bool] = True

    @property
    def slides(self) -> Sliding:
        return Sliding((1, 1), (1, 1), (self.padding[0][0], self.padding[1][0]))

    def shape(self, *shapes: Shape) -> Shape:
        height, width = (size + sum(pads) for size, pads in zip(shapes[0], self.padding))
        return height, width, shapes[0][-1]

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        return jnp.pad(xs[0], ((0, 0), *self.padding, (0, 0)), constant_values=self.value)

    def linear_part(self, parameters: Parameters, *xs: Array) -> Array:
        return jnp.pad(xs[0], ((0, 0), *self.padding, (0, 0)))

    def change(self, region: Region, *changes: Array) -> Array:
        return changes[0]  # placed within the padding already

    def in_torch(self, parameters: Parameters) -> Any:
        from saliency.models.operators import torch_modules

        return torch_modules.padded(self.padding, self.value)


@dataclass(frozen=True)
class Slice(Operator):
    """Every `stride`-th line from `start` to before `stop`, along height and width."""

    start: Pair
    stop: Pair
    stride: Pair = (1, 1)

    rearranges: ClassVar[bool] = True
    local: ClassVar[bool] = True
    linear: ClassVar[bool] = True
    channelwise: ClassVar[bool] = True

    @property
    def slides(self) -> Sliding:
        return Sliding((1, 1), self.stride, (-self.start[0], -self.start[1]))

    def shape(self, *shapes: Shape) -> Shape:
        height, width = (len(range(*each)) for each in zip(self.start, self.stop, self.stride))
        return height, width, shapes[0][-1]

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        rows, cols = (slice(*each) for each in zip(self.start, self.stop, self.stride))
        return xs[0][:, rows, cols]

    def change(self, region: Region, *changes: Array) -> Array:
        return changes[0][:, :: self.stride[0], :: self.stride[1]]

    def in_torch(self, parameters: Parameters) -> Any:
        from saliency.models.operators import torch_modules

        rows, cols = (slice(*each) for each in zip(self.start, self.stop, self.stride))
        return torch_modules.Function(lambda x: x[:, :, rows, cols])


@dataclass(frozen=True)
class GlobalPool(Operator):
    """One number a channel, of all places."""

    channelwise: ClassVar[bool] = True
    pools_globally: ClassVar[bool] = True

    def shape(self, *shapes: Shape) -> Shape:
        return (shapes[0][-1],)


@dataclass(frozen=True)
class GlobalAvgPool(GlobalPool):
    linear: ClassVar[bool] = True

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        return xs[0].mean((1, 2))

    def collapsed_change(self, region: Region, change: Array) -> Array:
        return change.sum((1, 2)) / float(np.prod(region.inputs[0][:2]))

    def in_torch(self, parameters: Parameters) -> Any:
        from saliency.models.operators import torch_modules

        return torch_modules.Function(lambda x: x.mean((2, 3)))


@dataclass(frozen=True)
class GlobalSumPool(GlobalPool):
    linear: ClassVar[bool] = True

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        return xs[0].sum((1, 2))

    def collapsed_change(self, region: Region, change: Array) -> Array:
        return change.sum((1, 2))

    def times(self, factor: float, *shapes: Shape) -> Operator | None:
        return GlobalAvgPool() if abs(factor * np.prod(shapes[0][:2]) - 1) < 1e-6 else None

    def in_torch(self, parameters: Parameters) -> Any:
        from saliency.models.operators import torch_modules

        return torch_modules.Function(lambda x: x.sum((2, 3)))


@dataclass(frozen=True)
class GlobalMaxPool(GlobalPool):
    maximizes: ClassVar[bool] = True

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        return xs[0].max((1, 2))

    def collapsed_change(self, region: Region, change: Array) -> Array:
        inside = (region.cut_before(0) + change).max((1, 2))
        outside = maximum_outside(region.before(0), region.start, region.size)
        return jnp.maximum(inside, outside) - region.after()[None]

    def in_torch(self, parameters: Parameters) -> Any:
        from saliency.models.operators import torch_modules

        return torch_modules.Function(lambda x: x.amax((2, 3)))


def output_size(size: int, window: int, stride: int, padding: Pair, ceil: bool = False) -> int:
    """Positions of a sliding window along one axis; may be < 1 where the window does not fit."""
    reach = size + sum(padding) - window
    if not ceil:
        return reach // stride + 1
    count = -(-reach // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding[0] else count  # no window starts in the padding


def _bare(layer: PoolT) -> PoolT:
    """The same for a region that holds its padding."""
    return replace(layer, padding=NO_PADDING, ceil=False)


def _views(layer: Pool, x: Array, fill: float) -> list[Array]:
    """The windows' first elements, second elements, ...: strided slices, whose backward pass is fast on CPU.

    XLA's backward pass of `reduce_window` is several times slower there.
    """
    height, width = layer.sizes(x.shape[1:3])
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
