"""Photos by what they show: which of a data set can be decoded, and which are in another set too.

A photo is known by a hash of its decoded pixels, whatever its file is called. All are decoded once, none is kept.
"""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from localization.datasets.dataset import Dataset, Note
from saliency._batches import cores
from saliency.errors import InputError
from saliency.report.record import content_hash

DECODERS = max(8, cores())  # threads; Pillow leaves Python's lock while it decodes
Progress = Callable[[int, int], None]  # done, total


@dataclass(frozen=True, eq=False)
class Contents:
    """A data set whose photos can all be decoded, and the SHA-256 of each one's pixels (`report.content_hash`)."""

    data: Dataset
    hashes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def digest(self) -> str:
        """Of everything that a figure depends on: pixels, ids, labels, boxes and marks."""
        return content_hash(
            list(self.hashes),
            [(a.source, a.labels, a.difficult, a.truncated) for a in self.data.annotations],
            *self.data.boxes,
        )

    def select(self, indices: Collection[int]) -> "Contents":
        """Some of the photos, in this order."""
        indices = list(indices)
        return Contents(self.data.select(indices), tuple(self.hashes[i] for i in indices))


def left_out(data: Dataset) -> list[Note]:
    """The notes of photos that a reader or `read_contents` left out whole."""
    usable = {annotation.source for annotation in data.annotations}
    return [note for note in data.notes if note.outcome == "left out" and note.source not in usable]


def read_contents(data: Dataset, *, strict: bool = False, progress: Progress | None = None) -> Contents:
    """Decode every photo: those that cannot be are left out with a note, or with `strict` stop the run.

    Raises InputError where none can be decoded.
    """
    if strict:
        _refuse([f"{note.source}: {note.problem}" for note in left_out(data)])
    problems: dict[int, str] = {}

    def hashed(i: int) -> str:
        try:
            return content_hash(data.images[i])
        except InputError as error:
            problems[i] = str(error)
            return ""

    hashes = []
    with ThreadPoolExecutor(DECODERS) as pool:
        for done, digest in enumerate(pool.map(hashed, range(len(data))), 1):
            hashes.append(digest)
            if strict and not digest:
                pool.shutdown(cancel_futures=True)
                _refuse([problems[done - 1]])
            if progress is not None:
                progress(done, len(data))
    if not problems:
        return Contents(data, tuple(hashes))
    notes = [_note(data, i, f"photo cannot be read: {problems[i]}") for i in sorted(problems)]
    good = [i for i in range(len(data)) if i not in problems]
    if not good:
        raise InputError(f"{data.name} {data.split}: none of its photos can be decoded; the first: {notes[0]}")
    kept = data.select(good)
    return Contents(replace(kept, notes=(*kept.notes, *notes)), tuple(hashes[i] for i in good))


def without(train: Contents, scored: Contents) -> Contents:
    """`train` without the photos that are scored, pixel by pixel the same: nothing may be learned from those.

    Each is noted. Raises InputError where none is left.
    """
    known = set(scored.hashes)
    good = [i for i, digest in enumerate(train.hashes) if digest not in known]
    if len(good) == len(train):
        return train
    if not good:
        raise InputError(
            f"{train.data.name} {train.data.split}: each of its {len(train):,} photos is among those that are scored;"
            " learn from other photos, or in folds"
        )
    repeated = [i for i, digest in enumerate(train.hashes) if digest in known]
    notes = [_note(train.data, i, "is scored, so nothing is learned from it") for i in repeated]
    kept = train.select(good)
    return replace(kept, data=replace(kept.data, notes=(*kept.data.notes, *notes)))


def _note(data: Dataset, i: int, problem: str) -> Note:
    return Note(data.annotations[i].source, problem, "left out")


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise InputError(f"{problems[0]}; without `strict` such photos are listed and left out")
