"""Names of classes: from the files in which they are handed round, and from what people call them.

A class has an index, perhaps a WordNet id ("n01440764"), and one or several names ("tench", "Tinca tinca"), of which
the first is its short one. Where two classes would share their short name ("maillot, tank suit" and "maillot"), these
keep all of their names as one.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from saliency._reading import columns_of, read_json, read_rows, read_text
from saliency.errors import InputError

WNID = re.compile(r"n\d{8}")
WNID_AND_NAMES = re.compile(r"(n\d{8})(?:[\s,:;]+(.*))?")
_INDEX = re.compile(r"\{?\s*['\"]?(\d{1,9})['\"]?\s*[:,;.)\s]\s*(.*?)\s*,?\s*\}?")  # {0: 'tench, Tinca tinca',
_FORMS = (
    "LOC_synset_mapping.txt, plain text with a name on each line, JSON (a list, or an object of indices and names, as"
    " Keras has it), a CSV with index and name, perhaps wnid"
)


@dataclass(frozen=True)
class ClassList:
    """By index: `names` the short ones, `wnids` ("" where there is none), `synonyms` all that a class is called."""

    names: tuple[str, ...]
    wnids: tuple[str, ...]
    synonyms: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """(wnid, short name) of each class."""
        return zip(self.wnids, self.names)

    def __repr__(self) -> str:
        return f"ClassList({len(self)} classes: {', '.join(self.names[:3])}{', ...' if len(self) > 3 else ''})"


@dataclass(frozen=True)
class Match:
    """`indices` int64 `[n]`, -1 for a label that is no class or several; `unknown` and `ambiguous` are those labels,
    each once, the latter with the indices they may mean."""

    indices: Int[np.ndarray, " n"]
    unknown: tuple[str, ...]
    ambiguous: Mapping[str, tuple[int, ...]]

    @property
    def missed(self) -> int:
        """How many of the n labels have no class."""
        return int((self.indices < 0).sum())

    def describe(self) -> str:
        """One sentence for people, "" where every label has its class."""
        kinds = (("no class of the network", self.unknown), ("several of its classes", tuple(self.ambiguous)))
        said = [f"{len(found)} {what} ({_few(found)})" for what, found in kinds if found]
        return f"{self.missed} of {len(self.indices)} labels have no class: " + ", ".join(said) if said else ""


def read_classes(source: Path | str | Sequence[str]) -> ClassList:
    """A list of classes by index, from a file or from names in Python.

    Files: `LOC_synset_mapping.txt`; plain text, one name a line, perhaps numbered; JSON, a list of names, or an object
    from index to name, to [wnid, name] (Keras' index file), or from name to index, or a model's config.json with
    "id2label"; a CSV with the columns index and name, perhaps wnid; a YAML file with names, as Ultralytics has it.
    Raises InputError for a file that is none of these, for an index that is missing or stands twice, and for no names.
    """
    if not isinstance(source, Path | str):
        if not isinstance(source, Sequence) or not all(isinstance(name, str) and name.strip() for name in source):
            raise InputError("classes must be a file of class names, or a list of names, one for each class")
        return _class_list("classes", [("", name.strip()) for name in source])
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix == ".pbtxt":
        raise InputError(f"{path}: a label map of TensorFlow is not read; write its names in a text file, one a line")
    if suffix in (".csv", ".tsv") or {"index", "name"} <= columns_of(path):
        found = _of_csv(path)
    elif suffix == ".json" or read_text(path).lstrip()[:2] in ("[", '["', "['", '{"'):
        found = _of_json(path, read_json(path))
    elif suffix in (".yaml", ".yml"):
        found = _of_yaml(path)
    else:
        found = _of_text(path)
    return _class_list(path, found)


def match_labels(labels: Sequence[str], classes: ClassList | Sequence[str]) -> Match:
    """The class of each label, as people write them: by the exact name, else by what remains of names without case,
    accents' encoding, spaces, underscores and hyphens, else by wnid, else by any synonym.

    The first of these that knows the label decides; a label that meets several classes there is ambiguous, and has
    none. `classes` is what `read_classes` gives, or names alone.
    """
    if not isinstance(classes, ClassList):
        classes = _class_list("classes", [("", str(name)) for name in classes], empty=True)
    ways: tuple[dict[str, list[int]], ...] = tuple(defaultdict(list) for _ in range(4))
    for index, (name, wnid, synonyms) in enumerate(zip(classes.names, classes.wnids, classes.synonyms)):
        ways[0][name].append(index)
        ways[1][label_key(name)].append(index)
        if wnid:
            ways[2][label_key(wnid)].append(index)
        for key in {label_key(synonym) for synonym in synonyms}:
            ways[3][key].append(index)
    found: dict[str, int] = {}
    ambiguous = {}
    for label in dict.fromkeys(labels):
        key = label_key(label)
        keys = (label, key, key, key)
        meant = next((way[key] for way, key in zip(ways, keys) if key in way), [])
        found[label] = meant[0] if len(meant) == 1 else -1
        if len(meant) > 1:
            ambiguous[label] = tuple(meant)
    return Match(
        np.array([found[label] for label in labels], np.int64),
        tuple(label for label, index in found.items() if index < 0 and label not in ambiguous),
        ambiguous,
    )


def class_or_index(text: str, classes: Sequence[str]) -> int | str:
    """A class as people type it: digits are its index, unless a class has them for its name."""
    return int(text) if text.isdecimal() and match_labels([text], classes).unknown else text


def label_key(label: str) -> str:
    """What two spellings of one name share: "Indigo_Bunting" and "indigo bunting" are one key."""
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFC", label).casefold()).strip()


def _class_list(source: object, entries: Sequence[tuple[str, str]], empty: bool = False) -> ClassList:
    """(wnid, names) by index; the short name is the first of the names, if no other class has the same."""
    if not entries and not empty:
        raise InputError(f"{source}: no class names in it")
    synonyms = [tuple(part for piece in names.split(",") if (part := piece.strip())) for _, names in entries]
    shared = Counter(label_key(own[0]) if own else "" for own in synonyms)
    if shared[""]:
        raise InputError(f"{source}: class {synonyms.index(())} has no name")
    full = [", ".join(own) for own in synonyms]
    names = [own[0] if shared[label_key(own[0])] == 1 else whole for own, whole in zip(synonyms, full)]
    return ClassList(
        tuple(names),
        tuple(wnid for wnid, _ in entries),
        tuple(tuple(dict.fromkeys((*own, whole))) for own, whole in zip(synonyms, full)),
    )


def _of_text(path: Path) -> list[tuple[str, str]]:
    """Lines of names, or of wnid and names, perhaps with their index before them, as a printed dictionary has it."""
    lines = _indexed([line.strip() for line in read_text(path).splitlines() if line.strip(" \t{}")])
    split = [WNID_AND_NAMES.fullmatch(line) for line in lines]
    if not any(split):
        return [("", line) for line in lines]
    if odd := [line for line, parts in zip(lines, split) if parts is None]:
        raise InputError(f"{path}: each line must hold a wnid and names, or none a wnid; one holds {odd[0][:60]!r}")
    entries = [(parts[1], (parts[2] or "").strip()) for parts in split if parts]
    named = [names for _, names in entries if names]
    if named and len(named) < len(entries):
        bare = next(wnid for wnid, names in entries if not names)
        raise InputError(f"{path}: each line must hold a wnid and names, or each a wnid alone; {bare} has no name")
    return entries if named else [(wnid, wnid) for wnid, _ in entries]


def _indexed(lines: list[str]) -> list[str]:
    """The lines in the order of the numbers that they begin with, without these, if those are 0, 1, 2 and so on, or 1,
    2, 3; without quotes, if each line is in them."""
    quoted = [re.fullmatch(r"(['\"])(.*)\1,?", line) for line in lines]
    if all(quoted):
        return [part[2] for part in quoted if part]
    parts = [_INDEX.fullmatch(line) for line in lines]
    found = {int(part[1]): part[2] for part in parts if part}
    if len(lines) < 2 or len(found) < len(lines) or max(found) - min(found) >= len(lines) or min(found) > 1:
        return lines
    return [re.sub(r"^(['\"])(.*)\1$", r"\2", found[i]) for i in sorted(found)]


def _of_yaml(path: Path) -> list[tuple[str, str]]:
    """The names of an Ultralytics data file: a list in brackets, one a line after hyphens, or after their indices."""
    block = re.search(r"^names:[ \t]*(\[[^\]]*\]|(?:\n[ \t]*(?:-|\d+:).*)+)", read_text(path), re.MULTILINE)
    if block is None:
        raise InputError(f"{path}: holds no class names under names:; write them in a text file, one a line")
    if block[1].startswith("["):
        parts = re.findall(r"'[^']*'|\"[^\"]*\"|[^,\s][^,]*", block[1][1:-1])
    else:
        parts = [re.sub(r"^-\s*", "", line.strip()) for line in block[1].strip().splitlines()]
    return [("", re.sub(r"^(['\"])(.*)\1$", r"\2", part.strip())) for part in _indexed(parts)]


def _of_csv(path: Path) -> list[tuple[str, str]]:
    aliases = dict.fromkeys(("classname", "class", "label"), "name") | dict.fromkeys(("classid", "id"), "index")
    rows = list(read_rows(path, ("index", "name"), optional=("wnid",), aliases=aliases))
    return _by_index(path, [(row["index"], (row["wnid"], row["name"])) for row in rows])


def _of_json(path: Path, content: Any) -> list[tuple[str, str]]:
    if isinstance(content, list):
        return [_of_value(path, value) for value in content]
    for key in ("id2label", "names", "classes"):  # the first: the config.json of a Hugging Face model
        if isinstance(content, dict) and isinstance(content.get(key), list | dict):
            return _of_json(path, content[key])
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no class names; they are read from {_FORMS}")
    if content and all(isinstance(value, int) and not isinstance(value, bool) for value in content.values()):
        return _by_index(path, [(str(index), ("", name)) for name, index in content.items()])
    return _by_index(path, [(index, _of_value(path, value)) for index, value in content.items()])


def _of_value(path: Path, value: Any) -> tuple[str, str]:
    """A name, or [wnid, name]."""
    if isinstance(value, str):
        return "", value
    if isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value):
        wnid, name = value
        return (wnid, name) if WNID.fullmatch(wnid) else ("", f"{wnid}, {name}")
    raise InputError(f"{path}: a class must be a name, or [wnid, name], not {str(value)[:60]}")


def _by_index(path: Path, entries: Sequence[tuple[str, tuple[str, str]]]) -> list[tuple[str, str]]:
    odd = next((index for index, _ in entries if not re.fullmatch(r"[0-9]{1,9}", index.strip())), None)
    if odd is not None:
        raise InputError(f"{path}: the index of a class must be a number from 0 on, not {odd[:40]!r}")
    ordered = sorted((int(index), entry) for index, entry in entries)
    if [index for index, _ in ordered] != list(range(len(ordered))):
        twice = [index for index, count in Counter(index for index, _ in ordered).items() if count > 1]
        said = f"; {twice[0]} stands twice" if twice else f"; it has {ordered[0][0]} to {ordered[-1][0]}"
        raise InputError(f"{path}: the index of the classes must run from 0 without gaps{said}")
    return [entry for _, entry in ordered]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
