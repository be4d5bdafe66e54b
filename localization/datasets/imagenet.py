"""ImageNet's CLS-LOC layout (ILSVRC 2012): `Data/CLS-LOC`, and boxes as XML or in Kaggle's `LOC_*_solution.csv`.

Labels are WordNet ids; corners are 1-based and inclusive in both. EXIF is ignored, as ILSVRC does.
"""

from collections.abc import Collection
from functools import partial
from pathlib import Path

from localization.datasets.dataset import Dataset, Object, Reader, drawn, inside
from localization.datasets.voc import add_annotated
from saliency._reading import read_rows, read_text
from saliency.errors import InputError
from saliency.photos import read_header, read_photo

DEFAULT_SPLIT = "val"


def read(
    root: Path,
    split: str = DEFAULT_SPLIT,
    *,
    classes: Collection[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Dataset:
    """A split: "train", "val", or another file of `ImageSets/CLS-LOC` such as "train_loc".

    Boxes come from `Annotations/CLS-LOC` where that exists, else from Kaggle's CSV. Training photos are chosen by
    their folder's class before anything is opened. Raises InputError.
    """
    top = next((path for path in (root, root / "ILSVRC") if (path / "Data" / "CLS-LOC").is_dir()), None)
    if top is None:
        raise InputError(f"{root}: has no Data/CLS-LOC; name the folder that holds Data, Annotations and ImageSets")
    part = split.partition("_")[0]  # train_loc lies in train
    photos = top / "Data" / "CLS-LOC" / part
    xml = top / "Annotations" / "CLS-LOC" / part
    solution = next((p for p in (top, root, top.parent) if (p / f"LOC_{part}_solution.csv").is_file()), None)
    reader = Reader("imagenet", split, first=1)
    if xml.is_dir():
        listed, file = _listed(top, split, xml)
        for source in _chosen(listed, classes, limit, seed):
            photo = inside(photos, f"{source}.JPEG", file)
            add_annotated(reader, source, inside(xml, f"{source}.xml", file), photo if photo.is_file() else None)
    elif solution is not None:
        file = solution / f"LOC_{part}_solution.csv"
        boxes = _solution(file, reader, nested=part == "train")
        for source in _chosen(sorted(boxes), classes, limit, seed):
            _add(reader, source, inside(photos, f"{source}.JPEG", file), boxes[source])
    else:
        raise InputError(f"{root}: neither {xml.relative_to(top)} nor LOC_{part}_solution.csv, so there are no boxes")
    return reader.dataset()


def _listed(top: Path, split: str, xml: Path) -> tuple[list[str], Path]:
    """Ids of the split's file, or of every annotation there is; and where they are from."""
    sets = top / "ImageSets" / "CLS-LOC"
    for name in (f"{split}_loc.txt", f"{split}.txt"):
        if (sets / name).is_file():
            return [line.split()[0] for line in read_text(sets / name).splitlines() if line.strip()], sets / name
    return sorted(path.relative_to(xml).with_suffix("").as_posix() for path in xml.rglob("*.xml")), xml


def _chosen(sources: list[str], classes: Collection[str] | None, limit: int | None, seed: int) -> list[str]:
    """Of the ids those whose folder is of a wanted class; where folders tell nothing, the boxes will."""
    if classes is None:
        return drawn(sources, limit, seed)
    return [source for source in sources if "/" not in source or source.partition("/")[0] in classes]


def _solution(path: Path, reader: Reader, nested: bool) -> dict[str, list[Object]]:
    """Kaggle's rows `ImageId,PredictionString`, the latter repeating `wnid x0 y0 x1 y1`."""
    boxes: dict[str, list[Object]] = {}
    for row in read_rows(path, ("ImageId", "PredictionString")):
        name, words = row["ImageId"], row["PredictionString"].split()
        source = f"{name.partition('_')[0]}/{name}" if nested else name
        try:
            numbers = [tuple(float(w) for w in words[i + 1 : i + 5]) for i in range(0, len(words), 5)]
        except ValueError:
            numbers = []
        if not numbers or len(numbers[-1]) != 4:
            reader.note(source, "row without whole boxes", "left out")
            continue
        boxes[source] = [Object(label, n) for label, n in zip(words[::5], numbers)]
    return boxes


def _add(reader: Reader, source: str, photo: Path, objects: list[Object]) -> None:
    try:
        reader.add(source, read_header(photo).size, objects, partial(read_photo, photo, False))
    except InputError as error:
        reader.note(source, f"photo cannot be read: {error}", "left out")
