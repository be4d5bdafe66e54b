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


class Scaled(nn.Module):
    """A factor and a summand for each channel, after a layer norm where there is an epsilon."""

    def __init__(self, parameters: Parameters, epsilon: float | None = None):
        super().__init__()
        self.epsilon = epsilon
        self.weight, self.bias = (
            nn.Parameter(_tensor(parameters[name]), requires_grad=False) for name in ("kernel", "bias")
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x.movedim(1, -1) if x.ndim == 4 else x
        if self.epsilon is not None:
            x = functional.layer_norm(x, x.shape[-1:], eps=self.epsilon)
        x = x * self.weight + self.bias
        return x.movedim(-1, 1) if x.ndim == 4 else x


def scaled(parameters: Parameters) -> nn.Module:
    return Scaled(parameters)


def layer_norm(parameters: Parameters, epsilon: float) -> nn.Module:
    return Scaled(parameters, epsilon)


def gelu() -> nn.Module:
    return nn.GELU()


def tokens(parameters: Parameters) -> nn.Module:
    first, positions = _tensor(parameters["tokens"]), _tensor(parameters["positions"])

    def of_places(x: Tensor) -> Tensor:
        places = x.flatten(2).transpose(1, 2)
        return torch.cat([first.expand(len(x), -1, -1), places], 1) + positions

    return Function(of_places)


def attention(joint: Tensor, heads: int) -> Tensor:
    query, key, _ = _heads(joint, heads)
    return (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1).flatten(1)


def mixed(weights: Tensor, joint: Tensor, heads: int) -> Tensor:
    count = joint.shape[1]
    values = weights.reshape(len(joint), heads, count, count) @ _heads(joint, heads)[2]
    return values.transpose(1, 2).flatten(2)


def _heads(joint: Tensor, heads: int) -> Tensor:
    return joint.reshape(*joint.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4)


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
