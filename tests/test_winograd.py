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


def test_is_taken_for_one_image_with_many_channels_only(rng):
    layer = Conv(WINOGRAD, (3, 3), padding=((1, 1), (1, 1)))
    assert layer.square
    assert not any(
        Conv(8, *other).square for other in [((3, 3), (2, 2)), ((1, 3),), ((3, 3), (1, 1), ((3, 0), (0, 0)))]
    )
    kernel = jnp.asarray(rng.normal(size=(3, 3, WINOGRAD, WINOGRAD)), jnp.float32)
    images = jnp.asarray(rng.normal(size=(2, 5, 6, WINOGRAD)), jnp.float32)
    taken = [str(jax.make_jaxpr(layer.convolve)(kernel, x)).count("conv_general_dilated") for x in (images[:1], images)]
    assert taken == ([0, 1] if jax.default_backend() == "cpu" else [1, 1])
    together = np.asarray(layer.convolve(kernel, images))
    assert_allclose(layer.convolve(kernel, images[:1]), together[:1], atol=1e-4 * abs(together).max())
