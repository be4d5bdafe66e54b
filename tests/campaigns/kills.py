"""Kill -9 at random moments: whatever a run leaves behind, the next one ends in the bytes of an undisturbed run.

    python -m tests.campaigns.kills --kills 100 --out kills.json

A round is one to three kills of the same run, one after another, each at a moment drawn over the length of a whole run,
and then a run to the end, whose files are compared with the undisturbed run's: all of them, hidden ones as well, but
for the fields and the picture that hold times or memory (`runs.TIMED`, `runs.COST`).
"""

import itertools
import random
import shutil
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tyro
from tests.campaigns import runs

SHARES = {"make_maps": 5, "fit_boxes": 5, "compare": 5, "evaluate": 2, "robustness": 3}  # of 20 kills


@dataclass(frozen=True)
class Options:
    kills: int = 100
    out: Path | None = None
    """JSON file for the figures."""
    seed: int = 0


def main(options: Options) -> int:
    with tempfile.TemporaryDirectory() as folder:
        campaign = runs.Campaign(Path(folder))
        whole, seconds = campaign.undisturbed()
        rng = random.Random(options.seed)
        counts: dict[str, Counter[str]] = {script: Counter() for script in runs.JOBS}
        wrong: list[str] = []
        for script, share in SHARES.items():
            wanted, count, place = options.kills * share // 20, counts[script], Path(folder) / "killed"
            for number in itertools.count():
                if count["kills"] >= wanted:
                    break
                shutil.rmtree(place, ignore_errors=True)
                for _ in range(min(rng.randint(1, 3), wanted - count["kills"])):
                    strike(campaign, script, place, rng.uniform(0, seconds[script]), count)
                seconds[script] = campaign.run(script, place)  # the machine may have become slower or faster
                count["rounds"] += 1
                bad = runs.differing(runs.results(place / script), whole[script])
                wrong += [f"{script}, round {number}: {name}" for name in bad]
            print(f"{script}: {dict(count)}", flush=True)
    figures = {script: dict(count) for script, count in counts.items()}
    total = sum(count["kills"] for count in counts.values())
    runs.report("kills", {"kills": total, "seed": options.seed, "differing files": wrong, **figures}, options.out)
    return 1 if wrong else 0


def strike(campaign: runs.Campaign, script: str, place: Path, moment: float, count: Counter[str]) -> None:
    """Kill a run after so many seconds; counted is in which state that left it, and not at all if it had ended."""
    process = campaign.start(script, place)
    time.sleep(moment)
    if process.poll() is None:
        process.kill()
        count["kills"] += 1
        names = [path.name for path in (place / script).rglob("*")] if (place / script).exists() else []
        finished = {"index.json", "results.json"} & set(names)
        count["after nothing was written" if not names else "finished before" if finished else "in between"] += 1
        count["amid a file"] += any(name.startswith(".partial-") for name in names)
    process.communicate()


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(Options)))
