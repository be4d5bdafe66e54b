"""Data sets prepared by TensorFlow Datasets as array_record: voc/2007, voc/2012, or `tfds_voc`'s (the extra `tfds`).

TFDS stores VOC's own 1-based inclusive numbers divided by the photo's size. Reading needs no TensorFlow; preparing
TFDS's `voc` does, preparing `tfds_voc`'s does not.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from localization.boxes import from_tfds
from localization.datasets.names import bare
from localization.datasets.reader import Object, Reader
from saliency.errors import InputError
from saliency.photos import Header, decode_header, decode_photo

DEFAULT_SPLIT = "train+validation"


def read(reader: Reader, root: Path, split: str | None) -> None:
    """A split in TFDS's words ("test", "train+validation") of the prepared folder, the one with dataset_info.json.

    Raises InputError, also where the extra is not installed.
    """
    reader.split = split = split or DEFAULT_SPLIT
    if find_spec("tensorflow_datasets") is None or find_spec("array_record") is None:
        raise InputError("reading TFDS data needs the extra 'tfds': pip install 'salbox[tfds]'")
    import tensorflow_datasets as tfds

    found = sorted(path.parent for path in root.rglob("dataset_info.json"))
    if len(found) != 1:
        there = ", ".join(str(path.relative_to(root)) for path in found) or "none"
        raise InputError(
            f"{root}: name the folder of one prepared data set, with dataset_info.json in it; found {there}"
        )
    builder = tfds.builder_from_directory(found[0])
    try:
        records = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
        names = builder.info.features["objects"]["label"].names
    except (ValueError, KeyError, NotImplementedError) as error:
        raise InputError(f"{found[0]}: no split {split!r} of VOC objects in array_record ({error})") from None

    reader.name = builder.info.full_name
    for i in reader.sampled(range(len(records))):
        try:
            record = records[i]
            source = bare(PurePosixPath(_text(record["image/filename"])).as_posix())
            header = decode_header(record["image"], source)
            objects = _objects(record["objects"], names, header.size)
        except InputError as error:
            reader.note(source, f"photo cannot be read: {error}", "left out")
        except (LookupError, TypeError, ValueError) as error:
            reader.note(f"record {i}", f"broken record: {type(error).__name__}: {error}", "left out")
        else:
            reader.add_decoded(source, partial(_same, header), partial(_decoded, records, i, source), objects)


def _objects(fields: Mapping[str, Any], names: Sequence[str], size: tuple[int, int]) -> list[Object]:
    columns = (fields[name] for name in ("label", "bbox", "is_difficult", "is_truncated"))
    return [
        Object(names[label], tuple(from_tfds(box, size)), bool(difficult), bool(truncated))
        for label, box, difficult, truncated in zip(*columns, strict=True)
    ]


def _same(header: Header) -> Header:
    return header


def _decoded(records: Any, i: int, source: str, exif: bool) -> np.ndarray:
    return decode_photo(records[i]["image"], source, exif)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
