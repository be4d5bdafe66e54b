"""The whole product on an accelerator, part by part, each in a process of its own: what `scripts/gpu_check.sh` runs.

Parts: machine, tests, occlusion, gradient, maps, linear, and table, which puts the others' files together. Each writes
`OUT/PART.json` with every figure it gets, so that nothing is lost where time runs out. `--small` runs all of it on a
CPU, on networks and numbers that take seconds: figures mean nothing then, but that every line has run.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from saliency._checks import number, one_of
from saliency._files import check_writable
from saliency.errors import InputError
from scripts.gpu import gradient, linear, machine, maps, occlusion, table, tests
from scripts.gpu.common import Journal, head

Part = Literal["machine", "tests", "occlusion", "gradient", "maps", "linear", "table"]


@dataclass(frozen=True)
class Options:
    """Check and time the product on an accelerator."""

    part: Part = "table"
    out: Path = Path("runs/gpu")
    """Folder of the JSON files."""
    small: bool = False
    """Small networks and numbers, on whatever device there is."""
    weights: Path | None = None
    """SqueezeNet 1.1's real weights (default: random ones)."""
    seconds: float = 120.0
    """What the part has; it leaves out what does not fit, and says so."""
    piece: str | None = None
    """One piece of a part, as the part itself calls it."""


def main(options: Options) -> int:
    number("--seconds", options.seconds, above=0)
    if options.weights is not None and not options.weights.is_file():
        raise InputError(f"{options.weights}: no such file of weights")
    check_writable(options.out)
    if options.part == "table":
        return table.run(options.out)
    if options.piece is not None:
        one_of("--part with --piece", options.part, ("occlusion", "gradient"))
    name = options.part if options.piece is None else f"{options.part}-{options.piece}"
    about = (
        {"part": options.part, "small": options.small} if options.piece is None and options.part in PARENTS else None
    )
    journal = Journal(options.out / f"{name}.json", options.seconds, about or head(name, options.small))
    arguments = ["--out", str(options.out), *(["--small"] if options.small else [])]
    arguments += ["--weights", str(options.weights)] if options.weights else []
    match options.part, options.piece:
        case "machine", _:
            machine.run(journal, options.small)
        case "tests", _:
            tests.run(journal, options.small, options.out, options.weights)
        case "occlusion", None:
            occlusion.run(journal, options.small, arguments)
        case "occlusion", str(piece):
            occlusion.run_piece(journal, piece, options.small, options.weights, options.out)
        case "gradient", None:
            gradient.run(journal, options.small, arguments)
        case "gradient", str(piece):
            gradient.run_piece(journal, piece, options.small, options.weights, options.out)
        case "maps", _:
            maps.run(journal, options.small, options.weights)
        case "linear", _:
            linear.run(journal, options.small)
    return 0


PARENTS = ("tests", "occlusion", "gradient")  # they start processes, and must not hold the device themselves
