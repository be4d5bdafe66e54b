"""A full disk, one that only reads, a file in the way, a folder removed under the run, two runs into one folder.

    python -m tests.campaigns.faults --out faults.json      as root: it mounts small disks in memory

Every run must end well, with the bytes of an undisturbed one, or with exit code 2 and one sentence; then, once the
fault is gone, the same command must end in those bytes. The folder is removed after the first file, in another run
after the second, and so on to the last.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tyro

from tests.campaigns import runs

Fault = Callable[["Stage"], list[str]]
ROOM = "size=1g,rw"


@dataclass(frozen=True)
class Options:
    scripts: tuple[str, ...] = tuple(runs.JOBS)
    """Which of them."""
    removals: int | None = None
    """After how many of its files the folder is removed, spread over all of them (default: after each)."""
    out: Path | None = None
    """JSON file for the figures."""


@dataclass(frozen=True)
class Stage:
    """A script, the disk it writes to, and how many bytes its results are."""

    campaign: runs.Campaign
    script: str
    disk: Path
    size: int

    @property
    def target(self) -> Path:
        return self.disk / self.script

    def start(self) -> runs.Run:
        return self.campaign.start(self.script, self.disk)

    @contextmanager
    def remounted(self, options: str) -> Iterator[None]:
        subprocess.run(["mount", "-o", f"remount,{options}", self.disk], check=True)
        yield
        subprocess.run(["mount", "-o", f"remount,{ROOM}", self.disk], check=True)


def full_from_the_start(stage: Stage) -> list[str]:
    with stage.remounted("size=4k"):
        return [stage.start().ending()]


def full_halfway(stage: Stage) -> list[str]:
    with stage.remounted(f"size={stage.size // 2}"):
        return [stage.start().ending()]


def read_only(stage: Stage) -> list[str]:
    with stage.remounted("ro"):
        return [stage.start().ending()]


def file_in_the_way(stage: Stage) -> list[str]:
    stage.target.touch()
    endings = [stage.start().ending()]
    stage.target.unlink()
    return endings


def two_at_once(stage: Stage) -> list[str]:
    return [run.ending() for run in (stage.start(), stage.start())]


def removed(stage: Stage, files: int) -> list[str]:
    run = stage.start()
    while run.process.is_alive() and sum(len(names) for *_, names in os.walk(stage.target)) < files:
        time.sleep(0.001)
    shutil.rmtree(stage.target, ignore_errors=True)
    ending = run.ending()
    return [ending] if ending != "0" or stage.target.exists() else []  # empty: removed when all had been written


FAULTS = (full_from_the_start, full_halfway, read_only, file_in_the_way, two_at_once)


def main(options: Options) -> int:
    wrong: list[str] = []
    figures: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        campaign, disk = runs.Campaign(Path(folder)), Path(folder) / "disk"
        with mounted(disk):
            pass  # where that cannot be done, it ends here
        for script in options.scripts:
            whole, _ = campaign.undisturbed(script)
            faults: dict[str, Fault] = {fault.__name__.replace("_", " "): fault for fault in FAULTS}
            faults |= {
                f"removed after file {n}": partial(removed, files=n) for n in moments(len(whole), options.removals)
            }
            for name, fault in faults.items():
                with mounted(disk):
                    stage = Stage(campaign, script, disk, sum(map(len, whole.values())))
                    endings = fault(stage)
                    bad = runs.differing(runs.results(stage.target), whole) if "0" in endings else []
                    campaign.run(script, disk)
                    bad += runs.differing(runs.results(stage.target), whole)
                label = f"{script}, {name}"
                figures[label] = [ending.replace(str(disk), "DISK") for ending in endings]
                print(f"{label}: {figures[label]}, differing: {bad}", flush=True)
                wrong += [f"{label}: {ending}" for ending in endings if not clear(ending)]
                wrong += [f"{label}: {name} differs" for name in bad]
    runs.report("faults", {"wrong": wrong, "endings": figures}, options.out)
    return 1 if wrong else 0


def moments(files: int, count: int | None) -> list[int]:
    """So many of the numbers of files from 1 on, spread evenly; all for None."""
    return sorted({1 + k * files // count for k in range(count)}) if count else list(range(1, files + 1))


def clear(ending: str) -> bool:
    """Whether a run ended well, or as bad input makes it end: with one sentence and no traceback."""
    return ending == "0" or (ending.startswith("2 error: ") and "\n" not in ending)


@contextmanager
def mounted(disk: Path) -> Iterator[None]:
    """A disk in memory."""
    disk.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", ROOM, "tmpfs", disk], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        raise SystemExit("this campaign mounts disks in memory, which is not allowed here: run it as root") from None
    try:
        yield
    finally:
        subprocess.run(["umount", disk], check=True)
        disk.rmdir()


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(Options)))
