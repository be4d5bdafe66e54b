"""Gradients added up along paths against slow loops, and XRAI's regions against masks taken one by one."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from skimage.transform import resize

from saliency import expected_gradients, xrai
from saliency.errors import InputError
from saliency.maps import xrai as xrai_module
from saliency.maps.attribution import IntegratedGradients, attribution_maps
from saliency.maps.gradient import gradient_maps
from saliency.maps.paths import (
    BlurIntegratedGradients,
    ExpectedGradients,
    GuidedIntegratedGradients,
    flat_colours,
    gaussian,
)
from saliency.maps.xrai import FromEnds, dilated, gains, regions
from saliency.methods import METHODS, Options
from saliency.models.graph import Architecture, Builder
from saliency.models.network import Network
from saliency.models.operators import Conv, GlobalAvgPool
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.occlusion import fill_images

SIZE = (14, 18)
TARGETS = [3, 0]


@pytest.fixture(scope="module")
def net() -> Network:
    return random_network(scenes_cnn(((4,), (6,)), size=SIZE), seed=1)


@pytest.fixture
def x(rng) -> np.ndarray:
    return rng.normal(size=(2, *SIZE, 3)).astype(np.float32)


def slope(net: Network, x: np.ndarray) -> np.ndarray:
    return gradient_maps(net, x.astype(np.float32), target=TARGETS, aggregate="signed")


@pytest.mark.parametrize(("noise", "count"), [(0.0, 3), (0.2, 1), (0.0, 7)])
def test_expected_gradients_equal_a_loop_over_the_samples(net, x, rng, noise, count):
    backgrounds = rng.normal(size=(count, *SIZE, 3)).astype(np.float32)
    recipe = ExpectedGradients(5, noise, seed=2, backgrounds=backgrounds)
    places, order, draws = recipe.draws(x.shape[1:])
    assert 0 <= places.min() < places.max() < 1 and len(set(order)) == min(count, 5)
    total = np.zeros_like(x)
    for place, which, draw in zip(places, order, draws):
        noisy = x + noise * np.ptp(x, axis=(1, 2, 3), keepdims=True) * draw
        total += (
            (noisy - backgrounds[which]) * slope(net, backgrounds[which] + place * (noisy - backgrounds[which])) / 5
        )
    found = expected_gradients(net, x, backgrounds, samples=5, noise=noise, seed=2, target=TARGETS)
    np.testing.assert_allclose(found, total.sum(-1), rtol=1e-3, atol=1e-5)


def test_expected_gradients_of_a_linear_score_add_up(rng, x):
    """Exactly, whatever is random: the score less the backgrounds' mean, each taken as often as the others."""
    build = Builder()
    build.add("conv", Conv(5, (3, 3)))
    build.add("pool", GlobalAvgPool())
    net = random_network(Architecture("linear", tuple(build.nodes), "conv", SIZE))
    backgrounds = rng.normal(size=(4, *SIZE, 3)).astype(np.float32)
    found = expected_gradients(net, x, backgrounds, samples=8, target=TARGETS).sum((1, 2))
    expected = np.asarray(net(x))[[0, 1], TARGETS] - np.asarray(net(backgrounds))[:, TARGETS].mean(0)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_the_menu_s_backgrounds(net, x):
    options = Options(samples=4, seed=5, noise=0.0)
    colours = flat_colours(net.preprocess, 4, 5)
    assert colours.shape == (4, 1, 1, 3)
    pixels = np.asarray(net.preprocess.pixels(colours))
    assert 0 <= pixels.min() < 100 < 150 < pixels.max() <= 255
    whole = np.broadcast_to(colours, (4, *SIZE, 3))
    by_hand = expected_gradients(net, x, whole, samples=4, seed=5, target=TARGETS)
    found = METHODS["expected-gradients"].maps(net, x, target=TARGETS, options=options)
    np.testing.assert_allclose(found, by_hand, rtol=1e-5, atol=1e-7)
    grey = np.asarray(fill_images(x[:1], "grey", net.preprocess))
    by_hand = expected_gradients(net, x[:1], grey, samples=4, seed=5, target=3)
    found = METHODS["gradient-shap"].maps(net, x[:1], target=3, options=options)
    np.testing.assert_allclose(found, by_hand, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("sigma", [0.0, 0.01, 0.6, 4.3, 30.0])
def test_the_blur_is_scipy_s(rng, sigma):
    values = rng.normal(size=(13, 5))
    expected = ndimage.gaussian_filter1d(values, sigma, axis=0, mode="constant") if sigma else values
    np.testing.assert_allclose(gaussian(13, sigma) @ values, expected, atol=1e-12)


@pytest.mark.parametrize("sigma", [None, 2.5])
def test_blur_ig_equals_pair_s_loop(net, x, sigma):
    largest, steps, nudge = sigma or min(SIZE) / 6, 6, 0.01
    total = np.zeros_like(x, dtype=float)

    def blurred(by: float) -> np.ndarray:
        return ndimage.gaussian_filter(x.astype(float), [0, by, by, 0], mode="constant") if by else x.astype(float)

    for i in range(steps):
        at = i * largest / steps
        change = (blurred(at + nudge) - blurred(at)) / nudge
        total += largest / steps * change * slope(net, blurred(at))
    found = attribution_maps(net, x, BlurIntegratedGradients(steps, sigma), target=TARGETS)
    expected = -total.sum(-1)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_guided_ig_without_room_is_the_straight_line(net, x):
    """No pixel may leave the line: a Riemann sum of integrated gradients, from the left."""
    steps = 7
    baseline = np.asarray(fill_images(x, "grey", net.preprocess))
    total = sum((x - baseline) / steps * slope(net, baseline + i / steps * (x - baseline)) for i in range(steps))
    found = attribution_maps(net, x, GuidedIntegratedGradients(steps, away=0.0), target=TARGETS)
    np.testing.assert_allclose(found, total.sum(-1), rtol=1e-3, atol=1e-5)


def test_guided_ig_adds_up_and_moves_the_flattest_first(x):
    ends = jnp.asarray(x)
    found = GuidedIntegratedGradients(100)(lambda points: 2 * points, ends, jnp.zeros_like(ends))
    np.testing.assert_allclose(found.sum((1, 2)), (x**2).sum((1, 2, 3)), rtol=0.05)
    seen = []

    def gradient(points):
        seen.append(np.asarray(points))
        return jnp.broadcast_to(jnp.arange(1.0, 11.0).reshape(1, 2, 5, 1), points.shape)

    ends, starts = jnp.ones((1, 2, 5, 1)), jnp.zeros((1, 2, 5, 1))
    path = GuidedIntegratedGradients(5, fraction=0.2, away=1.0)(gradient, ends, starts)
    np.testing.assert_allclose(path, np.arange(1.0, 11.0).reshape(1, 2, 5))  # a linear score: the path is no matter
    np.testing.assert_allclose([point.sum() for point in seen], [0, 2, 4, 6, 8], atol=1e-6)
    np.testing.assert_allclose(seen[2].ravel()[:4], 1, atol=1e-6)  # after two steps of five, four values of ten


@pytest.mark.parametrize("recipe", [BlurIntegratedGradients, GuidedIntegratedGradients, ExpectedGradients])
def test_recipes_refuse_numbers_out_of_range(recipe):
    with pytest.raises(InputError, match="must be a whole number of at least 1"):
        recipe(0)
    for name in {"sigma", "fraction", "noise"} & set(recipe.__dataclass_fields__):
        with pytest.raises(InputError, match=name):
            recipe(3, **{name: -0.5})


def test_an_image_equal_to_its_fill_has_an_empty_map(net, x):
    same = np.asarray(fill_images(x, "grey", net.preprocess))
    assert not attribution_maps(net, same, GuidedIntegratedGradients(3), target=TARGETS).any()


# ---- XRAI


def test_from_ends_is_the_mean_of_two(net, x):
    colours = ((-2.0, -1.0, 0.5), (1.0, 2.0, 1.5))
    found = attribution_maps(net, x, FromEnds(6, colours), target=TARGETS)
    nodes, weights = np.polynomial.legendre.leggauss(6)
    total = np.zeros_like(x, dtype=float)
    for colour in colours:
        baseline = np.zeros_like(x) + np.array(colour, np.float32)
        for node, weight in zip(nodes, weights):
            total += (x - baseline) * weight / 4 * slope(net, baseline + (node + 1) / 2 * (x - baseline))
    np.testing.assert_allclose(found, total.max(-1), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("radius", [0, 1, 3])
def test_dilation_is_scipy_s(rng, radius):
    labels = ndimage.zoom(rng.integers(0, 4, (4, 5)), 4, order=0)
    disc = np.hypot(*np.mgrid[-radius : radius + 1, -radius : radius + 1]) <= radius
    found = dilated(labels, radius)
    assert found.shape == (labels.max() + 1, *labels.shape)
    for label in range(labels.max() + 1):
        np.testing.assert_array_equal(found[label], ndimage.binary_dilation(labels == label, disc))


def taken_one_by_one(attribution: np.ndarray, masks: np.ndarray, added: int) -> np.ndarray:
    """PAIR's loop: every remaining mask's mean among the pixels that are left, anew at each turn."""
    found, taken, left = np.full(attribution.shape, -np.inf), np.zeros(attribution.shape, bool), list(masks)
    while True:
        left = [mask for mask in left if (mask & ~taken).sum() >= added]
        if not left:
            break
        means = [attribution[mask & ~taken].mean() for mask in left]
        best = left.pop(int(np.argmax(means)))
        found[best & ~taken] = max(means)
        taken |= best
    if not taken.all():
        found[~taken] = attribution[~taken].mean()
    return found


@pytest.mark.parametrize("added", [1, 9])
def test_gains_equal_masks_taken_one_by_one(rng, added):
    attribution = rng.normal(size=(17, 23))
    masks = np.concatenate(
        [dilated(ndimage.zoom(rng.integers(0, 9, (5, 6)), 4, order=0)[:17, :23], 1), rng.random((5, 17, 23)) < 0.1]
    )
    np.testing.assert_allclose(
        gains(attribution, masks, added), taken_one_by_one(attribution, masks, added), atol=1e-12
    )
    np.testing.assert_allclose(gains(attribution, masks[:2], added), taken_one_by_one(attribution, masks[:2], added))


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_regions_cover_the_image_at_each_scale(rng, channels):
    image = ndimage.zoom(rng.normal(size=(4, 5, channels)), (8, 8, 1), order=0)
    found = regions(image)
    assert found.dtype == bool and found.shape[1:] == (32, 40) and (found.sum(0) >= 6).all()
    few = regions(image, scales=2)
    assert 0 < len(few) < len(found) and all((one == found).all((1, 2)).any() for one in few)
    assert regions(np.ones((8, 9, 3))).all()  # one region where there is nothing to tell apart


@pytest.mark.parametrize("size", [(31, 44), (300, 260)])
def test_regions_have_the_label_of_the_nearest_pixel(rng, monkeypatch, size):
    """As skimage's own resize of labels has it."""
    labels = rng.integers(0, 99, (224, 224))
    monkeypatch.setattr(xrai_module, "felzenszwalb", lambda *settings: labels)
    seen = []
    monkeypatch.setattr(xrai_module, "dilated", lambda own, radius: seen.append(own) or own[None] > 0)
    theirs = resize(labels, size, order=0, preserve_range=True, mode="constant", anti_aliasing=False)
    assert regions(rng.normal(size=(*size, 3)), scales=1).shape == (1, *size)
    np.testing.assert_array_equal(seen[0], theirs.astype(int))


def test_xrai_is_flat_within_regions(net, x):
    photo = ndimage.zoom(x[:1, :7:3, :9:3], (1, 14 / 3, 6, 1), order=0)[:, :14, :18]
    found = xrai(net, photo, steps=4, target=3)
    assert found.shape == (1, *SIZE) and found.dtype == np.float32
    assert 1 < len(np.unique(found)) < found.size / 3
    assert METHODS["xrai"].cost(net, SIZE, Options(steps=4)).backwards == 8
    assert xrai(net, x[:0]).shape == (0, *SIZE)


def test_integrated_gradients_keep_their_channels_when_asked(net, x):
    recipe = IntegratedGradients(3)

    def gradient(points):
        return points**2

    each = recipe.each_channel(gradient, jnp.asarray(x), jnp.zeros_like(x))
    np.testing.assert_allclose(each.sum(-1), recipe(gradient, jnp.asarray(x), jnp.zeros_like(x)), rtol=1e-6)
    np.testing.assert_allclose(each, x**3 / 3, rtol=1e-4)
