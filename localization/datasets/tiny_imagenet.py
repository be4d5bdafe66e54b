"""Tiny ImageNet: 64x64 photos, `train/<wnid>/<wnid>_boxes.txt` and `val/val_annotations.txt`.

Labels are WordNet ids; corners are 0-based and inclusive.
"""

from collections.abc import Collection
from functools import partial
from pathlib import Path

from localization.datasets.dataset import Dataset, Object, Reader, drawn, inside
from saliency._reading import read_text
from saliency.errors import InputError
from saliency.photos import read_header, read_photo

DEFAULT_SPLIT = "val"


def read(
    root: Path,
    split: str = DEFAULT_SPLIT,
    *,
    classes: Collection[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Dataset:
    """The split "train" or "val"; the test photos have no boxes. Raises InputError."""
    if split not in ("train", "val"):
        raise InputError(f"split must be train or val, not {split!r}: Tiny ImageNet's test photos have no boxes")
    rows = list(_train(root) if split == "train" else _val(root))
    if classes is not None:
        rows = [row for row in rows if row[1] in classes]
    reader = Reader("tiny_imagenet", split, first=0)
    for photo, label, words in drawn(rows, None if classes else limit, seed):
        source = photo.relative_to(root / split).as_posix()
        try:
            left, top, right, bottom = (float(word) for word in words)
        except ValueError:
            reader.note(source, "row without four numbers", "left out")
            continue
        try:
            item = Object(label, (left, top, right, bottom))
            reader.add(source, read_header(photo).size, [item], partial(read_photo, photo, False))
        except InputError as error:
            reader.note(source, f"photo cannot be read: {error}", "left out")
    return reader.dataset()


def _train(root: Path):
    tables = sorted(root.glob("train/*/*_boxes.txt"))
    if not tables:
        raise InputError(f"{root}: no train/*/*_boxes.txt; name the folder tiny-imagenet-200")
    for table in tables:
        for name, *words in _rows(table):
            yield inside(table.parent / "images", name, table), table.parent.name, words


def _val(root: Path):
    table = root / "val" / "val_annotations.txt"
    if not table.is_file():
        raise InputError(f"{table}: no such file; name the folder tiny-imagenet-200")
    for name, label, *words in _rows(table, at_least=2):
        yield inside(root / "val" / "images", name, table), label, words


def _rows(table: Path, at_least: int = 1) -> list[list[str]]:
    rows = [line.split() for line in read_text(table).splitlines() if line.strip()]
    if any(len(row) < at_least for row in rows):
        raise InputError(f"{table}: a row has fewer than {at_least} words")
    return rows
