"""A classifier with its weights, and everything needed to feed and to name it."""

import hashlib
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Float

from saliency.errors import InputError
from saliency.models.graph import Architecture
from saliency.models.operators import Operator
from saliency.models.preprocessing import Preprocessing


class Network(nnx.Module):
    """An architecture with weights, for inference.

    `net(x)` gives pre-softmax logits `[n, classes]` for normalised float32 images `[n, h, w, 3]`; `net.upto(x, layer)`
    an inner activation; `net.after(a, layer)` what follows from it; `net.layers` the named layers in order.
    """

    def __init__(
        self,
        architecture: Architecture,
        weights: Mapping[str, Mapping[str, ArrayLike]],
        preprocess: Preprocessing,
        *,
        classes: Sequence[str] = (),
        provenance: Mapping[str, object] | None = None,
    ):
        self.architecture = architecture
        self.preprocess = preprocess
        self.classes = tuple(classes)
        self.provenance = nnx.static(dict(provenance or {}))
        self.parameters = nnx.Dict(
            {
                layer: nnx.Dict({name: nnx.Param(jnp.asarray(value)) for name, value in parameters.items()})
                for layer, parameters in weights.items()
            }
        )

    @property
    def name(self) -> str:
        return self.architecture.name

    @property
    def weights(self) -> dict[str, dict[str, jax.Array]]:
        """Layer -> parameter -> array: the pytree that jitted functions take beside the static architecture."""
        return {
            layer: {name: parameter.get_value() for name, parameter in parameters.items()}
            for layer, parameters in self.parameters.items()
        }

    @property
    def digest(self) -> str:
        """SHA-256 of the architecture and of every weight: what a result says of the network it was made with."""
        digest = hashlib.sha256(repr(self.architecture).encode())
        for layer, parameters in sorted(self.weights.items()):
            for name, value in sorted(parameters.items()):
                digest.update(f"{layer}.{name} {value.dtype} {value.shape}".encode())
                digest.update(np.ascontiguousarray(value).tobytes())
        return digest.hexdigest()

    @property
    def layers(self) -> dict[str, Operator]:
        return self.architecture.layers

    def __call__(self, x: Float[ArrayLike, "n h w 3"]) -> Float[jax.Array, "n classes"]:
        return self.architecture.upto(self.weights, jnp.asarray(x))

    def upto(self, x: Float[ArrayLike, "n h w 3"], layer: str) -> jax.Array:
        return self.architecture.upto(self.weights, jnp.asarray(x), layer)

    def after(self, activation: jax.Array, layer: str) -> jax.Array:
        return self.architecture.after(self.weights, activation, layer)

    def class_name(self, index: int) -> str:
        return self.classes[index] if 0 <= index < len(self.classes) else str(index)


def check_input(net: Network, x: np.ndarray | jax.Array, to: str | None = None) -> jax.Array:
    """`x` as a float array `[n, h, w, 3]` the network can take, or InputError saying what is wrong with it."""
    shape = np.shape(x)
    if len(shape) != 4 or shape[-1] != 3:
        raise InputError(f"x must be [n, h, w, 3] as net.preprocess gives it, not {list(shape)}")
    if not isinstance(x, np.ndarray | jax.Array) or not jnp.issubdtype(x.dtype, jnp.floating):
        raise InputError(f"x must be float, normalised by net.preprocess, not {getattr(x, 'dtype', type(x).__name__)}")
    net.architecture.shapes(shape[1], shape[2], to)
    bad = np.flatnonzero(~np.isfinite(np.asarray(x)).all((1, 2, 3)))
    if len(bad):
        raise InputError(f"x holds NaN or infinite values in image {bad[0]} ({len(bad)} of {shape[0]} images)")
    return jnp.asarray(x)
