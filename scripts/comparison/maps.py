"""The maps of a comparison: made shard by shard so that a kill costs little, or taken over from another tool."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any
from zipfile import BadZipFile

import numpy as np
from tqdm import tqdm

from localization.boxes import map_to_photo
from localization.datasets.dataset import inside
from saliency.errors import InputError
from saliency.files import written
from saliency.methods import METHODS, Cost, Options
from saliency.preprocessing import Placement
from scripts import cli
from scripts.comparison.samples import Samples

SHARD = 100  # images whose maps are written at once


@dataclass(frozen=True)
class Made:
    """One method's maps on disk, in shards, and what they cost; None where that is not known."""

    shards: Sequence[Path]
    cost: Cost | None = None
    ms: float | None = None
    peak_mib: float | None = None

    def maps(self, indices: np.ndarray) -> np.ndarray:
        """Float32 `[n, h, w]` of some samples, in their order."""
        found: dict[int, np.ndarray] = {}
        for number in np.unique(indices // SHARD):
            with np.load(self.shards[number], allow_pickle=False) as shard:
                maps = shard["maps"]
            found |= {int(i): maps[i - number * SHARD] for i in indices[indices // SHARD == number]}
        return np.stack([found[int(i)] for i in indices])

    def record(self, name: str) -> dict[str, Any]:
        return {
            "method": name,
            "forwards": self.cost.forwards if self.cost else None,
            "backwards": self.cost.backwards if self.cost else None,
            "ms_per_image": self.ms,
            "peak_mib": self.peak_mib,
        }


def shards(n: int) -> Iterator[np.ndarray]:
    return (np.arange(first, min(first + SHARD, n)) for first in range(0, n, SHARD))


def make(name: str, samples: Samples, targets: np.ndarray, settings: Options, folder: Path, progress: tqdm) -> Made:
    """All maps of one method; a shard found in `folder` is not made again, and keeps the time that it took."""
    method, net = METHODS[name], samples.net
    progress.set_description(name)
    paths, seconds, peak = [], 0.0, 0.0
    for indices in shards(len(samples)):
        path = folder / f"{name}-{indices[0]:06d}.npz"
        paths.append(path)
        if not path.exists():
            x = samples.input(indices)
            cli.reset_peak_memory()
            start = perf_counter()
            maps = method.maps(net, x, target=targets[indices], options=settings)
            spent = perf_counter() - start
            with written(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, maps=maps, seconds=spent, peak=cli.peak_memory() or 0)
        with np.load(path, allow_pickle=False) as shard:
            seconds += float(shard["seconds"])
            peak = max(peak, float(shard["peak"]))
        progress.update(len(indices))
    cost = method.cost(net, net.preprocess.size, settings)
    return Made(paths, cost, 1000 * seconds / len(samples), peak / 2**20 if peak else None)


def external(name: str, maps: np.ndarray, folder: Path) -> Made:
    """Another tool's maps as if we had made them, at a cost unknown."""
    paths = []
    for indices in shards(len(maps)):
        paths.append(folder / f"{name}-{indices[0]:06d}.npz")
        with written(paths[-1]) as temporary, open(temporary, "wb") as file:
            np.savez(file, maps=maps[indices])
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
        found = _read_map(paths[0])
        whole = Placement(size, size, (1.0, 1.0), (0.0, 0.0))
        maps[i] = found if found.shape == size else map_to_photo(found.astype(float), whole)
    return maps


def _read_map(path: Path) -> np.ndarray:
    try:
        found = np.load(path, allow_pickle=False)
        if not isinstance(found, np.ndarray):
            found = found[found.files[0]]
    except (OSError, ValueError, EOFError, IndexError, KeyError, BadZipFile) as error:
        raise InputError(f"{path}: not a readable .npy or .npz of numbers ({error})") from error
    found = np.squeeze(found)
    if found.ndim != 2 or found.dtype.kind not in "fiub":
        raise InputError(f"{path}: a map must be an array of numbers [h, w], not {found.dtype} {list(found.shape)}")
    return found
