"""Package faces whose names are imported when they are asked for, so that a small question does not load everything.

A face states its imports under `if TYPE_CHECKING:`, where type checkers and readers find them, and ends in

    __getattr__, __dir__ = attached(__name__)
"""

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any


def attached(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package: its stated names, and its modules."""
    places = _stated(package)

    def get(name: str) -> Any:
        module = sys.modules[package]
        if name in places:
            origin, inner = places[name]
            found = import_module(f"{origin}.{inner}") if origin == package else getattr(import_module(origin), inner)
        elif name.startswith("__"):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        else:
            try:
                found = import_module(f"{package}.{name}")
            except ModuleNotFoundError as error:
                if error.name != f"{package}.{name}":
                    raise
                raise AttributeError(f"module {package!r} has no attribute {name!r}") from None
        setattr(module, name, found)  # the next time nobody asks
        return found

    return get, lambda: sorted({*vars(sys.modules[package]), *places})


def _stated(package: str) -> dict[str, tuple[str, str]]:
    """Name -> (module, its name there) of the imports under `if TYPE_CHECKING:` in the package's own source."""
    spec = sys.modules[package].__spec__
    assert spec is not None and spec.loader is not None
    source = spec.loader.get_source(package)  # type: ignore[attr-defined]
    return {
        alias.asname or alias.name: (statement.module, alias.name)
        for node in ast.parse(source).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        if isinstance(statement, ast.ImportFrom) and statement.module
        for alias in statement.names
    }
