import hashlib

import numpy as np
import pytest

from localization import corloc
from localization.datasets import load, scenes
from localization.datasets.moving_digits import moving_digits
from localization.datasets.scenes import SIZE

HASHES = {
    "train": "3d4d791714697b04743bbaa6fdf746dfe119357907750811a3e9cedf7ceed7c2",
    "val": "e9ac8288424aad7f131b4852b0d98a7937edcc444eb7efd43f647f833930a3f0",
    "test": "504667c05c2b5da6a34cd4cec3c217236dde711f05e43816582b7acb269ddd78",
}


@pytest.mark.parametrize("split", HASHES)
def test_the_same_bytes_on_any_machine(split):
    data = scenes(split, n=6, seed=1)
    content = data.images.tobytes() + data.labels.tobytes() + data.boxes.tobytes()
    assert hashlib.sha256(content).hexdigest() == HASHES[split]


def test_more_scenes_begin_with_the_same_ones():
    few, many = scenes("val", n=3), scenes("val", n=5)
    assert (many.images[:3] == few.images).all() and (many.boxes[:3] == few.boxes).all()
    assert not (scenes("val", n=3, seed=1).images == few.images).all()


def test_splits_share_no_digit():
    drawn = [set(scenes(split, n=60).digits.tolist()) for split in ("train", "val", "test")]
    assert not drawn[0] & drawn[1] and not drawn[0] & drawn[2] and not drawn[1] & drawn[2]


def test_shapes_and_boxes():
    data = scenes("test", n=40)
    assert len(data) == 40 and data.images.shape == (40, SIZE, SIZE, 3) and data.images.dtype == np.uint8
    width, height = data.boxes[:, 2:].T - data.boxes[:, :2].T
    assert (data.boxes >= 0).all() and (data.boxes <= SIZE).all() and width.min() > 5 and height.min() > 5
    assert set(data.labels) <= set(range(10))


def test_position_has_to_be_found():
    """The training set's mean box stays below 10% on test."""
    train, test = scenes("train", n=200), scenes("test", n=200)
    assert corloc(np.tile(train.boxes.mean(0), (200, 1)), test.boxes).value < 0.1
    assert corloc(np.tile(np.median(train.boxes, axis=0), (200, 1)), test.boxes).value < 0.1


def test_errors():
    with pytest.raises(ValueError, match="split must be one of train, val, test"):
        scenes("all")
    with pytest.raises(ValueError, match="n must be a whole number of at least 0"):
        scenes(n=-1)


def test_every_data_set_has_images_labels_boxes_and_classes():
    for data in (scenes("test", 2), moving_digits("test", 2), load("scenes", limit=2)):
        assert len(data) == len(data.images) == len(data.labels) == len(data.boxes) == 2
        assert set(data.classes) <= set("0123456789")
    drawn = scenes("test", 2)
    assert [(drawn.classes[label],) for label in drawn.labels] == load("scenes", limit=2).labels
