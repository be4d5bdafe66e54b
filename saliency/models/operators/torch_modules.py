"""What operators are in torch. Imported where a twin is made, and nowhere else."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from saliency._checks import Pair
from saliency.errors import InputError
from saliency.models.operators.regions import Parameters
from saliency.models.winograd import Padding


class Function(nn.Module):
    """A function without weights as a module, so that hooks can be set on it."""

    def __init__(self, function: Callable[..., Tensor]):
        super().__init__()
        self.function = function

    def forward(self, *xs: Tensor) -> Tensor:
        return self.function(*xs)


class Dense(nn.Linear):
    """A product over the channels, which stand second in a map."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1) if x.ndim == 4 else super().forward(x)


def convolution(parameters: Parameters, stride: Pair, padding: Padding, *, dilation: Pair, groups: int) -> nn.Module:
    kernel = _tensor(parameters["kernel"]).permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    features, inside, *window = kernel.shape
    (top, bottom), (left, right) = padding
    alike = top == bottom and left == right
    conv = nn.utils.skip_init(
        nn.Conv2d, inside * groups, features, window, stride, (top, left) if alike else 0, dilation, groups,
        bias="bias" in parameters,
    )  # fmt: skip
    _fill(conv, kernel, parameters)
    return conv if alike else nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), conv)


def dense(parameters: Parameters) -> nn.Module:
    kernel = _tensor(parameters["kernel"]).T.contiguous()
    linear = nn.utils.skip_init(Dense, *kernel.shape[::-1], bias="bias" in parameters)
    _fill(linear, kernel, parameters)
    return linear


def pooled(
    pool: Callable[..., Tensor], window: Pair, stride: Pair, padding: Padding, ceil: bool, **options: int
) -> nn.Module:
    """By one of torch's functions."""
    (top, bottom), (left, right) = padding
    if (top, left) != (bottom, right) or 2 * top > window[0] or 2 * left > window[1]:
        raise InputError(f"a pool of {window} with the padding {padding} has no twin in torch")
    return Function(lambda x: pool(x, window, stride, (top, left), ceil_mode=ceil, **options))


def padded(padding: Padding, value: float) -> nn.Module:
    (top, bottom), (left, right) = padding
    return nn.ConstantPad2d((left, right, top, bottom), value)


def max_pool(window: Pair, stride: Pair, padding: Padding, ceil: bool) -> nn.Module:
    return pooled(functional.max_pool2d, window, stride, padding, ceil)


def average_pool(window: Pair, stride: Pair, padding: Padding, ceil: bool) -> nn.Module:
    return pooled(functional.avg_pool2d, window, stride, padding, ceil)


def sum_pool(window: Pair, stride: Pair, padding: Padding, ceil: bool) -> nn.Module:
    return pooled(functional.avg_pool2d, window, stride, padding, ceil, divisor_override=1)


def relu(most: float | None) -> nn.Module:
    return nn.ReLU() if most is None else nn.Hardtanh(0.0, most)


def local_response_norm(size: int, alpha: float, beta: float, k: float) -> nn.Module:
    return nn.LocalResponseNorm(size, alpha, beta, k)


def joined(*xs: Tensor) -> Tensor:
    return torch.cat(xs, 1 if xs[0].ndim == 4 else -1)


def flattened(x: Tensor) -> Tensor:
    """In the order height, width, channel."""
    return (x.permute(0, 2, 3, 1) if x.ndim == 4 else x).flatten(1)


def _fill(module: nn.Module, kernel: Tensor, parameters: Parameters) -> None:
    module.weight = nn.Parameter(kernel, requires_grad=False)
    if "bias" in parameters:
        module.bias = nn.Parameter(_tensor(parameters["bias"]), requires_grad=False)


def _tensor(array: object) -> Tensor:
    return torch.from_numpy(np.array(array))
