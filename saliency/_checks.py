"""What an argument must be. Each check names the argument and the allowed range in one InputError."""

import reprlib
from collections.abc import Iterable

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
