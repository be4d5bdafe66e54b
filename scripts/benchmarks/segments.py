"""What the incremental engine saves where segments are hidden one at a time: multiplications by its plan, and CPU time.

Photos are cut into superpixels (SLIC), and each is hidden once, by full passes and by the incremental engine, which
take turns in one process pinned to one core. Compilation is told apart.
"""

import multiprocessing
import os
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from localization.datasets.scenes import scenes
from saliency import report, superpixels
from saliency.errors import InputError
from saliency.models.weights import ARCHITECTURES, random_network
from saliency.occlusion import Execution, fill_images
from saliency.occlusion.execution import Engine
from saliency.occlusion.sets import HiddenSets, scores_of_sets, sets_plan
from saliency.photos import read_photo
from saliency.scores import Score
from scripts import cli

TARGET = 3  # whichever: the weights are random
OFTEN = 1000  # images to plan for: compiled once, used for all of them
ENGINES: tuple[Engine, ...] = ("dense", "incremental")


@dataclass(frozen=True)
class Options:
    """Time leave-one-out superpixels of a network with random weights."""

    network: str = "squeezenet1_1"
    segments: int = 50
    photos: tuple[Path, ...] = ()
    """Photos to cut (default: three embedded scenes, enlarged)."""
    repeats: int = 3
    """Rounds, after one that compiles; the median counts."""
    out: Path = Path("runs/benchmark/segments.json")
    seed: int = 0
    quiet: bool = False


def main(options: Options) -> int:
    if options.network not in ARCHITECTURES:
        raise InputError(f"unknown network {options.network!r}; choose from {', '.join(ARCHITECTURES)}")
    if min(options.segments, options.repeats) < 1:
        raise InputError("segments and repeats must be at least 1")
    net = random_network(ARCHITECTURES[options.network](), options.seed)
    images = [read_photo(path) for path in options.photos] or list(scenes(n=3).images)
    cores = sorted(os.sched_getaffinity(0))
    with multiprocessing.get_context("spawn").Pool(1, _pin, (cores[-1:],)) as pool:
        found = pool.apply(measured, (options, net.preprocess(images)))
    names = tuple(Path(path.name) for path in options.photos)  # where they lay says nothing
    inputs = f"random weights; {', '.join(map(str, names)) or 'embedded scenes'}"
    origin = report.record(replace(options, photos=names), options.seed, inputs, "scripts.benchmark segments")
    report.write_json(options.out, {**origin, **found})
    print(
        f"{options.network}, {found['sets']} superpixels of {len(images)} photos: multiplications"
        f" {found['predicted']:.2f} times fewer, CPU time {found['ratio']:.2f} times less"
        f" ({found['quartiles'][0]:.2f} to {found['quartiles'][1]:.2f}); largest difference of scores"
        f" {found['difference']:.1e} of {found['largest']:.2g}"
    )
    print(f"wrote {options.out}")
    return 0


def _pin(cores: list[int]) -> None:
    os.sched_setaffinity(0, cores)


def measured(options: Options, x: Float[np.ndarray, "n h w c"]) -> dict[str, Any]:
    """Seconds of CPU time for each photo and engine, and what the plan predicts."""
    net = random_network(ARCHITECTURES[options.network](), options.seed)
    pixels = np.clip(net.preprocess.pixels(x), 0, 255)
    labels = [superpixels(image, "slic", segments=options.segments) for image in pixels]
    sets = [HiddenSets(own, np.arange(own.max() + 1, dtype=np.int32)[:, None]) for own in labels]
    fills, score = fill_images(x, "grey", net.preprocess), Score()
    plans = [sets_plan(net.architecture, own, score) for own in sets]

    def scores(i: int, engine: Engine) -> tuple[np.ndarray, float]:
        start = time.process_time()
        (found,), _ = scores_of_sets(
            net, x[i : i + 1], fills[i : i + 1], sets[i : i + 1], score=score, targets=np.array([TARGET], np.int32),
            execution=Execution(engine, images=OFTEN), step=lambda count: None,
        )  # fmt: skip
        return found, time.process_time() - start

    seconds: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    compiling = {engine: scores(i, engine)[1] for engine in ENGINES for i in [0]}
    for engine in ENGINES:  # what the first photo did not have
        compiling[engine] += sum(scores(i, engine)[1] for i in range(1, len(x)))
    differences, largest = [], []
    for _ in tqdm(range(options.repeats), disable=cli.silent(options.quiet)):
        for i in range(len(x)):
            dense, incremental = scores(i, "dense"), scores(i, "incremental")
            for engine, (_, took) in zip(ENGINES, (dense, incremental)):
                seconds[engine].append(took)
            differences.append(float(np.abs(dense[0] - incremental[0]).max()))
            largest.append(float(np.abs(dense[0]).max()))
    ratios = [a / b for a, b in zip(seconds["dense"], seconds["incremental"])]
    return {
        "sets": sum(len(own.members) for own in sets),
        "frames": [
            {str(group.layout.region[net.architecture.nodes[0].name]): len(group.positions) for group in plan.groups}
            for plan in plans
        ],
        "predicted": statistics.mean(plan.speedup for plan in plans),
        "predicted_each": [plan.speedup for plan in plans],
        "seconds": seconds,
        "first_round_seconds": compiling,
        "ratio": statistics.median(ratios),
        "quartiles": [float(q) for q in np.quantile(ratios, [0.25, 0.75])],
        "difference": max(differences),
        "largest": max(largest),
    }
