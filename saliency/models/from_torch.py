"""PyTorch modules as networks, by way of ONNX. Needs the extra `torch`."""

import copy
import io
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from saliency.errors import InputError
from saliency.models.from_jax import check_options
from saliency.models.from_onnx import network_of_model, read_model
from saliency.models.network import Network
from saliency.models.preprocessing import Preprocessing


def from_torch(
    module: Any,
    *,
    size: int | tuple[int, int],
    channels: int = 3,
    preprocess: Preprocessing | None = None,
    classes: Sequence[str] = (),
) -> Network:
    """A network of a torch module that takes images `[n, channels, h, w]` and gives logits; layers bear its paths.

    A copy of the module is put into inference mode and exported as ONNX; it stays as it is, and the network's weights
    are its own. `size` is the (height, width) of the images; `preprocess` says how photos become images (default:
    pixels 0..255 as they are). Raises InputError for what cannot be exported, and where the network differs from the
    module by more than 1e-4 of the largest output.

    >>> import saliency
    >>> import torchvision  # doctest: +SKIP
    >>> saliency.from_torch(torchvision.models.resnet18(), size=224)  # doctest: +SKIP
    """
    size = check_options(size, channels, preprocess, classes)
    if not hasattr(module, "state_dict"):
        raise InputError(f"module must be a torch.nn.Module, not {type(module).__name__}")
    try:
        import onnx
        import torch
    except ImportError as error:
        raise InputError("torch modules come in by way of ONNX; pip install 'salbox[torch]'") from error
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"module must be a torch.nn.Module, not {type(module).__name__}")
    height, width = size
    name = type(module).__name__
    with warnings.catch_warnings(), TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):  # it prints graphs
        warnings.simplefilter("ignore")  # the exporter that names nodes by their modules is said to be old
        file = Path(folder) / "module.onnx"
        try:
            ready = [p for p in module.parameters() if (p.device.type, p.dtype) == ("cpu", torch.float32)]
            # of which no copy is needed: exporting writes to none
            module = copy.deepcopy(module, {id(p): p for p in ready}).eval().to("cpu", torch.float32)
            image = torch.zeros(1, channels, height, width)
            with torch.no_grad():
                given = module(image)
            if not isinstance(given, torch.Tensor):
                raise InputError(f"{name} must give one tensor of logits, not {type(given).__name__}")
            torch.onnx.export(module, (image,), str(file), dynamo=False, opset_version=20)
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"{name} cannot be exported as ONNX: {str(error).strip().partition(chr(10))[0] or type(error).__name__}"
            ) from error
        model = read_model(onnx.load(file), name, None)

    def oracle(x: Any) -> np.ndarray:
        with torch.no_grad():
            y = module(torch.from_numpy(np.ascontiguousarray(np.asarray(x, np.float32).transpose(0, 3, 1, 2))))
        return y.numpy().reshape(len(y), -1)

    return network_of_model(
        model, name, oracle, size=(height, width), preprocess=preprocess, classes=classes, name=name.lower()
    )
