"""COCO's layout: `annotations/instances_<split>.json` beside the photos' folder `<split>`.

Boxes are `x y width height` in continuous pixels; objects marked as crowds count as difficult.
"""

import json
from collections import defaultdict
from collections.abc import Collection
from functools import partial
from pathlib import Path

from localization.boxes import from_xywh
from localization.datasets.dataset import Dataset, Object, Reader, drawn, inside
from localization.datasets.photos import read_header, read_photo
from saliency.errors import InputError

DEFAULT_SPLIT = "val2017"


def read(
    root: Path,
    split: str = DEFAULT_SPLIT,
    *,
    classes: Collection[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Dataset:
    """The split of that name; `images/<split>` is looked at too. Raises InputError."""
    table = inside(root / "annotations", f"instances_{split}.json")
    photos = next((p for p in (root / split, root / "images" / split, root / "images") if p.is_dir()), None)
    if not table.is_file() or photos is None:
        raise InputError(f"{root}: needs annotations/instances_{split}.json and the photos' folder {split}")
    try:
        content = json.loads(table.read_text(encoding="utf-8"))
        names = {category["id"]: category["name"] for category in content["categories"]}
        objects = defaultdict(list)
        for item in content["annotations"]:
            corners = tuple(from_xywh(item["bbox"]))
            objects[item["image_id"]].append(Object(names[item["category_id"]], corners, bool(item.get("iscrowd"))))
        entries = [(entry["id"], entry["file_name"]) for entry in content["images"]]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"{table}: is no COCO instances file ({type(error).__name__}: {error})") from None

    reader = Reader("coco", split)
    for number, name in drawn(entries, None if classes else limit, seed):
        photo = inside(photos, name)
        try:
            reader.add(Path(name).stem, read_header(photo).size, objects[number], partial(read_photo, photo))
        except InputError as error:
            reader.note(name, f"photo cannot be read: {error}", "left out")
    occurring = {label for a in reader.annotations for label in a.labels}
    return reader.dataset([name for name in names.values() if name in occurring])
