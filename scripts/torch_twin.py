"""The network of ours as PyTorch runs it: every operator says what it is there. It serves comparisons side by side and
is imported only where torch is installed.
"""

import numpy as np
import torch
from torch import Tensor, nn

from saliency.models.network import Network


class Twin(nn.Module):
    """Logits `[n, classes]` of images `[n, channels, h, w]`; `upto` stops at an inner layer.

    Each layer is a module of its own, `twin.steps[twin.place[layer]]`, so that hooks can be set on it. Raises
    InputError for operators that torch is not told of (`Pointwise`, `Opaque`).
    """

    def __init__(self, net: Network):
        super().__init__()
        self.architecture = net.architecture
        nodes = net.architecture.nodes
        self.place = {node.name: i for i, node in enumerate(nodes)}  # modules' own names cannot have the dots of ours
        self.steps = nn.ModuleList(node.layer.in_torch(net.weights.get(node.name, {})) for node in nodes)

    def forward(self, x: Tensor) -> Tensor:
        return self.upto(x, self.architecture.last)

    def upto(self, x: Tensor, to: str) -> Tensor:
        done: dict[str, Tensor] = {}
        for node in self.architecture.ancestors(to):
            done[node.name] = self.steps[self.place[node.name]](*([done[name] for name in node.inputs] or [x]))
        return done[to]


def channels_last(x: np.ndarray) -> Tensor:
    """Our images `[n, h, w, c]` as torch takes them, the memory left as it is."""
    return torch.from_numpy(np.ascontiguousarray(x)).permute(0, 3, 1, 2)
