"""The tables of docs/speed.md, from the files: written into a page between two comments, so that both always agree.

    python -m scripts.benchmark throughput --seconds 900 --out data/benchmarks/throughput.json --page docs/speed.md

A page that is already written is brought up to a file by `brought_up(page, file)`.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from saliency._files import atomic_write
from saliency.errors import InputError

END = "<!-- end -->"


def brought_up(page: Path, file: Path) -> None:
    """Write the tables of a file of results into the page, in the place of those that stand there.

    Raises InputError for a page without that place.
    """
    before, after = around(page, file.name)
    with atomic_write(page) as temporary:
        temporary.write_text(f"{before}{block(file)}{after}", encoding="utf-8")


def around(page: Path, name: str) -> tuple[str, str]:
    """What stands before and after the tables of the file of this name; InputError for a page without their place."""
    begin = begins(name)
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise InputError(f"{page}: has no lines {begin!r} and {END!r}, between which the tables are written")
    return before, after


def begins(name: str) -> str:
    """The comment before the tables of a file."""
    return f"<!-- from {name} -->"


def block(file: Path) -> str:
    """The tables of a file with both comments."""
    found = tables(json.loads(file.read_text(encoding="utf-8")))
    return "\n\n".join([begins(file.name), *found, END])


def tables(results: dict[str, Any]) -> list[str]:
    """As Markdown, each part that has figures, and what they say in words."""
    gradients = {row["network"]: row for row in results["data_set"] if row["maps"] == "gradient"}
    others = [row for row in results["data_set"] if row["maps"] != "gradient"]
    found = []
    if gradients or others:
        names = list(dict.fromkeys(row["network"] for row in results["data_set"]))
        rows = [("photos", [str(gradients[name]["photos"]) if name in gradients else "" for name in names])]
        rows.append(("gradient maps of a data set, times torch's", _cells(names, gradients, _ratio)))
        rows.append(("... ms a photo", _cells(names, gradients, lambda row: _short(row["ms_a_photo"]["ours"]))))
        if any("share" in row for row in gradients.values()):
            label = "... share of a large product's rate on all cores, ours and torch's"
            rows.append((label, _cells(names, gradients, _shares)))
        for row in others:
            label = f"{row['maps']} of {row['photos']} photos, times torch's"
            rows.append((label, _cells(names, {row["network"]: row}, _ratio)))
        found.append(_table("", names, rows))
        found += _in_words(gradients.values(), others, results.get("machine"))
    if results["in_memory"]:
        by_name = {row["network"]: row for row in results["in_memory"]}
        names = list(by_name)
        rows = [
            ("our default batch, times torch's best", _cells(names, by_name, lambda row: f"{row['ratio']:.2f}")),
            ("one photo, times torch's", _cells(names, by_name, lambda row: _ratio(row, ", one photo"))),
        ]
        found.append(_table("class maps of images in memory", names, rows))
    if results["roof"]:
        by_name = {row["network"]: row for row in results["roof"]}
        engines = {"forward pass": "dense", "gradient map": "gradient", "occlusion 32/16, incremental": "incremental"}
        rows = [
            (label, _cells(list(by_name), by_name, partial(_share, engine=engine))) for label, engine in engines.items()
        ]
        found.append(_table("share of one core's limit", list(by_name), rows))
    return found


def _in_words(
    gradients: Iterable[dict[str, Any]], others: Iterable[dict[str, Any]], machine: dict[str, float] | None
) -> list[str]:
    """Who is faster, and what the machine could do."""
    said = []
    ratios = sorted(row["ratio"] for row in gradients)
    if ratios:
        span = f"{ratios[0]:.2f} to {ratios[-1]:.2f} times" if len(ratios) > 1 else f"{ratios[0]:.2f} times"
        said.append(f"Gradient maps of a data set take {span} as long as torch's on all cores.")
    said += [f"{row['network']}'s {row['maps']} maps take {row['ratio']:.2f} times as long." for row in others]
    if machine:
        one, every = (machine[f"multiplications_a_second, {which}"] / 1e9 for which in ("one core", "all cores"))
        said.append(f"A large product makes {one:.0f} billion multiplications a second on one core of this machine and")
        said[-1] += f" {every:.0f} on all at once."
    return [" ".join(said)] if said else []


def _ratio(row: dict[str, Any], what: str = "") -> str:
    low, high = row[f"ratio_spread{what}"]
    return f"{row[f'ratio{what}']:.2f} ({low:.2f} to {high:.2f})"


def _shares(row: dict[str, Any]) -> str:
    return f"{row['share']['ours']:.2f}, {row['share']['torch']:.2f}" if "share" in row else ""


def _share(row: dict[str, Any], engine: str) -> str:
    return f"{row[engine]['share']:.2f}" if engine in row else ""


def _short(ms: float) -> str:
    return f"{ms:.1f}" if ms < 50 else f"{ms:.0f}"


def _cells(names: Sequence[str], rows: dict[str, dict[str, Any]], cell: Callable[[dict[str, Any]], str]) -> list[str]:
    return [cell(rows[name]) if name in rows else "" for name in names]


def _table(corner: str, names: Sequence[str], rows: Sequence[tuple[str, list[str]]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"

    head = [line([corner, *names]), "|" + "---|" * (len(names) + 1)]
    return "\n".join([*head, *(line([label, *cells]) for label, cells in rows)])
