"""The network of ours as PyTorch runs it, for timing the two side by side. Imported only where torch is installed."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from saliency.models.network import Network
from saliency.models.operators import (
    Add,
    Concat,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    Image,
    LocalResponseNorm,
    MaxPool,
    Operator,
    Relu,
)  # fmt: skip


class Twin(nn.Module):
    """Logits `[n, classes]` of images `[n, 3, h, w]` in channels_last memory; `upto` stops at an inner layer."""

    def __init__(self, net: Network):
        super().__init__()
        self.architecture = net.architecture
        self.kernels = nn.ParameterDict()
        self.biases = nn.ParameterDict()
        for layer, parameters in net.weights.items():
            kernel = torch.from_numpy(np.array(parameters["kernel"]))
            kernel = kernel.permute(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
            self.kernels[layer] = kernel.contiguous(memory_format=_order(kernel))
            self.biases[layer] = torch.from_numpy(np.array(parameters["bias"]))
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.upto(x, self.architecture.last)

    def upto(self, x: Tensor, to: str) -> Tensor:
        done: dict[str, Tensor] = {}
        for node in self.architecture.ancestors(to):
            done[node.name] = self._run(node.name, node.layer, *([done[name] for name in node.inputs] or [x]))
        return done[to]

    def _run(self, name: str, layer: Operator, *xs: Tensor) -> Tensor:
        x = xs[0]
        match layer:
            case Image():
                return x
            case Conv(_, _, stride, padding, groups):
                assert all(before == after for before, after in padding), "torch pads both sides alike"
                sides = [before for before, _ in padding]
                return functional.conv2d(x, self.kernels[name], self.biases[name], stride, sides, groups=groups)
            case Relu():
                return functional.relu(x)
            case MaxPool(window, stride, padding, ceil):
                sides = [before for before, _ in padding]
                return functional.max_pool2d(x, window, stride, sides, ceil_mode=ceil)
            case LocalResponseNorm(size, alpha, beta, k):
                return functional.local_response_norm(x, size, alpha, beta, k)
            case Concat():
                return torch.cat(xs, 1)
            case Add():
                return xs[0] + xs[1]
            case GlobalAvgPool():
                return x.mean((2, 3))
            case GlobalMaxPool():
                return x.amax((2, 3))
            case Flatten():
                return x.permute(0, 2, 3, 1).flatten(1)
            case Dense():
                return functional.linear(x, self.kernels[name], self.biases[name])
        raise TypeError(f"{name}: {layer} has no twin in torch")


def channels_last(x: np.ndarray) -> Tensor:
    """Our images `[n, h, w, 3]` as torch takes them, the memory left as it is."""
    return torch.from_numpy(np.ascontiguousarray(x)).permute(0, 3, 1, 2)


def _order(kernel: Tensor) -> torch.memory_format:
    return torch.channels_last if kernel.ndim == 4 else torch.contiguous_format
