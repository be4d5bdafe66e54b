"""3x3 convolution with stride 1 by Winograd's F(2x2, 3x3): 16 multiplications where the definition takes 36.

Each 2x2 tile of the output is A' [ (G g G') * (B' d B) ] A for the 4x4 tile d of the input; summed over channels, the
inner product is 16 matrix products, which a CPU does faster than its convolution. The error is about 1e-6 relative.
The 16 are written one by one: what is stacked for a batched product is copied there and back.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from saliency._checks import Pair

CACHE = 5 * 2**19  # bytes of transformed tiles that a CPU is fastest with: larger ones are made an image at a time
Padding = tuple[Pair, Pair]
Matrices = Sequence[Sequence[Float[Array, "c f"]]]  # 4x4
FLIPPED = (3, 1, 2, 0)  # where the matrices of a kernel are found in those of the kernel turned round


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def convolution(
    padding: Padding, x: Float[Array | np.ndarray, "n h w c"], kernel: Float[Array | np.ndarray, "3 3 c f"]
) -> Float[Array, "n rows cols f"]:
    """The convolution; so is its gradient in `x`. Padding is at most 2 on each side."""
    return _a_few(jnp.pad(x, ((0, 0), *padding, (0, 0))), transformed(jnp.asarray(kernel)))


def _forward(padding: Padding, x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return convolution(padding, x, kernel), (x, kernel)


def _backward(padding: Padding, saved: tuple[Array, Array], up: Array) -> tuple[Array, Array]:
    x, kernel = saved
    matrices = transformed(kernel)
    turned = [[matrices[i][j].T for j in FLIPPED] for i in FLIPPED]
    before_x = _a_few(jnp.pad(up, ((0, 0), *((2 - a, 2 - b) for a, b in padding), (0, 0))), turned)
    (before_kernel,) = jax.linear_transpose(lambda kernel: _by_definition(padding, x, kernel), kernel)(up)
    return before_x, before_kernel  # the second is not computed where nobody asks for it


convolution.defvjp(_forward, _backward)


def _by_definition(padding: Padding, x: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def tiles(height: int, width: int) -> int:
    """How many 2x2 tiles an output has."""
    return -(-height // 2) * -(-width // 2)


def _a_few(x: Float[Array | np.ndarray, "n h w c"], kernel: Matrices) -> Array:
    """`convolved`, as many images at a time as the cache holds."""
    n, height, width, channels = x.shape
    fit = max(1, CACHE // (16 * tiles(height - 2, width - 2) * channels * x.dtype.itemsize))
    size = max(count for count in range(1, n + 1) if n % count == 0 and count <= fit)
    if size == n:
        return convolved(x, kernel)
    y = lax.map(lambda some: convolved(some, kernel), x.reshape(n // size, size, height, width, channels))
    return y.reshape(n, height - 2, width - 2, -1)


@jax.jit
def transformed(kernel: Float[Array, "3 3 c f"]) -> Matrices:
    """The kernel's own side of the products."""
    return [_kernel_side(row) for row in _kernel_side(kernel)]


def whole_tiles(size: Pair) -> Pair:
    """The next larger size that `convolved` takes without padding it."""
    return size[0] + size[0] % 2, size[1] + size[1] % 2


@jax.jit
def convolved(x: Float[Array | np.ndarray, "n h w c"], kernel: Matrices) -> Float[Array, "n h-2 w-2 f"]:
    """Convolution without padding, by a kernel that `transformed` made."""
    n, height, width, channels = x.shape
    rows, cols = (height - 1) // 2, (width - 1) // 2  # tiles of 2x2 outputs, the last one perhaps half used
    x = jnp.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
    products = [
        [tile.reshape(-1, channels) @ matrix for tile, matrix in zip(_input_side(line, 2), matrices)]
        for line, matrices in zip(_input_side(x, 1), kernel)
    ]
    columns = zip(*(_output_side(line) for line in products))  # left and right ones of the tiles, in four rows
    tiles = jnp.stack([jnp.stack(_output_side(column), 1) for column in columns], 2)
    y = tiles.reshape(n, rows, cols, 2, 2, -1).swapaxes(2, 3)
    return y.reshape(n, 2 * rows, 2 * cols, -1)[:, : height - 2, : width - 2]


def _kernel_side(kernel: Array | Sequence[Array]) -> list[Array]:
    """G g along the first axis. Of the kernel turned round it is the same, but for first and last."""
    a, b, c = kernel
    even, odd = (a + c) / 2, b / 2
    return [a, even + odd, even - odd, c]


def _input_side(x: Array, axis: int) -> list[Array]:
    """B' d along one axis, for all overlapping tiles of four at stride two."""
    size = x.shape[axis] - 3
    a, b, c, d = (lax.slice_in_dim(x, i, i + size, 2, axis) for i in range(4))
    return [a - c, b + c, c - b, b - d]


def _output_side(products: Sequence[Array]) -> list[Array]:
    """A' m of four products."""
    a, b, c, d = products
    return [a + b + c, b - c - d]
