"""Data sets on all cores, from JPEG to map on disk, beside torch; images in memory; the share of the physical limit.

    python -m scripts.benchmark throughput --out data/benchmarks/throughput.json

Each part's figures are written when it ends, so that nothing is lost where time runs out. Ratios are those of each
round, in which the contenders take turns; their median and both ends are given. Weights are random.
"""

import multiprocessing
import os
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tqdm import tqdm

from saliency import report
from saliency.errors import InputError
from saliency.models.weights import ARCHITECTURES
from scripts import cli
from scripts.benchmarks.throughput import folder, memory, page, picture, roof
from scripts.benchmarks.throughput.folder import Task

PHOTOS = {"squeezenet1_1": 500, "efficientnet_lite0": 500, "resnet50": 96, "vgg16": 32}
OCCLUDED = 96  # photos, for which `auto` compiles the programs that it compiles for any larger set
PARTS = ("data_set", "in_memory", "roof")


@dataclass(frozen=True)
class Options:
    """Time data sets, images in memory, and what the machine could do."""

    networks: tuple[str, ...] = ("squeezenet1_1", "efficientnet_lite0", "resnet50", "vgg16")
    """Networks of the data set; large ones on fewer photos."""
    occlusion: tuple[str, ...] = ("squeezenet1_1",)
    """Networks of the data set's occlusion maps, 32/16."""
    in_memory: tuple[str, ...] = ("scenes_cnn", "squeezenet1_1", "efficientnet_lite0", "alexnet", "resnet50", "vgg16")
    parts: tuple[str, ...] = PARTS
    """What is timed: data sets, the networks `in_memory`, and the share that these reach of what one core can do."""
    share: float = 1.0
    """Of the photos and images."""
    rounds: int = 3
    seconds: float = 660.0
    """What all may take: a part that would begin later is left out, and the file says so."""
    out: Path = Path("runs/benchmark/throughput.json")
    page: Path | None = None
    """A page in which the tables of this file's name are written anew."""
    seed: int = 0
    quiet: bool = False


def main(options: Options) -> int:
    for name in (*options.networks, *options.occlusion, *options.in_memory):
        if name not in ARCHITECTURES:
            raise InputError(f"unknown network {name!r}; choose from {', '.join(ARCHITECTURES)}")
    for part in options.parts:
        if part not in PARTS:
            raise InputError(f"unknown part {part!r}; choose from {', '.join(PARTS)}")
    if options.page is not None:
        page.around(options.page, options.out.name)  # before anything is measured
    if options.rounds < 1 or not 0 < options.share <= 1:
        raise InputError("rounds must be at least 1, share within 0..1")
    if not find_spec("torch"):
        raise InputError("the rival is torch, which is not installed: pip install 'salbox[torch]'")
    cores = len(os.sched_getaffinity(0))
    tasks = [Task(name, _some(PHOTOS.get(name, 100), options)) for name in options.networks]
    tasks += [Task(name, _some(OCCLUDED, options), 32, 16, rival_photos=2) for name in options.occlusion]
    begun = time.perf_counter()
    results: dict[str, Any] = {
        **report.record(options, options.seed, "random weights; parts of scikit-learn's sample photos", cli.command()),
        "cores": cores, "load_before": os.getloadavg()[0],
        "data_set": [], "in_memory": [], "roof": [], "left_out": [],
    }  # fmt: skip
    spawn = multiprocessing.get_context("spawn")
    results["machine"] = roof.machine(sorted(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as scratch:
        photos = Path(scratch) / "photos"
        folder.written_photos(photos, max([1, *(task.photos for task in tasks)]), options.seed)
        parts: list[tuple[str, str, Any]] = [
            ("data_set", task.name, lambda task=task: folder.measured(
                task, photos, Path(scratch) / task.name, options.rounds, options.seed))
            for task in tasks
        ]  # fmt: skip
        for name in options.in_memory:
            parts.append(("in_memory", name, lambda name=name: _alone(
                spawn, memory.measured, name, _some(8 if name in PHOTOS else 32, options), options.rounds, cores,
                options.seed)))  # fmt: skip
        for name in options.in_memory:
            parts.append(("roof", name, lambda name=name: _alone(
                spawn, roof.measured, name, 3, options.seed, one_core=True)))  # fmt: skip
        parts = [part for part in parts if part[0] in options.parts]
        for where, name, part in tqdm(parts, disable=cli.silent(options.quiet)):
            if time.perf_counter() - begun > options.seconds:
                results["left_out"].append(f"{where} {name}")
                continue
            row = part()
            if where == "data_set" and row["maps"] == "gradient":
                row["share"] = _share(row, results["machine"])
            results[where].append(row)
            results["load_after"] = os.getloadavg()[0]
            report.write_json(options.out, results)
    report.write_json(options.out, results)
    report.write_bytes(options.out.with_suffix(".png"), report.png(picture.drawn(results)))
    print("\n".join(_lines(results)))
    print(f"wrote {options.out}")
    if options.page is not None:
        page.brought_up(options.page, options.out)
        print(f"wrote {options.page}")
    return 0


def _share(row: dict[str, Any], machine: dict[str, float]) -> dict[str, float]:
    """What each contender reaches of the product's rate on all cores, by the multiplications of both passes."""
    needed = 2 * roof.of_a_pass(ARCHITECTURES[row["network"]]())
    rate = machine["multiplications_a_second, all cores"]
    return {who: 1000 * needed / rate / ms for who, ms in row["ms_a_photo"].items()}


def _some(count: int, options: Options) -> int:
    return max(2, round(options.share * count))


def _alone(spawn: Any, function: Any, *arguments: Any, one_core: bool = False) -> dict[str, Any]:
    """In a process of its own; with one core, which JAX has to be told before it starts."""
    cores = sorted(os.sched_getaffinity(0))
    with spawn.Pool(1, _pin, (cores[-1:] if one_core else cores,)) as pool:
        return pool.apply(function, arguments)


def _pin(cores: list[int]) -> None:
    os.sched_setaffinity(0, cores)


def _lines(results: dict[str, Any]) -> list[str]:
    lines = []
    if machine := results.get("machine"):
        one, every = (machine[f"multiplications_a_second, {which}"] / 1e9 for which in ("one core", "all cores"))
        lines.append(f"a large product: {one:.0f} billion multiplications a second on one core, {every:.0f} on all")
    for row in results["data_set"]:
        ms, (low, high) = row["ms_a_photo"], row["ratio_spread"]
        lines.append(
            f"{row['network']} {row['maps']}, {row['photos']} photos: {ms['ours']:.1f} against {ms['torch']:.1f} ms a"
            f" photo, ratio {row['ratio']:.2f} [{low:.2f}, {high:.2f}], maps apart {row['apart']:.1e}"
        )
        if share := row.get("share"):
            lines[-1] += f"; of all cores' product rate {share['ours']:.2f}, torch {share['torch']:.2f}"
    for row in results["in_memory"]:
        lines.append(
            f"{row['network']} in memory: ratio {row['ratio']:.2f} (batch {row['batch']['ours']} against"
            f" {row['batch']['torch']}); one photo {row['ratio, one photo']:.2f}"
        )
    for row in results["roof"]:
        shares = ", ".join(f"{what} {row[what]['share']:.2f}" for what in row if what != "network")
        lines.append(f"{row['network']}, share of the roof: {shares}")
    return [*lines, *(f"left out for want of time: {name}" for name in results["left_out"])]
