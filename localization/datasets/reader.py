"""What every layout is read with: photos are gathered, each box is checked once, and whatever is done is noted.

A layout is a module with `read(reader, root, split)`. It says which photos there are and what was stated of them; the
reader draws from them, finds their files, settles how each is turned and scaled, and keeps ids apart.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from localization.boxes import area, clip, from_inclusive, ordered
from localization.datasets.dataset import Annotation, Dataset, Note, Outcome, Photos, sampled
from localization.datasets.names import Listing, bare, inside, key, listing
from localization.datasets.views import Size, View, view
from saliency.errors import InputError
from saliency.models.classes import label_key
from saliency.photos import SUFFIXES, Header, read_header, read_photo

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Object:
    """One object as a layout states it: `corners` in that layout's convention."""

    label: str
    corners: tuple[float, ...]
    difficult: bool = False
    truncated: bool = False


@dataclass
class Reader:
    """Gathers photos while a layout is read.

    `kind` is the layout's name; `classes`, `limit`, `seed` and `box_format` are what was asked for. A layout sets
    `name`, the data set's own, and `split`, where it knows better;
    `first`, the number of the first pixel where corners belong to the box, None where they are edges already; `exif`,
    whether photos lie as EXIF turns them where their annotation does not say; and `order`, that of the classes.
    """

    kind: str
    split: str = ""
    classes: Collection[str] | None = None
    limit: int | None = None
    seed: int = 0
    box_format: str | None = None
    first: Literal[0, 1] | None = None
    exif: bool = False
    order: Sequence[str] = ()
    name: str = ""
    annotations: list[Annotation] = field(default_factory=list)
    decoders: list[Callable[[], np.ndarray]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)
    beyond: set[str] = field(default_factory=set)
    far: int = 0
    listings: dict[Path, Listing] = field(default_factory=dict)
    corners: list[tuple[float, ...]] = field(default_factory=list)

    def note(self, source: str, problem: str, outcome: Outcome) -> None:
        """What follows a colon in `problem` is a detail; the rest names the kind."""
        self.notes.append(Note(readable(source), problem, outcome))

    def sampled(self, sources: Iterable[T]) -> list[T]:
        """Those of the photos that are read. Where classes are asked for, all are: which show one is not known yet."""
        return sampled(list(sources), None if self.classes else self.limit, self.seed)

    def once(self, sources: Iterable[str]) -> list[str]:
        """The sources without repetitions, which are noted."""
        counts = Counter(sources)
        for source, count in counts.items():
            if count > 1:
                self.note(source, f"listed more than once: {count} times", "repaired")
        return list(counts)

    def wants(self, label: str) -> bool:
        """Whether objects of this label were asked for; labels are met as `match_labels` does by their names."""
        return self.classes is None or label_key(label) in self.wanted

    def __post_init__(self) -> None:
        self.name = self.name or self.kind

    @cached_property
    def wanted(self) -> frozenset[str]:
        return frozenset(label_key(name) for name in self.classes or ())

    def file(self, folder: Path, name: str, of: Path | str) -> Path | None:
        """The file of that name in a folder, in any case; None where there is none. `of` is what holds the name."""
        path = inside(folder, name, of)
        if path.is_file():
            return path
        holder, _, last = name.replace("\\", "/").rpartition("/")
        place = self._folder(folder, holder)
        found = self._listing(place).names.get(key(last), ()) if place else ()
        return inside(place, found[0], of) if place and len(found) == 1 else None

    def photo(self, folder: Path, name: str, of: Path | str, source: str = "") -> Path | None:
        """The photo of that name in a folder, with any photo's suffix where its own is not there, and in any case.

        InputError for a name that leads out of the folder; `of` is the file that holds it, `source` the id of what is
        looked for. None where no photo is, or several could be meant, which is noted.
        """
        source = source or name
        path = inside(folder, name, of)
        if path.suffix.lower() in SUFFIXES and path.is_file():
            return path
        holder, _, last = name.replace("\\", "/").rpartition("/")
        place = self._folder(folder, holder)
        if place is None:
            return None
        known = self._listing(place)
        found = list(known.names.get(key(last), ()) if bare(last) != last else ())
        found = found or list(known.photos.get(key(bare(last)), ()))
        found = [entry for entry in found if bare(entry) == bare(last)] or found
        if len(found) > 1:  # a photo and its mask: data sets in which photos lie beside others keep them as JPEG
            said = ", ".join(found)
            jpegs = [entry for entry in found if Path(entry).suffix.lower() in (".jpg", ".jpeg")]
            if len(jpegs) != 1:
                self.note(source, f"several photos of that name: {said}", "left out")
                return None
            self.note(source, f"several photos of that name, the JPEG is taken: {said}", "kept")
            found = jpegs
        if not found:
            return None
        if found[0] != last and (bare(last) != last or bare(found[0]) != last):
            self.note(source, f"the photo's name is written another way: {found[0]}", "repaired")
        return inside(place, found[0], of)

    def names(self, folder: Path) -> Collection[str]:
        """What a folder holds, by the `key` of each name."""
        return self._listing(folder).names

    def _folder(self, folder: Path, holder: str) -> Path | None:
        """A folder below another, in any case."""
        for part in (part for part in holder.split("/") if part not in ("", ".")):
            if not (folder / part).is_dir():
                found = self._listing(folder).names.get(key(part), ())
                if len(found) != 1:
                    return None
                part = found[0]
            folder = folder / part
        return folder

    def _listing(self, folder: Path) -> Listing:
        if folder not in self.listings:
            self.listings[folder] = listing(folder)
        return self.listings[folder]

    def add(
        self,
        source: str,
        photo: Path | None,
        objects: Sequence[Object],
        stated: Size | None = None,
        shares: bool = False,
    ) -> None:
        """A photo on disk and its objects; `stated` is the (height, width) that they were measured on, if the layout
        says so; `shares` says that corners are shares of the photo. Nothing is decoded."""
        if photo is None:
            if not any(one.source == readable(source) and one.outcome == "left out" for one in self.notes[-1:]):
                self.note(source, "no photo", "left out")
            return
        self.add_decoded(source, lambda: read_header(photo), partial(read_photo, photo), objects, stated, shares)

    def add_decoded(
        self,
        source: str,
        header: Callable[[], Header],
        decode: Callable[..., np.ndarray],
        objects: Sequence[Object],
        stated: Size | None = None,
        shares: bool = False,
    ) -> None:
        """A photo from anywhere; `decode(exif=...)` gives its pixels. Boxes are put in order, scaled to the photo as
        it is decoded and cut at its border, and left out where nothing of them remains."""
        if readable(source) in self.sources:
            return self.note(source, "listed more than once", "left out")
        try:
            own = header()
        except InputError as error:
            return self.note(source, f"photo cannot be read: {error}", "left out")
        seen = view(own, stated, self.exif)
        if seen.problem:
            self.note(source, seen.problem, seen.outcome)
        if seen.outcome == "left out":
            return None
        if own.deep:
            self.note(source, f"deep pixels: {own.deep}", "kept")
        if shares:
            seen = replace(seen, scale=(float(seen.size[1]), float(seen.size[0])))
        else:
            self.corners += [item.corners for item in objects]
        if len({(item.label, item.corners) for item in objects}) < len(objects):
            self.note(source, "objects that are stated twice, with the same box", "kept")
        kept = [(item, box) for item in objects if (box := self._repaired(source, item, seen)) is not None]
        self.sources.add(readable(source))
        self.annotations.append(
            Annotation(
                readable(source),
                seen.size,
                tuple(item.label for item, _ in kept),
                np.array([box for _, box in kept]).reshape(-1, 4),
                np.array([item.difficult for item, _ in kept], bool),
                np.array([item.truncated for item, _ in kept], bool),
            )
        )
        self.decoders.append(partial(decode, exif=seen.exif))
        return None

    def dataset(self) -> Dataset:
        """What was gathered. InputError where its boxes are shares of the photo instead of pixels."""
        numbers = np.array(self.corners, float).reshape(-1, 4)
        numbers = numbers[np.isfinite(numbers).all(1)]
        if len(numbers) and np.abs(numbers).max() <= 1 and (numbers % 1).any():
            raise InputError(
                f"{self.name} {self.split}: no number of its boxes is above 1: they are shares of the photo, not"
                " pixels; multiply them by its width and height"
            )
        stated = len(numbers) or sum(len(a.labels) for a in self.annotations)
        if len(self.beyond) > 2 and self.far > stated / 2:
            raise InputError(
                f"{self.name} {self.split}: {self.far:,} of {stated:,} boxes leave their photos, the first in"
                f" {min(self.beyond)}: they were measured at another size, or are in another format than {self.kind}'s"
            )
        occurring = {label for a in self.annotations for label in a.labels}
        for spellings in grouped((label_key(label), label) for label in sorted(occurring)).values():
            if len(spellings) > 1:
                self.note(spellings[0], f"labels that differ in spelling alone: {', '.join(spellings)}", "kept")
        known = [name for name in dict.fromkeys(self.order) if name in occurring]
        return Dataset(
            self.name,
            self.split,
            tuple(known + sorted(occurring - set(known))),
            tuple(self.annotations),
            Photos(tuple(self.decoders)),
            tuple(self.notes),
        )

    def _repaired(self, source: str, item: Object, seen: View) -> np.ndarray | None:
        corners = np.array(item.corners, float)
        if not np.isfinite(corners).all():
            self.note(source, f"box with a coordinate that is not finite: {item.label}", "left out")
            return None
        box = ordered(corners)
        if (box != corners).any():
            self.note(source, f"corners in the wrong order: {item.label}", "repaired")
        if self.first is not None:
            box = from_inclusive(box, self.first)
        with np.errstate(over="ignore"):  # what lies at infinity is cut like any other
            box = box * (seen.scale * 2)
        cut = clip(box, seen.size)
        if (np.abs(cut - box) > 1 + 0.05 * max(seen.size)).any():
            self.far += 1
            self.beyond.add(source)
        if area(cut) == 0:
            self.note(source, f"box without area in the photo: {item.label}", "left out")
            return None
        if (cut != box).any():
            self.note(source, f"box beyond the border: {item.label}", "repaired")
        return cut


def grouped(rows: Iterable[tuple[str, T]]) -> dict[str, list[T]]:
    """What belongs to each source, in the order of their first rows."""
    found: dict[str, list[T]] = defaultdict(list)
    for source, item in rows:
        found[source].append(item)
    return dict(found)


def unambiguous(reader: Reader, rows: Iterable[tuple[str, T]], what: str) -> Mapping[str, T]:
    """One value for each source; a source of which rows say different things has none, which is noted."""
    found = grouped(rows)
    for source, values in found.items():
        if len(set(values)) > 1:
            reader.note(source, f"more than one {what}: {', '.join(map(str, values[:3]))}", "left out")
    return {source: values[0] for source, values in found.items() if len(set(values)) == 1}


def readable(source: str) -> str:
    """An id that can be written as UTF-8: the names of files may hold any bytes."""
    return source.encode(errors="backslashreplace").decode()
