import io

import numpy as np
import pytest
from PIL import Image

from localization.datasets import photos
from localization.datasets.photos import decode_photo, read_header, read_photo
from saliency.errors import InputError


def encoded(image: Image.Image, format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


GREY = np.array([[0, 100], [200, 255]], np.uint8)
DEEP = Image.frombytes("I;16", (2, 2), (GREY.astype(np.uint16) * 257).tobytes())


@pytest.mark.parametrize(
    "image", [Image.fromarray(GREY), Image.fromarray(GREY).convert("P"), Image.fromarray(GREY).convert("LA"), DEEP]
)
def test_every_grey_is_that_grey(image):
    rgb = decode_photo(encoded(image), "x")
    assert rgb.dtype == np.uint8 and (rgb == GREY[..., None]).all() and rgb.shape == (2, 2, 3)


def test_transparent_pixels_lie_on_white():
    image = Image.fromarray(np.array([[[9, 9, 9, 0], [9, 9, 9, 255]]], np.uint8))
    assert decode_photo(encoded(image), "x").tolist() == [[[255] * 3, [9] * 3]]


def test_cmyk_jpeg():
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert np.abs(decode_photo(encoded(red, "JPEG"), "x")[8, 8].astype(int) - [255, 0, 0]).max() < 12


def test_exif_turns_on_request_alone(tmp_path):
    image = Image.fromarray(np.repeat(np.repeat(np.uint8([[0, 255]]), 16, 0), 8, 1))  # 16 high, 16 wide, right is white
    wide = image.crop((0, 0, 16, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter clockwise
    wide.save(tmp_path / "a.png", exif=exif)
    assert read_header(tmp_path / "a.png") == photos.Header((8, 16), turned=True)
    assert read_photo(tmp_path / "a.png").shape == (8, 16, 3)
    turned = read_photo(tmp_path / "a.png", exif=True)
    assert turned.shape == (16, 8, 3) and turned[0, 0, 0] == 0 and turned[-1, 0, 0] == 255


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(photos, "MAX_PIXELS", 99)
    Image.new("L", (10, 10)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("decoded"))
    for read in (read_header, read_photo):
        with pytest.raises(InputError, match=r"bomb\.png: larger than 99 pixels"):
            read(tmp_path / "bomb.png")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not an image of a known format"),
        (b"hello", "not an image of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a known format"),
        (encoded(Image.effect_noise((64, 64), 90), "JPEG")[:900], "damaged image"),
        (encoded(Image.effect_noise((64, 64), 90))[:900], "damaged image"),
        (encoded(Image.new("F", (2, 2)), "TIFF"), "floats of unknown range"),
    ],
)
def test_what_is_no_photo(tmp_path, content, says):
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"bad\.jpg: .*{says}"):
        read_photo(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.jpg: no such file"):
        read_header(tmp_path / "none.jpg")
