"""The one type of every data set: photos decoded when asked for, boxes at hand, and what had to be put right.

Photos are uint8 `[h, w, 3]` RGB; boxes float64 `[k, 4]` as in `localization.boxes`, in pixels of the photo as it is
decoded. Labels are names; `classes` gives them their order.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, TypeVar

import numpy as np
from jaxtyping import Bool, Float

from saliency._checks import whole
from saliency._cores import cores
from saliency.errors import InputError
from saliency.models.classes import label_key
from saliency.report.record import content_hash

Outcome = Literal["repaired", "left out", "kept"]
Progress = Callable[[int, int], None]  # done, total
DECODERS = max(8, cores())  # threads; Pillow leaves Python's lock while it decodes
KEPT = 2**30  # bytes of photos that stay decoded once all have been looked at, so that none is decoded twice
T = TypeVar("T")


@dataclass(frozen=True)
class Note:
    """One thing found while a data set was read: where, what, and what became of it."""

    source: str
    problem: str
    outcome: Outcome

    def __str__(self) -> str:
        return f"{self.source}: {self.problem} ({self.outcome})"


@dataclass(frozen=True, eq=False)
class Annotation:
    """One photo's objects. `source` is its id in the data set, `size` its (height, width)."""

    source: str
    size: tuple[int, int]
    labels: tuple[str, ...]
    boxes: Float[np.ndarray, "k 4"]
    difficult: Bool[np.ndarray, " k"]
    truncated: Bool[np.ndarray, " k"]

    def __repr__(self) -> str:
        shown = ", ".join(self.labels[:5]) + (", ..." if len(self.labels) > 5 else "")
        return f"Annotation({self.source!r}, {self.size[1]}x{self.size[0]} px, {len(self.labels)} objects: {shown})"

    def only(self, keep: Bool[np.ndarray, " k"]) -> "Annotation":
        """The same photo with some of its objects."""
        labels = tuple(label for label, kept in zip(self.labels, keep) if kept)
        return replace(
            self,
            labels=labels,
            boxes=self.boxes[keep],
            difficult=self.difficult[keep],
            truncated=self.truncated[keep],
        )


@dataclass(frozen=True, eq=False)
class Example:
    """A decoded photo with its annotation."""

    image: np.ndarray
    annotation: Annotation

    def __repr__(self) -> str:
        return f"Example({self.image.dtype} {list(self.image.shape)}, {self.annotation!r})"


@dataclass(frozen=True)
class Photos(Sequence):
    """The photos alone, each decoded when asked for. `hashes` are the SHA-256 of each one's pixels (`content_hash`), by
    which a photo is known whatever its file is called; None before all have been decoded (`Dataset.decodable`)."""

    decoders: tuple[Callable[[], np.ndarray], ...]
    hashes: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.decoders)

    def __repr__(self) -> str:
        return f"Photos({len(self):,}, each decoded when asked for)"

    def __getitem__(self, index):
        if isinstance(index, slice):
            return self.select(range(len(self))[index])
        return self.decoders[index]()

    def select(self, indices: Sequence[int] | np.ndarray) -> "Photos":
        """Some of them, in this order."""
        hashes = None if self.hashes is None else tuple(self.hashes[i] for i in indices)
        return Photos(tuple(self.decoders[i] for i in indices), hashes)


@dataclass(frozen=True, eq=False)
class Dataset:
    """`data[i]` is an Example; `data.images` the photos, `data.annotations` all that is known without decoding.

    `notes` are what reading found, of all photos that were looked at: a selection keeps them. `annotations[i].source`
    is the photo's id, unique in the data set.
    """

    name: str
    split: str
    classes: tuple[str, ...]
    annotations: tuple[Annotation, ...]
    images: Photos
    notes: tuple[Note, ...] = field(default=(), repr=False)

    def __repr__(self) -> str:
        lost = len(self.left_out)
        return f"Dataset({self._counted()}{f'; {lost:,} left out' if lost else ''})"

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, index: int) -> Example:
        return Example(self.images[index], self.annotations[index])

    def __iter__(self) -> Iterator[Example]:
        return (self[i] for i in range(len(self)))

    @property
    def boxes(self) -> list[Float[np.ndarray, "k 4"]]:
        """Each photo's true boxes."""
        return [annotation.boxes for annotation in self.annotations]

    @property
    def labels(self) -> list[tuple[str, ...]]:
        """Each photo's labels, one for each of its boxes."""
        return [annotation.labels for annotation in self.annotations]

    @property
    def left_out(self) -> tuple[Note, ...]:
        """Why each photo that is not here was left out, and each entry that belongs to none that is; objects that
        photos here have lost are in `notes` alone."""
        there = {annotation.source for annotation in self.annotations}
        return tuple(note for note in self.notes if note.outcome == "left out" and note.source not in there)

    @property
    def hashes(self) -> tuple[str, ...] | None:
        """Those of the photos (`Photos.hashes`); None before all have been decoded."""
        return self.images.hashes

    @property
    def digest(self) -> str:
        """Of everything that a figure depends on: pixels, ids, labels, boxes and marks. Decodes the photos for it,
        where that has not been done."""
        known = self.decodable()
        marks = [(a.source, a.labels, a.difficult, a.truncated) for a in known.annotations]
        return content_hash(list(known.hashes or ()), marks, *known.boxes)

    def decodable(self, *, strict: bool = False, progress: Progress | None = None) -> "Dataset":
        """Without the photos that do not decode, each of which is noted; with the `hashes` of the others.

        All are decoded once for it, and the first of them stay decoded, as many as fit into KEPT bytes. `strict` stops
        at the first photo that does not decode, or that a reader left out. `progress` is called with (done, total).
        Raises InputError where none can be decoded.
        """
        if strict:
            refuse([f"{note.source}: {note.problem}" for note in self.left_out])
        if self.hashes is not None:
            return self
        decoders, hashes, problems, room = list(self.images.decoders), [], dict[int, str](), KEPT
        with ThreadPoolExecutor(DECODERS) as pool:
            for i, (photo, found) in enumerate(pool.map(_decoded, decoders)):
                hashes.append(found)
                if photo is None:
                    problems[i] = found
                    if strict:
                        pool.shutdown(cancel_futures=True)
                        refuse([found])
                elif photo.nbytes <= room:
                    room -= photo.nbytes
                    decoders[i] = partial(_kept, photo)
                if progress is not None:
                    progress(i + 1, len(decoders))
        notes = [
            Note(self.annotations[i].source, f"photo cannot be read: {p}", "left out") for i, p in problems.items()
        ]
        if notes and len(notes) == len(self):
            raise InputError(f"{self.name} {self.split}: none of its photos can be decoded; the first: {notes[0]}")
        known = replace(self, images=Photos(tuple(decoders), tuple(hashes)), notes=(*self.notes, *notes))
        return known.select([i for i in range(len(self)) if i not in problems]) if problems else known

    def without(self, scored: "Dataset") -> "Dataset":
        """Without the photos that are scored, pixel by pixel the same: nothing may be learned from those.

        Each is noted. Raises InputError where none is left.
        """
        known, taken = self.decodable(), set(scored.decodable().hashes or ())
        repeated = [i for i, digest in enumerate(known.hashes or ()) if digest in taken]
        if not repeated:
            return known
        if len(repeated) == len(known):
            raise InputError(
                f"{self.name} {self.split}: each of its {len(known):,} photos is among those that are scored;"
                " learn from other photos, or in folds"
            )
        said = "is scored, so nothing is learned from it"
        notes = [Note(known.annotations[i].source, said, "left out") for i in repeated]
        others = np.delete(np.arange(len(known)), repeated)
        return replace(known.select(others), notes=(*known.notes, *notes))

    def select(self, indices: Sequence[int] | np.ndarray) -> "Dataset":
        """Some of the photos, in this order."""
        return replace(
            self,
            annotations=tuple(self.annotations[i] for i in indices),
            images=self.images.select(indices),
        )

    def sample(self, limit: int | None, seed: int = 0) -> "Dataset":
        """`limit` photos drawn from `seed`, in the data set's order; all of them for None."""
        return self.select(sampled(range(len(self)), limit, seed))

    def of_classes(self, classes: Collection[str] | None) -> "Dataset":
        """The objects of these classes, whatever their case and spaces, and the photos that show one; everything for
        None."""
        if classes is None:
            return self
        keys, known = {label_key(name) for name in classes}, {label_key(name) for name in self.classes}
        if unknown := sorted(name for name in classes if label_key(name) not in known):
            raise InputError(f"{self.name}: no object is of class {', '.join(unknown)}; it has {_few(self.classes)}")
        kept = [a.only(np.array([label_key(label) in keys for label in a.labels], bool)) for a in self.annotations]
        chosen = replace(self, annotations=tuple(kept), classes=tuple(c for c in self.classes if label_key(c) in keys))
        return chosen.select([i for i, annotation in enumerate(kept) if annotation.labels])

    def split_by(self, shares: Sequence[float], seed: int = 0) -> tuple["Dataset", ...]:
        """Disjoint random parts by photo, of these shares; what rounding leaves over goes to the last."""
        order = np.random.default_rng(seed).permutation(len(self))
        ends = np.round(np.cumsum(shares)[:-1] / np.sum(shares) * len(self)).astype(int)
        return tuple(self.select(np.sort(part)) for part in np.split(order, ends))

    def summary(self) -> str:
        """A few lines: how many photos and objects, and what was repaired or left out, each kind with an example."""
        lines = [self._counted()]
        kinds = Counter((note.outcome, note.problem.partition(":")[0]) for note in self.notes)
        for (outcome, problem), count in sorted(kinds.items()):
            first = next(n for n in self.notes if (n.outcome, n.problem.partition(":")[0]) == (outcome, problem))
            lines.append(f"  {outcome:8} {count:6,}  {problem}, first in {first.source}")
        return "\n".join(lines if self.notes else [*lines, "  nothing to repair, nothing left out"])

    def _counted(self) -> str:
        objects = sum(len(a.labels) for a in self.annotations)
        difficult = sum(int(a.difficult.sum()) for a in self.annotations)
        bare = sum(not a.labels for a in self.annotations)
        return (
            f"{self.name} {self.split}: {len(self):,} photos, {objects:,} objects ({difficult:,} difficult),"
            f" {len(self.classes)} classes" + (f", {bare:,} photos without an object" if bare and objects else "")
        )


def sampled(sources: Sequence[T], limit: int | None, seed: int) -> list[T]:
    """`limit` of the sources drawn from `seed`, in their order; all for None. InputError for a limit below 1."""
    whole("limit", limit, least=1, optional=True)
    if limit is None or limit >= len(sources):
        return list(sources)
    return [sources[i] for i in np.sort(np.random.default_rng(seed).choice(len(sources), limit, replace=False))]


def refuse(problems: Sequence[str]) -> None:
    """InputError for the first of what `strict` does not let pass."""
    if problems:
        raise InputError(f"{problems[0]}; without `strict` such photos are listed and left out")


def _decoded(decode: Callable[[], np.ndarray]) -> tuple[np.ndarray | None, str]:
    """A photo with the hash of its pixels, or None with why it does not decode."""
    try:
        photo = decode()
    except InputError as error:
        return None, str(error)
    return photo, content_hash(photo)


def _kept(photo: np.ndarray) -> np.ndarray:
    return photo.copy()


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
