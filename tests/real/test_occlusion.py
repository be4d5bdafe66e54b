"""Real weights, real photos: the incremental engine's score at every position is the dense path's."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saliency import load_network, occlusion_maps
from saliency.occlusion import Execution
from saliency.scores import logits

pytestmark = pytest.mark.real
PHOTOS = 5


@pytest.mark.parametrize("patch, stride", [(32, 16), (20, 10)])
def test_every_position_is_the_dense_paths(shared: Path, patch, stride):
    net = load_network("squeezenet1_1", shared / "weights" / "squeezenet1_1.safetensors")
    files = sorted((shared / "data" / "imagenet_photos").glob("*.JPEG"))[:PHOTOS]
    x = net.preprocess([np.asarray(Image.open(file).convert("RGB")) for file in files])
    assert len(x) == PHOTOS
    largest = np.abs(logits(net, x)).max(1)
    mine, dense = (
        occlusion_maps(net, x, patch=patch, stride=stride, execution=Execution(engine)) for engine in ("auto", "dense")
    )
    assert mine.engine == "incremental"
    assert (np.ptp(dense.scores, axis=(1, 2)) > 1).all()
    assert (np.abs(mine.scores - dense.scores).max((1, 2)) <= 1e-5 * largest).all()
