"""What a model from elsewhere costs: incremental occlusion of Keras' networks beside the dense path, and memory.

A process a network, pinned to one core with one thread. The two engines take turns in it, so that a busy machine slows
both alike, and CPU time is counted; the first map of each, compilation included, is reported apart. Loading VGG16 is
measured in a process for each way in: how far the process grows at most, and what of it stays, in the weights' size.
"""

import gc
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from saliency import from_function, from_keras, from_torch, load_network, report
from saliency._checks import pair
from saliency._memory import peak_memory, reset_peak_memory
from saliency.errors import InputError
from saliency.models.network import Network
from saliency.models.weights import random_network, save_network
from saliency.models.zoo.vgg import vgg16
from saliency.occlusion import Windows, maps
from saliency.occlusion.plan import plan_for
from saliency.scores import Score
from scripts import cli
from scripts.benchmarks.occlusion import OFTEN, dense, incremental, sampled

TRACED = "/jax/core/compile/jaxpr_trace_duration"
WAYS = ("load_network", "from_function", "from_keras", "from_torch")


@dataclass(frozen=True)
class Options:
    """Time occlusion maps of keras.applications with random weights; measure the memory of loading VGG16."""

    models: tuple[str, ...] = ("DenseNet121", "MobileNet", "ResNet50")
    """Names in keras.applications; of each of `planned` only the plan is made."""
    planned: tuple[str, ...] = ("EfficientNetB0", "ConvNeXtTiny")
    ways: tuple[str, ...] = WAYS
    """Ways in by which VGG16 is loaded."""
    size: int = 224
    patch: int = 32
    stride: int = 16
    sample: int = 2
    """The dense path does every n-th position only; its time is scaled up."""
    repeats: int = 3
    """Rounds, after one that compiles; the median counts."""
    out: Path = Path("runs/benchmark/ways_in.json")
    seed: int = 0
    quiet: bool = False


def main(options: Options) -> int:
    if min(options.sample, options.repeats) < 1:
        raise InputError("sample and repeats must be at least 1")
    if unknown := set(options.ways) - set(WAYS):
        raise InputError(f"unknown way in {min(unknown)!r}; choose from {', '.join(WAYS)}")
    os.environ["KERAS_BACKEND"] = "jax"  # inherited by the processes that start here
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
    core = sorted(os.sched_getaffinity(0))[-1:]
    networks, loading, shown = [], [], not cli.silent(options.quiet)
    for way in tqdm(options.ways, desc="ways in", disable=not shown):
        loading.append(alone(core, loaded, way, options.seed))
    for name in tqdm((*options.models, *options.planned), desc="networks", disable=not shown):
        networks.append(alone(core, network, name, options))
    origin = report.record(options, options.seed, "random weights and images", cli.command())
    load = [round(each, 2) for each in os.getloadavg()]
    report.write_json(options.out, {**origin, "load": load, "networks": networks, "loading": loading})
    print("CPU s a map, one thread: incremental, dense, ratio, predicted, first map; auto takes")
    for row in networks:
        seconds = "".join(f"{row.get(key, np.nan):>9.2f}" for key in ("incremental", "dense", "ratio", "predicted"))
        print(f"{row['network']:<16}{seconds}{row.get('first', np.nan):>9.1f}  {row['auto']}")
    print("VGG16, in sizes of its weights: the process grows at most by, and in the end by; copied")
    for row in loading:
        print(f"{row['way']:<16}{row['peak']:>9.2f}{row['kept']:>9.2f}  {row['copied']}")
    print(f"wrote {options.out}")
    return 0


def alone(cores: Sequence[int], function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """In a new process, pinned."""
    with multiprocessing.get_context("spawn").Pool(1, os.sched_setaffinity, (0, cores)) as pool:
        return pool.apply(function, arguments)


def network(name: str, options: Options) -> dict[str, Any]:
    """The plan's prediction, and the times of both engines where they are asked for."""
    size = pair("size", options.size)
    net = keras_network(name, size)
    windows = Windows(size, pair("patch", options.patch), pair("stride", options.stride))
    score = Score()
    plan = plan_for(net.architecture, windows, score, OFTEN)
    row = {"network": name, "positions": len(windows.positions), "predicted": plan.speedup}
    row["auto"] = "incremental" if plan.speedup >= maps.WORTHWHILE else "dense"
    if name in options.planned:
        return row
    image = np.random.default_rng(options.seed).normal(size=(*size, 3)).astype(np.float32)
    contenders = {
        "incremental": incremental(net, image, windows, score),
        "dense": dense(net, image, windows, score, options.sample),
    }
    scale = {"incremental": 1, "dense": len(windows.positions) / len(sampled(windows, options.sample).positions)}
    times: dict[str, list[float]] = {contender: [] for contender in contenders}
    found, traces = {}, []
    jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: traces.append(event))
    for turn in range(options.repeats + 1):
        if turn == 1:
            traces.clear()
        for contender, scores in contenders.items():
            start = time.process_time()
            found[contender] = scores()
            times[contender].append((time.process_time() - start) * (scale[contender] if turn else 1))
    apart = np.abs(found["incremental"][:: options.sample] - found["dense"]).max() / np.abs(found["dense"]).max()
    rounds = [one / other for one, other in zip(times["dense"][1:], times["incremental"][1:])]
    return {
        **row,
        **{contender: statistics.median(seconds[1:]) for contender, seconds in times.items()},
        "spread": {contender: max(seconds[1:]) - min(seconds[1:]) for contender, seconds in times.items()},
        "ratio": statistics.median(rounds),
        "ratios": rounds,
        "first": times["incremental"][0],
        "first_dense": times["dense"][0],
        "apart": float(apart),
        "traced_again": traces.count(TRACED),
        "plan": str(plan).splitlines(),
    }


def keras_network(name: str, size: tuple[int, int]) -> Network:
    import keras

    keras.utils.set_random_seed(0)
    return from_keras(getattr(keras.applications, name)(weights=None, input_shape=(*size, 3), classes=1000))


def loaded(way: str, seed: int) -> dict[str, Any]:
    """Memory of loading VGG16 by one way in, beyond the model that is there already (none, where it is a file)."""
    with tempfile.TemporaryDirectory() as folder:
        load, given = ready(way, seed, Path(folder) / "vgg16.safetensors")
        gc.collect()  # networks hold circles
        reset_peak_memory()
        before = peak_memory() or 0
        net = load()
        peak = peak_memory() or 0
        gc.collect()
        reset_peak_memory()
        kept = peak_memory() or 0
    mine = {array.unsafe_buffer_pointer() for array in jax.tree.leaves(net.weights) if array.nbytes > 2**20}
    size = sum(array.nbytes for array in jax.tree.leaves(net.weights))
    return {
        "way": way,
        "weights_bytes": size,
        "peak": (peak - before) / size,
        "kept": (kept - before) / size,
        "copied": not mine <= given if given else None,
    }


def ready(way: str, seed: int, file: Path) -> tuple[Callable[[], Network], set[int]]:
    """What loads VGG16, and where the weights lie that are there already."""
    if way == "from_keras":
        import keras

        model = keras.applications.VGG16(weights=None)
        return lambda: from_keras(model), {v.value.unsafe_buffer_pointer() for v in model.trainable_variables}
    net = random_network(vgg16(), seed)
    if way == "from_torch":
        from scripts.torch_twin import Twin

        twin = Twin(net)
        del net
        return lambda: from_torch(twin, size=224), {p.data_ptr() for p in twin.parameters()}
    if way == "load_network":
        save_network(net, file, {})
        del net
        return lambda: load_network("vgg16", file), set()
    architecture, weights = net.architecture, net.weights
    given = {array.unsafe_buffer_pointer() for array in jax.tree.leaves(weights)}
    return lambda: from_function(architecture.upto, weights, size=224), given
