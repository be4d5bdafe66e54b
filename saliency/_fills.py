"""What shows where an image is hidden, as people write it and as a page says it."""

from saliency.occlusion.windows import GREY, Fill

_WORDS = {
    "grey": f"grey (level {GREY:g})",
    "mean": "the image's own mean colour",
    "blur": "the image, blurred",
    "noise": "noise (uniform random pixels)",
}


def parse_fill(text: Fill) -> Fill:
    """A fill as `fill_images` takes it: a name, a level 0..255, or "r,g,b" as three levels."""
    if not isinstance(text, str):
        return text
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        return text
    return numbers[0] if len(numbers) == 1 else tuple(numbers)  # type: ignore[return-value]


def fill_text(fill: Fill) -> str:
    """A fill as one writes it on a command line, the same for equal fills: "0", "grey", "10,20,30"."""
    parsed = parse_fill(fill)
    if isinstance(parsed, str):
        return parsed
    levels = [f"{float(level):g}" for level in (parsed if isinstance(parsed, tuple | list) else [parsed])]
    if len(set(levels)) > 1:
        return ",".join(levels)
    return "grey" if levels[0] == f"{GREY:g}" else levels[0]


def fill_words(fill: Fill) -> str:
    """The fill's name for a reader: "black (level 0)", "grey (level 127.5)"."""
    text = fill_text(fill)
    levels = {"0": "black (level 0)", "255": "white (level 255)"}
    return _WORDS.get(text) or levels.get(text) or (f"colour {text}" if "," in text else f"level {text}")
