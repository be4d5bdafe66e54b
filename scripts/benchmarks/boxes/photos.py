"""Photos with the boxes that are learned and scored, in shares of the photo, and the folds that all routes share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from localization.boxes import area
from localization.datasets import load, scenes
from scripts.benchmarks.boxes.classes import ASKED

ANIMALS = ("cat", "cow", "dog", "horse", "sheep")


@dataclass(frozen=True)
class Photos:
    """`images[i]` are pixels; a sample is a photo (`of[j]`), the class that is asked for (`label[j]`), the box that is
    learned (`target[j]`) and the boxes of which one has to be hit (`true[j]`; `any[j]`, if it is scored both ways).
    `folds[j]` is its fold, which all samples of a photo share; those of the folds `scored` are scored, all others are
    learned from only. `objects[j]` counts the photo's objects. `classes`: whether figures of each class are wanted."""

    name: str
    ids: Sequence[str]
    images: Sequence[np.ndarray] | np.ndarray
    of: np.ndarray
    label: np.ndarray
    target: np.ndarray
    true: list[np.ndarray]
    folds: np.ndarray
    scored: tuple[int, ...]
    objects: np.ndarray
    classes: bool = False
    any: list[np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.target)

    @property
    def asked(self) -> np.ndarray:
        """The labels as numbers of ASKED, -1 for others."""
        return np.array([ASKED.index(label) if label in ASKED else -1 for label in self.label])


def scenes_photos(n_train: int = 1000, n_test: int = 2000) -> Photos:
    """The embedded set: what is tested is fold 0, what is learned from folds 1 to 5. As scenes are drawn, as many are
    tested as it takes to tell differences of 2 points."""
    train, test = scenes("train", n_train), scenes("test", n_test)
    boxes = np.concatenate([train.boxes, test.boxes]) / train.images.shape[1]
    folds = np.concatenate([1 + np.arange(n_train) % 5, np.zeros(n_test, int)])
    ids = [f"{split}/{i}" for split, n in (("train", n_train), ("test", n_test)) for i in range(n)]
    images = np.concatenate([train.images, test.images])
    labels = np.concatenate([train.labels, test.labels]).astype(str)
    one = np.ones(len(boxes), int)
    return Photos("scenes", ids, images, np.arange(len(boxes)), labels, boxes, list(boxes[:, None]), folds, (0,), one)


def tiny_photos(root: Path, n_train: int = 3000, n_test: int = 1000) -> Photos:
    """Tiny ImageNet, one object a photo: some photos of train taught, some of val are scored."""
    parts = [load("tiny_imagenet", root, split=name, limit=n) for name, n in (("train", n_train), ("val", n_test))]
    annotations = [annotation for data in parts for annotation in data.annotations]
    images = [image for data in parts for image in data.images]
    boxes = np.array([a.boxes[0] / np.tile(a.size[::-1], 2) for a in annotations])
    folds = np.repeat([1, 0], [len(data) for data in parts])
    labels = np.array([a.labels[0] for a in annotations])
    n = len(boxes)
    return Photos(
        "tiny", [a.source for a in annotations], images, np.arange(n), labels, boxes, list(boxes[:, None]), folds, (0,),
        np.ones(n, int),
    )  # fmt: skip


def voc_photos(
    name: str, root: Path, *, lists: bool = False, each: str = "class", limits: tuple[int, int] | None = None
) -> Photos:
    """VOC's layout, in ten folds, or with `lists` the photos of val scored by what those of train taught.

    Of `each` "class": a sample for each photo and class that is one of ANIMALS, and for the largest object's class if
    it is not; of raccoons and the like all classes. The box that is learned is the class's largest, any of the class's
    is a hit. Of "object": a sample for each object of ANIMALS, as in the paper, scored by itself and by any of its
    class. With `limits` so many photos of train and of val, drawn at random.
    """
    data = load("voc", root, split="all")
    val = {a.source for a in load("voc", root, split="val").annotations}
    if limits is not None:
        in_val = np.array([a.source in val for a in data.annotations])
        rng = np.random.default_rng(0)
        parts = [np.flatnonzero(own) for own in (~in_val, in_val)]
        data = data.select(np.concatenate([np.sort(rng.permutation(p)[:n]) for p, n in zip(parts, limits)]))
    animals = set(data.classes) & set(ANIMALS)
    of, labels, target, true, every = [], [], [], [], []
    for i, annotation in enumerate(data.annotations):
        shares = annotation.boxes / np.tile(annotation.size[::-1], 2)
        names = np.array(annotation.labels)
        largest = names[area(shares).argmax()]
        for label in dict.fromkeys([largest, *names]):
            own = shares[names == label]
            if each == "object":
                chosen = [(box, box[None]) for box in own] if label in animals else []
            else:
                wanted = not animals or label in animals or label == largest
                chosen = [(own[area(own).argmax()], own)] if wanted else []
            for box, hit in chosen:
                of.append(i)
                labels.append(str(label))
                target.append(box)
                true.append(hit)
                every.append(own)
    ids = [a.source for a in data.annotations]
    folds = np.random.default_rng(0).permutation(len(data)) % 10
    if lists:
        folds = np.array([0 if one in val else 1 for one in ids])
    rows = np.array(of)
    return Photos(
        name, ids, data.images, rows, np.array(labels), np.array(target), true, folds[rows],
        (0,) if lists else tuple(range(10)), np.array([len(a.labels) for a in data.annotations])[rows],
        bool(animals), every if each == "object" else None,
    )  # fmt: skip
