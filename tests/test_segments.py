"""Superpixels cover the image, keep to its edges, and say what they need."""

import sys

import numpy as np
import pytest
from scipy import ndimage

from saliency.errors import InputError
from saliency.maps.segments import superpixels

METHODS = ("slic", "felzenszwalb", "grid")


@pytest.fixture
def halves() -> np.ndarray:
    """A photo of two colours, not square, the border between them off the middle."""
    pixels = np.full((30, 44, 3), 30, np.uint8)
    pixels[:, 17:] = (220, 90, 10)
    return pixels


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("channels", [0, 1, 3, 5])
def test_regions_are_numbered_without_gaps(rng, method, channels):
    pixels = rng.integers(0, 256, (23, 31, channels)[: 3 if channels else 2])
    found = superpixels(pixels, method, segments=12)
    assert found.shape == (23, 31) and found.dtype == np.int32
    assert np.array_equal(np.unique(found), np.arange(found.max() + 1))


@pytest.mark.parametrize("method", ["slic", "felzenszwalb"])
def test_regions_keep_to_an_edge_and_are_connected(halves, method):
    found = superpixels(halves, method, segments=8, scale=30.0)
    assert not set(np.unique(found[:, :16])) & set(np.unique(found[:, 18:]))  # a pixel of blur on each side
    for region in range(found.max() + 1):
        assert ndimage.label(found == region, np.ones((3, 3)))[1] == 1


@pytest.mark.parametrize(
    ("size", "segments"), [((7, 30), 10), ((30, 7), 10), ((5, 5), 1), ((2, 3), 50), ((40, 60), 24)]
)
def test_a_grid_has_rectangles_of_about_one_size(size, segments):
    found = superpixels(np.zeros((*size, 3)), "grid", segments=segments)
    counts = np.bincount(found.ravel())
    assert counts.min() > 0 and 0.5 <= len(counts) / min(segments, np.prod(size)) <= 1.5
    for region in range(len(counts)):
        rows, columns = np.nonzero(found == region)
        assert counts[region] == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


def test_what_does_not_suit_is_named(halves, monkeypatch):
    with pytest.raises(InputError, match="method must be one of slic, felzenszwalb, grid"):
        superpixels(halves, "quickshift")
    with pytest.raises(InputError, match=r"pixels 0\.\.255, not -1\.\.90; .*preprocess\.pixels"):
        superpixels(np.where(np.arange(3) == 0, -1.0, halves))
    with pytest.raises(InputError, match="NaN"):
        superpixels(np.full((4, 4, 3), np.nan))
    with pytest.raises(InputError, match=r"of one image, not \[1, 30, 44, 3\]"):
        superpixels(halves[None])
    for name, value in {"segments": 0, "scale": 0, "min_size": 0, "compactness": -1, "sigma": -1}.items():
        with pytest.raises(InputError, match=name):
            superpixels(halves, "felzenszwalb", **{name: value})
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(InputError, match=r"slic need scikit-image: pip install 'salbox\[segments\]'.*grid"):
        superpixels(halves)
    assert superpixels(halves, "grid", segments=4).max() == 3
