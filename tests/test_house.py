"""No circle among the files, lower floors know nothing of higher ones, and package faces hold names only."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import localization
import saliency

ROOT = Path(saliency.__file__).parents[1]
FILES = {
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__"): path
    for package in (saliency, localization)
    for path in sorted(Path(package.__file__).parent.rglob("*.py"))
}
NAMES = ("__all__", "__version__", "(__getattr__, __dir__)")
FACES = [module for module, path in FILES.items() if path.name == "__init__.py"]


@cache
def tree_of(module: str) -> ast.Module:
    """Parsed when it is asked for: every worker of a run imports this file, and few run its tests."""
    return ast.parse(FILES[module].read_text())


def imported(tree: ast.Module) -> Iterator[str]:
    """Modules, absolute, that a file imports, at its top or within a function; those for its types alone are left out,
    as no such import runs."""
    typing = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if node in typing:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, ast.unparse(node)  # absolute, so that a reader can search for it
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in FILES else node.module


def test_no_circle_among_modules():
    """Imports within functions count too: a circle that is only put off is one."""
    graph = {module: {name for name in imported(tree_of(module)) if name in FILES} - {module} for module in FILES}
    assert "saliency.scores" in graph["saliency.occlusion.plan"] and sum(map(len, graph.values())) > len(graph)
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


@pytest.mark.parametrize("module", FILES)
def test_lower_floors_know_nothing_of_higher_ones(module):
    higher = {"scripts", "tests"} | ({"localization"} if module.partition(".")[0] == "saliency" else set())
    assert not {name for name in imported(tree_of(module)) if name.partition(".")[0] in higher}


@pytest.mark.parametrize("module", FACES)
def test_a_package_face_holds_names_only(module):
    others = [
        node
        for node in tree_of(module).body
        if not isinstance(node, ast.Import | ast.ImportFrom)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        and not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in NAMES)
        and not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]
    assert not others, ast.unparse(others[0])
