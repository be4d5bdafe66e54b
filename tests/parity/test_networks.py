"""Our networks against the same ones in torch: checkpoints, every layer's activations, and input gradients."""

from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from saliency.maps.gradient import gradient_maps
from saliency.models import weights
from saliency.models.zoo.alexnet import alexnet, alexnet_2012
from saliency.models.zoo.resnet import resnet50, resnet50_v1
from saliency.models.zoo.squeezenet import squeezenet1_1
from saliency.models.zoo.vgg import vgg16, vgg16_bn
from tests.parity.torch_networks import AlexNet, AlexNet2012, ResNet, SqueezeNet, Vgg, settled

BLOCKS = ((4, 6), (8,), (6, 10))
SIZE = (34, 42)
FIRES = ((4, 6), None, (6, 8), (4, 8))
WIDTHS = (4, 6, 8, 6, 4)
STAGES = {"widths": (4, 6, 8), "blocks": (1, 2, 1)}
# name: our small network, the same in torch, image size
NETWORKS = {
    "vgg16": (partial(vgg16, BLOCKS, 12, size=SIZE), lambda: Vgg(BLOCKS, 12, 7, SIZE), SIZE),
    "vgg16_bn": (partial(vgg16_bn, BLOCKS, 12, size=SIZE), lambda: Vgg(BLOCKS, 12, 7, SIZE, norm=True), SIZE),
    "alexnet": (partial(alexnet, WIDTHS, 12, size=(90, 110)), lambda: AlexNet(WIDTHS, 12, 7, 1 * 2), (90, 110)),
    "alexnet_2012": (
        partial(alexnet_2012, WIDTHS, 12, size=(91, 115)), lambda: AlexNet2012(WIDTHS, 12, 7, 2 * 3), (91, 115)
    ),
    "squeezenet1_1": (partial(squeezenet1_1, 8, FIRES), lambda: SqueezeNet(8, FIRES, 7), (41, 56)),
    "resnet50": (partial(resnet50, **STAGES), lambda: ResNet(**STAGES, classes=7), (41, 56)),
}  # fmt: skip


def close(ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> None:
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


def channels_last(activation: torch.Tensor) -> np.ndarray:
    array = activation.detach().numpy()
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def images(size: tuple[int, int], n: int = 3) -> tuple[np.ndarray, torch.Tensor]:
    x = np.random.default_rng(1).normal(size=(n, *size, 3)).astype(np.float32)
    return x, torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).requires_grad_()


@pytest.fixture(params=NETWORKS)
def pair(request, monkeypatch, tmp_path):
    """One of our networks, loaded from a checkpoint that torch wrote, its twin in torch, and an image size."""
    name = request.param
    build, twin, size = NETWORKS[name]
    monkeypatch.setitem(weights.ARCHITECTURES, name, build)
    model = settled(twin())
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    return weights.load_network(name, tmp_path / "model.safetensors"), model, size


def test_every_layer(pair):
    net, model, size = pair
    x, torch_x = images(size)
    theirs = model(torch_x)
    ours = net.architecture.activations(net.weights, x)
    compared = [name for name in net.layers if name in theirs]
    assert {*net.layers} - {*compared} <= {"flatten", *(name for name in net.layers if name.endswith("_concat"))}
    for name in compared:
        close(np.asarray(ours[name]), channels_last(theirs[name]), 1e-5)
    close(np.asarray(net(x)), channels_last(theirs[net.architecture.last]), 1e-5)


def test_input_gradients(pair):
    """Of a class logit (SqueezeNet's also before its last ReLU) and of the Gestalt total."""
    net, model, size = pair
    x, torch_x = images(size)
    targets = [0, 3, 6]
    theirs = model(torch_x)
    totals = {
        "logit": theirs[net.architecture.last][range(3), targets].sum(),
        "gestalt": theirs[net.architecture.gestalt_layer].mean((1, 2, 3)).sum(),
    }
    if net.architecture.logit_bypass:
        totals["logit_before_relu"] = theirs["conv10"].mean((2, 3))[range(3), targets].sum()
    for score, total in totals.items():
        (gradient,) = torch.autograd.grad(total, torch_x, retain_graph=True)
        ours = gradient_maps(net, x, score=score, target=targets, aggregate="signed")
        close(ours, channels_last(gradient), 1e-4)


def test_timm_names(monkeypatch, tmp_path):
    """timm keeps the first two dense layers as convolutions, under names of its own."""
    build, twin, size = NETWORKS["vgg16"]
    monkeypatch.setitem(weights.ARCHITECTURES, "vgg16", build)
    model = settled(twin())
    state = {}
    for name, tensor in model.state_dict().items():
        module, _, part = name.rpartition(".")
        if module == "classifier.0" and part == "weight":
            tensor = tensor.reshape(12, 10, 4, 5)
        elif module == "classifier.3" and part == "weight":
            tensor = tensor[..., None, None]
        head = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2", "classifier.6": "head.fc"}
        state[f"{head.get(module, module)}.{part}"] = tensor.contiguous()
    save_file(state, tmp_path / "timm.safetensors")
    net = weights.load_network("vgg16", tmp_path / "timm.safetensors")
    assert net.provenance["names"] == "timm"
    x, torch_x = images(size)
    close(np.asarray(net(x)), channels_last(model(torch_x)["fc8"]), 1e-5)


def test_keras_vgg(monkeypatch, tmp_path):
    """A legacy h5: HWIO kernels, fc1 trained on a height, width, channel flatten."""
    build, twin, size = NETWORKS["vgg16"]
    monkeypatch.setitem(weights.ARCHITECTURES, "vgg16", build)
    model = settled(twin())
    convs = [module for module in model.features if isinstance(module, nn.Conv2d)]
    names = [f"block{i}_conv{j}" for i, block in enumerate(BLOCKS, 1) for j in range(1, len(block) + 1)]
    with h5py.File(tmp_path / "vgg16.h5", "w") as file:
        for name, conv in zip(names, convs):
            file[f"{name}/{name}_W_1:0"] = conv.weight.detach().permute(2, 3, 1, 0)
            file[f"{name}/{name}_b_1:0"] = conv.bias.detach()
        for name, index in (("fc1", 0), ("fc2", 3), ("predictions", 6)):
            kernel = model.classifier[index].weight.detach()
            if index == 0:
                kernel = kernel.reshape(12, 10, 4, 5).permute(0, 2, 3, 1).reshape(12, -1)
            file[f"{name}/{name}_W_1:0"] = kernel.T
            file[f"{name}/{name}_b_1:0"] = model.classifier[index].bias.detach()
        file.create_group("block1_pool")
    net = weights.load_network("vgg16", tmp_path / "vgg16.h5")
    assert net.preprocess.order == "bgr"
    x, torch_x = images(size)
    close(np.asarray(net(x)), channels_last(model(torch_x)["fc8"]), 1e-5)


@pytest.mark.parametrize("root", ["", "model_weights/"])
def test_keras_resnet(monkeypatch, tmp_path, root):
    """Keras's ResNet50 has its strides on the 1x1 convolutions, biases in front of its norms, and another epsilon."""
    monkeypatch.setitem(weights.ARCHITECTURES, "resnet50_v1", partial(resnet50_v1, **STAGES))
    model = settled(ResNet(**STAGES, classes=7, stride_at=1))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1.001e-5
    write_keras_resnet(tmp_path / "resnet50.h5", model, root)
    x, torch_x = images((41, 56))
    for name in ("resnet50", "resnet50_v1"):
        net = weights.load_network(name, tmp_path / "resnet50.h5")
        assert net.name == "resnet50_v1"
        close(np.asarray(net(x)), channels_last(model(torch_x)["fc"]), 1e-5)


def write_keras_resnet(path: Path, model: nn.Module, root: str) -> None:
    bias = 0.3

    def write(name: str, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        """The convolution's bias is taken off by the norm's mean again, so the function stays the torch model's."""
        tensors = {
            f"{name}_conv/kernel:0": conv.weight.permute(2, 3, 1, 0),
            f"{name}_conv/bias:0": torch.full((conv.out_channels,), bias),
            f"{name}_bn/gamma:0": norm.weight,
            f"{name}_bn/beta:0": norm.bias,
            f"{name}_bn/moving_mean:0": norm.running_mean + bias,
            f"{name}_bn/moving_variance:0": norm.running_var,
        }
        for key, tensor in tensors.items():
            layer = key.partition("/")[0]
            file[f"{root}{layer}/{key}"] = tensor.detach()

    with h5py.File(path, "w") as file:
        write("conv1", model.conv1, model.bn1)
        for i, _ in enumerate(STAGES["widths"], 1):
            for j, block in enumerate(getattr(model, f"layer{i}"), 1):
                for k in (1, 2, 3):
                    write(f"conv{i + 1}_block{j}_{k}", getattr(block, f"conv{k}"), getattr(block, f"bn{k}"))
                if j == 1:
                    write(f"conv{i + 1}_block{j}_0", *block.downsample)
        file[f"{root}predictions/predictions/kernel:0"] = model.fc.weight.detach().T
        file[f"{root}predictions/predictions/bias:0"] = model.fc.bias.detach()
