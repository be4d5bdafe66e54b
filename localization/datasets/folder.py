"""A folder of photos, or one photo; with a `boxes.csv` in the folder (or a CSV named as the root), boxes as well.

The table is that of `localization.boxes_file`: one line an object, in continuous pixel edges of the photo as viewers
show it (EXIF applied), unless its columns width and height say otherwise. A line without numbers is a photo without
objects.
"""

import re
from pathlib import Path

import numpy as np

from localization.boxes_file import BoxRow, box_rows, check_format, has_corners
from localization.datasets.names import hidden, inside, is_photo, key, match_names
from localization.datasets.reader import Object, Reader, grouped
from saliency.errors import InputError
from saliency.photos import UNREAD, begins_as_photo

NO_PHOTOS = (".csv", ".json", ".xml", ".txt", ".npy", ".npz", ".html", ".md", ".yaml", ".zip")  # not looked into
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
    rows = {}
    if table.is_file() or table == root:
        rows = _rows(reader, table, folder, sources)
    else:
        _note_unread(reader, top)
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
        elif path.suffix.lower() not in NO_PHOTOS and path.is_file() and begins_as_photo(path):
            reader.note(name.as_posix(), "photo whose name does not end as one: call it .jpg, .png or so", "left out")
    return found


def _note_unread(reader: Reader, top: Path) -> None:
    """Files that may hold boxes, of which nothing is read: a photo of theirs would pass for one without objects."""
    photos = {key(path.stem) for path in top.rglob("*") if is_photo(path)}
    for path in sorted(top.rglob("*")):
        own = path.suffix.lower() in (".json", ".txt", ".xml") and key(path.stem) in photos
        if own or path.name.lower() == "_annotations.coco.json" or _is_table(path):
            name = path.relative_to(top).as_posix()
            reader.note(name, "boxes that are not read: those of a folder come from a boxes.csv in it", "kept")


def _is_table(path: Path) -> bool:
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    try:
        return has_corners(path)
    except InputError:
        return False


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
