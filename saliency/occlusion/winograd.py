"""3x3 convolution with stride 1 by Winograd's F(2x2, 3x3): 16 multiplications where the definition takes 36.

Each 2x2 tile of the output is A' [ (G g G') * (B' d B) ] A for the 4x4 tile d of the input; summed over channels, the
inner product is 16 matrix products, which a CPU does faster than its convolution. The error is about 1e-6 relative.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from saliency.networks.layers import Conv, Pair, Parameters

G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
LEAST = 32  # with fewer channels the transforms cost more than the products save
NAMES = [[f"winograd_{i}{j}" for j in range(4)] for i in range(4)]  # of the 4x4 matrices of a prepared kernel


def suits(layer: Conv, channels: int) -> bool:
    square = layer.kernel == (3, 3) and layer.stride == (1, 1)
    return square and layer.groups == 1 and min(channels, layer.features) >= LEAST


def transformed(kernel: Float[Array, "3 3 c f"]) -> dict[str, Float[Array, "c f"]]:
    """The kernel's own side of the products, computed once for all images.

    The 16 matrices are kept apart, as their products are: what is stacked for a batched product is copied there and
    back, and what is cut out of an array within a loop is copied in each of its rounds.
    """
    g = jnp.asarray(G, kernel.dtype)
    matrices = jnp.einsum("ai,bj,ijcf->abcf", g, g, kernel)
    return {name: matrix for names, row in zip(NAMES, matrices) for name, matrix in zip(names, row)}


def prepared(parameters: Parameters) -> bool:
    """Whether a layer's parameters hold a kernel that `transformed` made."""
    return NAMES[0][0] in parameters


def whole_tiles(region: Pair) -> Pair:
    """The next larger region that `convolved` takes without padding it."""
    return region[0] + region[0] % 2, region[1] + region[1] % 2


def convolved(x: Float[Array, "n h w c"], parameters: Parameters) -> Float[Array, "n h-2 w-2 f"]:
    """Convolution without padding, by a kernel that `transformed` made."""
    n, height, width, channels = x.shape
    rows, cols = (height - 1) // 2, (width - 1) // 2  # tiles of 2x2 outputs, the last one perhaps half used
    x = jnp.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
    products = [
        [tile.reshape(-1, channels) @ parameters[name] for tile, name in zip(_input_side(line, 2), names)]
        for line, names in zip(_input_side(x, 1), NAMES)
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
