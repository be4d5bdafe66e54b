"""Photos as an analysis of a few of them takes them: images with what their names, or their data set, say of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from localization.datasets import load, scenes
from localization.robustness import class_of_name
from saliency.errors import InputError
from saliency.models.classes import ClassList
from saliency.photos import read_photo

Known = dict[str, Any]  # names, labels, boxes and notes, as `saliency.analyze_occlusion` takes them


def named_photos(
    paths: Sequence[Path],
    classes: ClassList | None = None,
    *,
    limit: int | None = None,
    seed: int = 0,
    strict: bool = False,
) -> tuple[list[np.ndarray], Known]:
    """Files, and the photos of folders, uint8 `[h, w, 3]`; and their `names`, `labels` and the `notes` of what was left
    out. A label is the one of `classes` that a file or folder is named by, None where there is none.

    Of each folder `limit` photos are drawn from `seed`; with `strict` a photo in it that cannot be read is an
    InputError, as is a file that cannot.
    """
    images, names, notes = list[np.ndarray](), list[str](), list[str]()
    for path in paths:
        if not path.is_dir():
            images.append(read_photo(path))
            names.append(path.name)
            continue
        found = load("folder", path, limit=limit, seed=seed, decode=True, strict=strict)
        images += found.images
        names += [one.source for one in found.annotations]
        notes += map(str, found.notes)
    indices = [class_of_name(name, classes) if classes else None for name in names]
    labels = [classes.names[i] if classes and i is not None else None for i in indices]
    return images, {"names": names, "labels": labels, "notes": notes}


def scene_photos(count: int, seed: int = 0) -> tuple[list[np.ndarray], Known]:
    """Test scenes of the embedded data set, with their names, labels and boxes."""
    if count < 1:
        raise InputError("give photos, or a number of scenes of at least 1")
    data = scenes("test", count, seed)
    names = [f"scene-{i}" for i in range(len(data))]
    return list(data.images), {"names": names, "labels": [*map(str, data.labels)], "boxes": [*data.boxes]}
