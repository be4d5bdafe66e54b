"""Images with boxes, one type whatever lies on disk: `load(name, root, split=...)`."""

from collections.abc import Collection
from functools import partial
from pathlib import Path

from localization.datasets import coco, folder, imagenet, tfds, tiny_imagenet, voc, wsol
from localization.datasets.dataset import Annotation, Dataset, Example, Object, Reader
from localization.datasets.scenes import Scenes, scenes
from saliency._checks import kind_of, one_of, whole
from saliency.errors import InputError

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
) -> Dataset:
    """A data set as it lies on disk under `root`, or the embedded "scenes", which need none.

    `split` is in the data set's own words (default: the one usually scored). `classes` keeps objects of these
    labels and the photos that show one, of which `limit` are drawn from `seed`. Raises InputError.
    """
    one_of("name", name, NAMES)
    whole("limit", limit, least=1, optional=True)
    whole("seed", seed)
    if split is not None:
        kind_of("split", split, str, "in the data set's own words")
    if classes is not None:
        kind_of("classes", classes, Collection, "the labels to keep")
    if name == "scenes":
        data = _scenes(split or "test", 1000 if limit is None else limit, seed)
    elif root is None or not Path(root).exists():
        raise InputError(f"{root}: no such folder; {name} is read from where it lies on disk")
    else:
        reader = READERS[name]
        data = reader.read(Path(root), split or reader.DEFAULT_SPLIT, classes=classes, limit=limit, seed=seed)
    data = data.of_classes(classes).sample(limit, seed)
    if not len(data):
        raise InputError(f"{root}: no usable photo in {name} {data.split}\n{data.summary()}")
    return data


def _scenes(split: str, n: int, seed: int) -> Dataset:
    """The embedded scenes in the common type; they stay in memory."""
    drawn = scenes(split, n, seed)
    reader = Reader("scenes", split)
    for i, (label, box) in enumerate(zip(drawn.labels, drawn.boxes)):
        reader.add(f"{split}-{seed}-{i:05d}", drawn.images.shape[1:3], [Object(str(label), tuple(box))],
                   partial(drawn.images.__getitem__, i))  # fmt: skip
    return reader.dataset()


__all__ = ["NAMES", "Annotation", "Dataset", "Example", "Scenes", "load", "scenes"]
