"""One photo of an analysis: as the network sees it, the class that is followed, and its named regions.

Regions are stated in pixels of the photo (or percent of what the network sees), `x0 y0 x1 y1`, and end as boxes in
pixels of the network's input.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float
from PIL import Image

from saliency._names import near_names
from saliency._reading import read_json, read_rows
from saliency.errors import InputError
from saliency.models.classes import match_labels
from saliency.models.network import Network
from saliency.models.preprocessing import Placement
from saliency.photos import as_photo
from saliency.zeiler_fergus.sweep import probabilities, ranked

Photo = np.ndarray | Image.Image | Path | str
Corner = float | str  # pixels of the photo, or "12%" of the input
THIRDS = {
    "top": (1, 0), "left": (0, 1), "centre": (1, 1), "right": (2, 1), "bottom": (1, 2),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Subject:
    """One photo: `seen` is uint8 `[h, w, 3]`, what the network gets of it, `x` the same normalised; `true` the index of
    its class, where that is known, and `label` that class's name."""

    name: str
    file: str
    placement: Placement
    seen: np.ndarray
    x: Float[np.ndarray, "h w c"]
    probability: Float[np.ndarray, " classes"]
    target: int
    label: str | None
    true: int | None
    box: tuple[float, ...] | None  # of the object, in the photo, where it is known

    @property
    def predicted(self) -> int:
        """The class that the network predicts for the untouched photo."""
        return int(ranked(self.probability, 1)[0])


@dataclass(frozen=True)
class Region:
    """A named part of one photo, or of all of them (None); `source` is where it was stated, for errors."""

    name: str
    corners: tuple[Corner, ...]
    photo: str | None = None
    source: str = "regions"


def load_subjects(
    net: Network,
    photos: Sequence[Photo],
    target: str | int,
    *,
    names: Sequence[str] | None = None,
    labels: Sequence[str | None] | None = None,
    boxes: Sequence[Sequence[float] | None] | None = None,
) -> list[Subject]:
    """The photos as the network sees them; each gets a name of its own, which can name a folder."""
    if isinstance(photos, str | Path | Image.Image) or not hasattr(photos, "__len__"):
        raise InputError(f"photos must be a list of photos (paths, Pillow images or uint8 arrays), not {photos!r:.60}")
    given = [_file_name(photo, i) for i, photo in enumerate(photos, 1)] if names is None else list(names)
    for what, values in (("names", given), ("labels", labels), ("boxes", boxes)):
        if values is not None and (isinstance(values, str) or len(values) != len(photos)):
            raise InputError(f"{what} must name one for each of the {len(photos)} photos, not {len(values)}")
    if not len(photos):
        raise InputError("photos must hold at least one photo")
    subjects = []
    for i, (photo, own) in enumerate(zip(photos, unique_names(given))):
        pixels = as_photo(photo)
        x = net.preprocess([pixels])[0]
        probability = probabilities(net, x[None])[0]
        label = labels[i] if labels is not None else None
        if label is not None and not isinstance(label, str):
            raise InputError(f"labels must be class names, or None where one is not known, not {label!r}")
        true = -1 if label is None else int(match_labels([label], net.classes).indices[0])
        box = boxes[i] if boxes is not None else None
        if box is not None and np.shape(box) != (4,):
            raise InputError(f"boxes must be x0 y0 x1 y1, or None where one is not known, not {box!r}")
        subjects.append(
            Subject(
                own,
                PurePosixPath(given[i]).name,
                net.preprocess.placement(pixels.shape[:2]),
                net.preprocess.place(pixels),
                x,
                probability,
                chosen_class(target, probability, net.classes),
                label,
                None if true < 0 else true,
                None if box is None else tuple(map(float, box)),
            )
        )
    return subjects


LONGEST = 180  # bytes of a name: with an ending, and what a file is called until it is whole, it fits every system


def unique_names(files: Iterable[str]) -> list[str]:
    """The files' names without folder and ending, numbered where two would be one: also on a file system that takes
    "A" and "a" for the same name."""
    taken: set[str] = set()
    names = []
    for file in files:
        stem = PurePosixPath(file.replace("\\", "/")).stem.strip(". ")
        stem = (
            "".join(c if c.isprintable() else "_" for c in stem)
            .encode(errors="replace")[:LONGEST]
            .decode(errors="ignore")
        )
        stem = stem.strip(". ") or "photo"
        name, number = stem, 2
        while name.casefold() in taken:
            name, number = f"{stem}-{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names


def chosen_class(target: str | int, probability: Float[np.ndarray, " classes"], classes: Sequence[str]) -> int:
    """A class by "rank:K" (1: the predicted one), by index, or by name."""
    count, text = len(probability), str(target)
    kind, _, number = text.partition(":")
    if kind == "rank":
        if not number.isdecimal() or not 1 <= int(number) <= count:
            raise InputError(f"target rank must be rank:1 to rank:{count}, not {text!r}")
        return int(ranked(probability, int(number))[-1])
    if isinstance(target, str):
        found = match_labels([text], classes)
        if found.ambiguous:
            indices = ", ".join(map(str, found.ambiguous[text]))
            raise InputError(f"target {text!r} names the classes {indices}; give one of these indices")
        if found.indices[0] >= 0:
            return int(found.indices[0])
    if text.isdecimal() and int(text) < count:
        return int(text)
    raise InputError(
        f"target must be rank:K, an index 0..{count - 1} or a class name, not {text!r}{near_names(text, classes)}"
    )


def place_regions(given: Sequence[Region], subjects: Sequence[Subject]) -> dict[str, dict[str, list[int]]]:
    """Region -> photo -> box in the network's input; by default thirds of it, and the object's box where known."""
    found: dict[str, dict[str, list[int]]] = {}
    for region in given:
        matching = [s for s in subjects if region.photo in (None, "", s.file, s.name)]
        if not matching:
            raise InputError(
                f"{region.source}: {region.photo!r} is none of the photos {', '.join(s.file for s in subjects)}"
            )
        for subject in matching:
            boxes = found.setdefault(region.name, {})
            boxes[subject.name] = placed(f"{region.source}: region {region.name!r}", region.corners, subject)
    if given:
        return found
    objects = {s.name: placed("the object's box", s.box, s) for s in subjects if s.box is not None}
    height, width = subjects[0].seen.shape[:2]
    side = height // 3, width // 3
    return ({"object": objects} if objects else {}) | {
        name: {s.name: [i * side[1], j * side[0], (i + 1) * side[1], (j + 1) * side[0]] for s in subjects}
        for name, (i, j) in THIRDS.items()
    }


def placed(name: str, corners: Sequence[Corner], subject: Subject) -> list[int]:
    """A region's corners, brought from the photo's pixels (or percent of the input) to the input's, and cut to it."""
    (height, width), place = subject.seen.shape[:2], subject.placement
    try:
        x0, y0, x1, y1 = (
            float(str(text).strip("% ")) * size / 100 if "%" in str(text) else float(text) * scale + offset
            for text, size, scale, offset in zip(
                corners, (width, height) * 2, place.scale * 2, place.offset * 2, strict=True
            )
        )
        box = [max(0, round(x0)), max(0, round(y0)), min(width, round(x1)), min(height, round(y1))]
    except (ValueError, OverflowError):  # no numbers, or NaN and infinity, which cannot be rounded
        raise InputError(
            f"{name} must be four numbers x0,y0,x1,y1, in pixels or all with %, not {','.join(map(str, corners))!r}"
        ) from None
    if box[0] >= box[2] or box[1] >= box[3]:
        raise InputError(
            f"{name} has nothing in the part of {subject.file} that the network sees; put x0 below x1 and y0"
            " below y1, or have the whole photo stretched to the input"
        )
    return box


def read_regions(path: Path) -> list[Region]:
    """JSON {photo: {name: [x0, y0, x1, y1]}}, or CSV with photo (empty: all), name, x0, y0, x1, y1.

    Raises InputError for a file that is neither.
    """
    if path.suffix.lower() != ".json":
        edges = ("x0", "y0", "x1", "y1")
        rows = read_rows(path, ("photo", "name", *edges))
        return [
            Region(row["name"], tuple(row[edge] for edge in edges), row["photo"] or None, str(path)) for row in rows
        ]
    try:
        return [
            Region(name, tuple(str(corner) for corner in corners), photo or None, str(path))
            for photo, boxes in read_json(path).items()
            for name, corners in boxes.items()
        ]
    except (AttributeError, TypeError) as error:
        raise InputError(f"{path}: regions must be {{photo: {{name: [x0, y0, x1, y1]}}}} ({error})") from error


def parse_region(text: str, source: str = "regions") -> Region:
    """ "name=x0,y0,x1,y1" for all photos. Raises InputError."""
    name, _, corners = text.partition("=")
    if not name or not corners:
        raise InputError(f"region must be name=x0,y0,x1,y1, not {text!r}")
    return Region(name, tuple(corners.split(",")), None, source)


def as_regions(given: "Mapping[str, Sequence[Corner]] | Sequence[Region]") -> list[Region]:
    """Regions by name for all photos, or as they are. Raises InputError."""
    if isinstance(given, Mapping):
        return [Region(name, tuple(corners)) for name, corners in given.items()]
    if isinstance(given, str) or not all(isinstance(one, Region) for one in given):
        raise InputError("regions must be {name: (x0, y0, x1, y1)} in pixels of the photos, or Region objects")
    return list(given)


def _file_name(photo: Photo, number: int) -> str:
    path = photo if isinstance(photo, Path | str) else getattr(photo, "filename", "")
    return Path(path).name or f"photo-{number}"
