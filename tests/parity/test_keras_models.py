"""keras.applications, random weights, against Keras itself: the door compares the logits."""

import os

import numpy as np
import pytest
from numpy.testing import assert_allclose

os.environ.setdefault("KERAS_BACKEND", "jax")
keras = pytest.importorskip("keras")

from saliency import Execution, InputError, grad_cam, gradient_maps, occlusion_maps  # noqa: E402
from saliency.models.from_keras import from_keras  # noqa: E402

SIZES = {
    "MobileNetV2": (64, 80),
    "DenseNet121": (64, 80),
    "EfficientNetB0": (64, 80),
    "ConvNeXtTiny": (64, 80),
    "InceptionV3": (75, 91),
    "ResNet50V2": (64, 80),
}
QUICK = ("MobileNetV2", "DenseNet121", "EfficientNetB0")


def network(name: str, rng):
    size = SIZES[name]
    net = from_keras(getattr(keras.applications, name)(weights=None, input_shape=(*size, 3), classes=11))
    assert net.provenance["output"] == "softmax"
    return net, np.asarray(net.preprocess(rng.integers(0, 256, (1, *size, 3), np.uint8)))


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SIZES]
)
def test_gradients_and_the_cam_layer(name, rng):
    net, x = network(name, rng)
    assert np.ptp(gradient_maps(net, x)) > 0
    assert grad_cam(net, x).shape == x.shape[:3]


@pytest.mark.slow  # two large programs are compiled for each network
@pytest.mark.parametrize("name", SIZES)
def test_occlusion_of_every_position(name, rng):
    net, x = network(name, rng)
    found = [
        occlusion_maps(net, x, patch=(32, 28), stride=(16, 18), target=3, execution=Execution(engine)).scores
        for engine in ("dense", "incremental")
    ]
    assert np.ptp(found[0]) > 0
    assert_allclose(found[1], found[0], atol=1e-4 * np.abs(net(x)).max())


def test_names_sizes_and_refusals():
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((None, None, 1)),
            layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="first"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.5),
            layers.GlobalMaxPooling2D(),
            layers.Dense(1, activation="sigmoid", name="last"),
        ]
    )
    with pytest.raises(InputError, match="takes images of any size: state size"):
        from_keras(model)
    net = from_keras(model, size=(20, 26))
    assert {"first", "norm", "last"} <= net.layers.keys()
    assert (net.architecture.channels, net.architecture.class_count) == (1, 2)
    with pytest.raises(InputError, match="model must be a Keras model"):
        from_keras(net)
