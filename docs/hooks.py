"""MkDocs: the table of methods is made from the menu itself, so that it cannot fall behind."""

from pathlib import Path
from typing import Any

from saliency.faithfulness import MEASURES
from saliency.methods import by_family
from saliency.wrappers import said_of_wrappers

DOCS = Path(__file__).parent
MEASURES_MARK = "<!-- measures -->"
MARK, WRAPPERS = "<!-- methods -->", "<!-- wrappers -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    if WRAPPERS in markdown:
        markdown = markdown.replace(WRAPPERS, wrappers())
    if MEASURES_MARK in markdown:
        markdown = markdown.replace(MEASURES_MARK, measures())
    return markdown.replace(MARK, table()) if MARK in markdown else markdown


def measures() -> str:
    rows = [
        f"| {name} | `{one.function}` | {one.better} | {one.summary} | {one.cost} | {one.caution} | {one.source} |"
        for name, one in MEASURES.items()
    ]
    head = "| measure | function | better | what it is | cost beside the map | where it misleads | source |"
    return "\n".join([head, "|---|---|---|---|---|---|---|", *rows])


def wrappers() -> str:
    pairs = [line.partition("  ") for line in said_of_wrappers()]
    return "\n".join(["| wrapper | what it does |", "|---|---|", *(f"| `{a}` | {b} |" for a, _, b in pairs)])


def table() -> str:
    """A heading a family, its pictures, and a row a method."""
    parts = []
    for family, own in by_family().items():
        picture = f"methods/{family.replace(' ', '_')}.jpg"
        shown = f"![Maps of this family on one scene]({picture})" if (DOCS / picture).is_file() else ""
        rows = [f"| `{one.name}` | {one.sign} | {one.source} | {' '.join(one.summary.split())} |" for one in own]
        head = ["| name | sign | source | what it is |", "|---|---|---|---|"]
        parts.append("\n".join([f"### {family.capitalize()}", "", shown, "", *head, *rows, ""]))
    return "\n".join(parts)
