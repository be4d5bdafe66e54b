"""Each test's outcome goes into the file that SALBOX_GPU_REPORT names, at once: time may run out before the last."""

import json
import os
from pathlib import Path


def pytest_runtest_logreport(report):
    file = os.environ.get("SALBOX_GPU_REPORT")
    if not file or os.environ.get("PYTEST_XDIST_WORKER"):  # who hands out the tests hears of all of them
        return
    if report.when != "call" and report.outcome == "passed":
        return
    line = {
        "test": report.nodeid,
        "outcome": report.outcome,
        "seconds": round(report.duration, 2),
        **dict(report.user_properties),
    }
    if report.outcome == "failed":
        line["error"] = " ".join(str(report.longrepr).split())[-600:]
    with Path(file).open("a") as lines:
        lines.write(json.dumps(line) + "\n")
