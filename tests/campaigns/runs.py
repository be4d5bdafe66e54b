"""What the campaigns share: the scripts as users run them, in sizes of seconds, and their results without the clock.

A run is a process of its own, forked from one that has imported the scripts: it begins where a kill can hurt.
"""

import base64
import importlib
import json
import multiprocessing
import os
import re
import sys
import time
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
JOBS = {
    "make_maps": "--limit 48 --shard-size 4 --size 24 24",
    "fit_boxes": "--stores {store} --features.size 4 4 --features.profiles 0.1 0.9 --lambdas 0.01 0.1 --few-shot 5 10",
    "compare": "--methods gradient-max grad-cam --n-train 120 --n-test 20 --quality 2",
    "evaluate": "--network scenes_cnn --method gradient-max --limit 40",
    "robustness": "--augmentations bernoulli --families bernoulli life --coverages 0.3 0.6"
    " --videos 6 --frames 2 --train-frames 64 --epochs 1",
}
TIMED = "seconds", "ms_per_image", "peak_mib"  # fields that a clock or the kernel's memory counter fills
COST = "pictures/cost.png"  # compare's picture of them
_FIELD = re.compile(rf"((?:\"|&#34;)(?:{'|'.join(TIMED)})(?:\"|&#34;): )[^,\n]+")
_LAST_CELLS = re.compile(r"(?:<td[^>]*>[^<]*</td>){2}</tr>")  # of compare's first table


@dataclass(frozen=True)
class Run:
    """A script at work, and where it says what goes wrong."""

    process: ForkServerProcess
    errors: Path

    def ending(self) -> str:
        """Exit code; where that is not 0, what was said on stderr as well."""
        self.process.join()
        code = self.process.exitcode
        return f"{code} {self.errors.read_text(encoding='utf-8')}".strip() if code else "0"


@dataclass(frozen=True)
class Campaign:
    """A folder to work in, with a compile cache, so that a restart costs little."""

    folder: Path

    def __post_init__(self) -> None:
        os.environ |= {
            "JAX_COMPILATION_CACHE_DIR": str(self.folder / "cache"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
            "JAX_PLATFORMS": "cpu",
            "TF_CPP_MIN_LOG_LEVEL": "3",  # XLA's complaint of a slow compilation, on a busy machine
        }
        multiprocessing.set_forkserver_preload([f"scripts.{script}" for script in JOBS])

    def start(self, script: str, place: Path) -> Run:
        """Begin a script that writes the folder `script` in `place`, in the same words each time: they are recorded."""
        place.mkdir(parents=True, exist_ok=True)
        words = JOBS[script].format(store=self.folder / "undisturbed" / "make_maps").split()
        errors = self.folder / f"errors-{time.monotonic_ns()}"
        errors.touch()  # a kill may come before the process writes there
        process = multiprocessing.get_context("forkserver").Process(
            target=_script, args=(script, [*words, "--quiet", "--out", script], place, errors)
        )
        process.start()
        return Run(process, errors)

    def run(self, script: str, place: Path) -> float:
        """Seconds of a run, which must end well."""
        begun = time.monotonic()
        ending = self.start(script, place).ending()
        if ending != "0":
            raise SystemExit(f"{script} in {place} ended with {ending}")
        return time.monotonic() - begun

    def undisturbed(self, script: str) -> tuple[dict[str, bytes], float]:
        """A script's results, the same from two runs, and its seconds once everything is compiled."""
        self.run(script, self.folder / "undisturbed")
        seconds = self.run(script, self.folder / "again")
        whole, again = (results(self.folder / name / script) for name in ("undisturbed", "again"))
        if bad := differing(whole, again):
            raise SystemExit(f"two undisturbed runs of {script} differ in {', '.join(bad)}: nothing to compare with")
        return whole, seconds


def _script(script: str, words: list[str], place: Path, errors: Path) -> None:
    """In a process of its own: what `python -m scripts.NAME` does, once that is imported."""
    from scripts import cli

    os.chdir(place)
    for stream, path in ((1, os.devnull), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    sys.argv = [f"scripts/{script}.py", *words]
    module = importlib.import_module(f"scripts.{script}")
    cli.start(module.main, module.Options)


def results(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones as well, byte for byte but for what was timed."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    cost = base64.b64encode(found.pop(COST, b"")).decode()
    for name in found.keys() & {"results.json", "report.html"}:
        text = _FIELD.sub(r"\1timed", found[name].decode())
        if cost:
            first, rest = text.split("</table>", 1) if name.endswith("html") else ("", text)
            text = _LAST_CELLS.sub("</tr>", first) + rest.replace(cost, "")
        found[name] = text.encode()
    return found


def differing(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Names of the files that are not in both, or not the same."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def report(name: str, figures: dict[str, object], out: Path | None) -> None:
    """The campaign's figures on one line, and in a file."""
    print(f"{name}: {json.dumps(figures)}")
    if out:
        out.write_text(json.dumps({"campaign": name, **figures}, indent=1) + "\n", encoding="utf-8")
