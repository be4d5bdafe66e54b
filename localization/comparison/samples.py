"""Which images a comparison is about, how they enter the network, and the boxes that are true of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from localization.boxes import area, to_input
from localization.datasets import Annotation, Dataset, load, scenes
from saliency.errors import InputError
from saliency.models.network import Network
from saliency.models.preprocessing import Placement
from saliency.report import content_hash


@dataclass(frozen=True)
class Samples:
    """`photo(i)` decodes uint8 `[h, w, 3]`; `true[i]` float `[k, 4]` in its pixels, of which the first is what a box
    regression learns; empty where nothing is known. `labels[i]` is the data set's name of what it shows, `targets[i]`
    the network's class of that name, -1 where it has none.

    `images[i]` numbers the photo a sample is of: the objects or classes of one photo stay together in folds and in
    intervals. `train` and `test` are indices; with `folds`, both are all samples, and each is predicted by what the
    other folds taught.
    """

    name: str
    ids: Sequence[str]
    photo: Callable[[int], np.ndarray]
    sizes: Sequence[tuple[int, int]]
    labels: Sequence[str]
    targets: np.ndarray
    true: Sequence[np.ndarray]
    train: np.ndarray
    test: np.ndarray
    digest: str
    net: Network
    images: np.ndarray
    folds: int = 0
    seed: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def input(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Float32 `[n, H, W, 3]` in the network's space."""
        return self.net.preprocess([self.photo(int(i)) for i in indices])

    def placement(self, i: int) -> Placement:
        return self.net.preprocess.placement(self.sizes[i])

    @cached_property
    def parts(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """What is learned on, and what is predicted with that: the two sets, or each fold's rest and the fold."""
        if not self.folds:
            return [(self.train, self.test)]
        rng = np.random.default_rng(self.seed)
        images = np.unique(self.images)
        fold_of = dict(zip(images.tolist(), rng.permutation(np.arange(len(images)) % self.folds)))
        folds = np.array([fold_of[image] for image in self.images])
        return [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in range(self.folds)]

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
        labels=[str(digit) for digit in labels],
        targets=labels,
        true=list(boxes[:, None]),
        train=np.arange(n_train),
        test=np.arange(n_train, n),
        digest=content_hash(images, boxes, labels),
        net=net,
        images=np.arange(n),
    )


def dataset_samples(
    net: Network,
    test: Dataset,
    train: Dataset | None = None,
    *,
    each: Literal["class", "object"] = "class",
    class_of: Mapping[str, int] | None = None,
    folds: int = 0,
    seed: int = 0,
) -> Samples:
    """Photos with boxes: one sample for each class that a photo shows (any of its instances may be hit; the largest is
    learned), or one for each object. Difficult objects are left out. Without `train`, `folds` of `test`. `class_of`
    gives the network's class of a label. Raises InputError where there is no sample to learn from or to score.
    """
    if train is None and folds > len(test):
        raise InputError(f"--folds {folds} needs at least as many photos; {test.name} {test.split} has {len(test)}")
    parts = [test] if train is None else [train, test]
    ids, photos, sizes, labels, true, images = [], [], [], [], [], []
    for number, (part, i) in enumerate((data, i) for data in parts for i in range(len(data))):
        annotation = part.annotations[i]
        for label, boxes in _targets(annotation, each):
            ids.append(annotation.source)
            photos.append(part.images.decoders[i])
            sizes.append(annotation.size)
            labels.append(label)
            true.append(boxes)
            images.append(number)
    learned_on = np.array(images, int) < (len(test) if train is None else len(train))
    if not learned_on.any() or (train is not None and learned_on.all()):
        raise InputError(f"{test.name}: no photo has a box that counts among those to learn from, or to score")
    everything = np.arange(len(ids))
    return Samples(
        name=test.name,
        ids=ids,
        photo=lambda i: photos[i](),
        sizes=sizes,
        labels=labels,
        targets=np.array([(class_of or {}).get(label, -1) for label in labels]),
        true=true,
        train=everything[learned_on],
        test=everything if train is None else everything[~learned_on],
        digest=content_hash(*(photo() for photo in dict.fromkeys(photos)), *true, labels),
        net=net,
        images=np.array(images),
        folds=folds if train is None else 0,
        seed=seed,
    )


def _targets(annotation: Annotation, each: str) -> Iterator[tuple[str, np.ndarray]]:
    """Label and boxes `[k, 4]` of each sample that a photo gives, the largest box first."""
    chosen = annotation.only(~annotation.difficult)
    order = np.argsort(-area(chosen.boxes), kind="stable")
    if each == "object":
        yield from ((chosen.labels[i], chosen.boxes[i : i + 1]) for i in range(len(chosen.labels)))
    else:
        for label in dict.fromkeys(chosen.labels):
            yield label, chosen.boxes[[i for i in order if chosen.labels[i] == label]]


def folder_samples(net: Network, folder: Path, limit: int | None, seed: int) -> Samples:
    """The photos of a plain folder, of which nothing is known."""
    data = load("folder", folder, limit=limit, seed=seed)
    n = len(data)
    return Samples(
        name=folder.name,
        ids=[annotation.source for annotation in data.annotations],
        photo=data.images.__getitem__,
        sizes=[annotation.size for annotation in data.annotations],
        labels=[""] * n,
        targets=np.full(n, -1),
        true=(),
        train=np.arange(0),
        test=np.arange(n),
        digest=content_hash(*data.images),
        net=net,
        images=np.arange(n),
    )
