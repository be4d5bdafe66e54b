"""3x3 convolution with stride 1 by Winograd's F(2x2, 3x3): 16 multiplications where the definition takes 36.

Each 2x2 tile of the output is A' [ (G g G') * (B' d B) ] A for the 4x4 tile d of the input; summed over channels, the
inner product is 16 matrix products, which a CPU does faster than its convolution. The error is about 1e-6 relative.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from saliency.networks.layers import Conv

G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
LEAST = 32  # with fewer channels the transforms cost more than the products save
Kernel = tuple[tuple[Float[Array, "c f"], ...], ...]  # 4x4 matrices


def suits(layer: Conv, channels: int) -> bool:
    square = layer.kernel == (3, 3) and layer.stride == (1, 1)
    return square and layer.groups == 1 and min(channels, layer.features) >= LEAST


def transformed(kernel: Float[Array, "3 3 c f"]) -> Kernel:
    """The kernel's own side of the products, computed once for all images.

    The 16 matrices are kept apart, as their products are: what is stacked for a batched product is copied there and
    back, and what is cut out of an array within a loop is copied in each of its rounds.
    """
    g = jnp.asarray(G, kernel.dtype)
    matrices = jnp.einsum("ai,bj,ijcf->abcf", g, g, kernel)
    return tuple(tuple(row) for row in matrices)


def convolved(x: Float[Array, "n h w c"], kernel: Kernel) -> Float[Array, "n h-2 w-2 f"]:
    """Convolution without padding, by a kernel that `transformed` made."""
    n, height, width, channels = x.shape
    rows, cols = (height - 1) // 2, (width - 1) // 2  # tiles of 2x2 outputs, the last one perhaps half used
    x = jnp.pad(x, ((0, 0), (0, 2 * rows + 2 - height), (0, 2 * cols + 2 - width), (0, 0)))
    products = [
        [tile.reshape(-1, channels) @ matrix for tile, matrix in zip(_input_side(line, 2), matrices)]
        for line, matrices in zip(_input_side(x, 1), kernel)
    ]
    columns = zip(*(_output_side(line) for line in products))  # left and right ones of the tiles, in four rows
    tiles = jnp.stack([jnp.stack(_output_side(column), 1) for column in columns], 2)
    y = tiles.reshape(n, rows, cols, 2, 2, -1).swapaxes(2, 3)
    return y.reshape(n, 2 * rows, 2 * cols, -1)[:, : height - 2, : width - 2]


def _input_side(x: Array, axis: int) -> list[Array]:
    """B' d along one axis, for all overlapping tiles of four at stride two."""
    size = x.shape[axis] - 3
    a, b, c, d = (lax.slice_in_dim(x, i, i + size, 2, axis) for i in range(4))
    return [a - c, b + c, c - b, b - d]


def _output_side(products: Sequence[Array]) -> list[Array]:
    """A' m of four products."""
    a, b, c, d = products
    return [a + b + c, b - c - d]
