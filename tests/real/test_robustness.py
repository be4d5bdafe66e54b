"""SqueezeNet under structured masks on real photos."""

import json
from pathlib import Path

import pytest

from saliency.robustness import Options as Masks
from scripts import cli
from scripts.robustness import Options, main

pytestmark = pytest.mark.real


def test_squeezenet_on_photos(shared, tmp_path):
    photos = shared / "data" / "imagenet_photos"
    options = Options(
        net=cli.NetworkOptions(
            "squeezenet1_1", str(shared / "weights" / "squeezenet1_1.safetensors"), photos / "classes.csv"
        ),
        images=photos,
        masks=Masks(families=("bernoulli", "triangles"), coverages=(0.3, 0.9)),
        limit=24,
        out=Path(tmp_path / "out"),
        quiet=True,
    )
    assert main(options) == 0
    results = json.loads((options.out / "results.json").read_text())
    accuracy = {
        (row["family"], row["coverage"]): row["value"] for row in results["curves"] if row["metric"] == "accuracy"
    }
    assert abs(accuracy["none", 0.0] - 83 / 143) < 0.2  # of all 143 photos; two standard errors at 24
    assert all(accuracy[family, 0.9] < accuracy["none", 0.0] - 0.3 for family in options.masks.families)
