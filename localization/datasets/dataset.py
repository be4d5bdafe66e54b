"""The one type of every data set: photos decoded when asked for, boxes at hand, and what had to be put right.

Photos are uint8 `[h, w, 3]` RGB; boxes float64 `[k, 4]` as in `localization.boxes`, in pixels of the photo as it is
decoded. Labels are names; `classes` gives them their order.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

import numpy as np
from jaxtyping import Bool, Float

from localization.boxes import area, clip, from_inclusive, ordered
from saliency._checks import whole
from saliency.errors import InputError

Outcome = Literal["repaired", "left out", "kept"]
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


@dataclass(frozen=True)
class Photos(Sequence):
    """The photos alone, each decoded when asked for and not kept."""

    decoders: tuple[Callable[[], np.ndarray], ...]

    def __len__(self) -> int:
        return len(self.decoders)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return Photos(self.decoders[index])
        return self.decoders[index]()


@dataclass(frozen=True, eq=False)
class Dataset:
    """`data[i]` is an Example; `data.images` the photos, `data.annotations` all that is known without decoding."""

    name: str
    split: str
    classes: tuple[str, ...]
    annotations: tuple[Annotation, ...]
    images: Photos
    notes: tuple[Note, ...] = field(default=(), repr=False)

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

    def select(self, indices: Sequence[int] | np.ndarray) -> "Dataset":
        """Some of the photos, in this order."""
        return replace(
            self,
            annotations=tuple(self.annotations[i] for i in indices),
            images=Photos(tuple(self.images.decoders[i] for i in indices)),
        )

    def sample(self, limit: int | None, seed: int = 0) -> "Dataset":
        """`limit` photos drawn from `seed`, in the data set's order; all of them for None."""
        return self.select(drawn(range(len(self)), limit, seed))

    def of_classes(self, classes: Collection[str] | None) -> "Dataset":
        """The objects of these classes, and the photos that show one; everything for None."""
        if classes is None:
            return self
        unknown = sorted(set(classes) - set(self.classes))
        if unknown:
            raise InputError(f"{self.name}: no object is of class {', '.join(unknown)}; it has {_few(self.classes)}")
        kept = [a.only(np.array([label in classes for label in a.labels], bool)) for a in self.annotations]
        chosen = replace(self, annotations=tuple(kept), classes=tuple(c for c in self.classes if c in classes))
        return chosen.select([i for i, annotation in enumerate(kept) if annotation.labels])

    def split_by(self, shares: Sequence[float], seed: int = 0) -> tuple["Dataset", ...]:
        """Disjoint random parts by photo, of these shares; what rounding leaves over goes to the last."""
        order = np.random.default_rng(seed).permutation(len(self))
        ends = np.round(np.cumsum(shares)[:-1] / np.sum(shares) * len(self)).astype(int)
        return tuple(self.select(np.sort(part)) for part in np.split(order, ends))

    def summary(self) -> str:
        """A few lines: how many photos and objects, and what was repaired or left out, each kind with an example."""
        objects = sum(len(a.labels) for a in self.annotations)
        difficult = sum(int(a.difficult.sum()) for a in self.annotations)
        lines = [
            f"{self.name} {self.split}: {len(self):,} photos, {objects:,} objects ({difficult:,} difficult),"
            f" {len(self.classes)} classes"
        ]
        kinds = Counter((note.outcome, note.problem.partition(":")[0]) for note in self.notes)
        for (outcome, problem), count in sorted(kinds.items()):
            first = next(n for n in self.notes if (n.outcome, n.problem.partition(":")[0]) == (outcome, problem))
            lines.append(f"  {outcome:8} {count:6,}  {problem}, first in {first.source}")
        return "\n".join(lines if self.notes else [*lines, "  nothing to repair, nothing left out"])


@dataclass(frozen=True, eq=False)
class Object:
    """One object as a layout states it: `corners` in that layout's convention."""

    label: str
    corners: tuple[float, ...]
    difficult: bool = False
    truncated: bool = False


@dataclass
class Reader:
    """Gathers photos while a layout is read, checks each box once, and notes what it does.

    `first` is the number of the first pixel where corners belong to the box, None where they are edges already.
    """

    name: str
    split: str
    first: Literal[0, 1] | None = None
    annotations: list[Annotation] = field(default_factory=list)
    decoders: list[Callable[[], np.ndarray]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def note(self, source: str, problem: str, outcome: Outcome) -> None:
        """What follows a colon in `problem` is a detail; the rest names the kind."""
        self.notes.append(Note(_readable(source), problem, outcome))

    def add(
        self, source: str, size: tuple[int, int], objects: Sequence[Object], decode: Callable[[], np.ndarray]
    ) -> None:
        """A photo and its objects; boxes are put in order and cut at the border, empty ones left out."""
        kept = [(o, box) for o in objects if (box := self._repaired(source, o, size)) is not None]
        self.annotations.append(
            Annotation(
                _readable(source),
                size,
                tuple(o.label for o, _ in kept),
                np.array([box for _, box in kept]).reshape(-1, 4),
                np.array([o.difficult for o, _ in kept], bool),
                np.array([o.truncated for o, _ in kept], bool),
            )
        )
        self.decoders.append(decode)

    def dataset(self, classes: Sequence[str] | None = None) -> Dataset:
        """What was gathered; `classes` gives their order (default: alphabetical, those that occur)."""
        occurring = sorted({label for a in self.annotations for label in a.labels})
        return Dataset(
            self.name,
            self.split,
            tuple(classes or occurring),
            tuple(self.annotations),
            Photos(tuple(self.decoders)),
            tuple(self.notes),
        )

    def _repaired(self, source: str, item: Object, size: tuple[int, int]) -> np.ndarray | None:
        corners = np.array(item.corners, float)
        if not np.isfinite(corners).all():
            self.note(source, f"box with a number that is none: {item.label}", "left out")
            return None
        box = ordered(corners)
        if (box != corners).any():
            self.note(source, f"corners in the wrong order: {item.label}", "repaired")
        if self.first is not None:
            box = from_inclusive(box, self.first)
        inside = clip(box, size)
        if area(inside) == 0:
            self.note(source, f"box without area in the photo: {item.label}", "left out")
            return None
        if (inside != box).any():
            self.note(source, f"box beyond the border: {item.label}", "repaired")
        return inside


def drawn(sources: Sequence[T], limit: int | None, seed: int) -> list[T]:
    """`limit` of the sources drawn from `seed`, in their order; all for None. InputError for a limit below 1."""
    whole("limit", limit, least=1, optional=True)
    if limit is None or limit >= len(sources):
        return list(sources)
    return [sources[i] for i in np.sort(np.random.default_rng(seed).choice(len(sources), limit, replace=False))]


def inside(folder: Path, name: str, of: Path | str = "") -> Path:
    """`folder / name`, or InputError for a name that would lead out of the folder: names come from files, `of` is
    the one that holds this name. The folder itself may be a link; a link within it must not lead out of it.
    """
    named = f"{of}: {name[:80]!r}" if of else repr(name[:80])
    path = PurePosixPath(name.replace("\\", "/"))
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in name) or max(map(len, name.encode().split(b"/"))) > 255:
        raise InputError(f"{named} is no name of a file in {folder}")
    leads_out = not name or path.is_absolute() or ".." in path.parts or ":" in name
    if leads_out or not Path(os.path.realpath(folder / path)).is_relative_to(os.path.realpath(folder)):
        raise InputError(f"{named} leads out of {folder}: names in annotations must stay inside their folder")
    return folder / path


def _readable(source: str) -> str:
    """An id that can be written as UTF-8: the names of files may hold any bytes."""
    return source.encode(errors="backslashreplace").decode()


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
