"""Coverage with real photos, and over several processes; slow."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from localization import corloc
from localization.boxes import area
from localization.datasets import load
from localization.regression.cells import Cells
from localization.regression.coverage import fit_coverage
from saliency import gradient_maps, load_network

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parents[2]
FIT = """
import sys, numpy as np, jax
if int(sys.argv[3]) > 1:
    jax.distributed.initialize(sys.argv[1], int(sys.argv[3]), int(sys.argv[2]))
from localization.regression.cells import Cells
from localization.regression.coverage import fit_coverage_blocks
from tests.test_coverage import SIZE, layers

inputs, boxes = layers(np.random.default_rng(0), 90)
mine = np.arange(jax.process_index(), 90, jax.process_count())

def blocks():
    for rows in np.array_split(mine, 3):
        yield [one[rows] for one in inputs], boxes[rows], rows

cells = Cells((6, 7)), Cells((9, 8))
fit = fit_coverage_blocks(blocks, size=SIZE, candidates=cells)
if jax.process_index() == jax.process_count() - 1:
    np.save(sys.argv[4], np.concatenate([[[jax.process_count(), *fit.cells.grid, 0]], fit.predict(inputs)]))
"""


def test_four_processes_give_the_boxes_of_one(tmp_path):
    found = []
    for processes in (1, 4):
        with socket.socket() as probe:
            probe.bind(("localhost", 0))
            port = probe.getsockname()[1]
        path = tmp_path / f"{processes}.npy"
        started = [
            subprocess.Popen(
                [sys.executable, "-c", FIT, f"localhost:{port}", str(i), str(processes), str(path)],
                cwd=ROOT,
                env={**os.environ, "JAX_PLATFORMS": "cpu"},
            )
            for i in range(processes)
        ]
        assert [one.wait(timeout=600) for one in started] == [0] * processes
        found.append(np.load(path))
    assert [one[0, 0] for one in found] == [1, 4]
    np.testing.assert_array_equal(found[0][0, 1:], found[1][0, 1:])
    np.testing.assert_allclose(found[0][1:], found[1][1:], atol=1e-3)


def test_squeezenet_finds_raccoons(shared: Path):
    """Layers and gradients of 200 photos, everything chosen inside ten folds; the median box reaches 0.735."""
    data = load("voc", shared / "data" / "raccoon_voc", split="all")
    net = load_network("squeezenet1_1", weights=shared / "weights" / "squeezenet1_1.safetensors")
    net.preprocess = net.preprocess.changed("stretch")
    layers, maps = [], []
    for i in range(0, len(data), 20):
        x = net.preprocess(data.images[i : i + 20])
        layers.append(np.asarray(net.upto(x, "fire9")))
        maps.append(gradient_maps(net, x).reshape(len(x), 56, 4, 56, 4).mean((2, 4)))
    layers, maps = np.concatenate(layers), np.concatenate(maps)
    true = [boxes / np.tile(a.size[::-1], 2) for boxes, a in zip(data.boxes, data.annotations)]
    target = np.array([boxes[area(boxes).argmax()] for boxes in true])
    folds = np.random.default_rng(0).permutation(len(data)) % 10
    for features, least in ((layers, 0.9), (maps, 0.8)):
        found = np.empty((len(data), 4))
        for fold in range(10):
            train, test = folds != fold, folds == fold
            fit = fit_coverage(features[train], target[train], size=(1, 1), candidates=(Cells(),))
            found[test] = fit.predict(features[test])
        assert corloc(found, true).value >= least
