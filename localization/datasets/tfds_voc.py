"""A TensorFlow Datasets builder for VOC folders that needs no TensorFlow (the extra `tfds`).

TFDS's own `voc` can be read without TensorFlow once prepared, but not prepared. This one writes the same features
from a folder on disk, as array_record:

    SalboxVoc(folder="VOCdevkit/VOC2007", data_dir=...).download_and_prepare()
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from localization.boxes import to_tfds
from localization.datasets import load, voc
from localization.datasets.dataset import Dataset

SPLITS = {"train": "train", "validation": "val", "test": "test"}  # TFDS's name -> VOC's file


class SalboxVoc(tfds.core.GeneratorBasedBuilder):
    """Photos as their files are, boxes as repaired by the folder reader, in TFDS's numbers."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, folder: Path | str, data_dir: Path | str, **options):
        kit = voc.find(Path(folder))
        self.folder = kit.folder
        there = [name for name, file in SPLITS.items() if kit.sets and (kit.sets / f"{file}.txt").is_file()]
        self.datasets = {name: load("voc", self.folder, split=SPLITS[name]) for name in there}
        super().__init__(
            data_dir=str(data_dir), config=tfds.core.BuilderConfig(name=self.folder.name), file_format="array_record",
            **options,
        )  # fmt: skip

    def _info(self) -> tfds.core.DatasetInfo:
        names = sorted({name for data in self.datasets.values() for name in data.classes})
        label = tfds.features.ClassLabel(names=names)
        features = {
            "image": tfds.features.Image(),
            "image/filename": tfds.features.Text(),
            "objects": tfds.features.Sequence(
                {
                    "label": label,
                    "bbox": tfds.features.BBoxFeature(),
                    "is_truncated": np.bool_,
                    "is_difficult": np.bool_,
                }
            ),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: object) -> dict[str, Iterator[tuple[str, dict]]]:
        return {name: self._generate_examples(data) for name, data in self.datasets.items()}

    def _generate_examples(self, data: Dataset) -> Iterator[tuple[str, dict]]:
        for annotation, decode in zip(data.annotations, data.images.decoders):
            path: Path = decode.args[0]  # type: ignore[attr-defined]  # read_photo's
            objects = [
                {
                    "label": label,
                    "bbox": tfds.features.BBox(*to_tfds(box, annotation.size)),
                    "is_truncated": truncated,
                    "is_difficult": difficult,
                }
                for label, box, truncated, difficult in zip(
                    annotation.labels, annotation.boxes, annotation.truncated, annotation.difficult
                )
            ]
            yield annotation.source, {"image": str(path), "image/filename": path.name, "objects": objects}
