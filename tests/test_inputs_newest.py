"""Inputs of the newest parts, found by trying as a new user would: options that were passed over without a word."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from saliency import InputError, load_network
from scripts import cli, compare


def mine():
    return load_network("scenes_cnn")


def refused(call) -> str:
    with pytest.raises(InputError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--networks scenes_cnn vgg16 --bundle b.safetensors", "--bundle is of one"),
        ("--folds 3 --train-split val", "--folds learn from the split that is scored, .* leave --train-split or"),
        ("--folds 3 --n-train 30", "leave --n-train or --folds out"),
        ("--images {folder} --folds 3", "from which nothing is learned: leave --folds out"),
        ("--images {folder} --n-train 30", "from which nothing is learned: leave --n-train out"),
        ("--images {folder} --split test", "--images takes photos without splits, labels and boxes: leave --split out"),
        ("--images {folder} --labels cat", "leave --labels out"),
        ("--images {folder} --data-box-format xywh", "leave --data-box-format out"),
    ],
)
def test_options_that_exclude_each_other_are_named(tmp_path, words, said):
    """The second one did nothing."""
    options = cli.parse(compare.Options, [*words.format(folder=tmp_path).split(), "--out", str(tmp_path / "out")])
    assert re.search(said, refused(lambda: compare.main(options)))


def test_a_function_among_networks_has_the_functions_name():
    """Its colon was refused as part of a name, so that a network of one's own could not be compared."""
    given = cli.NetworkOptions().several(["scenes_cnn", "tests.test_inputs_newest:mine"])
    assert list(given) == ["scenes_cnn", "mine"] and given["mine"].digest == given["scenes_cnn"].digest
    assert "each name once" in refused(
        lambda: cli.NetworkOptions().several(["tests.test_inputs_newest:mine", "tests/mine.onnx"])
    )


def test_budget_of_several_networks_is_refused_by_its_option(tmp_path):
    options = cli.parse(compare.Options, ["--networks", "scenes_cnn", "scenes_cnn", "--budget", "1"])
    options = replace(options, out=Path(tmp_path / "out"))
    assert "localization.compare_networks" in refused(lambda: compare.main(options))
