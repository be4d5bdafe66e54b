"""MkDocs: the table of methods is made from the menu itself, so that it cannot fall behind."""

from typing import Any

from saliency import METHODS

MARK = "<!-- methods -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    return markdown.replace(MARK, table()) if MARK in markdown else markdown


def table() -> str:
    rows = [
        f"| `{one.name}` | {one.sign} | {one.source} | {' '.join(one.summary.split())} |" for one in METHODS.values()
    ]
    return "\n".join(["| name | sign | source | what it is |", "|---|---|---|---|", *rows])
