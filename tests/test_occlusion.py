"""Occlusion maps against slow loops, and what must hold whatever the score is."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from saliency import InputError, occlusion_maps
from saliency.models.preprocessing import Preprocessing
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.occlusion import Execution, Windows, fill_images
from tests.oracles import occlusion as oracle

CONVENTIONS = ("captum", "xplique", "pair", "grid")
SIZE = (17, 13)


@pytest.fixture
def image(rng) -> np.ndarray:
    return rng.uniform(0, 255, size=(*SIZE, 3)).astype(np.float32)


def linear(weights):
    return lambda x: np.einsum("nhwc,hwc->n", x, weights)


DENSE = Execution("dense")


def curved(x):
    return np.tanh(np.asarray(x, float) / 100).prod(-1).sum((1, 2))


@pytest.mark.parametrize("shape", ["rectangle", "disc", "gaussian"])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_every_convention_is_the_slow_loop(image, convention, shape):
    windows = Windows(SIZE, (5, 4), (3, 2), shape, convention)
    result = occlusion_maps(curved, image[None], windows, fill=(20, 90, 200))
    fill = np.broadcast_to(np.array([20.0, 90, 200]), image.shape)
    scores, pixels = oracle.occlusion(lambda x: curved(x[None])[0], image, fill, windows.template, (3, 2), convention)
    if pixels is None:
        rows, cols = (
            np.array(oracle.starts(size, patch, stride, convention)) + patch / 2
            for size, patch, stride in zip(SIZE, (5, 4), (3, 2))
        )
        pixels = oracle.interpolated(curved(image[None])[0] - scores, rows, cols, *SIZE)
    assert_allclose(result.scores[0], scores, rtol=1e-5, atol=1e-4)
    assert_allclose(result.maps[0], pixels, rtol=1e-4, atol=1e-4)
    assert result.engine == "dense"


def test_drops_of_a_linear_score_are_sums_over_the_window(image, rng):
    weights = rng.normal(size=image.shape)
    result = occlusion_maps(linear(weights), image[None], patch=(5, 4), stride=(3, 2), fill=0)
    per_pixel = (weights * image).sum(-1)
    expected = [
        [per_pixel[r : r + 5, c : c + 4].sum() for c in result.windows.starts[1]] for r in result.windows.starts[0]
    ]
    assert_allclose(result.drops[0], expected, rtol=1e-3, atol=0.05)


def test_drops_add_up_where_windows_do_not_overlap(image, rng):
    weights = rng.normal(size=image.shape)
    score = linear(weights)
    result = occlusion_maps(score, image[None], patch=(5, 4), stride=(5, 4), fill=0)
    assert_allclose(result.drops.sum(), score(image[None])[0], rtol=1e-3)
    assert_allclose(result.coverage, 1)


def test_the_chunk_changes_nothing(image):
    maps = [
        occlusion_maps(curved, image[None], patch=5, stride=3, execution=Execution(chunk=chunk)).maps
        for chunk in (1, 4, 7, 1000)
    ]
    for other in maps[1:]:
        assert_allclose(other, maps[0], rtol=1e-6)


@pytest.mark.parametrize("axis", [1, 2])
def test_a_flipped_image_has_a_flipped_map(rng, axis):
    x = rng.uniform(0, 255, size=(1, 17, 13, 3)).astype(np.float32)  # windows 5 every 4, 3 every 2: both fit exactly
    straight = occlusion_maps(curved, x, patch=(5, 3), stride=(4, 2)).maps
    flipped = occlusion_maps(curved, np.flip(x, axis), patch=(5, 3), stride=(4, 2)).maps
    assert_allclose(np.flip(flipped, axis), straight, rtol=1e-5)


def test_images_have_their_own_targets_and_progress_counts_positions(rng):
    net = random_network(scenes_cnn(((3,), (4,)), classes=4, size=(12, 10)))
    x = rng.normal(size=(2, 12, 10, 3)).astype(np.float32)
    seen = []
    both = occlusion_maps(net, x, patch=4, stride=3, target=[3, 1], execution=DENSE, progress=lambda *n: seen.append(n))
    for i, target in enumerate((3, 1)):
        alone = occlusion_maps(net, x[i : i + 1], patch=4, stride=3, target=target, execution=DENSE)
        assert_allclose(both.maps[i], alone.maps[0], atol=1e-6)
    done, total = zip(*seen)
    assert done[-1] == total[-1] == 2 * len(both.windows.positions) and list(done) == sorted(done)


@pytest.mark.parametrize("engine", ["dense", "incremental"])
def test_what_hides_nothing_changes_nothing_not_even_by_rounding(rng, engine):
    net = random_network(scenes_cnn(((3,), (4,)), classes=4, size=(12, 10)))
    x = rng.normal(size=(2, 12, 10, 3)).astype(np.float32)
    fill = x.copy()
    fill[:, :6] = 0  # of the lower half nothing is hidden
    found = occlusion_maps(net, x, patch=4, stride=3, fill=fill, target=1, execution=Execution(engine))
    below = found.windows.starts[0] >= 6
    assert (found.drops[:, below] == 0).all() and (found.drops[:, ~below] != 0).all()
    assert_allclose(found.base, np.asarray(net(x))[:, 1], rtol=1e-5)


def test_fills_are_stated_in_pixels(rng):
    x = rng.normal(size=(2, 12, 10, 3)).astype(np.float32)
    preprocess = Preprocessing((12, 10), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    assert_allclose(fill_images(x, 255, preprocess)[1, 3, 4], [2.5, 2.0, 1.75], rtol=1e-6)
    assert_allclose(fill_images(x, (0, 255, 0), preprocess)[0, 0, 0], [-2.5, 2.0, -0.75], rtol=1e-6)
    assert_allclose(fill_images(x, "grey", preprocess)[0, 5, 5], [0, 1 / 3, 0.5], atol=1e-6)
    assert_allclose(fill_images(x, "mean", preprocess)[1, 2, 2], x[1].mean((0, 1)), rtol=1e-5)
    noise = fill_images(x, "noise", preprocess, seed=3)
    assert_allclose(noise, fill_images(x, "noise", preprocess, seed=3))
    assert noise.std() > 0.5 and (noise[0] == noise[1]).all()
    blurred = fill_images(x, "blur", preprocess)
    assert blurred.shape == x.shape and blurred.std() < x.std()
    constant = np.full((1, 12, 10, 3), 0.7, np.float32)
    assert_allclose(fill_images(constant, "blur", preprocess), constant, rtol=1e-5)


def test_shapes_hide_what_they_say():
    disc = Windows((20, 20), (9, 7), (3, 3), "disc").template
    assert disc[4, 3] == 1 and disc[0, 0] == 0 and set(np.unique(disc)) == {0, 1}
    gaussian = Windows((20, 20), (9, 7), (3, 3), "gaussian").template
    assert gaussian.max() == gaussian[4, 3] == 1 and 0 < gaussian[0, 0] < 0.1
    assert_allclose(gaussian, gaussian[::-1, ::-1])


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"patch": 0}, "patch must be"),
        ({"patch": (5, 14)}, "13 px wide"),
        ({"patch": 2.5}, "patch must be a whole number"),
        ({"stride": 0}, "stride must be at least 1"),
        ({"stride": 6}, "must not exceed the patch"),
        ({"fill": "pink"}, "fill must be"),
        ({"fill": 300}, "fill must be"),
        ({"execution": Execution("incremental")}, "a network"),
        ({"execution": "dense"}, "execution must be a Execution, how occlusion is computed"),
        ({"windows": Windows(SIZE, 5, 3)}, "windows have their own patch and stride"),
        ({"windows": Windows((4, 4), 2, 2), "patch": None, "stride": None}, r"windows are of images \[4, 4\]"),
        ({"windows": 5, "patch": None, "stride": None}, "windows must be a Windows, of the images' size"),
    ],
)
def test_bad_arguments_are_named(image, changes, words):
    with pytest.raises(InputError, match=words):
        occlusion_maps(curved, image[None], **({"patch": 5, "stride": 3} | changes))


@pytest.mark.parametrize(
    "kind, arguments, words",
    [
        (Windows, {"image": SIZE, "patch": 5, "stride": 3, "shape": "star"}, "shape must be"),
        (Windows, {"image": SIZE, "patch": 5, "stride": 3, "convention": "matlab"}, "convention must be"),
        (Windows, {"image": SIZE, "patch": (17, 4), "stride": 3, "convention": "pair"}, "smaller than the image"),
        (Execution, {"engine": "magic"}, "engine must be"),
        (Execution, {"budget": 0}, "budget must be a whole number of at least 1"),
        (Execution, {"chunk": 0}, "chunk must be a whole number of at least 1"),
        (Execution, {"chunk": "tuned"}, "chunk must be a whole number of at least 1"),
    ],
)
def test_bad_windows_and_executions_are_named(kind, arguments, words):
    with pytest.raises(InputError, match=words):
        kind(**arguments)
