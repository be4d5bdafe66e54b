"""With the extra `tfds`: prepared without TensorFlow, read without TensorFlow, the same boxes as from the folder."""

import sys

import numpy as np
import pytest

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
