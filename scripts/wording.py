"""The library's errors in the words of the command line: an argument by its option, and what to do next."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass
from typing import get_type_hints

from saliency.errors import InputError

ROOM = "make room and run the same command again"
REMEDIES = {
    errno.ENOSPC: ROOM,
    errno.EDQUOT: ROOM,
    errno.EFBIG: ROOM,
    errno.EROFS: "choose another --out",
    errno.ENOENT: "it or its folder was taken away meanwhile; run the same command again",
}
NEXT_STEPS = {  # by what the library says; only where a script has these options
    "no such split": "--split all --folds 10 scores every photo by what the others teach",
    "no photo has a box that counts": "boxes of a --dataset folder come from a boxes.csv in it: file,x0,y0,x1,y1,label",
    "choose another folder": "--out names it",
    "among those that are scored": "name another --train-split, or none and --folds 10",
}


@contextmanager
def as_options(options: object, **names: str) -> Iterator[None]:
    """The library's InputErrors in the words of the command line.

    An argument that a message begins with ("map_size must be ..."), that it has in backquotes, or that it gives a value
    (box_format='xywh') is named by its option; `names` are those whose option is called otherwise. What is no option
    stays as it is. The next step is added where the script has one (NEXT_STEPS).
    """
    known = {name: f"--{name.replace('_', '-')}" for name in _fields(options)} | names
    try:
        yield
    except InputError as error:
        said = re.sub(r"^(\w+)(?= must )|`(\w+)`", lambda m: known.get(m[1] or m[2], m[1] or m[2]), str(error))
        said = re.sub(r"\b(\w+)='([\w-]+)'", lambda m: f"{known[m[1]]} {m[2]}" if m[1] in known else m[0], said)
        for what, step in NEXT_STEPS.items():
            if what in said and set(re.findall(r"--[a-z-]+", step)) <= set(known.values()):
                said = f"{said}; {step}"
        if said == str(error):
            raise
        renamed = InputError(said)
        for note in getattr(error, "__notes__", ()):
            renamed.add_note(note)
        raise renamed from error


def _fields(options: object) -> Iterator[str]:
    """The names of all options, those of nested dataclasses as well."""
    hints = get_type_hints(options if isinstance(options, type) else type(options))
    for name, kind in hints.items():
        if is_dataclass(kind):
            yield from _fields(kind)
        else:
            yield name


def sentence(error: Exception) -> str:
    """One line; of a file that the system refused, with what helps."""
    if isinstance(error, OSError) and error.filename is not None:
        remedy = REMEDIES.get(error.errno or 0)
        return f"{error.filename}: {error.strerror or error}" + (f"; {remedy}" if remedy else "")
    return " ".join(str(error).split())
