"""RISE and finite differences against slow loops and closed forms; neither sees more than scores."""

import numpy as np
import pytest

from saliency.errors import InputError
from saliency.maps import perturbation
from saliency.maps.black_box import chunk_of, probes, scored
from saliency.maps.gradient import gradient_maps
from saliency.maps.perturbation import enlarged, finite_difference_maps, rise_maps
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn

SIZE = (11, 8)


@pytest.fixture
def x(rng) -> np.ndarray:
    return rng.uniform(0, 255, size=(2, *SIZE, 3)).astype(np.float32)


@pytest.fixture
def weight(rng) -> np.ndarray:
    return rng.normal(size=(*SIZE, 3))


def test_masks_equal_a_loop_over_pixels(rng):
    """A pixel of the mask lies between grid centres, in a grid that begins a shift before the image."""
    cells, size = 3, (11, 8)
    grids = (rng.random((4, cells + 1, cells + 1)) < 0.5).astype(np.float32)
    shifts = rng.random((4, 2))
    masks = enlarged(grids, shifts, size)
    for k in range(4):
        for row in range(size[0]):
            for col in range(size[1]):
                value = 0.0
                at = []
                for axis, pixel in enumerate((row, col)):
                    cell = -(-size[axis] // cells)
                    place = (pixel + int(shifts[k, axis] * cell) + 0.5) / cell - 0.5
                    at.append(min(max(place, 0), cells))
                for i in range(cells + 1):
                    for j in range(cells + 1):
                        value += max(0, 1 - abs(at[0] - i)) * max(0, 1 - abs(at[1] - j)) * grids[k, i, j]
                assert masks[k, row, col] == pytest.approx(value, abs=1e-6)
    assert 0 <= masks.min() and masks.max() <= 1


def test_rise_equals_a_loop_over_the_masks(x):
    masks, keep, seed = 21, 0.4, 7
    score = lambda images: np.sin(np.asarray(images) / 50).sum((1, 2, 3))  # noqa: E731
    rng = np.random.default_rng(seed)
    grids = (rng.random((masks, 4, 4)) < keep).astype(np.float32)
    shifts = rng.random((masks, 2))
    for image, fast in zip(x, rise_maps(score, x, masks=masks, cells=3, keep=keep, fill=90.0, seed=seed)):
        values, shown = [], []
        for grid, shift in zip(grids, shifts):
            mask = enlarged(grid[None], shift[None], SIZE)[0][..., None]
            shown.append(mask[..., 0])
            values.append(float(score((mask * image + (1 - mask) * 90)[None])[0]))
        slow = sum((v - np.mean(values)) * m for v, m in zip(values, shown)) / masks / keep
        np.testing.assert_allclose(fast, slow, rtol=1e-3, atol=1e-4)


def test_rise_finds_the_only_patch_that_matters(x):
    maps = rise_maps(lambda images: images[:, 1:4, 5:8].mean((1, 2, 3)) - 90, x, masks=400, fill=0.0)
    for map_ in maps:
        row, col = np.unravel_index(map_.argmax(), SIZE)
        assert row <= 5 and col >= 4


@pytest.mark.parametrize("cell", [1, 3])
def test_finite_differences_of_a_smooth_score(x, weight, cell):
    """Per pixel of each cell, the ragged ones included: the mean derivative there, the largest channel's."""
    score = lambda images: (weight * np.asarray(images, float) ** 2).sum((1, 2, 3))  # noqa: E731
    maps = finite_difference_maps(score, x, cell=cell, step=0.05)
    gradient = 2 * weight * x
    for row in range(0, SIZE[0], cell):
        for col in range(0, SIZE[1], cell):
            here = np.s_[:, row : row + cell, col : col + cell]
            expected = np.abs(gradient[here].mean((1, 2))).max(-1)
            np.testing.assert_allclose(
                maps[here], np.broadcast_to(expected[:, None, None], maps[here].shape), rtol=1e-3
            )


def test_finite_differences_of_a_network_are_those_of_a_function(rng):
    """Which pays for each with a whole forward pass; the cells at the border are cut off."""
    net = random_network(scenes_cnn(blocks=((4,), (6,))))
    x = rng.normal(size=(2, *SIZE, 3)).astype(np.float32)
    fast = finite_difference_maps(net, x, cell=3, target=[3, 1])
    for image, map_, target in zip(x, fast, (3, 1)):
        (slow,) = finite_difference_maps(lambda images, target=target: net(images)[:, target], image[None], cell=3)
        np.testing.assert_allclose(map_, slow, rtol=1e-4, atol=1e-4 * slow.max())


def test_finite_differences_of_single_pixels_are_the_gradient_map(rng):
    """Of a network, but for the few pixels where a step crosses the kink of a ReLU or a pool."""
    net = random_network(scenes_cnn(blocks=((4,), (6,))))
    x = rng.normal(size=(1, *SIZE, 3)).astype(np.float32)
    differences = finite_difference_maps(net, x, cell=1, step=1e-3)
    gradient = gradient_maps(net, x)
    close = np.isclose(differences, gradient, rtol=0.02, atol=0.02 * gradient.max())
    assert close.mean() > 0.95


def test_the_chunk_changes_nothing(x, weight, monkeypatch):
    score = lambda images: (weight * np.asarray(images)).sum((1, 2, 3))  # noqa: E731
    whole = rise_maps(score, x, masks=20), finite_difference_maps(score, x, cell=4)
    monkeypatch.setattr(perturbation, "chunk_of", lambda *arguments: 7)
    parts = rise_maps(score, x, masks=20), finite_difference_maps(score, x, cell=4)
    for a, b in zip(whole, parts):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_scores_come_in_batches_of_one_size(x):
    sizes = []

    def probe(images):
        sizes.append(len(images))
        return images[:, 0, 0, 0]

    values = scored(probe, lambda k: np.broadcast_to(k[:, None, None, None], (len(k), 2, 2, 3)), 10, 4)
    np.testing.assert_array_equal(values, np.arange(10))
    assert sizes == [4, 4, 4]


def test_a_probe_explains_the_class_of_the_unchanged_image(rng):
    net = random_network(scenes_cnn(blocks=((4,), (6,))))
    x = rng.normal(size=(2, *SIZE, 3)).astype(np.float32)
    predicted = np.asarray(net(x)).argmax(-1)
    for probe, target in zip(probes(net, x), predicted):
        np.testing.assert_allclose(probe(x), np.asarray(net(x))[:, target], rtol=1e-5, atol=1e-6)
    assert chunk_of(net, SIZE) >= 1


def test_bad_options_are_refused(x):
    score = lambda images: images.sum((1, 2, 3))  # noqa: E731
    with pytest.raises(InputError, match="masks must be a whole number of at least 2, not 1"):
        rise_maps(score, x, masks=1)
    with pytest.raises(InputError, match=r"keep must be a finite number above 0 and below 1, not 1\.0"):
        rise_maps(score, x, keep=1.0)
    with pytest.raises(InputError, match="cell must be a whole number of at least 1, not 0"):
        finite_difference_maps(score, x, cell=0)
    with pytest.raises(InputError, match="NaN"):
        rise_maps(score, x * np.nan)
