"""Networks with their ImageNet weights on 143 photos: as right as the same networks are elsewhere."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saliency import gradient_maps, load_network
from saliency.models.classes import read_classes
from saliency.scores import logits

pytestmark = pytest.mark.real
# top-1 and top-5 of 143 that other implementations got; one photo either way is resizing's
RIGHT = {"squeezenet1_1": (83, 118), "efficientnet_lite0": (132, 141)}


@pytest.fixture(scope="module")
def photos(shared: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """The photos, and the class index of each by the wnid in its file's name."""
    folder = shared / "data" / "imagenet_photos"
    indices = {wnid: index for index, (wnid, _) in enumerate(read_classes(folder / "classes.csv"))}
    files = sorted(folder.glob("*.JPEG"))
    images = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    return images, np.array([indices[file.name.partition("_")[0]] for file in files])


@pytest.fixture(scope="module", params=RIGHT)
def net(request, shared: Path):
    return load_network(
        request.param,
        shared / "weights" / f"{request.param}.safetensors",
        classes=shared / "data" / "imagenet_photos" / "classes.csv",
    )


def test_accuracy(net, photos):
    images, labels = photos
    order = np.argsort(-logits(net, net.preprocess(images)), axis=1)
    top1, top5 = RIGHT[net.name]
    assert len(labels) == 143
    assert abs((order[:, 0] == labels).sum() - top1) <= 1
    assert abs((order[:, :5] == labels[:, None]).any(1).sum() - top5) <= 1
    assert net.class_name(int(labels[0])) == "tench"


def test_maps_do_not_lie_in_the_corners(net, photos):
    """Photographers centre their objects: the middle quarter holds more gradient than its area's share."""
    images, labels = photos
    maps = gradient_maps(net, net.preprocess(images[:16]), target=labels[:16], aggregate="mean")
    share = maps[:, 56:168, 56:168].sum((1, 2)) / maps.sum((1, 2))
    assert share.mean() > 0.3
