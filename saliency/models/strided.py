"""The way back through a stride on a CPU, without the zeros that lie between the outputs' places; and through kernels
that are large beside the image.

Lines stride * q + r of a padded image, for each remainder r, are met by those places of a window alone that leave the
same remainder: the image's gradient is made for each remainder by itself, densely, and laid together line by line.
XLA's own multiplies by the zeros, or scatters.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from saliency._checks import Pair

Padding = tuple[Pair, Pair]
FEW = 4  # features of a kernel for each place of an image, from which on it is large beside that
Places = list[Pair]  # of a window along one axis: (place, by how many outputs it is shifted)


def to_image(
    term: Callable[..., Array],
    outputs: Mapping[float, Array],
    size: Pair,
    window: Sequence[int],
    stride: Pair,
    padding: Padding,
    dilation: Pair = (1, 1),
    channels: int | None = None,
) -> Float[Array, "n h w c"]:
    """An image of `size` from its lines by their remainders, for each two the sum of `term(i, j, *values)` over the
    window's places that meet them. `outputs` are arrays of the outputs by what lies around them, the first what comes
    back; `values` are theirs of the windows in which an input lies at that place. A term has `channels` (default: as
    many as what comes back)."""
    count = lines(size, stride, padding)
    before = reach(window, stride, dilation)
    wide = [widened(one, before, count, fill) for fill, one in outputs.items()]
    n, channels, dtype = wide[0].shape[0], channels or wide[0].shape[-1], wide[0].dtype

    def part(rows: Places, columns: Places) -> Array:
        total = jnp.zeros((n, *count, channels), dtype)
        for (i, down), (j, right) in product(rows, columns):
            top, left = before[0] - down, before[1] - right
            total += term(i, j, *(one[:, top : top + count[0], left : left + count[1]] for one in wide))
        return total

    met = [_met(taps, step, every) for taps, step, every in zip(window, stride, dilation)]
    whole = jnp.stack([jnp.stack([part(rows, columns) for columns in met[1]], 3) for rows in met[0]], 2)
    padded = whole.reshape(n, count[0] * stride[0], count[1] * stride[1], channels)
    return inside(padded, size, padding)


def _met(taps: int, stride: int, dilation: int) -> list[Places]:
    return [
        [(i, i * dilation // stride) for i in range(taps) if i * dilation % stride == remainder]
        for remainder in range(stride)
    ]


def reach(window: Sequence[int], stride: Pair, dilation: Pair = (1, 1)) -> Pair:
    """By how many outputs the last place of a window is shifted, along both axes."""
    tall, wide = ((taps - 1) * every // step for taps, step, every in zip(window, stride, dilation))
    return tall, wide


def lines(size: Sequence[int], stride: Pair, padding: Padding) -> Pair:
    """How many lines of a padded image leave each remainder, along both axes."""
    height, width = (-(-(side + sum(pad)) // step) for side, step, pad in zip(size, stride, padding))
    return height, width


def inside(padded: Array, size: Pair, padding: Padding) -> Array:
    """A padded image without its padding."""
    (top, _), (left, _) = padding
    return padded[:, top : top + size[0], left : left + size[1]]


def widened(up: Array, before: Pair, count: Pair, fill: float = 0) -> Array:
    """What comes back, with room for places that are shifted by as many outputs as `before`, and `count` lines."""
    after = [max(0, most - length) for most, length in zip(count, up.shape[1:3])]
    return jnp.pad(up, ((0, 0), *zip(before, after), (0, 0)), constant_values=fill)


def worthwhile(kernel: Sequence[int], stride: Pair, places: int) -> bool:
    """Whether the way back of `convolution`, by a kernel `[kh, kw, c, f]` from so many places of an image's output, is
    faster than XLA's own, which multiplies by zeros where there is a stride, and first turns the kernel round: that
    takes long where it is large beside the image. A map does not hang on how many images are computed at once."""
    return stride != (1, 1) or FEW * places <= kernel[3]


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def convolution(
    stride: Pair,
    padding: Padding,
    x: Float[Array | np.ndarray, "n h w c"],
    kernel: Float[Array | np.ndarray, "kh kw c f"],
) -> Float[Array, "n rows cols f"]:
    """XLA's own convolution, whose gradient in `x` is one product by the kernel as it lies."""
    return _by_definition(stride, padding, x, kernel)


def _by_definition(stride: Pair, padding: Padding | str, x: Array | np.ndarray, kernel: Array | np.ndarray) -> Array:
    x, kernel = jnp.asarray(x), jnp.asarray(kernel)
    return lax.conv_general_dilated(x, kernel, stride, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _forward(stride: Pair, padding: Padding, x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return convolution(stride, padding, x, kernel), (x, kernel)


def _backward(stride: Pair, padding: Padding, saved: tuple[Array, Array], up: Array) -> tuple[Array, Array]:
    x, kernel = saved
    before_x = _sent(up, kernel, x.shape[1:3], stride, padding)
    (before_kernel,) = jax.linear_transpose(partial(_by_definition, stride, padding, x), kernel)(up)
    return before_x, before_kernel  # the second is not computed where nobody asks for it


convolution.defvjp(_forward, _backward)


@partial(jax.jit, static_argnames=("size", "stride", "padding"))
def _sent(up: Array, kernel: Array, size: Pair, stride: Pair, padding: Padding) -> Array:
    """One product, by the kernel as it lies, of what each output sends to each place of its window; then each input's
    sum."""
    tall, wide, channels, features = kernel.shape
    sent = lax.dot_general(up.reshape(-1, features), kernel.reshape(-1, features), (((1,), (1,)), ((), ())))
    sent = sent.reshape(*up.shape[:3], -1)

    def of_place(i: int, j: int, sent: Array) -> Array:
        return lax.slice_in_dim(sent, (i * wide + j) * channels, (i * wide + j + 1) * channels, axis=-1)

    return to_image(of_place, {0: sent}, size, (tall, wide), stride, padding, channels=channels)


def each_place(
    x: Float[Array | np.ndarray, "n h w c"], kernel: Float[Array | np.ndarray, "c f"]
) -> Float[Array, "n h w f"]:
    """A convolution whose kernel is one place: a product, whose way back copies no kernel as a convolution's does."""
    return (jnp.asarray(x).reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:-1], -1)
