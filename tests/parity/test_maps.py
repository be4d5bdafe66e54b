"""Gradient, Gestalt and Grad-CAM maps of the embedded classifier against captum, the network rebuilt in torch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam, Saliency
from torch import nn

from saliency import grad_cam, gradient_maps, load_network
from saliency.models.zoo.scenes_cnn import BLOCKS

WEIGHTS = Path(__file__).parents[2] / "data" / "scenes_cnn.safetensors"
TARGETS = [3, 0, 9]


class Scenes(nn.Module):
    """The same convolutions, pools, global maximum and dense layer, with the shipped weights."""

    def __init__(self, weights):
        super().__init__()
        trunk: list[nn.Module] = []
        for i, block in enumerate(BLOCKS, 1):
            if i > 1:
                trunk.append(nn.MaxPool2d(2))
            for j, _ in enumerate(block, 1):
                kernel = torch.from_numpy(np.array(weights[f"conv{i}_{j}"]["kernel"]).transpose(3, 2, 0, 1).copy())
                conv = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
                conv.weight.data = kernel
                conv.bias.data = torch.from_numpy(np.array(weights[f"conv{i}_{j}"]["bias"]))
                trunk += [conv, nn.ReLU()]
        self.trunk = nn.Sequential(*trunk)
        self.head = nn.Linear(96, 10)
        self.head.weight.data = torch.from_numpy(np.array(weights["logits"]["kernel"]).T.copy())
        self.head.bias.data = torch.from_numpy(np.array(weights["logits"]["bias"]))

    def forward(self, x):
        return self.head(self.trunk(x).amax((2, 3)))


@pytest.fixture(scope="module")
def net():
    if not WEIGHTS.exists():
        pytest.skip("data/scenes_cnn.safetensors is not there")
    return load_network("scenes_cnn", WEIGHTS)


@pytest.fixture(scope="module")
def model(net):
    return Scenes(net.weights).eval()


@pytest.fixture
def x(rng):
    """Not square: no dense layer holds the size."""
    return rng.normal(size=(3, 88, 104, 3)).astype(np.float32)


def torch_images(x):
    return torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).requires_grad_()


def close(ours, theirs):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()


def test_logits(net, model, x):
    close(np.asarray(net(x)), model(torch_images(x)))


def test_class_gradient(net, model, x):
    theirs = Saliency(model).attribute(torch_images(x), target=TARGETS, abs=False).permute(0, 2, 3, 1)
    close(gradient_maps(net, x, target=TARGETS, aggregate="signed"), theirs)
    close(gradient_maps(net, x, target=TARGETS, aggregate="max"), theirs.abs().amax(-1))
    close(gradient_maps(net, x, target=TARGETS, aggregate="mean"), theirs.abs().mean(-1))


def test_gestalt_gradient(net, model, x):
    total = Saliency(lambda images: model.trunk(images).mean((1, 2, 3)))
    theirs = total.attribute(torch_images(x), abs=False).permute(0, 2, 3, 1)
    close(gradient_maps(net, x, score="gestalt", aggregate="signed"), theirs)


def test_grad_cam(net, model, x):
    theirs = LayerGradCam(model, model.trunk[-1]).attribute(torch_images(x), target=TARGETS, relu_attributions=True)
    close(grad_cam(net, x, target=TARGETS, resize=False), theirs[:, 0])
