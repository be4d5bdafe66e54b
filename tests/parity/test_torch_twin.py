"""What every operator is in torch, against itself, on maps that are not square."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax import lax
from numpy.testing import assert_allclose

from saliency import InputError, from_function
from saliency.models import operators as o
from scripts.torch_twin import Twin, channels_last

KINDS = [
    o.Image(), o.Relu(), o.Relu(0.5), o.Flatten(), o.Add(), o.Concat(), o.LocalResponseNorm(3, 0.1), o.Dense(5),
    o.Dense(5, bias=False), o.Conv(4, (3, 2), (2, 1), ((1, 1), (0, 0)), 2),
    o.Conv(4, (3, 3), (2, 2), ((0, 1), (1, 2)), bias=False),
    o.Conv(6, (2, 3), dilation=(2, 3)), o.MaxPool((3, 2), (2, 2), ((1, 1), (0, 0)), ceil=True),
    o.AvgPool((3, 2), (2, 2), ((1, 1), (1, 1)), ceil=True), o.SumPool((2, 3), (1, 2)), o.Pad(((1, 0), (2, 3)), 0.5),
    o.Slice((1, 2), (9, 10), (2, 3)), o.GlobalAvgPool(), o.GlobalMaxPool(), o.GlobalSumPool(), o.Scale(),
    o.LayerNorm(0.1), o.Gelu(), o.Tokens(2),
]  # fmt: skip


@pytest.mark.parametrize("operator", KINDS, ids=repr)
@pytest.mark.parametrize("shape", [(13, 10, 6), (6,)])
def test_operators(operator, shape, rng):
    if len(shape) == 1 and not isinstance(operator, (o.Relu, o.Add, o.Concat, o.Dense, o.LayerNorm, o.Gelu)):
        pytest.skip("works on maps")
    xs = [rng.normal(size=(2, *shape)).astype(np.float32) for _ in range(1 + isinstance(operator, (o.Add, o.Concat)))]
    parameters = {
        name: rng.normal(size=size).astype(np.float32) for name, size in operator.parameter_shapes(shape).items()
    }
    expected = np.asarray(operator(parameters, *map(jnp.asarray, xs)))
    found = operator.in_torch(parameters)(*(channels_last(x) if x.ndim == 4 else torch.from_numpy(x) for x in xs))
    found = found.permute(0, 2, 3, 1) if found.ndim == 4 else found
    assert_allclose(found.numpy(), expected, atol=2e-5)


def test_operators_of_tokens(rng):
    joint = rng.normal(size=(2, 7, 12)).astype(np.float32)
    weights = np.array(o.Attention(2)({}, jnp.asarray(joint)))  # torch wants to be able to write
    for operator, xs in ((o.Attention(2), [joint]), (o.Mix(2), [weights, joint]), (o.Token(1), [joint])):
        expected = np.asarray(operator({}, *map(jnp.asarray, xs)))
        found = operator.in_torch({})(*map(torch.from_numpy, xs))
        assert_allclose(found.numpy(), expected, atol=2e-5)


def function(params, x):
    for kernel in params[:-1]:
        x = jnp.maximum(
            lax.conv_general_dilated(x, kernel, (2, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")), 0
        )
    return x.mean((1, 2)) @ params[-1]


def test_a_function_has_a_twin(rng):
    params = [rng.normal(size=size).astype(np.float32) for size in [(3, 3, 3, 4), (2, 3, 4, 6), (6, 5)]]
    net = from_function(function, params, size=(17, 22))
    x = rng.normal(size=(2, 17, 22, 3)).astype(np.float32)
    assert_allclose(Twin(net)(channels_last(x)).numpy(), np.asarray(net(x)), atol=1e-4)


def test_what_torch_is_not_told_of():
    net = from_function(lambda params, x: jnp.tanh(x).mean((1, 2)) @ params, np.eye(3, 2, dtype="f"), size=(4, 5))
    with pytest.raises(InputError, match="Pointwise has no twin in torch"):
        Twin(net)
