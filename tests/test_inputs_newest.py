"""Inputs of the newest parts, found by trying as a new user would.

Each gave a wrong figure without a word, did nothing, or ended in a traceback; now it is right, or one sentence.
"""

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from localization import CompareOptions, fit_coverage, load_coverage_map
from localization import compare as localize_all
from localization.comparison.maps import tasks
from localization.datasets import load
from localization.store import create_store, open_store
from saliency import (
    METHODS,
    Preprocessing,
    explain,
    faithfulness,
    from_function,
    load_network,
    superpixels,
    wrappers,
)
from saliency import Options as MethodOptions
from saliency._reading import read_tensors
from saliency.models.classes import class_or_index
from saliency.zeiler_fergus.subjects import unique_names
from scripts import cli, compare
from tests.devkits import write_photo
from tests.refusals import refused


def mine():
    return load_network("scenes_cnn")


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


GREY = np.full((1, 4, 6), 0.5)
MAPS = np.arange(24.0).reshape(1, 4, 6)
FULL = np.ones((1, 4, 6), bool)
MASKED = {
    "relevance_mass": lambda masks: faithfulness.relevance_mass(MAPS, masks),
    "relevance_rank": lambda masks: faithfulness.relevance_rank(MAPS, masks),
    "top_in_mask": lambda masks: faithfulness.top_in_mask(MAPS, masks),
    "roc_auc": lambda masks: faithfulness.roc_auc(MAPS, masks),
    "pxap": lambda masks: faithfulness.pxap(MAPS, masks),
    "pxap's ignored": lambda masks: faithfulness.pxap(MAPS, FULL, ignored=masks),
    "to_quantus": lambda masks: faithfulness.to_quantus(MAPS[..., None], MAPS, 0, masks),
    "imputation": lambda masks: faithfulness.noisy_linear_imputation(MAPS[..., None], masks),
    "infidelity": lambda masks: faithfulness.infidelity(total, MAPS[..., None], MAPS, masks=masks, fill=0),
    "correlation": lambda masks: faithfulness.faithfulness_correlation(
        total, MAPS[..., None], MAPS, masks=masks, fill=0
    ),
}


def total(images):
    return np.asarray(images).sum((1, 2, 3))


@pytest.mark.parametrize("measure", MASKED)
@pytest.mark.parametrize("masks", [GREY, GREY * np.nan, np.where(MAPS > 20, 255, 1), -1 * FULL], ids=repr)
def test_masks_that_are_no_masks(measure, masks):
    """A share, a number of a class, VOC's 255 beside it and NaN all counted as inside."""
    assert "must be booleans" in refused(lambda: MASKED[measure](masks))


@pytest.mark.parametrize("measure", MASKED)
def test_masks_as_pictures_have_them(measure):
    wanted = MASKED[measure](MAPS > 11)
    for masks in ((MAPS > 11).astype(float), np.where(MAPS > 11, 255, 0).astype(np.uint8), (MAPS > 11).tolist()):
        np.testing.assert_equal(MASKED[measure](masks), wanted)


@pytest.mark.parametrize("measure", ["pointing_game", "energy_pointing_game", "box_masks"])
@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        ([[4, 3, 1, 1]], "boxes of image 0 run backwards"),
        ([[1, 1, np.nan, 3]], "boxes of image 0 hold NaN"),
        ([[1, 1, np.inf, 3]], "boxes of image 0 hold NaN or infinite"),
        ([[1, 1, 2, 3, 2, 2, 4, 4]], "boxes must be"),  # two boxes in one row were two to one measure
        ("abcd", "boxes must be|boxes of as many images"),
        (7, "boxes must be|boxes of as many images"),
    ],
)
def test_boxes_of_measures(measure, boxes, said):
    def call():
        one = getattr(faithfulness, measure)
        return one(boxes, (4, 6)) if measure == "box_masks" else one(MAPS, boxes)

    assert re.search(said, refused(call))


def test_a_row_of_nan_is_no_box_in_every_measure():
    none = [[np.nan] * 4]
    assert not faithfulness.box_masks(none, (4, 6)).any()
    assert np.isnan(faithfulness.pointing_game(MAPS, none)).all()
    assert np.isnan(faithfulness.energy_pointing_game(MAPS, none)).all()
    assert "size must be" in refused(lambda: faithfulness.box_masks([[1, 1, 2, 2]], (4.5, 6)))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: wrappers.scale(METHODS["cam"], 0.5), "scales must be a list of numbers"),
        (lambda: wrappers.scale(METHODS["cam"], [1e9]), "scales must be a finite number above 0 and below 100"),
        (lambda: wrappers.brightness(METHODS["cam"], "12"), "factors must be a list of numbers"),
        (lambda: wrappers.layers("grad-cam"), "method must be a Method"),
        (lambda: wrappers.layers(METHODS["grad-cam"], layers="conv1"), "layers must be a list of texts"),
        (lambda: faithfulness.road(total, MAPS[..., None], MAPS, shares=0.5), "shares must be a list of numbers"),
        (lambda: faithfulness.information_curve(total, MAPS[..., None], MAPS, shares=[]), "shares must be one number"),
        (lambda: faithfulness.agreement([MAPS, MAPS]), "maps must be a Mapping"),
        (lambda: faithfulness.stability("cam", total, MAPS[..., None], MAPS), "method must be a Method"),
        (lambda: faithfulness.sanity("cam", mine(), None, MAPS), "method must be a Method"),
        (lambda: faithfulness.random_logit("cam", mine(), None, MAPS), "method must be a Method"),
        (lambda: faithfulness.entropy_rise("cam", mine(), None, MAPS), "method must be a Method"),
        (lambda: faithfulness.to_quantus(MAPS[..., None], MAPS, [-1]), "target must be class indices from 0 on"),
        (lambda: superpixels(np.linspace(0, 1, 72).reshape(4, 6, 3), "grid"), "multiply it by 255"),
    ],
)
def test_arguments_of_the_newest_functions(call, said):
    assert said in refused(call)


def test_a_network_and_its_entry_are_of_one_size():
    """Every map refused what the network's own preprocess had made."""
    call = partial(from_function, lambda params, x: x.mean((1, 2)), {}, size=8)
    said = refused(lambda: call(preprocess=Preprocessing((8, 16))))
    assert said == "preprocess makes images of 16x8 px (width x height), and size says 8x8"
    assert call(preprocess=Preprocessing((8, 8))).preprocess.size == (8, 8)


@pytest.mark.parametrize(
    ("last", "known"),
    [
        (lambda m: 1 / (1 + jnp.exp(-m[:, :1] / 99)), False),
        (lambda m: jnp.concatenate([jax.nn.sigmoid(m[:, :1]), jax.nn.sigmoid(-m[:, :1])], 1), False),
        (lambda m: 1 / (1 + jnp.exp(-m[:, :1])), True),
        (lambda m: jax.nn.softmax(m), True),
        (lambda m: m[:, :1], True),
        (lambda m: m / 1e9, True),
    ],
)
def test_probabilities_that_are_not_known_as_such(last, known):
    """A sigmoid whose logit is nowhere computed got another one over it: 0.685 where the function gave 0.777."""
    call = partial(from_function, lambda params, x: last(x.mean((1, 2))), {}, size=8)
    if known:
        assert call().provenance["from"] == "a JAX function"
    else:
        assert "gives probabilities, by a softmax or sigmoid that is not known as one" in refused(call)


def test_whole_numbers_are_no_logits():
    """All gradient maps were zero."""
    said = refused(lambda: from_function(lambda params, x: x.mean((1, 2)).astype(int), {}, size=8))
    assert said == "apply must give logits in floating point, not int32"


def test_scales_and_factors_of_any_sequence():
    """An array's truth was asked for."""
    net = mine()
    x = net.preprocess([np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)])
    for wrapper in (wrappers.scale, wrappers.brightness):
        maps = wrapper(METHODS["cam"], np.array([0.5, 1.0])).maps(net, x)
        np.testing.assert_array_equal(maps, wrapper(METHODS["cam"], (0.5, 1.0)).maps(net, x))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"methods": "edges"}, "methods must be a list of texts, not 'edges'"),
        ({"names": "ab"}, "names must be a list of texts"),
        ({"boxes": lambda maps: np.zeros((1, 4))}, "boxes must give one box for each map, [2, 4], not [1, 4]"),
        ({"boxes": lambda maps: np.zeros((len(maps), 5))}, "[2, 4], not [2, 5]"),
        ({"boxes": lambda maps: np.tile([[9.0, 9, 2, 2]], (len(maps), 1))}, "boxes run backwards"),
        ({"methods": ["Edges"]}, "unknown method 'Edges'; near it are edges"),
        ({"methods": ["grad_cam"]}, "unknown method 'grad_cam'; near it are grad-cam"),
        ({"boxes": lambda maps: None}, "boxes must be a function that gives one box [4] for each map"),
        ({"boxes": lambda maps: [[], [[1, 2, 3, 4]]]}, "boxes must be a function that gives one box [4] for each map"),
    ],
)
def test_what_explain_is_given(options, said):
    photos = np.random.default_rng(0).integers(0, 256, (2, 30, 40, 3), np.uint8)
    assert said in refused(lambda: explain(mine(), photos, **{"methods": ["edges"], **options}))


def test_what_needs_boxes_is_said_where_there_are_none(tmp_path):
    """Bundles, repeats, measures of boxes and what is to be kept did nothing, without a word."""
    for i in range(3):
        write_photo(tmp_path / "photos" / f"{i}.png", (40, 50), i)
    maps, boxes = np.random.default_rng(0).random((4, 8, 8)), np.tile([[0.0, 0, 4, 4], [3, 2, 8, 8]], (2, 1))
    fit_coverage(maps, boxes, source={"method": "edges", "dataset": "a"}).save(tmp_path / "a.safetensors")
    options = CompareOptions(repeats=2, measures=("auc", "sparsity"), keep_bundles=True, quality=1)
    photos = load("folder", tmp_path / "photos")
    found = localize_all(mine(), photos, methods=["edges"], bundles=[tmp_path / "a.safetensors"], options=options)
    assert "bundle of edges, repeats, auc: left out, for there is no box to score against" in found.notes
    assert "bundles: none is kept, for there is no box to learn from" in found.notes


@pytest.mark.slow
def test_repeats_of_nothing_random_are_said():
    options = CompareOptions(folds=3, quality=0, repeats=2)
    found = localize_all(mine(), load("scenes", split="test", limit=12), methods=["edges"], options=options)
    assert found.notes == ["repeats: none is made, for no method that is compared has chance in it"]


def test_measures_without_images_are_refused():
    assert "quality must be" in refused(lambda: CompareOptions(quality=0, measures=("road",)))


def test_all_and_a_wrapper():
    """Beside "all" every other name was dropped."""
    assert list(tasks(mine(), ["all", "flip(edges)"], MethodOptions(), ()))[-1] == "flip(edges)"


@pytest.mark.parametrize(("target", "explained"), [("7", 2), ("2", 7), ("10", 10), ("tench", "tench")])
def test_a_digit_that_is_a_class_name_is_the_name_in_explain_too(target, explained):
    """It was an index in one script, and the name in the others."""
    turned = [str(9 - k) for k in range(10)]
    found = class_or_index(target, turned)
    assert (turned.index(found) if found in turned else found) == explained


def test_photos_of_a_data_set_long_names_and_folders(tmp_path):
    """A data set's photos were one photo of four axes, a name of 250 letters a traceback, a folder a damaged image."""
    found = explain(mine(), load("scenes", split="test", limit=2).images, methods=["edges"])
    assert len(found.photos) == 2
    write_photo(tmp_path / f"{'x' * 250}.png", (40, 50))
    found = explain(mine(), [tmp_path / f"{'x' * 250}.png"] * 2, methods=["edges"])
    assert [one.name for one in found.photos] == ["x" * 180, f"{'x' * 180}-2"]
    assert unique_names(["a\0b", "\u202e", "../../evil"]) == ["a_b", "_", "evil"]
    assert "is a folder, where one photo is needed" in refused(lambda: explain(mine(), tmp_path, methods=["edges"]))


def test_a_damaged_bundle_is_named(tmp_path):
    """What was wrong with its cells was said, and not in which file."""
    maps, boxes = np.random.default_rng(0).random((4, 8, 8)), np.tile([[0.0, 0, 4, 4], [3, 2, 8, 8]], (2, 1))
    fit_coverage(maps, boxes).save(tmp_path / "a.safetensors")
    tensors, header = read_tensors(tmp_path / "a.safetensors")
    stated = json.loads(header["coverage_map"])
    stated["cells"]["scales"] = None
    save_file(tensors, tmp_path / "b.safetensors", {"coverage_map": json.dumps(stated)})
    assert refused(lambda: load_coverage_map(tmp_path / "b.safetensors")).startswith(f"{tmp_path}/b.safetensors: ")


def test_a_store_by_its_path_as_text(tmp_path):
    """A text ended in Python's own TypeError."""
    assert refused(lambda: open_store(str(tmp_path))) == f"{tmp_path}: no store of maps; make_maps makes one"
    assert "folder must be the path of a store" in refused(lambda: open_store(None))
    made = create_store(str(tmp_path / "store"), {"network": "a"}, n=0, shard_size=2)
    made.finish()
    assert open_store(str(tmp_path / "store")).n == 0
