"""Files from anywhere: read whole, or refused by an InputError that names them. Nothing here runs what a file says.

Photos are read by `saliency.photos`, XML by `localization.datasets.voc`.
"""

import codecs
import csv
import io
import json
import mmap
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ml_dtypes
import numpy as np
from jaxtyping import Float
from safetensors import safe_open

from saliency.errors import InputError

MAX_BYTES = 2**30  # of arrays in one compressed file: a few kB can unfold into more than there is memory
MARKS = ",;\t|"  # what may separate the cells of a table
NO_ALIASES: Mapping[str, str] = MappingProxyType({})
DTYPES: Mapping[str, Any] = MappingProxyType(  # safetensors' names
    {
        **{"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "BOOL": np.bool_},
        **{"I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8},
        **{"U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8},
    }
)
MAX_TEXT = 2**29  # bytes of one text file, COCO's largest fits: whatever is parsed takes several times as much memory


@contextmanager
def as_input_error(path: Path | str, what: str) -> Iterator[None]:
    """Whatever a library raises for a damaged file becomes an InputError: decoders' exceptions are undocumented."""
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


def check_size(path: Path | str, limit: int) -> None:
    """InputError for a file of more than `most` bytes, before it is read."""
    size = Path(path).stat().st_size
    if size > limit:
        raise InputError(f"{path}: {size:,} bytes of text, and no more than {limit:,} are read at once; split it")


def read_text(path: Path | str) -> str:
    """UTF-8, or UTF-16 as Excel's "Unicode text", told by its byte order mark."""
    with as_input_error(path, "not a text file in UTF-8; open it in an editor and save it as UTF-8"):
        check_size(path, MAX_TEXT)
        with open(path, "rb") as file:
            wide = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        text = Path(path).read_text(encoding="utf-16" if wide else "utf-8-sig")
    if text and (said := placeholder(path)):
        raise InputError(f"{path}: {said}")
    return text


def read_json(path: Path | str) -> Any:
    with as_input_error(path, "not JSON"):
        return json.loads(read_text(path))


def read_rows(
    path: Path | str, columns: Sequence[str], *, optional: Sequence[str] = (), aliases: Mapping[str, str] = NO_ALIASES
) -> Iterator[dict[str, str]]:
    """The rows of a table whose first line names at least these columns, cells as text without spaces around them.

    Cells are separated by commas, semicolons, tabs or bars: by whichever gives the columns. Names of columns are met
    by their `column_key`; `aliases` gives the keys of other names of theirs, of which the first that is there counts.
    Columns that are `optional`, and cells that a row lacks, are empty; rows without any text are left out. A row with
    more cells than columns is refused: what follows a comma that is not meant to separate (10,5 for ten and a half)
    would stand in the wrong column.
    """
    return (row for _, row in numbered_rows(path, columns, optional=optional, aliases=aliases))


def numbered_rows(
    path: Path | str, columns: Sequence[str], *, optional: Sequence[str] = (), aliases: Mapping[str, str] = NO_ALIASES
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of `read_rows`, each with the number of its line, from 1 on."""
    text, first = _table(path)
    known = {column_key(name): name for name in (*columns, *optional)}
    heads = {mark: _head(text, mark, known, aliases) for mark in MARKS}
    # what separates is what gives most of the columns, and then most cells
    mark = max(heads, key=lambda mark: (len(set(heads[mark]) & set(columns)), len(heads[mark])))
    head = heads[mark]
    if missing := [name for name in columns if name not in head]:
        there = ", ".join(head)[:200] or "nothing"
        raise InputError(
            f"{path}: must have the columns {', '.join(columns)}; there is no {missing[0]}, its first line has: {there}"
        )
    if twice := [name for name in (*columns, *optional) if head.count(name) > 1]:
        raise InputError(f"{path}: has {head.count(twice[0])} columns called {twice[0]}; remove all but one")
    with as_input_error(path, "not a CSV file"):
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=mark, skipinitialspace=True)
        next(rows, None)
        for cells in rows:
            cells, line = [cell.strip() for cell in cells], rows.line_num + first - 1
            if not any(cells):
                continue
            if any(cells[len(head) :]):
                raise InputError(
                    f"{path}: line {line} has {len(cells)} cells, the first line {len(head)}: where a comma stands in a"
                    " number or a name, put quotes around it, or separate the cells by semicolons"
                )
            row = dict.fromkeys(optional, "") | dict(zip(head, cells + [""] * (len(head) - len(cells))))
            yield line, row


def columns_of(path: Path | str) -> frozenset[str]:
    """The `column_key` of each name in a table's first line."""
    text, _ = _table(path)
    return frozenset(column_key(name) for name in max((_head(text, mark, {}, NO_ALIASES) for mark in MARKS), key=len))


def column_key(name: str) -> str:
    """What two spellings of a column's name share: "X min", "x_min" and "XMin" are one."""
    return re.sub(r"[\s_-]+", "", name).lower()


def _table(path: Path | str) -> tuple[str, int]:
    """A table's text from its first line on, and the number of that line: Excel is told above what separates cells."""
    text, first = read_text(path), 1
    while text and (not (line := text.partition("\n")[0].strip()) or line.lower().startswith("sep=")):
        text, first = text.partition("\n")[2], first + 1
    return text, first


def _head(text: str, mark: str, known: Mapping[str, str], aliases: Mapping[str, str]) -> list[str]:
    """The names of the first line's cells, in our own spelling; an alias counts where the name itself is not there."""
    try:
        cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=mark, skipinitialspace=True), [])
    except csv.Error:
        return []
    own = [known.get(column_key(cell), cell.strip()) for cell in cells]
    for alias, name in aliases.items():
        if name not in own:
            own = [name if column_key(cell) == alias else cell for cell in own]
    return own


def number_in(text: str) -> float | None:
    """The number that a cell or a tag holds, also with a decimal comma ("10,5"); None where it holds none.

    "nan" and "inf" are numbers. "1,024" is none: it may be a thousand and more, or little over one.
    """
    text = text.strip()
    if "_" in text or re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", text):
        return None
    if text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    try:
        return float(text)
    except ValueError:
        return None


def read_arrays(path: Path | str) -> dict[str, np.ndarray]:
    """The arrays of an .npz by name; that of an .npy bears the name ""."""
    with as_input_error(path, "not a readable .npy or .npz of numbers"):
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
    with as_input_error(path, "not a readable safetensors file"), safe_open(path, "numpy") as file:
        names = [] if only_header else sorted(file.keys())
        return {name: file.get_tensor(name) for name in names}, file.metadata() or {}


def map_tensors(path: Path | str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """`read_tensors` without copies: read-only arrays that lie in the file, mapped into memory."""
    what = "not a readable safetensors file"
    with as_input_error(path, what), safe_open(path, "numpy") as checked, open(path, "rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        place, tensors = 8 + int.from_bytes(content[:8], "little"), {}
        for name in checked.offset_keys():  # which are those of one after another without a gap, or it is refused
            stated = checked.get_slice(name)
            if stated.get_dtype() not in DTYPES:
                raise ValueError(f"{name} holds {stated.get_dtype()}, which is none of {', '.join(DTYPES)}")
            tensors[name] = np.ndarray(stated.get_shape(), DTYPES[stated.get_dtype()], content, place)
            place += tensors[name].nbytes
        return tensors, checked.metadata() or {}


def read_map(path: Path | str) -> Float[np.ndarray, "h w"]:
    """Another tool's map: the one array of the file, or that called "map", as float32, without axes for one image or
    one channel."""
    arrays = read_arrays(path)
    if not arrays:
        raise InputError(f"{path}: holds no array")
    if len(arrays) > 1 and "map" not in arrays:
        raise InputError(f"{path}: holds several arrays ({', '.join(list(arrays)[:5])}); keep one, or call it map")
    found = arrays.get("map", next(iter(arrays.values())))
    while found.ndim > 2 and 1 in (found.shape[0], found.shape[-1]):
        found = found[0] if found.shape[0] == 1 else found[..., 0]
    if found.ndim != 2 or found.dtype.kind not in "fiub":
        raise InputError(f"{path}: a map must be numbers [h, w], not {found.dtype} {list(found.shape)}")
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is infinite: its status says so
        return found.astype(np.float32)
