"""What each network shows of a set's photos, from the cache."""

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from saliency import report
from scripts.benchmarks.boxes.photos import Photos
from scripts.benchmarks.boxes.sources import SOURCES, Make
from scripts.benchmarks.boxes.store import Store

SCHEMA = 2  # of the features in the cache: another number where other ones would be made
FILES = {"vgg16_features": "vgg16_features_float16"}
HELD = 4  # arrays in memory


def features(photos: Photos, shared: Path | None, cache: Path, quiet: bool) -> Callable[[str, np.ndarray], np.ndarray]:
    """A function that gives an array, "network:name", for some of the samples; what is missing in the cache is made."""

    @lru_cache(HELD)
    def whole(name: str) -> np.ndarray:
        network, _, array = name.partition(":")
        return store(photos, network, shared, cache, quiet).complete()[array]

    def rows_of(name: str, rows: np.ndarray) -> np.ndarray:
        return whole(name)[rows if _asks(name.partition(":")[0]) else photos.of[rows]]

    return rows_of


def store(photos: Photos, network: str, shared: Path | None, cache: Path, quiet: bool) -> Store:
    """Its rows are photos; of a network that is asked about classes, samples."""
    file = network.partition("-")[0]
    weights = shared / "weights" / f"{FILES.get(file, file)}.safetensors" if shared and file != "scenes_cnn" else None
    n = len(photos.ids)
    of, asked = (photos.of, photos.asked) if _asks(network) else (np.arange(n), np.full(n, -1))
    digest = report.content_hash(
        photos.ids, of, asked, hashlib.sha256(weights.read_bytes()).digest() if weights else b""
    )

    @lru_cache(1)
    def source() -> Make:
        return SOURCES[network](weights)

    def make(rows: Sequence[int]) -> dict[str, np.ndarray]:
        return source()([photos.images[of[i]] for i in rows], [int(asked[i]) for i in rows])

    return Store(cache / f"{SCHEMA}-{photos.name}-{network}-{digest[:16]}", len(of), make, quiet)


def _asks(network: str) -> bool:
    return network.endswith("-asked")
