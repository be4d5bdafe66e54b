"""Kill -9 at random moments: whatever a run leaves behind, the next one ends in the bytes of an undisturbed run.

    python -m tests.campaigns.kills --kills 100 --out kills.json

A round is one to three kills of the same run, one after another, each at a moment drawn over the length of a whole run,
and then a run to the end, whose files are compared with the undisturbed run's: all of them, hidden ones as well, but
for the fields, table cells and picture that hold times or memory (`runs.TIMED`, `runs.COST`).
"""

import random
import shutil
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tyro

from tests.campaigns import runs

SHARES = {  # of 20 kills
    **{"make_maps": 4, "fit_boxes": 3, "compare": 3, "menu": 3, "bundle": 1, "networks": 2, "explain": 1},
    **{"evaluate": 1, "robustness": 2},
}


@dataclass(frozen=True)
class Options:
    kills: int = 100
    scripts: tuple[str, ...] = tuple(SHARES)
    """Which of them; each gets its share of the kills."""
    out: Path | None = None
    """JSON file for the figures."""
    seed: int = 0


def main(options: Options) -> int:
    with tempfile.TemporaryDirectory() as folder:
        campaign, place = runs.Campaign(Path(folder)), Path(folder) / "killed"
        rng, wrong, figures = random.Random(options.seed), [], {}
        for script in options.scripts:
            whole, seconds = campaign.undisturbed(script)
            wanted, count = max(1, options.kills * SHARES[script] // 20), Counter[str]()
            while count["kills"] < wanted:
                shutil.rmtree(place, ignore_errors=True)
                for _ in range(min(rng.randint(1, 3), wanted - count["kills"])):
                    strike(campaign, script, place, rng.uniform(0, seconds), count)
                seconds = campaign.run(script, place)  # the machine may have become slower or faster
                count["rounds"] += 1
                bad = runs.differing(runs.results(place / script), whole)
                wrong += [f"{script}, round {count['rounds']}: {name}" for name in bad]
                print(f"{script}: {dict(count)}, differing: {bad}", flush=True)
            figures[script] = dict(count)
    total = sum(count["kills"] for count in figures.values())
    runs.report("kills", {"kills": total, "seed": options.seed, "differing files": wrong, **figures}, options.out)
    return 1 if wrong else 0


def strike(campaign: runs.Campaign, script: str, place: Path, moment: float, count: Counter[str]) -> None:
    """Kill a run after so many seconds; counted is the state that left, or nothing if it had ended by itself."""
    run = campaign.start(script, place)
    time.sleep(moment)
    run.process.kill()
    ending = run.ending()
    if ending.startswith("-9"):
        names = {path.name for path in (place / script).rglob("*")} if (place / script).exists() else set()
        complete = names & {"index.json", "results.json"}
        count["kills"] += 1
        count["before anything was written" if not names else "once complete" if complete else "halfway"] += 1
        count["amid a file"] += any(name.startswith(".partial-") for name in names)
    elif ending != "0":
        raise SystemExit(f"{script}, gone on with after a kill, ended with {ending}")


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(Options)))
