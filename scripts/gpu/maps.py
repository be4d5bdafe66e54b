"""Part 5: make_maps on synthetic JPEGs, from files to a store: images a second, and what of it is decoding."""

import contextlib
import io
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from localization import datasets
from localization.datasets.dataset import DECODERS
from localization.map_making import MapOptions, decode
from saliency import load_network
from saliency.models.weights import ARCHITECTURES, random_network, save_network
from scripts import cli, make_maps
from scripts.gpu.common import REPEATS, STEADY, Journal, Row

COUNT = 2000
PHOTO = (375, 500)  # of ImageNet's typical size
TILE = 25  # pixels of one colour before noise: photos are smooth


def run(journal: Journal, small: bool, weights: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        name = "scenes_cnn" if small else "squeezenet1_1"
        origin = "real"
        if weights is None and not small:
            weights, origin = top / "random.safetensors", "random"
            save_network(random_network(ARCHITECTURES[name]()), weights, {})
        count = 24 if small else COUNT
        photos = top / "photos"
        begun = time.perf_counter()
        draw(photos, count)
        journal.add(what="photos", count=count, network=name, weights=origin, drawn_s=time.perf_counter() - begun)
        file = None if small else weights
        journal.measure({"what": "decoding alone"}, lambda: decoding(photos, name, file))
        journal.measure({"what": "make_maps"}, lambda: making(photos, name, file, top / "store", small))
        alone, whole = (
            next((row for row in journal.rows if row.get("what") == what), {})
            for what in ("decoding alone", "make_maps")
        )
        if "seconds" in alone and "seconds" in whole:
            journal.add(what="share of decoding", share=alone["seconds"] / whole["seconds"])
    journal.done()


def draw(folder: Path, count: int) -> None:
    """Photos of coloured tiles under noise, so that they compress about as photos do."""
    folder.mkdir()

    def one(i: int) -> None:
        rng = np.random.default_rng(i)
        tiles = rng.integers(0, 256, (PHOTO[0] // TILE, PHOTO[1] // TILE, 3), np.uint8).repeat(TILE, 0).repeat(TILE, 1)
        noise = rng.integers(0, 24, (*PHOTO, 3), np.uint8)
        Image.fromarray(np.minimum(tiles, 231) + noise).save(folder / f"{i:05d}.jpg", quality=90)

    with ThreadPoolExecutor(DECODERS) as pool:
        list(pool.map(one, range(count)))


def decoding(photos: Path, name: str, weights: Path | None) -> Row:
    """What make_maps does before the network, with its own threads and nothing else: seconds for all photos."""
    net = load_network(name, weights)
    data = datasets.load("folder", photos)
    every = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        with ThreadPoolExecutor(DECODERS) as pool:
            problems = [one.record.problem for one in pool.map(lambda i: decode(data, i, -1, net), range(len(data)))]
        every.append(time.perf_counter() - begun)
        assert not any(problems), problems
    return figures(every, len(data))


def making(photos: Path, name: str, weights: Path | None, store: Path, small: bool) -> Row:
    """Whole runs in this process after one that compiles."""
    every, first = [], 0.0
    for repeat in range(REPEATS + 1):
        options = make_maps.Options(
            out=store, data=cli.DataOptions(dataset="folder", data_root=photos), quiet=True,
            net=cli.NetworkOptions(name, None if weights is None else str(weights), entry=cli.Entry("checkpoint")),
            maps=MapOptions(shard_size=8 if small else 256),
        )  # fmt: skip
        begun = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()) as said:
            code = make_maps.main(options)
        seconds = time.perf_counter() - begun
        assert code == 0 and "complete" in said.getvalue() and "no map" not in said.getvalue(), said.getvalue()
        shutil.rmtree(store)
        if repeat:
            every.append(seconds)
        else:
            first = seconds
    return {"first_s": first, **figures(every, len(list(photos.iterdir())))}


def figures(every: list[float], count: int) -> Row:
    median = float(np.median(every))
    spread = (max(every) - min(every)) / median
    return {
        "seconds": median, "every_s": every, "spread": spread, "steady": spread <= STEADY, "images_s": count / median
    }  # fmt: skip
