"""What every result says of itself: where it came from, the hash of its inputs, and its numbers as JSON and CSV.

Every file is written under a temporary name and renamed, so a reader never finds half of one.
"""

import csv
import hashlib
import json
import math
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from saliency import __version__
from saliency._files import atomic_write

SCHEMA = 1
PACKAGES = ("salbox", "jax", "jaxlib", "flax", "optax", "numpy", "scipy", "scikit-learn", "pillow", "matplotlib")


def record(config: object, seed: int, inputs: str, command: str = "") -> dict[str, Any]:
    """What every result file says of its origin: schema, versions, machine, config, seed, the inputs' hash, and the
    command line where there was one."""
    import jax

    return {
        "schema": SCHEMA,
        "config": plain(config),
        "seed": seed,
        "inputs": inputs,
        "versions": versions(),
        "device": f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}",
        "command": command,
    }


def versions() -> dict[str, str]:
    """Versions of what computes the figures."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def content_hash(*parts: object) -> str:
    """SHA-256 of arrays (dtype, shape and bytes), bytes and text, in order."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, bytes):
            digest.update(part)
        elif isinstance(part, np.ndarray) or _of_jax(part):
            array = np.ascontiguousarray(part)
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(_bytes(array))
        else:
            digest.update(json.dumps(plain(part), sort_keys=True).encode())
    return digest.hexdigest()


def _bytes(array: np.ndarray) -> memoryview | bytes:
    """An array's bytes, without a copy where it holds numbers: hashing then leaves Python's lock to other threads."""
    flat = array.reshape(-1)
    return array.tobytes() if array.dtype.hasobject or not array.dtype.itemsize else flat.view(np.uint8).data


def plain(value: object) -> Any:
    """A value as JSON can hold it: dataclasses as objects, paths as text, arrays as lists, NaN and infinity as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray) or _of_jax(value):
        return plain(np.asarray(value).tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def _of_jax(value: object) -> bool:
    """Whether this is one of JAX's arrays; where nobody imported it there are none."""
    return "jax" in sys.modules and isinstance(value, sys.modules["jax"].Array)


def write_json(path: Path | str, value: object) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(plain(value), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def write_csv(path: Path | str, rows: Iterable[Mapping[str, object]], columns: Sequence[str]) -> None:
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows({column: plain(row.get(column)) for column in columns} for row in rows)


def write_bytes(path: Path | str, data: bytes) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def _version(name: str) -> str:
    try:
        installed = version(name)
    except PackageNotFoundError:
        installed = "not installed"
    if name != "salbox" or installed == __version__:
        return installed
    # what runs lies in a checkout, whatever is installed
    return f"{__version__}, a checkout ({installed if installed == 'not installed' else f'{installed} is installed'})"
