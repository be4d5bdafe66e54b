"""A classifier with its weights, and everything needed to feed and to name it."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from saliency._checks import ImagesLike, as_images, kind_of
from saliency._memory import aligned
from saliency._programs import kept
from saliency.errors import InputError
from saliency.models.graph import Architecture, Weights
from saliency.models.operators import Operator
from saliency.models.preprocessing import Preprocessing

FAR = 5  # times the range of pixels beyond black or white: no normalised photo lies there


class Network:
    """An architecture with weights, for inference.

    `net(x)` gives pre-softmax logits `[n, classes]` for normalised float32 images `[n, h, w, 3]`; `net.upto(x, layer)`
    an inner activation; `net.after(a, layer)` what follows from it; `net.layers` the named layers in order;
    `net.weights` layer -> parameter -> array, the pytree that jitted functions take beside the static architecture;
    `net.preprocess(photos)` what photos become; `net.classes` the classes' names, if they are known.

    >>> import numpy as np, saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> x = net.preprocess(np.zeros((2, 60, 80, 3), np.uint8))
    >>> x.shape, net(x).shape, net.upto(x, "pool2").shape
    ((2, 96, 96, 3), (2, 10), (2, 24, 24, 24))
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
        self.provenance = dict(provenance or {})
        self.weights: dict[str, dict[str, jax.Array]] = {
            layer: {name: on_device(value) for name, value in parameters.items()}
            for layer, parameters in weights.items()
        }

    @property
    def name(self) -> str:
        return self.architecture.name

    @property
    def dtype(self) -> np.dtype:
        """The weights' precision, in which images enter; float32 where there are no weights."""
        kinds = [value.dtype for value in jax.tree.leaves(self.weights) if jnp.issubdtype(value.dtype, jnp.floating)]
        return np.dtype(jnp.result_type(*kinds)) if kinds else np.dtype(np.float32)

    @property
    def digest(self) -> str:
        """SHA-256 of the architecture and of every weight: what a result says of the network it was made with."""
        digest = hashlib.sha256(repr(self.architecture).encode())
        for layer, parameters in sorted(self.weights.items()):
            for name, value in sorted(parameters.items()):
                digest.update(f"{layer}.{name} {value.dtype} {value.shape}".encode())
                digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
        return digest.hexdigest()

    @property
    def layers(self) -> dict[str, Operator]:
        return self.architecture.layers

    def __call__(self, x: ImagesLike) -> Float[jax.Array, "n classes"]:
        self.architecture.require_logits()
        return upto(self.weights, self._cast(x), architecture=self.architecture)

    def upto(self, x: ImagesLike, layer: str) -> jax.Array:
        return upto(self.weights, self._cast(x), layer=self.architecture.require(layer), architecture=self.architecture)

    def _cast(self, x: object) -> jax.Array:
        """Images in the weights' precision; InputError for whole numbers, which no preprocessing has seen."""
        images = jnp.asarray(x)
        if not jnp.issubdtype(images.dtype, jnp.floating):
            raise InputError(f"x must be float, normalised by net.preprocess, not {images.dtype}")
        return images.astype(self.dtype)

    def after(self, activation: jax.Array, layer: str) -> jax.Array:
        return after(self.weights, activation, layer=self.architecture.require(layer), architecture=self.architecture)

    def __repr__(self) -> str:
        count = sum(value.size for value in jax.tree.leaves(self.weights))
        height, width = self.architecture.size
        return f"Network({self.name!r}, {len(self.layers)} layers, {count:,} weights, trained at {height}x{width} px)"

    __str__ = __repr__

    def class_name(self, index: int) -> str:
        return self.classes[index] if 0 <= index < len(self.classes) else str(index)


# As one program each: by itself, every operator of a network would be compiled anew for every shape it meets.


@kept("layer", "architecture")
def upto(weights: Weights, x: jax.Array, *, layer: str | None = None, architecture: Architecture) -> jax.Array:
    return architecture.upto(weights, x, layer)


@kept("layer", "architecture")
def after(weights: Weights, activation: jax.Array, *, layer: str, architecture: Architecture) -> jax.Array:
    return architecture.after(weights, activation, layer)


def on_device(value: ArrayLike, dtype: np.dtype | None = None, shape: tuple[int, ...] | None = None) -> jax.Array:
    """An array of JAX's own, by one copy and without a program, which `jnp.asarray` compiles for each shape of NumPy's.

    `dtype` (default: what JAX has for NumPy's) and `shape` are what it becomes. A caller may go on to write to its own,
    so it is copied here: `jax.device_put` takes an aligned one as it lies, with `may_alias=False` too.
    """
    if not isinstance(value, np.ndarray):
        return jnp.asarray(value)
    own = aligned(value.shape, np.dtype(jax.dtypes.canonicalize_dtype(dtype or value.dtype)))
    np.copyto(own, value, casting="same_kind")
    return jax.device_put(own if shape is None else own.reshape(shape))


def check_input(net: Network, x: object, to: str | None = None) -> Float[np.ndarray, "n h w c"]:
    """The door of every method: normalised images as the network takes them, in its weights' precision.

    `x` is float `[n, h, w, 3]`: an array of any library and precision, or a list of images of one size. `to` is the
    last layer that is needed (None: the logits). Raises InputError for other shapes, for whole numbers, which
    `net.preprocess` has not seen, for NaN and infinities, for an image that is too small, and for values so far from
    what pixels 0..255 become that they cannot have been normalised.
    """
    kind_of("net", net, Network, "as load_network gives it")
    channels = net.architecture.channels
    if isinstance(x, list | tuple) and not len(x):
        x = np.empty((0, *net.architecture.size, channels), np.float32)
    images = as_images("x", x, net.dtype, channels=channels, normalised=True, within=_plausible(net.preprocess))
    net.architecture.shapes(images.shape[1], images.shape[2], to)
    return images


@lru_cache
def _plausible(preprocess: Preprocessing) -> tuple[float, float]:
    """Bounds of what can have come out of it: FAR times the range of pixels beyond black and white."""
    ends = preprocess.normalise(np.array([[0.0] * preprocess.channels, [255.0] * preprocess.channels]))
    low, high = float(ends.min()), float(ends.max())
    return low - FAR * (high - low), high + FAR * (high - low)
