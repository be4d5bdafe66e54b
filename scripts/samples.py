"""Which images a comparison is about, how they enter the network, and the boxes that are true of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from localization.boxes import to_input
from localization.datasets.scenes import scenes
from localization.report import content_hash
from saliency.networks.network import Network
from saliency.preprocessing import Placement


@dataclass(frozen=True)
class Samples:
    """`photo(i)` decodes uint8 `[h, w, 3]`; `true[i]` float `[k, 4]` in its pixels, of which the first is what a box
    regression learns; empty where nothing is known. `labels[i]` is -1 where the class is unknown or not the network's.

    `train` and `test` are indices. With `folds`, both are all samples and every prediction is of a map that its
    regression has not seen.
    """

    name: str
    ids: Sequence[str]
    photo: Callable[[int], np.ndarray]
    sizes: Sequence[tuple[int, int]]
    labels: np.ndarray
    label_names: Sequence[str]
    true: Sequence[np.ndarray]
    train: np.ndarray
    test: np.ndarray
    digest: str
    net: Network
    folds: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def input(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Float32 `[n, H, W, 3]` in the network's space."""
        return self.net.preprocess([self.photo(int(i)) for i in indices])

    def placement(self, i: int) -> Placement:
        return self.net.preprocess.placement(self.sizes[i])

    @cached_property
    def learned(self) -> np.ndarray:
        """The box a regression learns of each sample, where it lies in the input: float `[n, 4]`."""
        return np.array([to_input(boxes[:1], self.placement(i))[0] for i, boxes in enumerate(self.true)])


def scenes_samples(net: Network, n_train: int, n_test: int, seed: int) -> Samples:
    """The embedded data set: the first `n_train` training and `n_test` test scenes of a seed."""
    train, test = scenes("train", n_train, seed), scenes("test", n_test, seed)
    images = np.concatenate([train.images, test.images])
    boxes = np.concatenate([train.boxes, test.boxes])
    labels = np.concatenate([train.labels, test.labels])
    n = len(images)
    return Samples(
        name="scenes",
        ids=[f"train/{i}" for i in range(n_train)] + [f"test/{i}" for i in range(n_test)],
        photo=images.__getitem__,
        sizes=[images.shape[1:3]] * n,
        labels=labels,
        label_names=[str(digit) for digit in range(10)],
        true=list(boxes[:, None]),
        train=np.arange(n_train),
        test=np.arange(n_train, n),
        digest=content_hash(images, boxes, labels),
        net=net,
    )
