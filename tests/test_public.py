"""What is public is explained and shown: every name has a docstring, and the examples in them run."""

import doctest
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

import localization
import saliency
from saliency import faithfulness, wrappers

FUNCTIONS = [
    *(getattr(saliency, name) for name in saliency.__all__),
    *(getattr(faithfulness, name) for name in faithfulness.__all__ if name != "MEASURES"),
    *(getattr(wrappers, name) for name in ("flip", "scale", "brightness", "smooth", "layers", "repeats")),
    *(getattr(localization, name) for name in ("CoverageMap", "fit_coverage", "load_coverage_map")),
]
PUBLIC = [one for one in FUNCTIONS if callable(one)]


@pytest.mark.parametrize("one", PUBLIC, ids=lambda one: one.__name__)
def test_it_has_an_example_that_runs(one):
    names = {**vars(sys.modules[one.__module__]), "np": np}
    (own,) = (test for test in doctest.DocTestFinder(recurse=False).find(one, one.__name__, globs=names))
    assert own.examples, f"{one.__name__} has no example"
    failed, _ = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(own)
    assert not failed


def test_modules_say_what_they_are_for():
    for package in (saliency, localization):
        for path in Path(package.__file__).parent.rglob("*.py"):
            assert path.read_text().startswith('"""'), path


def test_what_import_costs():
    """Neither pictures nor statistics are imported until they are used: a notebook starts in less than it took."""
    found = subprocess.run(
        [sys.executable, "-c", "import sys, saliency; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    heavy = {"matplotlib", "scipy", "sklearn", "PIL.ImageFont", "jinja2", "localization", "scripts", "torch", "h5py"}
    assert not heavy & set(found.stdout.split())


def test_version_and_types():
    assert saliency.__version__ == version("salbox")
    for package in (saliency, localization):
        assert (Path(package.__file__).parent / "py.typed").is_file()
