"""How much float32 loses: every method's maps of real photos beside the same in float64; and on one thread beside many.

    python -m tests.campaigns.precision --photos DIR [DIR ...] --limit 200
    python -m tests.campaigns.precision --photos DIR --network squeezenet1_1 --weights FILE --methods gradient-max

The difference is the largest of a map, relative to the map's own largest absolute value. Where a unit lies within
rounding of zero its ReLU may switch, and an argmax within a pool may move: such a photo differs by far more than the
rest, hence the median beside the largest. The threads' part runs in two processes, one of them held to one core; what
needs no network has to be the same there, whatever the maps are.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from localization import bootstrap, datasets
from localization.datasets.moving_digits import moving_digits
from localization.datasets.scenes import scenes
from localization.heuristics import fit_heuristic
from saliency import load_network
from saliency.methods import CONTROLS, METHODS
from saliency.methods import Options as MethodOptions
from saliency.models.network import Network
from saliency.robustness.masks import FAMILIES, draw_masks
from saliency.scores import predicted

ONE_THREAD = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "OMP_NUM_THREADS": "1"}
QUICK = MethodOptions(patch=24, stride=24, samples=5, steps=10, masks=32, cell=32)  # rounding is what counts here


@dataclass(frozen=True)
class Options:
    """Compare precisions, and numbers of threads."""

    photos: tuple[Path, ...]
    """Folders of photos."""
    limit: int = 200
    """Photos in all."""
    network: str = "scenes_cnn"
    weights: str | None = None
    methods: tuple[str, ...] = tuple(name for name in METHODS if name not in CONTROLS)
    threads: int = 4
    """Photos of which maps are made on one thread and on many; 0: none."""
    digests: bool = False
    """Only print the digests of those maps, and of what is promised (used by the part on threads)."""


def inputs(options: Options, net: Network) -> np.ndarray:
    each = -(-options.limit // len(options.photos))
    found = [photo for folder in options.photos for photo in datasets.load("folder", folder, limit=each).images]
    return net.preprocess(found[: options.limit])


def in_double(net: Network) -> Network:
    """The same network with float64 weights; x64 must be on."""
    weights = {layer: {k: jnp.asarray(v, jnp.float64) for k, v in own.items()} for layer, own in net.weights.items()}
    return Network(net.architecture, weights, net.preprocess)


def differences(name: str, net: Network, x: np.ndarray) -> np.ndarray:
    """Each photo's largest relative difference, both precisions explaining the class that float32 predicts."""
    targets = predicted(net, x)
    single = METHODS[name].maps(net, x, target=targets, options=QUICK)
    with jax.enable_x64(True):
        double = METHODS[name].maps(in_double(net), x.astype(np.float64), target=targets, options=QUICK)
    largest = np.abs(double).max((1, 2))
    return np.abs(single - double).max((1, 2)) / np.where(largest > 0, largest, 1)


def digests(options: Options) -> dict[str, str]:
    net = load_network(options.network, options.weights)
    x = inputs(options, net)[: options.threads]
    return {
        **{name: digest(values) for name, values in promised().items()},
        **{name: digest(METHODS[name].maps(net, x, options=QUICK)) for name in options.methods},
    }


def promised() -> dict[str, np.ndarray]:
    """Of what the README says that it is the same on any number of threads, one of each."""
    drawn, videos = scenes("test", 100), moving_digits("test", 8)
    maps = np.random.default_rng(0).random((len(drawn), 96, 96), np.float32)
    found = fit_heuristic(maps, drawn.boxes).predict(maps)
    interval = bootstrap(drawn.labels % 2, clusters=drawn.digits, classes=drawn.labels)
    return {
        "scenes": np.concatenate([drawn.images.ravel(), drawn.boxes.ravel()]),
        "moving digits": np.concatenate([videos.frames.ravel(), videos.boxes.ravel()]),
        **{f"{family} masks": np.asarray(draw_masks(family, 8, (64, 48), 0.3, frames=3).hidden) for family in FAMILIES},
        "heuristic": found,
        "interval": np.array([interval.value, interval.low, interval.high]),
    }


def digest(values: np.ndarray) -> str:
    return hashlib.sha256(values.tobytes()).hexdigest()


def on_threads(cores: set[int], environment: dict[str, str]) -> dict[str, str]:
    """The digests of a process that may use these cores."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.campaigns.precision", *sys.argv[1:], "--digests"],
        env={**os.environ, **environment},
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main(options: Options) -> int:
    if options.digests:
        print(json.dumps(digests(options)))
        return 0
    net = load_network(options.network, options.weights)
    x = inputs(options, net)
    print(f"{options.network}, {len(x)} photos\n{'method':<22}{'largest':>10}{'median':>10}{'above 1e-3':>12}{'s':>8}")
    for name in options.methods:
        start = time.process_time()
        found = differences(name, net, x)
        spent = time.process_time() - start
        print(
            f"{name:<22}{found.max():>10.1e}{np.median(found):>10.1e}{(found > 1e-3).sum():>12}{spent:>8.1f}",
            flush=True,
        )
    if options.threads:
        cores = os.sched_getaffinity(0)
        few, many = on_threads({min(cores)}, ONE_THREAD), on_threads(cores, {})
        same = [name for name in few if few[name] == many[name]]
        print(f"1 and {len(cores)} threads, the same bytes: {', '.join(same) or 'none'}")
        print(f"other bytes: {', '.join(name for name in few if name not in same) or 'none'}")
        if broken := set(few) - set(same) - set(METHODS):
            print(f"promised to be the same: {', '.join(sorted(broken))}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options)))
