"""The maps of a comparison: made shard by shard so that a kill costs little, or taken over from another tool."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from localization.channels import READERS, Reader, read_channels
from localization.comparison.samples import Samples
from localization.datasets.names import inside
from localization.external import ExternalMaps, moved, write_placement
from saliency._batches import default_batch, first_few
from saliency._cores import cores
from saliency._files import atomic_write, write_arrays
from saliency._memory import peak_memory, reset_peak_memory
from saliency._reading import read_back
from saliency.errors import InputError
from saliency.method import Shared
from saliency.methods import METHODS, Cost, Method, Options
from saliency.models.network import Network
from saliency.models.preprocessing import Placement, Preprocessing

FINE, LARGE = 96, 512  # px a side: what boxes are made from at most, and what is kept of another tool's maps
SHARD = 100  # images whose maps are written at once
Progress = Callable[[int, int], None]  # maps done, maps in all


@dataclass(frozen=True)
class Task:
    """What is made of each image: `run(net, x, targets)` gives arrays float `[n, ...]` by name, "maps" for a method's.
    `base` is the name in the menu, `cost()` that of one image; `by_image`: images are done one after another, so that
    their number changes nothing of what is compiled. `shared` are the passes that it may have in common with others."""

    base: str
    run: Callable[[Network, np.ndarray, np.ndarray], Mapping[str, np.ndarray]]
    cost: Callable[[], Cost]
    by_image: bool = False
    shared: Shared | None = None


@dataclass(frozen=True)
class Made:
    """One method's maps, or a reader's channels, on disk, in shards, over the input of `entry`, and what they cost;
    None where that is not known. `base` is the name in the menu, which those that differ in a setting alone share."""

    shards: Sequence[Path]
    entry: Preprocessing
    base: str | None = None
    cost: Cost | None = None
    ms: float | None = None
    peak_mib: float | None = None

    def maps(self, indices: np.ndarray) -> Float[np.ndarray, "n h w"]:
        """Float32 maps of some samples, in their order."""
        found: dict[int, np.ndarray] = {}
        for number in np.unique(indices // SHARD):
            maps = read_back(self.shards[number], "maps")["maps"]
            found |= {int(i): maps[i - number * SHARD] for i in indices[indices // SHARD == number]}
        return np.stack([found[int(i)] for i in indices])

    def channels(self, indices: np.ndarray) -> list[Float[np.ndarray, "n rows columns c"]]:
        """Float16 activations of samples of one shard, a layer an array."""
        (number,) = np.unique(indices // SHARD)
        found = read_back(self.shards[number], "0")
        layers = sorted((name for name in found if name.isdecimal()), key=int)
        return [found[name][indices - number * SHARD] for name in layers]

    def over(self, entry: Preprocessing, indices: np.ndarray, samples: Samples) -> Float[np.ndarray, "n H W"]:
        """The same over another input, zero where the map knows nothing."""
        sizes = (samples.sizes[i] for i in indices.tolist())
        return np.stack(
            [moved(own, self.placement(size), entry.placement(size)) for own, size in zip(self.maps(indices), sizes)]
        )

    def lying_over(self, entry: Preprocessing, indices: np.ndarray, samples: Samples) -> Float[np.ndarray, "n H W"]:
        """The maps as they are where they lie over that input already."""
        return self.maps(indices) if self.entry == entry else self.over(entry, indices, samples)

    def placement(self, photo: tuple[int, int]) -> Placement:
        """Where a photo of (height, width) lies in its map."""
        return self.entry.placement(photo)

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


@dataclass(frozen=True)
class Noise(Made):
    """Maps of noise in the place of a method's, drawn when they are asked for."""

    seed: int = 0

    def maps(self, indices: np.ndarray) -> Float[np.ndarray, "n h w"]:
        drawn = (np.random.default_rng((self.seed, int(i))) for i in indices)
        return np.stack([rng.random(self.entry.size, np.float32) for rng in drawn])


def shards(n: int) -> Iterator[np.ndarray]:
    return (np.arange(first, min(first + SHARD, n)) for first in range(0, n, SHARD))


def tasks(net: Network, names: Sequence[str], settings: Options, occlusion_strides: Sequence[int]) -> dict[str, Task]:
    """The maps that are asked for, by name: methods, for "all" those that suit the network, and occlusion at further
    strides."""
    if "all" in names:
        suited = [name for name, method in METHODS.items() if _suits(method, net)]
        names = list(dict.fromkeys([*suited, *(name for name in names if name != "all")]))
    wanted = {name: task_of(METHODS[name], net, settings) for name in names if name in METHODS}
    for stride in occlusion_strides:
        wanted[f"occlusion-{stride}px"] = task_of(METHODS["occlusion"], net, replace(settings, stride=stride))
    return wanted


def task_of(method: Method, net: Network, settings: Options) -> Task:
    """A method's maps with these settings."""

    def run(net: Network, x: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
        return {"maps": method.maps(net, x, target=targets, options=settings)}

    cost, shared = partial(method.cost, net, net.preprocess.size, settings), method.shared
    return Task(method.name, run, cost, method.by_image, shared(settings) if shared else None)


def readings(net: Network, names: Sequence[str], layers: Sequence[str]) -> dict[str, Task]:
    """The channels that the readers among these names need, by what they are of: photos, or photos and classes."""
    needed = {READERS[name].by_class: READERS[name] for name in names if name in READERS}
    return {
        ("class channels" if by_class else "channels"): _reading(reader, net, tuple(layers))
        for by_class, reader in needed.items()
    }


def _reading(reader: Reader, net: Network, layers: Sequence[str]) -> Task:
    def run(net: Network, x: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
        found = read_channels(net, x, layers, target=targets if reader.by_class else None)
        return {str(k): own for k, own in enumerate(found)}

    return Task(reader.name, run, lambda: reader.cost)


def _suits(method: Method, net: Network) -> bool:
    try:
        method.cost(net, net.preprocess.size)
    except InputError:
        return False
    return True


def trials(wanted: Mapping[str, Task], samples: Samples) -> dict[str, Float[np.ndarray, "n H W 3"]]:
    """For each task as few images as compile all that it needs and keep this machine as busy as more would."""
    architecture = samples.net.architecture
    batch = default_batch(architecture, (SHARD, *samples.net.preprocess.size), architecture.last)
    few = first_few(min(SHARD, len(samples)), batch)
    counts = {name: min(cores() if task.by_image else few, len(samples)) for name, task in wanted.items()}
    x = samples.input(range(max(counts.values(), default=0)))
    return {name: x[:count] for name, count in counts.items()}


def warmed(wanted: Mapping[str, Task], samples: Samples) -> None:
    """Compile what these tasks need, several at a time."""
    x = trials(wanted, samples) if wanted else {}
    with ThreadPoolExecutor(cores()) as pool:

        def run(names: Sequence[str]) -> None:
            some = x[names[0]]
            run_of_one_pass([wanted[name] for name in names], samples.net, some, np.zeros(len(some), int))

        list(pool.map(run, of_one_pass(wanted)))


def make(
    wanted: Mapping[str, Task], samples: Samples, targets: np.ndarray, folder: Path, progress: Progress
) -> dict[str, Made]:
    """All maps of each task; a shard found in `folder` is not made again, and keeps the time that it took. Samples of
    one photo whose explained class is the same share a map, for it is made of these two alone."""
    done, total = 0, len(wanted) * len(samples)
    for indices in shards(len(samples)):
        progress(done, total)
        x = None  # read once for all tasks, if there is anything to do
        pairs = np.stack([samples.images[indices], targets[indices]], 1)
        _, chosen, row = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
        for names in of_one_pass(wanted):
            left = {_path(folder, name, indices): wanted[name] for name in names}
            left = {path: task for path, task in left.items() if not path.exists()}
            if left:
                x = samples.input(indices[chosen]) if x is None else x
                make_shards(left, samples.net, x, targets[indices[chosen]], row.reshape(-1))
            done += len(names) * len(indices)
            progress(done, total)
    return {name: _made(name, task, samples, folder) for name, task in wanted.items()}


def of_one_pass(wanted: Mapping[str, Task]) -> list[list[str]]:
    """The tasks in their order, those together whose passes are the same."""
    found: dict[str, list[str]] = {}
    for name, task in wanted.items():
        found.setdefault(task.shared.passes if task.shared else name, []).append(name)
    return list(found.values())


def run_of_one_pass(
    tasks: Sequence[Task], net: Network, x: np.ndarray, targets: np.ndarray
) -> list[Mapping[str, np.ndarray]]:
    """What each of the tasks that `of_one_pass` puts together makes."""
    if len(tasks) == 1:
        return [tasks[0].run(net, x, targets)]
    shared = [task.shared for task in tasks if task.shared]
    maps = shared[0].run(net, x, [one.kind for one in shared], targets)
    return [{"maps": maps[:, number]} for number in range(len(shared))]


def make_shards(
    left: Mapping[Path, Task], net: Network, x: np.ndarray, targets: np.ndarray, row: Int[np.ndarray, " n"]
) -> None:
    """The maps of some images on disk, each as often as `row` names it, with the time and the memory that they took:
    of tasks made together what each would take alone, but for what is made of the passes for the others."""
    reset_peak_memory()
    start = perf_counter()
    made = run_of_one_pass(list(left.values()), net, x, targets)
    spent = perf_counter() - start
    told = {"seconds": spent, "peak": peak_memory() or 0, "count": len(x)}
    for path, own in zip(left, made, strict=True):
        arrays = {name: values[row] for name, values in own.items()}
        write_arrays(path, arrays | {name: np.array(value) for name, value in told.items()})


def _made(name: str, task: Task, samples: Samples, folder: Path) -> Made:
    paths = [_path(folder, name, indices) for indices in shards(len(samples))]
    told = [read_back(path, "seconds", "peak", "count") for path in paths]
    seconds, count = (sum(float(one[key]) for one in told) for key in ("seconds", "count"))
    peak = max(float(one["peak"]) for one in told)
    entry = samples.net.preprocess
    return Made(paths, entry, task.base, task.cost(), 1000 * seconds / count, peak / 2**20 if peak else None)


def complete(folder: Path, name: str, n: int) -> bool:
    """Whether all maps of a task are there, of n samples."""
    return all(_path(folder, name, indices).exists() for indices in shards(n))


def _path(folder: Path, name: str, indices: np.ndarray) -> Path:
    return folder / f"{name}-{indices[0]:06d}.npz"


def keep(made: Mapping[str, Made], samples: Samples, folder: Path) -> None:
    """Every map as `external_maps` takes it, FOLDER/METHOD/ID.npy with the placement beside, in place of the shards;
    one a photo, or one a photo and class where the classes of a photo have maps of their own."""
    for name, one in made.items():
        write_placement(folder / name, one.entry)
        for indices in shards(len(samples)):
            for i, own in zip(indices, one.maps(indices)):
                path = inside(folder / name, f"{samples.ids[i]}.npy")
                with atomic_write(path) as temporary, open(temporary, "wb") as file:
                    np.save(file, own)
    for path in folder.glob("*.npz"):  # shards, of channels too
        path.unlink()


def _common_size(theirs: ExternalMaps, input: tuple[int, int]) -> tuple[int, int]:
    if theirs.shape is not None and max(theirs.shape) <= LARGE:
        return theirs.shape
    return max(input[0], FINE), max(input[1], FINE)


def external(name: str, theirs: ExternalMaps, samples: Samples, folder: Path) -> Made:
    """Another tool's maps as if we had made them, at a cost unknown: over the whole photo, or what they are stated to
    be over. Those of one size keep it; others are brought to one, about the network's input's."""
    entry = theirs.entry or Preprocessing(_common_size(theirs, samples.net.preprocess.size), mode="stretch")
    paths = []
    for indices in shards(len(samples)):
        paths.append(_path(folder, name, indices))
        if not paths[-1].exists():
            maps = [theirs.over(entry, samples.ids[i], samples.sizes[i]) for i in indices]
            write_arrays(paths[-1], {"maps": np.stack(maps)})
    return Made(paths, entry)
