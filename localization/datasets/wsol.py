"""wsolevaluation's layout (Choe et al. 2020): `metadata/<NAME>/<split>/*.txt` and photos in `dataset/<NAME>`; or, for a
single data set, `metadata/<split>/*.txt` and photos in `dataset` or ILSVRC's `Data/CLS-LOC`.

`image_ids.txt` lists photos, `class_labels.txt` has `id,label`, `localization.txt` `id,x0,y0,x1,y1` (0-based,
inclusive, one line an object) and `image_sizes.txt` `id,width,height`, on which the boxes were measured. EXIF is
ignored, unless that is the size of the turned photo.
"""

from pathlib import Path

from localization.datasets.names import inside, subfolder
from localization.datasets.reader import Object, Reader, grouped, unambiguous
from saliency._reading import read_text
from saliency.errors import InputError

DEFAULT_SPLIT = "test"


def read(reader: Reader, root: Path, split: str | None) -> None:
    """A split; where `metadata` holds several data sets, it is named with it: "CUB/test"."""
    split = split or DEFAULT_SPLIT
    inside(root / "metadata", split)
    metadata = root / "metadata"
    patterns = [f"{split}/image_ids.txt", *([] if "/" in split else [f"*/{split}/image_ids.txt"])]
    found = sorted(path for pattern in patterns for path in metadata.glob(pattern))
    if len(found) != 1:
        there = sorted(path.parent.relative_to(metadata).as_posix() for path in metadata.rglob("image_ids.txt"))
        raise InputError(f"{root}: needs one split, of {', '.join(there) or 'none: there is no metadata/NAME/SPLIT'}")
    folder = found[0].parent
    single = folder.parent == metadata
    reader.name, reader.split, reader.first = (root.resolve() if single else folder.parent).name, folder.name, 0
    dataset = subfolder(root, "dataset")
    own = None if single or dataset is None else subfolder(dataset, reader.name)
    photos = own or dataset or subfolder(subfolder(root, "Data") or root, "CLS-LOC") or root
    labels = unambiguous(
        reader, ((row[0], row[1]) for row in _rows(reader, folder / "class_labels.txt", str, str)), "label"
    )
    sizes = unambiguous(
        reader,
        ((row[0], (row[2], row[1])) for row in _rows(reader, folder / "image_sizes.txt", str, float, float)),
        "size",
    )
    corners = grouped(
        (row[0], tuple(row[1:])) for row in _rows(reader, folder / "localization.txt", str, float, float, float, float)
    )
    ids = reader.once(row[0] for row in _rows(reader, folder / "image_ids.txt", str))
    twice = {note.source for note in reader.notes if note.problem.startswith("more than one")}
    for source in reader.sampled(ids):
        photo = reader.photo(photos, source, folder / "image_ids.txt")
        if source not in twice:
            objects = [Object(labels.get(source, "object"), box) for box in corners.get(source, [])]
            reader.add(source, photo, objects, sizes.get(source))
    for source in sorted(corners.keys() - set(ids)):
        reader.note(source, "box of a photo that is not listed", "left out")


def _rows(reader: Reader, path: Path, *kinds: type) -> list[list]:
    """The lines of a file, each value of its kind; broken ones are noted, unless all are: then it is another file."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; wsolevaluation's metadata has it")
    rows, broken = [], []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip(" ,\t"):
            continue
        words = [word.strip() for word in line.rsplit(",", len(kinds) - 1)] if len(kinds) > 1 else [line.strip()]
        try:
            rows.append([kind(word) for kind, word in zip(kinds, words, strict=True)])
        except ValueError:
            broken.append(number)
    wanted = ", ".join(kind.__name__ for kind in kinds)
    if broken and not rows:
        raise InputError(f"{path}: line {broken[0]} must be {wanted}, separated by commas")
    for number in broken:
        reader.note(f"{path.name} line {number}", f"broken line: it must be {wanted}, separated by commas", "left out")
    return rows
