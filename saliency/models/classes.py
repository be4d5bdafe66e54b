"""Names of classes, from the files in which ImageNet's are handed round."""

import re
from pathlib import Path

from saliency._reading import read_rows, read_text
from saliency.errors import InputError


def read_classes(path: str | Path) -> list[tuple[str, str]]:
    """(wnid, name) of each class, by index: from `LOC_synset_mapping.txt`, or from a CSV with index, wnid and name.

    Where a line gives several names, the first is taken.
    """
    path = Path(path)
    if path.suffix == ".csv":
        rows = list(read_rows(path, ("index", "wnid", "name")))
        if not all(row["index"].isdecimal() for row in rows):
            raise InputError(f"{path}: the index of a class must be a number from 0 on")
        entries = sorted((int(row["index"][:9]), row["wnid"], row["name"]) for row in rows)
        if [index for index, _, _ in entries] != list(range(len(entries))):
            raise InputError(f"{path}: the index of the classes must run from 0 without gaps")
        found = [(wnid, name) for _, wnid, name in entries]
    else:
        lines = [line.strip().partition(" ") for line in read_text(path).splitlines() if line.strip()]
        if not all(re.fullmatch(r"n\d{8}", wnid) and name for wnid, _, name in lines):
            raise InputError(
                f"{path}: each line must hold a wnid (n01440764) and names, as LOC_synset_mapping.txt does"
            )
        found = [(wnid, name) for wnid, _, name in lines]
    if not found:
        raise InputError(f"{path}: no class names in it")
    return [(wnid, name.split(",")[0].strip()) for wnid, name in found]
