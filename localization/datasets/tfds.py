"""Data sets prepared by TensorFlow Datasets as array_record: voc/2007, voc/2012, or `tfds_voc`'s (the extra `tfds`).

TFDS stores VOC's own 1-based inclusive numbers divided by the photo's size. Reading needs no TensorFlow; preparing
TFDS's `voc` does, preparing `tfds_voc`'s does not.
"""

from collections.abc import Collection
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from localization.boxes import from_tfds
from localization.datasets.dataset import Dataset, Object, Reader, drawn
from saliency.errors import InputError
from saliency.photos import decode_header, decode_photo

DEFAULT_SPLIT = "train+validation"


def read(
    root: Path,
    split: str = DEFAULT_SPLIT,
    *,
    classes: Collection[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Dataset:
    """A split in TFDS's words ("test", "train+validation") of the prepared folder, the one with dataset_info.json.

    Raises InputError, also where the extra is not installed.
    """
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

    reader = Reader(builder.info.full_name, split)
    for i in drawn(range(len(records)), None if classes else limit, seed):
        record = records[i]
        source = Path(_text(record["image/filename"])).stem
        try:
            size = decode_header(record["image"], source).size
        except InputError as error:
            reader.note(source, f"photo cannot be read: {error}", "left out")
            continue
        fields = ("label", "bbox", "is_difficult", "is_truncated")
        objects = [
            Object(names[label], tuple(from_tfds(box, size)), bool(difficult), bool(truncated))
            for label, box, difficult, truncated in zip(*(record["objects"][name] for name in fields))
        ]
        reader.add(source, size, objects, partial(_decoded, records, i, source))
    return reader.dataset()


def _decoded(records, i: int, source: str):
    return decode_photo(records[i]["image"], source, False)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
