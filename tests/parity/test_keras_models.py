"""keras.applications, random weights, against Keras itself: the door compares the logits."""

import os

import numpy as np
import pytest
from numpy.testing import assert_allclose

os.environ.setdefault("KERAS_BACKEND", "jax")
keras = pytest.importorskip("keras")

from saliency import Execution, InputError, Score, grad_cam, gradient_maps, occlusion_maps  # noqa: E402
from saliency.models.from_keras import from_keras  # noqa: E402
from saliency.occlusion import Windows  # noqa: E402
from saliency.occlusion.plan import plan_for  # noqa: E402

# name -> side of the image, the least speed-up that the plan predicts for 32/16
MODELS = {"MobileNetV2": (160, 1.2), "DenseNet121": (128, 1.2), "EfficientNetB0": (128, 0.9), "ConvNeXtTiny": (96, 0.9),
          "InceptionV3": (139, 1.1), "ResNet50V2": (128, 1.2)}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_applications(name, rng):
    side, predicted = MODELS[name]
    model = getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3), classes=11)
    net = from_keras(model)
    assert net.provenance["output"] == "softmax"
    x = np.asarray(net.preprocess(rng.integers(0, 256, (1, side, side, 3), np.uint8)))
    windows = Windows((side, side), (32, 32), (16, 16))
    assert plan_for(net.architecture, windows, Score()).speedup > predicted
    engines = [Execution("dense"), Execution("incremental")]
    found = [occlusion_maps(net, x, windows, target=3, execution=engine).scores for engine in engines]
    assert_allclose(found[1], found[0], atol=1e-4 * np.abs(net(x)).max())
    assert np.ptp(gradient_maps(net, x)) > 0
    assert grad_cam(net, x).shape == (1, side, side)


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
