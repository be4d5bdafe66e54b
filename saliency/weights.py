"""Checkpoints in and out, and the preprocessing that belongs to them.

Our own format is a safetensors file with tensors named `layer.kernel` and `layer.bias`, NHWC layouts, and
the architecture's name, the preprocessing and the class names as JSON in its header.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from saliency.errors import InputError
from saliency.files import written
from saliency.networks.alexnet import alexnet, alexnet_2012
from saliency.networks.architecture import Architecture
from saliency.networks.network import Network
from saliency.networks.resnet import resnet50, resnet50_v1
from saliency.networks.scenes_cnn import scenes_cnn
from saliency.networks.squeezenet import squeezenet1_1
from saliency.networks.vgg import vgg16, vgg16_bn
from saliency.preprocessing import from_record

ARCHITECTURES: dict[str, Callable[..., Architecture]] = {
    "scenes_cnn": scenes_cnn,
    "squeezenet1_1": squeezenet1_1,
    "vgg16": vgg16,
    "vgg16_bn": vgg16_bn,
    "alexnet": alexnet,
    "alexnet_2012": alexnet_2012,
    "resnet50": resnet50,
    "resnet50_v1": resnet50_v1,
}
_EMBEDDED = Path(__file__).resolve().parent.parent / "data"


def load_network(name: str, weights: str | Path | None = None) -> Network:
    """A classifier by name: "scenes_cnn" comes with weights, the others need a file.

    Raises InputError for an unknown name, and for a file that is missing, unreadable or does not fit.
    """
    if name not in ARCHITECTURES:
        raise InputError(f"unknown network {name!r}; choose one of {', '.join(ARCHITECTURES)}")
    path = Path(weights) if weights else _EMBEDDED / f"{name}.safetensors"
    return _load_own(ARCHITECTURES[name](), path)


def save_network(net: Network, path: Path | str, provenance: Mapping[str, object]) -> None:
    """Write a network in our own format, and its provenance beside it as JSON; neither is ever left half-written."""
    path = Path(path)
    tensors = {
        f"{layer}.{name}": np.ascontiguousarray(value)
        for layer, parameters in net.weights.items()
        for name, value in parameters.items()
    }
    header = {
        "architecture": net.name,
        "preprocessing": json.dumps(net.preprocess.record()),
        "classes": json.dumps(net.classes),
    }
    with written(path) as temporary:
        save_file(tensors, temporary, metadata=header)
    with written(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(provenance, indent=2) + "\n")


def _load_own(architecture: Architecture, path: Path) -> Network:
    try:
        with safe_open(path, "numpy") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from error
    weights: dict[str, dict[str, np.ndarray]] = {}
    for name, value in tensors.items():
        layer, _, parameter = name.rpartition(".")
        weights.setdefault(layer, {})[parameter] = value
    return Network(
        architecture,
        weights,
        from_record(json.loads(header["preprocessing"])),
        classes=json.loads(header.get("classes", "[]")),
        provenance={"file": path.name},
    )
