"""Part 4: class maps by one backward pass, images a second, beside torch's autograd; from arrays on the host and back.

"device" figures leave out the way to the device and back, and all that the library does besides.
"""

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import jax
import numpy as np

from saliency.maps.gradient import gradient_maps, input_gradient, reduce_channels
from saliency.models.network import Network
from saliency.scores import Score
from scripts.gpu.common import Journal, Row, again, images, network, peak, piece, relative, timed

TARGET = 3
# the default batch first, then what shows how it grows
PLAN = (
    ("squeezenet1_1", 64), ("vgg16", 64), ("resnet50", 64), ("squeezenet1_1", 256), ("squeezenet1_1", 1),
    ("squeezenet1_1", 16), ("vgg16", 1), ("resnet50", 256), ("resnet50", 1), ("vgg16", 256), ("vgg16", 16),
)  # fmt: skip
SMALL = (("squeezenet1_1", 4), ("vgg16", 1))


def run(journal: Journal, small: bool, arguments: Sequence[str]) -> None:
    for who, share in (("ours", 0.7), ("torch", 0.95)):
        seconds = share * journal.left
        environment = {"JAX_PLATFORMS": "cpu"} if who == "torch" else {}
        ended = piece("gradient", who, [*arguments, "--seconds", f"{seconds:.0f}"], seconds + 3, **environment)
        journal.add(who=who, ended=ended or "well")
    journal.done()


def run_piece(journal: Journal, who: str, small: bool, weights: Path | None, out: Path) -> None:
    nets: dict[str, Network] = {}
    for name, batch in SMALL if small else PLAN:
        if name not in nets:
            nets[name] = network(name, small, weights)[0]
        for tf32 in (False, True) if batch == 64 or small else (False,):
            key = {"network": name, "batch": batch, "tf32": tf32}
            file = out / f"map_{name}_{batch}.npy"
            if who == "ours":
                journal.measure(key, partial(ours, nets[name], batch, tf32, file), least=8)
            elif not find_spec("torch"):
                journal.skip("torch is not installed")
                return journal.done()
            else:
                for order in ("channels_last", "contiguous"):
                    journal.measure(
                        {**key, "order": order}, partial(theirs, nets[name], batch, tf32, order, file, small)
                    )
    journal.done()


def calls(batch: int) -> int:
    """As many batches in one call as make up 64 images at least: a data set is more than one batch."""
    return max(2, 64 // batch)


def ours(net: Network, batch: int, tf32: bool, file: Path) -> Row:
    n = batch * calls(batch)
    x, targets = images(net, n), np.full(batch, TARGET, np.int32)
    seen: list[np.ndarray] = []

    def call() -> None:
        seen[:] = [gradient_maps(net, x, target=TARGET, batch=batch)]

    with jax.default_matmul_precision("tensorfloat32" if tf32 else "highest"):
        found = timed(call)
        there, weights = jax.device_put(x[:batch]), net.weights

        def alone() -> None:
            some = [
                reduce_channels(
                    input_gradient(weights, there, targets, architecture=net.architecture, score=Score()), "max"
                )
                for _ in range(4)
            ]
            jax.block_until_ready(some)

        alone()
        device = again(alone)
    if not tf32:
        np.save(file, seen[0][:1])
    return {
        **found,
        "images_s": n / found["seconds"],
        "device_images_s": 4 * batch / device["seconds"],
        "device_steady": device["steady"],
        "apart": relative(seen[0][:1], np.load(file, allow_pickle=False)),
        "peak_bytes": peak(),
    }


def theirs(net: Network, batch: int, tf32: bool, order: str, file: Path, small: bool) -> Row:
    import torch

    from scripts.gpu.torch_side import device, fast_float32, forget_peak, peak_bytes, twin_of, wait

    if not torch.cuda.is_available() and not small:
        raise RuntimeError("torch sees no GPU")
    fast_float32(tf32)
    torch.backends.cudnn.benchmark = True
    twin, n = twin_of(net), batch * calls(batch)
    memory = torch.channels_last if order == "channels_last" else torch.contiguous_format
    x = images(net, n)
    seen: list[np.ndarray] = []

    def maps(inputs: torch.Tensor) -> torch.Tensor:
        inputs = inputs.requires_grad_()
        total = twin(inputs)[:, TARGET].sum()
        return torch.autograd.grad(total, inputs)[0].abs().amax(1)

    def call() -> None:
        seen.clear()
        for i in range(0, n, batch):
            inputs = (
                torch.from_numpy(x[i : i + batch]).permute(0, 3, 1, 2).to(device()).contiguous(memory_format=memory)
            )
            seen.append(maps(inputs).cpu().numpy())

    forget_peak()
    found = timed(call)
    there = torch.from_numpy(x[:batch]).permute(0, 3, 1, 2).to(device()).contiguous(memory_format=memory)

    def alone() -> None:
        for _ in range(4):
            maps(there.detach())
        wait()

    alone()
    on_device = again(alone)
    return {
        **found,
        "images_s": n / found["seconds"],
        "device_images_s": 4 * batch / on_device["seconds"],
        "device_steady": on_device["steady"],
        "apart": relative(seen[0][:1], np.load(file, allow_pickle=False)) if file.exists() else None,
        "peak_bytes": peak_bytes(),
    }
