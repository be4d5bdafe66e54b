"""Data that hardly is any: nothing, one, all alike, no area, no pixel to spare. What happens is stated, and held here.

A map that says nothing is told by its status, and never becomes a box.
"""

import numpy as np
import pytest

from localization import Features, bootstrap, corloc, corloc_by_class, fit_linear_map, mean_iou
from localization.comparison.samples import gathered
from localization.datasets import load
from localization.heuristics import Heuristic, fit_heuristic
from localization.maxboxacc import box_accuracy
from localization.protocols import baselines, samples
from saliency import InputError, grad_cam, gradient_maps, load_network, occlusion_maps
from saliency.maps.status import status
from saliency.methods import METHODS, Options
from saliency.models.preprocessing import Preprocessing
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from tests.devkits import voc_object, write_photo, write_text, write_voc

NET = random_network(scenes_cnn(((4,), (6,)), size=(14, 18)))
BOX = np.array([[1.0, 1, 4, 5]])
RAW = Features.raw()


@pytest.fixture
def photos(tmp_path):
    """One photo that shows a cat, with boxes of every bad kind beside the good one."""
    bad = [(90, 5, 99, 20), ("nan", 1, 2, 3), (5, 70, 9, 80)]
    write_voc(tmp_path, {"a": [voc_object("cat", box) for box in ((1, 1, 30, 30), (70, 50, 99, 99), *bad)]})
    return load("voc", tmp_path)


def test_no_images():
    none = np.empty((0, 14, 18, 3), np.float32)
    assert gradient_maps(NET, none).shape == grad_cam(NET, none).shape == (0, 14, 18)
    found = occlusion_maps(NET, none, patch=6, stride=4)
    assert found.maps.shape == (0, 14, 18) and found.base.shape == (0,)
    assert NET.preprocess([]).shape == (0, 14, 18, 3)


def test_no_samples():
    for figure in (corloc([[]] * 0 or np.empty((0, 4)), []), mean_iou(np.empty((0, 4)), []), bootstrap([])):
        assert figure.n == 0 and np.isnan([figure.value, figure.low, figure.high]).all()
    assert box_accuracy([]).hits.shape == (0, 100, 1)
    assert corloc_by_class(np.empty((0, 4)), [], []) == {}


def test_an_empty_split_is_refused(tmp_path):
    write_voc(tmp_path, {"a": []})
    write_text(tmp_path / "ImageSets" / "Main" / "none.txt", "\n")
    with pytest.raises(InputError, match="no usable photo in voc none"):
        load("voc", tmp_path, split="none")
    with pytest.raises(InputError, match="no photo has a box that counts"):
        samples(load("voc", tmp_path))
    with pytest.raises(InputError, match="no photo has a box that counts"):
        gathered(NET, load("voc", tmp_path), folds=1)


def test_one_image_of_one_class(photos):
    """Its interval is the figure itself, and says nothing; its class's figure is the figure of all."""
    figure = corloc(BOX, BOX, ["cat"])
    assert (figure.value, figure.low, figure.high, figure.n) == (1, 1, 1, 1)
    assert corloc_by_class(BOX, BOX, ["cat"]) == {"cat": figure}
    with pytest.raises(InputError, match="folds must be at most the number of scored photos, 1, not 2"):
        gathered(NET, photos, folds=2)


def test_boxes_without_area_or_outside_are_left_out_and_told(photos):
    assert photos.annotations[0].boxes.tolist() == [[0, 0, 30, 30], [69, 49, 80, 60]]
    assert [(note.problem.partition(":")[0], note.outcome) for note in photos.notes] == [
        ("box without four numbers", "left out"),
        ("box beyond the border", "repaired"),
        ("box without area in the photo", "left out"),
        ("box without area in the photo", "left out"),
    ]


def test_boxes_of_metrics_without_area_are_missed():
    assert corloc(BOX, np.array([[2.0, 2, 2, 4]])).value == 0
    assert corloc(np.array([[4.0, 5, 1, 1]]), BOX).value == 0  # turned inside out
    assert corloc(BOX + 100, BOX).value == 0


@pytest.mark.parametrize("box", [(1, 1, 4, 5), (2, 2, 2, 4), (-9, -9, 99, 99)], ids=["equal", "no area", "outside"])
def test_training_boxes_that_are_all_alike_are_what_is_predicted(rng, box):
    maps = rng.random((5, 6, 7))
    found = fit_linear_map(maps, np.tile(box, (5, 1)), method="ridge", features=RAW).predict(rng.random((3, 6, 7)))
    np.testing.assert_allclose(found, np.tile(np.clip(box, 0, [7, 6, 7, 6]), (3, 1)), atol=1e-6)


def test_more_features_than_boxes(rng):
    maps, boxes = rng.random((3, 6, 7)), np.array([[0.0, 0, 3, 3], [1, 1, 5, 5], [2, 0, 7, 4]])
    fit = fit_linear_map(maps, boxes, method="ridge", features=RAW, lambdas=(1e-6,))
    assert fit.weights.shape == (42, 4)
    np.testing.assert_allclose(fit.predict(maps), boxes, atol=1e-3)  # it can learn them by heart


def test_images_of_one_pixel(tmp_path):
    write_photo(tmp_path / "a.png", (1, 1))
    data = load("folder", tmp_path)
    assert data[0].image.shape == (1, 1, 3)
    for mode in ("crop", "stretch", "letterbox"):
        assert Preprocessing((14, 18), mode=mode)(data.images).shape == (1, 14, 18, 3)
    with pytest.raises(InputError, match="an image of 1x1 is too small"):
        gradient_maps(NET, np.zeros((1, 1, 1, 3), np.float32))
    found = occlusion_maps(lambda x: x.mean((1, 2, 3)), np.ones((1, 1, 1, 3), np.float32), patch=1, stride=1, fill=0.0)
    assert found.maps.tolist() == [[[1]]] and status(found.maps).tolist() == ["constant"]


@pytest.mark.parametrize("method", ["gradient-max", "grad-cam", "occlusion", "edges", "rise"])
def test_a_constant_image_has_a_finite_map_or_one_that_says_so(method):
    x = NET.preprocess(np.full((1, 14, 18, 3), 127, np.uint8))
    own = METHODS[method].maps(NET, x, options=Options(patch=6, stride=4, masks=8, fill=127.0))
    assert np.isfinite(own).all()
    if method in ("occlusion", "edges", "rise"):  # hidden by its own grey, or without an edge
        assert abs(own).max() < 1e-5


def test_maps_that_say_nothing_are_told_and_give_no_box(rng):
    maps = rng.random((5, 6, 7))
    linear = fit_linear_map(maps, np.tile(BOX, (5, 1)), method="ridge", features=RAW)
    maps[0], maps[1, 2, 3], maps[2], maps[3] = 0, np.nan, 3, np.inf
    told = ["constant", "not finite", "constant", "not finite", "ok"]
    assert status(maps).tolist() == told
    for predict in (linear.predict, Heuristic(1.0, 0.1).predict):
        assert np.isnan(predict(maps)).all(1).tolist() == [one != "ok" for one in told]
    hits = box_accuracy([(own, BOX) for own in maps]).hits[..., 0]
    assert not hits[:4, 1:].any()  # at threshold 0 every finite map has the whole image
    with pytest.raises(InputError, match="maps hold NaN or infinite values at index 1"):
        fit_linear_map(maps, np.tile(BOX, (5, 1)))
    with pytest.raises(InputError, match="none of the training maps is usable"):
        fit_heuristic(maps[:4], np.tile(BOX, (4, 1)))
    for empty in (np.empty((2, 0, 7)), np.empty((2, 6, 0))):
        with pytest.raises(InputError, match="of at least one pixel"):
            linear.predict(empty)


def test_a_class_without_training_boxes_takes_the_mean_of_all(tmp_path):
    shown = {"a": [voc_object("cat", (1, 1, 20, 30))], "b": [voc_object("dog", (11, 1, 80, 60))]}
    write_voc(tmp_path / "train", shown)
    write_voc(tmp_path / "test", {"c": [voc_object("cow", (1, 1, 9, 9))], "d": [voc_object("cat", (1, 1, 9, 9))]})
    train, test = (samples(load("voc", tmp_path / part)) for part in ("train", "test"))
    size = np.array([[60.0, 80]] * 2)
    boxes = baselines(train, size, test, size)
    assert boxes["class mean box"].tolist() == [boxes["mean box"][0].tolist(), [0, 0, 20, 30]]


def test_a_network_says_how_small_an_image_may_be():
    with pytest.raises(InputError, match="too small"):
        grad_cam(load_network("scenes_cnn"), np.zeros((1, 2, 2, 3), np.float32))
