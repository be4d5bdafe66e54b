"""How many positions at once a machine is fastest with, found by timing a class's costliest convolutions.

Only for those who ask (`chunk="tuned"`): what is timed differs from run to run, and sums of floats may differ in their
last bit from chunk to chunk, while the rule of `incremental.chunk_for` always says the same.
"""

import math
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from saliency.models.graph import Node
from saliency.occlusion.incremental import chunk_for
from saliency.occlusion.plan import Class, Plan, macs

SHARE = 0.8  # of a class's multiplications: that of the convolutions which are timed
FACTORS = (0.25, 0.5, 1, 2, 4)  # times the rule's chunk
POSITIONS = 64  # at least, in every call that is timed
REPEATS = 5
WORTHWHILE = 1.05  # times faster than the rule's chunk another one has to be; less is noise


@lru_cache(maxsize=64)
def tuned_chunk(plan: Plan, group: Class, budget: int) -> int:
    """Positions at once for one class of a plan, within `budget` bytes. Timed once for a plan in each process."""
    most = max(1, min(budget // plan.position_bytes(group), len(group.positions)))
    rule = min(chunk_for(plan, group, budget), most)
    tried = sorted({min(max(1, round(rule * factor)), most) for factor in FACTORS})
    seconds: dict[int, list[float]] = {chunk: [] for chunk in tried}
    nodes = tuple(costliest(plan, group))
    kernels = _kernels(plan, nodes)
    calls = {chunk: _call(plan, group, chunk, nodes, kernels) for chunk in tried}
    for _ in range(REPEATS):  # in turns, so that a busy machine slows all alike
        for chunk, call in calls.items():
            begun = time.perf_counter()
            call().block_until_ready()
            seconds[chunk].append((time.perf_counter() - begun) / (_rounds(chunk) * chunk))
    best = min(tried, key=lambda chunk: min(seconds[chunk]))
    return best if WORTHWHILE * min(seconds[best]) < min(seconds[rule]) else rule


def costliest(plan: Plan, group: Class) -> list[Node]:
    """The fewest convolutions that do SHARE of the multiplications within a class's panes."""
    pane = group.layout.pane
    nodes = [n for n in plan.architecture.ancestors(plan.to) if n.layer.weighted and n.name in pane]
    work = {node.name: macs(node, plan.shapes, pane[node.name]) for node in nodes}
    nodes.sort(key=lambda node: -work[node.name])
    done = np.cumsum([work[node.name] for node in nodes])
    return nodes[: 1 + int(np.searchsorted(done, SHARE * done[-1]))] if nodes else []


def _rounds(chunk: int) -> int:
    return math.ceil(POSITIONS / chunk)


def _kernels(plan: Plan, nodes: Sequence[Node]) -> dict[str, Any]:
    """Kernels of those sizes, and what is prepared of them, on the device."""
    rng = np.random.default_rng(0)
    return jax.device_put(
        {node.name: node.layer.drawn(rng, [plan.shapes[name] for name in node.inputs]) for node in nodes}
    )


def _call(plan: Plan, group: Class, chunk: int, nodes: tuple[Node, ...], kernels: Mapping[str, Any]) -> partial[Array]:
    """The convolutions of some chunks, compiled."""
    rng = np.random.default_rng(0)
    inputs: dict[str, np.ndarray] = {}
    for node in nodes:
        ready, _ = kernels[node.name]
        shape = (chunk, *node.layer.region(group.layout.pane[node.name], ready), plan.shapes[node.inputs[0]][-1])
        inputs[node.name] = rng.standard_normal(shape, np.float32)
    rounds = np.arange(_rounds(chunk), dtype=np.float32)
    call = partial(_convolutions, *jax.device_put((inputs, kernels, rounds)), nodes)
    call().block_until_ready()
    return call


@partial(jax.jit, static_argnames="nodes")
def _convolutions(
    inputs: Mapping[str, Float[Array, "k h w c"]],
    kernels: Mapping[str, Any],
    rounds: Float[Array, " rounds"],
    nodes: tuple[Node, ...],
) -> Float[Array, " rounds"]:
    """As `incremental` does them, each on what has just been written; one number of each, so that none is left out."""

    def total(shift: Array) -> Array:
        sums = []
        for node in nodes:
            ready, kernel = kernels[node.name]
            y = node.layer.on_region(ready, kernel, inputs[node.name] + shift)
            sums.append(y.sum())
        return jnp.stack(sums).sum()

    return lax.map(total, rounds)
