"""The way back through strides against JAX's own gradients: convolutions and maxima, with all kinds of windows."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from saliency.models import strided
from saliency.models.operators import Conv, MaxPool

CASES = [  # window, stride, padding
    ((11, 11), (4, 4), ((2, 2), (2, 2))),  # AlexNet's first layer
    ((5, 3), (3, 2), ((2, 0), (0, 2))),
    ((2, 2), (2, 2), ((0, 0), (0, 0))),
    ((4, 4), (4, 4), ((0, 0), (3, 1))),  # patches
    ((2, 3), (3, 5), ((1, 0), (2, 2))),  # lines that no window meets
    ((1, 1), (2, 3), ((0, 0), (1, 0))),
    ((7, 7), (2, 2), ((3, 3), (3, 3))),  # ResNet's first layer
    ((3, 3), (2, 2), ((1, 1), (1, 1))),
    ((3, 3), (1, 1), ((1, 1), (1, 1))),
    ((3, 2), (1, 1), ((0, 2), (3, 0))),
]


def by_jax(stride, padding, x, kernel):
    return lax.conv_general_dilated(x, kernel, stride, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


@pytest.mark.parametrize(("window", "stride", "padding"), CASES)
def test_convolution_and_its_gradients(window, stride, padding, rng):
    x = rng.normal(size=(2, 21, 17, 3)).astype(np.float32)
    kernel = rng.normal(size=(*window, 3, 5)).astype(np.float32)

    def gradients(function):
        def score(x, kernel):
            y = function(stride, padding, x, kernel)
            return (y * y).sum(), y

        return jax.jit(jax.value_and_grad(score, (0, 1), has_aux=True))(x, kernel)

    (_, ours), own = gradients(strided.convolution)
    (_, theirs), expected = gradients(by_jax)
    np.testing.assert_array_equal(ours, theirs)
    for mine, other in zip(own, expected):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [((1, 1), (1, 1), 0), ((1, 1), (2, 3), 0), ((5, 4), (3, 2), 2), ((3, 3), (2, 2), 1), ((13, 10), (1, 1), 0)],
)
def test_the_operator_takes_them(kernel, stride, padding, rng, monkeypatch):
    layer = Conv(6, kernel, stride, ((padding, 0), (0, padding)))
    x = rng.normal(size=(2, 13, 10, 4)).astype(np.float32)
    parameters = {"kernel": rng.normal(size=(*kernel, 4, 6)).astype(np.float32), "bias": np.ones(6, np.float32)}
    expected, back = jax.vjp(lambda x: by_jax(stride, layer.padding, x, parameters["kernel"]) + 1, x)
    used = []
    for name in ("convolution", "each_place"):
        plain = getattr(strided, name)
        monkeypatch.setattr(strided, name, lambda *given, name=name, plain=plain: used.append(name) or plain(*given))
    found, own_back = jax.vjp(lambda x: layer(parameters, x), x)
    assert set(used) == {"each_place" if kernel == (1, 1) else "convolution"}
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(own_back(found)[0], back(found)[0], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shape", [(2, 12, 9, 3), (1, 7, 11, 2)])
@pytest.mark.parametrize(
    ("window", "stride", "padding", "ceil"),
    [
        ((3, 3), (2, 2), ((0, 0), (0, 0)), True),
        ((3, 3), (2, 2), ((1, 1), (1, 1)), False),
        ((2, 2), (2, 2), ((0, 0), (0, 0)), False),
        ((2, 3), (3, 1), ((0, 1), (1, 1)), False),
        ((4, 2), (1, 2), ((1, 2), (0, 0)), False),
    ],
)
def test_maxima_send_back_to_the_first_of_equals(window, stride, padding, ceil, shape, rng):
    """As `reduce_window` does, also where values are equal, and where windows leave lines out."""
    layer = MaxPool(window, stride, padding, ceil)
    x = rng.integers(0, 4, size=shape).astype(np.float32)
    rows, cols = layer.sizes(shape[1:3])
    pads = [
        (before, max(after, (count - 1) * step + size - side - before))
        for side, count, size, step, (before, after) in zip(shape[1:3], (rows, cols), window, stride, padding)
    ]

    def by_windows(x):
        dims = (1, *window, 1), (1, *stride, 1), ((0, 0), *pads, (0, 0))
        return lax.reduce_window(x, -jnp.inf, lax.max, *dims)[:, :rows, :cols]

    @partial(jax.jit, static_argnums=0)
    def there_and_back(function, x, up):
        y, back = jax.vjp(function, x)
        return y, back(up)[0]

    up = rng.normal(size=(shape[0], rows, cols, shape[3])).astype(np.float32)
    expected, theirs = there_and_back(by_windows, x, up)
    found, own = there_and_back(lambda x: layer({}, x), x, up)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(own, theirs, atol=1e-5)
