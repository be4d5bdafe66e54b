"""Finished parts of a run on disk, each found again by the content of all that entered it and by nothing else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from glob import escape
from pathlib import Path

import numpy as np

from saliency._files import write_arrays
from saliency._reading import read_back

SCHEMA = 2  # of what is kept: another number where the code's meaning of it has changed
DIGITS = 16  # of a key, in a file's name


@dataclass(frozen=True)
class Parts:
    """Named arrays in a folder, each file there as a whole or not at all; without a folder nothing is kept."""

    folder: Path | None

    def get(self, name: str, key: str, make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The arrays of a part, made where they are not on disk; `key` is the hash of all that enters them.

        A part that takes the place of another of its name, made of other things, removes it.
        """
        if self.folder is None:
            return dict(make())
        path = self.folder / f"{name}-{key[:DIGITS]}.npz"
        if not path.exists():
            write_arrays(path, make())
            for other in self.folder.glob(f"{escape(name)}-{'[0-9a-f]' * DIGITS}.npz"):
                if other != path:
                    other.unlink(missing_ok=True)
        return read_back(path)
