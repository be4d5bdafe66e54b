"""The small classifier of moving digits, and how their frames enter it."""

from saliency.models.graph import Architecture, Builder
from saliency.models.network import Network
from saliency.models.operators import Conv, Dense, GlobalMaxPool, MaxPool
from saliency.models.preprocessing import Preprocessing
from saliency.robustness.training import untrained

CANVAS = (64, 64)
PREPROCESSING = Preprocessing(CANVAS, mode="stretch", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def digits_cnn() -> Architecture:
    """A small stack for 64x64 frames, whose first convolution halves them: most of the cost is where they are large."""
    build = Builder()
    build.conv_relu("conv1", "relu1", Conv(16, (4, 4), (2, 2), ((1, 1), (1, 1))))
    for i, features in enumerate((32, 64), 2):
        build.add(f"pool{i - 1}", MaxPool((2, 2), (2, 2)))
        build.conv_relu(f"conv{i}", f"relu{i}", Conv(features, (3, 3), padding=((1, 1), (1, 1))))
    build.add("pool", GlobalMaxPool())
    build.add("logits", Dense(10))
    return Architecture("digits_cnn", tuple(build.nodes), "relu3", CANVAS)


def untrained_digits(seed: int = 0) -> Network:
    """`digits_cnn` with random weights of a seed, for frames uint8 `[n, 64, 64, 3]`; its classes are "0" to "9"."""
    return untrained(digits_cnn(), PREPROCESSING, seed, classes=[str(digit) for digit in range(10)])
