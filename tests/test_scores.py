"""What a map explains: the score's formulas, its names and targets, and the batches it is computed in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saliency._batches import balanced_size, batches, in_batches
from saliency.errors import InputError
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.models.zoo.squeezenet import squeezenet1_1
from saliency.occlusion import Execution, occluded_logits
from saliency.occlusion.windows import Windows
from saliency.scores import (
    Score,
    as_score,
    as_targets,
    logits,
    predicted,
    resolve_targets,
    score_values,
)


@pytest.fixture(scope="module")
def net():
    return random_network(scenes_cnn(((4,), (6,)), size=(10, 14)))


@pytest.fixture
def x(rng):
    return rng.normal(size=(3, 10, 14, 3)).astype(np.float32)


def test_logits_and_predictions(net, x):
    np.testing.assert_allclose(logits(net, x, batch=2), net(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(predicted(net, x), np.asarray(net(x)).argmax(-1))
    assert logits(net, x[:0]).shape == (0, 10)


def test_score_values(net, x):
    targets = np.array([4, -1, 0], np.int32)
    all_logits = np.asarray(net(x), float)
    chosen = [4, all_logits[1].argmax(), 0]
    np.testing.assert_allclose(score_values(net, x, Score(), targets), all_logits[range(3), chosen], rtol=1e-5)
    log_p = all_logits - np.log(np.exp(all_logits).sum(-1, keepdims=True))
    np.testing.assert_allclose(
        score_values(net, x, Score("log_probability"), targets), log_p[range(3), chosen], rtol=1e-5, atol=1e-6
    )
    for layer in ("relu2_1", "conv1_1", "logits"):
        activation = np.asarray(net.upto(x, layer), float).reshape(3, -1)
        np.testing.assert_allclose(
            score_values(net, x, Score("gestalt", layer), targets), activation.mean(-1), rtol=1e-4, atol=1e-6
        )


def test_contexts_hold_for_all_threads(net, x):
    """Of `jax.enable_x64` and `jax.default_matmul_precision`, whichever thread a batch is computed by."""

    def seen(index):
        return np.array([[jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision]], object)

    assert in_batches(seen, 2, 1)[1].tolist() == [[False, None]]
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        assert in_batches(seen, 2, 1)[1].tolist() == [[True, "highest"]]
        double, x = random_network(net.architecture, dtype=np.float64), x.astype(np.float64)
        assert logits(double, x, batch=1).dtype == np.float64
        windows = [Windows(x.shape[1:3], (4, 5), (3, 4))]
        dense, incremental = (
            occluded_logits(double, x[0], windows, execution=Execution(e))[0] for e in ("dense", "incremental")
        )
    np.testing.assert_allclose(incremental, dense, rtol=1e-12, atol=1e-12)


def test_a_score_before_squeezenets_last_relu_says_so(rng):
    """Where every unit of the class is off, the logit is 0 everywhere; the score still says how far off."""
    net = random_network(squeezenet1_1(4, ((2, 3),), 5, (20, 24)))
    net.weights["conv10"]["bias"] = jnp.full(5, -100.0)
    x = rng.normal(size=(1, 20, 24, 3)).astype(np.float32)
    assert float(net(x)[0, 2]) == 0
    expected = float(net.upto(x, "conv10")[..., 2].mean())
    assert expected < -50
    before = as_score("logit_before_relu")
    np.testing.assert_allclose(score_values(net, x, before, np.array([2])), expected, rtol=1e-5)
    assert score_values(net, x, Score(), np.array([2])) == 0


def test_names():
    assert as_score("logit") == Score()
    assert as_score("gestalt:pool1") == Score("gestalt", "pool1")
    assert str(as_score("gestalt:pool1")) == "gestalt:pool1"
    assert as_score(Score("log_probability")) == Score("log_probability")
    for bad in ("softmax", "", "logit:fc8", "Gestalt"):
        with pytest.raises(
            InputError,
            match=r"score must be one of logit, .*, log_probability, .*gestalt, gestalt:LAYER or contrast:CLASS",
        ):
            as_score(bad)


def test_layer_in(net):
    architecture = net.architecture
    assert Score().layer_in(architecture) == "logits"
    assert Score("gestalt").layer_in(architecture) == "relu2_1"
    with pytest.raises(InputError, match="has no layer 'conv9'"):
        Score("gestalt", "conv9").layer_in(architecture)


def test_targets(net, x):
    np.testing.assert_array_equal(as_targets(None, 3, 10), [-1, -1, -1])
    np.testing.assert_array_equal(as_targets(4, 3, 10), [4, 4, 4])
    np.testing.assert_array_equal(as_targets([4, -1, 9], 3, 10), [4, -1, 9])
    for bad in ([1, 2], 1.5, [[1, 2, 3]], "4"):
        with pytest.raises(InputError, match="target must be one class index or one for each of the 3 images"):
            as_targets(bad, 3, 10)
    for bad in (10, -2, [0, 0, 10]):
        with pytest.raises(InputError, match=r"target must lie in 0\.\.9"):
            as_targets(bad, 3, 10)
    np.testing.assert_array_equal(resolve_targets(net, x, Score(), [4, -1, 0]), [4, predicted(net, x)[1], 0])


def test_batches_are_equal_and_complete():
    for n, size in ((5, 2), (4, 4), (1, 3)):
        parts = batches(n, size)
        assert {len(part) for part in parts} == {size}
        assert list(np.concatenate(parts)[:n]) == list(range(n))
        assert np.concatenate(parts).max() == n - 1
    assert batches(0, 4) == []


@given(st.integers(1, 500), st.integers(1, 60))
def test_parts_are_few_and_equal(total, most):
    size = balanced_size(total, most)
    parts = -(-total // size)
    assert size <= most and parts == -(-total // most)
    assert size == 1 or -(-total // (size - 1)) > parts  # none of the same number would be smaller


def test_threads_keep_what_the_caller_has_set():
    """A context of JAX's holds for its own thread: without care a batch would be computed by other rules."""

    def seen(i):
        names = (
            "enable_x64",
            "default_matmul_precision",
            "numpy_dtype_promotion",
            "numpy_rank_promotion",
            "debug_nans",
        )
        found.append([getattr(jax.config, f"jax_{name}") for name in names])
        return np.zeros(1)

    found: list = []
    with (
        jax.enable_x64(True),
        jax.default_matmul_precision("highest"),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("raise"),
        jax.debug_nans(True),
        jax.default_device(jax.devices()[0]),
    ):
        in_batches(seen, 3, 1)
    assert found == 3 * [[True, "highest", "standard", "raise", True]]
