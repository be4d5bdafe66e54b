"""What the parts share: figures that say how far their repeats are apart, and a journal that is on disk at once."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from saliency import report
from saliency.models.network import Network
from saliency.models.weights import ARCHITECTURES, load_network, random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.occlusion.windows import Windows
from saliency.report.record import SCHEMA

REPEATS = 3
STEADY = 0.05  # repeats further apart than this share of their median are marked
SETTINGS = ((32, 16), (8, 4))  # patch and stride
NETWORKS = ("vgg16", "squeezenet1_1", "resnet50")
Row = dict[str, Any]


@dataclass
class Journal:
    """A part's JSON file, written anew with every row: what was measured survives whatever comes next.

    `seconds` is what the part has; rows that find too little left are kept as left out.
    """

    path: Path
    seconds: float
    head: Mapping[str, Any]
    rows: list[Row] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._write("under way")

    @property
    def left(self) -> float:
        """Seconds."""
        return self.seconds - (time.monotonic() - self.begun)

    def add(self, **row: Any) -> Row:
        self.rows.append(row)
        self._write("under way")
        print("  " + said(row), flush=True)
        return row

    def measure(self, name: Mapping[str, Any], call: Callable[[], Row], least: float = 5.0) -> Row | None:
        """A row of `name` and what `call` says; an error is told in the row, and a row without time is left out."""
        if self.left < least:
            self.add(**name, left_out=f"{self.left:.0f} s were left")
            return None
        try:
            return self.add(**name, **call())
        except Exception as error:  # whatever one setting dies of, the others are wanted
            self.add(**name, error=f"{type(error).__name__}: {' '.join(str(error).split())[:400]}")
            return None

    def skip(self, reason: str) -> None:
        self.add(skipped=reason)

    def done(self) -> None:
        self._write("done")

    def _write(self, state: str) -> None:
        took = round(time.monotonic() - self.begun, 2)
        report.write_json(self.path, {**self.head, "state": state, "seconds": took, "rows": self.rows})


def said(row: Mapping[str, Any]) -> str:
    """A row in one line."""
    parts = [f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items() if not isinstance(v, list)]
    return " ".join(parts)[:300]


def head(part: str, small: bool) -> Row:
    device = jax.devices()[0]  # a piece for torch has JAX on the CPU, and says in a row which device torch had
    return {
        "schema": SCHEMA,
        "part": part,
        "small": small,
        "platform": device.platform,
        "card": device.device_kind,
        "versions": report.versions(),
    }


def timed(call: Callable[[], object], repeats: int = REPEATS, loops: int = 1) -> Row:
    """Seconds of a call that returns when all is done: the first, and the median of those after it."""
    begun = time.perf_counter()
    call()
    first = time.perf_counter() - begun
    return {"first_s": first, **again(call, repeats, loops)}


def again(call: Callable[[], object], repeats: int = REPEATS, loops: int = 1) -> Row:
    """Seconds of a call that was made before; `spread` is how far the repeats are apart, as a share of their median."""
    every = []
    for _ in range(repeats):
        begun = time.perf_counter()
        for _ in range(loops):
            call()
        every.append((time.perf_counter() - begun) / loops)
    median = statistics.median(every)
    spread = (max(every) - min(every)) / median
    return {"seconds": median, "every_s": every, "spread": spread, "steady": spread <= STEADY}


def peak() -> int | None:
    """The most bytes of the device that this process has held so far; None where the device does not say."""
    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def network(name: str, small: bool, weights: Path | None) -> tuple[Network, str]:
    """A network, and what its weights are: SqueezeNet's real ones if there are any, else random ones."""
    if small:
        return random_network(scenes_cnn(((8,), (8, 12)), size=(40, 36))), f"random, a small network instead of {name}"
    if name == "squeezenet1_1" and weights is not None:
        return load_network(name, weights), "real"
    return random_network(ARCHITECTURES[name]()), "random"


def windows_of(net: Network, patch: int, stride: int, small: bool) -> Windows:
    if small:
        patch, stride = patch // 4 + 4, stride // 4 + 4
    return Windows(net.architecture.size, (patch, patch), (stride, stride))


def images(net: Network, n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, *net.architecture.size, 3)).astype(np.float32)


def relative(found: np.ndarray, right: np.ndarray) -> float:
    """The largest difference, as a share of the largest value."""
    return float(np.abs(found - right).max() / np.abs(right).max())


def piece(part: str, name: str, arguments: Sequence[str], seconds: float, **environment: str) -> str | None:
    """One piece of a part in a process of its own, so that its peak is its own; None, or what it ended with."""
    command = [sys.executable, "-m", "scripts.benchmark", "gpu", "--part", part, "--piece", name, *arguments]
    try:
        found = subprocess.run(command, env={**os.environ, **environment}, timeout=max(1.0, seconds), check=False)
    except subprocess.TimeoutExpired:
        return f"ended after its {seconds:.0f} s"
    return f"exit code {found.returncode}" if found.returncode else None
