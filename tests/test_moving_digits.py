"""Moving digits: the same bytes from a seed, steady bouncing, tight boxes, disjoint splits."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from localization.datasets.moving_digits import SPLITS, moving_digits
from saliency.errors import InputError


def test_shapes_labels_and_boxes():
    data = moving_digits("val", 7, frames=4, digits=2, size=(48, 80), seed=3)
    assert data.frames.shape == (7, 4, 48, 80, 3) and data.frames.dtype == np.uint8 and len(data) == 7
    assert data.labels.shape == data.instances.shape == (7, 2) and data.boxes.shape == (7, 4, 2, 4)
    np.testing.assert_array_equal(data.labels, load_digits().target[data.instances])
    assert (data.frames[..., :1] == data.frames).all()


def test_boxes_are_tight_on_the_ink():
    data = moving_digits("test", 30, frames=5, size=(64, 41), seed=1)
    for frame, box in zip(data.frames.reshape(-1, 64, 41, 3), data.boxes.reshape(-1, 4)):
        rows, cols = np.nonzero(frame[..., 0])
        assert box.tolist() == [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]


def test_digits_keep_their_speed_and_bounce():
    data = moving_digits("train", 40, frames=30, size=(40, 56), seed=2)
    corner = data.boxes[:, :, 0, :2]
    step = np.abs(np.diff(corner, axis=1))
    turning = np.diff(np.sign(np.diff(corner, axis=1)), axis=1) != 0
    assert step.max() <= np.ceil(56 / 16) + 1
    assert turning.any((1, 2)).mean() > 0.5
    extent = data.boxes[..., 2:] - data.boxes[..., :2]
    assert (extent == extent[:, :1]).all()  # the digit itself does not change
    assert data.boxes.min() >= 0 and (data.boxes[..., 2:] <= [56, 40]).all()


def test_the_same_seed_gives_the_same_bytes_and_a_prefix():
    one, two = (moving_digits("train", n, frames=3, seed=5) for n in (9, 4))
    np.testing.assert_array_equal(one.frames[:4], two.frames)
    np.testing.assert_array_equal(one.boxes[:4], two.boxes)
    assert (moving_digits("train", 4, frames=3, seed=6).frames != two.frames).any()
    assert one.frames[0].sum() == 467883  # of this seed, on any machine


def test_splits_share_no_instance_and_use_each_once():
    used = {
        split: moving_digits(split, last - first, frames=1, size=(16, 16)).instances.ravel()
        for split, (first, last) in SPLITS.items()
    }
    every = np.concatenate(list(used.values()))
    assert sorted(every) == list(range(1797))


def test_two_digits_overlap_as_the_brighter():
    two = moving_digits("test", 20, frames=2, digits=2, size=(32, 32), seed=4)
    assert (two.frames.reshape(20, -1).max(1) > 200).all()
    for video, boxes in zip(two.frames[..., 0], two.boxes):
        for frame, pair in zip(video, boxes):
            outside = np.ones(frame.shape, bool)
            for x0, y0, x1, y1 in pair.astype(int):
                outside[y0:y1, x0:x1] = False
            assert not frame[outside].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "dev"}, "split must be one of train, val, test, not 'dev'"),
        ({"n": -1}, "n must be a whole number of at least 0, not -1"),
        ({"frames": 0}, "frames must be a whole number of at least 1, not 0"),
        ({"digits": 0}, "digits must be a whole number of at least 1, not 0"),
        ({"size": (64, 8)}, "size must be a whole number of at least 16, not 8"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(InputError, match=message):
        moving_digits(**arguments)
