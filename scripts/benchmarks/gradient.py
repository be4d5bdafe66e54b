"""How long a map takes by one backward pass, and what of it is the forward pass: JAX beside torch and captum.

Calls are interleaved in one process, so that a busy machine slows all alike: one process pinned to one core, whose
calls are counted in CPU time, and one with all cores, by the clock. Ratios travel between machines, times do not.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from tqdm import tqdm

from saliency import report
from saliency.errors import InputError
from saliency.maps.gradient import gradient_maps
from saliency.models.network import Network
from saliency.models.weights import ARCHITECTURES, random_network
from saliency.scores import logits
from scripts import cli

Timed = dict[str, list[float]]


@dataclass(frozen=True)
class Options:
    """Time the forward pass, the class map and the Gestalt map of networks with random weights."""

    networks: tuple[str, ...] = ("scenes_cnn", "squeezenet1_1", "alexnet", "resnet50", "vgg16")
    batch: int = 1
    """Images a call; ours are taken one by one on a CPU whatever this is."""
    repeats: int = 9
    """Calls of each kind, after one that compiles; the median counts."""
    out: Path = Path("runs/benchmark/gradient.json")
    seed: int = 0
    quiet: bool = False


def main(options: Options) -> int:
    unknown = [name for name in options.networks if name not in ARCHITECTURES]
    if unknown:
        raise InputError(f"unknown network {unknown[0]!r}; choose from {', '.join(ARCHITECTURES)}")
    if options.batch < 1 or options.repeats < 1:
        raise InputError("batch and repeats must be at least 1")
    cores = sorted(os.sched_getaffinity(0))
    settings = [(name, threads) for name in options.networks for threads in sorted({1, len(cores)})]
    spawn = multiprocessing.get_context("spawn")
    results = []
    for name, threads in tqdm(settings, disable=cli.silent(options.quiet)):
        with spawn.Pool(1, _pin, (cores[-threads:],)) as pool:
            seconds = pool.apply(measured, (name, options.batch, options.repeats, options.seed, threads))
        results.append({"network": name, "threads": threads, **summary(seconds)})
    origin = report.record(options, options.seed, "random weights and images", cli.command())
    rivals = {package: version(package) for package in ("torch", "captum") if find_spec(package)}
    report.write_json(options.out, {**origin, "rivals": rivals, "cpu": _cpu(), "results": results})
    for result in results:
        ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in result["ratios"].items())
        print(f"{result['network']}, {result['threads']} thread{'s' * (result['threads'] > 1)}: {ratios}")
    print(f"wrote {options.out}")
    return 0


def measured(name: str, batch: int, repeats: int, seed: int, threads: int) -> Timed:
    """Seconds of each call of each contender, the contenders taking turns; CPU time where there is one thread."""
    clock = time.process_time if threads == 1 else time.perf_counter
    net = random_network(ARCHITECTURES[name](), seed)
    x = np.random.default_rng(seed).normal(size=(batch, *net.architecture.size, 3)).astype(np.float32)
    contenders = ours(net, x)
    if find_spec("torch"):
        contenders |= theirs(net, x, threads)
    seconds: Timed = {contender: [] for contender in contenders}
    for repeat in range(repeats + 1):
        for contender, call in contenders.items():
            start = clock()
            call()
            if repeat:
                seconds[contender].append(clock() - start)
    return seconds


def ours(net: Network, x: np.ndarray) -> dict[str, Callable[[], object]]:
    return {
        "jax forward": lambda: logits(net, x),
        "jax class map": lambda: gradient_maps(net, x),
        "jax gestalt map": lambda: gradient_maps(net, x, score="gestalt"),
    }


def theirs(net: Network, x: np.ndarray, threads: int) -> dict[str, Callable[[], object]]:
    """The same in torch, channels_last, by hand and by captum where that is installed."""
    import torch

    from scripts.torch_twin import Twin, channels_last

    torch.set_num_threads(threads)
    twin, images = Twin(net), channels_last(x)

    def forward() -> np.ndarray:
        with torch.no_grad():
            return twin(images).numpy()

    def class_map() -> np.ndarray:
        inputs = images.detach().requires_grad_()
        total = twin(inputs).amax(1).sum()
        return torch.autograd.grad(total, inputs)[0].abs().amax(1).numpy()

    def gestalt_map() -> np.ndarray:
        inputs = images.detach().requires_grad_()
        total = twin.upto(inputs, net.architecture.gestalt_layer).mean((1, 2, 3)).sum()
        return torch.autograd.grad(total, inputs)[0].abs().amax(1).numpy()

    calls: dict[str, Callable[[], object]] = {
        "torch forward": forward, "torch class map": class_map, "torch gestalt map": gestalt_map
    }  # fmt: skip
    if find_spec("captum"):
        from captum.attr import Saliency

        captum = Saliency(twin)
        with torch.no_grad():
            predicted = twin(images).argmax(1)
        calls["captum class map"] = lambda: captum.attribute(images.detach().requires_grad_(), predicted)
    return calls


def summary(seconds: Timed) -> dict[str, dict[str, float]]:
    """Medians and quartiles in seconds, and the ratios that matter: medians of the rounds' own ratios."""

    def ratio(above: str, below: str) -> float:
        return statistics.median(a / b for a, b in zip(seconds[above], seconds[below]))

    pairs = [(f"{who} class map", f"{who} forward") for who in ("jax", "torch")]
    pairs += [(f"{who} gestalt map", f"{who} class map") for who in ("jax", "torch")]
    pairs += [(f"jax {what}", f"torch {what}") for what in ("forward", "class map", "gestalt map")]
    pairs += [("jax class map", "captum class map")]
    return {
        "seconds": {name: statistics.median(values) for name, values in seconds.items()},
        "spread": {name: max(values) - min(values) for name, values in seconds.items()},
        "ratios": {f"{a} / {b}": ratio(a, b) for a, b in pairs if a in seconds and b in seconds},
    }


def _pin(cores: list[int]) -> None:
    """Keep this process to these cores; set before JAX and torch make their threads."""
    os.sched_setaffinity(0, cores)


def _cpu() -> str:
    with open("/proc/cpuinfo") as file:
        return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "unknown")
