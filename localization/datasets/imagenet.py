"""ImageNet's CLS-LOC layout (ILSVRC 2012): `Data/CLS-LOC`, and boxes as XML or in Kaggle's `LOC_*_solution.csv`.

Labels are WordNet ids; corners are 1-based and inclusive in both. EXIF is ignored, as ILSVRC does.
"""

from collections.abc import Iterable
from pathlib import Path

from localization.datasets.names import inside
from localization.datasets.reader import Object, Reader, grouped
from localization.datasets.voc import add_annotated
from saliency._reading import number_in, read_rows, read_text
from saliency.errors import InputError

DEFAULT_SPLIT = "val"


def read(reader: Reader, root: Path, split: str | None) -> None:
    """A split: "train", "val", or another file of `ImageSets/CLS-LOC` such as "train_loc".

    Boxes come from `Annotations/CLS-LOC` where that exists, else from Kaggle's CSV. Training photos are chosen by
    their folder's class before anything is opened.
    """
    split = split or DEFAULT_SPLIT
    top = next((path for path in (root, root / "ILSVRC") if (path / "Data" / "CLS-LOC").is_dir()), None)
    if top is None:
        raise InputError(f"{root}: has no Data/CLS-LOC; name the folder that holds Data, Annotations and ImageSets")
    reader.split, reader.first = split, 1
    part = split.partition("_")[0]  # train_loc lies in train
    inside(top, part)
    photos = top / "Data" / "CLS-LOC" / part
    xml = top / "Annotations" / "CLS-LOC" / part
    solution = next((p for p in (top, root, top.parent) if (p / f"LOC_{part}_solution.csv").is_file()), None)
    if xml.is_dir():
        listed, file = _listed(top, split, xml)
        for source in _chosen(reader, reader.once(listed)):
            add_annotated(reader, source, xml, photos, f"{source}.JPEG", file)
    elif solution is not None:
        file = solution / f"LOC_{part}_solution.csv"
        boxes = _solution(reader, file, nested=part == "train")
        for source in _chosen(reader, sorted(boxes)):
            reader.add(source, reader.photo(photos, f"{source}.JPEG", file, source), boxes[source])
    else:
        raise InputError(f"{root}: neither {xml.relative_to(top)} nor LOC_{part}_solution.csv, so there are no boxes")


def _listed(top: Path, split: str, xml: Path) -> tuple[list[str], Path]:
    """Ids of the split's file, or of every annotation there is; and where they are from."""
    sets = top / "ImageSets" / "CLS-LOC"
    for name in (f"{split}_loc.txt", f"{split}.txt"):
        if (sets / name).is_file():
            return [line.split()[0] for line in read_text(sets / name).splitlines() if line.strip()], sets / name
    found = (path.relative_to(xml) for path in xml.rglob("*") if path.suffix.lower() == ".xml")
    return sorted(path.with_suffix("").as_posix() for path in found), xml


def _chosen(reader: Reader, sources: Iterable[str]) -> list[str]:
    """Of the ids those whose folder is of a wanted class; where folders tell nothing, the boxes will."""
    return reader.sampled(one for one in sources if "/" not in one or reader.wants(one.partition("/")[0]))


def _solution(reader: Reader, path: Path, nested: bool) -> dict[str, list[Object]]:
    """Kaggle's rows `ImageId,PredictionString`, the latter repeating `wnid x0 y0 x1 y1`."""
    rows: list[tuple[str, list[Object]]] = []
    for row in read_rows(path, ("ImageId", "PredictionString")):
        name, words = row["ImageId"], row["PredictionString"].split()
        source = f"{name.partition('_')[0]}/{name}" if nested else name
        boxes = [(words[i], [number_in(word) for word in words[i + 1 : i + 5]]) for i in range(0, len(words), 5)]
        if not boxes or any(len(numbers) != 4 or None in numbers for _, numbers in boxes):
            reader.note(source, "row without whole boxes", "left out")
            continue
        rows.append((source, [Object(label, tuple(n for n in numbers if n is not None)) for label, numbers in boxes]))
    found = grouped(rows)
    for source, parts in found.items():
        if len(parts) > 1:
            reader.note(source, f"listed more than once: {len(parts)} times", "repaired")
    return {source: [item for part in parts for item in part] for source, parts in found.items()}
