"""Class maps of images in memory: our default batch beside torch's best, and one photo with all cores."""

import statistics
import time
from typing import Any

import numpy as np

from saliency._batches import cpu_batch
from saliency._memory import keep_freed
from saliency.maps.gradient import gradient_maps
from saliency.models.weights import ARCHITECTURES, random_network

SIZES = (1, 4, 8, 16, 32)


def measured(name: str, images: int, rounds: int, threads: int, seed: int) -> dict[str, Any]:
    """Milliseconds an image of ours at its default and of torch at its best batch, the calls taking turns; and of one
    image alone."""
    keep_freed()
    import torch

    from scripts.torch_twin import Twin, channels_last

    torch.set_num_threads(threads)
    net = random_network(ARCHITECTURES[name](), seed)
    twin = Twin(net).to(memory_format=torch.channels_last).requires_grad_(False)
    x = np.random.default_rng(seed).normal(size=(images, *net.architecture.size, 3)).astype(np.float32)

    def theirs(x: np.ndarray, size: int) -> np.ndarray:
        found = []
        for first in range(0, len(x), size):
            part = channels_last(x[first : first + size]).requires_grad_()
            found.append(torch.autograd.grad(twin(part).amax(1).sum(), part)[0].abs().amax(1).numpy())
        return np.concatenate(found)

    def seconds(call: Any, *arguments: Any) -> float:
        start = time.perf_counter()
        call(*arguments)
        return time.perf_counter() - start

    tried = {}
    for size in (size for size in SIZES if size <= images):
        theirs(x[:size], size)
        tried[size] = 1000 * seconds(theirs, x, size) / images
    best = min(tried, key=lambda size: tried[size])
    apart = float(np.abs(gradient_maps(net, x) - theirs(x, best)).max())
    scale = float(np.abs(theirs(x[:1], 1)).max())
    gradient_maps(net, x[:1])
    calls: dict[str, Any] = {
        "ours": (gradient_maps, net, x), "torch": (theirs, x, best),
        "ours, one photo": (gradient_maps, net, x[:1]), "torch, one photo": (theirs, x[:1], 1),
    }  # fmt: skip
    took: dict[str, list[float]] = {who: [] for who in calls}
    for _ in range(rounds):
        for who, (call, *arguments) in calls.items():
            repeats = 3 if "one photo" in who else 1
            count = 1 if "one photo" in who else images
            took[who] += [1000 * seconds(call, *arguments) / count for _ in range(repeats)]
    architecture = net.architecture
    row: dict[str, Any] = {
        "network": name, "images": images, "apart": apart / scale,
        "batch": {"ours": cpu_batch(architecture, *architecture.size, architecture.last), "torch": best},
        "torch_tried_ms": tried, "ms": {who: statistics.median(each) for who, each in took.items()},
    }  # fmt: skip
    for what in ("", ", one photo"):
        each = [a / b for a, b in zip(took[f"ours{what}"], took[f"torch{what}"])]
        row[f"ratio{what}"] = statistics.median(each)
        row[f"ratio_spread{what}"] = [min(each), max(each)]
    return row
