"""Names of photos: in lists, on disk and in other tools' files, where case, suffix and folders differ."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from saliency.errors import InputError
from saliency.photos import SUFFIXES, UNREAD


def inside(folder: Path, name: str, of: Path | str = "") -> Path:
    """`folder / name`, or InputError for a name that would lead out of the folder: names come from files, `of` is
    the one that holds this name. The folder itself may be a link; a link within it must not lead out of it.
    """
    named = f"{of}: {name[:80]!r}" if of else repr(name[:80])
    path = PurePosixPath(name.replace("\\", "/"))
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in name) or max(map(len, name.encode().split(b"/"))) > 255:
        raise InputError(f"{named} is no name of a file in {folder}")
    # a colon names a drive or a stream on Windows; elsewhere it may stand in a name ("12:30.jpg"), but for a drive
    drive = ":" in name if os.name == "nt" else re.match(r"[A-Za-z]:", name)
    leads_out = not name or path.is_absolute() or ".." in path.parts or drive
    if leads_out or not Path(os.path.realpath(folder / path)).is_relative_to(os.path.realpath(folder)):
        raise InputError(f"{named} leads out of {folder}: names in annotations must stay inside their folder")
    return folder / path


def key(name: str) -> str:
    """What two spellings of one name share: case, the encoding of accents and the slash do not count."""
    return unicodedata.normalize("NFC", name.replace("\\", "/")).casefold()


def bare(name: str) -> str:
    """A name without a photo's suffix; another suffix belongs to the name ("img.v2")."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in (*SUFFIXES, *UNREAD) else name


def is_photo(path: Path) -> bool:
    """By its suffix; hidden files, as macOS leaves them beside each photo ("._a.jpg"), are none."""
    return path.suffix.lower() in SUFFIXES and not hidden(path.name)


def hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def match_names(names: Iterable[str], ids: Sequence[str]) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """The id that each name means, and the names that mean several: name -> id, name -> ids.

    A name is met exactly, else in another case, else without the suffix of a photo, else by the last part of its path,
    else by that without suffix; the first way that meets an id decides. What meets none is in neither.
    """
    ways: tuple[Callable[[str], str], ...] = (
        lambda name: name,
        key,
        lambda name: key(bare(name)),
        lambda name: key(name).rpartition("/")[2],
        lambda name: key(bare(name)).rpartition("/")[2],
    )
    tables: list[dict[str, list[str]]] = []
    for way in ways:
        table: dict[str, list[str]] = defaultdict(list)
        for one in ids:
            table[way(one)].append(one)
        tables.append(table)
    found, ambiguous = {}, {}
    for name in dict.fromkeys(names):
        meant = next((table[way(name)] for way, table in zip(ways, tables) if way(name) in table), [])
        if len(meant) == 1:
            found[name] = meant[0]
        elif meant:
            ambiguous[name] = tuple(meant)
    return found, ambiguous


@dataclass(frozen=True)
class Listing:
    """What one folder holds: its names by their `key`, and its photos by their `key` without suffix."""

    names: Mapping[str, tuple[str, ...]]
    photos: Mapping[str, tuple[str, ...]]


def listing(folder: Path) -> Listing:
    """Of a folder that does not exist, an empty one."""
    names, photos = defaultdict(list), defaultdict(list)
    try:
        entries = sorted(os.listdir(folder))
    except OSError:
        entries = []
    for entry in entries:
        if not hidden(entry):
            names[key(entry)].append(entry)
            if Path(entry).suffix.lower() in SUFFIXES:
                photos[key(bare(entry))].append(entry)
    return Listing(*({name: tuple(found) for name, found in table.items()} for table in (names, photos)))


def subfolder(folder: Path, *names: str) -> Path | None:
    """The first of these folders in `folder` that is there, in any case."""
    found = listing(folder).names
    exact = (folder / name for name in names)
    other = (folder / entry for name in names for entry in found.get(key(name), ()))
    return next((path for path in (*exact, *other) if path.is_dir()), None)
