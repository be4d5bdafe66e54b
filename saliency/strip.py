"""A photo and its maps side by side as one picture, drawn by Pillow alone: a title above each, lines of text below."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from saliency.pictures import overlay

HEIGHT = 240  # pixels of a panel's photo
WIDTHS = (180, 420)
STRONG = 0.995  # of a map's absolute values get less than the full colour
GAP, LINE, FONT, TITLE = 12, 18, 13, 15  # pixels
Font = ImageFont.ImageFont | ImageFont.FreeTypeFont
INK, GREY, PAPER = (20, 20, 20), (95, 95, 95), (255, 255, 255)


@dataclass(frozen=True, eq=False)
class Panel:
    """A photo uint8 `[h, w, 3]`, a map `[mh, mw]` and a box `x0 y0 x1 y1` over it where there are any, and words."""

    photo: UInt8[np.ndarray, "h w 3"]
    map: Float[np.ndarray, "mh mw"] | None
    box: Float[np.ndarray, " 4"] | None
    title: str
    lines: Sequence[str]

    def drawn(self, width: int, height: int) -> Image.Image:
        photo = np.asarray(Image.fromarray(self.photo).resize((width, height), Image.Resampling.LANCZOS))
        if self.map is None:
            return Image.fromarray(photo)
        scale = np.array([width / self.photo.shape[1], height / self.photo.shape[0]] * 2)
        boxes = [] if self.box is None else [(self.box * scale).tolist()]
        strong = float(np.quantile(np.abs(self.map), STRONG)) or None  # a few pixels would leave all others pale
        return Image.fromarray(np.asarray(overlay(photo, self.map, boxes=boxes, limit=strong)))


def panel_row(panels: Sequence[Panel], aspect: float, foot: str) -> Image.Image:
    """The panels in a row, each photo drawn with width over height `aspect`, and a line at the foot."""
    width = round(min(max(HEIGHT * aspect, WIDTHS[0]), WIDTHS[1]))
    height = round(min(HEIGHT, max(width / aspect, HEIGHT / 4)))
    lines = max(len(panel.lines) for panel in panels)
    size = GAP + len(panels) * (width + GAP), 2 * GAP + LINE + height + (lines + 1) * LINE + GAP
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    small, large = (ImageFont.load_default(size) for size in (FONT, TITLE))
    for i, panel in enumerate(panels):
        left, top = GAP + i * (width + GAP), GAP
        draw.text((left, top), _fitted(draw, panel.title, large, width), INK, large)
        top += LINE + GAP // 2
        sheet.paste(panel.drawn(width, height), (left, top))
        for j, line in enumerate(panel.lines):
            draw.text((left, top + height + 4 + j * LINE), _fitted(draw, line, small, width), INK, small)
    draw.text((GAP, size[1] - GAP - LINE), _fitted(draw, foot, small, size[0] - 2 * GAP), GREY, small)
    return sheet


def _fitted(draw: ImageDraw.ImageDraw, text: str, font: Font, most: int) -> str:
    """A text, cut where it is wider than `most` pixels."""
    if draw.textlength(text, font) <= most:
        return text
    while text and draw.textlength(text + "…", font) > most:
        text = text[:-1]
    return text + "…"
