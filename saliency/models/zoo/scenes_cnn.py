"""The embedded classifier: a VGG-style stack for 96x96 scenes with one digit each (`localization.datasets.scenes`)."""

from saliency.models.graph import Architecture, Builder
from saliency.models.operators import Conv, Dense, GlobalMaxPool, MaxPool

BLOCKS = ((16,), (24, 24), (48, 48), (96, 96))  # features of the convolutions between the pools
CLASSES = 10


def scenes_cnn(
    blocks: tuple[tuple[int, ...], ...] = BLOCKS, classes: int = CLASSES, size: tuple[int, int] = (96, 96)
) -> Architecture:
    """3x3 convolutions with ReLU, 2x2 max-pools between the blocks, global max-pool, one dense layer.

    The global maximum leaves a class logit with few winning positions, which is what makes its gradient local.
    """
    build = Builder()
    for i, block in enumerate(blocks, 1):
        for j, features in enumerate(block, 1):
            build.conv_relu(f"conv{i}_{j}", f"relu{i}_{j}", Conv(features, (3, 3), padding=((1, 1), (1, 1))))
        if i < len(blocks):
            build.add(f"pool{i}", MaxPool((2, 2), (2, 2)))
    gestalt = build.nodes[-1].name
    build.add("pool", GlobalMaxPool())
    build.add("logits", Dense(classes))
    return Architecture("scenes_cnn", tuple(build.nodes), gestalt, size)
