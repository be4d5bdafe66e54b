"""Boxes in a table: what another tool found, or what is true of a folder's photos. One row a box.

Columns: `image` (or file, filename, path), the corners `x0 y0 x1 y1` (or xmin ymin xmax ymax, x1 y1 x2 y2, left top
right bottom, xtl ytl xbr ybr), perhaps `label` (or class, class_name), `score` (or confidence), and `width` and
`height` of the photo that the corners were measured on. Case, spaces and underscores of these names do not count.
Cells are separated by commas, semicolons or tabs. Corners are continuous pixel edges of the photo as viewers show it;
nan, or nothing, in the place of a box stands for "none found".

Other formats are asked for by name (FORMATS), never guessed; where the numbers contradict the format, that is refused.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from localization.boxes import from_xywh, same_aspect
from saliency._checks import one_of
from saliency._reading import column_key, columns_of, number_in, numbered_rows
from saliency.errors import InputError
from saliency.models.classes import label_key

CORNERS = ("x0", "y0", "x1", "y1")
FORMATS = ("xyxy", "xywh", "cxcywh", "normalised-xyxy", "normalised-xywh", "normalised-cxcywh")
_CALLED = {  # what the four numbers are called, by the last part of the format
    "xyxy": (
        CORNERS,
        ("xmin", "ymin", "xmax", "ymax"),
        ("x1", "y1", "x2", "y2"),
        ("left", "top", "right", "bottom"),
        ("xtl", "ytl", "xbr", "ybr"),
    ),
    "xywh": (("x", "y", "w", "h"), ("x", "y", "width", "height"), ("left", "top", "width", "height"), CORNERS),
    "cxcywh": (("cx", "cy", "w", "h"), ("x_center", "y_center", "width", "height"), ("x", "y", "w", "h"), CORNERS),
}
_ALIASES = {  # by their `column_key`; a name goes before the number of a class
    **dict.fromkeys(("file", "filename", "path", "imageid", "photo", "imagename", "imagefile"), "image"),
    **dict.fromkeys(("imagepath", "filepath", "img", "imgpath"), "image"),
    **dict.fromkeys(("classname", "labelname", "categoryname", "class", "name", "category"), "label"),
    **dict.fromkeys(("confidence", "conf"), "score"),
}
_NOTHING = ("", "none", "null", "na", "n/a", "nan", "-")  # cells of a box that was not found


@dataclass(frozen=True, eq=False)
class BoxRow:
    """One row: `id` is the image as the file calls it, `box` float64 [4] `x0 y0 x1 y1` (in shares of the photo for the
    normalised formats; NaN where none was found), `label` and `score` None where the file has none, `line` its number
    in the file, `size` the (height, width) that the row states."""

    id: str
    box: Float[np.ndarray, "4"]
    label: str | None = None
    score: float | None = None
    line: int = 0
    size: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class FoundBoxes:
    """Boxes float64 `[n, 4]` in the photos' pixels, NaN where there is none; their scores `[n]`, NaN where there are
    none; and what has to be said of the file."""

    boxes: Float[np.ndarray, "n 4"]
    scores: Float[np.ndarray, " n"]
    notes: tuple[str, ...]


def read_boxes(path: Path | str, box_format: str | None = None) -> list[BoxRow]:
    """Another tool's boxes, in the file's order. `box_format` is one of FORMATS (default: "xyxy").

    Several rows may stand for one image and label where each has a score: the best is what counts as the one box.
    Raises InputError for what is no table of boxes, for a box that is no four numbers, and for rows that repeat an
    image and label without scores, naming both lines.
    """

    def refuse(line: int, image: str) -> None:
        raise InputError(f"{path}: line {line}: the box of {image!r} must be four numbers, or nan where there is none")

    rows = box_rows(path, box_format, refuse)
    _refuse_repeats(path, [(row.id, row) for row in rows])
    return rows


def box_rows(path: Path | str, box_format: str | None, broken: Callable[[int, str], None]) -> list[BoxRow]:
    """Every row of a table of boxes; `broken(line, image)` is told of those whose box is no four numbers."""
    if box_format is not None:
        one_of("box_format", box_format, FORMATS)
    form = (box_format or "xyxy").rpartition("-")[2]
    there = columns_of(path)
    called = _called(_CALLED[form], there) or CORNERS
    sides = _called(_CALLED["xywh"] + _CALLED["cxcywh"], there)
    if sides and not _called((called,), there):
        raise InputError(f"{path}: has the columns {', '.join(sides)}; say box_format='xywh', or 'cxcywh' for centres")
    optional = ("label", "score", *(("width", "height") if form == "xyxy" else ()))
    rows = []
    for line, row in numbered_rows(path, ("image", *called), optional=optional, aliases=_ALIASES):
        cells = [row[name] for name in called]
        numbers: list[float | None] = [np.nan] * 4
        if any(cell.lower() not in _NOTHING for cell in cells):
            numbers = [number_in(cell) for cell in cells]
        if any(number is None or np.isinf(number) for number in numbers):
            broken(line, row["image"])
            continue
        box = np.array(numbers, float)
        if form == "cxcywh":
            box[:2] -= box[2:] / 2
        with np.errstate(over="ignore"):
            box = box if form == "xyxy" else from_xywh(box)
        size = [number_in(row[name]) or 0.0 for name in ("height", "width")] if form == "xyxy" else [0.0, 0.0]
        rows.append(
            BoxRow(
                row["image"],
                np.full(4, np.nan) if np.isnan(box).any() else box,
                row["label"] or None,
                _score(path, line, row["score"]),
                line,
                (size[0], size[1]) if min(size) > 0 else None,
            )
        )
    return _without_sides(rows)


def has_corners(path: Path | str) -> bool:
    """Whether a table's first line names the four numbers of boxes. Raises InputError for what is no text."""
    return any(_called(names, columns_of(path)) for names in _CALLED.values())


def _called(ways: Sequence[tuple[str, ...]], there: Collection[str]) -> tuple[str, ...] | None:
    """The first of these sets of columns that is there, by the columns' keys."""
    return next((names for names in ways if set(map(column_key, names)) <= set(there)), None)


def _without_sides(rows: list[BoxRow]) -> list[BoxRow]:
    """Rows whose columns width and height are the boxes' own sides state no size of a photo."""
    own = [row for row in rows if row.size is not None and not np.isnan(row.box).any()]
    if own and all(np.allclose(row.size or (), (row.box[2:] - row.box[:2])[::-1], atol=1.5) for row in own):
        return [replace(row, size=None) for row in rows]
    return rows


def boxes_of(
    rows: Sequence[BoxRow],
    images: Sequence[str],
    labels: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    *,
    source: Path | str,
    box_format: str | None = None,
) -> FoundBoxes:
    """The one box of each sample: of the image with that id and of that label, else of the image where a row has no
    label; of several the one with the best score.

    `images`, `labels` and `sizes` (height, width) are the samples', `source` the file's name for messages. Names of
    images are met with or without suffix and folder, labels whatever their case and spaces. Raises InputError where no
    row is of these images, where no label is of these labels, where two rows mean one sample, and where most boxes
    leave their photos or look like another format than `box_format`.
    """
    from localization.datasets.names import match_names  # on use: that package reads its tables by this module

    known = dict(zip(images, sizes))
    meant, several = match_names((row.id for row in rows), list(known))
    if several:
        name, ids = next(iter(several.items()))
        raise InputError(f"{source}: image {name!r} may mean {ids[0]!r} or {ids[1]!r}; write the whole id")
    if not meant:
        there = f"; it names {rows[0].id!r}" if rows else ": it has no rows"
        raise InputError(f"{source}: names none of the {len(known):,} photos, such as {images[0]!r}{there}")
    own = [(meant[row.id], row) for row in rows if row.id in meant]
    _refuse_repeats(source, own)
    placed = _in_pixels([row for _, row in own], [known[image] for image, _ in own], source, box_format)
    candidates: dict[tuple[str, str | None], list[BoxRow]] = defaultdict(list)
    for (image, _), row in zip(own, placed):
        candidates[image, None if row.label is None else label_key(row.label)].append(row)
        if row.label is not None:
            candidates[image, ""].append(row)  # for samples of which no label is known
    found = [_best(candidates, image, label_key(label), source) for image, label in zip(images, labels)]
    stated = {label_key(row.label): row.label for row in placed if row.label is not None}
    if not any(found) and stated:
        raise InputError(
            f"{source}: its labels ({', '.join(sorted(map(str, stated.values()))[:5])}) are none of the data set's"
            f" ({', '.join(sorted(set(labels))[:5])})"
        )
    boxes = np.array([np.full(4, np.nan) if row is None else row.box for row in found]).reshape(-1, 4)
    scores = np.array([np.nan if row is None or row.score is None else row.score for row in found], float)
    return FoundBoxes(boxes, scores, tuple(_notes(rows, meant, stated, labels, found, boxes)))


def _best(
    candidates: dict[tuple[str, str | None], list[BoxRow]], image: str, label: str, source: Path | str
) -> BoxRow | None:
    rows = candidates.get((image, label)) or candidates.get((image, None)) or []
    if len(rows) > 1 and any(row.score is None for row in rows):
        raise InputError(
            f"{source}: lines {rows[0].line} and {rows[1].line} both give a box of {image!r}, whose label is not known;"
            " add a score column, of which the best counts, or keep one"
        )
    return max(rows, key=lambda row: row.score or 0.0) if rows else None


def _refuse_repeats(source: Path | str, rows: Sequence[tuple[str, BoxRow]]) -> None:
    """Two rows of one image and label, unless scores choose between them."""
    seen: dict[tuple[str, str | None], BoxRow] = {}
    for image, row in rows:
        first = seen.setdefault((image, None if row.label is None else label_key(row.label)), row)
        if first is not row and (first.score is None or row.score is None):
            of = f"{image!r} and label {row.label!r}" if row.label else f"{image!r}"
            raise InputError(
                f"{source}: lines {first.line} and {row.line} both give a box of {of}; keep one, or add a column"
                f" {'score, of which the best counts' if row.label else 'label or score'}"
            )


def _in_pixels(
    rows: Sequence[BoxRow], sizes: Sequence[tuple[int, int]], source: Path | str, box_format: str | None
) -> list[BoxRow]:
    """The rows with their boxes in pixels of photos of these sizes, or InputError where that cannot be."""
    boxes = np.array([row.box for row in rows]).reshape(-1, 4)
    photos = np.array(sizes, float).reshape(-1, 2)
    stated = np.array([row.size or size for row, size in zip(rows, sizes)], float).reshape(-1, 2)
    odd = ~same_aspect(stated, photos)
    if odd.any():
        row, (height, width) = rows[int(odd.argmax())], photos[int(odd.argmax())]
        said = f"{stated[odd][0, 1]:g}x{stated[odd][0, 0]:g}, the photo has {width:g}x{height:g}"
        raise InputError(f"{source}: line {row.line} states a size that is none of {row.id!r}: {said}")
    check_format(boxes, stated, source, box_format)
    scale = photos if (box_format or "").startswith("normalised") else photos / stated
    with np.errstate(over="ignore"):
        return [replace(row, box=box) for row, box in zip(rows, boxes * scale[:, [1, 0, 1, 0]])]


def check_format(
    boxes: Float[np.ndarray, "n 4"],
    sizes: Float[np.ndarray, "n 2"],
    source: Path | str,
    box_format: str | None = None,
) -> None:
    """InputError where boxes, read as `x0 y0 x1 y1` of photos of these (height, width), contradict their format: shares
    instead of pixels, widths instead of corners, a third of them beyond their photos.
    """
    found = np.isfinite(boxes).all(1)
    boxes, sizes = boxes[found], sizes[found]
    if not len(boxes):
        return
    other = "say box_format=%r if that is what they are"
    normalised = (box_format or "").startswith("normalised")
    if not normalised and boxes.max() <= (1 if (box_format or "xyxy") == "xyxy" else 2) and (boxes % 1).any():
        said = other % "normalised-xyxy"
        raise InputError(f"{source}: its numbers are shares of the photo (none is above 1), not pixels; {said}")
    ends = np.ones((len(boxes), 2)) if normalised else sizes[:, ::-1]  # x, y
    slack = 0.01 if normalised else 1.0
    if box_format is None and (boxes[:, 2:] < boxes[:, :2]).any():
        as_sides = (boxes[:, 2:] > 0).all(1) & (boxes[:, :2] + boxes[:, 2:] <= ends + slack).all(1)
        if as_sides.mean() >= 0.9:
            said = other % "xywh"
            raise InputError(f"{source}: corners run backwards, as x y width height would; {said}, or 'xyxy'")
    beyond = (np.maximum(boxes[:, 2:], boxes[:, :2]) > ends * 1.05 + slack).any(1) | (boxes < -0.05 - slack).any(1)
    if beyond.mean() > 1 / 3 and beyond.sum() >= 3:  # one or two may be meant so
        raise InputError(
            f"{source}: {beyond.sum():,} of {len(boxes):,} boxes leave their photos: they were measured at another size"
            f" (add columns width and height), or are not {box_format or 'xyxy'}; `box_format` is one of"
            f" {', '.join(FORMATS)}"
        )


def _notes(rows, meant, stated, labels, found, boxes) -> list[str]:
    unmet = sorted({row.id for row in rows} - meant.keys())
    unknown = sorted(name for key, name in stated.items() if key not in {label_key(label) for label in labels})
    missing, none = sum(row is None for row in found), int(np.isnan(boxes).any(1).sum())
    said = [
        (len(unmet), f"{len(unmet):,} images are not among those scored, the first {unmet[0]!r}" if unmet else ""),
        (len(unknown), f"labels that no sample has: {', '.join(unknown[:5])}"),
        (missing, f"{missing:,} of {len(found):,} samples have no row, and count as misses"),
        (none - missing, f"{none - missing:,} of {len(found):,} samples have a row that says no box was found"),
    ]
    return [text for count, text in said if count]


def _score(path: Path | str, line: int, text: str) -> float | None:
    if not text:
        return None
    score = number_in(text)
    if score is None or not np.isfinite(score):
        raise InputError(f"{path}: line {line}: score must be a number, not {text[:40]!r}")
    return score
