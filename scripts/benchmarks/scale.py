"""The fit of boxes on a million maps that are made as they are read: its memory, and its time split in two.

A map has a bright ellipse where its box is, among noise, and the same seed makes the same map at every sweep. What is
fitted is the coverage map of `fit_boxes`, by the very function that reads a store (`fit_coverage_blocks`); in the place
of reading stands making. Several sizes show that memory stays and time grows in step.
"""

import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from localization.boxes import iou
from localization.regression.coverage import fit_coverage_blocks
from saliency import report
from saliency._checks import whole
from saliency._memory import peak_memory, reset_peak_memory
from scripts import cli

BLOCK = 4096  # maps


@dataclass(frozen=True)
class Options:
    """Time the fit on maps that are never stored."""

    n: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    side: int = 56
    """Rows and columns of a map."""
    out: Path = Path("runs/benchmark/scale.json")
    seed: int = 0
    quiet: bool = False


def main(options: Options) -> int:
    for n in (*options.n, options.side):
        whole("--n and --side", n, least=16)
    results = []
    for n in options.n:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            results.append(pool.apply(measured, (n, options.side, options.seed)))
        report.write_json(options.out, {**report.record(options, options.seed, "", cli.command()), "results": results})
        print(told(results[-1]), flush=True)
    print(f"wrote {options.out}")
    return 0


def told(row: dict[str, Any]) -> str:
    return (
        f"{row['n']:,} maps: {row['wall_seconds']:.1f} s by the clock, {row['cpu_seconds']:.1f} s of a core, of which"
        f" making maps {row['making_cpu_seconds']:.1f} in {row['sweeps']} sweeps; {row['mib']:.0f} MiB above the start;"
        f" mean IoU on new maps {row['mean_iou']:.3f}"
    )


class Made:
    """Blocks of maps `[b, side, side]` with their boxes, the same at every sweep; counts sweeps and its seconds."""

    def __init__(self, n: int, side: int, seed: int):
        self.n, self.side, self.seed = n, side, seed
        self.sweeps, self.seconds = 0, 0.0

    def block(self, number: int, count: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        rng, side = np.random.default_rng([self.seed, number]), self.side
        low = rng.uniform(0, 0.6 * side, (count, 2))
        size = rng.uniform(0.2 * side, 0.4 * side, (count, 2))
        boxes = np.concatenate([low, low + size], 1)
        middle, radius = low + size / 2, size / 2
        x, y = (
            np.exp(-(((np.arange(side) + 0.5 - middle[:, i, None]) / radius[:, i, None]) ** 2)).astype(np.float32)
            for i in (0, 1)
        )
        maps = y[:, :, None] * x[:, None, :]
        maps += 0.2 * rng.random(maps.shape, np.float32)
        return [maps], boxes, number * BLOCK + np.arange(count)

    def __call__(self) -> Iterator[tuple[list[np.ndarray], np.ndarray, np.ndarray]]:
        self.sweeps += 1
        for number in range(-(-self.n // BLOCK)):
            start = time.process_time()
            made = self.block(number, min(BLOCK, self.n - number * BLOCK))
            self.seconds += time.process_time() - start
            yield made


def measured(n: int, side: int, seed: int) -> dict[str, Any]:
    """In a process of its own."""
    fit_coverage_blocks(Made(256, side, seed), size=(side, side))  # compiles
    reset_peak_memory()
    base = peak_memory() or 0
    made = Made(n, side, seed)
    wall, cpu = time.perf_counter(), time.process_time()
    fitted = fit_coverage_blocks(made, size=(side, side))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = (peak_memory() or 0) - base
    maps, boxes, _ = Made(n, side, seed + 1).block(0, 256)
    return {
        "n": n, "side": side, "wall_seconds": wall, "cpu_seconds": cpu, "making_cpu_seconds": made.seconds,
        "sweeps": made.sweeps, "mib": peak / 2**20, "mean_iou": float(iou(fitted.predict(maps), boxes).mean()),
    }  # fmt: skip
