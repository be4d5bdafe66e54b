"""Files from anywhere: read whole, or refused by an InputError that names them. Nothing here runs what a file says.

Photos are read by `saliency.photos`, XML by `localization.datasets.voc`.
"""

import csv
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors import safe_open

from saliency.errors import InputError

MAX_BYTES = 2**30  # of arrays in one compressed file: a few kB can unfold into more than there is memory
MAX_TEXT = 2**29  # bytes of one text file, COCO's largest fits: whatever is parsed takes several times as much memory


@contextmanager
def refusing(path: Path | str, what: str) -> Iterator[None]:
    """Whatever a library raises for a damaged file becomes an InputError: no decoder says all that it may raise."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        lost = Path(path).is_symlink()
        raise InputError(f"{path}: {'a link to a file that is not there' if lost else 'no such file'}") from None
    except Exception as error:
        if said := placeholder(path):
            raise InputError(f"{path}: {said}") from None
        stated = isinstance(error, OSError) and error.strerror
        said = (stated or str(error) or type(error).__name__).partition("\n")[0]
        raise InputError(f"{path}: {what} ({said})") from error


def placeholder(path: Path | str) -> str:
    """What stands in the place of a file that was never fetched or written; "" where its content is its own."""
    try:
        with open(path, "rb") as file:
            head = file.read(256)
    except (OSError, ValueError):
        return ""
    if not head:
        return "an empty file (0 bytes): copy or download it again"
    if head.startswith(b"version https://git-lfs"):
        return "a git-lfs pointer in the place of the file: run `git lfs pull` where it is from"
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "a web page, saved in the place of the file: download it again, signed in if need be"
    return ""


def check_size(path: Path | str, most: int) -> None:
    """InputError for a file of more than `most` bytes, before it is read."""
    size = Path(path).stat().st_size
    if size > most:
        raise InputError(f"{path}: {size:,} bytes of text, and no more than {most:,} are read at once; split it")


def read_text(path: Path | str) -> str:
    """UTF-8, with or without a byte order mark."""
    with refusing(path, "not a text file in UTF-8"):
        check_size(path, MAX_TEXT)
        text = Path(path).read_text(encoding="utf-8-sig")
    if text.startswith("version https://git-lfs"):
        raise InputError(f"{path}: {placeholder(path)}")
    return text


def read_json(path: Path | str) -> Any:
    with refusing(path, "not JSON"):
        return json.loads(read_text(path))


def read_rows(path: Path | str, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """The rows of a CSV whose header has at least these columns, cells as text; a missing cell is empty."""
    text = io.StringIO(read_text(path), newline="")
    with refusing(path, "not a CSV file"):
        rows = csv.DictReader(text, restval="")
        if not set(columns) <= set(rows.fieldnames or ()):
            raise InputError(f"{path}: must have the columns {', '.join(columns)}")
        yield from rows


def read_arrays(path: Path | str) -> dict[str, np.ndarray]:
    """The arrays of an .npz by name; that of an .npy bears the name ""."""
    with refusing(path, "not a readable .npy or .npz of numbers"):
        if not zipfile.is_zipfile(path):
            # mapped, so that a header cannot promise more than the file holds; no pickle can be
            return {"": np.array(np.lib.format.open_memmap(path, mode="r"))}
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_BYTES:
            raise InputError(f"{path}: unfolds into more than {MAX_BYTES:,} bytes; save it in parts")
        # opened here: where the archive is damaged, NumPy would leave it open
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = dict(archive)
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise InputError(f"{path}: holds other things than arrays")
        return arrays


def read_back(path: Path | str, *names: str) -> dict[str, np.ndarray]:
    """The arrays of a file that this run, or one that it goes on with, has written; `names` must be among them.

    Raises InputError, which says how to go on, where the file is damaged, another or taken away.
    """
    try:
        arrays = read_arrays(path)
        if missing := set(names) - arrays.keys():
            raise InputError(f"{path}: holds no {min(missing)}")
    except InputError as error:
        raise InputError(f"{error}; remove it, if it is there, and run the same command again") from error
    return arrays


def read_tensors(path: Path | str, only_header: bool = False) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors of a safetensors file by name, in sorted order, and its header's text."""
    with refusing(path, "not a readable safetensors file"), safe_open(path, "numpy") as file:
        names = [] if only_header else sorted(file.keys())
        return {name: file.get_tensor(name) for name in names}, file.metadata() or {}


def read_map(path: Path | str) -> Float[np.ndarray, "h w"]:
    """Another tool's map: the first array of the file as float32, without axes for one image or one channel."""
    arrays = read_arrays(path)
    if not arrays:
        raise InputError(f"{path}: holds no array")
    found = next(iter(arrays.values()))
    while found.ndim > 2 and 1 in (found.shape[0], found.shape[-1]):
        found = found[0] if found.shape[0] == 1 else found[..., 0]
    if found.ndim != 2 or found.dtype.kind not in "fiub":
        raise InputError(f"{path}: a map must be numbers [h, w], not {found.dtype} {list(found.shape)}")
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is infinite: its status says so
        return found.astype(np.float32)
