"""What README and docs say of speed has its file and its command."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "data" / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
TEXT = {page: page.read_text() for page in PAGES}


def named(text: str) -> list[str]:
    return re.findall(r"data/benchmarks/([\w*]+\.\w+)", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_named_is_there(page):
    for name in named(TEXT[page]):
        assert list((ROOT / "data" / "benchmarks").glob(name)), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_benchmark_that_is_named_is_one(page):
    for name in re.findall(r"scripts\.benchmark ([a-z_]+)", TEXT[page]):
        assert find_spec(f"scripts.benchmarks.{name}"), name


def test_every_file_is_named_and_says_where_it_comes_from():
    everything = "\n".join(TEXT.values())
    patterns = named(everything)
    for path in sorted((ROOT / "data" / "benchmarks").glob("*.json")):
        assert f"`{path.name}`" in everything or any(path.match(pattern) for pattern in patterns), path.name
        assert json.loads(path.read_text()), path.name
