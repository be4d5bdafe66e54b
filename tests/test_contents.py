"""Photos known by their pixels: broken ones are listed, repeated ones never learned from."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from localization.contents import read_contents, without
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
    found = read_contents(write(tmp_path / "a", photos, [f"{i}.png" for i in range(5)]))
    assert found.hashes == tuple(content_hash(photo) for photo in photos) and found.data.notes == ()


def test_a_truncated_photo_is_listed_and_strict_stops(tmp_path, photos):
    data = write(tmp_path / "a", photos, [f"{i}.jpg" for i in range(5)])
    path = tmp_path / "a" / "3.jpg"
    path.write_bytes(path.read_bytes()[:700])
    calls = []
    found = read_contents(data, progress=lambda done, total: calls.append((done, total)))
    assert [a.source for a in found.data.annotations] == ["0.jpg", "1.jpg", "2.jpg", "4.jpg"] and len(found) == 4
    assert calls == [(i, 5) for i in range(1, 6)]
    (note,) = found.data.notes
    assert note.source == "3.jpg" and note.outcome == "left out" and "photo cannot be read" in note.problem
    assert "left out      1  photo cannot be read, first in 3.jpg" in found.data.summary()
    with pytest.raises(InputError, match=r"3\.jpg: damaged image"):
        read_contents(data, strict=True)
    for name in ("0", "1", "2", "4"):
        (tmp_path / "a" / f"{name}.jpg").write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="none of its photos can be decoded"):
        read_contents(data)


def test_a_photo_of_another_name_is_the_same_photo(tmp_path, photos):
    train = read_contents(write(tmp_path / "train", photos[[0, 1, 2, 1]], ["x.png", "y.png", "z.bmp", "again.png"]))
    test = read_contents(write(tmp_path / "test", photos[[1, 3]], ["other.bmp", "new.png"]))
    kept = without(train, test)
    assert [a.source for a in kept.data.annotations] == ["x.png", "z.bmp"] and len(kept.hashes) == 2
    assert sorted(note.source for note in kept.data.notes) == ["again.png", "y.png"]
    with pytest.raises(InputError, match="each of its 2 photos is among those that are scored"):
        without(test, replace(train, hashes=(*train.hashes, *test.hashes)))
    assert without(train, read_contents(write(tmp_path / "none", photos[[4]], ["a.png"]))) is train


def test_the_digest_sees_pixels_labels_and_boxes(tmp_path, photos):
    one = read_contents(write(tmp_path / "a", photos, [f"{i}.png" for i in range(5)]))
    same = read_contents(write(tmp_path / "b", photos, [f"{i}.png" for i in range(5)]))
    assert one.digest == same.digest
    changed = photos.copy()
    changed[2, 3, 4] ^= 1
    assert read_contents(write(tmp_path / "c", changed, [f"{i}.png" for i in range(5)])).digest != one.digest
    (tmp_path / "b" / "boxes.csv").write_text("file,x0,y0,x1,y1,label\n1.png,1,2,3,4,cat\n")
    boxed = read_contents(load("folder", tmp_path / "b"))
    (tmp_path / "b" / "boxes.csv").write_text("file,x0,y0,x1,y1,label\n1.png,1,2,3,4,dog\n")
    assert len({one.digest, boxed.digest, read_contents(load("folder", tmp_path / "b")).digest}) == 3
