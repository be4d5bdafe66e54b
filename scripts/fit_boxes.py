"""Boxes from the maps of a store: the linear map at any size, its penalty chosen on held-out images, its figures.

    python -m scripts.fit_boxes --stores STORE --out runs/fit
    python -m scripts.fit_boxes --stores GRADIENT GESTALT --method lad --few-shot 50 200 1000 --out runs/stacked

Images are split at random, from the seed: to fit, to choose the penalty, to score. Nothing that is written
depends on the clock, so that a killed run, started again, ends in the same bytes.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from localization._processes import Processes
from localization.options.fit import FitOptions
from saliency.errors import InputError
from scripts import cli


@dataclass(frozen=True)
class Options:
    """Fit the linear map from maps to boxes."""

    stores: tuple[Path, ...]
    """Folders made by make_maps; several of the same images are stacked as features."""
    out: Path = Path("runs/fit_boxes")
    fit: Annotated[FitOptions, tyro.conf.arg(name="")] = field(default_factory=FitOptions)
    processes: tyro.conf.OmitArgPrefixes[Processes] = field(default_factory=Processes)
    compile_cache: cli.Cache = None
    """Folder of compiled programs, or off (default: salbox's own in the user's folder for caches)."""
    quiet: bool = False


def main(options: Options) -> int:
    from localization.fitting import fit
    from saliency._files import check_writable

    with cli.as_options(options):
        options.fit.check()
        check_writable(options.out)
        if options.fit.few_shot and options.processes.several:
            raise InputError("--few-shot needs a single process")
        options.processes.start()
        start = time.perf_counter()
        part, parts = options.processes.share()
        with cli.progress("fit", options.quiet) as progress:
            result = fit(options.stores, options=options.fit, part=part, parts=parts, progress=progress)
        if part == 0:
            result.save(options.out, command=cli.command())
            print(result.table())
            bundle = options.out / "linear_map.safetensors"
            print(f"{time.perf_counter() - start:.1f} s; {bundle} and report.html beside it")
    return 0


if __name__ == "__main__":
    cli.start(main, Options)
