"""How a layer's channels become one map: rules that need the activations and the score's derivative alone.

Each takes the activation A and the derivative G = d score / d A of one batch, float `[n, h, w, c]`, and gives
`[n, h, w]`, not yet rectified. Where the head is a global average and a dense layer, G is the same at every place, and
Grad-CAM, XGrad-CAM and HiResCAM are one map.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from saliency.errors import InputError

CamRule = Literal[
    "grad-cam", "grad-cam++", "xgrad-cam", "hires-cam", "element-wise", "layer-cam", "eigen-cam", "eigengrad-cam",
    "kpca-cam", "fem",
]  # fmt: skip
Activation = Float[Array, "n h w c"]
CamMap = Float[Array, "n h w"]
TINY = 1e-7  # a denominator's least absolute value


def grad_cam(a: Activation, g: Activation) -> CamMap:
    """Channels by their mean derivative (Selvaraju et al. 2017, Eq. 1 and 2)."""
    return (g.mean((1, 2), keepdims=True) * a).sum(-1)


def grad_cam_plus_plus(a: Activation, g: Activation) -> CamMap:
    """Channels by their positive derivatives, each as heavy as Eq. 19 says of a score's exponential (Chattopadhay et
    al. 2018)."""
    alpha = g**2 / _away_from_zero(2 * g**2 + a.sum((1, 2), keepdims=True) * g**3)
    return ((jnp.where(g == 0, 0.0, alpha) * jax.nn.relu(g)).sum((1, 2), keepdims=True) * a).sum(-1)


def xgrad_cam(a: Activation, g: Activation) -> CamMap:
    """Channels by their derivatives' mean weighted by activation (Fu et al. 2020, Eq. 8)."""
    return ((g * a).sum((1, 2), keepdims=True) / _away_from_zero(a.sum((1, 2), keepdims=True)) * a).sum(-1)


def hires_cam(a: Activation, g: Activation) -> CamMap:
    """Each place by its own derivative (Draelos & Carin 2020): what the places add to the score, were the rest
    linear."""
    return (g * a).sum(-1)


def element_wise(a: Activation, g: Activation) -> CamMap:
    """Each place by its own derivative, what speaks against the score left out channel by channel: pytorch-grad-cam's
    GradCAMElementWise."""
    return jax.nn.relu(g * a).sum(-1)


def layer_cam(a: Activation, g: Activation) -> CamMap:
    """Each place by its own derivative where that is positive (Jiang et al. 2021, Eq. 6)."""
    return (jax.nn.relu(g) * a).sum(-1)


def eigen_cam(a: Activation, g: Activation) -> CamMap:
    """The places' first principal component (Muhammad & Yeasin 2020), which knows of no class. The component's sign is
    nobody's choice: it is the one that goes along with the mean of the channels."""
    return _first_component(a)


def eigengrad_cam(a: Activation, g: Activation) -> CamMap:
    """The first principal component of HiResCAM's products, with the sign that goes along with their sum."""
    return _first_component(g * a)


def kpca_cam(a: Activation, g: Activation) -> CamMap:
    """The places' first kernel principal component (Karmani et al. 2024), by the kernel tanh(<p, q> / channels + 1) of
    centred channels; it knows of no class. The sign goes along with the mean of the channels."""
    places = a.shape[1] * a.shape[2]
    if places > MOST_PLACES:
        raise InputError(
            f"kpca-cam decomposes a kernel of all pairs of places, too many for {a.shape[1]} x {a.shape[2]} of them:"
            f" take a later layer, of at most {MOST_PLACES} places"
        )
    return _first_component(a, kernel=True)


def fem(a: Activation, g: Activation) -> CamMap:
    """How many channels are two deviations above their mean at a place, each as heavy as its mean (Ahmed Asif Fuad et
    al. 2020); it knows of no class."""
    mean, deviation = a.mean((1, 2), keepdims=True), a.std((1, 2), keepdims=True)
    return jnp.where(a > mean + 2 * deviation, mean, 0).sum(-1)


RULES: dict[CamRule, Callable[[Activation, Activation], CamMap]] = {
    "grad-cam": grad_cam,
    "grad-cam++": grad_cam_plus_plus,
    "xgrad-cam": xgrad_cam,
    "hires-cam": hires_cam,
    "element-wise": element_wise,
    "layer-cam": layer_cam,
    "eigen-cam": eigen_cam,
    "eigengrad-cam": eigengrad_cam,
    "kpca-cam": kpca_cam,
    "fem": fem,
}
CLASSLESS: tuple[CamRule, ...] = ("eigen-cam", "kpca-cam", "fem")
DECOMPOSING: tuple[CamRule, ...] = ("eigen-cam", "eigengrad-cam", "kpca-cam")  # not within a program
MOST_PLACES = 64 * 64  # whose kernel, a number for each two of them, is decomposed


def _away_from_zero(x: Array) -> Array:
    return jnp.where(jnp.abs(x) < TINY, jnp.where(x < 0, -TINY, TINY), x)


def _first_component(values: Float[Array, "n h w c"], kernel: bool = False) -> CamMap:
    """By the eigenvectors of the smaller of the two Gram matrices, places' or channels'; or of the places' `kernel`.

    NumPy decomposes them, outside of any program: two of XLA's programs at a time that hold LAPACK's eigenvectors and
    something that is spread over cores wait for one another for ever (jaxlib 0.10.2, CPU).
    """
    n, height, width, channels = values.shape
    of_places = kernel or height * width <= channels
    centred, matrix = _matrix(values, kernel=kernel, of_places=of_places)
    strengths, vectors = np.linalg.eigh(np.asarray(matrix))
    along = _along(centred, strengths[:, -1], vectors[:, :, -1], of_places=of_places)
    return along.reshape(n, height, width).astype(values.dtype)


@partial(jax.jit, static_argnames=("kernel", "of_places"))
def _matrix(values: Float[Array, "n h w c"], *, kernel: bool, of_places: bool) -> tuple[Array, Array]:
    """Centred channels `[n, places, c]`, and the symmetric matrix `[n, k, k]`; there are no eigenvectors in half
    precision."""
    rows = values.reshape(len(values), -1, values.shape[-1])
    rows = rows.astype(jnp.promote_types(values.dtype, jnp.float32))
    centred = rows - rows.mean(1, keepdims=True)
    turned = centred.swapaxes(1, 2)
    if not kernel:
        return centred, centred @ turned if of_places else turned @ centred
    pairs = jnp.tanh(centred @ turned / rows.shape[-1] + 1)
    means = pairs.mean(1, keepdims=True), pairs.mean(2, keepdims=True)
    return centred, pairs - means[0] - means[1] + pairs.mean((1, 2), keepdims=True)


@partial(jax.jit, static_argnames="of_places")
def _along(
    centred: Float[Array, "n places c"], strength: Float[Array, " n"], vector: Float[Array, "n k"], *, of_places: bool
) -> Float[Array, "n places"]:
    """How far each place lies along the component of that eigenvector. Its sign is nobody's choice: the one that goes
    along with the mean of the channels."""
    scaled = vector * jnp.sqrt(jnp.maximum(strength, 0))[:, None]
    along = scaled if of_places else jnp.einsum("npc,nc->np", centred, vector)
    return jnp.where((along * centred.sum(-1)).sum(1, keepdims=True) < 0, -along, along)
