"""Devices, processes and kills change nothing that is written. Slow: every run is a process of its own."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from localization import load_coverage_map, load_linear_map

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parents[2]
MAPS = ("scripts.make_maps", "--limit", "120", "--shard-size", "8", "--size", "24", "32", "--quiet")
FIT = ("scripts.fit_boxes", "--method", "ridge", "--lambdas", "0.01", "0.1", "--quiet")
FIT += ("--features.size", "4", "4", "--features.profiles", "0.1", "0.9")


def start(*arguments, devices=1, process=(0, 1), port=0):
    """One process; the thread pool is of one size for all, for a convolution's sums depend on it in the last bit."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "NPROC": "8"}
    if process[1] > 1:
        arguments += ("--coordinator", f"localhost:{port}", "--process-id", str(process[0]))
        arguments += ("--processes", str(process[1]))
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def run(*arguments, devices=1, processes=1):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    started = [start(*arguments, devices=devices, process=(i, processes), port=port) for i in range(processes)]
    for process in started:
        output = process.communicate(timeout=600)[0].decode()
        assert process.returncode == 0, output


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """A store and a fit made by one process on one device."""
    folder = tmp_path_factory.mktemp("single")
    run(*MAPS, "--out", folder / "store")
    run(*FIT, "--stores", folder / "store", "--out", folder / "fit")
    return folder


@pytest.mark.parametrize(("devices", "processes"), [(2, 1), (4, 1), (8, 1), (1, 2), (1, 4)])
def test_many_give_what_one_gives(single, tmp_path, devices, processes):
    run(*MAPS, "--out", tmp_path / "store", devices=devices, processes=processes)
    assert files(tmp_path / "store") == files(single / "store")
    run(*FIT, "--stores", single / "store", "--out", tmp_path / "fit", devices=devices, processes=processes)
    ours, theirs = (load_linear_map(folder / "fit" / "linear_map.safetensors") for folder in (tmp_path, single))
    assert ours.penalty == theirs.penalty
    for a, b in ((ours.weights, theirs.weights), (ours.intercept, theirs.intercept)):
        assert np.abs(a - b).max() <= 1e-6 * np.abs(b).max()


@pytest.mark.parametrize("script", ["make_maps", "fit_boxes"])
def test_a_run_killed_at_ten_random_moments_ends_in_the_same_bytes(single, tmp_path, script):
    arguments = MAPS if script == "make_maps" else (*FIT, "--stores", single / "store")
    arguments = (*arguments, "--out", tmp_path / "out")  # the same words each time, for they are recorded
    begun = time.monotonic()
    run(*arguments)
    seconds = time.monotonic() - begun
    undisturbed = files(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    moments = random.Random(0)
    for _ in range(10):
        process = start(*arguments)
        time.sleep(moments.uniform(0.3, 1) * seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    run(*arguments)
    assert files(tmp_path / "out") == undisturbed


def test_coverage_of_a_store_is_the_same_by_four_processes(single, tmp_path):
    found = []
    for processes in (1, 4):
        out = tmp_path / str(processes)
        run("scripts.fit_boxes", "--stores", single / "store", "--out", out, "--quiet", processes=processes)
        found.append((load_coverage_map(out / "linear_map.safetensors"), (out / "boxes.csv").read_text()))
    (one, boxes), (many, others) = found
    assert one.record["n"] == many.record["n"] == 108 and one.cells == many.cells
    np.testing.assert_array_equal(many.solution, one.solution)
    numbers = [np.array([line.split(",")[1:] for line in text.splitlines()[1:]], float) for text in (boxes, others)]
    np.testing.assert_allclose(*numbers, atol=0.02)
