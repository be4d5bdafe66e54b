"""How long an occlusion map takes: dense JAX, the incremental engine, and captum, the same numbers from each.

One process a contender and thread count, pinned to its cores, and the contenders take turns, so that a busy machine
slows all alike. What the first map takes, compilation included, is reported apart from the others, in time and in
memory. Captum runs in channels_last and contiguous memory with several `perturbations_per_eval`, and its best setting
counts. Where it would take too long it does every n-th position only, scaled up.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from saliency import report
from saliency._checks import pair
from saliency._memory import peak_memory, reset_peak_memory
from saliency.devices import default_budget
from saliency.errors import InputError
from saliency.models.graph import Architecture
from saliency.models.network import Network
from saliency.models.weights import ARCHITECTURES, random_network
from saliency.occlusion.choice import choices, told
from saliency.occlusion.dense import dense_scores, positions_for
from saliency.occlusion.incremental import Masked, incremental_scores, jobs, prepared
from saliency.occlusion.plan import plan_for
from saliency.occlusion.windows import Windows
from saliency.scores import Score, as_score
from scripts import cli

TARGET = 3  # whichever: the weights are random
OFTEN = 1000  # images to plan for, a small data set: compiled once, used for all of them
PERTURBATIONS = (1, 8, 32)  # captum's windows at once
Maps = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Options:
    """Time occlusion maps of a network with random weights, or print the plan for them."""

    network: str = "squeezenet1_1"
    size: int | None = None
    """Side of the image in pixels; the network's own if not given."""
    patch: int = 32
    stride: int = 16
    score: str = "logit"
    plan: bool = False
    """Print what the incremental engine would do, and do nothing."""
    sample: int = 1
    """The dense path and captum do every n-th position only; their times are scaled up."""
    repeats: int = 3
    """Rounds, after one that compiles; the median counts."""
    threads: tuple[int, ...] = (1,)
    """Cores to pin every contender to; CPU time is counted for one, wall time for more."""
    out: Path = Path("runs/benchmark/occlusion.json")
    seed: int = 0
    quiet: bool = False


def main(options: Options) -> int:
    if options.network not in ARCHITECTURES:
        raise InputError(f"unknown network {options.network!r}; choose from {', '.join(ARCHITECTURES)}")
    cores = sorted(os.sched_getaffinity(0))
    if min(options.sample, options.repeats) < 1 or not all(1 <= n <= len(cores) for n in options.threads):
        raise InputError(f"sample and repeats must be at least 1, threads 1 to {len(cores)}, this machine's cores")
    architecture, windows = setting(options)
    plan = plan_for(architecture, windows, as_score(options.score), OFTEN)
    print(plan)
    print(told(choices(architecture, windows, as_score(options.score))))
    if options.plan:
        return 0
    results = []
    for threads in options.threads:
        measured = rounds(options, cores[-threads:], progress=not cli.silent(options.quiet))
        results.append({"threads": threads, "positions": len(windows.positions), **summary(measured)})
    report.write_json(
        options.out,
        {
            **report.record(options, options.seed, "random weights and image", cli.command()),
            "predicted_speedup": plan.speedup,
            "plan": str(plan).splitlines(),
            "results": results,
        },
    )
    report.write_bytes(options.out.with_suffix(".png"), report.png(picture(options, results)))
    for result in results:
        cores_used = f"{result['threads']} thread{'s' * (result['threads'] > 1)}"
        print(f"\n{cores_used}: CPU s, wall s, the first's CPU s, its peak MiB, the others'")
        for name, row in result["contenders"].items():
            print(
                f"{name:<28}{row['cpu']:>9.3f}{row['wall']:>9.3f}{row['first']:>9.1f}{row['first_peak_mib']:>9.0f}{row['peak_mib']:>9.0f}"
            )
        print(", ".join(f"{name}: {ratio:.2f}" for name, ratio in result["ratios"].items()))
    print(f"wrote {options.out}")
    return 0


def setting(options: Options) -> tuple[Architecture, Windows]:
    make = ARCHITECTURES[options.network]
    architecture = make(size=(options.size, options.size)) if options.size else make()
    return architecture, Windows(architecture.size, pair("patch", options.patch), pair("stride", options.stride))


def contenders(options: Options) -> list[str]:
    names = ["incremental", "dense"]
    if find_spec("torch") and find_spec("captum") and as_score(options.score).kind != "gestalt":
        names += [f"captum {order} {n}" for order in ("contiguous", "channels_last") for n in PERTURBATIONS]
    return names


def rounds(options: Options, cores: list[int], progress: bool) -> dict[str, dict[str, Any]]:
    """Each contender's times and peak memory; contenders live in their own processes and take turns."""
    spawn = multiprocessing.get_context("spawn")
    inherited = os.environ.get("XLA_FLAGS", "")
    if len(cores) == 1:  # inherited by the processes that start here
        os.environ["XLA_FLAGS"] = f"{inherited} --xla_cpu_multi_thread_eigen=false"
    processes, measured = {}, {}
    try:
        for name in tqdm(contenders(options), desc="compile", disable=not progress):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=serve, args=(theirs, name, options, cores), daemon=True)
            process.start()
            theirs.close()
            processes[name] = process, ours
            measured[name] = {**answer(ours), "cpu": [], "wall": []}
        for _ in tqdm(range(options.repeats), desc="rounds", disable=not progress):
            for name, (_, ours) in processes.items():
                for kind, seconds in answer(ours).items():
                    measured[name][kind].append(seconds)
        for name, (_, ours) in processes.items():
            ours.send("peak")
            measured[name]["peak_mib"] = ours.recv()
    finally:
        os.environ["XLA_FLAGS"] = inherited
        for process, ours in processes.values():
            ours.close()
            process.terminate()
            process.join()
    return measured


def answer(connection: Connection) -> dict[str, Any]:
    connection.send("go")
    return connection.recv()


def serve(connection: Connection, name: str, options: Options, cores: list[int]) -> None:
    """In a contender's own process: compute its map whenever asked, and say how long it took."""
    os.sched_setaffinity(0, cores)
    architecture, windows = setting(options)
    net = random_network(architecture, options.seed)
    image = np.random.default_rng(options.seed).normal(size=(*windows.image, 3)).astype(np.float32)
    every = 1 if name == "incremental" else options.sample
    score = as_score(options.score)
    if name == "incremental":
        maps = incremental(net, image, windows, score)
    elif name == "dense":
        maps = dense(net, image, windows, score, every)
    else:
        _, order, perturbations = name.split()
        maps = captum(net, image, windows, score, order, int(perturbations), every, len(cores))
    started = False
    while connection.recv() == "go":
        cpu, wall = time.process_time(), time.perf_counter()
        scores = maps()
        times = {"cpu": (time.process_time() - cpu) * every, "wall": (time.perf_counter() - wall) * every}
        if started:
            connection.send(times)
            continue
        started = True
        first = {"first": times["cpu"] / every, "first_peak_mib": peak_mib()}
        connection.send({**first, "scores": scores, "every": every})
        reset_peak_memory()  # of compiling, which is not what a map takes
    connection.send(peak_mib())


def peak_mib() -> float:
    return (peak_memory() or 0) / 2**20


def incremental(net: Network, image: np.ndarray, windows: Windows, score: Score) -> Maps:
    plan = plan_for(net.architecture, windows, score, OFTEN)
    work = jobs(plan, default_budget())

    def maps() -> np.ndarray:
        weights = prepared(plan, net.weights)  # counted: a caller with one image pays for it
        return incremental_scores(
            plan, weights, Masked(image, np.zeros_like(image), TARGET), score=score, work=work, step=lambda count: None
        )[0]

    return maps


def dense(net: Network, image: np.ndarray, windows: Windows, score: Score, every: int) -> Maps:
    chunk = positions_for(net.architecture, *windows.image, score.layer_in(net.architecture), default_budget())
    return lambda: dense_scores(
        net.architecture, net.weights, image, np.zeros_like(image), sampled(windows, every),
        score=score, target=TARGET, chunk=chunk, step=lambda count: None,
    )[0]  # fmt: skip


def captum(
    net: Network,
    image: np.ndarray,
    windows: Windows,
    score: Score,
    order: str,
    perturbations: int,
    every: int,
    threads: int,
) -> Maps:
    """Captum's scores at its positions, or its inner loop over every n-th of them: the same forward passes."""
    import torch
    from captum.attr import Occlusion

    from scripts.torch_twin import Twin, channels_last

    torch.set_num_threads(threads)
    twin = Twin(net)
    twin.architecture = score.explained(net.architecture)
    x = channels_last(image[None])
    if order == "contiguous":
        x = x.contiguous()
    seen: list[np.ndarray] = []

    def forward(images: torch.Tensor) -> torch.Tensor:
        scores = twin(images) if score.kind == "logit" else twin(images).log_softmax(-1)
        seen.append(scores[:, TARGET].numpy())
        return scores

    def maps() -> np.ndarray:
        seen.clear()
        with torch.no_grad():
            if every == 1:
                Occlusion(forward).attribute(
                    x, (3, *windows.patch), (3, *windows.stride), baselines=0, target=TARGET,
                    perturbations_per_eval=perturbations,
                )  # fmt: skip
                scores = np.concatenate(seen[1:])  # the first is the untouched image; then column after column
                return scores.reshape(windows.grid[::-1]).T.ravel()
            positions = windows.positions[::every]
            for first in range(0, len(positions), perturbations):
                some = positions[first : first + perturbations]
                hidden = x.repeat(len(some), 1, 1, 1)
                for one, (row, col) in zip(hidden, some):
                    one[:, row : row + windows.patch[0], col : col + windows.patch[1]] = 0
                forward(hidden)
        return np.concatenate(seen)

    return maps


def sampled(windows: Windows, every: int) -> Windows:
    """The same windows, every n-th of them only."""
    some = Windows(windows.image, windows.patch, windows.stride, windows.shape, windows.convention)
    some.__dict__["positions"] = windows.positions[::every]  # where the cached property keeps it
    return some


def summary(measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Medians, how far the scores are apart, and the ratios of each round's own times."""
    mine = measured["incremental"]
    rivals = [name for name in measured if name.startswith("captum")]
    rows, ratios = {}, {}
    for name, row in measured.items():
        apart = np.abs(row["scores"] - mine["scores"][:: row["every"]]).max() / np.abs(mine["scores"]).max()
        rows[name] = {
            "cpu": statistics.median(row["cpu"]),
            "wall": statistics.median(row["wall"]),
            "cpu_spread": max(row["cpu"]) - min(row["cpu"]),
            "first": row["first"],
            "first_peak_mib": row["first_peak_mib"],
            "peak_mib": row["peak_mib"],
            "sampled_every": row["every"],
            "apart": float(apart),
        }
    for kind in ("cpu", "wall"):
        best = min(rivals, key=lambda name: rows[name][kind], default=None)
        for name in filter(None, ("dense", best)):
            each = [theirs / ours for theirs, ours in zip(measured[name][kind], mine[kind])]
            ratios[f"{name} / incremental, {kind}"] = statistics.median(each)
    return {"contenders": rows, "ratios": ratios}


def picture(options: Options, results: list[dict[str, Any]]) -> Figure:
    """Seconds a map, a bar for each contender."""
    figure = Figure(figsize=(8, 0.4 + 2.9 * len(results)), layout="constrained")
    for axes, result in zip(np.atleast_1d(figure.subplots(len(results), 1)), results):
        kind = "cpu" if result["threads"] == 1 else "wall"
        rows = result["contenders"]
        seconds = [row[kind] for row in rows.values()]
        colours = ["tab:red" if name == "incremental" else "tab:blue" if name == "dense" else "0.6" for name in rows]
        axes.barh(list(rows), seconds, color=colours)
        for i, value in enumerate(seconds):
            axes.text(value, i, f" {value:.2f} s ({value / seconds[0]:.1f}x)", va="center", fontsize=8)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.25 * max(seconds))
        axes.set_xlabel(f"{kind} seconds a map, {result['threads']} thread{'s' * (result['threads'] > 1)}")
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(
            f"{options.network}, patch {options.patch} stride {options.stride}, {result['positions']} positions",
            loc="left", fontsize=10,
        )  # fmt: skip
    return figure
