"""The streaming fit beside scikit-learn's Ridge and beside SGD: time, memory, loss, and how they grow.

The SGD is that of Fast Object Localization via Sensitivity Analysis.

Every measurement has a process and one core of its own, and counts CPU time, so that a busy machine slows none of them.
Peak memory is the process's largest resident size less what it held before it saw data. The data lie in a file and are
read block by block; more rows than it has are the same rows again.
"""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Plot
from tqdm import tqdm

from localization.regression import ridge, sgd
from localization.regression.moments import BLOCK, moments
from localization.regression.rows import FeatureBlocks
from saliency import report
from saliency._memory import peak_memory, reset_peak_memory
from saliency.errors import InputError
from scripts import cli

Measured = dict[str, Any]
RANK = 64  # maps are smooth: most of their variance lies in a few directions


@dataclass(frozen=True)
class Options:
    """Time and memory of the linear map's fit on synthetic maps."""

    n: int = 20_000
    """Maps."""
    d: int = 12_544
    """Pixels a map, 112 x 112."""
    penalty: float = 0.01
    grown_n: tuple[int, ...] = (5_000, 10_000, 20_000)
    """Maps of d pixels for the memory's growth."""
    grown_d: tuple[int, ...] = (784, 1_568, 3_136, 6_272)
    """Pixels, of 10,000 maps, for the time's growth."""
    sgd_d: int = 784
    """Pixels of the problem on which SGD runs its whole recipe."""
    steps: int = sgd.STEPS
    out: Path = Path("runs/benchmark/fit.json")
    seed: int = 0
    quiet: bool = False


def main(options: Options) -> int:
    if min(options.n, options.d, *options.grown_n, *options.grown_d, options.sgd_d) < 8 or options.steps < 1:
        raise InputError("n and d must be at least 8, steps at least 1")
    jobs: dict[str, tuple[Callable[..., Measured], tuple[Any, ...]]] = {
        "streaming": (streaming, (options.n, options.d, options.penalty)),
        "scikit-learn": (scikit_learn, (options.n, options.d, options.penalty)),
        "sgd": (recipe, (options.n, options.sgd_d, options.penalty, options.steps)),
    }
    jobs |= {f"n {n}": (streaming, (n, options.d, options.penalty)) for n in options.grown_n if n != options.n}
    jobs |= {f"d {d}": (streaming, (10_000, d, options.penalty)) for d in options.grown_d}
    found: dict[str, Measured] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (job, arguments) in tqdm(jobs.items(), disable=cli.silent(options.quiet)):
            data = written_data(Path(folder), options.n, arguments[1], options.seed)
            with multiprocessing.get_context("spawn").Pool(1, _one_core) as pool:
                found[name] = pool.apply(job, (data, *arguments))
            print(f"{name:<14} {found[name]['seconds']:8.1f} s  {found[name]['mib']:8.0f} MiB", flush=True)
    ours, known = (found[name]["weights"] for name in ("streaming", "scikit-learn"))
    if options.n in options.grown_n:
        found[f"n {options.n}"] = found["streaming"]
    found = {name: {key: one[key] for key in one if key != "weights"} for name, one in found.items()}
    results = {
        **report.record(options, options.seed, "", cli.command()),
        "weights_relative_difference": float(np.abs(ours - known).max() / np.abs(known).max()),
        "speed_against_scikit_learn": found["scikit-learn"]["seconds"] / found["streaming"]["seconds"],
        "measured": found,
    }
    report.write_bytes(options.out.with_suffix(".png"), report.png(growth(results, options)))
    report.write_json(options.out, results)
    print(
        f"weights differ by {results['weights_relative_difference']:.1e} of the largest;"
        f" {results['speed_against_scikit_learn']:.2f} times scikit-learn's speed"
    )
    return 0


def _one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def written_data(folder: Path, n: int, d: int, seed: int) -> Path:
    """Float32 rows of d features and 4 targets in one file, the same for a seed."""
    path = folder / f"{d}.f32"
    if not path.exists():
        for old in folder.glob("*.f32"):
            old.unlink()
        rng = np.random.default_rng(seed)
        mixing = (rng.normal(size=(RANK, d)) * np.linspace(1, 0.1, RANK)[:, None]).astype(np.float32)
        truth = (rng.normal(size=(d, 4)) / np.sqrt(d)).astype(np.float32)
        with open(path, "wb") as file:
            for start in range(0, n, 1000):
                count = min(1000, n - start)
                x = rng.standard_normal((count, RANK), np.float32) @ mixing
                x += 0.5 * rng.standard_normal((count, d), np.float32)
                y = x @ truth + 0.1 * rng.standard_normal((count, 4), np.float32)
                np.concatenate([x, y], 1).tofile(file)
    return path


def rows_of(path: Path, n: int, d: int, block: int = BLOCK) -> FeatureBlocks:
    """The first n rows of a file, from its start again where it has fewer."""
    there = path.stat().st_size // (4 * (d + 4))

    def read(columns: slice) -> Iterator[np.ndarray]:
        left = n
        while left:
            with open(path, "rb") as file:
                for start in range(0, min(there, left), block):
                    count = min(block, left, there - start)
                    rows = np.fromfile(file, np.float32, count * (d + 4)).reshape(count, d + 4)
                    left -= count
                    yield rows[:, columns]
                    if not left:
                        break

    targets = np.concatenate([part.astype(float) for part in read(slice(d, None))])
    return FeatureBlocks(lambda: read(slice(d)), targets, d)


class _Meter:
    """CPU seconds and MiB since it was made."""

    def __init__(self) -> None:
        reset_peak_memory()
        self.base = peak_memory() or 0
        self.start = time.process_time()

    def read(self) -> Measured:
        seconds = time.process_time() - self.start
        return {"seconds": seconds, "mib": ((peak_memory() or 0) - self.base) / 2**20}


def streaming(path: Path, n: int, d: int, penalty: float) -> Measured:
    moments(
        FeatureBlocks(lambda: iter([np.ones((2, d), np.float32)]), np.ones((2, 4)), d)
    )  # compiles, which is not counted
    meter = _Meter()
    rows = rows_of(path, n, d)
    sums = moments(rows)
    gram_seconds = time.process_time() - meter.start
    solution = ridge.one_penalty(sums, penalty, rows)
    return {"n": n, "d": d, **meter.read(), "gram_seconds": gram_seconds, "weights": solution.weights}


def scikit_learn(path: Path, n: int, d: int, penalty: float) -> Measured:
    from sklearn.linear_model import Ridge

    meter = _Meter()
    rows = rows_of(path, n, d)
    x = np.concatenate([block.astype(float) for block in rows.blocks()])
    alpha = penalty * float(x.var(0).sum()) * n / d
    meter.start = time.process_time()  # only its own fit counts
    fit = Ridge(alpha=alpha, solver="cholesky", copy_X=False).fit(x, rows.targets)
    return {"n": n, "d": d, **meter.read(), "weights": fit.coef_.T}


def recipe(path: Path, n: int, d: int, penalty: float, steps: int) -> Measured:
    """The penalised training loss along the run of the paper's SGD, beside the closed form's."""
    rows = rows_of(path, n, d)
    sums = moments(rows)
    spectrum = ridge.from_moments(sums)
    alpha = spectrum.alpha(penalty) / n

    def loss(weights: np.ndarray) -> float:
        return sums.loss(weights) + 0.5 * alpha * float((weights**2).sum())

    trace: dict[int, float] = {}
    x, y = np.concatenate(list(rows.blocks())), rows.targets
    meter = _Meter()
    sgd.descend(
        sgd.shuffled(x, y, 0),
        spectrum.mean_x,
        spectrum.mean_y,
        float(spectrum.squares.max()) / n,
        alpha=alpha,
        penalty=penalty,
        steps=steps,
        watch=lambda step, solution: trace.update({step: loss(solution.weights)}),
        every=max(1, steps // 30),
    )
    optimum = loss(spectrum.solution(penalty).weights)
    return {"n": n, "d": d, **meter.read(), "steps": steps, "loss": trace, "optimum": optimum}


def growth(results: Measured, options: Options) -> Plot:
    """Time and memory against the number of maps and of pixels, and SGD's way down."""
    plot = Plot(figsize=(12, 3.4), layout="constrained")
    by_n, by_d, descent = plot.subplots(1, 3)
    measured = results["measured"]
    n = np.array(options.grown_n)
    seconds = np.array([measured[f"n {i}"]["gram_seconds"] for i in n])
    by_n.plot(n, seconds, "o", label="measured")
    by_n.plot(n, np.polyval(np.polyfit(n, seconds, 1), n), "--", label="linear")
    by_n.set_xticks(n, [f"{i:,}" for i in n])
    memory = by_n.twinx()
    memory.plot(n, [measured[f"n {i}"]["mib"] for i in n], "s", color="tab:red")
    memory.set_ylim(0, 1.6 * max(measured[f"n {i}"]["mib"] for i in n))
    memory.set_ylabel("peak memory, MiB (red)")
    by_n.set_xlabel(f"maps of {options.d:,} pixels")
    by_n.set_ylabel("Gram matrix, CPU s")
    by_n.set_ylim(0, 1.5 * seconds.max())
    by_n.legend()
    d = np.array(options.grown_d)
    seconds = np.array([measured[f"d {i}"]["gram_seconds"] for i in d])
    by_d.loglog(d, seconds, "o", label="measured")
    by_d.loglog(d, seconds[-1] * (d / d[-1]) ** 2, "--", label="as d squared")
    by_d.set_xticks(d, [f"{i:,}" for i in d])
    by_d.minorticks_off()
    by_d.set_xlabel("pixels, of 10,000 maps")
    by_d.set_ylabel("Gram matrix, CPU s")
    by_d.legend()
    trace, optimum = measured["sgd"]["loss"], measured["sgd"]["optimum"]
    descent.semilogy(list(trace), [value / optimum - 1 for value in trace.values()])
    descent.set_xlabel("SGD steps of 2,048 maps")
    descent.set_ylabel("loss above the optimum, share")
    return plot
