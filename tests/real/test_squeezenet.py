"""SqueezeNet 1.1 with its ImageNet weights on 143 photos: as right as the same network is in torch."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saliency import gradient_maps, load_network
from saliency.models.classes import read_classes
from saliency.scores import logits

pytestmark = pytest.mark.real
TOP1, TOP5, PHOTOS = 83, 118, 143  # a torch re-implementation's; one photo either way is resizing's


@pytest.fixture(scope="module")
def photos(shared: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """The photos, and the class index of each by the wnid in its file's name."""
    folder = shared / "data" / "imagenet_photos"
    indices = {wnid: index for index, (wnid, _) in enumerate(read_classes(folder / "classes.csv"))}
    files = sorted(folder.glob("*.JPEG"))
    images = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    return images, np.array([indices[file.name.partition("_")[0]] for file in files])


@pytest.fixture(scope="module")
def net(shared: Path):
    return load_network(
        "squeezenet1_1",
        shared / "weights" / "squeezenet1_1.safetensors",
        classes=shared / "data" / "imagenet_photos" / "classes.csv",
    )


def test_accuracy(net, photos):
    images, labels = photos
    order = np.argsort(-logits(net, net.preprocess(images)), axis=1)
    assert len(labels) == PHOTOS
    assert abs((order[:, 0] == labels).sum() - TOP1) <= 1
    assert abs((order[:, :5] == labels[:, None]).any(1).sum() - TOP5) <= 1
    assert net.class_name(int(labels[0])) == "tench"


def test_maps_do_not_lie_in_the_corners(net, photos):
    """Photographers centre their objects: the middle quarter holds more gradient than its area's share."""
    images, labels = photos
    maps = gradient_maps(net, net.preprocess(images[:16]), target=labels[:16], aggregate="mean")
    share = maps[:, 56:168, 56:168].sum((1, 2)) / maps.sum((1, 2))
    assert share.mean() > 0.3
