import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from saliency.models import winograd
from saliency.models.operators import Conv
from saliency.models.operators.linear import WINOGRAD
from saliency.models.winograd import Padding


@pytest.mark.parametrize("padding", [((1, 1), (1, 1)), ((0, 2), (1, 0))])
def test_is_the_convolution_and_so_are_its_gradients(rng, padding: Padding):
    x, kernel = rng.normal(size=(2, 9, 6, 5)), rng.normal(size=(3, 3, 5, 4))
    with jax.enable_x64():
        definition = Conv(4, (3, 3), padding=padding).convolve
        expected, back = jax.vjp(lambda x, kernel: definition(kernel, x), x, kernel)
        found, mine = jax.vjp(lambda x, kernel: winograd.convolution(padding, x, kernel), x, kernel)
        up = rng.normal(size=expected.shape)
        assert_allclose(found, expected, atol=1e-12)
        for one, other in zip(mine(up), back(up)):
            assert_allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("cache", [1, 16 * 15 * 5 * 4, 2 * 16 * 15 * 5 * 4, 2**30])
def test_a_batch_is_convolved_a_few_images_at_a_time(rng, monkeypatch, cache):
    monkeypatch.setattr(winograd, "CACHE", cache)
    x, kernel = rng.normal(size=(6, 9, 6, 5)).astype(np.float32), rng.normal(size=(3, 3, 5, 4)).astype(np.float32)
    padding = ((1, 1), (1, 1))
    expected, back = jax.vjp(lambda x: Conv(4, (3, 3), padding=padding).convolve(kernel, x), x)
    found, mine = jax.vjp(lambda x: winograd.convolution(padding, x, jnp.asarray(kernel)), x)
    assert_allclose(found, expected, atol=1e-4)
    up = rng.normal(size=expected.shape).astype(np.float32)
    assert_allclose(mine(up)[0], back(up)[0], atol=1e-4)


def test_is_taken_for_a_few_images_with_many_channels_and_places(rng):
    layer = Conv(WINOGRAD, (3, 3), padding=((1, 1), (1, 1)))
    assert layer.square
    assert not any(
        Conv(8, *other).square for other in [((3, 3), (2, 2)), ((1, 3),), ((3, 3), (1, 1), ((3, 0), (0, 0)))]
    )
    kernel = jnp.asarray(rng.normal(size=(3, 3, WINOGRAD, WINOGRAD)), jnp.float32)

    def taken(*shape: int) -> bool:
        jaxpr = jax.make_jaxpr(layer.convolve)(kernel, jnp.zeros((*shape, WINOGRAD), jnp.float32))
        return "conv_general_dilated" not in str(jaxpr)

    cases = [(1, 15, 16), (1, 13, 16), (2, 11, 11), (8, 5, 6), (9, 15, 16), (0, 15, 16)]
    cpu = jax.default_backend() == "cpu"
    assert [taken(*case) for case in cases] == [cpu and one for one in (True, False, True, True, False, False)]
    images = jnp.asarray(rng.normal(size=(9, 15, 16, WINOGRAD)), jnp.float32)
    together = np.asarray(layer.convolve(kernel, images))
    for some in (1, 3):
        assert_allclose(layer.convolve(kernel, images[:some]), together[:some], atol=1e-4 * abs(together).max())
