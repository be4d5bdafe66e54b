"""The boxes' benchmark with real weights and photos: its own networks, and what its samples count."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saliency import gradient_maps, load_network
from scripts.benchmarks.boxes import sets, sources
from scripts.benchmarks.boxes.classes import ASKED, IMAGENET
from scripts.benchmarks.boxes.photos import ANIMALS

pytestmark = pytest.mark.real


def test_cams_are_the_librarys(shared: Path):
    """A class's score at each place is its CAM (Zhou et al. 2016), and block 10's gradient that of the whole way."""
    weights = shared / "weights" / "efficientnet_lite0.safetensors"
    photo = np.asarray(Image.open(next((shared / "data" / "imagenet_photos").glob("n02105056*"))).convert("RGB"))
    made = sources.efficient_asked(weights)([photo], [ASKED.index("horse")])
    net = sources._efficient(weights)
    x = net.preprocess([photo])
    head = np.asarray(net.upto(x, "relu_head"))
    fc = net.weights["fc"]
    (horse,) = IMAGENET["horse"]
    local = head @ np.asarray(fc["kernel"])[:, horse] + np.asarray(fc["bias"])[horse]
    np.testing.assert_allclose(made["asked-cam"], np.maximum(local, 0), atol=1e-3)
    assert made["asked-gxa"].shape == (1, 14, 14)
    plain = sources.efficient(weights)([photo], [-1])
    np.testing.assert_allclose(plain["block10"], net.upto(x, "block10"), atol=1e-3)


def test_vgg16s_gestalt_gradient_is_the_librarys(shared: Path):
    weights = shared / "weights" / "vgg16_features_float16.safetensors"
    photo = np.asarray(Image.open(sorted((shared / "data" / "imagenet_photos").glob("*.JPEG"))[0]).convert("RGB"))
    made = sources.vgg(weights)([photo], [-1])
    net = load_network("vgg16", weights)
    net.preprocess = net.preprocess.changed("stretch")
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
    assert len(objects.ids) == 384 + 256 and objects.any is not None
    assert all(len(one) == 1 for one in objects.true)
