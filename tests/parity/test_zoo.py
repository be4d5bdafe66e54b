"""The zoo against its originals transcribed in torch: logits and input gradients, small and at full size."""

from functools import partial

import jax
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from saliency import attention_maps, from_torch
from saliency.maps.gradient import gradient_maps
from saliency.models import weights
from saliency.models.network import Network
from saliency.models.zoo import (
    convnext,
    densenet,
    efficientnet_lite,
    inception,
    mobilenet,
    resnet,
    squeezenet,
    vgg,
    vit,
)
from saliency.models.zoo.zfnet import zfnet512
from tests.parity import torch_zoo as theirs
from tests.parity.test_networks import channels_last, close, images
from tests.parity.torch_networks import ResNet, SqueezeNet, Vgg, settled

STAGES = ((1, 3, 1, 1, 4), (2, 5, 2, 2, 6), (2, 3, 2, 3, 8), (1, 3, 1, 2, 10))
MODULES = (("3a", (4, 3, 5, 2, 3, 4)), None, ("4a", (3, 2, 4, 3, 2, 5)), None, ("5a", (2, 3, 4, 2, 3, 2)))
TRANSFORMER = {"width": 12, "depth": 3, "heads": 3, "patch": 8}
FIRES = ((4, 6), (4, 6), None, (6, 8), (4, 8))
WIDE = (4, 6, 8, 6, 4)
# name: our small network, the same in torch, image size
SMALL = {
    "efficientnet_lite0": (
        partial(efficientnet_lite.efficientnet_lite0, STAGES, (4, 12), size=(41, 54)),
        lambda: theirs.EfficientNetLite(STAGES, (4, 12), 7), (41, 54),
    ),
    "mobilenetv2": (
        partial(mobilenet.mobilenetv2, STAGES, (4, 12)), lambda: theirs.MobileNetV2(STAGES, (4, 12), 7), (41, 54)
    ),
    "densenet121": (
        partial(densenet.densenet121, (2, 3, 2), 4, 6), lambda: theirs.DenseNet((2, 3, 2), 4, 6, 7), (70, 54)
    ),
    "inception_v1": (
        partial(inception.inception_v1, (4, 5, 6), MODULES), lambda: theirs.GoogLeNet((4, 5, 6), MODULES, 7), (70, 53)
    ),
    "convnext_tiny": (
        partial(convnext.convnext_tiny, (6, 8), (1, 2)), lambda: theirs.ConvNeXt((6, 8), (1, 2), 7), (41, 54)
    ),
    "vit_small": (
        partial(vit.vit, **TRANSFORMER, size=(24, 40)),
        lambda: theirs.TimmViT(**TRANSFORMER, classes=7, size=(24, 40)), (24, 40),
    ),
    "vit_base": (
        partial(vit.vit, **TRANSFORMER, size=(24, 40), name="vit_base"),
        lambda: theirs.TorchvisionViT(**TRANSFORMER, classes=7, size=(24, 40)), (24, 40),
    ),
    "resnet18": (partial(resnet.resnet18, (4, 6), (2, 1)), lambda: theirs.BasicResNet((4, 6), (2, 1), 7), (41, 54)),
    "squeezenet1_0": (
        partial(squeezenet.squeezenet1_0, 8, FIRES), lambda: SevenSqueeze(8, FIRES, 7), (41, 56)
    ),
    "zfnet512": (
        partial(zfnet512, WIDE, (12, 9), size=(70, 102)), lambda: theirs.ZfNet(WIDE, (12, 9), 7, 1 * 2), (70, 102)
    ),
}  # fmt: skip


class SevenSqueeze(nn.Module):
    """SqueezeNet 1.0: a 7x7 convolution first."""

    def __init__(self, stem: int, fires, classes: int):
        super().__init__()
        whole = SqueezeNet(stem, fires, classes)
        self.features, self.classifier = whole.features, whole.classifier
        self.features[0] = nn.Conv2d(3, stem, 7, 2)
        self.whole = [whole]

    def forward(self, x):
        return self.whole[0](x)["pool10"]


def published(name: str, model: nn.Module) -> dict:
    """Its tensors under the names that files have."""
    if name == "zfnet512":
        parts = {"weight": "w_0", "bias": "b_0"}
        tensors = model.state_dict().items()
        return {f"gpu_0/{key.split('.')[0]}_{parts[key.split('.')[1]]}": value for key, value in tensors}
    return model.state_dict()


def loaded(name: str, build, model: nn.Module, monkeypatch, folder):
    monkeypatch.setitem(weights.ARCHITECTURES, name, build)
    save_file(published(name, model), folder / "model.safetensors")
    return weights.load_network(name, folder / "model.safetensors")


@pytest.mark.parametrize("name", SMALL)
def test_small(name, monkeypatch, tmp_path):
    """Logits, and the input gradients of three classes."""
    torch.manual_seed(0)
    build, twin, size = SMALL[name]
    model = settled(twin())
    net = loaded(name, build, model, monkeypatch, tmp_path)
    x, torch_x = images(size)
    logits = model(torch_x)
    close(np.asarray(net(x)), channels_last(logits), 1e-5)
    (gradient,) = torch.autograd.grad(logits[range(3), [0, 3, 6]].sum(), torch_x)
    close(gradient_maps(net, x, target=[0, 3, 6], aggregate="signed"), channels_last(gradient), 1e-4)


FULL = {
    "efficientnet_lite0": lambda: theirs.EfficientNetLite(efficientnet_lite.STAGES, (32, 1280), 1000),
    "efficientnet_lite4": lambda: theirs.EfficientNetLite(efficientnet_lite.scaled(1.4, 1.8), (32, 1280), 1000),
    "mobilenetv2": lambda: theirs.MobileNetV2(mobilenet.STAGES, (32, 1280), 1000),
    "densenet121": lambda: theirs.DenseNet((6, 12, 24, 16), 32, 64, 1000),
    "inception_v1": lambda: theirs.GoogLeNet((64, 64, 192), inception.MODULES, 1000),
    "convnext_tiny": lambda: theirs.ConvNeXt((96, 192, 384, 768), (3, 3, 9, 3), 1000),
    "vit_small": lambda: theirs.TimmViT(384, 12, 6, 16, 1000, (224, 224)),
    "vit_base": lambda: theirs.TorchvisionViT(768, 12, 12, 16, 1000, (224, 224)),
    "resnet34": lambda: theirs.BasicResNet((64, 128, 256, 512), (3, 4, 6, 3), 1000),
    "resnet101": lambda: AsLogits(ResNet((64, 128, 256, 512), (3, 4, 23, 3), 1000), "fc"),
    "vgg11": lambda: AsLogits(Vgg(vgg.blocks_of(1, 1, 2, 2, 2), 4096, 1000, (224, 224)), "fc8"),
    "squeezenet1_0": lambda: SevenSqueeze(96, squeezenet.FIRES_1_0, 1000),
    "zfnet512": lambda: theirs.ZfNet((96, 256, 512, 1024, 512), (4096, 1024), 1000, 36),
}


class AsLogits(nn.Module):
    """A network that gives every activation."""

    def __init__(self, whole: nn.Module, last: str):
        super().__init__()
        self.whole, self.last = [whole], last
        for key, module in whole.named_children():
            setattr(self, key, module)

    def forward(self, x):
        return self.whole[0](x)[self.last]


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_full_size(name, tmp_path):
    torch.manual_seed(0)
    model = settled(FULL[name]())
    save_file(published(name, model), tmp_path / "model.safetensors")
    net = weights.load_network(name, tmp_path / "model.safetensors")
    x, torch_x = images(net.preprocess.size, 1)
    with torch.no_grad():  # in float64: float32 rounds a full 1e-4 away in deep random networks, torch too
        close(np.asarray(net(x)), channels_last(model.double()(torch_x.double())), 1e-4)


def test_positions_are_brought_to_another_size_as_timm_does(monkeypatch, tmp_path):
    """Bicubic, antialiased; to a size that is not square."""
    torch.manual_seed(0)
    build, twin, _ = SMALL["vit_small"]
    model = settled(twin())
    loaded("vit_small", build, model, monkeypatch, tmp_path)
    net = weights.load_network("vit_small", tmp_path / "model.safetensors", size=(40, 32))
    x, torch_x = images((40, 32))
    first, grid = model.pos_embed[:, :1], model.pos_embed[:, 1:].reshape(1, 3, 5, -1).permute(0, 3, 1, 2)
    grid = functional.interpolate(grid, (5, 4), mode="bicubic", antialias=True, align_corners=False)
    positions = torch.cat([first, grid.permute(0, 2, 3, 1).reshape(1, 20, -1)], 1)
    close(np.asarray(net(x)), channels_last(model(torch_x, positions)), 1e-4)


def rolled(blocks: list[torch.Tensor]) -> torch.Tensor:
    """The class token's row of attention rollout, as Gildenblat's code has it."""
    found = torch.eye(blocks[0].shape[-1])
    for block in blocks:
        step = block.clamp(min=0) + torch.eye(len(found))
        found = step / step.sum(-1, keepdim=True) @ found
    return found[0, 1:]


def test_attention_and_its_gradients(monkeypatch, tmp_path):
    """Rollout, gradient rollout and Chefer et al.'s rule from torch's own attention and its gradients; and the same
    maps of the model as it comes from torch, where attention has to be recognised."""
    torch.manual_seed(0)
    build, twin, size = SMALL["vit_small"]
    model = settled(twin())
    net = loaded("vit_small", build, model, monkeypatch, tmp_path)
    foreign = from_torch(model, size=size)
    foreign.preprocess = net.preprocess
    assert len(foreign.architecture.attentions) == TRANSFORMER["depth"]
    x, torch_x = images(size, 1)
    model(torch_x)[0, 2].backward()
    attention = [block.attn.attention[0].detach() for block in model.blocks]
    product = [a * block.attn.attention.grad[0] for a, block in zip(attention, model.blocks)]
    relevance = torch.eye(16)
    for block in product:
        relevance = relevance + block.clamp(min=0).mean(0) @ relevance
    expected = {
        "rollout": rolled([block.mean(0) for block in attention]),
        "gradient-rollout": rolled([block.mean(0) for block in product]),
        "chefer": relevance[0, 1:],
    }
    for rule, row in expected.items():
        for each in (net, foreign):
            found = attention_maps(each, x, rule, target=2, resize=False)
            close(found[0], row.reshape(3, 5).numpy(), 1e-4)


def test_the_first_files_of_torchvision(monkeypatch, tmp_path):
    """Names with dots in them, and the transformer's other names of its dense layers."""
    torch.manual_seed(0)
    for name, other in (("densenet121", {"norm1": "norm.1", "norm2": "norm.2", "conv1": "conv.1", "conv2": "conv.2"}),
                        ("vit_base", {"mlp.0": "mlp.linear_1", "mlp.3": "mlp.linear_2"})):  # fmt: skip
        build, twin, size = SMALL[name]
        model = settled(twin())
        monkeypatch.setitem(weights.ARCHITECTURES, name, build)
        state = {}
        for key, value in model.state_dict().items():
            for mine, first in other.items():
                key = key.replace(f".{mine}.", f".{first}.")
            state[key] = value
        save_file(state, tmp_path / f"{name}.safetensors")
        net = weights.load_network(name, tmp_path / f"{name}.safetensors")
        assert net.provenance["names"] == "torchvision's first"
        x, torch_x = images(size)
        close(np.asarray(net(x)), channels_last(model(torch_x)), 1e-5)


@pytest.mark.slow
def test_features_of_vgg16(shared):
    """The published convolutions, in float16: Gestalt maps of 20 photos against a trunk in torch.

    In float64 all pixels of all 20 agree to 1e-3 of their map's largest value (they agree to 6e-8, where float32 stores
    them). In float32 most do, not all: both multiply in full float32, but add up in another order, so that somewhere in
    thirteen layers a ReLU's input near 0, or a tie in a pool, falls to the other side, and the gradient through it
    moves by a share of itself, not by a rounding. The median photo agrees to 7e-4 at every pixel, the worst to 6e-3,
    with 0.3% of its pixels beyond 1e-3; torch's float32 is up to 2.2e-2 from torch's own float64, and so is ours.
    """
    from PIL import Image
    from safetensors.torch import load_file

    file = shared / "weights" / "vgg16_features_float16.safetensors"
    net = weights.load_network("vgg16", file)
    trunk = Vgg(vgg.BLOCKS, 1, 1, (224, 224)).features
    trunk.load_state_dict({key.removeprefix("features."): value.float() for key, value in load_file(file).items()})
    photos = sorted((shared / "data" / "voc2012_animals").rglob("*.jpg"))[:20]
    assert len(photos) == 20
    x = net.preprocess([np.asarray(Image.open(photo).convert("RGB")) for photo in photos])
    ours = gradient_maps(net, x, score="gestalt", aggregate="max")

    def by_torch(image: np.ndarray) -> np.ndarray:
        torch_x = torch.from_numpy(image[None].transpose(0, 3, 1, 2).copy()).requires_grad_()
        (gradient,) = torch.autograd.grad(trunk[:-1](torch_x).mean(), torch_x)
        return gradient[0].abs().amax(0).numpy()

    for own, image in zip(ours, x):
        theirs_now = by_torch(image)
        apart = np.abs(own - theirs_now)
        assert apart.mean() <= 1e-3 * theirs_now.mean()
        assert (apart > 1e-3 * theirs_now.max()).mean() <= 0.01
    trunk.double()
    with jax.enable_x64(True):
        exact = {layer: {k: np.asarray(v, float) for k, v in parts.items()} for layer, parts in net.weights.items()}
        net = Network(net.architecture, exact, net.preprocess)
        for image in x.astype(float):
            found = gradient_maps(net, image[None], score="gestalt", aggregate="max")[0]
            expected = by_torch(image)
            assert np.ptp(expected) > 0
            close(found, expected, 1e-6)  # of the largest value, at every pixel
