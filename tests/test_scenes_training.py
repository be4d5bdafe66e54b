"""Training the embedded classifier: what is folded away changes no answer."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from localization.scenes_training import PREPROCESSING, Classifier, Training, _folded, train_scenes
from saliency.errors import InputError


@pytest.mark.slow
def test_the_folded_network_is_the_same_function(rng):
    model = Classifier(nnx.Rngs(0))
    for norm in model.norms:
        size = norm.scale.get_value().shape
        norm.scale.set_value(jnp.asarray(rng.uniform(0.5, 2, size), jnp.float32))
        norm.bias.set_value(jnp.asarray(rng.normal(size=size), jnp.float32))
        norm.mean.set_value(jnp.asarray(rng.normal(size=size), jnp.float32))
        norm.var.set_value(jnp.asarray(rng.uniform(0.5, 2, size), jnp.float32))
    model.eval()
    x = PREPROCESSING(list(rng.integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)))
    np.testing.assert_allclose(_folded(model)(x), model(jnp.asarray(x)), rtol=2e-3, atol=2e-3)


@pytest.mark.slow
def test_a_small_training_counts_its_steps():
    told = []
    net = train_scenes(Training(epochs=2, scenes=8, batch=4), lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert net.classes == tuple("0123456789") and net.name == "scenes_cnn"


def test_settings_are_checked():
    with pytest.raises(InputError, match="scenes must be a whole number of at least 64"):
        Training(scenes=63)
