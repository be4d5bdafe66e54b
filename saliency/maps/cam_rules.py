"""How a layer's channels become one map: rules that need the activations and the score's derivative alone.

Each takes the activation A and the derivative G = d score / d A of one batch, float `[n, h, w, c]`, and gives
`[n, h, w]`, not yet rectified. Where the head is a global average and a dense layer, G is the same at every place, and
Grad-CAM, XGrad-CAM and HiResCAM are one map.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
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
    return jax.vmap(_first_component)(a)


def eigengrad_cam(a: Activation, g: Activation) -> CamMap:
    """The first principal component of HiResCAM's products, with the sign that goes along with their sum."""
    return jax.vmap(_first_component)(g * a)


def kpca_cam(a: Activation, g: Activation) -> CamMap:
    """The places' first kernel principal component (Karmani et al. 2024), by the kernel tanh(<p, q> / channels + 1) of
    centred channels; it knows of no class. The sign goes along with the mean of the channels."""
    return jax.vmap(_first_kernel_component)(a)


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
MOST_PLACES = 64 * 64  # whose kernel, a number for each two of them, is decomposed


def _away_from_zero(x: Array) -> Array:
    return jnp.where(jnp.abs(x) < TINY, jnp.where(x < 0, -TINY, TINY), x)


def _first_component(values: Float[Array, "h w c"]) -> Float[Array, "h w"]:
    """By the eigenvectors of the smaller of the two Gram matrices, places' or channels'; there are none in half
    precision."""
    rows = values.reshape(-1, values.shape[-1]).astype(jnp.promote_types(values.dtype, jnp.float32))
    centred = rows - rows.mean(0, keepdims=True)
    if centred.shape[0] <= centred.shape[1]:
        strengths, vectors = jnp.linalg.eigh(centred @ centred.T)
        along = vectors[:, -1] * jnp.sqrt(jnp.maximum(strengths[-1], 0))
    else:
        along = centred @ jnp.linalg.eigh(centred.T @ centred)[1][:, -1]
    return _with_the_mean(along, centred).reshape(values.shape[:2]).astype(values.dtype)


def _first_kernel_component(values: Float[Array, "h w c"]) -> Float[Array, "h w"]:
    height, width, channels = values.shape
    if height * width > MOST_PLACES:
        raise InputError(
            f"kpca-cam decomposes a kernel of all pairs of places, too many for {height} x {width} of them: take a"
            f" later layer, of at most {MOST_PLACES} places"
        )
    rows = values.reshape(-1, channels).astype(jnp.promote_types(values.dtype, jnp.float32))
    centred = rows - rows.mean(0, keepdims=True)
    kernel = jnp.tanh(centred @ centred.T / channels + 1)
    kernel = kernel - kernel.mean(0) - kernel.mean(1)[:, None] + kernel.mean()
    strengths, vectors = jnp.linalg.eigh(kernel)
    along = vectors[:, -1] * jnp.sqrt(jnp.maximum(strengths[-1], 0))
    return _with_the_mean(along, centred).reshape(height, width).astype(values.dtype)


def _with_the_mean(along: Float[Array, " places"], centred: Float[Array, "places c"]) -> Float[Array, " places"]:
    """A component's sign is nobody's choice: the one that goes along with the mean of the channels."""
    return jnp.where((along * centred.sum(-1)).sum() < 0, -along, along)
