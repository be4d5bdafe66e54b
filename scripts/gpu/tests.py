"""Part 2: `pytest -m gpu`; every test's outcome is on disk as it comes."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from scripts.gpu.common import Journal


def run(journal: Journal, small: bool, out: Path, weights: Path | None) -> None:
    lines = out / "tests.jsonl"
    lines.unlink(missing_ok=True)
    # Without what a pytest that started this left behind: as one of its workers this one would report nothing.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment = {**inherited, "SALBOX_GPU_REPORT": str(lines.resolve()), "SALBOX_CHECKED": "few"}
    if weights is not None:
        environment["SALBOX_SQUEEZENET"] = str(weights.resolve())
    if small:
        environment["SALBOX_GPU_SMALL"] = "1"
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "tests/gpu", "-p", "no:cacheprovider", "-W", "default"]
    if not small and find_spec("xdist"):
        command += ["--numprocesses", "4", "--dist", "loadfile"]  # compiling is the most of it, and wants cores
    ended = ""
    with (out / "tests.log").open("w") as log:
        try:
            code = subprocess.run(
                command, env=environment, timeout=journal.left, stdout=log, stderr=subprocess.STDOUT, check=False
            ).returncode
            ended = {0: "all passed", 1: "some failed", 5: "there were none"}.get(code, f"exit code {code}")
        except subprocess.TimeoutExpired:
            ended = "time ran out"
    found = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    for row in found:
        journal.add(**row)
    counts = {what: sum(row["outcome"] == what for row in found) for what in ("passed", "failed", "skipped")}
    journal.add(what="tests", ended=ended, **counts)
    journal.done()
