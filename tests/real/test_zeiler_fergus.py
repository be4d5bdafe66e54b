"""The analysis on a real network and a real photo, in one command."""

import csv
import json

import numpy as np
import pytest

from saliency import occlusion_maps
from saliency.zeiler_fergus import Options as Analysis
from saliency.zeiler_fergus.subjects import load_subjects
from scripts import cli
from scripts.analyze_occlusion import Options, main

pytestmark = pytest.mark.real


def test_a_photo_under_squeezenet(shared, tmp_path):
    photos = shared / "data" / "imagenet_photos"
    options = Options(
        (photos / "n02504013_Indian_elephant.JPEG",),
        net=cli.NetworkOptions(
            "squeezenet1_1", str(shared / "weights" / "squeezenet1_1.safetensors"), photos / "classes.csv"
        ),
        masks=Analysis(sizes=(60,), stride=30, fills=("grey", "noise"), draws=4, windows=4),
        out=tmp_path,
        quiet=True,
    )
    assert main(options) == 0
    photo = json.loads((tmp_path / "results.json").read_text())["photos"][0]
    assert "elephant" in photo["target"]["name"] and photo["target"]["probability"] > 0.5
    assert photo["target"]["index"] == photo["top5"][0]["index"]

    net = options.net.load()
    (subject,) = load_subjects(net, options.photos, "rank:1")
    maps = occlusion_maps(net, subject.x[None], patch=60, stride=30, score="log_probability")
    with open(tmp_path / "positions.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["fill"] == "grey"]
    np.testing.assert_allclose([float(row["probability"]) for row in rows], np.exp(maps.scores[0]).ravel(), atol=1e-4)
    assert (tmp_path / "report.html").stat().st_size > 100_000
