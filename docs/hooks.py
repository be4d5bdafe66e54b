"""MkDocs: the table of methods is made from the menu itself, so that it cannot fall behind."""

from typing import Any

from saliency.methods import by_family

MARK = "<!-- methods -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    return markdown.replace(MARK, table()) if MARK in markdown else markdown


def table() -> str:
    rows = [
        f"| {family} | `{one.name}` | {one.sign} | {one.source} | {' '.join(one.summary.split())} |"
        for family, own in by_family().items()
        for one in own
    ]
    return "\n".join(["| family | name | sign | source | what it is |", "|---|---|---|---|---|", *rows])
