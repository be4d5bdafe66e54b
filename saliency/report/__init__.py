"""Results as files: data first (record), then pictures and one HTML page (page)."""

from saliency.report.page import (
    Figure,
    InspectedImage,
    Section,
    Table,
    few_colours,
    fragment,
    jpeg,
    listed_notes,
    lossy,
    page_bytes,
    png,
    write_page,
)
from saliency.report.record import content_hash, plain, record, versions, write_bytes, write_csv, write_json

__all__ = [
    "Figure",
    "InspectedImage",
    "Section",
    "Table",
    "content_hash",
    "few_colours",
    "fragment",
    "jpeg",
    "listed_notes",
    "lossy",
    "page_bytes",
    "plain",
    "png",
    "record",
    "versions",
    "write_bytes",
    "write_csv",
    "write_json",
    "write_page",
]
