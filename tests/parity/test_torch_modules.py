"""Modules of torch as users write them, against torch: logits at the door, gradients and windows here."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn
from torch.nn import functional

pytest.importorskip("onnx")

from saliency import Execution, InputError, grad_cam, gradient_maps, occlusion_maps
from saliency.maps.attention import attention_maps, class_attention_maps, patches
from saliency.models.from_torch import from_torch
from saliency.models.preprocessing import Preprocessing

SIZE = (32, 24)
RULES = ("rollout", "gradient-rollout", "chefer")  # of attention alone


class Mobile(nn.Sequential):
    """SiLU and depthwise convolutions."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.SiLU(), nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.SiLU(),
            nn.Conv2d(8, 16, 1), nn.ReLU6(), nn.AvgPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Dropout(0.5), nn.Linear(16, 5),
        )  # fmt: skip


class Excited(nn.Module):
    """Squeeze and excitation, dilation, and a pool that rounds up."""

    def __init__(self):
        super().__init__()
        self.first, self.down, self.up = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1)
        self.wide, self.last = nn.Conv2d(8, 8, 3, padding=2, dilation=2), nn.Linear(8 * 8 * 6, 4)

    def forward(self, x):
        y = torch.relu(self.first(x))
        y = y * torch.sigmoid(self.up(torch.relu(self.down(y.mean((2, 3), keepdim=True)))))
        y = nn.functional.max_pool2d(nn.functional.hardswish(self.wide(y)), 4, 4, ceil_mode=True)
        return self.last(y.flatten(1))


class Transformer(nn.Module):
    """A ViT of two blocks with a class token."""

    def __init__(self, width: int = 16):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.places = nn.Parameter(0.1 * torch.randn(1, 13, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 2, 32, 0.1, "gelu", batch_first=True, norm_first=True) for _ in range(2)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 3)

    def forward(self, x):
        y = self.patches(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.token.expand(len(y), -1, -1), y], 1) + self.places
        for block in self.blocks:
            y = block(y)
        return self.head(self.norm(y)[:, 0])


@pytest.mark.parametrize("kind", [Mobile, Excited, Transformer])
def test_modules(kind, rng):
    torch.manual_seed(0)
    module = kind()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    net = from_torch(module, size=SIZE, preprocess=Preprocessing(SIZE))
    assert module.training, "the module stays as it was"
    x = rng.normal(size=(2, *SIZE, 3)).astype(np.float32)
    inputs = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    logits = module.eval()(inputs)
    logits[:, 1].sum().backward()
    logits = logits.detach().numpy()
    assert_allclose(net(x), logits, atol=1e-4 * np.abs(logits).max())
    gradient = inputs.grad.numpy().transpose(0, 2, 3, 1)
    assert_allclose(gradient_maps(net, x, target=1, aggregate="signed"), gradient, atol=1e-4 * np.abs(gradient).max())
    found = [
        occlusion_maps(net, x, patch=(9, 7), stride=(5, 6), target=1, execution=Execution(e)).scores
        for e in ("dense", "incremental")
    ]
    assert_allclose(found[1], found[0], atol=1e-4 * np.abs(found[0]).max())
    assert np.isfinite(grad_cam(net, x)).all()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert_allclose(net(x), logits, atol=1e-4 * np.abs(logits).max(), err_msg="the weights are the network's own")


class Attention(nn.Module):
    """One block's attention in the ways in which it is written, the same weights in each."""

    def __init__(self, kind: str, width: int = 12, heads: int = 3):
        super().__init__()
        self.kind, self.heads, self.norm = kind, heads, nn.LayerNorm(width)
        self.all = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x):
        y = self.norm(x)
        if self.kind == "module":
            return x + self.all(y, y, y, need_weights=False)[0]
        n, t, width = x.shape
        each = width // self.heads
        q, k, v = functional.linear(y, self.all.in_proj_weight, self.all.in_proj_bias).chunk(3, -1)
        if self.kind == "einsum":
            q, k, v = (z.reshape(n, t, self.heads, each) for z in (q, k, v))
            found = functional.dropout((torch.einsum("nihd,njhd->nhij", q, k) * each**-0.5).softmax(-1), 0.1, False)
            return x + self.all.out_proj(torch.einsum("nhij,njhd->nihd", found, v).reshape(n, t, width))
        q, k, v = (z.reshape(n, t, self.heads, each).transpose(1, 2) for z in (q, k, v))
        # heads beside images, as the first codes had them
        q, k, v = (z.reshape(n * self.heads, t, each) for z in (q, k, v))
        found = torch.softmax(torch.bmm(q, k.transpose(1, 2)) / each**0.5, -1)
        y = torch.bmm(found, v).reshape(n, self.heads, t, each)
        return x + self.all.out_proj(y.transpose(1, 2).reshape(n, t, width))


class Written(nn.Module):
    """Two blocks, a class token and two registers before the patches of an image that is not square."""

    def __init__(self, kind: str, width: int = 12):
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.first = nn.Parameter(torch.randn(1, 3, width))
        self.places = nn.Parameter(torch.randn(1, 3 + 3 * 5, width))
        self.blocks = nn.Sequential(Attention(kind), Attention(kind))
        self.head = nn.Linear(width, 4)

    def forward(self, x):
        y = self.patches(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.first.expand(len(y), -1, -1), y], 1) + self.places
        return self.head(self.blocks(y)[:, 0])


def test_attention_is_seen_however_it_is_written(rng):
    """The same maps from every writing, and the class token's attention head by head."""
    x = rng.normal(size=(1, 24, 40, 3)).astype(np.float32)
    found = {}
    for kind in ("module", "einsum", "beside"):
        net = from_torch(Written(kind), size=(24, 40), preprocess=Preprocessing((24, 40)))
        assert (len(net.architecture.attentions), patches(net.architecture)) == (2, (3, 3, 5)), kind
        own = [attention_maps(net, x, rule, target=1, resize=False) for rule in RULES]
        found[kind] = np.concatenate([*own, class_attention_maps(net, x, resize=False)[0]])
        assert found[kind].shape == (len(RULES) + 3, 3, 5) and (np.ptp(found[kind], axis=(1, 2)) > 0).all()
        assert_allclose(found[kind], found["module"], atol=1e-4 * found[kind].max())


def test_the_transformers_default_layer_is_the_last_that_attention_reads_and_all_passes():
    net = from_torch(Transformer(), size=SIZE, preprocess=Preprocessing(SIZE))
    assert net.architecture.gestalt_layer == "blocks.0.Add_1"


def test_refusals():
    class Branching(nn.Module):
        def forward(self, x):
            return [x]

    class Named(nn.Module):
        def forward(self, x):
            return {"logits": x.mean((2, 3))}

    for arguments, message in (
        ((np.zeros(3),), "must be a torch.nn.Module"),
        ((Branching(),), "Branching must give one tensor of logits, not list"),
        ((Named(),), "Named must give one tensor of logits, not dict"),
    ):
        with pytest.raises(InputError, match=message):
            from_torch(*arguments, size=SIZE)
