"""Another tool's boxes, from a CSV with the columns image, x0, y0, x1, y1 and perhaps label, in the photos' pixels."""

from pathlib import Path

import numpy as np

from saliency._reading import read_rows
from saliency.errors import InputError

CORNERS = ("x0", "y0", "x1", "y1")


def read_boxes(path: Path) -> dict[tuple[str, str | None], list[float]]:
    """By image and label; the label is None where the file has none. NaN stands for "no box found"."""
    found = {}
    for row in read_rows(path, ("image", *CORNERS)):
        try:
            box = [float(row[name]) for name in CORNERS]
        except ValueError:
            box = [np.inf] * 4
        if np.isinf(box).any():
            raise InputError(f"{path}: the box of {row['image']!r} must be four numbers, or nan where there is none")
        found[row["image"], row.get("label") or None] = box
    return found
