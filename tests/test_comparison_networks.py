"""The same photos under several networks: paired by photo, and agreement of a network with itself."""

import json
from dataclasses import replace

import numpy as np
import pytest

from localization import CompareOptions, compare_networks, datasets
from localization.comparison.networks import answer
from saliency import InputError, load_network
from saliency.models.weights import random_network
from scripts import compare as script
from scripts.cli import NetworkOptions

pytestmark = pytest.mark.slow  # whole comparisons

OPTIONS = CompareOptions(folds=3, quality=3)
METHODS = ["gradient-max", "edges"]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The embedded classifier, a random one of the same layers, and the first again."""
    net = load_network("scenes_cnn")
    drawn = random_network(net.architecture)
    drawn.preprocess, drawn.classes = net.preprocess, net.classes
    scenes = datasets.load("scenes", split="test", limit=24)
    folder = tmp_path_factory.mktemp("networks")
    nets = {"trained": net, "random": drawn, "again": net}
    return compare_networks(nets, scenes, methods=METHODS, options=OPTIONS, folder=folder), folder


def test_each_network_has_its_rows_and_its_page(found):
    result, folder = found
    for name, one in result.comparisons.items():
        own = [row for row in result.results["rows"] if row["network"] == name]
        assert [row["corloc"] for row in own] == [row["corloc"] for row in one.results["rows"]]
        assert (folder / name / "report.html").is_file()
    assert json.loads((folder / "results.json").read_text()) == json.loads(json.dumps(result.results))
    page = (folder / "report.html").read_text()
    assert "Does a better classifier look in a better place?" in page and "trained" in page and "random" in page
    top1 = {one["network"]: one["top1"] for one in result.results["networks"]}
    assert top1["trained"] > top1["random"] and top1["trained"] == top1["again"]


def test_differences_are_paired_by_photo(found):
    """By hand from each network's own images.csv rows."""
    result, _ = found
    for row in result.results["paired"]:
        hits = [
            [image["correct"] for image in result.comparisons[row[side]].images
             if (image["method"], image["route"]) == (row["method"], row["route"])]
            for side in ("first", "second")
        ]  # fmt: skip
        assert row["difference"] == pytest.approx(np.mean(hits[1]) - np.mean(hits[0]))
        if {row["first"], row["second"]} == {"trained", "again"} or row["method"] == "edges":
            assert row["difference"] == row["low"] == row["high"] == 0
    assert {row["route"] for row in result.results["paired"]} == {"linear map", "heuristic"}
    assert "points of CorLoc" in answer(result.results)


def test_a_network_agrees_with_itself(found):
    result, _ = found
    for row in result.results["agreement"]:
        same = {row["first"], row["second"]} == {"trained", "again"} or row["method"] == "edges"
        assert (row["rank_correlation"] == pytest.approx(1)) == same


def test_the_command_line(tmp_path, capsys):
    options = script.Options(networks=("scenes_cnn",), out=tmp_path / "out")
    with pytest.raises(InputError, match="--networks takes two networks at least"):
        script.main(options)
    with pytest.raises(InputError, match="each name once"):
        script.main(replace(options, networks=("scenes_cnn", "scenes_cnn")))
    with pytest.raises(InputError, match=r"nowhere/vgg16\.safetensors: no such file of weights"):
        script.main(replace(options, networks=("vgg16", "resnet18"), network=NetworkOptions(weights="nowhere")))
    with pytest.raises(InputError, match="--maps and --boxes are of no network"):
        script.main(replace(options, networks=("vgg16", "resnet18"), maps=("mine=folder",)))
