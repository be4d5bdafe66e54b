"""Which images a comparison is about, how they enter the network, and the boxes that are true of them."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from localization import protocols
from localization.boxes import area, to_input, visible
from localization.datasets.dataset import Dataset, sampled
from saliency.errors import InputError
from saliency.models.classes import ClassList, match_labels
from saliency.models.network import Network
from saliency.models.preprocessing import Preprocessing
from saliency.report import content_hash


@dataclass(frozen=True, eq=False)
class Samples:
    """`photo(i)` decodes uint8 `[h, w, 3]`; `true[i]` float `[k, 4]` in its pixels, empty where nothing is known.
    `labels[i]` is the data set's name of what it shows, `targets[i]` the network's class of that name, -1 where it has
    none.

    `images[i]` numbers the photo a sample is of, by its pixels: the objects or classes of one photo, and its copies,
    stay together in folds and in intervals. `test` are the indices scored; `parts` says what is learned on and what is
    predicted with that: two sets, or each fold's rest and the fold. `notes` are sentences on what was left out.
    """

    name: str
    ids: Sequence[str]
    photo: Callable[[int], np.ndarray]
    sizes: Sequence[tuple[int, int]]
    labels: Sequence[str]
    targets: Int[np.ndarray, " n"]
    true: Sequence[np.ndarray]
    images: Int[np.ndarray, " n"]
    test: Int[np.ndarray, " m"]
    parts: Sequence[tuple[np.ndarray, np.ndarray]]
    digest: str
    net: Network
    folds: int = 0
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def input(self, indices: Sequence[int] | np.ndarray) -> Float[np.ndarray, "n H W 3"]:
        """Float32 in the network's space."""
        return self.net.preprocess([self.photo(int(i)) for i in indices])

    @property
    def learned(self) -> int:
        """How many samples boxes are learned from; of folds, the most."""
        return max((len(train) for train, _ in self.parts), default=0)

    @cached_property
    def largest(self) -> Float[np.ndarray, "n 4"]:
        """The one box that a regression learns of each sample, in its photo's pixels."""
        return self.of(np.arange(len(self))).largest

    def of(self, indices: np.ndarray) -> protocols.Samples:
        """Some of them as a protocol takes them."""
        chosen = indices.tolist()
        return protocols.Samples(
            self.images[indices], tuple(self.labels[i] for i in chosen), tuple(self.true[i] for i in chosen)
        )

    def shape(self, indices: np.ndarray) -> Float[np.ndarray, "n 2"]:
        """(height, width) of the photos of some of them."""
        return np.array([self.sizes[i] for i in indices.tolist()], float).reshape(-1, 2)

    def target_boxes(self, entry: Preprocessing) -> Float[np.ndarray, "n 4"]:
        """The box a regression learns of each sample, where it lies in the input of `entry`."""
        return np.array([to_input(box, entry.placement(size)) for box, size in zip(self.largest, self.sizes)])

    def shared_id(self) -> str | None:
        """An id that two photos have, of the two data sets learned from and scored; None where there is none."""
        of: dict[str, int] = {}
        pairs = zip(self.ids, self.images.tolist())
        return next((name for name, image in pairs if of.setdefault(name, image) != image), None)

    def cut_away(self) -> dict[str, int]:
        """How many scored samples' largest box the network's entry hides wholly, and how many partly."""
        shown = np.array([visible(self.largest[i], self.net.preprocess.placement(self.sizes[i])) for i in self.test])
        return {"wholly": int((shown <= 0).sum()), "partly": int(((shown > 0) & (shown < 0.999)).sum())}


def gathered(
    net: Network,
    data: Dataset,
    train: Dataset | None = None,
    *,
    each: Literal["class", "object"] = "class",
    classes: ClassList | Sequence[str] = (),
    folds: int | None = None,
    scored: int | None = None,
    strict: bool = False,
    seed: int = 0,
) -> Samples:
    """One sample for each class that a photo shows (any of its instances may be hit; the largest is learned), or one
    for each object; of photos none of which has a box, one for each photo. Difficult objects are left out.

    Boxes are learned from `train`, less the photos in it that are scored too; without it, from what is not in the fold
    of `data` that is scored, `folds` of them (default: 10, or as many as there are photos). `scored` photos are drawn
    from `data` (default: all). Labels meet the network's classes by `classes` (default: its own names). A photo that
    cannot be decoded is left out and noted; with `strict` it is an InputError. Raises InputError where there is nothing
    to learn from or to score.
    """
    boxed = any(len(annotation.labels) for annotation in data.annotations)
    if not boxed and (train is not None or folds is not None):
        raise InputError(f"data: no photo has a box that counts in {data.name} {data.split}; leave train and folds out")
    if not boxed or train is not None:  # what is not scored is not decoded either
        data = data.sample(scored, seed)
    parts = [part.decodable(strict=strict) for part in ((data,) if train is None else (train, data))]
    if train is not None:
        parts[0] = parts[0].without(parts[1])
    notes = [note for part in parts for note in _said(part)]
    left_out = [str(note) for part in parts for note in part.notes]
    if not boxed:
        return _photos(net, parts[0], tuple(notes), tuple(left_out))
    offset = len(parts[0]) if train is not None else 0
    chosen = [protocols.samples(part, each) for part in parts]
    for part, own in zip(parts, chosen):
        notes += _uncounted(part, own)
    decoders = [decode for part in parts for decode in part.images.decoders]
    annotations = [annotation for part in parts for annotation in part.annotations]
    at = np.concatenate([own.images + k * offset for k, own in enumerate(chosen)])
    labels = [label for own in chosen for label in own.labels]
    every = [digest for part in parts for digest in part.hashes or ()]
    number = {digest: k for k, digest in enumerate(dict.fromkeys(every))}
    images = np.array([number[every[i]] for i in at])
    first = len(chosen[0]) if train is not None else 0
    everything = np.arange(len(at))
    if train is None:
        photos = sampled(sorted(set(at.tolist())), scored, seed)
        test = np.flatnonzero(np.isin(at, photos))
        cut, count = _folds(images, test, folds, seed)
    else:
        test, cut, count = everything[first:], [(everything[:first], everything[first:])], 0
    match = match_labels(labels, classes or net.classes)
    if said := match.describe():
        notes.append(said)
    true = [boxes[np.argsort(-area(boxes), kind="stable")] for own in chosen for boxes in own.true]
    return Samples(
        name=data.name,
        ids=[annotations[i].source for i in at],
        photo=lambda i: decoders[at[i]](),
        sizes=[annotations[i].size for i in at],
        labels=labels,
        targets=match.indices,
        true=true,
        images=images,
        test=test,
        parts=cut,
        digest=content_hash([every[i] for i in at], *true, labels, test, *(train for train, _ in cut)),
        net=net,
        folds=count,
        notes=tuple(notes),
        left_out=tuple(left_out),
    )


def _photos(net: Network, data: Dataset, notes: tuple[str, ...], left_out: tuple[str, ...]) -> Samples:
    """Photos of which nothing is known."""
    n = len(data)
    return Samples(
        name=data.name,
        ids=[annotation.source for annotation in data.annotations],
        photo=data.images.__getitem__,
        sizes=[annotation.size for annotation in data.annotations],
        labels=[""] * n,
        targets=np.full(n, -1),
        true=(),
        images=np.arange(n),
        test=np.arange(n),
        parts=(),
        digest=data.digest,
        net=net,
        notes=notes,
        left_out=left_out,
    )


def _said(data: Dataset) -> Iterator[str]:
    """What was put right or left out, each kind with its count and an example."""
    if data.notes:
        for line in data.summary().splitlines()[1:]:
            said = re.sub(r"^\s*(repaired|left out|kept)\s+([\d,]+)\s+", r"\2 \1: ", line)
            yield f"{data.name} {data.split}: {' '.join(said.split())}"


def _uncounted(data: Dataset, chosen: protocols.Samples) -> Iterator[str]:
    difficult = sum(int(annotation.difficult.sum()) for annotation in data.annotations)
    if difficult:
        yield f"{data.name} {data.split}: {difficult:,} objects marked difficult do not count"
    without = len(data) - len(np.unique(chosen.images))
    if without:
        yield f"{data.name} {data.split}: {without:,} of {len(data):,} photos have no box that counts and are left out"


def _folds(
    images: np.ndarray, test: np.ndarray, folds: int | None, seed: int
) -> tuple[list[tuple[np.ndarray, np.ndarray]], int]:
    """Each fold of the scored samples with everything outside of it, by photo; how many there are."""
    scored = np.unique(images[test])
    if folds is not None and folds > len(scored):
        raise InputError(f"folds must be at most the number of scored photos, {len(scored)}, not {folds}")
    if len(np.unique(images)) < 2:
        raise InputError("data: one photo alone leaves nothing to learn boxes from; give train, or more photos")
    count = min(10, len(scored)) if folds is None else folds
    fold_of = dict(zip(scored.tolist(), np.random.default_rng(seed).permutation(np.arange(len(scored)) % count)))
    fold = np.array([fold_of.get(image, -1) for image in images.tolist()])
    at = np.isin(np.arange(len(images)), test)
    return [(np.flatnonzero(fold != k), np.flatnonzero((fold == k) & at)) for k in range(count)], count
