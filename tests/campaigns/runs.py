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

import numpy as np

from saliency import Network, load_network
from tests.devkits import write_photo

ROOT = Path(__file__).resolve().parents[2]
COMPARE = "compare --n-train 60 --n-test 12"
JOBS = {  # by the name of its folder, a script and its words
    "make_maps": "make_maps --limit 48 --shard-size 4 --size 24 24",
    "fit_boxes": "fit_boxes --stores {before}/make_maps --features.size 4 4 --features.profiles 0.1 0.9"
    " --lambdas 0.01 0.1 --few-shot 5 10",
    "compare": "compare --methods gradient-max grad-cam --n-train 120 --n-test 20 --quality 2",
    "menu": f"{COMPARE} --methods random smooth(grad-cam) segment-occlusion kernel-shap channels --masks 16"
    " --segments 9 --repeats 2 --quality 2 --measures insertion sparsity stability --keep-bundles",
    "bundle": f"{COMPARE} --methods grad-cam random --quality 0 --bundle {{before}}/menu/bundles/random.safetensors",
    "networks": f"{COMPARE} --networks scenes_cnn tests.campaigns.runs:second --methods gradient-max --quality 1",
    "explain": "explain {photo} --network scenes_cnn --methods gradient-max grad-cam",
    "evaluate": "evaluate --network scenes_cnn --method gradient-max --limit 40",
    "robustness": "robustness --augmentations bernoulli --families bernoulli life --coverages 0.3 0.6"
    " --videos 6 --frames 2 --train-frames 64 --epochs 1",
}
NEEDS = {"fit_boxes": "make_maps", "bundle": "menu"}  # jobs that read what another one has left
TIMED = "seconds", "ms_per_image", "peak_mib"  # fields that a clock or the kernel's memory counter fills
CHOSEN = "cheapest", "for_nothing"  # and those of a verdict that follow from them
COST = "pictures/cost.png"  # compare's picture of them
DRAWN = {"explain": ("*.png", "report.html", "rows.csv")}  # files of a job that hold its seconds in every part
_ORIGIN = re.compile(r"<pre>.*?</pre>", re.DOTALL)  # results.json once more
_COSTS = re.compile(r" The cheapest of them is .*? ms an image\.| Cost more than 1\.5 times .*?\(.*?\)\.")
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
            "JAX_COMPILATION_CACHE_DIR": os.environ.get("JAX_COMPILATION_CACHE_DIR", str(self.folder / "cache")),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
            "JAX_PLATFORMS": "cpu",
            "TF_CPP_MIN_LOG_LEVEL": "3",  # XLA's complaint of a slow compilation, on a busy machine
        }
        multiprocessing.set_forkserver_preload(sorted({f"scripts.{words.split()[0]}" for words in JOBS.values()}))
        write_photo(self.folder / "photo.png", (80, 120))

    def before(self, job: str) -> None:
        """Run what a job needs, once."""
        if job in NEEDS and not (self.folder / "undisturbed" / NEEDS[job]).exists():
            self.run(NEEDS[job], self.folder / "undisturbed")

    def start(self, job: str, place: Path) -> Run:
        """Begin a job that writes the folder of its name in `place`, in the same words each time: they are recorded."""
        place.mkdir(parents=True, exist_ok=True)
        before, photo = self.folder / "undisturbed", self.folder / "photo.png"
        script, *words = JOBS[job].format(before=before, photo=photo).split()
        errors = self.folder / f"errors-{time.monotonic_ns()}"
        errors.touch()  # a kill may come before the process writes there
        process = multiprocessing.get_context("forkserver").Process(
            target=_script, args=(script, [*words, "--quiet", "--out", job], place, errors)
        )
        process.start()
        return Run(process, errors)

    def run(self, job: str, place: Path) -> float:
        """Seconds of a run, which must end well."""
        begun = time.monotonic()
        ending = self.start(job, place).ending()
        if ending != "0":
            raise SystemExit(f"{job} in {place} ended with {ending}")
        return time.monotonic() - begun

    def undisturbed(self, job: str) -> tuple[dict[str, bytes], float]:
        """A job's results, the same from two runs, and its seconds once everything is compiled."""
        self.before(job)
        self.run(job, self.folder / "undisturbed")
        seconds = self.run(job, self.folder / "again")
        whole, again = (results(self.folder / name / job) for name in ("undisturbed", "again"))
        if bad := differing(whole, again):
            raise SystemExit(f"two undisturbed runs of {job} differ in {', '.join(bad)}: nothing to compare with")
        return whole, seconds


def second() -> Network:
    """Another network for scenes: the embedded one with its classes in another order."""
    net = load_network("scenes_cnn")
    last = list(net.weights)[-1]
    turned = {name: np.roll(np.asarray(value), 3, -1) for name, value in net.weights[last].items()}
    return Network(net.architecture, {**net.weights, last: turned}, net.preprocess, classes=net.classes)


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
    left_out = DRAWN.get(folder.name, ())
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not any(path.match(pattern) for pattern in left_out)
    }
    costs = [base64.b64encode(found.pop(name)).decode() for name in list(found) if name.endswith(COST)]
    for name, content in found.items():
        if name.endswith("results.json"):
            found[name] = json.dumps(untimed(json.loads(content)), indent=1).encode()
        elif name.endswith("report.html"):
            text = _COSTS.sub("", _ORIGIN.sub("", content.decode()))
            first, end, rest = text.partition("</table>")
            text = _LAST_CELLS.sub("</tr>", first) + end + rest
            for cost in costs:
                text = text.replace(cost, "")
            found[name] = text.encode()
    return found


def untimed(value: object) -> object:
    """Plain data without the fields that a clock fills."""
    if isinstance(value, dict):
        return {name: None if name in (*TIMED, *CHOSEN) else untimed(own) for name, own in value.items()}
    return [untimed(own) for own in value] if isinstance(value, list) else value


def differing(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Names of the files that are not in both, or not the same."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def report(name: str, figures: dict[str, object], out: Path | None) -> None:
    """The campaign's figures on one line, and in a file."""
    print(f"{name}: {json.dumps(figures)}")
    if out:
        out.write_text(json.dumps({"campaign": name, **figures}, indent=1) + "\n", encoding="utf-8")
