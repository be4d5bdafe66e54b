"""Convolutions, and products over the channels of each place."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from saliency._checks import Pair
from saliency.devices import on_cpu, precision
from saliency.models import strided, winograd
from saliency.models.depthwise import depthwise
from saliency.models.operators.backward import Rules, epsilon_rule, gamma_rule
from saliency.models.operators.base import QUIET, Operator, Sliding
from saliency.models.operators.fast_gradient import convolve
from saliency.models.operators.pool import NO_PADDING, output_size
from saliency.models.operators.regions import Parameters, Region, Shape
from saliency.models.winograd import Padding

WINOGRAD = 128  # channels from which convolutions are worth the transforms ...
WINOGRAD_TILES = 64  # ... with so many tiles of 2x2 outputs, or the kernel's own transform takes what is saved
WINOGRAD_IMAGES = 8  # ... and so few images: larger batches are an occlusion's, whose programs are to compile soon
WINOGRAD_WINDOWS = 32  # ... where kernels are transformed once for all positions of a window


@dataclass(frozen=True, repr=False)
class Conv(Operator):
    """A convolution with kernel `[kh, kw, c_in // groups, features]`, and a bias unless `bias` is False."""

    features: int
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = NO_PADDING
    groups: int = 1
    dilation: Pair = field(default=(1, 1), metadata=QUIET)
    bias: bool = field(default=True, metadata=QUIET)

    local: ClassVar[bool] = True
    linear: ClassVar[bool] = True
    weighted: ClassVar[bool] = True
    feature: ClassVar[bool] = True

    @property
    def square(self) -> bool:
        """Whether Winograd's algorithm applies: 3x3, stride 1, all channels together."""
        plain = self.kernel == (3, 3) and self.stride == self.dilation == (1, 1) and self.groups == 1
        return plain and max(max(pair) for pair in self.padding) <= 2

    @property
    def unrolled(self) -> bool:  # type: ignore[override]
        return self.groups == self.features > 1 and on_cpu()

    @property
    def selectable(self) -> bool:  # type: ignore[override]
        return self.groups == 1

    @property
    def slides(self) -> Sliding:
        height, width = ((size - 1) * step + 1 for size, step in zip(self.kernel, self.dilation))
        return Sliding((height, width), self.stride, (self.padding[0][0], self.padding[1][0]))

    def shape(self, *shapes: Shape) -> Shape:
        window, stride, _ = self.slides
        height, width = map(output_size, shapes[0][:2], window, stride, self.padding)
        return height, width, self.features

    def parameter_shapes(self, *shapes: Shape) -> dict[str, Shape]:
        kernel = (*self.kernel, shapes[0][-1] // self.groups, self.features)
        return {"kernel": kernel, "bias": (self.features,)} if self.bias else {"kernel": kernel}

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        y = self.convolve(parameters["kernel"], xs[0])
        return y + parameters["bias"].reshape(*[1] * (y.ndim - 1), -1) if self.bias else y

    def linear_part(self, parameters: Parameters, *xs: Array) -> Array:
        return self.convolve(parameters["kernel"], xs[0])

    def convolve(self, kernel: Array, x: Array) -> Array:
        if self._transforms(x.shape, kernel.shape):
            return winograd.convolution(self.padding, x, kernel)
        return self._plainly(kernel, x)

    def _plainly(self, kernel: Array, x: Array) -> Array:
        """Without Winograd's algorithm, whose programs take long to compile."""
        if self.groups == self.features == x.shape[-1] > 1 and on_cpu():
            return depthwise(x, kernel, self.stride, self.padding, self.dilation)
        if self.groups == 1 and on_cpu():
            if self.kernel == (1, 1) and self.padding == NO_PADDING:
                return strided.each_place(x[:, :: self.stride[0], :: self.stride[1]], kernel[0, 0])
            places = int(np.prod(self.shape(x.shape[1:])[:2]))
            if self.dilation == (1, 1) and strided.worthwhile(kernel.shape, self.stride, places):
                return strided.convolution(self.stride, self.padding, x, kernel)
        return lax.conv_general_dilated(
            x,
            kernel,
            self.stride,
            self.padding,
            rhs_dilation=self.dilation,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=self.groups,
            precision=precision(),
        )

    def _transforms(self, x: Shape, kernel: Shape) -> bool:
        """Whether whole images are convolved by Winograd's algorithm."""
        if not self.square or not 1 <= x[0] <= WINOGRAD_IMAGES or min(kernel[2:]) < WINOGRAD or not on_cpu():
            return False
        height, width, _ = self.shape(x[1:])
        return x[0] * winograd.tiles(height, width) >= WINOGRAD_TILES

    def transforms(self, shapes: Sequence[Shape]) -> bool:
        return self._transforms((1, *shapes[0]), (*self.kernel, shapes[0][-1] // self.groups, self.features))

    def macs(self, shapes: Sequence[Shape], places: Shape) -> int:
        return int(np.prod(places)) * int(np.prod(self.kernel)) * shapes[0][-1] // self.groups * self.features

    def prepares(self, shapes: Sequence[Shape]) -> bool:
        """Whether windows are computed by Winograd's algorithm; an accelerator's own convolutions are better."""
        wide = min(shapes[0][-1], self.features) >= WINOGRAD_WINDOWS
        return self.square and wide and on_cpu()

    def prepare(self, parameters: Parameters, shapes: Sequence[Shape]) -> Any:
        return winograd.transformed(parameters["kernel"]) if self.prepares(shapes) else None

    def receptive_size(self, size: Pair, ready: Any = None) -> Pair:
        return super().receptive_size(size) if ready is None else winograd.whole_tiles(super().receptive_size(size))

    def change(self, region: Region, *changes: Array) -> Array:
        (x,), kernel = changes, region.parameters["kernel"]
        if region.ready is not None:
            return winograd.convolved(x, region.ready)[:, : region.size[0], : region.size[1]]
        return replace(self, padding=NO_PADDING)._plainly(kernel, x)

    def for_training(self) -> Operator:
        same = self.square and self.padding == ((1, 1), (1, 1))
        return TrainedConv(*astuple(self)) if same else self

    def with_bias(self) -> Operator | None:
        return None if self.bias else replace(self, bias=True)

    def relevance(self, parameters: Parameters, xs: Sequence[Array], up: Array, rules: Rules) -> tuple[Array, ...]:
        return (_strengthened(self, parameters, xs[0], up, rules.gamma, rules.epsilon),)

    def in_torch(self, parameters: Parameters) -> Any:
        from saliency.models.operators import torch_modules

        return torch_modules.convolution(
            parameters, self.stride, self.padding, dilation=self.dilation, groups=self.groups
        )


@dataclass(frozen=True, repr=False)
class TrainedConv(Conv):
    """A 3x3 convolution of the same size, whose weight gradient is fast on a CPU."""

    def convolve(self, kernel: Array, x: Array) -> Array:
        return convolve(x, kernel)


@dataclass(frozen=True, repr=False)
class Dense(Operator):
    """A product with a kernel `[c_in, features]` at each place of a map, or of a vector or each token."""

    features: int
    bias: bool = field(default=True, metadata=QUIET)

    local: ClassVar[bool] = True
    linear: ClassVar[bool] = True
    selectable: ClassVar[bool] = True
    weighted: ClassVar[bool] = True

    def shape(self, *shapes: Shape) -> Shape:
        return *shapes[0][:-1], self.features

    def parameter_shapes(self, *shapes: Shape) -> dict[str, Shape]:
        kernel = (shapes[0][-1], self.features)
        return {"kernel": kernel, "bias": (self.features,)} if self.bias else {"kernel": kernel}

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        y = jnp.matmul(xs[0], parameters["kernel"], precision=precision())
        return y + parameters["bias"].reshape(*[1] * (y.ndim - 1), -1) if self.bias else y

    def linear_part(self, parameters: Parameters, *xs: Array) -> Array:
        return jnp.matmul(xs[0], parameters["kernel"], precision=precision())

    def macs(self, shapes: Sequence[Shape], places: Shape) -> int:
        return int(np.prod(places)) * shapes[0][-1] * self.features

    def with_bias(self) -> Operator | None:
        return None if self.bias else replace(self, bias=True)

    def relevance(self, parameters: Parameters, xs: Sequence[Array], up: Array, rules: Rules) -> tuple[Array, ...]:
        return (_strengthened(self, parameters, xs[0], up, rules.dense_gamma, rules.epsilon),)

    def in_torch(self, parameters: Parameters) -> Any:
        from saliency.models.operators import torch_modules

        return torch_modules.dense(parameters)


def _strengthened(
    layer: Conv | Dense, parameters: Parameters, x: Array, up: Array, gamma: float, epsilon: float
) -> Array:
    """LRP's gamma rule; with gamma 0 it is the epsilon rule."""
    if gamma == 0:
        linear = partial(layer.linear_part, parameters)
        return epsilon_rule(linear, [x], layer(parameters, x), up, epsilon)[0]
    bias = parameters["bias"].reshape(*[1] * (x.ndim - 1), -1) if layer.bias else 0.0
    linear = partial(layer._with_kernel, parameters)
    return gamma_rule(linear, parameters["kernel"], bias, x, up, gamma, epsilon)
