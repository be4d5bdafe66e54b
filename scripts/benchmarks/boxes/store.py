"""Activations and maps of many photos, made once: a folder of parts, so that a run that was stopped goes on."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from saliency._files import write_arrays

PART = 64  # photos in a file, and in memory at once


class Store:
    """Arrays by name, float16 `[n, ...]`; `make(rows)` gives those of some rows. Read when asked for."""

    def __init__(
        self, folder: Path, n: int, make: Callable[[Sequence[int]], dict[str, np.ndarray]], quiet: bool
    ) -> None:
        self.folder, self.n, self.make, self.quiet = folder, n, make, quiet

    def complete(self) -> "Store":
        """Every part on disk."""
        missing = [start for start in range(0, self.n, PART) if not self._path(start).exists()]
        for start in tqdm(missing, desc=self.folder.name, disable=self.quiet or not missing):
            made = self.make(range(start, min(start + PART, self.n)))
            write_arrays(self._path(start), {name: part.astype(np.float16) for name, part in made.items()})
        return self

    def __getitem__(self, name: str) -> np.ndarray:
        parts = []
        for start in range(0, self.n, PART):
            with np.load(self._path(start), allow_pickle=False) as file:
                parts.append(file[name])
        return np.concatenate(parts)

    @property
    def names(self) -> list[str]:
        with np.load(self._path(0), allow_pickle=False) as file:
            return file.files

    def _path(self, start: int) -> Path:
        return self.folder / f"{start:06}.npz"
