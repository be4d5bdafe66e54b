"""Convolution of each channel by itself, as a sum of shifted products: one fused loop of a CPU, which takes a
twelfth of the time of its own grouped convolution, and the gradient less still.
"""

from jax import Array, lax
from jax import numpy as jnp
from jaxtyping import Float

from saliency._checks import Pair

Padding = tuple[Pair, Pair]


def depthwise(
    x: Float[Array, "n h w c"], kernel: Float[Array, "kh kw 1 c"], stride: Pair, padding: Padding, dilation: Pair
) -> Float[Array, "n rows cols c"]:
    """The convolution with as many groups as channels, and one feature each."""
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    batch, *size, channels = x.shape
    spans = [
        (side - (taps - 1) * every - 1) // step for side, taps, every, step in zip(size, kernel.shape, dilation, stride)
    ]
    total = None
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            top, left = i * dilation[0], j * dilation[1]
            end = top + spans[0] * stride[0] + 1, left + spans[1] * stride[1] + 1
            shifted = lax.slice(x, (0, top, left, 0), (batch, *end, channels), (1, *stride, 1))
            product = shifted * kernel[i, j, 0]
            total = product if total is None else total + product
    assert total is not None
    return total
