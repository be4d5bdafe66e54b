"""Maps of other tools: one meaning, with and without a placement beside them."""

import json

import numpy as np
import pytest

from localization.boxes import map_to_photo, to_input
from localization.external import PLACEMENT, external_maps, moved, placement, read_placement, write_placement
from saliency import InputError
from saliency.models.preprocessing import Preprocessing

CROP = Preprocessing((24, 32), mode="crop", shorter=40)


def saved(folder, **maps):
    folder.mkdir(parents=True, exist_ok=True)
    for name, own in maps.items():
        np.save(folder / f"{name}.npy", own)
    return folder


def test_a_map_lies_over_its_whole_photo_at_any_resolution(tmp_path, rng):
    photo = (30, 50)
    fine, coarse = rng.random((2, 60, 100)), rng.random((2, 3, 5))
    for name, own in (("fine", fine), ("coarse", coarse)):
        maps = external_maps(saved(tmp_path / name, a=own[0], b=own[1]), ["a", "b"], [photo, photo])
        found = maps.read("b")
        assert found.dtype == np.float32 and np.array_equal(found, own[1].astype(np.float32))
        whole = to_input(np.array([0, 0, 50, 30]), maps.placement(photo, found.shape))
        assert whole.tolist() == [0, 0, own.shape[2], own.shape[1]]


def test_a_placement_beside_the_maps_says_over_what_they_were_made(tmp_path):
    saved(tmp_path, a=np.zeros((12, 16)))
    write_placement(tmp_path, CROP)
    assert json.loads((tmp_path / PLACEMENT).read_text()) == {"mode": "crop", "size": [24, 32], "shorter": 40}
    assert read_placement(tmp_path).placement((90, 70)) == CROP.placement((90, 70))
    maps = external_maps(tmp_path, ["a"], [(90, 70)])
    box = np.array([10.0, 20, 50, 60])
    at_half = to_input(box, maps.placement((90, 70), (12, 16)))
    assert np.allclose(at_half, to_input(box, CROP.placement((90, 70))) / 2)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"mode": "crop"}', '{"mode": "zoom", "size": [4, 4]}', '{"mode": "crop", "size": [4]}',
             '{"mode": "crop", "size": [24, 24], "offset": 3}', '{"mode": "crop", "size": "24"}', "3",
             '{"mode": "stretch", "size": [1e9, 4]}']
)  # fmt: skip
def test_a_placement_that_says_nothing_is_one_sentence(tmp_path, text):
    (tmp_path / PLACEMENT).write_text(text)
    with pytest.raises(InputError, match=r"placement\.json"):
        external_maps(saved(tmp_path, a=np.zeros((4, 4))), ["a"], [(9, 9)])


@pytest.mark.parametrize("mode", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize("photo", [(45, 61), (70, 33)])
def test_moving_a_map_is_the_slow_way_over_the_photo(rng, mode, photo):
    """Where a map grows: each pixel of the target, by hand, bilinear between the centres of the map's."""
    own = rng.random((9, 13)).astype(np.float32)
    at = placement(None, photo, own.shape)
    to = Preprocessing((37, 29), mode=mode, shorter=41 if mode == "crop" else None).placement(photo)
    expected = np.zeros(to.input)
    for row in range(to.input[0]):
        for column in range(to.input[1]):
            x = ((column + 0.5 - to.offset[0]) / to.scale[0]) / photo[1] * own.shape[1] - 0.5
            y = ((row + 0.5 - to.offset[1]) / to.scale[1]) / photo[0] * own.shape[0] - 0.5
            if not (-0.5 <= x <= own.shape[1] - 0.5 and -0.5 <= y <= own.shape[0] - 0.5):
                continue
            x, y = np.clip(x, 0, own.shape[1] - 1), np.clip(y, 0, own.shape[0] - 1)
            left, top = min(int(x), own.shape[1] - 2), min(int(y), own.shape[0] - 2)
            a, b = x - left, y - top
            corner = own[top : top + 2, left : left + 2]
            expected[row, column] = np.array([1 - b, b]) @ corner @ np.array([1 - a, a])
    assert np.allclose(moved(own, at, to), expected, atol=1e-6)


def test_moving_nowhere_keeps_every_bit_and_shrinking_keeps_the_mean(rng):
    own = rng.random((48, 60)).astype(np.float32)
    whole = Preprocessing((48, 60), mode="stretch").placement((200, 100))
    assert moved(own, whole, whole) is own
    coarse = moved(own, whole, Preprocessing((12, 15), mode="stretch").placement((200, 100)))
    assert np.allclose(coarse, own.reshape(12, 4, 15, 4).mean((1, 3)), atol=1e-6)


def test_a_map_over_a_crop_goes_to_the_photo_as_ours_do(rng):
    own, placed = rng.random(CROP.size).astype(np.float32), CROP.placement((50, 81))
    to = placement(None, (50, 81), (50, 81))
    assert np.allclose(moved(own, placed, to), map_to_photo(own.astype(float), placed), atol=1e-6)


def test_swapped_maps_are_told(tmp_path):
    upright = saved(tmp_path / "upright", a=np.zeros((30, 40)), b=np.zeros((40, 30)))
    assert external_maps(upright, ["a", "b"], [(30, 40), (400, 300)]).files
    swapped = saved(tmp_path / "swapped", a=np.zeros((30, 40)), b=np.zeros((30, 40)), c=np.ones((3, 3)))
    with pytest.raises(InputError, match=r"b\.npy: this map is 40 wide and 30 high, its photo 300 wide and 400 high"):
        external_maps(swapped, ["c", "b"], [(400, 300)] * 2)
    # of one fixed size for upright and lying photos alike: stretched, as a network's input is
    assert external_maps(swapped, ["a", "b"], [(30, 40), (400, 300)]).files
    with pytest.raises(InputError, match=r"save map\.T"):  # but not where every photo is turned against it
        external_maps(swapped, ["a", "b"], [(400, 300)] * 2)
    # square maps, and coarse ones that fit both ways, say nothing
    square = saved(tmp_path / "square", a=np.zeros((14, 14)), b=np.zeros((2, 2)))
    assert external_maps(square, ["a", "b"], [(300, 400), (400, 300)]).files
    # made over a network's input: the photos' aspect is not theirs
    write_placement(swapped, Preprocessing((30, 40), mode="stretch"))
    assert external_maps(swapped, ["a", "b"], [(400, 300)] * 2).files


def test_which_file_is_whose(tmp_path):
    folder = saved(tmp_path / "maps", **{"a.jpg": np.zeros((2, 2)), "b": np.ones((2, 2)), "img.v1": np.ones((2, 3))})
    np.savez(folder / "c.npz", np.full((1, 2, 2, 1), 7.0))
    maps = external_maps(folder, ["a.jpg", "b.png", "c.JPEG"], [(5, 5)] * 3)
    assert [float(maps.read(source).max()) for source in ("a.jpg", "b.png", "c.JPEG")] == [0, 1, 7]
    with pytest.raises(InputError, match=r"b\.npy: is the map of both 'b.jpg' and 'b.png'"):
        external_maps(folder, ["b.jpg", "b.png"], [(5, 5)] * 2)
    with pytest.raises(InputError, match=r"holds no img\.v2\.npy or \.npz"):  # v2 is no suffix of a photo
        external_maps(folder, ["img.v2"], [(5, 5)])
    with pytest.raises(InputError, match="leads out of"):
        external_maps(folder, ["../b"], [(5, 5)])
    with pytest.raises(InputError, match="no such folder of maps"):
        external_maps(tmp_path / "nowhere", ["b"], [(5, 5)])


def test_what_they_hold_decides_the_digest(tmp_path):
    def digest(name, value, **more):
        folder = saved(tmp_path / name, a=np.full((4, 4), value))
        if more:
            write_placement(folder, Preprocessing((4, 4), **more))
        return external_maps(folder, ["a"], [(9, 9)]).digest

    found = [digest("one", 1.0), digest("two", 1.0), digest("three", 2.0), digest("four", 1.0, mode="letterbox")]
    assert found[0] == found[1] and len(set(found)) == 3
