"""Photos at the door: whatever holds one, as uint8 `[h, w, 3]` RGB, or one sentence that names the file.

**Which way is up.** A photo lies as its EXIF orientation says, as viewers show it. Only where boxes were drawn on the
pixels as they are stored (VOC, ILSVRC, COCO) is it read with `exif=False`. TIFF's own orientation always holds.

**Which brightness.** Grey, palette, CMYK, YCbCr, Lab and HSV images become 8-bit RGB (colour profiles are ignored);
transparent pixels lie on white; of an animation the first picture counts. Deeper pixels are scaled to 8 bits:

- integers (modes I;16 and I): the smallest of 8, 10, 12, 14, 16, 24 and 32 bits that holds the largest value of the
  photo is white, so that 12 bits in a 16-bit file are no black photo, and 8 bits stay as they are;
- colours of 16 bits: of each the upper 8 bits, with white found in the same way, and full opacity too; where fewer than
  12 bits are in use, too little of them is left, and the photo is refused;
- floats (mode F): 0..1 becomes 0..255; larger values are taken as integers are;
- values below 0 and those that are not finite are refused.

`Header.deep` says which of these applies. The file's name says nothing: a PNG called .JPEG is read as what it is.
"""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from saliency._reading import as_input_error, placeholder
from saliency.errors import InputError

MAX_PIXELS = 100_000_000
SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".mpo", ".png", ".apng", ".bmp", ".gif", ".webp", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
UNREAD = (  # photos too
    ".heic", ".heif", ".avif", ".jp2", ".j2k", ".jpx", ".jxl", ".svg", ".psd", ".tga", ".ico", ".pcx", ".exr", ".hdr",
    ".dib", ".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".orf", ".rw2", ".raf",
)  # fmt: skip
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*")  # how photos begin, but for WebP
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # not EPS: it would start an interpreter
_ORIENTATION = 0x0112
_DEPTHS = (8, 10, 12, 14, 16, 24, 32)  # bits


@dataclass(frozen=True)
class Header:
    """What a file says before it is decoded: (height, width) as stored, EXIF's orientation (1 to 8, of which 1 is
    upright and 5 to 8 lie on their side), and how its pixels are scaled to 8 bits ("" where they have no more)."""

    size: tuple[int, int]
    orientation: int = 1
    deep: str = ""

    @property
    def upright(self) -> tuple[int, int]:
        """(height, width) as EXIF turns it."""
        return self.size[::-1] if self.orientation >= 5 else self.size


def read_header(path: Path | str) -> Header:
    """Raises InputError for what is no photo, or has more than MAX_PIXELS pixels."""
    return _header(path, path)


def decode_header(data: bytes, name: str) -> Header:
    """The header of the photo in these bytes; `name` is what an error calls it."""
    return _header(BytesIO(data), name)


def read_photo(path: Path | str, exif: bool = True) -> np.ndarray:
    """The photo at `path` as uint8 `[h, w, 3]`, upright; `exif=False` leaves it as it is stored. Raises InputError."""
    return _decoded(path, path, exif)


def decode_photo(data: bytes, name: str, exif: bool = True) -> np.ndarray:
    """The photo in these bytes; `name` is what an error calls it."""
    return _decoded(BytesIO(data), name, exif)


def begins_as_photo(path: Path) -> bool:
    """Whether a file begins as photos do, whatever it is called."""
    try:
        with open(path, "rb") as file:
            head = file.read(12)
    except OSError:
        return False
    return head.startswith(_MAGIC) or (head.startswith(b"RIFF") and head[8:] == b"WEBP")


def as_photo(photo: np.ndarray | Image.Image | Path | str) -> np.ndarray:
    """A path, a Pillow image of any mode, or an array uint8 `[h, w, 3]`, as that array. Raises InputError."""
    if isinstance(photo, Path | str):
        return read_photo(photo)
    if isinstance(photo, Image.Image):
        name = getattr(photo, "filename", "") or "a Pillow image"
        with as_input_error(name, "damaged image"):
            _check_pixels(photo, name)
            return _rgb(photo, exif=True)
    array = np.asarray(photo)
    if array.ndim != 3 or array.shape[-1] != 3 or array.dtype != np.uint8 or 0 in array.shape:
        raise InputError(
            f"a photo must be uint8 [h, w, 3] RGB, a Pillow image or a path, not {array.dtype} {list(array.shape)}"
        )
    return array


def _header(file: Path | str | BytesIO, name: Path | str) -> Header:
    with _opened(file, name) as image:
        size, deep = (image.height, image.width), _deep(image)  # before EXIF is asked for, which decodes a PNG
        # Pillow turns TIFFs when they are decoded, whether asked or not; their size is the turned one already
        orientation = 1 if image.format == "TIFF" else image.getexif().get(_ORIENTATION, 1)
        return Header(size, orientation if orientation in range(1, 9) else 1, deep)


def _decoded(file: Path | str | BytesIO, name: Path | str, exif: bool) -> np.ndarray:
    with _opened(file, name) as image:
        return _rgb(image, exif)


@contextmanager
def _opened(file: Path | str | BytesIO, name: Path | str) -> Iterator[Image.Image]:
    if isinstance(file, Path | str) and Path(file).is_dir():
        raise InputError(f"{name}: is a folder, where one photo is needed: name the photos in it")
    with as_input_error(name, "damaged image"), warnings.catch_warnings(), ExitStack() as stack:
        warnings.simplefilter("ignore")  # our limit is checked below, and odd metadata harms no pixel
        # by its path Pillow would map it into memory, and garble turned TIFFs
        content = file if isinstance(file, BytesIO) else stack.enter_context(open(file, "rb"))
        try:
            with Image.open(content, formats=_FORMATS) as image:
                _check_pixels(image, name)
                yield image
        except Image.UnidentifiedImageError:
            known = f"not an image of a known format ({', '.join(_FORMATS)})"
            raise InputError(f"{name}: {placeholder(name) or known}") from None
        except Image.DecompressionBombError:
            raise InputError(_too_large(name)) from None


def _check_pixels(image: Image.Image, name: Path | str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise InputError(_too_large(name))


def _too_large(name: Path | str) -> str:
    return f"{name}: larger than {MAX_PIXELS:,} pixels; scale it down first"


def _deep(image: Image.Image) -> str:
    """How the pixels are scaled to 8 bits, from the mode, and from the raw mode of colours of 16 bits."""
    if image.mode.startswith("I"):
        return "integers, scaled so that the depth of the largest value is white"
    if image.mode == "F":
        return "floats, scaled so that 1 or the depth of the largest value is white"
    return "colours of 16 bits, of which the upper 8 are read" if _raw_16(image) else ""


def _raw_16(image: Image.Image) -> bool:
    """Whether Pillow drops the lower 8 of 16 bits while it decodes; known until the pixels are loaded."""
    return any(";16" in str(tile[3]) for tile in getattr(image, "tile", ())) and not image.mode.startswith("I")


def _rgb(image: Image.Image, exif: bool) -> np.ndarray:
    halved = _raw_16(image)
    if exif:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        grey = _eight_bits(np.asarray(image, np.float64 if image.mode == "F" else np.int64))
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "La":  # Pillow knows no direct way from here
        image = image.convert("LA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if halved:
            image, halved = Image.fromarray(_upper_bits(np.array(image))), False
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    photo = np.array(image.convert("RGB"))
    return _upper_bits(photo) if halved else photo


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """Integers or floats as uint8, by the rule above."""
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)) or low < 0 or high >= 2.0 ** _DEPTHS[-1]:
        raise ValueError(f"its pixels reach from {low:g} to {high:g}: save it with 8 bits a colour, 0 to 255")
    if values.dtype.kind == "f" and high <= 1:
        top = 1.0
    else:
        top = next(2.0**bits - 1 for bits in _DEPTHS if high < 2.0**bits)
    return np.rint(values * (255 / top)).astype(np.uint8)


def _upper_bits(photo: np.ndarray) -> np.ndarray:
    """The upper 8 of 16 bits, of which fewer are used where the depth is less than 16; of opacity as of the colours,
    unless it has all 16."""
    colours = photo[..., :3]
    top = next(2 ** (bits - 8) - 1 for bits in _DEPTHS if colours.max() < 2 ** (bits - 8) and bits > 8)
    if top < 15 and colours.any():
        raise ValueError("of 16 bits a colour 10 are in use at most, too few to read: save it with 8 bits a colour")
    if top == 255:
        return photo
    scaled = np.array(photo)
    few = slice(None) if photo.max() <= top else slice(3)
    scaled[..., few] = np.rint(photo[..., few] * (255 / top)).astype(np.uint8)
    return scaled
