"""What each way to compute an occlusion map takes to compile, beside what `auto` expects (`saliency.occlusion.choice`).

A process for each network, pinned to one core, random weights, nothing compiled: CPU seconds of the first map less
those of the second. Every way counts the programs that all share (the class's score, the first traces).
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NETWORKS = ("scenes_cnn", "squeezenet1_1", "efficientnet_lite0", "resnet50", "vgg16")
LARGE = ("resnet50", "vgg16")  # whose dense maps take minutes, and whose many groups do


@dataclass(frozen=True)
class Options:
    """Time the compilation of every way to compute an occlusion map."""

    networks: tuple[str, ...] = NETWORKS
    patch: int = 32
    stride: int = 16
    most_groups: int = 4
    """Of large networks no plan with more groups is compiled, and Winograd's convolutions with one alone."""
    out: Path = Path("runs/benchmark/compiling.json")
    quiet: bool = False


def main(options: Options) -> int:
    from tqdm import tqdm

    from saliency import report
    from saliency.errors import InputError
    from saliency.models.zoo.catalogue import ARCHITECTURES
    from scripts import cli

    if unknown := set(options.networks) - set(ARCHITECTURES):
        raise InputError(f"unknown network {min(unknown)!r}; choose from {', '.join(NETWORKS)} and the like")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "SALBOX_"))}
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
    rows: list[dict[str, Any]] = []
    for net in tqdm(options.networks, disable=cli.silent(options.quiet)):
        told = json.dumps([net, options.patch, options.stride, options.most_groups, max(os.sched_getaffinity(0))])
        done = subprocess.run(
            [sys.executable, "-m", "scripts.benchmarks.compiling", told],
            env={**kept, "XLA_FLAGS": flags, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        rows += json.loads(done.stdout.strip().rpartition("\n")[2])
    origin = report.record(options, 0, "random weights and images", cli.command())
    report.write_json(options.out, {**origin, "load_average": os.getloadavg(), "rows": rows})
    for row in rows:
        print(f"{row['network']:<20}{row['way']:<52}{row['seconds']:>7.1f} s, expected {row['expected']:.1f}")
    print(f"wrote {options.out}")
    return 0


def serve(net: str, patch: int, stride: int, most_groups: int, core: int) -> list[dict[str, Any]]:
    """In a process of its own: a row for each way."""
    import jax
    import numpy as np

    from saliency.models.weights import random_network
    from saliency.models.zoo.catalogue import ARCHITECTURES
    from saliency.occlusion import maps as asked
    from saliency.occlusion import occlusion_maps
    from saliency.occlusion.choice import choices
    from saliency.occlusion.windows import Windows
    from saliency.scores import Score, logits

    os.sched_setaffinity(0, [core])
    network = random_network(ARCHITECTURES[net]())
    size = network.architecture.size
    x = np.random.default_rng(0).normal(size=(1, *size, 3)).astype(np.float32)
    logits(network, x)
    rows = []
    for one in choices(network.architecture, Windows(size, (patch, patch), (stride, stride)), Score()):
        groups = len(one.plan.groups) if one.plan else 0
        if net in LARGE and (not 1 <= groups <= most_groups or (groups > 1 and one.plan and one.plan.transforms)):
            continue
        jax.clear_caches()
        asked.soonest = lambda *_, one=one: one  # type: ignore[assignment]
        times = [time.process_time()]
        for _ in range(2):
            occlusion_maps(network, x, patch=patch, stride=stride, target=3, fill=x * 0)
            times.append(time.process_time())
        each = times[2] - times[1]
        rows.append(
            {
                "network": net, "way": one.name, "patch": patch, "stride": stride, "groups": groups,
                "seconds": times[1] - times[0] - each, "expected": one.compiling,
                "each": each, "expected_each": one.each,
            }
        )  # fmt: skip
    return rows


if __name__ == "__main__":
    print(json.dumps(serve(*json.loads(sys.argv[1]))))
