"""The menu keeps its promises: one signature, the stated sign, maps that depend on their own image alone."""

import re
from dataclasses import replace

import numpy as np
import pytest

from saliency.errors import InputError
from saliency.maps.cam import stage_layers
from saliency.methods import ATTENTION, CONTROLS, FAMILIES, METHODS, Cost, Options, by_family
from saliency.models.graph import Architecture, Builder
from saliency.models.network import Network
from saliency.models.operators import Conv, Dense, Flatten, GlobalAvgPool
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn

SIZE = (20, 14)
OPTIONS = Options(patch=(6, 5), stride=(4, 3), samples=3, steps=4, masks=20, cell=5, segments=12, iterations=3, seed=3)
ANY = [name for name in METHODS if name not in ATTENTION]  # those of transformers: tests/test_attention.py
CLASSLESS = {
    "activation", "eigen-cam", "fem", "gestalt-max", "gestalt-mean", "occlusion-gestalt",
    "random", "centre-gaussian", "edges",
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("regions_once")


@pytest.fixture(scope="module")
def net() -> Network:
    return random_network(scenes_cnn(blocks=((4,), (6,))), seed=1)


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(3, *SIZE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def maps(net, x) -> dict[str, np.ndarray]:
    return {name: method.maps(net, x, options=OPTIONS) for name, method in METHODS.items() if name in ANY}


@pytest.mark.parametrize("name", ANY)
def test_maps_are_float32_of_the_images_size_with_the_stated_sign(maps, name):
    assert maps[name].shape == (3, *SIZE)
    assert maps[name].dtype == np.float32
    assert np.isfinite(maps[name]).all()
    assert np.ptp(maps[name], axis=(1, 2)).min() > 0
    if METHODS[name].sign == "magnitude":
        assert maps[name].min() >= 0
    elif name != "occlusion-gestalt":  # hiding part of an image seldom raises a mean of rectified activations
        assert maps[name].min() < 0 < maps[name].max()


@pytest.mark.parametrize("name", ANY)
def test_a_map_depends_on_its_own_image_alone_and_comes_back_the_same(net, x, maps, name):
    alone = METHODS[name].maps(net, x[2:], options=OPTIONS)
    np.testing.assert_allclose(alone[0], maps[name][2], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ANY)
def test_the_seed_and_the_layer_matter_where_the_method_says_so(net, x, maps, name):
    """What a comparison repeats, and what the wrapper of several layers takes, follow from these."""
    method = METHODS[name]
    again = method.maps(net, x, options=replace(OPTIONS, seed=4))
    assert np.array_equal(again, maps[name]) != method.random
    early = method.maps(net, x, options=replace(OPTIONS, layer=stage_layers(net.architecture)[0]))
    assert np.array_equal(early, maps[name]) != method.layered


@pytest.mark.parametrize("name", ANY)
def test_only_class_methods_ask_for_a_target(net, x, maps, name):
    predicted = np.asarray(net(x)).argmax(-1)
    stated = METHODS[name].maps(net, x, target=predicted, options=OPTIONS)
    np.testing.assert_allclose(stated, maps[name], rtol=1e-5, atol=1e-7)
    other = METHODS[name].maps(net, x, target=(predicted + 1) % 10, options=OPTIONS)
    assert np.array_equal(other, stated) == (name in CLASSLESS)


def test_every_method_has_one_of_the_families_and_is_listed_once():
    assert {method.family for method in METHODS.values()} <= set(FAMILIES)
    listed = [method.name for own in by_family().values() for method in own]
    assert sorted(listed) == sorted(METHODS)
    assert list(by_family()) == [family for family in FAMILIES if family in by_family()]
    assert {method.name for method in by_family(CONTROLS)["control"]} == set(CONTROLS)
    assert {method.name for method in by_family(ATTENTION)["attention"]} == set(ATTENTION)


@pytest.mark.parametrize("name", ANY)
def test_two_lines_and_a_source(name):
    method = METHODS[name]
    assert method.name == name
    assert len(method.summary.splitlines()) == 2
    assert max(map(len, method.summary.splitlines())) <= 110
    assert method.source


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.black_box])
def test_a_black_box_needs_only_a_function_and_is_asked_as_often_as_the_cost_says(net, x, maps, name):
    target = int(np.asarray(net(x[:1])).argmax())
    asked = []

    def score(images):
        asked.append(len(images))
        return np.asarray(net(images))[:, target]

    black_box = METHODS[name].maps(score, np.asarray(net.preprocess.pixels(x[:1])), options=OPTIONS)
    assert black_box.shape == (1, *SIZE)
    cost = METHODS[name].cost(score, SIZE, OPTIONS)
    assert cost.backwards == 0
    assert cost.forwards <= sum(asked) <= cost.forwards + 15  # the last batch is filled up
    if name in ("occlusion", "rise", "finite-differences"):
        assert len(set(asked) - {1}) == 1  # one batch size, one compilation


@pytest.mark.parametrize("name", ["occlusion", "rise"])
def test_a_network_is_the_same_as_a_function_of_its_pixels(net, x, maps, name):
    target = int(np.asarray(net(x[:1])).argmax())
    pixels = np.asarray(net.preprocess.pixels(x[:1]))
    black_box = METHODS[name].maps(
        lambda images: net(net.preprocess.normalise(images))[:, target], pixels, options=OPTIONS
    )
    np.testing.assert_allclose(black_box[0], maps[name][0], rtol=1e-3, atol=1e-4)


def test_costs(net):
    costs = {name: method.cost(net, SIZE, OPTIONS) for name, method in METHODS.items() if name in ANY}
    assert costs["gradient-max"] == costs["guided-backprop"] == costs["grad-cam"] == Cost(1, 1)
    assert costs["smoothgrad"] == Cost(3, 3)
    assert costs["integrated-gradients"] == Cost(4, 4)
    assert costs["cam"] == costs["activation"] == Cost(1, 0)
    for name in ("occlusion", "occlusion-gestalt"):
        assert (costs[name].forwards, costs[name].backwards) == (1 + 5 * 4, 0)
    assert costs["rise"] == Cost(20, 0)
    assert (costs["finite-differences"].forwards, costs["finite-differences"].backwards) == (6 * 4 * 3, 0)
    assert (costs["channel-occlusion"].forwards, costs["segment-occlusion"].forwards) == (1 + 3 * 5 * 4, 1 + 4 * 3)
    assert costs["lime"] == costs["kernel-shap"] == costs["hsic"] == Cost(20, 0)
    assert costs["shapley-sampling"] == Cost(1 + 3 * 12, 0)
    assert costs["sobol"] == Cost(2 * (12 + 2), 0)
    assert costs["extremal-perturbation"] == Cost(3, 3)
    assert costs["random"] == Cost(0, 0)
    assert set(CONTROLS) < set(METHODS)


def test_what_occlusion_saves_by_hand():
    """Nine windows of 4x4 on 12x12, each with its border of one pixel: 6x6 of 12x12 places are convolved anew, and
    once all of them. Nine passes less 9 / 4 + 1."""
    build = Builder()
    build.add("conv", Conv(5, (3, 3), padding=((1, 1), (1, 1))))
    build.add("pool", GlobalAvgPool())
    net, options = random_network(Architecture("one", tuple(build.nodes), "conv", (12, 12))), Options(patch=4, stride=4)
    occlusion = METHODS["occlusion-gestalt"]
    assert occlusion.cost(net, (12, 12), options) == Cost(10, 0, pytest.approx(5.75))
    assert occlusion.cost(net, (12, 12), replace(options, engine="dense")) == Cost(10, 0)
    assert METHODS["occlusion"].cost(lambda images: images.sum((1, 2, 3)), (12, 12), options) == Cost(10, 0)


def test_progress_ends_at_the_total(net, x):
    for name in set(ANY) - CLASSLESS:
        told: list[tuple[int, int]] = []
        METHODS[name].maps(net, x, options=OPTIONS, progress=lambda done, total, told=told: told.append((done, total)))
        assert told[-1][0] == told[-1][1] > 0


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if not method.black_box])
def test_what_needs_a_network_says_so(x, name):
    with pytest.raises(InputError, match=rf"{re.escape(name)} needs a network's layers.*occlusion, rise"):
        METHODS[name].maps(lambda images: images.sum((1, 2, 3)), x)
    with pytest.raises(InputError, match="needs a network's layers"):
        METHODS[name].cost(lambda images: images.sum((1, 2, 3)), SIZE)


@pytest.mark.parametrize("name", sorted(set(ANY) - {"random", "centre-gaussian", "edges"}))
def test_bad_input_is_named(net, x, name):
    spoiled = x.copy()
    spoiled[1, 4, 4, 0] = np.nan
    with pytest.raises(InputError, match="NaN or infinite values in image 1"):
        METHODS[name].maps(net, spoiled, options=OPTIONS)
    if name not in CLASSLESS:
        with pytest.raises(InputError, match=r"target must lie in 0\.\.9"):
            METHODS[name].maps(net, x, target=10, options=OPTIONS)


def test_cam_refuses_a_head_that_is_not_pooled_and_its_cost_tells_before(x):
    build = Builder()
    build.conv_relu("conv", "relu", Conv(2, (3, 3)))
    build.add("flat", Flatten())
    build.add("logits", Dense(3))
    net = random_network(Architecture("flat", tuple(build.nodes), "relu", SIZE))
    with pytest.raises(InputError, match=r"CAM needs a head of a global pool.*flat has not.*Grad-CAM"):
        METHODS["cam"].maps(net, x)
    with pytest.raises(InputError, match="CAM needs a head"):
        METHODS["cam"].cost(net, SIZE)
