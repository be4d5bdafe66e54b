"""Tables by names, and what is said of a name that is in none."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TypeVar

from saliency.errors import InputError

Value = TypeVar("Value")


def near_names(name: str, names: Sequence[str]) -> str:
    """The end of a sentence that refuses a name: those that look like it, "" where none does."""
    near = get_close_matches(name.casefold(), [own.casefold() for own in names], 3)
    found = [own for own in names if own.casefold() in near][:3]
    return f"; near it are {', '.join(found)}" if found else ""


def unknown(what: str, name: object, able: Iterable[str], *more: str) -> str:
    """The sentence that refuses a name; `more` are words that stand for several of those that are able."""
    able = list(able)
    near = near_names(str(name).replace("_", "-"), able)
    return f"unknown {what} {name!r}{near}; choose from {', '.join((*more, *able))}"


class UnknownName(InputError, KeyError):
    """A name that a table does not have; a KeyError too, as of any mapping."""

    def __str__(self) -> str:  # KeyError would show its message in quotes
        return str(self.args[0])


class Named(dict[str, Value]):
    """A table by names of one kind of thing, `what` in one word, that refuses others in a sentence."""

    def __init__(self, what: str, entries: Mapping[str, Value]):
        super().__init__(entries)
        self.what = what

    def __missing__(self, name: str) -> Value:
        raise UnknownName(unknown(self.what, name, self))
