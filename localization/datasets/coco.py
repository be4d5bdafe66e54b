"""COCO's layout: `annotations/instances_<split>.json` beside the photos' folder `<split>`.

Boxes are `x y width height` in continuous pixels; objects marked as crowds count as difficult.
"""

from collections import defaultdict
from collections.abc import Collection
from functools import partial
from pathlib import Path

from localization.datasets.dataset import Dataset, Object, Reader, drawn, inside
from saliency._reading import read_json
from saliency.errors import InputError
from saliency.photos import read_header, read_photo

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
    content = read_json(table)
    try:
        names = {category["id"]: str(category["name"]) for category in content["categories"]}
        objects = defaultdict(list)
        for item in content["annotations"]:
            left, top, width, height = map(float, item["bbox"])
            corners = (left, top, left + width, top + height)
            objects[item["image_id"]].append(Object(names[item["category_id"]], corners, bool(item.get("iscrowd"))))
        entries = [(str(entry["file_name"]), objects.get(entry["id"], [])) for entry in content["images"]]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{table}: is no COCO instances file ({type(error).__name__}: {error})") from None

    reader = Reader("coco", split)
    for name, shown in drawn(entries, None if classes else limit, seed):
        photo = inside(photos, name, table)
        try:
            reader.add(Path(name).stem, read_header(photo).size, shown, partial(read_photo, photo, False))
        except InputError as error:
            reader.note(name, f"photo cannot be read: {error}", "left out")
    occurring = {label for a in reader.annotations for label in a.labels}
    return reader.dataset([name for name in names.values() if name in occurring])
