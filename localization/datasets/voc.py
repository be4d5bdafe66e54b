"""PASCAL VOC's layout, of any year and of anybody: `Annotations/*.xml`, `JPEGImages/*`, `ImageSets/Main/*.txt`.

`annotations` and `images` in any case will do (LabelImg, Oxford Pets), and so will XML beside the photos (Roboflow), in
the folder or in subfolders, which are its splits. Corners are 1-based and inclusive. A photo's name is its
annotation's, whatever the XML itself says. EXIF is ignored, as VOC does, unless the XML states the size of the turned
photo.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse

from localization.datasets.names import bare, hidden, inside, is_photo, key, subfolder
from localization.datasets.reader import Object, Reader
from saliency._reading import check_size, number_in, read_text
from saliency.errors import InputError

DEFAULT_SPLIT = "trainval"
MAX_XML = 2**24  # bytes: a hundred thousand objects on one photo
_FLAGS = {
    **dict.fromkeys(("1", "true", "yes", "y"), True),
    **dict.fromkeys(("0", "false", "no", "n", "", "unspecified", "none"), False),
}


@dataclass(frozen=True)
class Devkit:
    """A data set's folder and where in it things lie; `sets` is None where no list says which photos a split has."""

    folder: Path
    annotations: Path
    photos: Path
    sets: Path | None

    @property
    def beside(self) -> bool:
        """Whether the XML lies beside the photos."""
        return self.annotations == self.photos


def read(reader: Reader, root: Path, split: str | None) -> None:
    """A split: a file of `ImageSets/Main`, "all" for every annotation; `bus_val` takes the photos showing a bus.

    The default is "trainval", or "all" where there are no lists. `root` is a `VOC2007`-like folder or what holds
    exactly one.
    """
    kit = find(root)
    unlisted = kit.sets is None
    reader.name, reader.first = kit.folder.resolve().name, 1
    reader.split = split or ("all" if unlisted else DEFAULT_SPLIT)
    ids, listed = split_ids(reader, kit, reader.split)
    for source in reader.sampled(reader.once(ids)):
        add_annotated(reader, source, kit.annotations, kit.photos, source, listed)


def find(root: Path) -> Devkit:
    """The one folder at or below `root` that has annotations and photos."""
    below = [path for path in sorted(root.glob("*")) if path.is_dir() and not hidden(path.name)]
    held = [path for path in sorted(root.glob("VOCdevkit/*")) if path.is_dir()]
    found = [kit for path in (root, *below, *held) if (kit := _devkit(path))]
    if not found and any(_is_xml(path) for pattern in ("*", "*/*") for path in root.glob(pattern)):
        return Devkit(root, root, root, None)
    if not found:
        raise InputError(
            f"{root}: no folder with Annotations and JPEGImages in it (or annotations and images, or XML beside"
            " photos); name VOCdevkit or VOCdevkit/VOC2007"
        )
    if len(found) > 1:
        raise InputError(f"{root}: holds {', '.join(kit.folder.name for kit in found)}; name one of these folders")
    return found[0]


def _devkit(folder: Path) -> Devkit | None:
    annotations, photos = (
        subfolder(folder, "Annotations", "Annotation"),
        subfolder(folder, "JPEGImages", "images", "image"),
    )
    if annotations is None or photos is None:
        return None
    if not any(map(_is_xml, annotations.iterdir())):
        annotations = subfolder(annotations, "xmls", "xml") or annotations
    sets = subfolder(folder, "ImageSets")
    if sets:
        sets = subfolder(sets, "Main") or (sets if any(sets.glob("*.txt")) else None)
    return Devkit(folder, annotations, photos, sets)


def _is_xml(path: Path) -> bool:
    return path.suffix.lower() == ".xml" and not hidden(path.name)


def split_ids(reader: Reader, kit: Devkit, split: str) -> tuple[list[str], Path]:
    """The ids of a split, of a class file those that are not marked -1; and what lists them."""
    if split == "all" or kit.beside:
        names = [path.relative_to(kit.annotations) for path in kit.annotations.rglob("*") if _is_xml(path)]
        ids = sorted(name.with_suffix("").as_posix() for name in names if not any(map(hidden, name.parts)))
        if split != "all":
            there = sorted({one.partition("/")[0] for one in ids if "/" in one})
            if split not in there:
                raise InputError(f"{kit.folder / split}: no such split; there are: {', '.join([*there, 'all'])}")
            ids = [one for one in ids if one.startswith(f"{split}/")]
        return ids, kit.annotations
    sets = kit.sets or kit.folder / "ImageSets" / "Main"
    path = reader.file(sets, f"{split}.txt", "split")
    if path is None:
        lists = sorted(p.stem for p in kit.sets.glob("*.txt") if "_" not in p.stem) if kit.sets else []
        raise InputError(f"{sets / split}.txt: no such split; there are: {', '.join(lists) or 'none'}, and 'all'")
    return list(_listed(reader, kit, path)), path


def _listed(reader: Reader, kit: Devkit, path: Path) -> Iterator[str]:
    """The ids in a list, which may hold spaces, carry a photo's suffix, and be followed by -1, 0 or 1."""
    known = reader.names(kit.annotations)

    def annotated(name: str) -> bool:
        if "/" not in name.replace("\\", "/"):
            return key(f"{name}.xml") in known  # without a look at the disk for each
        try:
            return reader.file(kit.annotations, f"{name}.xml", path) is not None
        except InputError:  # a path of another machine
            return False

    for line in read_text(path).splitlines():
        text = line.strip()
        marked = re.fullmatch(r"(.*\S)\s+(-?\d+)", text)
        if text and (not marked or annotated(text)):
            yield _id(text, annotated)
        elif marked and marked[2] != "-1":
            yield _id(marked[1], annotated)


def _id(name: str, annotated: Callable[[str], bool]) -> str:
    """A listed name without the suffix and the folders of its photo, where the annotation is found only so."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return next((way for way in (name, bare(name), last, bare(last)) if annotated(way)), bare(name))


def add_annotated(reader: Reader, source: str, annotations: Path, photos: Path, name: str, listed: Path) -> None:
    """Read the XML of one photo and add it with its photo, called `name` in the folder of photos, or note why not;
    `listed` is what holds its id."""
    xml = reader.file(annotations, f"{source}.xml", listed)
    if xml is None:
        return reader.note(source, "no annotation", "left out")
    try:
        check_size(xml, MAX_XML)
        root = parse(xml).getroot()
    except (ParseError, DefusedXmlException, ValueError, LookupError, OSError) as error:
        return reader.note(source, f"annotation is no plain XML: {error}", "left out")
    for element in root.iter():  # namespaces and capitals mean nothing here
        if isinstance(element.tag, str):
            element.tag = element.tag.rpartition("}")[2].lower()
    elements = root.findall("object") or list(root.iter("object"))
    if root.tag != "annotation" and not elements:
        return reader.note(source, f"XML is no VOC annotation: its root is {root.tag[:40]}", "left out")

    stated = Path((root.findtext("filename") or "").strip().replace("\\", "/")).name
    holder, _, last = name.rpartition("/")
    own = bool({key(stated), key(bare(stated))} & {key(last), key(bare(last))})
    exact = _named(photos / holder, stated) if own else None
    photo = exact or reader.photo(photos, name, listed, source)
    if stated and not own:
        reader.note(source, f"XML names another file: {stated}", "kept")
        photo = photo or _named(photos, stated)

    height, width = ((number_in(root.findtext(f"size/{side}") or "") or 0.0) for side in ("height", "width"))
    size = (height, width) if np.isfinite([height, width]).all() and min(height, width) > 0 else None
    if size is None and photo is not None:
        reader.note(source, "size missing: taken from the photo", "repaired")
    objects = [item for element in elements if (item := _object(reader, source, element))]
    return reader.add(source, photo, objects, size)


def _object(reader: Reader, source: str, element: Element) -> Object | None:
    label = (element.findtext("name") or "").strip()
    box = element.find("bndbox")  # its own: parts of an object have boxes too
    if not label or box is None:
        reader.note(source, f"object without {'a box' if label else 'a name'}: {label}", "left out")
        return None
    corners = [number_in(box.findtext(name) or "") for name in ("xmin", "ymin", "xmax", "ymax")]
    numbers = tuple(number for number in corners if number is not None and np.isfinite(number))
    if len(numbers) < 4:
        reader.note(source, f"box without four numbers: {label}", "left out")
        return None
    if any(number % 1 for number in numbers):
        reader.note(source, f"coordinates that are not whole: {label}", "kept")
    flags = []
    for name in ("difficult", "truncated"):
        said = flag(element.findtext(name) or "")
        if said is None:
            reader.note(source, f"{name} is neither 0 nor 1, taken as 0: {label}", "kept")
        flags.append(bool(said))
    return Object(label, numbers, *flags)


def flag(text: str) -> bool | None:
    """What a yes or no says, as the tools write it; None for anything else."""
    text = text.strip().lower()
    number = number_in(text)
    return _FLAGS.get(text, bool(number) if number is not None else None)


def _named(folder: Path, name: str) -> Path | None:
    """The photo of that name, if it is one of the folder's."""
    try:
        path = inside(folder, name)
    except InputError:
        return None
    return path if is_photo(path) and path.is_file() else None
