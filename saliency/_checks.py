"""What an argument must be. Each check names the argument and the allowed range in one InputError."""

import reprlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from saliency.errors import InputError

Pair = tuple[int, int]  # height, width


def one_of(name: str, value: object, allowed: Iterable[str]) -> None:
    allowed = tuple(allowed)
    if not isinstance(value, str) or value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(allowed)}, not {reprlib.repr(value)}")


def whole(name: str, value: object, least: int = 0, *, optional: bool = False) -> None:
    """An integer of at least `least`; None as well, where that is `optional`."""
    if optional and value is None:
        return
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}, not {reprlib.repr(value)}")


def number(name: str, value: object, *, least: float = -np.inf, above: float = -np.inf, below: float = np.inf) -> None:
    """A finite number of at least `least`, above `above` and below `below`."""
    real = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not real or not least <= value or not above < value < below:  # type: ignore[operator]
        bounds = {"of at least": least, "above": above, "below": below}
        said = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if np.isfinite(bound))
        raise InputError(f"{name} must be a finite number {said}, not {reprlib.repr(value)}".replace("  ", " "))


def pair(name: str, value: int | Pair) -> Pair:
    """One number for both axes, or (height, width)."""
    values = tuple(value) if isinstance(value, tuple | list | np.ndarray) else (value, value)
    if len(values) != 2 or not all(isinstance(v, int | np.integer) for v in values):
        raise InputError(f"{name} must be a whole number of pixels or a pair (height, width), not {value!r}")
    return int(values[0]), int(values[1])


def kind_of(name: str, value: object, kind: type, said: str) -> None:
    """A value of one class; `said` is what it holds, or where one comes from."""
    if not isinstance(value, kind):
        raise InputError(f"{name} must be a {kind.__name__}, {said}, not {reprlib.repr(value)}")


def function(name: str, value: object, of: str) -> None:
    """Something to call, or None; `of` says with what."""
    if value is not None and not callable(value):
        raise InputError(f"{name} must be a function of {of}, or None, not {reprlib.repr(value)}")


def text(name: str, value: object) -> None:
    """Words for a page."""
    if not isinstance(value, str):
        raise InputError(f"{name} must be text, not {reprlib.repr(value)}")


def texts(name: str, values: object) -> None:
    """Several, as a list or tuple."""
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        raise InputError(f"{name} must be a list of texts, not {reprlib.repr(values)}")


def folder(name: str, value: object) -> Path | None:
    """A folder to write in, which need not exist, or None."""
    if value is None:
        return None
    if not isinstance(value, str | Path):
        raise InputError(f"{name} must be the path of a folder, or None, not {reprlib.repr(value)}")
    path = Path(value)
    if any(one.exists() and not one.is_dir() for one in (path, *path.parents)):
        raise InputError(
            f"{name} must be a folder, which need not exist, not {str(value)!r}, where a file is in the way"
        )
    return path
