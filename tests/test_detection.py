"""Several boxes a photo: average precision against the devkit's loops, recall, and rectangles against a loop."""

import numpy as np
import pytest

from localization.boxes import iou
from localization.detection import average_precision, recall_at
from localization.regression import fit_coverage
from localization.regression.cells import Cells
from localization.regression.rectangles import local_overlap, separate_rectangles, spans
from saliency.errors import InputError
from tests.devkits import voc_average_precision


def boxes_of(rng, count):
    low = rng.integers(0, 8, (count, 2))
    return np.concatenate([low, low + rng.integers(1, 6, (count, 2))], 1).astype(float)


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_average_precision_is_the_devkits(rng, threshold):
    """Photos without true boxes, without found ones, difficult ones; equal scores do not occur."""
    for _ in range(60):
        photos = int(rng.integers(1, 7))
        true = [boxes_of(rng, int(rng.integers(0, 4))) for _ in range(photos)]
        true[0] = boxes_of(rng, 2)
        near = [np.clip(own[rng.integers(0, len(own), 3)] + rng.integers(-1, 2, (3, 4)), 0, 20) if len(own) else own
                for own in true]  # fmt: skip
        found = [np.concatenate([boxes_of(rng, int(rng.integers(0, 4))), own]) for own in near]
        scores = np.split(rng.permutation(sum(map(len, found))) / 50, np.cumsum([len(own) for own in found])[:-1])
        difficult = [rng.random(len(own)) < 0.3 for own in true]
        difficult[0][0] = False
        for points in (None, 11):
            own = average_precision(found, scores, true, difficult=difficult, threshold=threshold, points=points)
            known = voc_average_precision(found, scores, true, difficult, threshold, points == 11)
            assert own == pytest.approx(known, abs=1e-12)


def test_recall_counts_true_boxes_among_the_first_k():
    true = [np.array([[0.0, 0, 4, 4], [10, 10, 14, 14]]), np.array([[0.0, 0, 2, 2]])]
    found = [np.array([[20.0, 20, 24, 24], [0, 0, 4, 4], [10, 10, 14, 13]]), np.empty((0, 4))]
    assert [recall_at(found, true, k) for k in (1, 2, 3, 9)] == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3])


def test_bad_input_is_one_sentence():
    box = np.array([[0.0, 0, 4, 4]])
    with pytest.raises(InputError, match="boxes found in 1 photos do not pair with the true boxes of 2"):
        recall_at([box], [box, box], 1)
    with pytest.raises(InputError, match="true boxes: there is none"):
        recall_at([box], [box[:0]], 1)
    with pytest.raises(InputError, match="scores must be one for each found box"):
        average_precision([box], [np.ones(2)], [box])
    with pytest.raises(InputError, match="all are marked difficult"):
        average_precision([box], [np.ones(1)], [box], difficult=[np.array([True])])


def test_rectangles_are_those_of_a_loop(rng):
    mask = (rng.random((5, 7)) ** 2).astype(np.float32)
    found = np.asarray(local_overlap(mask[None]))[0]
    everything = {}
    for i, (top, bottom) in enumerate(spans(5).tolist()):
        for j, (left, right) in enumerate(spans(7).tolist()):
            tall, wide = -(-(bottom - top) // 2), -(-(right - left) // 2)
            inside = mask[top:bottom, left:right].sum()
            near = mask[max(0, top - tall) : bottom + tall, max(0, left - wide) : right + wide].sum()
            score = inside / ((bottom - top) * (right - left) + near - inside)
            assert found[i, j] == pytest.approx(score, rel=1e-5)
            everything[left, top, right, bottom] = found[i, j]
    boxes, scores = separate_rectangles(found, (5, 7), 4, 0.2)
    left, expected = dict(everything), []
    while len(expected) < 4 and left and max(left.values()) >= 0.1:
        best = max(left, key=left.get)
        expected.append((np.array(best) / [7, 5, 7, 5], left[best]))
        left = {
            one: score for one, score in left.items() if one != best and iou(np.array([one]), np.array(best))[0] <= 0.2
        }
    np.testing.assert_allclose(boxes, [box for box, _ in expected])
    np.testing.assert_allclose(scores, [score for _, score in expected])


def test_two_objects_are_found_as_two(rng):
    """Learned from photos of one object, or of two of which the larger is learned."""
    y, x = np.mgrid[:36, :36] + 0.5

    def drawn(box):
        return (x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])

    maps, boxes = [], []
    for _ in range(60):
        low = rng.uniform(0, 22, 2)
        boxes.append([*low, *(low + rng.uniform(8, 14, 2))])
        maps.append(drawn(boxes[-1]) + 0.1 * rng.random((36, 36)))
    fit = fit_coverage(np.array(maps), np.array(boxes), candidates=(Cells((12, 12)),))
    pair = np.array([[2.0, 3, 14, 13], [20, 19, 31, 32]])
    both = np.array([drawn(pair[0]) | drawn(pair[1]), drawn(pair[0]), np.zeros((36, 36))]) + 0.0
    (two, scores), (one, _), (none, _) = fit.detected(both, most=3)
    assert recall_at([two[:2]], [pair], 2) == 1 and (np.diff(scores) <= 0).all()
    assert iou(one[:1], pair[:1])[0] > 0.5 and none.shape == (0, 4)
    with pytest.raises(InputError, match="most must be a whole number of at least 1"):
        fit.detected(both, most=0)
