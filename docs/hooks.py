"""MkDocs: the table of methods is made from the menu itself, so that it cannot fall behind."""

from typing import Any

from saliency.methods import by_family
from saliency.wrappers import said_of_wrappers

MARK, WRAPPERS = "<!-- methods -->", "<!-- wrappers -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    if WRAPPERS in markdown:
        markdown = markdown.replace(WRAPPERS, wrappers())
    return markdown.replace(MARK, table()) if MARK in markdown else markdown


def wrappers() -> str:
    pairs = [line.partition("  ") for line in said_of_wrappers()]
    return "\n".join(["| wrapper | what it does |", "|---|---|", *(f"| `{a}` | {b} |" for a, _, b in pairs)])


def table() -> str:
    rows = [
        f"| {family} | `{one.name}` | {one.sign} | {one.source} | {' '.join(one.summary.split())} |"
        for family, own in by_family().items()
        for one in own
    ]
    return "\n".join(["| family | name | sign | source | what it is |", "|---|---|---|---|---|", *rows])
