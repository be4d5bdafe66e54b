"""The boxes' benchmark with real weights and photos: its own networks, and what its samples count."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saliency import gradient_maps
from scripts.benchmarks.boxes import sets, sources
from scripts.benchmarks.boxes.networks import vgg16_features
from scripts.benchmarks.boxes.photos import ANIMALS

pytestmark = pytest.mark.real


def test_efficientnet_places_its_cam_on_what_it_names(shared: Path):
    """132 of 143 photos are named right by another implementation, cropped; here they are stretched."""
    root = shared / "data" / "imagenet_photos"
    rows = list(csv.DictReader((root / "classes.csv").open()))[::4]
    photos = [np.asarray(Image.open(next(root.glob(f"{row['wnid']}_*"))).convert("RGB")) for row in rows]
    weights = shared / "weights" / "efficientnet_lite0.safetensors"
    tensors = sources._tensors(weights)
    found = sources.efficient_forward(tensors, sources.efficient_input(photos))
    right = np.asarray(found["logits"]).argmax(1) == [int(row["index"]) for row in rows]
    assert right.mean() > 0.85
    made = sources.efficient(weights)(photos[:3], [-1] * 3)
    assert made["cam"].shape == (3, 7, 7) and made["block10"].shape == (3, 14, 14, 112)


def test_vgg16s_gestalt_gradient_is_the_librarys(shared: Path):
    weights = shared / "weights" / "vgg16_features_float16.safetensors"
    photo = np.asarray(Image.open(sorted((shared / "data" / "imagenet_photos").glob("*.JPEG"))[0]).convert("RGB"))
    made = sources.vgg(weights)([photo], [-1])
    net = vgg16_features(weights)
    x = net.preprocess([photo])
    wanted = sources.scaled(gradient_maps(net, x, score="gestalt"), sources.SIDE)
    np.testing.assert_allclose(made["gestalt-max"], wanted, atol=1e-4)
    np.testing.assert_allclose(made["relu5_3"], net.upto(x, "relu5_3"), rtol=1e-3, atol=1e-3)


def test_samples_are_those_that_boxes_md_states(shared: Path):
    photos = sets.SETS["voc_animals"].photos(shared)
    assert len(photos.ids) == 2568 and sets._alone(photos).sum() == 1443
    assert set(photos.label[sets._animal(photos)]) == set(ANIMALS)
    for chosen in (sets._alone, sets._among_others):
        rows = np.flatnonzero(chosen(photos))
        assert all((photos.target[i] == photos.true[i]).all(1).any() for i in rows)
    lists = sets.SETS["voc_several"].photos(shared)
    assert len(np.unique(lists.of[lists.folds == 0])) == 1071 and len(np.unique(lists.of[lists.folds == 1])) == 1497
    objects = sets._voc_objects(shared)
    assert len(objects.ids) == 640 + 448 and objects.any is not None
    assert all(len(one) == 1 for one in objects.true)
