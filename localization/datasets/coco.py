"""COCO's layout: `annotations/instances_<split>.json` beside the photos' folder `<split>`, or Roboflow's
`<split>/_annotations.coco.json` among the photos.

Boxes are `x y width height` in continuous pixels; objects marked as crowds count as difficult. A photo's id is its
`file_name`, or what of a path of another machine is there. EXIF is ignored, as COCO does, unless the JSON states the
size of the turned photo.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from localization.datasets.names import inside, subfolder
from localization.datasets.reader import Object, Reader, grouped, unambiguous
from localization.datasets.views import Size
from localization.datasets.voc import flag
from saliency._reading import number_in, read_json
from saliency.errors import InputError

DEFAULT_SPLIT = "val2017"
FOREIGN = re.compile(r"/|[A-Za-z]:/|\w+:/")  # a path of another machine, or an address


def read(reader: Reader, root: Path, split: str | None) -> None:
    """The split of that name (default: val2017, or the only one there is); `images/<split>` is looked at too."""
    table, folders = _located(reader, root, split)
    content = read_json(table)
    if not isinstance(content, dict) or not all(
        isinstance(content.get(part), list) for part in ("images", "annotations", "categories")
    ):
        raise InputError(f"{table}: is no COCO instances file: it must hold the lists images, annotations, categories")
    names = unambiguous(reader, _categories(reader, content["categories"]), "name of a category")
    reader.order = list(names.values())
    entries = _placed(reader, folders, list(_images(reader, content["images"])))
    source_of = unambiguous(reader, ((number, source) for number, source, _ in entries), "photo with this number")
    sizes = grouped((source, size) for number, source, size in entries if number in source_of)
    objects = grouped(_objects(reader, content["annotations"], source_of, names))
    for source, stated in sizes.items():
        if len(stated) > 1:
            reader.note(source, f"listed more than once: {len(stated)} times", "repaired")
    for source in reader.sampled(sizes):
        found = (reader.photo(folder, source, table, source) for folder in folders)
        photo = next((path for path in found if path), None)
        reader.add(source, photo, objects.get(source, []), sizes[source][0])


def _located(reader: Reader, root: Path, split: str | None) -> tuple[Path, list[Path]]:
    """The table of a split, and the folders in which its photos may lie."""
    held = subfolder(root, "annotations")
    there = {path.stem[len("instances_") :]: path for path in sorted(held.glob("instances_*.json"))} if held else {}
    beside = {path.parent.name: path for path in sorted(root.glob("*/_annotations.coco.json"))}
    if (root / "_annotations.coco.json").is_file():
        beside[root.resolve().name] = root / "_annotations.coco.json"
    known = beside | there
    chosen = split or (DEFAULT_SPLIT if DEFAULT_SPLIT in known or len(known) != 1 else next(iter(known)))
    inside(root / "annotations", f"instances_{chosen}.json")
    reader.split = chosen
    photos = [root if chosen in beside and chosen not in there else None, subfolder(root, chosen)]
    if images := subfolder(root, "images"):
        photos += [subfolder(images, chosen), images]
    folders = [folder for folder in photos if folder]
    if chosen in beside and chosen not in there:
        folders = [beside[chosen].parent]
    if chosen not in known or not folders:
        raise InputError(
            f"{root}: needs annotations/instances_{chosen}.json and the photos' folder {chosen}; it has the splits:"
            f" {', '.join(known) or 'none'}"
        )
    return known[chosen], [*folders, root] if root not in folders else folders


def _number(value: Any) -> str | None:
    """An id, which some write as a number and some as text."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else None


def _categories(reader: Reader, entries: list[Any]) -> Iterator[tuple[str, str]]:
    for place, entry in enumerate(entries):
        number = _number(entry.get("id")) if isinstance(entry, dict) else None
        if number is None or not isinstance(entry.get("name"), str | int):
            reader.note(f"category {place}", "broken category: it needs id and name", "left out")
        else:
            yield number, str(entry["name"]).strip()


def _images(reader: Reader, entries: list[Any]) -> Iterator[tuple[str, str, Size | None]]:
    """(number, id, stated size) of each photo."""
    for place, entry in enumerate(entries):
        number = _number(entry.get("id")) if isinstance(entry, dict) else None
        if number is None or not isinstance(entry.get("file_name"), str) or not entry["file_name"].strip():
            reader.note(f"image {place}", "broken entry of a photo: it needs id and file_name", "left out")
            continue
        sides = [number_in(str(entry.get(side, ""))) for side in ("height", "width")]
        size = (sides[0], sides[1]) if sides[0] and sides[1] else None
        yield number, PurePosixPath(entry["file_name"].strip().replace("\\", "/")).as_posix(), size


def _placed(
    reader: Reader, folders: Sequence[Path], entries: Sequence[tuple[str, str, Size | None]]
) -> list[tuple[str, str, Size | None]]:
    """The entries with ids that name photos here: a path of another machine, or from another folder on, means the
    photo of the longest end of it that is there. Two paths that end in one photo are left out.
    """
    meant: dict[str, str] = {}
    for _, name, _ in entries:
        elsewhere = "/" in name and ".." not in name and not any((folder / name).is_file() for folder in folders)
        if FOREIGN.match(name) or elsewhere:
            parts = name.split("/")
            ends = ["/".join(parts[i:]) for i in range(1, len(parts))]
            ends = [end for end in ends if not FOREIGN.match(end)]
            there = next((end for folder in folders for end in ends if (folder / end).is_file()), None)
            meant[name] = there or (parts[-1] if FOREIGN.match(name) else name)
    taken = Counter(meant.get(name, name) for name in {name for _, name, _ in entries})
    placed = []
    for number, name, size in entries:
        source = meant.get(name, name)
        if taken[source] == 1:
            placed.append((number, source, size))
        else:
            reader.note(name, f"path that ends as another: {source}", "left out")
    return placed


def _objects(
    reader: Reader, entries: list[Any], source_of: Mapping[str, str], names: Mapping[str, str]
) -> Iterator[tuple[str, Object]]:
    for place, entry in enumerate(entries):
        number = _number(entry.get("image_id")) if isinstance(entry, dict) else None
        if number is None:
            reader.note(f"annotation {place}", "broken annotation: it needs image_id", "left out")
            continue
        source, label = source_of.get(number), names.get(_number(entry.get("category_id")) or "")
        box = entry.get("bbox")
        numbers = [number_in(str(side)) for side in box] if isinstance(box, list) else []
        if source is None:
            reader.note(f"annotation {place}", f"annotation of a photo that is not listed: {number[:40]}", "left out")
        elif label is None:
            reader.note(
                source, f"object of no category that is listed: {str(entry.get('category_id'))[:40]}", "left out"
            )
        elif len(numbers) != 4 or any(side is None for side in numbers):
            reader.note(source, f"box without four numbers: {label}", "left out")
        else:
            left, top, width, height = (side for side in numbers if side is not None)
            corners = (left, top, left + width, top + height)
            yield source, Object(label, corners, flag(str(entry.get("iscrowd", 0))) or False)
