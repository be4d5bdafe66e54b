"""Part 6: the linear map of 225,687 maps of 224x224, pooled to 112x112, drawn on the device in blocks.

So many has Fast Object Localization via Sensitivity Analysis.

Each map is bright in its box, under noise, so that what is learned can be checked: boxes of maps that were not fitted.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from localization.boxes import iou
from localization.regression import ridge
from localization.regression.moments import Moments, moments
from localization.regression.rows import FeatureBlocks
from localization.regression.solution import Solution
from saliency._memory import peak_memory
from scripts.gpu.common import REPEATS, STEADY, Journal, Row, peak

MAPS, SIDE, BLOCK = 225_687, 224, 4096
PENALTY = 0.01
NOISE = 0.5


@dataclass(frozen=True)
class Problem:
    """`count` maps of `side` x `side`, pooled to half of that, `block` at a time."""

    count: int
    side: int
    block: int

    @property
    def width(self) -> int:
        return (self.side // 2) ** 2

    def boxes(self, count: int, seed: int) -> Float[np.ndarray, "n 4"]:
        """x0 y0 x1 y1 as shares of the side."""
        rng = np.random.default_rng(seed)
        size, centre = rng.uniform(0.2, 0.6, (count, 2)), rng.uniform(0.3, 0.7, (count, 2))
        return np.concatenate([centre - size / 2, centre + size / 2], 1).clip(0, 1)

    def rows(self) -> FeatureBlocks:
        boxes = self.boxes(self.count, 0)

        def blocks() -> Iterator[Array]:
            for at, first in enumerate(range(0, self.count, self.block)):
                yield pooled_maps(
                    jax.random.key(at), jnp.asarray(boxes[first : first + self.block], jnp.float32), self.side
                )

        return FeatureBlocks(blocks, boxes, self.width)  # type: ignore[arg-type]


@partial(jax.jit, static_argnames="side")
def pooled_maps(key: Array, boxes: Float[Array, "n 4"], side: int) -> Float[Array, "n d"]:
    """Maps `[n, side, side]`, 1 in their box and noise everywhere, averaged over squares of 2x2."""
    places = (jnp.arange(side) + 0.5) / side
    low, high = boxes[:, :2, None], boxes[:, 2:, None]
    inside = ((places > low) & (places < high)).astype(jnp.float32)  # [n, 2, side]: columns, rows
    maps = inside[:, 1, :, None] * inside[:, 0, None, :]
    maps = maps + NOISE * jax.random.normal(key, maps.shape)
    half = side // 2
    return maps.reshape(len(boxes), half, 2, half, 2).mean((2, 4)).reshape(len(boxes), -1)


def run(journal: Journal, small: bool) -> None:
    problem = Problem(700, 32, 128) if small else Problem(MAPS, SIDE, BLOCK)
    rows = problem.rows()
    label = {"maps": problem.count, "features": problem.width}
    journal.measure({"what": "drawing", **label}, partial(drawing, rows))
    kept: list[Moments] = []
    journal.measure({"what": "Gram matrix", **label}, partial(gram, journal, rows, problem, kept))
    if kept:
        solved: list[Solution] = []
        journal.measure({"what": "ridge by Cholesky", **label}, partial(cholesky, rows, kept[0], solved))
        if solved:
            journal.measure({"what": "boxes of other maps"}, partial(tested, problem, solved[0]))
        parts = [row.get("seconds") for row in journal.rows if row["what"] in ("Gram matrix", "ridge by Cholesky")]
        if len(parts) == 2 and None not in parts:
            journal.add(
                what="Gram matrix and ridge",
                **label,
                seconds=sum(parts),
                peak_bytes=peak(),
                host_peak=peak_memory(),
            )
        journal.measure({"what": "eigendecomposition on the device", **label}, partial(eigen, kept[0]), least=40)
    journal.done()


def drawing(rows: FeatureBlocks) -> Row:
    """The maps alone, thrown away as they come."""

    def call() -> None:
        for block in rows.blocks():
            jax.block_until_ready(block)

    call()
    begun = time.perf_counter()
    call()
    return {"seconds": time.perf_counter() - begun}


def gram(journal: Journal, rows: FeatureBlocks, problem: Problem, kept: list[Moments]) -> Row:
    """Maps drawn and multiplied, panels copied back; the last repeat's moments are kept. As many repeats as leave half
    of the time to the ridge."""
    every: list[float] = []
    enough = journal.left / 2
    while len(every) < 2 or (len(every) <= REPEATS and journal.left - every[-1] > enough):
        kept.clear()
        begun = time.perf_counter()
        kept.append(moments(rows, block=problem.block))
        every.append(time.perf_counter() - begun)
        print(f"  Gram matrix in {every[-1]:.2f} s", flush=True)
    first, *rest = every
    median = float(np.median(rest))
    spread = (max(rest) - min(rest)) / median
    assert kept[0].n == problem.count
    return {
        "first_s": first, "seconds": median, "every_s": rest, "spread": spread, "steady": spread <= STEADY,
        "tflops": 13 / 12 * problem.count * problem.width**2 / median / 1e12,  # panels on and above the diagonal
        "peak_bytes": peak(), "host_peak": peak_memory(),
    }  # fmt: skip


def cholesky(rows: FeatureBlocks, sums: Moments, solved: list[Solution]) -> Row:
    """Factored on the host in float64, then polished by sweeps over the maps, drawn again on the device."""
    begun = time.perf_counter()
    solved.append(ridge.one_penalty(sums, PENALTY, rows))
    return {"seconds": time.perf_counter() - begun, "peak_bytes": peak(), "host_peak": peak_memory()}


def tested(problem: Problem, solution: Solution) -> Row:
    """Mean IoU of boxes predicted from fresh maps, and of the mean box, which says nothing."""
    count = min(1024, problem.count)
    boxes = problem.boxes(count, 1)
    x = np.asarray(pooled_maps(jax.random.key(2**31), jnp.asarray(boxes, jnp.float32), problem.side))
    mean = np.broadcast_to(problem.boxes(problem.count, 0).mean(0), boxes.shape)
    return {"mean_iou": float(iou(solution(x), boxes).mean()), "of_the_mean_box": float(iou(mean, boxes).mean())}


def eigen(sums: Moments) -> Row:
    """In float64, as every penalty at once needs it."""
    matrix = sums.centred()[0]
    with jax.enable_x64(True):
        begun = time.perf_counter()
        squares, _ = jax.block_until_ready(jnp.linalg.eigh(jnp.asarray(matrix)))
        seconds = time.perf_counter() - begun
        trace = float(np.abs(float(squares.sum()) / np.trace(matrix) - 1))
    return {"seconds": seconds, "trace_off": trace, "peak_bytes": peak()}
