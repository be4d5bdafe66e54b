"""What the campaigns share: the scripts as users start them, in sizes of seconds, and their results without the clock."""

import base64
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = (sys.executable, "-m")
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
class Campaign:
    """A folder to work in; `store` is what fit_boxes reads."""

    folder: Path

    @property
    def store(self) -> Path:
        return self.folder / "undisturbed" / "make_maps"

    def start(self, script: str, place: Path, *more: str, out: str = "") -> subprocess.Popen[str]:
        """A script that writes the folder `script` in `place`, in the same words wherever that is: they are recorded."""
        place.mkdir(parents=True, exist_ok=True)
        words = JOBS[script].format(store=self.store).split()
        cache = {"JAX_COMPILATION_CACHE_DIR": str(self.folder / "cache")} | {
            f"JAX_PERSISTENT_CACHE_MIN_{key}": "0" for key in ("COMPILE_TIME_SECS", "ENTRY_SIZE_BYTES")
        }
        return subprocess.Popen(
            [*PYTHON, f"scripts.{script}", *words, "--quiet", "--out", out or script, *more],
            cwd=place,
            env={**os.environ, **cache, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, place: Path) -> float:
        """Seconds of a run that must end well."""
        begun = time.monotonic()
        process = self.start(script, place)
        said = process.communicate()[1]
        if process.returncode:
            raise SystemExit(f"{script} in {place} ended with {process.returncode}: {said}")
        return time.monotonic() - begun

    def undisturbed(self) -> tuple[dict[str, dict[str, bytes]], dict[str, float]]:
        """Results of every script, and its seconds once everything is compiled."""
        place = self.folder / "undisturbed"
        for script in JOBS:
            self.run(script, place)
        seconds = {script: self.run(script, self.folder / "again") for script in JOBS}
        found = {script: results(place / script) for script in JOBS}
        for script, files in found.items():
            if differing(files, results(self.folder / "again" / script)):
                raise SystemExit(f"two undisturbed runs of {script} differ: there is nothing to compare with")
        return found, seconds


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
