"""What works at each place on its own: the image itself, ReLU, normalisation across channels, joins; and flattening."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from saliency.models.operators.backward import Rules
from saliency.models.operators.base import QUIET, Operator
from saliency.models.operators.regions import Parameters, Shape


@dataclass(frozen=True, repr=False)
class Image(Operator):
    """The network's input; cast to `dtype`, and of one size only, where the network is a function that was traced."""

    dtype: str = field(default="", metadata=QUIET)
    traced: bool = field(default=False, metadata=QUIET)

    rearranges: ClassVar[bool] = True
    local: ClassVar[bool] = True
    linear: ClassVar[bool] = True
    ties: ClassVar[str] = "was traced"

    @property
    def one_size(self) -> bool:  # type: ignore[override]
        return self.traced

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        return xs[0].astype(self.dtype) if self.dtype else xs[0]

    def in_torch(self, parameters: Parameters) -> Any:
        from saliency.models.operators import torch_modules

        return torch_modules.Function(lambda x: x)


@jax.custom_jvp
def rectified(x: Array) -> Array:
    """No less than 0, where nothing comes back. The gradient is told by the result as of `capped`."""
    return jnp.maximum(x, 0)


@rectified.defjvp
def _(values: tuple[Array], along: tuple[Array]) -> tuple[Array, Array]:
    y = rectified(values[0])
    return y, jnp.where(y > 0, along[0], 0)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def capped(x: Array, most: float) -> Array:
    """Between 0 and `most`. At both ends nothing comes back, as of torch's ReLU6.

    The gradient is told by the result, which is kept anyway: told by `x`, it would have XLA compute whatever made `x`
    a second time.
    """
    return jnp.clip(x, 0, most)


@capped.defjvp
def _(most: float, values: tuple[Array], along: tuple[Array]) -> tuple[Array, Array]:
    y = capped(values[0], most)
    return y, jnp.where((y > 0) & (y < most), along[0], 0)


@dataclass(frozen=True, repr=False)
class Relu(Operator):
    """max(x, 0), and no more than `most` (6 in mobile networks)."""

    most: float | None = field(default=None, metadata=QUIET)

    elementwise: ClassVar[bool] = True
    local: ClassVar[bool] = True
    recomputed: ClassVar[bool] = True
    monotone: ClassVar[bool] = True
    channelwise: ClassVar[bool] = True
    rectifies: ClassVar[bool] = True
    feature: ClassVar[bool] = True

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        return rectified(xs[0]) if self.most is None else capped(xs[0], self.most)

    def in_torch(self, parameters: Parameters) -> Any:
        from saliency.models.operators import torch_modules

        return torch_modules.relu(self.most)


@dataclass(frozen=True)
class LocalResponseNorm(Operator):
    """AlexNet's normalisation across channels: x / (k + alpha / size * sum of squares) ** beta (Caffe's form)."""

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    has_relevance: ClassVar[bool] = True
    local: ClassVar[bool] = True

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        (x,) = xs
        before = self.size // 2
        squares = jnp.pad(x * x, [(0, 0)] * (x.ndim - 1) + [(before, self.size - 1 - before)])
        total = reduce(jnp.add, (squares[..., i : i + x.shape[-1]] for i in range(self.size)))
        return x / (self.k + self.alpha / self.size * total) ** self.beta

    def relevance(self, parameters: Parameters, xs: Sequence[Array], up: Array, rules: Rules) -> tuple[Array, ...]:
        """What it divides by counts as a constant."""
        return (up,)

    def in_torch(self, parameters: Parameters) -> Any:
        from saliency.models.operators import torch_modules

        return torch_modules.local_response_norm(self.size, self.alpha, self.beta, self.k)


@dataclass(frozen=True)
class Concat(Operator):
    """Channels side by side."""

    rearranges: ClassVar[bool] = True
    local: ClassVar[bool] = True
    linear: ClassVar[bool] = True

    def shape(self, *shapes: Shape) -> Shape:
        return *shapes[0][:-1], sum(shape[-1] for shape in shapes)

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        return jnp.concatenate(xs, axis=-1)

    def in_torch(self, parameters: Parameters) -> Any:
        from saliency.models.operators import torch_modules

        return torch_modules.Function(torch_modules.joined)


@dataclass(frozen=True)
class Add(Operator):
    local: ClassVar[bool] = True
    linear: ClassVar[bool] = True

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        return reduce(jnp.add, xs)

    def in_torch(self, parameters: Parameters) -> Any:
        from saliency.models.operators import torch_modules

        return torch_modules.Function(lambda *xs: sum(xs))


@dataclass(frozen=True)
class Flatten(Operator):
    """Height, width, channel order: checkpoints trained on a CHW flatten are permuted when loaded."""

    rearranges: ClassVar[bool] = True
    linear: ClassVar[bool] = True
    one_size: ClassVar[bool] = True

    def shape(self, *shapes: Shape) -> Shape:
        return (int(np.prod(shapes[0])),)

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        return xs[0].reshape(xs[0].shape[0], -1)

    def in_torch(self, parameters: Parameters) -> Any:
        from saliency.models.operators import torch_modules

        return torch_modules.Function(torch_modules.flattened)
