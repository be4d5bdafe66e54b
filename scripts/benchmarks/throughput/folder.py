"""A data set from JPEG to map on disk: our `make_maps` beside the script that a good torch user writes.

Each contender has a process of its own, with all cores, and they take turns. What is compiled, and what starts worker
processes, is done before the first measured turn, on the shapes that are used. Both decode with Pillow, resize as the
network's preprocessing says, explain the predicted class, average maps to the same size and keep them as float16.
"""

import json
import multiprocessing
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from saliency._memory import keep_freed
from saliency.models.network import Network
from saliency.models.preprocessing import Preprocessing
from saliency.models.weights import ARCHITECTURES, random_network

if TYPE_CHECKING:
    from torch import Tensor

SIZE = (375, 500)  # pixels of a photo, as most of ImageNet's are
POOLED = (56, 56)
SHARD = 256
WORKERS = 2
TRIED = 32  # photos that each of torch's batches is tried on
Run = Callable[[Path, int, Path], None]  # the folder of photos, how many of them, where maps go


@dataclass(frozen=True)
class Task:
    """`photos` of a folder through a network: gradient maps, or occlusion maps of `patch` and `stride`."""

    network: str
    photos: int
    patch: int | None = None
    stride: int = 16
    rival_photos: int | None = None
    """How many of them the rival does in a turn, its time scaled up (None: all)."""

    @property
    def name(self) -> str:
        return f"{self.network} {'gradient' if self.patch is None else f'occlusion {self.patch}/{self.stride}'}"


def written_photos(folder: Path, count: int, seed: int) -> None:
    """JPEG files of SIZE: parts of scikit-learn's two sample photos, enlarged, turned over, darker."""
    from sklearn.datasets import load_sample_images

    rng, samples = np.random.default_rng(seed), load_sample_images().images
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        photo = Image.fromarray(samples[i % len(samples)])
        share = rng.uniform(0.5, 1)
        width, height = (round(share * side) for side in photo.size)
        left, top = (int(rng.integers(whole - part + 1)) for whole, part in zip(photo.size, (width, height)))
        part = photo.crop((left, top, left + width, top + height)).resize(SIZE[::-1])
        if rng.random() < 0.5:
            part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = np.clip(np.asarray(part) * rng.uniform(0.6, 0.98), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:05d}.jpg", quality=90)


def measured(task: Task, folder: Path, scratch: Path, rounds: int, seed: int) -> dict[str, Any]:
    """Seconds of each contender's turns for all photos, their ratios round by round, and how far the maps are
    apart: the mean difference over the mean, for single pixels jump where a maximum is a tie."""
    spawn = multiprocessing.get_context("spawn")
    processes, said, seconds = {}, {}, dict[str, list[float]]()
    try:
        for who in ("ours", "torch"):
            mine, theirs = spawn.Pipe()
            process = spawn.Process(target=serve, args=(theirs, who, task, folder, scratch / who, seed))
            process.start()
            theirs.close()
            processes[who], seconds[who] = (process, mine), []
            said[who] = mine.recv()  # ready
        for _ in range(rounds):
            for who, (_, mine) in processes.items():
                mine.send("go")
                seconds[who].append(mine.recv())
        for _, mine in processes.values():
            mine.send("end")
    finally:
        for process, mine in processes.values():
            mine.close()
            process.join(10)
            process.terminate()
    ratios = [ours / theirs for ours, theirs in zip(seconds["ours"], seconds["torch"])]
    ours, theirs = (np.load(scratch / who / "first.npy", allow_pickle=False) for who in ("ours", "torch"))
    return {
        "network": task.network,
        "maps": task.name.partition(" ")[2],
        "photos": task.photos,
        "rival_photos": task.rival_photos or task.photos,
        "seconds": seconds,
        "ms_a_photo": {who: 1000 * statistics.median(each) / task.photos for who, each in seconds.items()},
        "ratio": statistics.median(ratios),
        "ratio_spread": [min(ratios), max(ratios)],
        "settings": said,
        "apart": float(np.abs(ours[: len(theirs)] - theirs[: len(ours)]).mean() / np.abs(theirs).mean()),
    }


def serve(connection: Connection, who: str, task: Task, folder: Path, out: Path, seed: int) -> None:
    """In a contender's own process: get ready, then do the task whenever asked, and say how long it took."""
    keep_freed()
    net = random_network(ARCHITECTURES[task.network](), seed)
    out.mkdir(parents=True, exist_ok=True)
    run, said = (ours if who == "ours" else theirs)(task, net, folder, out)
    connection.send(said)
    while connection.recv() == "go":
        count = task.photos if who == "ours" else task.rival_photos or task.photos
        shutil.rmtree(out / "maps", ignore_errors=True)
        start = time.perf_counter()
        run(folder, count, out / "maps")
        connection.send((time.perf_counter() - start) * task.photos / count)
        np.save(out / "first.npy", _first_maps(out / "maps"))


def _first_maps(folder: Path) -> np.ndarray:
    """The first maps of either's files, each over its own maximum."""
    if (folder / "store.json").exists():
        from localization.store import open_store

        maps = open_store(folder).read(0).maps
    else:
        maps = np.load(folder / "maps-00000.npy", allow_pickle=False).astype(np.float32)
    return maps[:8] / np.abs(maps[:8]).max((1, 2), keepdims=True)


def ours(task: Task, net: Network, folder: Path, out: Path) -> tuple[Run, dict[str, Any]]:
    from localization.datasets import load
    from localization.map_making import make_maps
    from localization.options.maps import MapOptions
    from saliency._batches import cpu_batch
    from saliency.options.methods import Options

    method = "gradient-max" if task.patch is None else "occlusion"
    settings = Options() if task.patch is None else Options(patch=task.patch, stride=task.stride, fill="mean")
    options = MapOptions(method, settings=settings, size=POOLED, shard_size=SHARD)

    def run(folder: Path, count: int, to: Path) -> None:
        data = load("folder", folder)
        data = data.select(range(count))
        make_maps(net, data, to, options=options)

    run(folder, task.photos if task.patch else min(task.photos, 32), out / "warm")
    architecture = net.architecture
    return run, {"batch": cpu_batch(architecture, *architecture.size, architecture.last)}


class Decoded:
    """A torch data set: photo i as its network takes it, uint8."""

    def __init__(self, paths: list[Path], preprocess: Preprocessing):
        self.paths, self.preprocess = paths, preprocess

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> np.ndarray:
        with Image.open(self.paths[i]) as photo:
            return np.array(self.preprocess._placed(photo.convert("RGB"), (0, 0, 0)))


def theirs(task: Task, net: Network, folder: Path, out: Path) -> tuple[Run, dict[str, Any]]:
    """What a good torch user writes: two worker processes that decode, channels_last, autograd to the input, and the
    best batch of several, tried out here."""
    import torch
    from torch.utils.data import DataLoader

    from scripts.torch_twin import Twin

    twin = Twin(net).to(memory_format=torch.channels_last).requires_grad_(False)
    mean, std, scale = torch.tensor(net.preprocess.mean), torch.tensor(net.preprocess.std), net.preprocess.scale

    def batches(folder: Path, size: int) -> Any:
        data = Decoded(sorted(folder.glob("*.jpg")), net.preprocess)
        return DataLoader(
            data,  # type: ignore[arg-type]
            batch_size=size,
            num_workers=WORKERS,
            persistent_workers=True,
            multiprocessing_context="spawn",
            collate_fn=_stacked,
        )

    def gradient(x: "Tensor") -> "Tensor":
        x = x.requires_grad_()
        return torch.autograd.grad(twin(x).amax(1).sum(), x)[0].abs().amax(1)

    def occluded(x: "Tensor") -> "Tensor":
        return torch.stack([_occlusion(twin, one, task.patch or 0, task.stride) for one in x])

    def maps(loader: Any, count: int) -> Iterator[np.ndarray]:
        done = 0
        for pixels in loader:
            x = (pixels[: count - done].permute(0, 3, 1, 2).float() * scale - mean[:, None, None]) / std[:, None, None]
            found = (gradient if task.patch is None else occluded)(x)
            yield torch.nn.functional.adaptive_avg_pool2d(found[:, None], POOLED)[:, 0].numpy()
            done += len(x)
            if done >= count:
                return

    def write(to: Path, number: int, parts: list[np.ndarray], names: list[str]) -> None:
        values = np.concatenate(parts)
        scales = np.abs(values).max((1, 2), keepdims=True)
        np.save(to / f"maps-{number:05d}.npy", (values / scales).astype(np.float16))
        (to / f"maps-{number:05d}.json").write_text(json.dumps({"names": names, "scales": scales.ravel().tolist()}))

    def run_with(loader: Any, folder: Path, count: int, to: Path) -> None:
        to.mkdir(parents=True, exist_ok=True)
        names, parts, held, number = [path.name for path in sorted(folder.glob("*.jpg"))], list[np.ndarray](), 0, 0
        for part in maps(loader, count):
            parts.append(part)
            held += len(part)
            if held >= SHARD:
                write(to, number, parts, names[number * SHARD :][:held])
                parts, held, number = [], 0, number + 1
        if parts:
            write(to, number, parts, names[number * SHARD :][:held])

    tried = {}
    loaders = {}
    sizes = (1, 4, 8, 16, 32) if task.patch is None else (1,)
    for size in sizes:
        loaders[size] = batches(folder, size)
        count = min(task.photos, TRIED) if task.patch is None else 1
        run_with(loaders[size], folder, min(size, count), out / "warm")  # its workers start
        start = time.perf_counter()
        run_with(loaders[size], folder, count, out / "warm")
        tried[size] = 1000 * (time.perf_counter() - start) / count
    best = min(tried, key=lambda size: tried[size])
    kept = loaders[best]
    del loaders
    run: Run = lambda folder, count, to: run_with(kept, folder, count, to)  # noqa: E731
    return run, {"batch": best, "tried_ms": tried}


def _stacked(photos: list[np.ndarray]) -> "Tensor":
    import torch

    return torch.from_numpy(np.stack(photos))


OCCLUDED = 32  # windows at once


def _occlusion(twin: Any, image: "Tensor", patch: int, stride: int) -> "Tensor":
    """The drop of the predicted class under each window, averaged over the windows that hide a pixel."""
    import torch

    _, height, width = image.shape
    starts = [
        (row, column)
        for row in range(0, height - patch + stride, stride)
        for column in range(0, width - patch + stride, stride)
    ]
    fill = image.mean((1, 2), keepdim=True)
    total, count = torch.zeros(height, width), torch.zeros(height, width)
    with torch.no_grad():
        logits = twin(image[None])[0]
        target = int(logits.argmax())
        for first in range(0, len(starts), OCCLUDED):
            some = starts[first : first + OCCLUDED]
            hidden = image[None].repeat(len(some), 1, 1, 1).contiguous(memory_format=torch.channels_last)
            for one, (row, column) in zip(hidden, some):
                one[:, row : row + patch, column : column + patch] = fill
            for score, (row, column) in zip(twin(hidden)[:, target], some):
                total[row : row + patch, column : column + patch] += logits[target] - score
                count[row : row + patch, column : column + patch] += 1
    return total / count
