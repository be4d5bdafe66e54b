import numpy as np
import pytest

from localization.metrics import best_iou, corloc, corloc_by_class, hits, mean_iou, top1_loc
from saliency.errors import InputError

BOX = np.array([0.0, 0, 10, 10])
HALF = np.array([0.0, 0, 5, 10])  # IoU 1/2 with BOX
NONE = np.full(4, np.nan)


def test_one_half_is_no_hit_by_equation_5():
    predicted = np.stack([BOX, HALF, np.array([0.0, 0, 6, 10]), NONE])
    true = np.stack([BOX] * 4)
    assert best_iou(predicted, true).tolist() == [1, 0.5, 0.6, 0]
    assert corloc(predicted, true).value == 0.5
    assert corloc(predicted, true, strict=False).value == 0.75
    assert corloc(predicted, true, threshold=0.6, strict=False).value == 0.5
    assert mean_iou(predicted, true).value == pytest.approx(2.1 / 4)


def test_a_missing_box_is_a_miss_and_is_counted():
    figure = corloc(np.stack([BOX, NONE]), np.stack([BOX, BOX]))
    assert (figure.value, figure.n, figure.missing) == (0.5, 2, 1)


def test_any_instance_may_be_hit():
    true = [np.stack([BOX + 50, BOX]), np.stack([BOX + 50])]
    assert best_iou(np.stack([BOX, BOX]), true).tolist() == [1, 0]


def test_mean_over_classes():
    predicted, true = np.stack([BOX, NONE, NONE, BOX]), np.stack([BOX] * 4)
    labels = ["cat", "cat", "cat", "dog"]
    assert corloc(predicted, true).value == 0.5
    assert corloc(predicted, true, labels).value == pytest.approx((1 / 3 + 1) / 2)
    table = corloc_by_class(predicted, true, labels, images=[0, 1, 2, 2])
    assert {label: (e.value, e.n, e.missing) for label, e in table.items()} == {
        "cat": (pytest.approx(1 / 3), 3, 2),
        "dog": (1, 1, 0),
    }


def test_top1_needs_the_class_as_well():
    predicted, true = np.stack([BOX, BOX, NONE]), np.stack([BOX] * 3)
    assert top1_loc(predicted, true, [True, False, True]).value == pytest.approx(1 / 3)


def test_no_samples():
    assert np.isnan(corloc(np.empty((0, 4)), []).value)


def test_hits():
    assert hits([0.5, 0.51]).tolist() == [False, True]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: corloc(BOX[None], np.stack([BOX, BOX])), "1 predicted boxes do not pair with the true boxes of 2"),
        (lambda: corloc(BOX, BOX[None]), r"predicted boxes must be \[n, 4\]"),
        (lambda: corloc(BOX[None], NONE[None]), "true boxes hold NaN"),
        (lambda: corloc(BOX[None], [np.empty((0, 4))]), "sample 0 has no true box"),
        (lambda: corloc_by_class(BOX[None], BOX[None], [1, 2]), "classes must name one for each of the 1"),
        (lambda: top1_loc(BOX[None], BOX[None], [True, False]), "class_right must say yes or no"),
    ],
)
def test_errors(call, says):
    with pytest.raises(InputError, match=says):
        call()
