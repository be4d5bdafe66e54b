"""A folder of photos; with a `boxes.csv` in it (or a CSV named as the root), boxes as well.

The CSV has a header and the columns `file,x0,y0,x1,y1,label`, one line an object, in continuous pixel edges of the
photo as viewers show it (EXIF applied).
"""

from collections import defaultdict
from collections.abc import Collection
from functools import partial
from pathlib import Path

from localization.datasets.dataset import Dataset, Object, Reader, drawn, inside
from saliency._reading import read_rows
from saliency.errors import InputError
from saliency.photos import SUFFIXES, read_header, read_photo

DEFAULT_SPLIT = "all"
COLUMNS = ("file", "x0", "y0", "x1", "y1", "label")


def read(
    root: Path,
    split: str = DEFAULT_SPLIT,
    *,
    classes: Collection[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Dataset:
    """Every photo ("all"), or those below the subfolder `split`. Raises InputError."""
    table = root if root.suffix.lower() == ".csv" else root / "boxes.csv"
    folder = table.parent
    top = folder if split == "all" else inside(folder, split)
    if not top.is_dir():
        raise InputError(f"{top}: no such folder")
    reader = Reader(folder.name, split)
    objects = _objects(table, reader) if table.is_file() or table == root else {}
    sources = sorted(p.relative_to(folder).as_posix() for p in top.rglob("*") if p.suffix.lower() in SUFFIXES)
    for source in objects.keys() - set(sources):
        if split == "all":
            reader.note(source, "no photo", "left out")
    for source in drawn(sources, None if classes else limit, seed):
        try:
            header = read_header(folder / source)
        except InputError as error:
            reader.note(source, f"photo cannot be read: {error}", "left out")
            continue
        size = header.upright
        reader.add(source, size, objects.get(source, []), partial(read_photo, folder / source))
    return reader.dataset()


def _objects(table: Path, reader: Reader) -> dict[str, list[Object]]:
    objects = defaultdict(list)
    for row in read_rows(table, COLUMNS[:5]):
        source = inside(table.parent, row["file"], table).relative_to(table.parent).as_posix()
        try:
            x0, y0, x1, y1 = (float(row[name]) for name in COLUMNS[1:5])
        except ValueError:
            reader.note(source, "row without four numbers", "left out")
            continue
        objects[source].append(Object((row.get("label") or "object").strip(), (x0, y0, x1, y1)))
    return objects
