"""PASCAL VOC's layout, of any year and of anybody: `Annotations/*.xml`, `JPEGImages/*`, `ImageSets/Main/*.txt`.

Corners are 1-based and inclusive. A photo's name is its annotation's, whatever the XML itself says. EXIF is ignored,
as VOC does, unless the XML states the size of the turned photo.
"""

import math
from collections.abc import Collection
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse

from localization.datasets.dataset import Dataset, Object, Reader, drawn, inside
from saliency._reading import check_size, read_text
from saliency.errors import InputError
from saliency.photos import SUFFIXES, read_header, read_photo

DEFAULT_SPLIT = "trainval"
MAX_XML = 2**24  # bytes: a hundred thousand objects on one photo


def read(
    root: Path,
    split: str = DEFAULT_SPLIT,
    *,
    classes: Collection[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Dataset:
    """A split: a file of `ImageSets/Main`, "all" for every annotation; `bus_val` takes the photos showing a bus.

    `root` is a `VOC2007`-like folder or what holds exactly one. Raises InputError.
    """
    folder = find(root)
    photos = {
        path.stem: path.name for path in sorted((folder / "JPEGImages").iterdir()) if path.suffix.lower() in SUFFIXES
    }
    reader = Reader(folder.name, split, first=1)
    listed = folder / ("Annotations" if split == "all" else f"ImageSets/Main/{split}.txt")
    for source in drawn(split_ids(folder, split), None if classes else limit, seed):
        photo = inside(folder / "JPEGImages", photos[source], listed) if source in photos else None
        add_annotated(reader, source, inside(folder / "Annotations", f"{source}.xml", listed), photo)
    return reader.dataset()


def find(root: Path) -> Path:
    """The one folder at or below `root` that has Annotations and JPEGImages."""
    found = [
        path
        for path in [root, *sorted(root.glob("*")), *sorted(root.glob("VOCdevkit/*"))]
        if (path / "Annotations").is_dir() and (path / "JPEGImages").is_dir()
    ]
    if not found:
        raise InputError(
            f"{root}: no folder with Annotations and JPEGImages in it; name VOCdevkit or VOCdevkit/VOC2007"
        )
    if len(found) > 1:
        raise InputError(f"{root}: holds {', '.join(path.name for path in found)}; name one of these folders")
    return found[0]


def split_ids(folder: Path, split: str) -> list[str]:
    """The ids of a split, each once; of a class file those that are not marked -1."""
    if split == "all":
        return sorted(path.stem for path in (folder / "Annotations").glob("*.xml"))
    sets = folder / "ImageSets" / "Main"
    path = inside(sets, f"{split}.txt")
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in sets.glob("*.txt") if "_" not in p.stem)) or "none"
        raise InputError(f"{path}: no such split; there are: {there}, and 'all'")
    rows = [line.split() for line in read_text(path).splitlines() if line.strip()]
    return list(dict.fromkeys(row[0] for row in rows if row[1:] != ["-1"]))


def add_annotated(reader: Reader, source: str, xml: Path, photo: Path | None) -> None:
    """Read one photo and its XML into the reader, or note why it is left out."""
    try:
        check_size(xml, MAX_XML)
        root = parse(xml).getroot()
    except FileNotFoundError:
        return reader.note(source, "no annotation", "left out")
    except (ParseError, DefusedXmlException, ValueError, LookupError, OSError) as error:
        return reader.note(source, f"annotation is no plain XML: {error}", "left out")

    stated = Path((root.findtext("filename") or "").strip().replace("\\", "/")).name
    if stated and Path(stated).stem != source.rpartition("/")[2]:
        reader.note(source, f"XML names another file: {stated}", "kept")
        if photo is None:
            photo = _named(xml.parents[1] / "JPEGImages", stated)
    if photo is None:
        return reader.note(source, "no photo", "left out")
    try:
        header = read_header(photo)
    except InputError as error:
        return reader.note(source, f"photo cannot be read: {error}", "left out")

    size, turned, scale = header.size, False, (1.0, 1.0)
    said = tuple(_number(root.findtext(f"size/{side}")) or 0.0 for side in ("height", "width"))
    if min(said) <= 0:
        reader.note(source, "size missing: taken from the photo", "repaired")
    elif said != size:
        if said == header.upright:
            size, turned = size[::-1], True
            reader.note(source, "annotated on the photo as EXIF turns it", "repaired")
        elif abs(said[0] * size[1] / (said[1] * size[0]) - 1) < 0.02:
            scale = (size[1] / said[1], size[0] / said[0])
            reader.note(source, f"annotated at another size: {said[1]:g}x{said[0]:g}", "repaired")
        else:
            problem = f"size is another than the photo's: {said[1]:g}x{said[0]:g}, not {size[1]}x{size[0]}"
            return reader.note(source, problem, "left out")
    objects = [item for element in root.iterfind("object") if (item := _object(reader, source, element, scale))]
    reader.add(source, size, objects, partial(read_photo, photo, turned))


def _object(reader: Reader, source: str, element: Element, scale: tuple[float, float]) -> Object | None:
    label = (element.findtext("name") or "").strip()
    box = element.find("bndbox")  # its own: parts of an object have boxes too
    if not label or box is None:
        reader.note(source, f"object without {'a box' if label else 'a name'}: {label}", "left out")
        return None
    corners = [_number(box.findtext(name)) for name in ("xmin", "ymin", "xmax", "ymax")]
    if any(number is None for number in corners):
        reader.note(source, f"box without four numbers: {label}", "left out")
        return None
    left, top, right, bottom = (number for number in corners if number is not None)
    if any(number % 1 for number in (left, top, right, bottom)):
        reader.note(source, f"coordinates that are not whole: {label}", "kept")
    left, right = (left - 1) * scale[0] + 1, right * scale[0]
    top, bottom = (top - 1) * scale[1] + 1, bottom * scale[1]
    flags = [(element.findtext(name) or "0").strip() == "1" for name in ("difficult", "truncated")]
    return Object(label, (left, top, right, bottom), *flags)


def _named(folder: Path, name: str) -> Path | None:
    """The photo of that name, if it is one of the folder's."""
    try:
        path = inside(folder, name)
    except InputError:
        return None
    return path if path.is_file() else None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
