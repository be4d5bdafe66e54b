"""Lists, tuples, tensors and nothing at the doors of boxes, figures, heuristics and regression."""

import numpy as np
import pytest

from localization import (
    Features,
    best_iou,
    bootstrap,
    corloc,
    corloc_by_class,
    fit_linear_map,
    mcnemar_exact,
    mean_iou,
    paired_difference,
)
from localization.boxes import as_boxes
from localization.heuristics import Heuristic, fit_heuristic
from localization.metrics import top1_loc
from saliency import InputError, _checks, faithfulness
from saliency.maps.status import status
from tests.test_inputs import Tensor

BOX = [[0, 0, 10, 10]]
RAW = Features.raw()
MAPS = np.random.default_rng(0).random((6, 8, 7))
BOXES = np.array([[0, 0, 3, 4], [1, 1, 5, 6], [2, 0, 7, 4], [0, 2, 6, 8], [1, 0, 4, 4], [3, 3, 7, 8]])


@pytest.mark.parametrize("kind", [list, tuple, np.array, Tensor], ids=lambda kind: kind.__name__)
def test_boxes_in_any_form(kind):
    one = kind(BOX)
    assert corloc(one, one).value == mean_iou(one, one).value == corloc_by_class(one, one, ["a"])["a"].value == 1
    assert corloc(one, [np.array(BOX)]).value == corloc(one, [[[0, 0, 10, 10], [20, 20, 30, 30]]]).value == 1
    assert top1_loc(one, one, [True]).value == 1
    assert best_iou(one, one).tolist() == [1]


def test_one_box_each_and_several_each_in_lists():
    two = [[0, 0, 10, 10], [0, 0, 4, 4]]
    assert best_iou(two, two).tolist() == [1, 1]
    assert best_iou(two, [two, two]).tolist() == [1, 1]
    assert best_iou(two, (tuple(two[0]), two[1])).tolist() == [1, 1]
    assert best_iou(two, [np.array(two), two[1:]]).tolist() == [1, 1]
    with pytest.raises(InputError, match="sample 1 has no true box: leave it out"):
        best_iou(two, [two, []])


@pytest.mark.parametrize("none", [[], (), np.empty((0, 4)), np.empty(0)], ids=["list", "tuple", "[0, 4]", "[0]"])
def test_no_boxes_at_all(none):
    for figure in (corloc(none, none), mean_iou(none, none), corloc(none, []), top1_loc(none, none, [])):
        assert figure.n == 0 and np.isnan(figure.value)
    assert corloc_by_class(none, none, []) == {}
    assert as_boxes(none).shape == (0, 4)


@pytest.mark.parametrize("bad", ["boxes", [[0, 0, 10]], [0, 0, 10, 10], None, [["a"] * 4], [[0, 0, 1, 1], [0, 0]]])
def test_what_is_no_box_is_named(bad):
    with pytest.raises(InputError, match="predicted boxes must be"):
        corloc(bad, BOX)
    with pytest.raises(InputError, match="true boxes"):
        corloc(BOX, bad)


@pytest.mark.parametrize("kind", [list, lambda maps: maps.tolist(), Tensor, lambda maps: maps.astype(np.float16)])
def test_maps_in_any_form(kind):
    linear, heuristic = fit_linear_map(MAPS, BOXES, method="ridge", features=RAW), fit_heuristic(MAPS, BOXES)
    given = kind(MAPS)
    np.testing.assert_allclose(linear.predict(given), linear.predict(MAPS), atol=0.05)
    np.testing.assert_array_equal(heuristic.predict(given), heuristic.predict(np.asarray(MAPS)))
    assert status(given).tolist() == ["ok"] * 6
    fit_linear_map(given, BOXES.tolist(), method="ridge", features=RAW)
    assert fit_heuristic(given, Tensor(BOXES)) == heuristic
    np.testing.assert_allclose(faithfulness.sparsity(given), faithfulness.sparsity(MAPS), atol=1e-3)
    np.testing.assert_allclose(faithfulness.rank_correlation(given, MAPS), 1, atol=0.01)
    np.testing.assert_array_equal(
        faithfulness.pointing_game(given, BOXES.tolist()), faithfulness.pointing_game(MAPS, BOXES)
    )


def test_no_maps_at_all():
    linear, heuristic = fit_linear_map(MAPS, BOXES, method="ridge", features=RAW), Heuristic(1.0, 0.1)
    none = np.empty((0, 8, 7))
    assert linear.predict(none).shape == heuristic.predict(none).shape == (0, 4)
    assert linear.predict([]).shape == heuristic.predict([]).shape == (0, 4) and status([]).shape == (0,)
    for maps in (none, []):
        assert faithfulness.sparsity(maps).shape == faithfulness.pointing_game(maps, []).shape == (0,)
        assert faithfulness.rank_correlation(maps, maps).shape == faithfulness.top_overlap(maps, maps).shape == (0,)


def test_what_is_no_map_is_named():
    for bad in (MAPS[0], "maps", [MAPS[0], MAPS[0, :3]], MAPS[:, :0], None):
        for door in (Heuristic(1.0, 0.1).predict, faithfulness.sparsity, status):
            with pytest.raises(InputError, match="maps must be"):
                door(bad)
    with pytest.raises(InputError, match=r"of the same images, not \[6, 8, 7\] and \[5, 8, 7\]"):
        faithfulness.rank_correlation(MAPS, MAPS[:5])
    with pytest.raises(InputError, match="5 boxes do not pair with 6 maps"):
        fit_heuristic(MAPS, BOXES[:5])
    with pytest.raises(InputError, match="shares must be a finite number above 0 and below 1"):
        fit_heuristic(MAPS, BOXES, shares=(2.0,))
    with pytest.raises(InputError, match="6 maps need boxes of as many images, not of 5"):
        faithfulness.energy_pointing_game(MAPS, BOXES[:5])


def test_values_in_any_form():
    for kind in (list, tuple, np.array, Tensor):
        assert bootstrap(kind([0, 1, 1])).value == pytest.approx(2 / 3)
        assert paired_difference(kind([1, 1]), kind([0, 1])).value == 0.5
        assert mcnemar_exact(kind([True, False]), kind([False, False])).only_first == 1
    with pytest.raises(InputError, match="first holds NaN, which is neither right nor wrong"):
        mcnemar_exact([np.nan, 1], [0, 1])


def test_large_batches_are_looked_at_in_threads_and_say_the_same(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(7, 9, 11, 3)).astype(np.float32)
    for large in (1, 2**30):
        monkeypatch.setattr(_checks, "LARGE", large)
        assert _checks._extent(x) == (x.min(), x.max())
        assert _checks.as_images("x", x) is x
        x[4, 3, 2, 1] = np.nan
        with pytest.raises(InputError, match=r"x holds NaN or infinite values in image 4 \(1 of 7 images\)"):
            _checks.as_images("x", x)
        x[4, 3, 2, 1] = 0.5
