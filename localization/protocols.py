"""Named protocols: what one prediction is for, which true boxes count, and over what the mean is taken.

A sample is an image and one of its classes, any instance of which may be hit, or one object with its own box.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from localization.boxes import area
from localization.datasets.dataset import Dataset
from saliency.errors import InputError

_PAPER = "Fast Object Localization via Sensitivity Analysis"


@dataclass(frozen=True)
class Protocol:
    """`method` is the map that the paper took, and `route` how it became a box; `shares` splits one set into training,
    test and validation photos."""

    name: str
    summary: str
    each: Literal["class", "object"] = "class"
    mean_over: Literal["classes", "samples"] = "samples"
    strict: bool = True
    method: str = "gradient-max"
    route: Literal["linear map", "Eq. 4"] = "linear map"
    target: Literal["predicted", "label"] = "predicted"
    shares: tuple[float, ...] = ()


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "corloc",
            "one box an image and class, any instance counts, mean over classes (Deselaers et al. 2012)",
            mean_over="classes",
        ),
        Protocol(
            "paper-voc07",
            f"one box an object and its own true box, Gestalt map, maximum over channels, mean over classes ({_PAPER})",
            each="object",
            mean_over="classes",
            method="gestalt-max",
            route="Eq. 4",
        ),
        Protocol(
            "paper-imagenet",
            f"one box an image, class-logit map, mean over channels, photos split 75/15/10 ({_PAPER})",
            method="gradient-mean",
            route="Eq. 4",
            shares=(75, 15, 10),
        ),
        Protocol(
            "gt-known",
            "one box an image from the map of its true class, IoU at least 0.5",
            strict=False,
            target="label",
        ),
        Protocol(
            "top1-loc",
            "one box an image from the map of its predicted class, which has to be right as well",
            strict=False,
        ),
        Protocol(
            "maxboxacc", "largest component of the thresholded map, best threshold (Choe et al. 2020)", strict=False
        ),
        Protocol("maxboxacc-v2", "any component, mean over IoU 0.3, 0.5, 0.7, best thresholds", strict=False),
        Protocol("wsol", "maxboxacc with wsolevaluation's own rounding", strict=False),
    )
}
MAP_PROTOCOLS = ("maxboxacc", "maxboxacc-v2", "wsol")


@dataclass(frozen=True)
class Samples:
    """`images` indexes the data set's photos; `true[i]` are the boxes `[k, 4]` of which one has to be hit."""

    images: Int[np.ndarray, " n"]
    labels: tuple[str, ...]
    true: tuple[Float[np.ndarray, "k 4"], ...]

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, indices: Int[np.ndarray, " k"]) -> "Samples":
        """Some of the samples, in this order."""
        return Samples(
            self.images[indices], tuple(self.labels[i] for i in indices), tuple(self.true[i] for i in indices)
        )

    @property
    def largest(self) -> Float[np.ndarray, "n 4"]:
        """The one box a regression learns from each sample."""
        return np.array([boxes[area(boxes).argmax()] for boxes in self.true]).reshape(-1, 4)


def samples(
    data: Dataset, each: Literal["class", "object"] = "class", *, difficult: bool = False, truncated: bool = True
) -> Samples:
    """The samples of a data set; `difficult` and `truncated` say whether such objects count as targets.

    An image of which no object counts gives no sample; InputError where none is left.
    """
    images: list[int] = []
    labels: list[str] = []
    true: list[np.ndarray] = []
    for i, annotation in enumerate(data.annotations):
        chosen = annotation.only((difficult | ~annotation.difficult) & (truncated | ~annotation.truncated))
        groups: Sequence[np.ndarray]
        if each == "object":
            groups = [np.array([k]) for k in range(len(chosen.labels))]
        else:
            names = np.array(chosen.labels)
            groups = [np.flatnonzero(names == label) for label in dict.fromkeys(chosen.labels)]
        for group in groups:
            images.append(i)
            labels.append(chosen.labels[group[0]])
            true.append(chosen.boxes[group])
    if not images:
        raise InputError(f"{data.name} {data.split}: no photo has a box that counts; choose other data or classes")
    return Samples(np.array(images), tuple(labels), tuple(true))


def baselines(train: Samples, sizes: Float[np.ndarray, "n 2"], test: Samples, test_sizes: Float[np.ndarray, "m 2"]):
    """Boxes that look at no photo: name -> float `[m, 4]`. Learned in shares of the photo's width and height; a class
    without a training box takes the mean of all.

    `sizes` are (height, width) of each sample's photo.
    """
    known = train.largest / sizes[:, [1, 0, 1, 0]]
    labels = np.array(train.labels)
    half = (known[:, 2:] - known[:, :2]).mean(0) / 2
    of_class = {label: known[labels == label].mean(0) for label in set(train.labels)}
    shares = {
        "mean box": np.tile(known.mean(0), (len(test), 1)),
        "median box": np.tile(np.median(known, axis=0), (len(test), 1)),
        "class mean box": np.array([of_class.get(label, known.mean(0)) for label in test.labels]),
        "centre box": np.tile(np.concatenate([0.5 - half, 0.5 + half]), (len(test), 1)),
        "full photo": np.tile([0.0, 0, 1, 1], (len(test), 1)),
    }
    return {name: share * test_sizes[:, [1, 0, 1, 0]] for name, share in shares.items()}
