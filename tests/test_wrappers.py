"""Wrappers against loops over what they say they do; names in which they nest; repeats over seeds."""

from dataclasses import replace

import jax
import numpy as np
import pytest

import saliency
from localization.map_sources import known_methods
from saliency import wrappers
from saliency.errors import InputError
from saliency.maps.cam import grad_cam, stage_layers
from saliency.methods import METHODS, Cost, Options
from saliency.models.network import Network
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.wrappers import Menu

SIZE = (20, 14)
OPTIONS = Options(samples=3, steps=4, masks=20, patch=(6, 5), stride=(4, 3), noise=0.3, seed=3)


@pytest.fixture(scope="module")
def net() -> Network:
    return random_network(scenes_cnn(blocks=((4,), (6,))), seed=1)


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(3, *SIZE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def target(net, x) -> np.ndarray:
    return np.asarray(net(x)).argmax(-1)


@pytest.mark.parametrize("name", ["gradient-max", "occlusion", "input-x-gradient"])
def test_flip_is_the_mean_with_the_mirror_image(net, x, target, name):
    plain = METHODS[name].maps(net, x, target=target, options=OPTIONS)
    mirrored = METHODS[name].maps(net, np.flip(x, 2), target=target, options=OPTIONS)
    found = METHODS[f"flip({name})"].maps(net, x, options=OPTIONS)
    np.testing.assert_allclose(found, (plain + np.flip(mirrored, 2)) / 2, rtol=1e-5, atol=1e-7)
    assert found.dtype == np.float32
    turned = METHODS[f"flip({name})"].maps(net, np.flip(x, 2), target=target, options=OPTIONS)
    np.testing.assert_allclose(turned, np.flip(found, 2), rtol=1e-4, atol=1e-6)


def test_smooth_is_the_mean_over_noisy_copies_for_the_clean_images_class(net, x, target):
    rng, total = np.random.default_rng(3), 0.0
    for _ in range(3):
        noise = rng.standard_normal(x.shape[1:], np.float32)
        noisy = np.stack([one + 0.3 * (one.max() - one.min()) * noise for one in x])
        total = total + METHODS["grad-cam"].maps(net, noisy, target=target)
    np.testing.assert_allclose(METHODS["smooth(grad-cam)"].maps(net, x, options=OPTIONS), total / 3, rtol=1e-4)
    several = METHODS["smooth(input-x-gradient)"].maps(net, x, options=replace(OPTIONS, noise=0.0))
    plain = METHODS["input-x-gradient"].maps(net, x)
    np.testing.assert_allclose(several, plain, rtol=1e-4, atol=1e-6)


def test_scale_is_the_mean_of_maps_brought_back(net, x, target):
    slow = []
    for one in (0.5, 1, 1.5):
        height, width = round(one * SIZE[0]), round(one * SIZE[1])
        small = np.asarray(jax.image.resize(x, (3, height, width, 3), "bilinear"))
        maps = METHODS["grad-cam"].maps(net, small, target=target)
        slow.append(np.asarray(jax.image.resize(maps, (3, *SIZE), "bilinear")))
    found = wrappers.scale(METHODS["grad-cam"], (0.5, 1, 1.5)).maps(net, x)
    np.testing.assert_allclose(found, np.mean(slow, 0), rtol=1e-4, atol=1e-6)


def test_brightness_changes_pixels_and_stays_within_their_range(net, x, target):
    seen = []
    black_box = lambda images: (seen.append(np.asarray(images)), images.mean((1, 2, 3)))[1]  # noqa: E731
    pixels = np.full((1, 4, 6, 3), 200.0, np.float32)
    wrappers.brightness(METHODS["occlusion"], (0.5, 1, 2)).maps(black_box, pixels, options=Options(patch=2, stride=2))
    assert {float(one.max()) for one in seen} >= {100.0, 200.0, 255.0}
    slow = []
    for one in (0.9, 1.0, 1.1):
        brighter = np.clip(one * np.asarray(net.preprocess.pixels(x)), 0, 255).astype(np.float32)
        same = x if one == 1 else np.asarray(net.preprocess.normalise(brighter))
        slow.append(METHODS["gradient-max"].maps(net, same, target=target))
    found = METHODS["brightness(gradient-max)"].maps(net, x)
    np.testing.assert_allclose(found, np.mean(slow, 0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("fuse", ["mean", "max", "product"])
def test_layers_are_those_of_grad_cam_fused(net, x, fuse):
    chosen = stage_layers(net.architecture)
    assert len(chosen) > 1
    found = METHODS[f"layers-{fuse}(grad-cam)"].maps(net, x)
    np.testing.assert_allclose(found, grad_cam(net, x, layer=chosen, fuse=fuse), rtol=1e-4, atol=1e-6)


def test_the_list_has_a_line_for_each():
    said = wrappers.said_of_wrappers()
    assert [line.split("  ")[0] for line in said] == list(wrappers.WRAPPERS)
    assert all(line.endswith(".") and len(line) > 40 for line in said)


def test_layers_want_a_method_that_looks_at_one(net, x):
    for name in ("layers-mean(occlusion)", "layers-max(layers-max(grad-cam))"):
        with pytest.raises(InputError, match="looks at no layer of one's choice"):
            METHODS[name]
    signed = replace(METHODS["grad-cam"], sign="signed")
    with pytest.raises(InputError, match="negative values, whose product"):
        wrappers.layers(signed, "product")


def test_names_nest_and_keep_what_the_method_promises(net, x):
    found = METHODS["flip(smooth(layer-cam))"]
    assert (found.name, found.family, found.sign) == ("flip(smooth(layer-cam))", "class activation", "magnitude")
    assert found.random and not METHODS["flip(layer-cam)"].random
    assert found.cost(net, SIZE, OPTIONS) == Cost(6, 6)
    assert METHODS["scale(cam)"].cost(net, SIZE, OPTIONS) == Cost(3, 0)
    lines = found.summary.splitlines()
    assert len(lines) == 2 and max(map(len, lines)) <= 110
    assert "flip(rise)" in METHODS and "flip(nothing)" not in METHODS and "upside(rise)" not in METHODS
    assert not any("(" in name for name in METHODS)
    for wrong in ("flip(rise", "flip()", "flip(rise))", "flip", "(rise)"):
        with pytest.raises(KeyError):
            METHODS[wrong]
    with pytest.raises(InputError, match="unknown method 'grad_cma'; near it are grad-cam"):
        METHODS["grad_cma"]


@pytest.mark.parametrize("wrapper", sorted(wrappers.WRAPPERS))
def test_every_wrapper_tells_its_progress_and_refuses_what_its_method_refuses(net, x, wrapper):
    told: list[tuple[int, int]] = []
    method = METHODS[f"{wrapper}(grad-cam)"]
    assert len(method.summary.splitlines()) == 2 and max(map(len, method.summary.splitlines())) <= 110
    maps = method.maps(net, x, options=OPTIONS, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] > 0 and maps.shape == (3, *SIZE) and maps.min() >= 0
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    alone = method.maps(net, x[2:], options=OPTIONS)
    np.testing.assert_allclose(alone[0], maps[2], rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match="grad-cam needs a network's layers"):
        method.maps(lambda images: images.sum((1, 2, 3)), x)
    with pytest.raises(InputError, match="x must be"):
        method.maps(net, x[0])
    assert method.maps(net, x[:0]).shape == (0, *SIZE)


def test_repeats_are_the_methods_own_maps_by_seed(net, x):
    options = replace(OPTIONS, seed=5)
    found = saliency.repeats(METHODS["rise"], net, x, count=3, options=options)
    assert found.seeds == (5, 6, 7)
    maps = [METHODS["rise"].maps(net, x, options=replace(options, seed=seed)) for seed in (5, 6, 7)]
    np.testing.assert_array_equal(found.maps, maps)
    slow = np.sqrt(np.sum((np.array(maps) - np.mean(maps, 0)) ** 2, 0) / 2)
    np.testing.assert_allclose(found.deviation, slow, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found.mean, np.mean(maps, 0), rtol=1e-5)
    pairs = [saliency.faithfulness.rank_correlation(maps[i], maps[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    np.testing.assert_allclose(found.agreement, np.mean(pairs, 0), rtol=1e-6)
    still = saliency.repeats(METHODS["edges"], net, x, count=2)
    assert not still.deviation.any() and np.allclose(still.agreement, 1)
    with pytest.raises(InputError, match="count must be"):
        saliency.repeats(METHODS["rise"], net, x, count=1)


def test_a_menu_is_a_mapping_of_the_plain_ones():
    menu = Menu({"edges": METHODS["edges"]})
    assert list(menu) == ["edges"] and menu["flip(edges)"].name == "flip(edges)" and len(menu) == 1
    assert menu.get("flip(edges)").name == "flip(edges)" and menu.get("rise") is None and menu.get("rise", 1) == 1


def test_stacked_names_are_told_apart_from_pluses_of_their_own():
    assert known_methods("grad-cam++") == ["grad-cam++"]
    assert known_methods("grad-cam+++flip(rise)") == ["grad-cam++", "flip(rise)"]
    with pytest.raises(InputError, match=r"unknown method 'grad'; near it are .*; choose from gradient-max, "):
        known_methods("rise+grad")
