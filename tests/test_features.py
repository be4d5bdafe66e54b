"""Features against slow loops, on maps that are not square: a Gaussian, an area, a profile, a normalisation."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from localization.features import Features
from localization.transforms import areas, gaussian
from saliency.errors import InputError


def test_areas_average_parts_of_pixels():
    expected = [[1 / 2.5, 1 / 2.5, 0.5 / 2.5, 0, 0], [0, 0, 0.5 / 2.5, 1 / 2.5, 1 / 2.5]]
    np.testing.assert_allclose(areas(5, 2), expected, atol=1e-12)


def test_gaussian_agrees_with_scipy_away_from_the_border(rng):
    signal = rng.normal(size=60)
    expected = gaussian_filter1d(signal, 2.0, truncate=8)
    np.testing.assert_allclose((gaussian(60, 2.0) @ signal)[20:40], expected[20:40], rtol=1e-6)
    np.testing.assert_allclose(gaussian(7, 3.0).sum(1), 1)


def test_raw_features_are_the_pixels(rng):
    maps = rng.normal(size=(5, 4, 7)).astype(np.float32)
    np.testing.assert_allclose(Features.raw()(maps), maps.reshape(5, -1), rtol=1e-6)


@pytest.mark.parametrize("normalise", ["none", "sum", "max", "standardised"])
def test_pixels_are_pooled_and_each_map_normalised_by_itself(rng, normalise):
    maps = rng.random((3, 6, 8)).astype(np.float32)
    x = Features.raw((3, 2), normalise)(maps).reshape(3, 3, 2)
    for found, one in zip(x, maps):
        blocks = np.array([[one[2 * i : 2 * i + 2, 4 * j : 4 * j + 4].mean() for j in range(2)] for i in range(3)])
        expected = {
            "none": blocks,
            "sum": blocks / blocks.mean(),
            "max": blocks / blocks.max(),
            "standardised": (blocks - blocks.mean()) / blocks.std(),
        }[normalise]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_profiles_add_up_to_the_position_of_a_quantile():
    """A map whose mass is spread evenly over columns 8 to 16 has its median column at 12."""
    maps = np.zeros((1, 10, 24), np.float32)
    maps[:, 3:6, 8:16] = 1
    features = Features(size=None, smooth=0, focus=0, profiles=(0.25, 0.5, 0.75), softness=1e-3)
    rows, columns = np.split(features(maps)[0], [3 * 10])
    np.testing.assert_allclose(columns.reshape(3, 24).sum(1), [10, 12, 14], atol=0.51)
    np.testing.assert_allclose(rows.reshape(3, 10).sum(1), [3.75, 4.5, 5.25], atol=0.51)


def test_profiles_ignore_the_scale_of_a_map(rng):
    maps = rng.random((2, 12, 9)).astype(np.float32)
    np.testing.assert_allclose(Features()(maps), Features()(1000 * maps), rtol=1e-4, atol=1e-5)


def test_stacked_methods_stand_one_after_another(rng):
    maps = rng.random((4, 2, 10, 12)).astype(np.float32)
    features = Features(size=(5, 6), pixels=True)
    x = features(maps)
    assert x.shape == (4, 2 * features.count(10, 12))
    np.testing.assert_allclose(x, np.concatenate([features(maps[:, 0]), features(maps[:, 1])], 1), rtol=1e-5, atol=1e-6)


def test_a_chunk_more_or_less_changes_nothing(rng):
    maps = rng.random((300, 6, 5)).astype(np.float32)
    np.testing.assert_allclose(Features()(maps)[[0, 255, 256, 299]], Features()(maps[[0, 255, 256, 299]]), rtol=1e-5)


def test_no_maps_give_no_rows():
    assert Features()(np.empty((0, 30, 40), np.float32)).shape == (0, Features().count(30, 40))


def test_a_map_that_is_not_finite_has_features_that_are_not():
    maps = np.ones((2, 6, 5), np.float32)
    maps[1, 2, 3] = np.nan
    finite = np.isfinite(Features(pixels=True)(maps)).all(1)
    assert finite.tolist() == [True, False]


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"normalise": "most"}, "normalise must be"),
        ({"size": (0, 4)}, "size must be a whole number of at least 1"),
        ({"smooth": -1}, "at least 0"),
        ({"profiles": (0.0, 0.5)}, "above 0 and below 1"),
        ({"pixels": False, "profiles": ()}, "leaves no features"),
    ],
)
def test_bad_options_are_told(options, part):
    with pytest.raises(InputError, match=part):
        Features(**options)


def test_maps_of_a_wrong_shape_are_told():
    with pytest.raises(InputError, match="n, h, w"):
        Features()(np.ones((3, 4)))
