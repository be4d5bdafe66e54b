"""`load`: a data set of any layout, or the embedded scenes, as one type."""

from collections.abc import Collection
from functools import partial
from pathlib import Path

import numpy as np

from localization.boxes_file import FORMATS
from localization.datasets import coco, folder, imagenet, tfds, tiny_imagenet, voc, wsol
from localization.datasets.dataset import Dataset
from localization.datasets.reader import Object, Reader
from localization.datasets.scenes import scenes
from saliency._checks import kind_of, one_of, whole
from saliency.errors import InputError
from saliency.photos import Header

READERS = {
    "voc": voc,
    "imagenet": imagenet,
    "tiny_imagenet": tiny_imagenet,
    "coco": coco,
    "wsol": wsol,
    "folder": folder,
    "tfds": tfds,
}
NAMES = ("scenes", *READERS)


def load(
    name: str,
    root: Path | str | None = None,
    *,
    split: str | None = None,
    classes: Collection[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    box_format: str | None = None,
    decode: bool = False,
    strict: bool = False,
) -> Dataset:
    """A data set as it lies on disk under `root`, or the embedded "scenes", which need none.

    `split` is in the data set's own words (default: the one usually scored). `classes` keeps objects of these
    labels, whatever their case and spaces, and the photos that show one, of which `limit` are drawn from `seed`.
    `box_format` says what the numbers of a folder's `boxes.csv` are, where they are no corners in pixels (one of
    `localization.boxes_file.FORMATS`). `decode` decodes every photo now: those that are damaged are left out and noted,
    and do not end a run later. With `strict` nothing may be left out.

    Whatever is put right or left out is in the result's `notes`; ids are unique. Raises InputError.
    """
    one_of("name", name, NAMES)
    whole("limit", limit, least=1, optional=True)
    whole("seed", seed)
    if split is not None:
        kind_of("split", split, str, "in the data set's own words")
    if classes is not None:
        kind_of("classes", classes, Collection, "the labels to keep")
        classes = [classes] if isinstance(classes, str) else classes
    if box_format is not None:
        one_of("box_format", box_format, FORMATS)
        if name != "folder":
            raise InputError(
                f"`box_format` is for the boxes.csv of a folder; those of {name} have a format of their own"
            )
    reader = Reader(name, classes=classes, limit=limit, seed=seed, box_format=box_format)
    if name == "scenes":
        _scenes(reader, split or "test", 1000 if limit is None else limit)
    elif root is None or not Path(root).expanduser().exists():
        raise InputError(f"{root}: no such folder; {name} is read from where it lies on disk")
    elif name != "folder" and not Path(root).expanduser().is_dir():
        raise InputError(f"{root}: is a file; name the folder that {name} lies in, an archive unpacked")
    else:
        READERS[name].read(reader, Path(root).expanduser(), split)
    data = reader.dataset().of_classes(classes).sample(limit, seed)
    data = data.decodable() if decode and len(data) else data
    if not len(data):
        error = InputError(f"{root}: no usable photo in {name} {data.split}")
        error.add_note(data.summary())
        raise error
    if strict and (lost := [note for note in data.notes if note.outcome == "left out"]):
        raise InputError(
            f"{root}: {len(lost):,} left out, the first: {lost[0]}; put it right, or go on without `strict`"
        )
    return data


def _scenes(reader: Reader, split: str, n: int) -> None:
    """The embedded scenes in the common type; they stay in memory."""
    drawn = scenes(split, n, reader.seed)
    reader.split = split
    for i, (label, box) in enumerate(zip(drawn.labels, drawn.boxes)):
        header = partial(Header, drawn.images.shape[1:3])
        item = Object(str(label), tuple(box))
        reader.add_decoded(f"{split}-{reader.seed}-{i:05d}", header, partial(_scene, drawn.images, i), [item])


def _scene(images: np.ndarray, i: int, exif: bool) -> np.ndarray:
    return images[i]
