"""What the tests here compute: large on an accelerator, small on a CPU, where only their lines are tried."""

import os
from collections.abc import Collection
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from localization.datasets.scenes import scenes
from saliency import load_network
from saliency.devices import on_cpu
from saliency.methods import ATTENTION, METHODS, Options
from saliency.models.network import Network
from saliency.models.weights import ARCHITECTURES, random_network
from saliency.models.zoo.resnet import resnet50
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.models.zoo.squeezenet import squeezenet1_1
from saliency.models.zoo.vgg import vgg16
from saliency.models.zoo.vit import vit

SMALL = on_cpu() or bool(os.environ.get("SALBOX_GPU_SMALL"))
QUICK = Options(patch=24, stride=24, samples=5, steps=10, masks=32, cell=32)
FEW = Options(patch=16, stride=12, samples=2, steps=3, masks=8, cell=16)
SMALL_NETWORKS = {
    "squeezenet1_1": squeezenet1_1(4, ((2, 3), None, (3, 4)), classes=3, size=(38, 45)),
    "vgg16": vgg16(((4,), (6,), (5,)), hidden=7, classes=3, size=(32, 26)),
    "resnet50": resnet50((2, 3), (1, 2), classes=3, size=(40, 33)),
}


def small_form() -> bool:
    """As the process that tests sees it, also for the process on the CPU that it starts."""
    return os.environ["SALBOX_GPU_FORM"] == "small" if "SALBOX_GPU_FORM" in os.environ else SMALL


def menu_problem(
    dtype: type = np.float32, *, attention: bool = False
) -> tuple[Network, np.ndarray, np.ndarray, Options]:
    """Network, images, targets and options for every method of the menu, or for those that read a transformer's
    attention; for float64, x64 must be on."""
    if attention:
        sizes = (12, 2, 3, 8, 3, (40, 32)) if small_form() else (192, 4, 3, 16, 10, (224, 160))
        net = random_network(vit(*sizes), 0, dtype)
        x = np.random.default_rng(0).normal(size=(2, *net.architecture.size, 3)).astype(np.float32)
        return net, x.astype(dtype), np.array([1, 2]), FEW
    if small_form():
        net = random_network(scenes_cnn(((4,), (6, 5)), classes=3, size=(40, 36)), 0, dtype)
        x = np.random.default_rng(0).normal(size=(2, 40, 36, 3)).astype(np.float32)
        return net, x.astype(dtype), np.array([1, 2]), FEW
    net = load_network("scenes_cnn")
    x, targets = net.preprocess(list(scenes("test", 4).images)), np.array([0, 3, 5, 9])
    weights = {layer: {k: jnp.asarray(v, dtype) for k, v in own.items()} for layer, own in net.weights.items()}
    return Network(net.architecture, weights, net.preprocess), x.astype(dtype), targets, QUICK


def in_double() -> Collection[str]:
    """The methods whose maps the CPU makes in float64 too. In the small form, whose other side is a CPU as well, these
    are a few and the transformers': tests/test_inputs.py has all others in float64."""
    return ("gradient-max", "occlusion", *ATTENTION) if small_form() else METHODS


def engine_problem(name: str) -> tuple[Network, np.ndarray, dict[str, int], str]:
    """Network, one image, windows; and what the weights are."""
    if small_form():
        net = random_network(SMALL_NETWORKS[name])
        x = np.random.default_rng(0).normal(size=(1, *net.architecture.size, 3)).astype(np.float32)
        return net, x, {"patch": 9, "stride": 6}, "random"
    file = os.environ.get("SALBOX_SQUEEZENET") or _shared()
    real = name == "squeezenet1_1" and file is not None
    net = load_network(name, file) if real else random_network(ARCHITECTURES[name]())
    x = np.random.default_rng(0).normal(size=(1, *net.architecture.size, 3)).astype(np.float32)
    return net, x, {"patch": 32, "stride": 16}, "real" if real else "random"


def _shared() -> Path | None:
    folder = os.environ.get("SALBOX_SHARED")
    file = Path(folder) / "weights" / "squeezenet1_1.safetensors" if folder else None
    return file if file is not None and file.is_file() else None
