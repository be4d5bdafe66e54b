"""How many images a CPU takes at once, by what is read and multiplied; and maps that do not depend on it."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose

from saliency import _batches
from saliency._batches import cpu_batch, default_batch, first_few, side_by_side
from saliency.maps import gradient
from saliency.maps.gradient import gradient_maps
from saliency.models.graph import Architecture, Node
from saliency.models.operators import Conv, Dense, GlobalAvgPool, Image, Relu
from saliency.models.weights import ARCHITECTURES, random_network


def network(features: int, hidden: int, side: int) -> Architecture:
    """A convolution, and a dense layer that is larger or smaller beside it."""
    nodes = (
        Node("image", Image()),
        Node("conv", Conv(features, (3, 3), padding=((1, 1), (1, 1))), ("image",)),
        Node("relu", Relu(), ("conv",)),
        Node("mean", GlobalAvgPool(), ("relu",)),
        Node("fc1", Dense(hidden), ("mean",)),
        Node("fc2", Dense(3), ("fc1",)),
    )
    return Architecture("tested", nodes, "relu", (side, side))


def batch(architecture: Architecture) -> int:
    return cpu_batch(architecture, *architecture.size, architecture.last)


def test_weights_are_worth_large_batches_and_activations_small_ones():
    assert batch(network(8, 400_000, 16)) == max(_batches.SIZES)  # 19 MB of weights, 8 kB of activations
    assert batch(network(64, 8, 160)) == 1  # 6.5 MB of activations, hardly a weight
    sizes = [batch(network(16, hidden, 64)) for hidden in (100, 10_000, 100_000, 1_000_000)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]


def test_memory_bounds_it():
    wide = network(64, 2_000_000, 512)  # 134 MB of activations an image, and weights that ask for as many as can be
    assert batch(wide) == 2
    assert batch(network(64, 2_000_000, 1100)) == 1  # one image there is always


@pytest.mark.parametrize(("name", "expected"), [("alexnet", 16), ("squeezenet1_1", 1)])
def test_published_networks(name, expected):
    assert batch(ARCHITECTURES[name]()) == expected


def test_batches_are_as_equal_as_can_be(monkeypatch):
    monkeypatch.setattr(_batches, "on_cpu", lambda: True)
    monkeypatch.setattr(_batches.jax, "local_device_count", lambda: 1)
    architecture = ARCHITECTURES["alexnet"]()
    assert [default_batch(architecture, (n, *architecture.size), architecture.last) for n in (1, 16, 17, 40)] == [
        1, 16, 9, 14,
    ]  # fmt: skip


def test_maps_do_not_depend_on_it(rng):
    net = random_network(network(130, 5, 18), 0)  # so many channels that Winograd's algorithm comes in
    x = rng.normal(size=(5, 18, 18, 3)).astype(np.float32)
    plain = gradient_maps(net, x, batch=1)
    for size in (2, 3, 5):
        assert_allclose(gradient_maps(net, x, batch=size), plain, atol=1e-5 * plain.max())


def test_many_batches_have_a_core_each(rng, monkeypatch):
    used, programs = [], {name: getattr(gradient, name) for name in ("input_gradient", "_on_one_core")}
    for name, program in programs.items():
        noted = lambda *given, name=name, program=program, **named: used.append(name) or program(*given, **named)  # noqa: E731
        monkeypatch.setattr(gradient, name, noted)
    net = random_network(network(4, 5, 11), 0)
    x = rng.normal(size=(7, 11, 11, 3)).astype(np.float32)
    found = {}
    for cores in (1, 2, 4):
        monkeypatch.setattr(_batches, "cores", lambda cores=cores: cores)
        found[cores] = gradient_maps(net, x, batch=2)
    assert used == ["input_gradient"] * 4 + ["_on_one_core"] * 4 + ["input_gradient"] * 4
    assert_allclose(found[2], found[1], atol=1e-6 * found[1].max())
    assert not side_by_side(0, 1)


def test_the_first_few_are_computed_as_all_are(monkeypatch):
    for cores in (1, 2, 3):
        monkeypatch.setattr(_batches, "cores", lambda cores=cores: cores)
        for n, size in ((100, 8), (100, 40), (5, 8), (16, 4), (15, 4), (12, 4)):
            few = first_few(n, size)
            assert min(n, size) <= few <= n and side_by_side(few, size) == side_by_side(n, size)
    assert first_few(100, 8) == 48 and first_few(5, 8) == 5


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
def test_freed_memory_stays():
    """Of a large block that is taken anew, hardly a page is fetched from the kernel."""
    program = """
import resource, sys
import numpy as np
from saliency._memory import keep_freed
if sys.argv[1] == "kept":
    keep_freed()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    before = faults()
    np.ones(2**24, np.float32)
    last = faults() - before
print(last)
"""
    kept, plain = (
        int(subprocess.run([sys.executable, "-c", program, how], capture_output=True, text=True, check=True).stdout)
        for how in ("kept", "plain")
    )
    assert kept < plain / 10 or kept < 100  # a libc without the settings, or huge pages, which have few anyway
