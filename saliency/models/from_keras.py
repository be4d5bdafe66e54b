"""Keras 3 models on the JAX backend as networks. Needs the extra `keras`."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from saliency.errors import InputError
from saliency.models.from_jax import network_of
from saliency.models.network import Network
from saliency.models.preprocessing import Preprocessing


def from_keras(
    model: Any,
    *,
    size: int | tuple[int, int] | None = None,
    preprocess: Preprocessing | None = None,
    classes: Sequence[str] = (),
) -> Network:
    """A network of a Keras 3 model that runs on JAX (`KERAS_BACKEND=jax`), in inference mode; layers keep their names.

    `size` (height, width) is needed where the model states none. `preprocess` says how photos become what the model
    takes (default: pixels 0..255 as they are, which is right for models that rescale themselves, as EfficientNet and
    ConvNeXt of `keras.applications` do). A model of channels-first images is fed them; the network takes
    `[n, h, w, c]`. The weights are copied, as Keras deletes its own arrays whenever it predicts. It is compared with
    Keras' own prediction. Raises InputError for another backend, for several inputs or outputs, and whatever
    `from_function` does.

    >>> import saliency
    >>> import keras  # doctest: +SKIP
    >>> saliency.from_keras(keras.applications.MobileNetV2())  # doctest: +SKIP
    """
    try:
        import keras
    except ImportError as error:
        raise InputError("Keras models need keras; pip install 'salbox[keras]'") from error
    if keras.backend.backend() != "jax":
        raise InputError(
            f"the Keras model runs on {keras.backend.backend()}; set KERAS_BACKEND=jax before keras is imported"
        )
    if not isinstance(model, keras.Model):
        raise InputError(f"model must be a Keras model, not {type(model).__name__}")
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4:
        raise InputError(f"the Keras model must take one batch of images, not {shape}")
    first = keras.config.image_data_format() == "channels_first"
    channels, stated = (shape[1], shape[2:]) if first else (shape[3], shape[1:3])
    if size is None:
        if None in stated:
            raise InputError("the Keras model takes images of any size: state size")
        size = stated
    if channels is None:
        raise InputError("the Keras model states no number of channels")
    # copies: Keras gives its variables' memory away whenever it predicts or trains
    trainable, fixed = (
        [jnp.array(variable.value, copy=True) for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    )

    def given(x: Any) -> Any:
        return jnp.transpose(x, (0, 3, 1, 2)) if first else x

    def apply(variables: Any, x: jax.Array) -> jax.Array:
        return model.stateless_call(*variables, given(x), training=False)[0]

    return network_of(
        apply, (trainable, fixed), lambda x: model.predict_on_batch(given(x)), size=size, channels=channels,
        preprocess=preprocess, classes=classes, name=model.name, source="Keras",
    )  # fmt: skip
