"""Tiny ImageNet: 64x64 photos, `train/<wnid>/<wnid>_boxes.txt` and `val/val_annotations.txt`.

Labels are WordNet ids; corners are 0-based and inclusive. EXIF is ignored.
"""

from collections.abc import Iterator
from pathlib import Path

from localization.datasets.reader import Object, Reader, grouped
from saliency._reading import number_in, read_text
from saliency.errors import InputError

DEFAULT_SPLIT = "val"
Row = tuple[str, tuple[str, list[str], Path]]  # id, then label, the other words, and the table that holds the row


def read(reader: Reader, root: Path, split: str | None) -> None:
    """The split "train" or "val"; the test photos have no boxes."""
    split = split or DEFAULT_SPLIT
    if split not in ("train", "val"):
        raise InputError(f"split must be train or val, not {split!r}: Tiny ImageNet's test photos have no boxes")
    reader.split, reader.first = split, 0
    rows = grouped(row for row in (_train if split == "train" else _val)(reader, root) if reader.wants(row[1][0]))
    for source in reader.sampled(rows):
        objects = []
        for label, words, _ in rows[source]:
            numbers = [number_in(word) for word in words]
            if len(numbers) != 4 or any(number is None for number in numbers):
                reader.note(source, "row without four numbers", "left out")
            else:
                objects.append(Object(label, tuple(number for number in numbers if number is not None)))
        if len(rows[source]) > 1:
            reader.note(source, f"listed more than once: {len(rows[source])} times", "repaired")
        if objects:  # each photo has a box: one whose row cannot be read is no photo without objects
            reader.add(source, reader.photo(root / split, source, rows[source][0][2]), objects)


def _train(reader: Reader, root: Path) -> Iterator[Row]:
    tables = sorted(root.glob("train/*/*_boxes.txt"))
    if not tables:
        raise InputError(f"{root}: no train/*/*_boxes.txt; name the folder tiny-imagenet-200")
    for table in tables:
        for name, *words in _rows(reader, table):
            yield f"{table.parent.name}/images/{name}", (table.parent.name, words, table)


def _val(reader: Reader, root: Path) -> Iterator[Row]:
    table = root / "val" / "val_annotations.txt"
    if not table.is_file():
        raise InputError(f"{table}: no such file; name the folder tiny-imagenet-200")
    for name, label, *words in _rows(reader, table, at_least=2):
        yield f"images/{name}", (label, words, table)


def _rows(reader: Reader, table: Path, at_least: int = 1) -> list[list[str]]:
    rows = [line.split() for line in read_text(table).splitlines() if line.strip()]
    if short := [row for row in rows if len(row) < at_least]:
        if len(short) == len(rows):
            raise InputError(f"{table}: a row has fewer than {at_least} words")
        for row in short:
            reader.note(row[0], f"row has fewer than {at_least} words", "left out")
    return [row for row in rows if len(row) >= at_least]
