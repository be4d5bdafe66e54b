"""The maps of a comparison: made shard by shard so that a kill costs little, or taken over from another tool."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from tqdm import tqdm

from localization.boxes import map_to_photo
from localization.datasets.names import inside
from saliency._files import write_arrays, written
from saliency._reading import read_back, read_map
from saliency.errors import InputError
from saliency.methods import METHODS, Cost, Method, Options
from saliency.models.network import Network
from saliency.models.preprocessing import Placement
from scripts import cli
from scripts.comparison.samples import Samples

SHARD = 100  # images whose maps are written at once


@dataclass(frozen=True)
class Task:
    """Maps to make: a method of the menu under settings of its own."""

    method: Method
    settings: Options


@dataclass(frozen=True)
class Made:
    """One method's maps on disk, in shards, and what they cost; None where that is not known. `base` is the method's
    name in the menu, which those that differ in a setting alone share."""

    shards: Sequence[Path]
    base: str | None = None
    cost: Cost | None = None
    ms: float | None = None
    peak_mib: float | None = None

    def maps(self, indices: np.ndarray) -> np.ndarray:
        """Float32 `[n, h, w]` of some samples, in their order."""
        found: dict[int, np.ndarray] = {}
        for number in np.unique(indices // SHARD):
            maps = read_back(self.shards[number], "maps")["maps"]
            found |= {int(i): maps[i - number * SHARD] for i in indices[indices // SHARD == number]}
        return np.stack([found[int(i)] for i in indices])

    def record(self, name: str) -> dict[str, Any]:
        return {
            "method": name,
            "base": self.base,
            "forwards": self.cost.forwards if self.cost else None,
            "backwards": self.cost.backwards if self.cost else None,
            "saved": self.cost.saved if self.cost else None,
            "ms_per_image": self.ms,
            "peak_mib": self.peak_mib,
        }


def shards(n: int) -> Iterator[np.ndarray]:
    return (np.arange(first, min(first + SHARD, n)) for first in range(0, n, SHARD))


def tasks(net: Network, names: Sequence[str], settings: Options, occlusion_strides: Sequence[int]) -> dict[str, Task]:
    """What is asked for, by name: methods, for "all" those that suit the network, and occlusion at further strides."""
    if "all" in names:
        names = [name for name, method in METHODS.items() if _suits(method, net)]
    wanted = {name: Task(METHODS[name], settings) for name in names}
    for stride in occlusion_strides:
        wanted[f"occlusion-{stride}px"] = Task(METHODS["occlusion"], replace(settings, stride=stride))
    return wanted


def _suits(method: Method, net: Network) -> bool:
    try:
        method.cost(net, net.preprocess.size)
    except InputError:
        return False
    return True


def make(
    wanted: Mapping[str, Task], samples: Samples, targets: np.ndarray, folder: Path, progress: tqdm
) -> dict[str, Made]:
    """All maps of each task; a shard found in `folder` is not made again, and keeps the time that it took."""
    for indices in shards(len(samples)):
        x = None  # read once for all tasks, if there is anything to do
        for name, task in wanted.items():
            progress.set_description(name)
            path = _path(folder, name, indices)
            if not path.exists():
                x = samples.input(indices) if x is None else x
                made_shard(path, task, samples.net, x, targets[indices])
            progress.update(len(indices))
    return {name: _made(name, task, samples, folder) for name, task in wanted.items()}


def made_shard(path: Path, task: Task, net: Network, x: np.ndarray, targets: np.ndarray) -> None:
    """The maps of some images on disk, with the time and the memory that they took."""
    cli.reset_peak_memory()
    start = perf_counter()
    maps = task.method.maps(net, x, target=targets, options=task.settings)
    spent = perf_counter() - start
    write_arrays(path, {"maps": maps, "seconds": np.array(spent), "peak": np.array(cli.peak_memory() or 0)})


def _made(name: str, task: Task, samples: Samples, folder: Path) -> Made:
    paths = [_path(folder, name, indices) for indices in shards(len(samples))]
    spent = [read_back(path, "maps", "seconds", "peak") for path in paths]
    seconds, peak = sum(float(shard["seconds"]) for shard in spent), max(float(shard["peak"]) for shard in spent)
    cost = task.method.cost(samples.net, samples.net.preprocess.size, task.settings)
    return Made(paths, task.method.name, cost, 1000 * seconds / len(samples), peak / 2**20 if peak else None)


def _path(folder: Path, name: str, indices: np.ndarray) -> Path:
    return folder / f"{name}-{indices[0]:06d}.npz"


def keep(made: Mapping[str, Made], samples: Samples, folder: Path) -> None:
    """Every map as `read_maps` takes it, FOLDER/METHOD/ID.npy, in place of the shards; one a photo."""
    for name, one in made.items():
        for indices in shards(len(samples)):
            for i, own in zip(indices, one.maps(indices)):
                path = inside(folder / name, f"{samples.ids[i]}.npy")
                with written(path) as temporary, open(temporary, "wb") as file:
                    np.save(file, own)
    for one in made.values():
        for path in one.shards:
            path.unlink()


def external(name: str, maps: np.ndarray, folder: Path) -> Made:
    """Another tool's maps as if we had made them, at a cost unknown."""
    paths = []
    for indices in shards(len(maps)):
        paths.append(_path(folder, name, indices))
        write_arrays(paths[-1], {"maps": maps[indices]})
    return Made(paths)


def read_maps(name: str, folder: Path, samples: Samples) -> np.ndarray:
    """Another tool's maps, `[n, h, w]`: FOLDER/ID.npy or .npz, with or without the photo's suffix in ID.

    A map of another size than the input is brought to it by bilinear interpolation. Raises InputError.
    """
    size = samples.net.preprocess.size
    maps = np.empty((len(samples), *size), np.float32)
    for i, source in enumerate(samples.ids):
        path = inside(folder, source)
        stems = (path, path.with_suffix(""))
        paths = [file for stem in stems for ending in (".npy", ".npz") if (file := Path(f"{stem}{ending}")).is_file()]
        if not paths:
            raise InputError(f"--maps {name}: {folder} holds no {source}.npy or .npz; there must be one for each image")
        found = read_map(paths[0])
        whole = Placement(size, size, (1.0, 1.0), (0.0, 0.0))
        maps[i] = found if found.shape == size else map_to_photo(found.astype(float), whole)
    return maps
