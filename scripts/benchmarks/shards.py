"""A data set on many devices: where the limit lies, and what failures cost, simulated.

A device takes photos at the rate of the slowest of four things: its own arithmetic, its host's decoding, and its share
of what all devices read from and write to one store. A shard that a failure interrupts is made anew from its first
photo, as `make_maps` does it, after the process has started again. Failures come to each device at random, whatever it
does. Shards are dealt out beforehand (`make_maps --shard I/N`, device i makes every N-th), or taken from a common
queue.

What the rates are measured by stands in docs/speed.md; the store's bandwidth, the mean time between failures and the
time to start again are assumptions, stated as options.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from saliency import report
from saliency._checks import number, whole
from scripts import cli


@dataclass(frozen=True)
class Rates:
    """What a device, its host and the common store can do."""

    device: float
    """Maps a second and device."""
    decode: float
    """Photos a second and device, of the host's cores that are its own."""
    read_bytes: float = 110_000.0
    """Of a photo."""
    written_bytes: float = 6_300.0
    """Of a map: 56x56 in float16."""
    store: float = 1e10
    """Bytes a second of the common store, read and written."""

    def limits(self, devices: int) -> dict[str, float]:
        """Photos a second of all devices, by each thing alone."""
        return {
            "arithmetic": devices * self.device,
            "decoding": devices * self.decode,
            "store": self.store / (self.read_bytes + self.written_bytes),
        }


@dataclass(frozen=True)
class Failures:
    """Seconds between two failures of one device (the mean), and until it has started and compiled again."""

    between: float
    restart: float


@dataclass(frozen=True)
class Options:
    """Simulate data sets on 8 and on 1,000 devices."""

    photos: tuple[int, ...] = (300_916, 1_000_000_000)
    devices: tuple[int, ...] = (8, 1000)
    shard: tuple[int, ...] = (256, 4096)
    device_rate: float = 896.0
    """VGG16 on one H200 (data/benchmarks/gpu.json)."""
    decode_rate: float = 700.0
    """One process with 16 cores (the same file)."""
    store: float = 1e10
    days_between: float = 30.0
    """Between failures of one device."""
    restart: float = 120.0
    draws: int = 5
    out: Path = Path("runs/benchmark/shards.json")
    seed: int = 0
    quiet: bool = False


def main(options: Options) -> int:
    for name in ("device_rate", "decode_rate", "store", "days_between"):
        number(f"--{name.replace('_', '-')}", getattr(options, name), above=0)
    for values in (options.photos, options.devices, options.shard, (options.draws,)):
        for value in values:
            whole("photos, devices, shard and draws", value, least=1)
    rates = Rates(options.device_rate, options.decode_rate, store=options.store)
    failures = Failures(86_400 * options.days_between, options.restart)
    rows = [
        row(photos, devices, shard, rates, failures, options.draws, options.seed)
        for photos in options.photos
        for devices in options.devices
        for shard in options.shard
    ]
    report.write_json(options.out, {**report.record(options, options.seed, "", cli.command()), "results": rows})
    for one in rows:
        print(
            f"{one['photos']:>13,} photos, {one['devices']:>5,} devices, shards of {one['shard']:>5,}:"
            f" {one['hours']['queue']:9.3f} h from a queue, {one['hours']['dealt']:9.3f} h dealt out, limit"
            f" {one['limit']}, {one['failures']:.1f} failures, {100 * one['lost']:.3f}% made twice"
        )
    print(f"wrote {options.out}")
    return 0


def row(
    photos: int, devices: int, shard: int, rates: Rates, failures: Failures, draws: int, seed: int
) -> dict[str, Any]:
    """The mean over draws: hours either way, failures met, and the share of work that was made twice."""
    limits = rates.limits(devices)
    limit = min(limits, key=lambda name: limits[name])
    each = devices / limits[limit]  # seconds a photo and device
    sizes = np.full(-(-photos // shard), shard, float)
    sizes[-1] = photos - shard * (len(sizes) - 1)
    found = []
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        seconds, lost, met = attempts(sizes * each, failures, rng)
        found.append((queued(seconds, devices), dealt(seconds, devices), met, lost / (sizes.sum() * each)))
    queue, apart, met, lost = np.mean(found, 0)
    return {
        "photos": photos, "devices": devices, "shard": shard, "limits": limits, "limit": limit,
        "hours": {"queue": queue / 3600, "dealt": apart / 3600, "no failure": photos / limits[limit] / 3600},
        "failures": met, "lost": lost,
    }  # fmt: skip


def attempts(work: np.ndarray, failures: Failures, rng: np.random.Generator) -> tuple[np.ndarray, float, int]:
    """Seconds that each shard takes, tries that failed and restarts counted; seconds of work lost; failures met.

    A try of w seconds fails with probability 1 - exp(-w / between), after a time whose distribution is the exponential
    one below w.
    """
    chance = -np.expm1(-work / failures.between)
    tries = rng.geometric(1 - chance) - 1
    of = np.repeat(np.arange(len(work)), tries)
    after = -failures.between * np.log1p(-rng.random(len(of)) * chance[of])
    lost = np.bincount(of, after, len(work))
    return work + lost + tries * failures.restart, float(after.sum()), int(tries.sum())


def queued(seconds: Sequence[float] | np.ndarray, devices: int) -> float:
    """When the last shard is done, each device taking the next one as soon as it is free."""
    free = [0.0] * devices
    for one in seconds:
        heapq.heapreplace(free, free[0] + float(one))
    return max(free)


def dealt(seconds: np.ndarray, devices: int) -> float:
    """When the last shard is done, device i making every `devices`-th from i on."""
    return float(np.bincount(np.arange(len(seconds)) % devices, seconds).max())
