"""The physical limit of one core: a large product's multiplications and a copy's bytes a second, and which share of it
each engine reaches. CPU time of one thread, so that a busy machine changes it little.

A map cannot be had sooner than its multiplications at the product's rate, or than its weights once and each activation
once written and once read at the copy's rate, whichever takes longer. The gradient has the forward pass's
multiplications twice: those of the derivative to each layer's input. Winograd's algorithm multiplies less than is
counted here, so that its share may pass 1.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from saliency._memory import keep_freed
from saliency.devices import default_budget
from saliency.maps.gradient import gradient_maps
from saliency.models.graph import Architecture
from saliency.models.weights import ARCHITECTURES, random_network
from saliency.occlusion.incremental import Masked, incremental_scores, jobs, prepared
from saliency.occlusion.plan import macs, plan_with
from saliency.occlusion.windows import Windows
from saliency.scores import as_score, logits

SIDE = 2048
COPIED = 2**28  # bytes
WORTHWHILE = 2.0  # times fewer multiplications, for the incremental engine to be measured


@lru_cache(maxsize=1)
def peak() -> dict[str, float]:
    """Multiplications and bytes a second, the best of several tries: bytes read and bytes written both count."""
    product, a = _product()
    source, target = np.ones(COPIED // 4, np.float32), np.ones(COPIED // 4, np.float32)
    return {
        "multiplications_a_second": SIDE**3 / least(lambda: product(a).block_until_ready(), 5),
        "bytes_a_second": 2 * COPIED / least(lambda: np.copyto(target, source), 5),
    }


def machine(cores: Sequence[int], seconds: float = 2.0) -> dict[str, float]:
    """Multiplications a second of a large product by the clock, on one core alone and on all at once, a process each:
    cores that are threads of one share its units, and all together do little more than one."""
    alone, together = (_rates(chosen, seconds) for chosen in (cores[-1:], cores))
    return {"multiplications_a_second, one core": alone[0], "multiplications_a_second, all cores": sum(together)}


def _rates(cores: Sequence[int], seconds: float) -> list[float]:
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(len(cores), _begin, (spawn.Barrier(len(cores)),)) as pool:
        return pool.map(partial(_rate, seconds), cores, 1)


_together: list[Any] = []  # a process's barrier


def _begin(barrier: Any) -> None:
    _together.append(barrier)


def _rate(seconds: float, core: int) -> float:
    os.sched_setaffinity(0, [core])  # before JAX starts
    product, a = _product()
    product(a).block_until_ready()
    _together[0].wait()  # so that each process has one core
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        product(a).block_until_ready()
        done += 1
    return done * SIDE**3 / (time.perf_counter() - begun)


def _product() -> tuple[Any, Any]:
    import jax

    a = jax.numpy.asarray(np.random.default_rng(0).normal(size=(SIDE, SIDE)), dtype=np.float32)
    return jax.jit(lambda a: a @ a), a


def least(call: Callable[[], object], times: int) -> float:
    """CPU seconds of the quickest call, the first left out."""
    found = []
    for _ in range(times + 1):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return min(found[1:])


def bytes_of(architecture: Architecture) -> int:
    """Weights once, and each activation written once and read once, in float32."""
    shapes = architecture.shapes(*architecture.size)
    weights = sum(int(np.prod(one)) for layer in architecture.parameter_shapes().values() for one in layer.values())
    return 4 * (weights + 2 * sum(int(np.prod(shape)) for shape in shapes.values()))


def of_a_pass(architecture: Architecture) -> int:
    """Multiplications of a forward pass at the size that the network was trained at."""
    shapes = architecture.shapes(*architecture.size)
    return sum(macs(node, shapes, None) for node in architecture.nodes if node.inputs)


def measured(name: str, tries: int, seed: int) -> dict[str, Any]:
    """CPU seconds of a forward pass, a class map and, where windows are worth it, an occlusion map at 32/16, each
    beside what the roof allows."""
    keep_freed()
    net = random_network(ARCHITECTURES[name](), seed)
    architecture, limit = net.architecture, peak()
    forward = of_a_pass(architecture)
    moved = bytes_of(architecture)
    x = np.random.default_rng(seed).normal(size=(4, *architecture.size, 3)).astype(np.float32)
    found = {
        "dense": (least(lambda: logits(net, x), tries) / len(x), forward, moved),
        "gradient": (least(lambda: gradient_maps(net, x), tries) / len(x), 2 * forward, 2 * moved),
    }
    windows = Windows(architecture.size, (32, 32), (16, 16))
    plan = plan_with(architecture, windows, as_score("logit"), 1)  # one group of positions is compiled soonest
    if plan.speedup >= WORTHWHILE:
        work, ready = jobs(plan, default_budget()), prepared(plan, net.weights)
        masked = Masked(x[0], np.zeros_like(x[0]), 3)
        positions = len(windows.positions)

        def occlusion() -> None:
            incremental_scores(
                plan, ready, masked, score=as_score("logit"), work=work, step=lambda count: None
            )  # fmt: skip

        multiplied = int(positions * sum(plan.macs.values()) + forward)
        share = sum(plan.macs.values()) / forward  # of the activations, as of the multiplications
        touched = int(moved * (1 + positions * share))
        found["incremental"] = (least(occlusion, 1), multiplied, touched)
    rows = {}
    for what, (seconds, multiplications, touched) in found.items():
        allowed = max(multiplications / limit["multiplications_a_second"], touched / limit["bytes_a_second"])
        rows[what] = {
            "cpu_seconds": seconds, "multiplications": multiplications, "bytes": touched, "share": allowed / seconds,
            "bound": "multiplications"
            if allowed == multiplications / limit["multiplications_a_second"]
            else "bytes",
        }  # fmt: skip
    return {"network": name, **rows}
