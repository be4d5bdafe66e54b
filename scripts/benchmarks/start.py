"""The first five minutes, measured: what the first map of a photo costs, the tenth, and thirty, process start included.

A process of its own for every row, pinned to one core, CPU seconds from the start of the interpreter on: import, the
network, compilation, maps. Cold: nothing compiled before; warm: the cache of compiled programs that a process before it
left behind. Rows take turns, so that a busy machine slows all alike. Totals for n photos are the first map's and n - 1
times the median of the next. Captum's networks are torch's own, with random weights as ours have.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

NETWORKS = ("squeezenet1_1", "efficientnet_lite0")
ENGINES = ("auto", "dense", "incremental")
LATER = 3  # maps after the first
STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """Time the first map of a photo, and the next ones, from a cold and from a warm start."""

    networks: tuple[str, ...] = NETWORKS
    patch: int = 32
    stride: int = 16
    photos: tuple[int, ...] = (1, 3, 10, 30)
    """How many photos a user wants: what `auto` plans for."""
    repeats: int = 2
    """Rounds; medians count."""
    perturbations: int = 8
    """Captum's windows at once."""
    out: Path = Path("runs/benchmark/start.json")
    quiet: bool = False


def main(options: Options) -> int:
    from tqdm import tqdm

    from saliency import report
    from saliency.errors import InputError
    from scripts import cli

    if unknown := set(options.networks) - set(NETWORKS):
        raise InputError(f"unknown network {min(unknown)!r}; choose from {', '.join(NETWORKS)}")
    rows: dict[tuple[str, str, str, int], list[dict[str, Any]]] = {}
    jobs = [(net, *one) for net in options.networks for one in contenders(options, net)]
    with tempfile.TemporaryDirectory() as place:
        for turn in range(options.repeats):
            for net, engine, count in tqdm(jobs, disable=cli.silent(options.quiet)):
                kept = Path(place) / f"{net}-{engine}-{count}-{turn}"
                for state in ("cold", "warm") if engine != "captum" else ("cold",):
                    found = measured(options, net, engine, count, kept)
                    rows.setdefault((net, state, engine, count), []).append(found)
    table = [row(*key, found, options) for key, found in rows.items()]
    verdicts = [verdict(table, net, state, options) for net in options.networks for state in ("cold", "warm")]
    load = {"load_average": os.getloadavg(), "cores": len(os.sched_getaffinity(0))}
    origin = report.record(options, 0, "random weights and images", cli.command())
    report.write_json(options.out, {**origin, **load, "rows": table, "verdicts": verdicts})
    print(text(table, verdicts, options))
    print(f"wrote {options.out}")
    return 0


def contenders(options: Options, net: str) -> list[tuple[str, int]]:
    """(engine, photos planned for), each way of computing once."""
    theirs = ["captum"] if find_spec("torch") and find_spec("captum") else []
    every = [(engine, alike(options, net, engine, n)) for engine in (*ENGINES, *theirs) for n in options.photos]
    return list(dict.fromkeys(every))


@cache
def planned(net: str, patch: int, stride: int, photos: int) -> str:
    """The incremental way that is done first with so many photos, nothing compiled."""
    from saliency.models.zoo.catalogue import ARCHITECTURES
    from saliency.occlusion import Windows
    from saliency.occlusion.choice import choices, soonest
    from saliency.scores import Score

    architecture = ARCHITECTURES[net]()
    windows = Windows(architecture.size, (patch, patch), (stride, stride))
    return soonest(choices(architecture, windows, Score()), photos, "incremental").key


def alike(options: Options, net: str, engine: str, count: int) -> int:
    """The least number of photos for which the engine computes as it does for `count`: what is measured for both."""
    if engine == "auto":
        return count
    if engine != "incremental":
        return 1
    ways = {n: planned(net, options.patch, options.stride, n) for n in options.photos}
    return min(n for n, way in ways.items() if way == ways[count])


def measured(options: Options, net: str, engine: str, count: int, cache: Path) -> dict[str, Any]:
    """CPU seconds of a process: until the network is there, until the first map, and of each later one."""
    core = max(os.sched_getaffinity(0))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "SALBOX_"))}
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
    told = json.dumps([net, engine, count, options.patch, options.stride, options.perturbations, core])
    done = subprocess.run(
        [sys.executable, "-m", "scripts.benchmarks.start", told],
        env={**inherited, "XLA_FLAGS": flags, "SALBOX_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.strip().rpartition("\n")[2])


def row(net: str, state: str, engine: str, count: int, found: list[dict[str, Any]], options: Options) -> dict[str, Any]:
    ready, first, later = (statistics.median(one[name] for one in found) for name in ("ready", "first", "later"))
    totals = {str(n): first + (n - 1) * later for n in options.photos}
    return {
        "network": net, "state": state, "engine": engine, "planned_for": count, "ran": found[0]["ran"],
        "ready": ready, "first": first, "tenth": later, "totals": totals,
        "spread": max(one["first"] for one in found) - min(one["first"] for one in found),
    }  # fmt: skip


def verdict(table: list[dict[str, Any]], net: str, state: str, options: Options) -> dict[str, Any]:
    """Auto's total over the least of the engines', by the number of photos; and the first map over captum's. `possible`
    sets it beside what its own cache allows: the engine that it ran before, or another one from nothing compiled."""
    own = [one for one in table if one["network"] == net]

    def found(engine: str, count: int, state: str = state) -> dict[str, Any]:
        wanted = state, engine, alike(options, net, engine, count)
        return next(one for one in own if (one["state"], one["engine"], one["planned_for"]) == wanted)

    def total(engine: str, count: int, state: str = state) -> float:
        return found(engine, count, state)["totals"][str(count)]

    def possible(engine: str, count: int) -> float:
        return total(engine, count, state if found("auto", count, "cold")["ran"] == engine else "cold")

    def over(least: Callable[[str, int], float]) -> dict[str, float]:
        return {str(n): total("auto", n) / min(least(engine, n) for engine in ENGINES[1:]) for n in options.photos}

    said: dict[str, Any] = {
        "network": net, "state": state, "auto_over_best": over(total), "auto_over_possible": over(possible)
    }  # fmt: skip
    for theirs in (one for one in own if one["engine"] == "captum"):
        most = max(options.photos)
        tenth = found("auto", most)["tenth"]
        said["first_over_captum"] = total("auto", min(options.photos)) / theirs["first"]
        said["tenth_over_captum"] = tenth / theirs["tenth"]
    return said


def text(table: list[dict[str, Any]], verdicts: list[dict[str, Any]], options: Options) -> str:
    """The rows for a terminal, CPU seconds."""
    lines = [
        f"{'network, start, engine (planned for)':<52}{'ready':>7}{'first':>8}{'tenth':>8}  totals for {options.photos}"
    ]
    for one in table:
        name = f"{one['network']}, {one['state']}, {one['engine']} ({one['planned_for']}) {one['ran']}"
        totals = " ".join(f"{value:.1f}" for value in one["totals"].values())
        lines.append(f"{name:<52}{one['ready']:>7.1f}{one['first']:>8.1f}{one['tenth']:>8.2f}  {totals}")
    for one in verdicts:
        ratios = ", ".join(f"{n}: {value:.2f}" for n, value in one["auto_over_best"].items())
        possible = ", ".join(f"{n}: {value:.2f}" for n, value in one["auto_over_possible"].items())
        theirs = f" (over what its cache allows {possible})" if one["state"] == "warm" else ""
        if "first_over_captum" in one:
            theirs += f"; over captum's: first {one['first_over_captum']:.2f}, tenth {one['tenth_over_captum']:.2f}"
        lines.append(f"{one['network']}, {one['state']}: auto over the best engine {ratios}{theirs}")
    return "\n".join(lines)


def serve(net: str, engine: str, count: int, patch: int, stride: int, perturbations: int, core: int) -> dict[str, Any]:
    """In a process of its own: CPU seconds since its start."""
    os.sched_setaffinity(0, [core])
    make = captum_map if engine == "captum" else salbox_map
    maps, ran = make(net, engine, count, patch, stride, perturbations)
    times = [time.process_time()]
    for i in range(1 + LATER):
        maps(i)
        times.append(time.process_time())
    later = statistics.median(b - a for a, b in pairwise(times[1:]))
    return {"ready": times[0], "first": times[1], "later": later, "ran": ran()}


def salbox_map(net: str, engine: str, count: int, patch: int, stride: int, perturbations: int) -> Any:
    import numpy as np

    from saliency.cache import use_cache
    from saliency.models.weights import random_network
    from saliency.models.zoo.catalogue import ARCHITECTURES
    from saliency.occlusion import Execution, occlusion_maps

    use_cache()
    network = random_network(ARCHITECTURES[net]())
    x = np.random.default_rng(0).normal(size=(1 + LATER, *network.architecture.size, 3)).astype(np.float32)
    execution, said = Execution(engine, images=count), []  # type: ignore[arg-type, var-annotated]

    def maps(i: int) -> None:
        found = occlusion_maps(network, x[i : i + 1], patch=patch, stride=stride, target=3, execution=execution)
        said.append(found.engine)

    return maps, lambda: said[-1]


def captum_map(net: str, engine: str, count: int, patch: int, stride: int, perturbations: int) -> Any:
    import torch
    from captum.attr import Occlusion

    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = (torch_squeezenet() if net == "squeezenet1_1" else torch_lite0()).eval()
    x = torch.randn(1 + LATER, 3, 224, 224).to(memory_format=torch.channels_last)
    occlusion = Occlusion(network)

    def maps(i: int) -> None:
        with torch.no_grad():
            occlusion.attribute(
                x[i : i + 1], (3, patch, patch), (3, stride, stride), baselines=0, target=3,
                perturbations_per_eval=perturbations,
            )  # fmt: skip

    return maps, lambda: "captum"


def torch_squeezenet() -> Any:
    import torch
    from torch import nn

    class Fire(nn.Module):
        def __init__(self, inside: int, squeeze: int, expand: int):
            super().__init__()
            self.squeeze = nn.Conv2d(inside, squeeze, 1)
            self.expand1, self.expand3 = nn.Conv2d(squeeze, expand, 1), nn.Conv2d(squeeze, expand, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.squeeze(x).relu_()
            return torch.cat([self.expand1(x).relu_(), self.expand3(x).relu_()], 1)

    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, 2), nn.ReLU(True), pool, Fire(64, 16, 64), Fire(128, 16, 64), pool, Fire(128, 32, 128),
        Fire(256, 32, 128), pool, Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256),
        nn.Conv2d(512, 1000, 1), nn.ReLU(True), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


def torch_lite0() -> Any:
    """Batch norms folded, as ours are; padded alike on all sides, which takes as long."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, inside: int, kernel: int, stride: int, expansion: int, features: int):
            super().__init__()
            wide = inside * expansion
            depthwise = nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide)
            expand = [nn.Conv2d(inside, wide, 1), nn.ReLU6(True)] if expansion > 1 else []
            self.inner = nn.Sequential(*expand, depthwise, nn.ReLU6(True), nn.Conv2d(wide, features, 1))
            self.shortcut = stride == 1 and inside == features

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.inner(x) if self.shortcut else self.inner(x)

    layers: list[Any] = [nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU6(True)]
    inside = 32
    for repeats, kernel, stride, expansion, features in STAGES:
        for i in range(repeats):
            layers.append(Block(inside, kernel, stride if i == 0 else 1, expansion, features))
            inside = features
    head = [nn.Conv2d(inside, 1280, 1), nn.ReLU6(True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000)]
    return nn.Sequential(*layers, *head)


if __name__ == "__main__":
    print(json.dumps(serve(*json.loads(sys.argv[1]))))
