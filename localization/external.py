"""Maps that another tool made: FOLDER/ID.npy or .npz for each image id, and where each lies over its photo.

There is one meaning: **a map lies over its whole photo**, whatever its resolution. Where the maps were made over
another entry of the photos, a `placement.json` beside them says so, as our own kept maps have it:

    {"mode": "crop", "size": [224, 224], "shorter": 256}

are the `mode`, `size` (height, width) and `shorter` of `saliency.models.preprocessing.Preprocessing`; a map then covers
what that input shows, at any resolution. Ids may carry the photo's suffix or not.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.ndimage import affine_transform

from localization.datasets.names import inside
from localization.transforms import pooled
from saliency._files import atomic_write
from saliency._reading import as_input_error, read_json, read_map
from saliency.errors import InputError
from saliency.models.preprocessing import Placement, Preprocessing, from_record
from saliency.photos import SUFFIXES

PLACEMENT = "placement.json"
STATED = ("mode", "size", "shorter")  # of a Preprocessing: what says where a photo lands
Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class ExternalMaps:
    """Another tool's maps: the file of each image id, how the photos entered (None: whole), a hash of it all, and the
    (height, width) that all of them have, None where they differ."""

    folder: Path
    files: dict[str, Path]
    entry: Preprocessing | None
    digest: str
    shape: Size | None = None

    def read(self, source: str) -> Float[np.ndarray, "h w"]:
        """The map of an image id, float32 at its own resolution. Raises InputError."""
        return read_map(self.files[source])

    def placement(self, photo: Size, shape: Size) -> Placement:
        """Where a photo of (height, width) lies in its map of this shape."""
        return placement(self.entry, photo, shape)

    def over(self, entry: Preprocessing, source: str, photo: Size) -> Float[np.ndarray, "H W"]:
        """The map of an image id over the input of `entry`, float32 of its size."""
        found = self.read(source)
        return moved(found, self.placement(photo, (found.shape[0], found.shape[1])), entry.placement(photo))


def external_maps(folder: Path | str, sources: Sequence[str], photos: Sequence[Size]) -> ExternalMaps:
    """The maps in `folder` of the images with these ids, whose photos have these (height, width).

    Every file is read once. InputError for a missing, unreadable or ambiguous one, and for maps whose height and width
    are swapped against their photos'.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of maps")
    entry = read_placement(folder)
    files = {source: _file(folder, source) for source in sources}
    owners: dict[Path, str] = {}
    for source, path in files.items():
        if owners.setdefault(path, source) != source:
            raise InputError(
                f"{path}: is the map of both {owners[path]!r} and {source!r}; name maps by the whole id,"
                f" such as {source}{path.suffix}"
            )
    digest = hashlib.sha256(json.dumps(_stated(entry)).encode())
    shapes = {}
    for source, path in files.items():
        found = read_map(path)
        shapes[source] = (found.shape[0], found.shape[1])
        digest.update(f"{source} {found.shape}".encode() + found.tobytes())
    if entry is None:
        _check_upright(files, [shapes[source] for source in sources], sources, photos)
    one = set(shapes.values())
    return ExternalMaps(folder, files, entry, digest.hexdigest(), one.pop() if len(one) == 1 else None)


def placement(entry: Preprocessing | None, photo: Size, shape: Size) -> Placement:
    """Where a photo lies in a map of `shape` over the input of `entry`, or over the whole photo for None."""
    if entry is None:
        return Placement(photo, shape, (shape[1] / photo[1], shape[0] / photo[0]), (0.0, 0.0))
    placed = entry.placement(photo)
    x, y = shape[1] / placed.input[1], shape[0] / placed.input[0]
    scale, offset = ((pair[0] * x, pair[1] * y) for pair in (placed.scale, placed.offset))
    return Placement(photo, shape, scale, offset)


def moved(
    map: Float[np.ndarray, "h w"], at: Placement, to: Placement, outside: float = 0.0
) -> Float[np.ndarray, "H W"]:
    """A map in which its photo lies `at` one place as the map of `to.input` in which it lies at another.

    Averaged by area where it shrinks, bilinear between pixel centres where it grows; `outside` of what the map covers.
    The same values where nothing moves.
    """
    if at == to:
        return map
    own = np.array(map.shape)
    # pixels of the map to one pixel of the target, (rows, columns)
    step = np.array(at.scale[::-1]) / np.array(to.scale[::-1])
    coarser = np.maximum(1, np.round(own / np.maximum(step, 1))).astype(int)
    small = pooled(map, coarser) if (coarser < own).any() else map
    shrunk = coarser / own
    # target pixel p has its centre at p + 1/2, and its place in the map is affine in that
    scale = step * shrunk
    offset = (np.array(at.offset[::-1]) - np.array(to.offset[::-1]) * step) * shrunk
    start = 0.5 * scale + offset - 0.5
    found = affine_transform(small.astype(float), scale, start, output_shape=to.input, order=1, mode="nearest")
    for axis in (0, 1):
        centre = start[axis] + scale[axis] * np.arange(to.input[axis])
        beyond = (centre < -0.5) | (centre > small.shape[axis] - 0.5)
        found[(beyond, slice(None)) if axis == 0 else (slice(None), beyond)] = outside
    return found.astype(np.float32)


def read_placement(folder: Path | str) -> Preprocessing | None:
    """The entry over which the maps in a folder were made, by its `placement.json`; None, the whole photo, without."""
    path = Path(folder) / PLACEMENT
    if not path.exists():
        return None
    stated = read_json(path)
    with as_input_error(path, 'must be such as {"mode": "crop", "size": [224, 224], "shorter": 256}'):
        unknown = set(stated) - set(STATED)
        if unknown or "size" not in stated or "mode" not in stated:
            raise ValueError(f"its names are {', '.join(map(str, stated))}")
        try:
            return from_record(stated)
        except InputError as error:
            raise ValueError(str(error)) from error


def write_placement(folder: Path | str, entry: Preprocessing) -> None:
    """Say beside the maps in a folder over which entry they were made."""
    with atomic_write(Path(folder) / PLACEMENT) as temporary:
        temporary.write_text(json.dumps(_stated(entry)) + "\n", encoding="utf-8")


def _stated(entry: Preprocessing | None) -> dict[str, object] | None:
    return None if entry is None else {name: entry.record()[name] for name in STATED}


def _file(folder: Path, source: str) -> Path:
    path = inside(folder, source)
    stems = [path, path.with_suffix("")] if path.suffix.lower() in SUFFIXES else [path]
    found = [file for stem in stems for end in (".npy", ".npz") if (file := Path(f"{stem}{end}")).is_file()]
    if not found:
        raise InputError(f"{folder}: holds no {source}.npy or .npz; every image needs a map of its name")
    if len(found) > 1 and found[0].stem == found[1].stem:
        raise InputError(f"{found[0]}: there is {found[1].name} too, and only one can be the map; remove the other")
    return found[0]


def _check_upright(
    files: dict[str, Path], shapes: Sequence[Size], sources: Sequence[str], photos: Sequence[Size]
) -> None:
    """InputError for maps that are their photos' transposed. Maps of one fixed size may well have another aspect than
    some photos: of these, all that could be swapped have to be."""
    oblong = [i for i, photo in enumerate(photos) if max(photo) >= 1.1 * min(photo)]
    turned = [i for i in oblong if _like(shapes[i], photos[i][::-1]) and not _like(shapes[i], photos[i])]
    if not turned or (len(set(shapes)) == 1 and len(turned) < len(oblong)):
        return
    (h, w), (height, width) = shapes[turned[0]], photos[turned[0]]
    raise InputError(
        f"{files[sources[turned[0]]]}: this map is {w} wide and {h} high, its photo {width} wide and {height} high:"
        f" height and width are swapped; save map.T, so that rows come first"
    )


def _like(shape: Size, photo: Size) -> bool:
    """Whether a map has a photo's aspect, as far as whole pixels allow."""
    height, width = shape[1] * photo[0] / photo[1], shape[0] * photo[1] / photo[0]
    return abs(shape[0] - height) <= 1 or abs(shape[1] - width) <= 1
