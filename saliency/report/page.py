"""Pictures and one self-contained HTML page of results; the template escapes all text that comes from data."""

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from saliency.report.record import plain, write_bytes

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure as Plot

COMPRESSION = 4  # of PNG: 9 is a tenth smaller, and takes five times as long


@dataclass(frozen=True)
class Table:
    """`rows` hold text or numbers; numbers sort as numbers in the page. `best` marks a row index to set in bold;
    `decimals` are those of every float, or of each column's (default: four digits that count)."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""
    best: int | None = None
    decimals: int | Sequence[int | None] | None = None

    def places(self, column: int) -> int | None:
        return self.decimals[column] if isinstance(self.decimals, Sequence) else self.decimals


@dataclass(frozen=True)
class Figure:
    """A picture by its PNG or GIF bytes."""

    image: bytes
    caption: str = ""
    alt: str = ""

    @property
    def uri(self) -> str:
        kind = "gif" if self.image[:3] == b"GIF" else "jpeg" if self.image[:2] == b"\xff\xd8" else "png"
        return f"data:image/{kind};base64,{base64.b64encode(self.image).decode()}"


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs of plain text, then tables and figures; `wide` figures take the whole width. A `folded` one
    opens on a click."""

    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    wide: bool = True
    folded: bool = False


@dataclass(frozen=True)
class InspectedImage:
    """One image to look into: a small JPEG, the photo's (height, width), its true boxes `[k, 4]` in that size; by
    method the map float `[h, w]`, of any resolution over the photo; by method and route a box `[4]` and its IoU."""

    title: str
    note: str
    photo: bytes
    size: tuple[int, int]
    true: np.ndarray
    maps: Mapping[str, np.ndarray]
    boxes: Mapping[str, tuple[np.ndarray, float]]

    def record(self) -> dict[str, Any]:
        """As the page's script reads it; maps in 256 levels between their smallest and largest value."""
        return {
            "title": self.title,
            "note": self.note,
            "photo": Figure(self.photo).uri,
            "size": self.size,
            "true": plain(np.round(self.true, 1)),
            "maps": {name: _quantised(own) for name, own in self.maps.items()},
        }

    def found(self, labels: Sequence[str]) -> list[list[float | None] | None]:
        """For each label its box and IoU, of which a page has many: nothing finer than can be seen."""
        decimals = 1 if max(self.size) < 200 else 0
        return [
            [*plain(np.round(box, decimals)), round(iou, 2)] if box is not None else None
            for box, iou in (self.boxes.get(label, (None, 0.0)) for label in labels)
        ]


def jpeg(photo: np.ndarray, side: int, quality: int = 70) -> bytes:
    """A photo uint8 `[h, w, 3]` with its longer side at most `side` pixels."""
    image, buffer = Image.fromarray(photo), io.BytesIO()
    image.thumbnail((side, side))
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def lossy(image: bytes, scale: float = 1) -> bytes:
    """A picture with photos or maps in it as JPEG, several times smaller than as PNG; `scale` below 1 shrinks it."""
    buffer, picture = io.BytesIO(), Image.open(io.BytesIO(image)).convert("RGB")
    if scale != 1:
        picture = picture.resize(
            (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS
        )
    picture.save(buffer, "JPEG", quality=85, subsampling=0, optimize=True)
    return buffer.getvalue()


def few_colours(image: bytes) -> bytes:
    """A chart by a palette of 256 colours: one of many cells is a third of its PNG, and looks the same."""
    buffer, picture = io.BytesIO(), Image.open(io.BytesIO(image)).convert("RGB")
    picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return min(buffer.getvalue(), image, key=len)


def _quantised(own: np.ndarray) -> dict[str, Any] | None:
    low, high = float(np.min(own)), float(np.max(own))
    if not (math.isfinite(low) and math.isfinite(high)) or low == high:
        return None
    levels = np.round((own - low) / (high - low) * 255).astype(np.uint8)
    return {"size": own.shape, "low": low, "high": high, "levels": base64.b64encode(levels.tobytes()).decode()}


def png(plot: "Plot", dpi: int = 110) -> bytes:
    """A matplotlib figure as PNG bytes, without the version stamp that would make two runs differ."""
    buffer, quick = io.BytesIO(), {"compress_level": COMPRESSION}
    plot.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", metadata={"Software": None}, pil_kwargs=quick)
    return buffer.getvalue()


def write_page(
    path: Path | str,
    title: str,
    lead: str,
    sections: Sequence[Section],
    origin: Mapping[str, object] | None = None,
    inspected: Sequence[InspectedImage] = (),
) -> None:
    """One HTML file that needs no other: `lead` under the title, the sections, images to look into, and `origin`."""
    write_bytes(path, page_bytes(title, lead, sections, origin, inspected))


def page_bytes(
    title: str,
    lead: str,
    sections: Sequence[Section],
    origin: Mapping[str, object] | None = None,
    inspected: Sequence[InspectedImage] = (),
) -> bytes:
    """The same in memory."""
    labels = list(dict.fromkeys(label for one in inspected for label in one.boxes))
    html = (
        _environment()
        .get_template("page.html")
        .render(
            title=title,
            lead=lead,
            sections=sections,
            origin=json.dumps(plain(origin or {}), indent=1),
            inspected={"labels": labels, "images": [{**one.record(), "found": one.found(labels)} for one in inspected]},
        )
    )
    return html.encode()


def fragment(sections: Sequence[Section]) -> str:
    """Sections as HTML without a page around them, as a notebook shows a result (`_repr_html_`)."""
    return _environment().get_template("sections.html").render(sections=sections)


def listed_notes(notes: Sequence[str], limit: int) -> list[str]:
    """What was left out or repaired, in lines: how much, the first of them, and where the rest stands."""
    if not notes:
        return []
    rest = [f"... and {len(notes) - limit} more, in results.json"] if len(notes) > limit else []
    return [f"{len(notes)} left out or repaired:", *notes[:limit], *rest]


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("saliency.report", "."), autoescape=True, undefined=StrictUndefined)
    environment.filters["cell"] = _cell
    environment.policies["json.dumps_kwargs"] = {
        "sort_keys": False,
        "separators": (",", ":"),
    }  # methods keep their order
    environment.tests["numeric"] = _numeric
    return environment


def _numeric(value: object) -> bool:
    return isinstance(value, int | float | np.number)


def _cell(value: object, decimals: int | None = None) -> str:
    """Numbers short, nothing for what is missing."""
    if value is None:
        return "–"
    if isinstance(value, float | np.floating):
        number = float(value)
        if not math.isfinite(number):
            return "–"
        if decimals is not None:
            return f"{number:.{decimals}f}"
        return f"{number:.4g}" if abs(number) < 1000 else f"{number:,.0f}"
    return str(value)
