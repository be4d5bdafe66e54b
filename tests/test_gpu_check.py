"""The check for an accelerator, all of it, in its small form on this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("machine", "tests", "occlusion", "gradient", "maps", "linear")


@pytest.mark.slow
def test_every_part_runs_and_its_json_says_so(tmp_path):
    found = subprocess.run(
        ["scripts/gpu_check.sh", "--small", "--out", str(tmp_path)],
        cwd=ROOT, env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
    whole = json.loads((tmp_path / "gpu.json").read_text(), parse_constant=pytest.fail)  # NaN and Infinity are no JSON
    assert not whole["missing"] and set(PARTS) <= set(whole["parts"])
    for name, part in whole["parts"].items():
        assert part["state"] == "done" and part["rows"], name
        for row in part["rows"]:
            assert (
                "error" not in row and "left_out" not in row and row.get("ended", "well") in ("well", "all passed")
            ), row
    outcomes = [row.get("outcome") for row in whole["parts"]["tests"]["rows"]]
    assert outcomes.count("passed") > 20, outcomes
    for file in tmp_path.glob("*.json"):
        json.loads(file.read_text())
    lines = {line[0]: line for line in whole["table"]}
    assert "vgg16 8/4: incremental, float32" in lines and "linear map: Gram matrix and ridge" in lines
    assert whole["small"] and not any(line.startswith("aim: ") for line in lines)
    linear = {row["what"]: row for row in whole["parts"]["linear"]["rows"]}
    learned = linear["boxes of other maps"]
    assert learned["mean_iou"] > learned["of_the_mean_box"] + 0.1
    for row in whole["parts"]["occlusion-vgg16-ours"]["rows"][1:]:
        assert row.get("apart") is None or row["apart"] < 1e-4, row


def test_an_unknown_option_is_told_with_the_usage():
    found = subprocess.run(["scripts/gpu_check.sh", "--wheel"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 2 and "--wheels" in found.stderr and not found.stdout
