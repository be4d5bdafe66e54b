"""Photos known by their pixels: broken ones are listed, repeated ones never learned from."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from localization.datasets import load
from saliency.errors import InputError
from saliency.report import content_hash


@pytest.fixture
def photos(rng):
    return rng.integers(0, 256, (5, 20, 30, 3), np.uint8)


def write(folder, photos, names):
    folder.mkdir(parents=True)
    for photo, name in zip(photos, names):
        Image.fromarray(photo).save(folder / name)
    return load("folder", folder)


def test_every_photo_is_hashed_by_its_pixels(tmp_path, photos):
    found = write(tmp_path / "a", photos, [f"{i}.png" for i in range(5)]).decodable()
    assert found.hashes == tuple(content_hash(photo) for photo in photos) and found.notes == ()


def test_a_truncated_photo_is_listed_and_strict_stops(tmp_path, photos):
    data = write(tmp_path / "a", photos, [f"{i}.jpg" for i in range(5)])
    path = tmp_path / "a" / "3.jpg"
    path.write_bytes(path.read_bytes()[:700])
    calls = []
    found = data.decodable(progress=lambda done, total: calls.append((done, total)))
    assert [a.source for a in found.annotations] == ["0.jpg", "1.jpg", "2.jpg", "4.jpg"] and len(found) == 4
    assert calls == [(i, 5) for i in range(1, 6)]
    (note,) = found.notes
    assert note.source == "3.jpg" and note.outcome == "left out" and "photo cannot be read" in note.problem
    assert "left out      1  photo cannot be read, first in 3.jpg" in found.summary()
    with pytest.raises(InputError, match=r"3\.jpg: damaged image"):
        data.decodable(strict=True)
    for name in ("0", "1", "2", "4"):
        (tmp_path / "a" / f"{name}.jpg").write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="none of its photos can be decoded"):
        data.decodable()


def test_a_photo_of_another_name_is_the_same_photo(tmp_path, photos):
    train = write(tmp_path / "train", photos[[0, 1, 2, 1]], ["x.png", "y.png", "z.bmp", "again.png"]).decodable()
    test = write(tmp_path / "test", photos[[1, 3]], ["other.bmp", "new.png"]).decodable()
    kept = train.without(test)
    assert [a.source for a in kept.annotations] == ["x.png", "z.bmp"] and len(kept.hashes) == 2
    assert sorted(note.source for note in kept.notes) == ["again.png", "y.png"]
    with pytest.raises(InputError, match="each of its 2 photos is among those that are scored"):
        test.without(replace(train, images=replace(train.images, hashes=(*train.hashes, *test.hashes))))
    assert train.without(write(tmp_path / "none", photos[[4]], ["a.png"])) is train


def test_the_digest_sees_pixels_labels_and_boxes(tmp_path, photos):
    one = write(tmp_path / "a", photos, [f"{i}.png" for i in range(5)]).decodable()
    same = write(tmp_path / "b", photos, [f"{i}.png" for i in range(5)]).decodable()
    assert one.digest == same.digest
    changed = photos.copy()
    changed[2, 3, 4] ^= 1
    assert write(tmp_path / "c", changed, [f"{i}.png" for i in range(5)]).decodable().digest != one.digest
    (tmp_path / "b" / "boxes.csv").write_text("file,x0,y0,x1,y1,label\n1.png,1,2,3,4,cat\n")
    boxed = load("folder", tmp_path / "b").decodable()
    (tmp_path / "b" / "boxes.csv").write_text("file,x0,y0,x1,y1,label\n1.png,1,2,3,4,dog\n")
    assert len({one.digest, boxed.digest, load("folder", tmp_path / "b").decodable().digest}) == 3


def test_a_photo_is_decoded_once_while_there_is_room(tmp_path, photos, monkeypatch):
    """What stays decoded cannot be altered through what is handed out."""
    data = write(tmp_path / "a", photos, [f"{i}.png" for i in range(5)])
    monkeypatch.setattr("localization.datasets.dataset.KEPT", 2 * photos[0].nbytes)
    known = data.decodable()
    for i in (0, 1, 2):
        (tmp_path / "a" / f"{i}.png").unlink()
    known.images[0][:] = 0
    np.testing.assert_array_equal(known.images[0], photos[0])
    np.testing.assert_array_equal(known.images[1], photos[1])
    with pytest.raises(InputError, match=r"2\.png"):
        known.images[2]
    assert known.decodable() is known and known.select([3, 1]).hashes == (known.hashes[3], known.hashes[1])
