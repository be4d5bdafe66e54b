"""What a comparison found: rows, a table, files, and how a notebook shows it."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from localization.comparison import boxes
from localization.comparison.maps import Made
from localization.regression import CoverageMap, load_coverage_map
from localization.statistics import in_percent
from saliency._files import require_all
from saliency._reading import read_json
from saliency.report import Figure, Section, Table, fragment, lossy, write_bytes, write_csv, write_json

PICTURES, PAGE, BUNDLES = "pictures", "report.html", "bundles"
CORLOC = ("corloc", "corloc_low", "corloc_high")
PRINT, SCREEN = 300, 110  # dots an inch of the galleries' files, and of other pictures and on the page
FIRST = ("corloc", "gallery-1")  # of the pictures, in a notebook


@dataclass(frozen=True, eq=False)
class Comparison:
    """The result of `compare`.

    `results` is everything as plain data, as `results.json` holds it; `images` one row an image, method and route, as
    `images.csv` does (none without boxes). `files` gives the pictures and the page as bytes, by their path. `made` are
    the maps on disk, while these are kept; `bundles` what was learned, by method, where that is kept. `reused` says
    that an earlier run's result was read back.
    """

    results: Mapping[str, Any]
    images: Sequence[Mapping[str, Any]] = field(repr=False)
    draw: Callable[[], Mapping[str, bytes]] = field(repr=False)
    made: Mapping[str, Made] = field(default_factory=dict, repr=False)
    bundles: Mapping[str, CoverageMap] = field(default_factory=dict, repr=False)
    reused: bool = False

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row a method and box route, best first: CorLoc and mean IoU with intervals (shares of 1), and the cost.
        Without boxes one row a method, with its quality and cost."""
        if "rows" in self.results:
            return sorted(self.results["rows"], key=lambda row: -row["corloc"])
        found = {row["method"]: row for row in (self.results["quality"] or {"rows": ()})["rows"]}
        return [method | found.get(method["method"], {}) for method in self.results["methods"]]

    @property
    def notes(self) -> list[str]:
        """Sentences on what was left out or put right, with counts; part of every figure's meaning."""
        return list(self.results["notes"])

    @cached_property
    def files(self) -> Mapping[str, bytes]:
        """Pictures (PNG) and the HTML page by their path in a folder; drawn when first asked for."""
        return self.draw()

    def table(self) -> str:
        """The rows as text for a terminal, best first; without boxes, the methods and their quality."""
        return table(self.results, self.rows)

    def save(self, folder: Path | str) -> None:
        """Write results.json, images.csv (with boxes), the pictures as PNG and report.html into `folder`."""
        write(self, Path(folder))

    def __repr__(self) -> str:
        return f"Comparison({head(self.results)})"

    def _repr_html_(self) -> str:
        pictures = [self.files.get(f"{PICTURES}/{name}.png") for name in FIRST]
        columns, _, texts = cells(self.results, self.rows)
        rows = [[text[name] for name in columns] for text in texts]
        figures = [Figure(lossy(image, SCREEN / PRINT) if i else image) for i, image in enumerate(pictures) if image]
        return fragment(
            [Section(head(self.results), "\n".join(self.notes), [Table(list(columns), rows, best=0)], figures)]
        )


def write(found: Comparison, folder: Path, before_the_last: Callable[[], None] = lambda: None) -> None:
    """All files; results.json, by which they are known to be complete, comes last."""
    with require_all():
        if "rows" in found.results:
            write_csv(folder / "images.csv", found.images, boxes.COLUMNS)
        for name, content in found.files.items():
            write_bytes(folder / name, content)
        for name, learned in found.bundles.items():
            learned.save(folder / BUNDLES / f"{name}.safetensors")
        before_the_last()
        write_json(folder / "results.json", found.results)


def saved(folder: Path, key: str) -> Comparison | None:
    """What an earlier run has left in `folder`, if that is whole and was made of the same things."""
    try:
        results = read_json(folder / "results.json")
        if results["key"] != key:
            return None
        rows: list[dict[str, str]] = []
        if "rows" in results:
            with open(folder / "images.csv", newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        files = {f"{PICTURES}/{path.name}": path for path in sorted((folder / PICTURES).glob("*.png"))}
        files[PAGE] = folder / PAGE
        kept = {path.stem: load_coverage_map(path) for path in sorted((folder / BUNDLES).glob("*.safetensors"))}
        contents = {name: path.read_bytes() for name, path in files.items()}
        found = Comparison(results, rows, lambda: contents, bundles=kept, reused=True)
        found.table()  # what makes no table is made again
        return found
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def head(results: Mapping[str, Any]) -> str:
    """One line: the data, how many images, and how often the classifier is right on them."""
    plural = "s" * (results["test"] != 1)
    test = f"{results['test']} test image{plural}" + (f" in {results['folds']} folds" if results["folds"] else "")
    if results["photos"] != results["test"]:
        test += f" ({results['photos']} photos)"
    train = "" if results["folds"] or not results["train"] else f"{results['train']} training and "
    return f"{results['dataset']}: {train}{test}{right(results, '; {name} is right on {share}')}"


def scored(results: Mapping[str, Any], what: str) -> str:
    """How many samples; a photo with two classes is two of them."""
    photos = f" of {results['photos']} photos" if results["photos"] != results["test"] else ""
    return f"{results['test']} {what}{photos}"


def right(results: Mapping[str, Any], sentence: str) -> str:
    """How often the classifier is right, of all images: those whose label it does not know are counted with them."""
    if "accuracy" not in results:
        return ""
    unknown = results["unknown_labels"]
    share = f"{results['accuracy']:.1%}" + (
        f" (of all; {unknown} with a label that it does not know)" if unknown else ""
    )
    return sentence.format(name=results["network"]["name"], share=share)


def cells(
    results: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, int], tuple[str, ...], list[dict[str, str]]]:
    """The columns with their widths, those that stand at the left, and the rows as text."""
    if "rows" in results:
        small = {} if rows[0]["corloc_small"] is None else {"small": 6}  # boxes below half of their photo
        columns = {"box route": 11, "CorLoc [95%]": 21, **small, "mean IoU": 9}
    else:
        columns = {"insertion": 10, "deletion": 10, "sparsity": 10}
    columns = {"method": 18} | columns | {"fwd": 6, "bwd": 5, "saved": 6, "ms/image": 10, "peak MiB": 10}
    texts = [
        {
            "method": row["method"],
            "box route": row.get("route") or "",
            "CorLoc [95%]": in_percent(row["corloc"], row["corloc_low"], row["corloc_high"], 5)
            if "corloc" in row
            else "",
            "small": _shown(row.get("corloc_small"), ".1%"),
            "mean IoU": _shown(row.get("mean_iou"), ".3f"),
            **{key: _shown(row.get(key), ".3f") for key in ("insertion", "deletion", "sparsity")},
            "fwd": _shown(row["forwards"], "d"),
            "bwd": _shown(row["backwards"], "d"),
            "saved": _shown(row["saved"], ".0f"),
            "ms/image": _shown(row["ms_per_image"], ".1f"),
            "peak MiB": _shown(row["peak_mib"], ".0f"),
        }
        for row in rows
    ]
    return columns, ("method", "box route", "CorLoc [95%]"), texts


def table(results: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    columns, left, texts = cells(results, rows)
    body = [
        " ".join(f"{row[key]:<{width}}" if key in left else f"{row[key]:>{width}}" for key, width in columns.items())
        for row in [{key: key for key in columns}, *texts]
    ]
    return "\n".join([head(results), "", *body])


def _shown(value: float | None, how: str) -> str:
    return "-" if value is None else format(value, how)
