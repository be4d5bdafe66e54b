"""Measures of map quality against loops that follow their definitions, and on maps whose figure is plain to see."""

import numpy as np
import pytest

from saliency.errors import InputError
from saliency.faithfulness import (
    MEASURES,
    agreement,
    deletion,
    energy_pointing_game,
    insertion,
    pointing_game,
    rank_correlation,
    sanity,
    sparsity,
    stability,
    top_overlap,
)
from saliency.methods import METHODS
from saliency.models.network import Network
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn

SIZE = (6, 9)


@pytest.fixture
def maps(rng) -> np.ndarray:
    return rng.normal(size=(3, *SIZE)).astype(np.float32)


@pytest.fixture
def x(rng) -> np.ndarray:
    return rng.uniform(0, 255, size=(3, *SIZE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def net() -> Network:
    return random_network(scenes_cnn(blocks=((4,), (6,))))


def slow_curve(score, image, fill, map_, steps, insert):
    """Hide (or show) the highest pixels one after another, and look at the score after every step."""
    pixels = sorted(np.ndindex(*map_.shape), key=lambda at: -map_[at])  # stable: ties in reading order
    values = []
    for step in range(steps + 1):
        changed = (fill if insert else image).copy()
        for at in pixels[: round(step / steps * len(pixels))]:
            changed[at] = (image if insert else fill)[at]
        values.append(float(score(changed[None])[0]))
    return values


@pytest.mark.parametrize("insert", [False, True])
@pytest.mark.parametrize("steps", [1, 7, 54])
def test_curves_equal_a_loop_over_the_steps(x, maps, steps, insert):
    score = lambda images: np.tanh(np.asarray(images) - 100).sum((1, 2, 3))  # noqa: E731
    maps[1] = np.round(maps[1])  # ties
    curves = (insertion if insert else deletion)(score, x, maps, steps=steps, fill=60.0)
    slow = [slow_curve(score, image, np.full_like(image, 60), map_, steps, insert) for image, map_ in zip(x, maps)]
    np.testing.assert_allclose(curves.scores, slow, rtol=1e-5, atol=1e-4)
    area = np.sum((curves.scores[:, 1:] + curves.scores[:, :-1]) / 2 * np.diff(curves.shares), axis=1)
    np.testing.assert_allclose(curves.auc, area)
    assert curves.shares[0] == 0 and curves.shares[-1] == 1


def test_a_network_is_judged_by_the_probability_of_the_class_it_saw_first(net, x, maps):
    x = (x / 100 - 1).astype(np.float32)
    logits = np.asarray(net(x))
    probability = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    curves = deletion(net, x, maps, steps=3)
    np.testing.assert_allclose(curves.scores[:, 0], probability.max(-1), rtol=1e-4)
    stated = insertion(net, x, maps, steps=3, target=[4, 1, 1])
    np.testing.assert_allclose(stated.scores[:, -1], probability[[0, 1, 2], [4, 1, 1]], rtol=1e-4)


def test_the_right_order_wins_both_games(x):
    """For a sum over pixels nothing deletes faster, and nothing inserts faster, than the pixels' own values."""
    score = lambda images: np.asarray(images).sum((1, 2, 3))  # noqa: E731
    best = x.sum(-1)
    rng = np.random.default_rng(5)
    for other in (-best, rng.normal(size=best.shape)):
        assert (deletion(score, x, best, fill=0.0).auc < deletion(score, x, other, fill=0.0).auc).all()
        assert (insertion(score, x, best, fill=0.0).auc > insertion(score, x, other, fill=0.0).auc).all()


def test_pointing_measures_the_way_to_the_box():
    maps = np.zeros((4, 40, 60))
    for map_, (row, col) in zip(maps, [(10, 20), (10, 20), (10, 20), (39, 59)]):
        map_[row, col] = 1
    boxes = [[20, 10, 21, 11], [35.5, 10, 50, 30], [[35.6, 10, 50, 30]], [[0, 0, 5, 5], [50, 31, 52, 33]]]
    # the pixel's centre is (20.5, 10.5): inside, 15.0 away, 15.1 away; then 7.5 and 6.5 from the nearer of two boxes
    assert pointing_game(maps, boxes).tolist() == [1, 1, 0, 1]
    assert pointing_game(maps, boxes, tolerance=9.9).tolist() == [1, 0, 0, 0]
    assert pointing_game(maps, boxes, tolerance=np.hypot(7.5, 6.5)).tolist() == [1, 0, 0, 1]


def test_energy_is_the_positive_mass_inside(rng, maps):
    boxes = np.array([[2, 1, 7, 4], [0, 0, 9, 6], [3, 3, 4, 4]], float)
    slow = []
    for map_, (x0, y0, x1, y1) in zip(maps, boxes.astype(int)):
        positive = [(at, max(0, map_[at])) for at in np.ndindex(*SIZE)]
        inside = sum(value for (row, col), value in positive if y0 <= row < y1 and x0 <= col < x1)
        slow.append(inside / sum(value for _, value in positive))
    np.testing.assert_allclose(energy_pointing_game(maps, boxes), slow, rtol=1e-6)
    assert energy_pointing_game(maps, boxes)[1] == pytest.approx(1)
    half = np.ones((1, 4, 4))
    half[0, 0, 0] = 1.0001  # a constant map has no figure
    assert energy_pointing_game(half, [[1.5, 0, 4, 2]]) == pytest.approx(5 / 16, abs=1e-4)
    overlapping = [[[0, 0, 2, 4], [1, 0, 3, 4]]]
    assert energy_pointing_game(half, overlapping) == pytest.approx(3 / 4, abs=1e-4)


def test_rank_correlation_equals_its_definition(maps):
    other = maps + np.random.default_rng(3).normal(size=maps.shape)
    other[0] = np.round(other[0])  # ties
    for a, b, value in zip(maps, other, rank_correlation(maps, other)):
        ranks = [[np.mean([np.sum(m < v) + 1, np.sum(m <= v)]) for v in m.ravel()] for m in (a, b)]
        assert value == pytest.approx(np.corrcoef(ranks)[0, 1])
    np.testing.assert_allclose(rank_correlation(maps, np.exp(maps)), 1)
    np.testing.assert_allclose(rank_correlation(maps, -maps), -1)


def test_overlap_counts_common_pixels():
    a = np.arange(20.0).reshape(1, 4, 5)
    b = np.roll(a, 1).copy()  # the highest pixel moves to the front, its value with it
    assert top_overlap(a, b, share=0.2).tolist() == [0.75]
    assert top_overlap(a, a, share=0.01).tolist() == [1]
    assert top_overlap(a, -a, share=0.5).tolist() == [0]


def test_agreement_is_the_mean_over_images_of_every_pair(maps):
    others = {"a": maps, "b": maps**2, "c": -maps}
    table = agreement(others, share=0.25)
    assert table.names == ("a", "b", "c")
    for i, first in enumerate(others.values()):
        for j, second in enumerate(others.values()):
            assert table.correlation[i, j] == pytest.approx(rank_correlation(first, second).mean())
            assert table.overlap[i, j] == pytest.approx(top_overlap(first, second, 0.25).mean())


def test_sparsity_is_the_gini_index(maps):
    for map_, value in zip(maps, sparsity(maps)):
        v = np.abs(map_.astype(float)).ravel()
        assert value == pytest.approx(np.abs(v[:, None] - v).sum() / (2 * len(v) ** 2 * v.mean()))
    one = np.zeros((1, 5, 8))
    one[0, 2, 3] = -4
    assert sparsity(one) == pytest.approx(1 - 1 / 40)


def test_maps_that_cannot_be_ranked_have_no_figure(x, maps):
    maps[1], maps[2, 0, 0] = 3.0, np.nan
    boxes = np.tile([0.0, 0, 4, 4], (3, 1))
    score = lambda images: np.asarray(images).sum((1, 2, 3))  # noqa: E731
    for values in (
        pointing_game(maps, boxes),
        energy_pointing_game(maps, boxes),
        sparsity(maps),
        rank_correlation(maps, maps),
        top_overlap(maps, maps),
        deletion(score, x, maps, steps=2).auc,
    ):
        assert np.isfinite(values).tolist() == [True, False, False]
    assert np.isfinite(agreement({"a": maps, "b": -maps}).correlation).all()
    assert np.isnan(agreement({"a": maps[1:], "b": -maps[1:]}).correlation).all()
    assert np.isnan(pointing_game(maps[:1], [np.empty((0, 4))])).all()  # nor an image without a box


def test_stability_falls_with_the_noise(net, x):
    x = (x / 100 - 1).astype(np.float32)
    method = METHODS["gradient-max"]
    maps = method.maps(net, x)
    steady, faint, strong = (stability(method, net, x, maps, noise=noise) for noise in (0.0, 0.01, 1.0))
    np.testing.assert_allclose(steady, 1)
    assert 1 > faint.mean() > strong.mean()
    edges = METHODS["edges"]
    assert (stability(edges, net, x, edges.maps(net, x), noise=0.01) > 0.9).all()


def test_sanity_tells_maps_of_the_network_from_maps_of_the_image(net, x):
    x = (x / 100 - 1).astype(np.float32)
    layers = ["logits", "conv2_1", "conv1_1"]
    edges = sanity(METHODS["edges"], net, x, METHODS["edges"].maps(net, x))
    assert list(edges) == layers
    np.testing.assert_allclose([edges[layer] for layer in layers], 1)
    gradient = sanity(METHODS["gradient-max"], net, x, METHODS["gradient-max"].maps(net, x))
    assert list(gradient) == layers
    assert gradient["conv1_1"].mean() < 0.9
    gestalt = sanity(METHODS["gestalt-max"], net, x, METHODS["gestalt-max"].maps(net, x))
    np.testing.assert_allclose(gestalt["logits"], 1)  # which knows of no logits
    assert gestalt["conv2_1"].mean() < 0.9


def test_every_measure_states_its_direction():
    assert {name: measure.better for name, measure in MEASURES.items()} == {
        **dict.fromkeys(("road", "increase", "correlation", "sic", "aic", "rank", "auc", "pxap"), "higher"),
        **dict.fromkeys(("drop", "infidelity", "completeness", "sensitivity", "random logit"), "lower"),
        "entropy": "neither",
        "insertion": "higher",
        "deletion": "lower",
        "pointing": "higher",
        "energy": "higher",
        "sparsity": "neither",
        "stability": "higher",
        "sanity": "lower",
        "agreement": "neither",
    }


def test_bad_input_is_named(x, maps):
    score = lambda images: images.sum((1, 2, 3))  # noqa: E731
    with pytest.raises(InputError, match=r"maps must be \[3, 6, 9\] as the images are, not \[3, 6, 8\]"):
        deletion(score, x, maps[..., :8])
    with pytest.raises(InputError, match="steps must be a whole number of at least 1, not 0"):
        insertion(score, x, maps, steps=0)
    with pytest.raises(InputError, match="steps must be at most 54 here, not 10000000"):  # as many as there are pixels
        deletion(score, x, maps, steps=10**7)
    with pytest.raises(InputError, match="unknown measure 'deletoin'; near it are deletion; choose from insertion, "):
        MEASURES["deletoin"]
    with pytest.raises(KeyError, match="unknown measure"):  # as of any mapping
        MEASURES["x"]
    with pytest.raises(InputError, match="3 maps need boxes of as many images, not of 2"):
        pointing_game(maps, np.zeros((2, 4)))
    with pytest.raises(InputError, match="agreement needs maps of the same images"):
        agreement({"a": maps, "b": maps[:2]})
