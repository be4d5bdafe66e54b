"""The docs' pages of the menu are current: a picture of every method, and pointers that lead somewhere."""

import json
import re
from importlib import import_module
from pathlib import Path

import pytest

import saliency
from saliency.errors import InputError
from saliency.methods import METHODS, by_family
from saliency.models.weights import load_network

ROOT = Path(saliency.__file__).parents[1]
ROWS = [
    [cell.strip() for cell in line.strip("|\n ").split(" | ")]
    for line in (ROOT / "docs" / "peers.md").read_text().splitlines()
    if (line.startswith("| ") and "| **yes** |" in line) or "| *part* |" in line or line.endswith("| no |  |")
]


def resolved(pointer: str) -> object:
    """What a pointer of the table names: a method, a file, or a name in a module."""
    if method := re.fullmatch(r'METHODS\["(.+)"\]', pointer):
        return METHODS[method[1]]
    if "/" in pointer:
        assert (ROOT / pointer).is_file(), pointer
        return pointer
    parts, found = pointer.split("."), None
    for k in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:k]))
        except ModuleNotFoundError:
            continue
        for name in parts[k:]:
            found = getattr(found, name)
        return found
    raise AssertionError(pointer)


def test_every_row_points_to_what_is_there():
    known = ("METHODS[", "saliency.", "localization.", "scripts/", "docs/")
    for name, said, *where in ROWS:
        pointers = [one for one in re.findall(r"`([^`]+)`", " ".join(where)) if one.startswith(known)]
        assert bool(pointers) == (said != "no"), name
        for pointer in pointers:
            assert resolved(pointer) is not None


def test_the_count_is_that_of_the_rows():
    said = [row[1] for row in ROWS]
    yes, part, no = said.count("**yes**"), said.count("*part*"), said.count("no")
    assert len(ROWS) == 113 and len({row[0] for row in ROWS}) == 113
    sentence = f"Of 113 rows {yes} are yes, {part} in part, {no} no."
    assert sentence in (ROOT / "docs" / "peers.md").read_text() and yes >= 80


def test_every_method_that_suits_the_scenes_has_its_picture():
    """After a change of the menu: python -m scripts.picture_methods."""
    menu = json.loads((ROOT / "docs" / "methods" / "menu.json").read_text())
    net = load_network(menu["network"])

    def suits(name: str) -> bool:
        try:
            METHODS[name].cost(net, net.preprocess.size)
        except InputError:
            return False
        return True

    expected = {family: [one.name for one in own if suits(one.name)] for family, own in by_family().items()}
    assert menu["drawn"] == {family: names for family, names in expected.items() if names}
    for family in menu["drawn"]:
        path = ROOT / "docs" / "methods" / f"{family.replace(' ', '_')}.jpg"
        assert path.is_file() and path.stat().st_size < 400_000


@pytest.mark.parametrize("pointer", ['METHODS["no such"]', "saliency.nothing.here", "scripts/nothing.py"])
def test_a_pointer_to_nothing_is_found_out(pointer):
    with pytest.raises((KeyError, AttributeError, AssertionError)):
        resolved(pointer)
