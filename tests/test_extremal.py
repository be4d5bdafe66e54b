"""Extremal perturbations: masks against a loop, the area they reach, and that they find what matters."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from saliency import InputError, Score, extremal_maps
from saliency.maps.extremal import Masks, off_area
from saliency.models.graph import Architecture, Builder
from saliency.models.network import Network
from saliency.models.operators import Conv, Dense, GlobalAvgPool, Relu
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.scores import score_values


def slow_mask(parameters, size, step):
    """At each pixel the softmax-weighted mean of the bumps of the 9 by 9 cells around it."""
    sigma, mask = 3 * step, np.zeros(size)
    for y in range(size[0]):
        for x in range(size[1]):
            values = []
            for i in range(y // step - 4, y // step + 5):
                for j in range(x // step - 4, x // step + 5):
                    inside = 0 <= i < parameters.shape[0] and 0 <= j < parameters.shape[1]
                    apart = np.hypot(y - step * i, x - step * j) / sigma
                    values.append(np.exp(-2 * max(apart - 0.5, 0) ** 2) * (parameters[i, j] if inside else 0))
            values = np.array(values)
            chances = np.exp(20 * values) / np.exp(20 * values).sum()
            mask[y, x] = min(1, (values * chances).sum())
    return mask


@pytest.mark.parametrize(("size", "cells"), [((7, 5), 32), ((9, 12), 4)])
def test_masks_equal_a_loop(rng, size, cells, monkeypatch):
    monkeypatch.setattr("saliency.maps.extremal.CELLS", cells)
    masks = Masks(size)
    assert masks.step == (1 if cells == 32 else 2)
    parameters = rng.random(masks.grid).astype(np.float32)
    assert_allclose(masks(jnp.asarray(parameters)), slow_mask(parameters, size, masks.step), atol=1e-5)


def test_masks_have_torchrays_cells_at_its_size():
    assert (Masks((224, 300)).step, Masks((224, 300)).grid) == (7, (32, 43))


def test_the_area_is_that_of_the_sorted_mask(rng):
    mask = rng.permutation(np.repeat([0.1, 0.3, 0.5, 0.9], 10)).reshape(5, 8)
    ordered = sorted(mask.ravel())
    slow = sum((value - (k >= 30)) ** 2 for k, value in enumerate(ordered)) / 40
    assert_allclose(off_area(jnp.asarray(mask), jnp.asarray(0.25), 1e-3), slow, rtol=1e-4)
    assert_allclose(off_area(jnp.ones((5, 8)), jnp.asarray(0.25), 1e-3), 0.75**2, rtol=1e-5)  # all are as good as equal


@pytest.fixture(scope="module")
def net() -> Network:
    """Its first logit is the mean brightness of bright things, its second the opposite."""
    build = Builder()
    build.conv_relu("conv", "relu", Conv(1, (3, 3), padding=((1, 1), (1, 1))))
    build.add("pool", GlobalAvgPool())
    build.add("logits", Dense(2))
    net = random_network(Architecture("bright", tuple(build.nodes), "relu", (24, 36)))
    weights = {name: {key: np.zeros_like(value) for key, value in own.items()} for name, own in net.weights.items()}
    weights["conv"]["kernel"][:] = 1 / 27
    weights["logits"]["kernel"][:] = [[40.0, -40.0]]
    assert isinstance(build.nodes[2].layer, Relu)
    return Network(net.architecture, weights, net.preprocess)


def test_it_finds_the_only_thing_there_is(net):
    x = np.zeros((2, 24, 36, 3), np.float32)
    x[0, 3:10, 22:32] = 2
    x[1, 13:21, 4:14] = 2
    found = extremal_maps(net, x, target=0, areas=0.2, iterations=40, fill=x * 0)
    assert found.shape == (2, 24, 36) and found.dtype == np.float32
    for map_, image in zip(found, x):
        assert 0 <= map_.min() and map_.max() <= 1
        thing = image[..., 0] > 0
        assert map_[thing].mean() > 0.9 and map_[~thing].mean() < 0.2
        assert abs(map_.mean() - 0.2) < 0.04
    own, kept = (score_values(net, one, Score(), np.zeros(2, np.int32)) for one in (x, found[..., None] * x))
    assert (kept > 0.9 * own).all() and (own > 1).all()


def test_the_area_is_near_the_one_that_is_asked_for(rng):
    net = random_network(scenes_cnn(blocks=((4,), (6,)), size=(24, 36)), 1)
    x = rng.normal(size=(1, 24, 36, 3)).astype(np.float32)
    masks = [extremal_maps(net, x, target=1, areas=area, iterations=40) for area in (0.15, 0.5)]
    assert_allclose([mask.mean() for mask in masks], [0.15, 0.5], atol=0.04)
    both = extremal_maps(net, x, target=1, areas=[0.15, 0.5], iterations=40)
    assert_allclose(both, np.mean(masks, 0), atol=1e-6)


def test_progress_and_no_images(net, rng):
    told = []
    x = rng.normal(size=(2, 24, 36, 3)).astype(np.float32)
    found = extremal_maps(net, x, iterations=2, progress=lambda *one: told.append(one))
    assert told[-1] == (2, 2)
    assert_array_equal(extremal_maps(net, x[1:], iterations=2), found[1:])
    assert extremal_maps(net, x[:0]).shape == (0, 24, 36)


def test_bad_input_is_refused(net, rng):
    x = rng.normal(size=(1, 24, 36, 3)).astype(np.float32)
    for areas in (0, 1, [], [0.5, -1], "half", np.nan):
        with pytest.raises(InputError, match="areas must be"):
            extremal_maps(net, x, areas=areas)
    with pytest.raises(InputError, match="iterations must be a whole number of at least 1"):
        extremal_maps(net, x, iterations=0)
    with pytest.raises(InputError, match="NaN"):
        extremal_maps(net, x * np.nan)
    with pytest.raises(InputError, match="net must be a Network"):
        extremal_maps(lambda images: images.sum((1, 2, 3)), x)
