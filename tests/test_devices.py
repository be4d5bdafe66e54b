"""What follows from the device, and the paths that an accelerator takes, here walked on a CPU that calls itself one."""

from functools import partial

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

from saliency import gradient_maps, occlusion_maps
from saliency.devices import CPU_BUDGET, default_budget, free_memory, in_turn, precision, under_way
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.models.zoo.vgg import vgg16
from saliency.occlusion import Execution, Windows, dense, occluded_logits


@pytest.fixture
def accelerator(monkeypatch):
    """Whoever asks is told that this is no CPU."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")


@pytest.fixture(scope="module")
def net():
    return random_network(scenes_cnn(((4,), (6, 5)), classes=3, size=(21, 26)))


@pytest.fixture
def x(rng):
    return rng.normal(size=(5, 21, 26, 3)).astype(np.float32)


def too_little(most, function):
    """`network_scores` on a device that has room for `most` positions."""

    def limited(weights, image, fill, template, starts, target, **options):
        if len(starts) > most:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes.")
        return function(weights, image, fill, template, starts, target, **options)

    return limited


class Device:
    def __init__(self, stats):
        self.stats = stats

    def memory_stats(self):
        return self.stats


def test_the_budget_is_a_share_of_what_is_free(accelerator, monkeypatch):
    gib = 2**30
    devices = [Device({"bytes_limit": 60 * gib, "bytes_in_use": used * gib}) for used in (10, 20)]
    monkeypatch.setattr(jax, "local_devices", lambda: devices)
    assert free_memory() == 40 * gib and default_budget() == 20 * gib
    devices.append(Device(None))
    assert free_memory() is None and default_budget() == CPU_BUDGET


def test_a_cpus_budget_stays():
    assert default_budget() == 256 * 2**20


def test_float32_is_multiplied_in_float32_unless_asked_otherwise(net, x, accelerator):
    assert precision() == jax.lax.Precision.HIGHEST
    with jax.default_matmul_precision("tensorfloat32"):
        assert precision() is None
    text = jax.jit(lambda x: net.architecture.upto(net.weights, x)).lower(x).as_text()
    assert text.count("HIGHEST") >= 2 * len(net.weights)  # both factors of every convolution and product
    with jax.default_matmul_precision("tensorfloat32"):
        assert "HIGHEST" not in jax.jit(lambda x: net.architecture.upto(net.weights, x)).lower(x).as_text()


def test_a_cpu_is_left_as_it_is(net, x):
    assert precision() is None
    assert "HIGHEST" not in jax.jit(lambda x: net.architecture.upto(net.weights, x)).lower(x).as_text()


def test_an_accelerator_has_the_next_call_before_the_last_is_read(accelerator):
    begun = []
    seen = [(value, len(begun)) for value in under_way(lambda i: begun.append(i) or i, range(4))]
    assert seen == [(0, 2), (1, 3), (2, 4), (3, 4)]


def test_a_cpu_has_one_call_at_a_time():
    begun = []
    assert [(value, len(begun)) for value in under_way(lambda i: begun.append(i) or i, range(3))] == [
        (0, 1), (1, 2), (2, 3)
    ]  # fmt: skip


def test_too_much_at_once_is_halved_said_and_nothing_lost(accelerator):
    sizes, told = [], []

    def double(i):
        sizes.append(len(i))
        if len(sizes) > 3 and len(i) > 3:  # memory runs short later on
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return 2 * i

    with pytest.warns(RuntimeWarning, match="too small for 5 images at once; going on with 3"):
        parts = in_turn(double, 28, 5, told.append)
    np.testing.assert_array_equal(np.concatenate(parts)[:28], 2 * np.arange(28))
    assert sum(told) == 28 and set(sizes) == {5, 3}


@pytest.mark.parametrize("size, message", [(1, "RESOURCE_EXHAUSTED: Out of memory"), (4, "INTERNAL: broken")])
def test_other_errors_are_raised(size, message):
    def fails(i):
        raise jax.errors.JaxRuntimeError(message)

    with pytest.raises(jax.errors.JaxRuntimeError, match=message):
        in_turn(fails, 8, size, lambda count: None)


@pytest.mark.parametrize("engine", ["dense", "incremental"])
def test_an_accelerators_path_gives_the_same_scores(net, x, engine, request):
    options = {"patch": (5, 6), "stride": (4, 3), "target": [0, 1, 2, -1, 1], "execution": Execution(engine)}
    plain = occlusion_maps(net, x, **options).scores
    windows = [Windows(x.shape[1:3], (5, 6), (4, 3)), Windows(x.shape[1:3], (7, 4), (5, 4))]
    logits = occluded_logits(net, x[0], windows, execution=Execution(engine))
    request.getfixturevalue("accelerator")
    counts: list = []
    fast = occlusion_maps(net, x, **options, progress=lambda done, total: counts.append((done, total)))
    assert fast.engine == engine and counts[-1][0] == counts[-1][1] == fast.scores.size
    assert_allclose(fast.scores, plain, rtol=1e-4, atol=1e-5)
    for one, other in zip(occluded_logits(net, x[0], windows, execution=Execution(engine)), logits):
        assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_an_accelerators_gradients_are_the_same(net, x, request):
    plain = gradient_maps(net, x)
    request.getfixturevalue("accelerator")
    assert_allclose(gradient_maps(net, x, batch=2), plain, rtol=1e-4, atol=1e-6)


def test_winograd_is_left_to_cpus(rng, request):
    net = random_network(vgg16(((32, 32), (33,)), hidden=7, classes=3, size=(32, 26)))
    x = rng.normal(size=(1, 32, 26, 3)).astype(np.float32)
    plain = occlusion_maps(net, x, patch=6, stride=5, execution=Execution("incremental")).scores
    request.getfixturevalue("accelerator")
    scores = occlusion_maps(net, x, patch=6, stride=5, execution=Execution("incremental")).scores
    assert_allclose(scores, plain, atol=1e-5 * np.abs(plain).max())


def test_a_dense_budget_that_is_too_large_is_met_by_a_smaller_one(net, x, accelerator, monkeypatch):
    plain = occlusion_maps(net, x[:2], patch=6, stride=3, execution=Execution("dense")).scores
    monkeypatch.setattr(dense, "network_scores", too_little(7, dense.network_scores))
    with pytest.warns(RuntimeWarning, match="positions at once; going on with"):
        scores = occlusion_maps(net, x[:2], patch=6, stride=3, execution=Execution("dense", budget=2**60)).scores
    assert_allclose(scores, plain, rtol=1e-4, atol=1e-5)


def test_so_is_an_incremental_one(net, x, accelerator, monkeypatch):
    from saliency.occlusion import incremental, maps

    plain = occlusion_maps(net, x, patch=6, stride=3, execution=Execution("incremental")).scores
    sizes: list = []

    def limited(*arguments, **options):
        sizes.append(arguments[2]["window"].shape[1])
        if sizes[-1] > 8:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return incremental.class_scores(*arguments, **options)

    programs = incremental.ALL_CORES._replace(scores=limited)
    monkeypatch.setattr(maps, "launcher", partial(incremental.launcher, programs=programs))
    counts: list = []
    with pytest.warns(RuntimeWarning, match="positions at once; going on with"):
        scores = occlusion_maps(
            net,
            x,
            patch=6,
            stride=3,
            execution=Execution("incremental", budget=2**60),
            progress=lambda *c: counts.append(c),
        ).scores
    assert max(sizes) > 8 and sizes[-1] <= 8
    assert counts[-1] == (scores.size, scores.size)
    assert_allclose(scores, plain, rtol=1e-4, atol=1e-5)
