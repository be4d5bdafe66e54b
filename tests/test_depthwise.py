"""Convolutions of each channel by itself against JAX's own, with all kinds of strides, padding and dilation."""

import jax
import numpy as np
import pytest
from jax import lax

from saliency.models.depthwise import depthwise
from saliency.models.operators import Conv
from saliency.models.operators.pointwise import capped

CASES = [
    ((3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    ((5, 3), (2, 1), ((2, 1), (0, 2)), (1, 1)),
    ((3, 5), (2, 3), ((0, 1), (3, 2)), (2, 1)),
    ((1, 1), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    ((4, 2), (1, 2), ((1, 2), (0, 0)), (1, 3)),
]


def by_jax(x, kernel, stride, padding, dilation):
    return lax.conv_general_dilated(
        x, kernel, stride, padding, rhs_dilation=dilation, dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )  # fmt: skip


@pytest.mark.parametrize(("window", "stride", "padding", "dilation"), CASES)
def test_values_and_gradients(window, stride, padding, dilation, rng):
    x = rng.normal(size=(2, 13, 11, 6)).astype(np.float32)
    kernel = rng.normal(size=(*window, 1, 6)).astype(np.float32)

    def total(function):
        def both(x, kernel):
            y = function(x, kernel, stride, padding, dilation)
            return (y * y).sum(), y

        return jax.jit(jax.value_and_grad(both, (0, 1), has_aux=True))(x, kernel)

    (_, ours), gradients = total(depthwise)
    (_, theirs), expected = total(by_jax)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    for own, other in zip(gradients, expected):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-4)


def test_the_images_gradient_alone(rng):
    """Borders that no window reaches, and more padding than the kernel reaches."""
    x = rng.normal(size=(2, 12, 9, 3)).astype(np.float32)
    kernel = rng.normal(size=(3, 2, 1, 3)).astype(np.float32)
    given = (3, 4), ((4, 3), (0, 5)), (2, 1)

    def gradient(function):
        return jax.jit(jax.grad(lambda x: (function(x, kernel, *given) ** 2).sum()))(x)

    np.testing.assert_allclose(gradient(depthwise), gradient(by_jax), rtol=1e-4, atol=1e-4)

    def curvature(function):
        slope = jax.grad(lambda x: (function(x, kernel, *given) ** 3).sum())
        return jax.jit(jax.grad(lambda x: (slope(x) ** 2).sum()))(x)

    curved, expected = curvature(depthwise), curvature(by_jax)
    np.testing.assert_allclose(curved, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_the_gradient_computes_nothing_twice(rng):
    """XLA would write the sum of a layer into the loop of each that reads it: the next layer, and the gradient."""
    kernels = rng.normal(size=(3, 3, 3, 1, 8)).astype(np.float32)

    def score(x):
        for kernel in kernels:
            x = capped(depthwise(x, kernel, (1, 1), ((1, 1), (1, 1)), (1, 1)), 6.0)
        return x.sum()

    compiled = jax.jit(jax.grad(score)).lower(np.zeros((1, 16, 16, 8), np.float32)).compile().as_text()
    slices_of_kernels_too = 2 * 9 * len(kernels)
    assert compiled.count(" slice(") <= 2 * slices_of_kernels_too


def test_the_operator_takes_it(rng, monkeypatch):
    x = rng.normal(size=(1, 9, 8, 4)).astype(np.float32)
    parameters = {"kernel": rng.normal(size=(3, 3, 1, 4)).astype(np.float32), "bias": np.ones(4, np.float32)}
    layer = Conv(4, (3, 3), (2, 2), ((1, 1), (1, 0)), groups=4)
    expected = by_jax(x, parameters["kernel"], (2, 2), layer.padding, (1, 1)) + 1
    np.testing.assert_allclose(layer(parameters, x), expected, atol=1e-5)
    asked = []
    monkeypatch.setattr("saliency.models.operators.linear.depthwise", lambda *given: asked.append(given) or x)
    layer.convolve(parameters["kernel"], x)
    assert len(asked) == 1


@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
def test_no_place_of_the_kernel_has_a_padded_copy_of_its_own(stride):
    """Which the transpose of a slice would be: 25 at 5x5, and the gradient 6 to 25 times slower."""
    x, kernel = np.zeros((1, 9, 8, 4), np.float32), np.zeros((5, 5, 1, 4), np.float32)

    def total(x):
        return depthwise(x, kernel, stride, ((2, 2), (2, 2)), (1, 1)).sum()

    assert jax.jit(jax.grad(total)).lower(x).compile().as_text().count(" pad(") <= 6


def test_an_image_smaller_than_the_stride(rng):
    x, kernel = rng.normal(size=(1, 2, 3, 4)).astype(np.float32), rng.normal(size=(1, 2, 1, 4)).astype(np.float32)
    given = kernel, (3, 5), ((0, 0), (0, 0)), (1, 1)
    found, mine = jax.vjp(lambda x: depthwise(x, *given), x)
    expected, back = jax.vjp(lambda x: by_jax(x, *given), x)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(mine(found)[0], back(expected)[0], atol=1e-6)
