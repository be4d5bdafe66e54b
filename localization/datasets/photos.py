"""Photos off the disk: whatever a data set holds, as uint8 `[h, w, 3]` RGB, or one sentence naming the file.

Grey, palette, CMYK and 16-bit images become 8-bit RGB; transparent pixels lie on white; of an animation the first
picture counts. The file's name says nothing: a PNG called .JPEG is read as what it is.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from saliency._reading import refusing
from saliency.errors import InputError

MAX_PIXELS = 100_000_000
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # not EPS: it would start an interpreter
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Header:
    """What a file says before it is decoded: (height, width) as stored, and whether EXIF turns it on its side."""

    size: tuple[int, int]
    turned: bool


def read_header(path: Path | str) -> Header:
    """Raises InputError for what is no photo, or has more than MAX_PIXELS pixels."""
    return _header(path, path)


def decode_header(data: bytes, name: str) -> Header:
    """The header of the photo in these bytes; `name` is what an error calls it."""
    return _header(BytesIO(data), name)


def read_photo(path: Path | str, exif: bool = False) -> np.ndarray:
    """The photo at `path`; `exif` turns it as its camera says. Raises InputError."""
    return _decoded(path, path, exif)


def decode_photo(data: bytes, name: str, exif: bool = False) -> np.ndarray:
    """The photo in these bytes."""
    return _decoded(BytesIO(data), name, exif)


def _header(file: Path | str | BytesIO, name: Path | str) -> Header:
    with _opened(file, name) as image:
        return Header((image.height, image.width), image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8))


def _decoded(file: Path | str | BytesIO, name: Path | str, exif: bool) -> np.ndarray:
    with _opened(file, name) as image:
        return _rgb(image, exif)


@contextmanager
def _opened(file: Path | str | BytesIO, name: Path | str) -> Iterator[Image.Image]:
    with refusing(name, "damaged image"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # our limit is checked below, and odd metadata harms no pixel
        try:
            with Image.open(file, formats=_FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                yield image
        except Image.UnidentifiedImageError:
            raise InputError(f"{name}: not an image of a known format ({', '.join(_FORMATS)})") from None
        except Image.DecompressionBombError:
            raise InputError(f"{name}: larger than {MAX_PIXELS:,} pixels; scale it down first") from None


def _rgb(image: Image.Image, exif: bool) -> np.ndarray:
    if exif:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits a pixel, and "I" is how some of those files open
        grey = np.asarray(image, np.int64).clip(0, 65535) // 257
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "F":
        raise ValueError("its pixels are floats of unknown range")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))
