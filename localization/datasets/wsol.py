"""wsolevaluation's layout (Choe et al. 2020): `metadata/<NAME>/<split>/*.txt` and photos in `dataset/<NAME>`.

`image_ids.txt` lists photos, `class_labels.txt` has `id,label`, `localization.txt` `id,x0,y0,x1,y1` (0-based,
inclusive, one line an object) and `image_sizes.txt` `id,width,height`, which the photos must have.
"""

from collections import defaultdict
from collections.abc import Collection
from functools import partial
from pathlib import Path

from localization.datasets.dataset import Dataset, Object, Reader, drawn, inside
from saliency._reading import read_text
from saliency.errors import InputError
from saliency.photos import read_header, read_photo

DEFAULT_SPLIT = "test"


def read(
    root: Path,
    split: str = DEFAULT_SPLIT,
    *,
    classes: Collection[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Dataset:
    """A split; where `metadata` holds several data sets, it is named with it: "CUB/test". Raises InputError."""
    inside(root / "metadata", split)
    found = sorted((root / "metadata").glob(f"{split}/image_ids.txt" if "/" in split else f"*/{split}/image_ids.txt"))
    if len(found) != 1:
        there = sorted(
            p.parent.relative_to(root / "metadata").as_posix() for p in root.glob("metadata/*/*/image_ids.txt")
        )
        raise InputError(f"{root}: needs one split, of {', '.join(there) or 'none: there is no metadata/NAME/SPLIT'}")
    folder = found[0].parent
    name = folder.parent.name
    photos = root / "dataset" / name
    labels = dict(_rows(folder / "class_labels.txt", str, str))
    sizes = {source: (height, width) for source, width, height in _rows(folder / "image_sizes.txt", str, int, int)}
    objects = defaultdict(list)
    for source, *corners in _rows(folder / "localization.txt", str, float, float, float, float):
        objects[source].append(Object(labels.get(source, "object"), tuple(corners)))

    reader = Reader(name, folder.name, first=0)
    for (source,) in drawn(_rows(folder / "image_ids.txt", str), None if classes else limit, seed):
        photo = inside(photos, source, folder / "image_ids.txt")
        try:
            size = read_header(photo).size
        except InputError as error:
            reader.note(source, f"photo cannot be read: {error}", "left out")
            continue
        if sizes.get(source, size) != size:
            reader.note(source, "size is another than the photo's", "left out")
            continue
        reader.add(source, size, objects[source], partial(read_photo, photo, False))
    return reader.dataset()


def _rows(path: Path, *kinds: type) -> list[list]:
    """The lines of a file, each value of its kind."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; wsolevaluation's metadata has it")
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        try:
            rows.append([kind(word.strip()) for kind, word in zip(kinds, line.split(","), strict=True)])
        except ValueError:
            wanted = ", ".join(kind.__name__ for kind in kinds)
            raise InputError(f"{path}: line {number} must be {wanted}, separated by commas") from None
    return rows
