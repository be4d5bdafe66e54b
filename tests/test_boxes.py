import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localization import boxes
from saliency.errors import InputError
from saliency.models.preprocessing import Placement, Preprocessing
from tests.oracles.boxes import iou_by_pixels, iou_devkit

SIDE = st.integers(1, 400)
placements = st.builds(
    lambda mode, photo, size: Preprocessing(size, mode=mode, shorter=max(size) + 7).placement(photo),
    st.sampled_from(["stretch", "crop", "letterbox"]),
    st.tuples(SIDE, SIDE),
    st.tuples(st.integers(8, 300), st.integers(8, 300)),
)
corners = st.lists(st.floats(0, 400, allow_nan=False), min_size=4, max_size=4)


def random_boxes(rng, n, size):
    height, width = size
    x, y = np.sort(rng.integers(0, width + 1, (n, 2))), np.sort(rng.integers(0, height + 1, (n, 2)))
    return np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], 1)


def test_iou_counts_pixels(rng):
    size = (9, 14)
    a, b = random_boxes(rng, 150, size), random_boxes(rng, 150, size)
    assert np.allclose(boxes.iou(a, b), [iou_by_pixels(x, y, size) for x, y in zip(a, b)])


def test_iou_is_the_devkits_with_its_plus_one(rng):
    a, b = 1 + random_boxes(rng, 200, (40, 60)), 1 + random_boxes(rng, 200, (40, 60))
    ours = boxes.iou(boxes.from_inclusive(a), boxes.from_inclusive(b))
    assert np.allclose(ours, [iou_devkit(x, y) for x, y in zip(a, b)])
    assert boxes.iou(boxes.from_inclusive([1, 2, 5, 6]), boxes.from_inclusive([3, 1, 4, 5])) == pytest.approx(8 / 27)


def test_iou_of_nothing_is_nothing():
    nan, box = np.full(4, np.nan), np.array([0.0, 0, 4, 4])
    assert boxes.iou(nan, box) == 0
    assert boxes.iou(np.zeros(4), np.zeros(4)) == 0
    assert boxes.iou(np.array([4.0, 4, 0, 0]), box) == 0  # inside out
    assert boxes.iou(box[None, None], np.stack([box, box / 2])[None]).tolist() == [[1, 0.25]]


def test_conventions():
    assert boxes.from_inclusive([1, 1, 1, 1]).tolist() == [0, 0, 1, 1]  # VOC's first pixel
    assert boxes.from_inclusive([0, 0, 0, 0], first=0).tolist() == [0, 0, 1, 1]
    assert boxes.from_xywh([2, 3, 4, 5]).tolist() == [2, 3, 6, 8]
    assert boxes.from_tfds(np.float32([3 / 333, 1 / 500, 5 / 333, 7 / 500]), (333, 500)).tolist() == [0, 2, 7, 5]


@given(corners, st.sampled_from([0, 1]))
def test_conversions_return(numbers, first):
    box = np.array(numbers)
    assert np.allclose(boxes.to_inclusive(boxes.from_inclusive(box, first), first), box)
    assert np.allclose(boxes.to_xywh(boxes.from_xywh(box)), box)
    assert np.allclose(boxes.from_tfds(boxes.to_tfds(box, (300, 200)), (300, 200)), box, atol=1e-3)


@settings(deadline=None)
@given(placements, corners)
def test_boxes_return_from_the_input(placement, numbers):
    box = np.array(numbers)
    assert np.abs(boxes.to_photo(boxes.to_input(box, placement), placement) - box).max() < 1e-9


@settings(deadline=None)
@given(placements)
def test_the_photo_and_the_input_cover_one_another(placement):
    height, width = placement.photo
    x0, y0, x1, y1 = boxes.to_input(np.array([0.0, 0, width, height]), placement)
    assert x1 - x0 == pytest.approx(placement.scale[0] * width)
    # half a pixel at most beside the middle, as torchvision rounds a centre crop
    assert abs((x0 + x1) / 2 - placement.input[1] / 2) <= 0.5 + 1e-9
    assert abs((y0 + y1) / 2 - placement.input[0] / 2) <= 0.5 + 1e-9


def test_a_painted_box_is_where_to_input_says(rng):
    photo = np.zeros((90, 160, 3), np.uint8)
    photo[20:70, 60:110] = 255
    for mode in ("stretch", "crop", "letterbox"):
        preprocessing = Preprocessing((60, 48), mode=mode, shorter=64, mean=(0, 0, 0), std=(1, 1, 1))
        bright = preprocessing.place(photo)[..., 0] > 127
        ys, xs = np.nonzero(bright)
        seen = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
        placement = preprocessing.placement((90, 160))
        assert np.abs(seen - boxes.clip(boxes.to_input([60, 20, 110, 70], placement), (60, 48))).max() <= 0.75


def test_visible_is_the_share_that_a_crop_leaves():
    placement = Preprocessing((50, 50), mode="crop", shorter=50).placement((100, 200))  # shows x 50..150 of the photo
    seen = boxes.visible(np.array([[60, 0, 140, 100], [0, 0, 40, 100], [40, 10, 60, 20], [9, 9, 9, 20]]), placement)
    assert seen.tolist() == [1, 0, 0.5, 0]


@pytest.mark.parametrize("mode", ["stretch", "crop", "letterbox"])
def test_map_to_photo_against_a_slow_loop(rng, mode):
    placement = Preprocessing((14, 10), mode=mode, shorter=16).placement((23, 31))
    map = rng.normal(size=(7, 5))  # coarser than the input
    photo = boxes.map_to_photo(map, placement, outside=-1)
    for y in range(23):
        for x in range(31):
            u = ((x + 0.5) * placement.scale[0] + placement.offset[0]) * 5 / 10 - 0.5
            v = ((y + 0.5) * placement.scale[1] + placement.offset[1]) * 7 / 14 - 0.5
            expected = -1.0
            if -0.5 <= u <= 4.5 and -0.5 <= v <= 6.5:
                u, v = np.clip(u, 0, 4), np.clip(v, 0, 6)
                i, j = min(int(v), 5), min(int(u), 3)
                rows = map[i : i + 2, j : j + 2] @ [1 - (u - j), u - j]
                expected = rows @ [1 - (v - i), v - i]
            assert photo[y, x] == pytest.approx(expected, abs=1e-6)


def test_map_to_photo_of_the_same_size_is_the_map(rng):
    map = rng.normal(size=(6, 9))
    assert np.allclose(boxes.map_to_photo(map, Placement((6, 9), (6, 9), (1.0, 1.0), (0.0, 0.0))), map)


def test_shapes_are_checked():
    with pytest.raises(InputError, match=r"boxes must be \[n, 4\]"):
        boxes.as_boxes([1, 2, 3, 4])
