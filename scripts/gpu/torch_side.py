"""The rivals' side: our networks as torch runs them on the device. Imported only where torch is installed."""

import torch

from saliency.models.network import Network
from scripts.torch_twin import Twin


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def name_of_device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def twin_of(net: Network) -> Twin:
    """The network as class scores take it: without what a logit leaves out."""
    twin = Twin(net)
    twin.architecture = net.architecture.without(*net.architecture.logit_bypass)
    return twin.to(device())


def fast_float32(on: bool) -> None:
    """TF32 for products and convolutions, or not."""
    torch.backends.cuda.matmul.allow_tf32 = on
    torch.backends.cudnn.allow_tf32 = on


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def forget_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_bytes() -> int | None:
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
