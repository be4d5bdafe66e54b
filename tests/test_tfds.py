"""With the extra `tfds`: prepared without TensorFlow, read without TensorFlow, the same boxes as from the folder."""

import io
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from localization.datasets import load, tfds
from saliency.errors import InputError
from tests.devkits import voc_object, write_text, write_voc


@pytest.fixture
def devkit(tmp_path):
    for split, names in (("train", "abc"), ("val", "de"), ("test", "f")):
        objects = {
            name: [
                voc_object("cat", (1 + i, 2, 40, 41 - i), truncated=True),
                voc_object("dog", (30, 20, 99, 60), difficult=True),  # beyond the border
            ]
            for i, name in enumerate(names)
        }
        write_voc(tmp_path / "VOC2007", objects, split=split)
    return tmp_path / "VOC2007"


@pytest.mark.filterwarnings("ignore")  # TFDS's own
def test_the_same_devkit_through_tfds(devkit, tmp_path):
    pytest.importorskip("tensorflow_datasets")
    from localization.datasets.tfds_voc import SalboxVoc

    SalboxVoc(folder=devkit, data_dir=tmp_path / "prepared").download_and_prepare()
    for words, split in (("train", "train"), ("validation", "val"), ("test", "test")):
        ours, theirs = load("voc", devkit, split=split), load("tfds", tmp_path / "prepared", split=words)
        order = {a.source: i for i, a in enumerate(theirs.annotations)}
        assert order.keys() == {a.source for a in ours.annotations} and theirs.classes == ours.classes
        for i, annotation in enumerate(ours.annotations):
            other = theirs[order[annotation.source]]
            assert (other.annotation.boxes == annotation.boxes).all()
            assert other.annotation.labels == annotation.labels
            assert (other.annotation.difficult == annotation.difficult).all()
            assert (other.annotation.truncated == annotation.truncated).all()
            assert np.array_equal(other.image, ours.images[i])
    assert len(load("tfds", tmp_path / "prepared")) == 5  # train+validation
    assert "tensorflow" not in sys.modules
    with pytest.raises(InputError, match="no split 'none'"):
        load("tfds", tmp_path / "prepared", split="none")


def test_without_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="needs the extra 'tfds'"):
        load("tfds", tmp_path)


def test_what_is_no_prepared_folder(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow_datasets")
    write_text(tmp_path / "other.json", "{}")
    with pytest.raises(InputError, match="name the folder of one prepared data set"):
        load("tfds", tmp_path)


def record(name: str, photo: bytes, label: int = 0, **changes) -> dict:
    objects = {"label": [label], "bbox": [[0.25, 0.25, 0.5, 0.5]], "is_difficult": [False], "is_truncated": [False]}
    return {"image/filename": name, "image": photo, "objects": objects | changes}


def prepared(monkeypatch, folder, records):
    """A folder prepared by TFDS, without TFDS."""
    write_text(folder / "dataset_info.json", "{}")
    labels = SimpleNamespace(names=["cat", "dog"])
    builder = SimpleNamespace(
        as_data_source=lambda split, decoders: records,
        info=SimpleNamespace(features={"objects": {"label": labels}}, full_name="voc/2007"),
    )
    module = ModuleType("tensorflow_datasets")
    module.builder_from_directory = lambda _: builder
    module.decode = SimpleNamespace(SkipDecoding=lambda: None)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    monkeypatch.setattr(tfds, "find_spec", lambda _: True)
    return load("tfds", folder)


def encoded(orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.new("RGB", (40, 20)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def test_records_of_every_kind_of_trouble(monkeypatch, tmp_path):
    """Photos of one name in two folders, repeated, turned, truncated, empty, with a label or a box that cannot be."""
    photo = encoded()
    data = prepared(
        monkeypatch,
        tmp_path,
        [
            *(record("x/000.jpg", photo), record("y/000.jpg", photo, 1), record("x/000.jpg", photo)),
            *(record("turned.jpg", encoded(6)), record("empty.jpg", b""), record("label.jpg", photo, 7)),
            *(record("box.jpg", photo, bbox=[[0.1, 0.2]]), record("fields.jpg", photo, is_difficult=[])),
        ],
    )
    assert [a.source for a in data.annotations] == ["x/000", "y/000", "turned"]
    assert [a.labels for a in data.annotations] == [("cat",), ("dog",), ("cat",)]
    assert data[2].image.shape == (20, 40, 3)
    assert [str(note).partition(" (")[0].partition(": IndexE")[0].partition(": ValueE")[0] for note in data.notes] == [
        *("x/000: listed more than once", "turned: EXIF would turn the photo, no size says how it was annotated"),
        "empty: photo cannot be read: empty: not an image of a known format",
        *("record 5: broken record", "record 6: broken record", "record 7: broken record"),
    ]
