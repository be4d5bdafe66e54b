"""A full disk, one that only reads, a file in the way, a folder removed under the run, two runs into one folder.

    python -m tests.campaigns.faults --out faults.json      as root: it mounts small disks in memory

Every script must end well, or with exit code 2 and one sentence; and once the fault is gone the same command must end
in the bytes of an undisturbed run.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tyro
from tests.campaigns import runs

ROOM = "size=1g,rw"


@dataclass(frozen=True)
class Options:
    scripts: tuple[str, ...] = tuple(runs.JOBS)
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

    def run(self, copies: int = 1) -> list[str]:
        return self.endings([self.campaign.start(self.script, self.disk) for _ in range(copies)])

    def endings(self, processes: Sequence[subprocess.Popen[str]]) -> list[str]:
        """Exit code and sentence of each, without the folder's name."""
        said = [process.communicate()[1].strip() for process in processes]
        folder = str(self.campaign.folder)
        return [f"{process.returncode} {text}".strip().replace(folder, "") for process, text in zip(processes, said)]

    @contextmanager
    def remounted(self, options: str) -> Iterator[None]:
        subprocess.run(["mount", "-o", f"remount,{options}", self.disk], check=True)
        yield
        subprocess.run(["mount", "-o", f"remount,{ROOM}", self.disk], check=True)


def full_from_the_start(stage: Stage) -> list[str]:
    with stage.remounted("size=4k"):
        return stage.run()


def full_halfway(stage: Stage) -> list[str]:
    with stage.remounted(f"size={stage.size // 2}"):
        return stage.run()


def read_only(stage: Stage) -> list[str]:
    with stage.remounted("ro"):
        return stage.run()


def file_in_the_way(stage: Stage) -> list[str]:
    stage.target.touch()
    endings = stage.run()
    stage.target.unlink()
    return endings


def removed_under_it(stage: Stage) -> list[str]:
    process = stage.campaign.start(stage.script, stage.disk)
    while process.poll() is None and not (stage.target.exists() and any(stage.target.iterdir())):
        time.sleep(0.001)
    shutil.rmtree(stage.target, ignore_errors=True)
    return stage.endings([process])


def two_at_once(stage: Stage) -> list[str]:
    return stage.run(copies=2)


FAULTS = (full_from_the_start, full_halfway, read_only, file_in_the_way, removed_under_it, two_at_once)


def main(options: Options) -> int:
    wrong: list[str] = []
    figures: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        campaign = runs.Campaign(Path(folder))
        with mounted(Path(folder) / "try"):
            whole, _ = campaign.undisturbed()
        for script in options.scripts:
            for fault in FAULTS:
                with mounted(Path(folder) / "disk") as disk:
                    stage = Stage(campaign, script, disk, sum(map(len, whole[script].values())))
                    endings = fault(stage)
                    campaign.run(script, disk)
                    bad = runs.differing(runs.results(stage.target), whole[script])
                label = f"{script}, {fault.__name__.replace('_', ' ')}"
                figures[label] = endings
                print(f"{label}: {endings}", flush=True)
                wrong += [f"{label}: {ending}" for ending in endings if not clear(ending)]
                wrong += [f"{label}: afterwards {name} differs" for name in bad]
    runs.report("faults", {"wrong": wrong, "endings": figures}, options.out)
    return 1 if wrong else 0


def clear(ending: str) -> bool:
    """Whether a run ended well, or as bad input makes it end: with one sentence and no traceback."""
    return ending == "0" or (ending.startswith("2 error: ") and "\n" not in ending)


@contextmanager
def mounted(disk: Path) -> Iterator[Path]:
    """A disk in memory."""
    disk.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", ROOM, "tmpfs", disk], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        raise SystemExit("this campaign mounts disks in memory, which is not allowed here: run it as root") from None
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)
        disk.rmdir()


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(Options)))
