"""Many small photos through make_maps and evaluate: memory and open files on the way, and how fast the store opens.

    python -m tests.campaigns.load --images 100000 --out load.json

Each script runs in a process of its own, which looks at itself when a tenth, a quarter, half and all of the photos have
been decoded, and at the end. From the first tenth on, the peak of its memory may grow by a tenth until the last photo,
and the number of open files by the photos that are being decoded.
"""

import csv
import importlib
import itertools
import multiprocessing
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from PIL import Image

from localization.datasets import folder, reader
from localization.datasets.dataset import DECODERS
from localization.features import Features
from localization.regression.data import open_regression_data
from localization.store import open_store
from scripts import cli
from tests.campaigns import runs

SIDE, TRAIN = 32, 2000
NETWORK = f"--network scenes_cnn --input {SIDE} --resize stretch --dataset folder --quiet"
WORDS = {
    "make_maps": "--data-root {data} --split test --size 16 16",
    "evaluate": "--data-root {data} --split test --train-split train --map-size 16 16",
}
SHARES = (0.1, 0.25, 0.5, 1.0)  # of the photos, when a process looks at itself


@dataclass(frozen=True)
class Options:
    images: int = 100_000
    scripts: tuple[str, ...] = tuple(WORDS)
    out: Path | None = None
    """JSON file for the figures."""


def main(options: Options) -> int:
    figures: dict[str, Any] = {"images": options.images}
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        write_photos(top / "data", options.images)
        for script in options.scripts:
            said = f"{NETWORK} {WORDS[script].format(data=top / 'data')} --out {top / script}".split()
            before = options.images + 2 * TRAIN if script == "evaluate" else 0  # it looks at all photos first
            marks = [before + round(share * options.images) for share in SHARES]
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                figures[script] = pool.submit(measured, script, said, marks).result()
            print(f"{script}: {figures[script]}", flush=True)
        if "make_maps" in options.scripts:
            figures |= opening(top / "make_maps")
    flat = all(steady(figures[script]["samples"]) for script in options.scripts)
    runs.report("load", {"flat": flat, **figures}, options.out)
    return 0 if flat else 1


def opening(store: Path) -> dict[str, float]:
    """Seconds to open a store's index, and from there until its images and boxes are at hand."""
    begun = time.perf_counter()
    open_store(store).digest()
    opened = time.perf_counter()
    open_regression_data([store], Features())
    return {"s to open the index": opened - begun, "s until a fit can begin": time.perf_counter() - opened}


def steady(samples: Sequence[dict[str, Any]]) -> bool:
    first, last = samples[0], samples[len(SHARES) - 1]
    return last["peak MiB"] <= 1.1 * first["peak MiB"] and last["open files"] <= first["open files"] + DECODERS


def write_photos(data: Path, n: int) -> None:
    """A bright rectangle on a dark ground each, in folders of a thousand, and their boxes."""
    rng, rows = np.random.default_rng(0), []
    for split, i in itertools.chain(
        zip(itertools.repeat("train"), range(TRAIN)), zip(itertools.repeat("test"), range(n))
    ):
        x0, y0 = rng.integers(0, SIDE - 4, 2)
        x1, y1 = rng.integers((x0 + 4, y0 + 4), SIDE + 1)
        photo = np.full((SIDE, SIDE, 3), rng.integers(0, 128, 3), np.uint8)
        photo[y0:y1, x0:x1] = rng.integers(128, 256, 3)
        source = f"{split}/{i // 1000:03d}/{i:06d}.png"
        (data / source).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(data / source, compress_level=1)
        rows.append((source, x0, y0, x1, y1, f"class{i % 10}"))
    with open(data / "boxes.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([folder.COLUMNS, *rows])


def measured(script: str, words: Sequence[str], marks: Sequence[int]) -> dict[str, Any]:
    """Run a script; samples of its memory and files when so many photos have been decoded, and at its end."""
    samples, count, read_photo = [], itertools.count(1), reader.read_photo
    begun = time.perf_counter()

    def sample(photos: int) -> None:
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        now, peak = (int(status[key].split()[0]) // 1024 for key in ("VmRSS", "VmHWM"))
        seconds, files = round(time.perf_counter() - begun), len(os.listdir("/proc/self/fd"))
        samples.append({"photos": photos, "MiB": now, "peak MiB": peak, "open files": files, "s": seconds})

    def counted(*arguments: Any, **options: Any) -> np.ndarray:
        if (photos := next(count)) in marks:
            sample(photos)
        return read_photo(*arguments, **options)

    reader.read_photo = counted  # before the data set is read, which keeps it for later
    module = importlib.import_module(f"scripts.{script}")
    module.main(cli.parse(module.Options, words))
    sample(next(count) - 1)
    return {"samples": samples}


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(Options)))
