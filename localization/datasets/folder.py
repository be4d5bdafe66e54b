"""A folder of photos, or one photo; with a `boxes.csv` in the folder (or a CSV named as the root), boxes as well.

The table is that of `localization.boxes_file`: one line an object, in continuous pixel edges of the photo as viewers
show it (EXIF applied), unless its columns width and height say otherwise. A line without numbers is a photo without
objects.
"""

import re
from pathlib import Path

import numpy as np

from localization.boxes_file import BoxRow, box_rows, check_format
from localization.datasets.names import hidden, inside, is_photo, match_names
from localization.datasets.reader import Object, Reader, grouped
from saliency.errors import InputError
from saliency.photos import UNREAD

COLUMNS = ("file", "x0", "y0", "x1", "y1", "label")


def read(reader: Reader, root: Path, split: str | None) -> None:
    """Every photo ("all"), or those below the subfolder `split`."""
    reader.exif, reader.split = True, split or "all"
    if root.is_file() and root.suffix.lower() != ".csv":
        reader.name = root.parent.name or root.name
        return reader.add(root.name, root, [])
    table = root if root.suffix.lower() == ".csv" and not root.is_dir() else root / "boxes.csv"
    folder = table.parent
    table = reader.file(folder, table.name, folder) or table
    top = folder if reader.split == "all" else inside(folder, reader.split)
    if not top.is_dir():
        raise InputError(f"{top}: no such folder")
    reader.name = folder.resolve().name
    sources = _sources(reader, folder, top)
    rows = _rows(reader, table, folder, sources) if table.is_file() or table == root else {}
    for source in reader.sampled(sources):
        _add(reader, source, folder / source, rows.get(source, []))
    _check(reader, table, rows)
    return None


def _sources(reader: Reader, folder: Path, top: Path) -> list[str]:
    """The photos' paths in the folder, sorted; photos of formats that are not read are noted."""
    found = []
    for path in sorted(top.rglob("*")):
        name = path.relative_to(folder)
        if any(map(hidden, name.parts)):
            continue
        if is_photo(path):
            found.append(name.as_posix())
        elif path.suffix.lower() in UNREAD:
            kind = path.suffix[1:].upper()
            reader.note(
                name.as_posix(), f"photo of a format that is not read: {kind}; save it as JPEG or PNG", "left out"
            )
    return found


def _rows(reader: Reader, table: Path, folder: Path, sources: list[str]) -> dict[str, list[BoxRow]]:
    """The table's rows by the photos that they mean."""
    broken: list[str] = []

    def note(line: int, image: str) -> None:
        broken.append(image)

    rows = box_rows(table, reader.box_format, note)
    meant, several = match_names([*broken, *(row.id for row in rows)], sources)
    for name in broken:
        reader.note(meant.get(name, name), "row without four numbers", "left out")
    for name, ids in several.items():
        reader.note(name, f"row that may mean several photos: {', '.join(ids[:3])}", "left out")
    for name in dict.fromkeys(row.id for row in rows if row.id not in meant and row.id not in several):
        if not re.match(r"[\\/]|[A-Za-z]:|\w+://", name):  # a path of another machine means nothing here
            inside(folder, name, table)
        if reader.split == "all":
            reader.note(name, "no photo", "left out")
    return grouped((meant[row.id], row) for row in rows if row.id in meant)


def _add(reader: Reader, source: str, photo: Path, rows: list[BoxRow]) -> None:
    stated = {row.size for row in rows}
    if len(stated) > 1:
        return reader.note(source, "rows that state different sizes of one photo", "left out")
    objects = [Object(row.label or "object", tuple(row.box)) for row in rows if np.isfinite(row.box).all()]
    shares = (reader.box_format or "").startswith("normalised")
    return reader.add(source, photo, objects, next(iter(stated), None), shares)


def _check(reader: Reader, table: Path, rows: dict[str, list[BoxRow]]) -> None:
    """InputError where the boxes of the photos that were read contradict their format."""
    seen = [(row, row.size or a.size) for a in reader.annotations for row in rows.get(a.source, [])]
    if seen:
        boxes, sizes = np.array([row.box for row, _ in seen]), np.array([size for _, size in seen], float)
        check_format(boxes, sizes, table, reader.box_format)
