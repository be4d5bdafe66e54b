"""LIME, KernelSHAP, Shapley sampling, Sobol and HSIC against slow loops, brute force and what theory says of them."""

from itertools import permutations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Lasso, LinearRegression, Ridge

from saliency import InputError, hsic_maps, kernel_shap_maps, lime_maps, segment_occlusion, shapley_maps, sobol_maps
from saliency.maps.coalitions import ask
from saliency.maps.global_sensitivity import designs, hsic, hsic_masks, jansen, sobol_masks
from saliency.maps.shapley import growing, orders, shapley_count, shapley_values
from saliency.maps.surrogates import (
    fitted,
    kernel_shap_count,
    kernel_shap_masks,
    kernel_shap_values,
    lime_masks,
    lime_weights,
)
from saliency.occlusion import fill_images

SIZE = (9, 6)
METHODS = {
    "lime": lime_maps,
    "kernel-shap": kernel_shap_maps,
    "shapley": shapley_maps,
    "sobol": sobol_maps,
    "hsic": hsic_maps,
}


def score(images):
    """Neither linear nor additive."""
    images = np.asarray(images, float)
    return 900 * np.sin(images / 60).mean((1, 2, 3)) ** 2 + images[:, 2, 3].prod(1) * 1e-5


@pytest.fixture
def x(rng) -> np.ndarray:
    return rng.uniform(0, 255, size=(2, *SIZE, 3)).astype(np.float32)


@pytest.fixture
def labels(rng) -> np.ndarray:
    """Scattered pixels of five segments."""
    return np.concatenate([np.arange(5), rng.integers(0, 5, SIZE[0] * SIZE[1] - 5)]).reshape(SIZE)


def composite(image, fill, labels, shown):
    """Pixel by pixel."""
    made = np.empty_like(image)
    for row in range(image.shape[0]):
        for col in range(image.shape[1]):
            share = shown[labels[row, col]]
            made[row, col] = share * image[row, col] + (1 - share) * fill[row, col]
    return made


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_the_frame_equals_a_loop(rng, channels, monkeypatch):
    x = rng.uniform(0, 255, (2, *SIZE, channels))
    each = rng.integers(0, 4, (2, *SIZE))
    each[1] %= 3  # another number of segments
    drawn = {k: rng.random((11, k)) for k in (3, 4)}
    own = lambda images: np.sin(np.asarray(images, float)).sum((1, 2, 3))  # noqa: E731
    monkeypatch.setattr("saliency.maps.coalitions.chunk_of", lambda *args: 4)
    asked = ask(own, x, drawn.__getitem__, segmentation=each, fill="blur")
    fills = fill_images(x.astype(np.float32), "blur", None)
    for i in range(2):
        masks = drawn[4 - i]
        slow = [own(composite(x[i], fills[i], each[i], shown)[None])[0] for shown in masks]
        assert_allclose(asked.scores[i], slow, rtol=1e-4, atol=1e-3)
    map_ = asked.maps([np.arange(4.0), np.arange(3.0)])
    assert map_.dtype == np.float32
    assert_array_equal(map_, each)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_lime_weights_equal_those_of_the_composites(x, labels, distance):
    fill = fill_images(x, "mean", None)[0]
    shown = lime_masks(9, 5, 0)
    width = 0.3 if distance == "cosine" else 900.0
    image = x[0].astype(float)
    for one, weight in zip(shown, lime_weights(x[0], fill, labels, shown, distance, width)):
        other = composite(image, fill, labels, one)
        cosine = 1 - (image * other).sum() / np.sqrt((image**2).sum() * (other**2).sum())
        apart = cosine if distance == "cosine" else np.sqrt(((image - other) ** 2).sum())
        assert_allclose(weight, np.exp(-(apart**2) / (2 * width**2)), rtol=1e-6)


@pytest.mark.parametrize(
    ("regression", "model"),
    [("ridge", Ridge(0.7)), ("lasso", Lasso(0.7)), ("least squares", LinearRegression())],
)
def test_fits_are_scikit_learns(rng, regression, model):
    shown, scores, weights = lime_masks(30, 6, 1), rng.normal(size=30) * 9, rng.random(30)
    expected = model.fit(shown, scores, sample_weight=weights).coef_
    assert np.ptp(expected) > 0.1
    assert_allclose(fitted(shown, scores, weights, regression, 0.7), expected, atol=1e-6)


def test_lime_equals_a_loop(x, labels):
    fills = fill_images(x, 40, None)
    found = lime_maps(score, x, labels, masks=24, fill=40, seed=5)
    shown = np.random.default_rng(5).integers(0, 2, (24, 5))
    for image, fill, map_ in zip(x, fills, found):
        made = [composite(image, fill, labels, one).astype(float) for one in shown]
        cosines = [(one * image).sum() / np.sqrt((one**2).sum() * (image.astype(float) ** 2).sum()) for one in made]
        weights = np.exp(-((1 - np.array(cosines)) ** 2) / (2 * 0.25**2))
        values = Ridge(1.0).fit(shown, score(np.stack(made)), sample_weight=weights).coef_
        assert_allclose(map_, values[labels], rtol=1e-3, atol=1e-3)


def brute_force(value, k):
    """Shapley values as they are defined: the mean over all orders of what each adds."""
    found = np.zeros(k)
    every = list(permutations(range(k)))
    for order in every:
        shown = np.zeros(k)
        for one in order:
            before = value(shown)
            shown[one] = 1
            found[one] += value(shown) - before
    return found / len(every)


@pytest.mark.parametrize("method", [kernel_shap_maps, shapley_maps])
def test_shapley_values_of_all_coalitions_are_exact(x, labels, method):
    enough = {"masks": 32} if method is kernel_shap_maps else {"samples": 120}
    fills = fill_images(x, "mean", None)
    found = method(score, x, labels, fill="mean", **enough)
    for image, fill, map_ in zip(x, fills, found):
        exact = brute_force(
            lambda shown, image=image, fill=fill: score(composite(image, fill, labels, shown)[None])[0], 5
        )
        assert_allclose(map_, exact[labels], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", [kernel_shap_maps, shapley_maps])
def test_shapley_values_add_up_whatever_is_drawn(x, method):
    few = {"masks": 30} if method is kernel_shap_maps else {"samples": 2}
    found = method(score, x, np.arange(54).reshape(SIZE), fill=0, **few)
    assert_allclose(found.sum((1, 2)), score(x) - score(x * 0), rtol=1e-4)


@pytest.mark.parametrize("method", [kernel_shap_maps, shapley_maps])
def test_of_an_additive_score_they_are_occlusions_drops(x, rng, method):
    weight = rng.normal(size=(*SIZE, 3))
    additive = lambda images: (weight * np.asarray(images, float)).sum((1, 2, 3))  # noqa: E731
    enough = {"masks": 60} if method is kernel_shap_maps else {"samples": 3}
    found = method(additive, x, "grid", segments=12, fill="mean", **enough)
    drops = segment_occlusion(additive, x, "grid", segments=12, fill="mean").maps
    assert_allclose(found, drops, rtol=1e-3, atol=1e-3 * np.abs(drops).max())


@pytest.mark.parametrize("method", [kernel_shap_maps, shapley_maps, sobol_maps, hsic_maps])
def test_symmetric_segments_get_equal_values(method):
    """The product of three pixels, and one that does not matter."""
    options = {"samples": 24} if method is shapley_maps else {"masks": {sobol_maps: 4096}.get(method, 512)}
    x = np.full((1, 2, 2, 1), 2.0)
    product = lambda images: np.asarray(images, float)[:, 0, 0, 0] * images[:, 0, 1, 0] * images[:, 1, 0, 0]  # noqa: E731
    (values,) = method(product, x, np.array([[0, 1], [2, 3]]), fill=0, **options)
    exact = method in (kernel_shap_maps, shapley_maps)
    assert_allclose(values.ravel()[:3], values[0, 0], rtol=1e-5 if exact else 0.2)
    assert abs(values[1, 1]) < (1e-5 if exact else 0.05 * values[0, 0])
    if exact:
        assert_allclose(values[0, 0], 8 / 3, rtol=1e-5)


def test_kernel_shap_solves_its_constrained_problem(rng):
    """Against the KKT system of least squares with the sum held fixed."""
    shown, weights = kernel_shap_masks(40, 7, 3)
    assert shown[0].all() and not shown[1].any() and len(shown) == 40 and len(weights) == 38
    scores = rng.normal(size=40)
    values = kernel_shap_values(shown, scores, weights)
    inputs, wanted = shown[2:], scores[2:] - scores[1]
    left = np.block([[inputs.T @ inputs, np.ones((7, 1))], [np.ones((1, 7)), np.zeros((1, 1))]])
    right = np.append(inputs.T @ wanted, scores[0] - scores[1])
    assert_allclose(values, np.linalg.solve(left, right)[:7], atol=1e-9)


def test_coalitions_are_drawn_by_the_shapley_kernel():
    shown, weights = kernel_shap_masks(20_002, 16, 0)
    assert (weights == 1).all()
    sizes = shown[2:].sum(1)
    chances = 1 / (np.arange(1, 16) * (16 - np.arange(1, 16)))
    assert_allclose(np.bincount(sizes, minlength=16)[1:] / 20_000, chances / chances.sum(), atol=0.01)
    assert_allclose(shown[2:].mean(0), 0.5, atol=0.02)
    every, kernel = kernel_shap_masks(16, 4, 0)
    assert len(np.unique(every, axis=0)) == 16 == kernel_shap_count(16, 4)
    assert_allclose(kernel[every[2:].sum(1) == 1], 3 / (4 * 1 * 3))
    assert_allclose(kernel[every[2:].sum(1) == 2], 3 / (6 * 2 * 2))


def test_orders_and_what_they_show():
    drawn = orders(3, 6, 1)
    assert drawn.shape == (3, 6) and (np.sort(drawn, 1) == np.arange(6)).all()
    shown = growing(drawn)
    assert len(shown) == shapley_count(3, 6) == 19 and not shown[0].any()
    for i, order in enumerate(drawn):
        for step in range(6):
            assert set(np.flatnonzero(shown[1 + 6 * i + step])) == set(order[: step + 1])
    assert len(orders(24, 4, 0)) == 24 and shapley_count(24, 4) == 1 + 4 * 24


def test_sampled_shapley_values_equal_a_loop(rng):
    drawn, scores = orders(4, 5, 2), rng.normal(size=21)
    slow = np.zeros(5)
    for i, order in enumerate(drawn):
        before = scores[0]
        for step, one in enumerate(order):
            slow[one] += (scores[1 + 5 * i + step] - before) / 4
            before = scores[1 + 5 * i + step]
    assert_allclose(shapley_values(scores, drawn), slow)


def test_jansen_equals_a_loop(rng):
    masks, scores = sobol_masks(8, 3, 0), rng.normal(size=40)
    assert masks.shape == (40, 3)
    for i in range(3):
        for j in range(8):
            expected = masks[j].copy()
            expected[i] = masks[8 + j, i]
            assert_array_equal(masks[16 + 8 * i + j], expected)
    mean = sum(scores[:8]) / 8
    variance = sum((one - mean) ** 2 for one in scores[:8]) / 7
    slow = [sum((scores[j] - scores[16 + 8 * i + j]) ** 2 for j in range(8)) / (2 * 8 * variance) for i in range(3)]
    assert_allclose(jansen(scores, 3), slow)
    assert (jansen(np.full(40, 7.0), 3) == 0).all()


def test_total_indices_of_a_known_function():
    """Of a sum a_i z_i of uniform z: a_i^2 / sum a^2. Of z0 z1 both take part in the interaction too: 4/7."""
    masks = sobol_masks(1024, 3, 0)
    assert_allclose(jansen(masks @ [1, 2, 3], 3), np.array([1, 4, 9]) / 14, atol=0.02)
    assert_allclose(jansen(masks[:, 0] * masks[:, 1], 3), [4 / 7, 4 / 7, 0], atol=0.03)
    assert [designs(*one) for one in ((512, 50), (48, 50), (4096, 62), (20, 12))] == [8, 2, 64, 2]


@pytest.mark.parametrize("width", [None, 0.4])
def test_hsic_equals_its_trace(rng, width):
    shown, scores = hsic_masks(11, 3, 0), rng.normal(size=11)
    assert shown.sum(0).tolist() == [5, 5, 5]
    used = width
    if used is None:
        used = np.median([abs(scores[i] - scores[j]) for i in range(11) for j in range(i)])
    centring = np.eye(11) - 1 / 11
    for k in range(3):
        own, outputs = np.empty((11, 11)), np.empty((11, 11))
        for i in range(11):
            for j in range(11):
                own[i, j] = 1 + 0.5 - (shown[i, k] - shown[j, k]) ** 2
                outputs[i, j] = np.exp(-((scores[i] - scores[j]) ** 2) / (2 * used**2))
        assert_allclose(hsic(shown, scores, width)[k], np.trace(own @ centring @ outputs @ centring) / 11, rtol=1e-9)
    assert (hsic(shown, np.ones(11)) == 0).all()


@pytest.mark.parametrize("name", METHODS)
def test_one_segment_a_constant_image_and_none(x, name):
    method = METHODS[name]
    whole = method(score, x, np.zeros(SIZE, int), fill=0)
    assert whole.shape == (2, *SIZE) and np.isfinite(whole).all()
    if name in ("kernel-shap", "shapley"):
        assert_allclose(whole[:, 0, 0], score(x) - score(x * 0), rtol=1e-4)
    constant = method(score, np.full((1, *SIZE, 3), 9.0), segments=4, fill=9)
    assert_allclose(constant, 0, atol=1e-9)
    assert method(score, np.empty((0, *SIZE, 3))).shape == (0, *SIZE)


@pytest.mark.parametrize("name", METHODS)
def test_a_column_of_a_black_box_a_seed_and_progress(x, name):
    method, told = METHODS[name], []
    options = {"segments": 6, "samples": 2} if name == "shapley" else {"segments": 6, "masks": 16}
    every = lambda images: np.stack([np.zeros(len(images)), score(images)], 1)  # noqa: E731
    plain = method(score, x, progress=lambda *one: told.append(one), **options)
    assert told[-1] == (2, 2)
    assert_array_equal(method(every, x, target=1, **options), plain)
    assert_array_equal(method(score, x[1:], **options), plain[1:])
    assert np.abs(method(score, x, seed=1, **options) - plain).max() > 1e-6
    with pytest.raises(InputError, match="say by target which is the score"):
        method(every, x)


@pytest.mark.parametrize("name", METHODS)
def test_bad_input_is_refused(x, name):
    method = METHODS[name]
    with pytest.raises(InputError, match="NaN"):
        method(score, x * np.nan)
    with pytest.raises(InputError, match="segmentation must be"):
        method(score, x, "squares")
    option = "samples" if name == "shapley" else "masks"
    with pytest.raises(InputError, match=f"{option} must be a whole number of at least"):
        method(score, x, **{option: 0})
    with pytest.raises(InputError, match="seed must be a whole number"):
        method(score, x, seed=-1)


def test_limes_own_options_are_checked(x):
    for options, says in (
        ({"distance": "l1"}, "distance must be one of cosine, euclidean"),
        ({"width": 0}, "width must be a finite number above 0"),
        ({"regression": "forest"}, "regression must be one of ridge, lasso, least squares"),
        ({"alpha": -1}, "alpha must be a finite number of at least 0"),
        ({"distance": "euclidean", "width": 0.01}, "width is so small that no composite weighs anything"),
    ):
        with pytest.raises(InputError, match=says):
            lime_maps(score, x, segments=12, masks=6, **options)
