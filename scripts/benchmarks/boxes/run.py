"""Boxes by coverage beside the other routes, on real photos and on scenes: CorLoc, intervals, paired tests, one table.

Every choice (penalties, cells, thresholds) is made inside the training folds, and all routes of a set share the folds.
Photos are stretched. Activations and maps are made once and kept in `--cache` as float16, as are the routes' boxes;
each set's figures are written as soon as they are there, so a run that was stopped goes on.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saliency import report
from saliency._reading import read_json
from saliency.errors import InputError
from scripts import cli
from scripts.benchmarks.boxes import others
from scripts.benchmarks.boxes.markdown import tables
from scripts.benchmarks.boxes.sets import SETS
from scripts.benchmarks.boxes.stores import features
from scripts.benchmarks.boxes.table import compared

NAMES = (*SETS, *others.OTHERS)
WITHOUT_PHOTOS = ("scenes", "speed")


@dataclass(frozen=True)
class Options:
    """CorLoc of coverage, of the other linear maps and of the heuristics, all on the same folds."""

    sets: tuple[str, ...] = NAMES
    """What is measured: data sets, "few" (boxes, of the VOC animals), "speed"."""
    shared: Path | None = None
    """Folder of real weights and photos (default: the variable SALBOX_SHARED)."""
    cache: Path = Path("runs/benchmark/boxes")
    """Where activations, maps and boxes are kept."""
    out: Path = Path("runs/benchmark/boxes.json")
    """Sets that it holds already stay, unless they are measured anew."""
    seed: int = 0
    quiet: bool = False


def main(options: Options) -> int:
    unknown = sorted(set(options.sets) - set(NAMES))
    if unknown:
        raise InputError(f"unknown set {unknown[0]!r}; choose from {', '.join(NAMES)}")
    shared = options.shared or (Path(os.environ["SALBOX_SHARED"]) if os.environ.get("SALBOX_SHARED") else None)
    if shared is None and set(options.sets) - set(WITHOUT_PHOTOS):
        raise InputError("--shared must name the folder with real weights and photos, or leave scenes and speed only")
    quiet = cli.silent(options.quiet)
    for name in options.sets:
        found = measured(name, shared or Path(), options, quiet)
        results = read_json(options.out) if options.out.exists() else {}
        origin = report.record(options, options.seed, found.pop("inputs", name), cli.command())
        report.write_json(options.out, {**results, name: {**found, "origin": origin}})
        print(f"wrote {options.out}: {name}", flush=True)
    if options.out.exists():
        for name, table in tables(read_json(options.out)).items():
            print(f"\n{name}\n\n{table}", flush=True)
    return 0


def measured(name: str, shared: Path, options: Options, quiet: bool) -> dict[str, Any]:
    if name in others.OTHERS:
        return others.OTHERS[name](shared, options.cache, quiet)
    chosen = SETS[name]
    photos = chosen.photos(shared)
    return compared(
        photos,
        features(photos, shared, options.cache, quiet),
        chosen.routes,
        options.cache,
        learned=chosen.learned(photos) if chosen.learned else None,
        scored=chosen.scored(photos) if chosen.scored else None,
        seed=options.seed,
        say=lambda line: print(f"{name} {line}", flush=True),
    )
