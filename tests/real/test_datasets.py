"""The readers on real data, and the baselines that need no network."""

from pathlib import Path

import numpy as np
import pytest

from localization import corloc
from localization.boxes import area
from localization.datasets import load
from localization.protocols import baselines, samples

pytestmark = pytest.mark.real


def test_raccoons(shared: Path):
    data = load("voc", shared / "data" / "raccoon_voc")
    assert (len(data), sum(len(boxes) for boxes in data.boxes), data.classes) == (200, 217, ("raccoon",))
    assert not data.notes
    parts = [load("voc", shared / "data" / "raccoon_voc", split=split) for split in ("train", "val")]
    assert [len(part) for part in parts] == [100, 100]
    assert all(image.shape[:2] == data.annotations[i].size for i, image in enumerate(data.images[:20]))


def test_tiny_imagenet(shared: Path):
    root = shared / "data" / "tiny-imagenet-200"
    train, val = (load("tiny_imagenet", root, split=split) for split in ("train", "val"))
    assert (len(train), len(val), len(train.classes)) == (8000, 2400, 200)
    assert not train.notes and not val.notes
    wanted = samples(val)
    found = baselines(samples(train), np.full((8000, 2), 64.0), wanted, np.full((2400, 2), 64.0))
    figures = {name: corloc(boxes, wanted.true).value for name, boxes in found.items()}
    # where overlap counts, the median box beats the mean box (56 against 47 with 6,000 boxes, reference)
    assert figures["median box"] == pytest.approx(0.576, abs=0.002)
    assert figures["mean box"] < figures["median box"] - 0.05
    small = np.array([area(boxes).max() for boxes in wanted.true]) < 64 * 64 / 2
    missed = corloc(found["median box"][small], [boxes for boxes, one in zip(wanted.true, small) if one])
    assert missed.value == pytest.approx(0.112, abs=0.002)


def test_a_grey_jpeg_of_tiny_imagenet_is_rgb(shared: Path):
    data = load("tiny_imagenet", shared / "data" / "tiny-imagenet-200", split="train", limit=300)
    assert all(image.shape == (64, 64, 3) and image.dtype == np.uint8 for image in data.images)
    grey = [image for image in data.images if (image[..., 0] == image[..., 2]).all()]
    assert grey  # one in sixty is stored without colour


def test_dogs_by_both_their_layouts(shared: Path):
    """ILSVRC's XML and wsolevaluation's lists state the same numbers, in the lists from 0 on."""
    root = shared / "data" / "ilsvrc_dogs"
    xml, lists = load("imagenet", root), load("wsol", root, split="val")
    assert len(xml) == len(lists) == 262
    of = {Path(a.source).stem: a for a in lists.annotations}
    for one in xml.annotations:
        other = of[one.source]
        assert one.size == other.size
        gap = np.array(sorted(map(tuple, other.boxes))) - sorted(map(tuple, one.boxes))
        assert set(np.unique(gap)) <= {0, 1}  # 0 where both are cut at the border
