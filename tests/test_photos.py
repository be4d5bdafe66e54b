import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from saliency import photos
from saliency.errors import InputError
from saliency.photos import as_photo, decode_photo, read_header, read_photo


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


def turned_photo(path, orientation=6, **options):
    """8 high, 16 wide as stored, the right half white."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.repeat(np.repeat(np.uint8([[0, 255]]), 8, 0), 8, 1)).save(path, exif=exif, **options)


def test_a_photo_is_upright_unless_it_is_asked_for_as_stored(tmp_path):
    turned_photo(tmp_path / "a.png")  # to be shown turned by a quarter clockwise
    header = read_header(tmp_path / "a.png")
    assert (header.size, header.orientation, header.upright) == ((8, 16), 6, (16, 8))
    assert read_photo(tmp_path / "a.png", exif=False).shape == (8, 16, 3)
    with Image.open(tmp_path / "a.png") as opened:
        ways = [read_photo(tmp_path / "a.png"), as_photo(tmp_path / "a.png"), as_photo(str(tmp_path / "a.png"))]
        ways += [as_photo(opened), decode_photo((tmp_path / "a.png").read_bytes(), "a")]
    for turned in ways:
        assert turned.shape == (16, 8, 3) and turned[0, 0, 0] == 0 and turned[-1, 0, 0] == 255


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "b.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("exif", [True, False])
def test_the_header_knows_the_size_that_is_decoded(tmp_path, name, orientation, exif):
    """Pillow turns TIFFs by itself, so that their size was stated on its side, their pixels upright."""
    turned_photo(tmp_path / name, orientation, **({"compression": "tiff_lzw"} if name == "b.tif" else {}))
    header, photo = read_header(tmp_path / name), read_photo(tmp_path / name, exif)
    assert photo.shape[:2] == (header.upright if exif else header.size)
    assert (np.abs(np.diff(photo[..., 0].astype(int), axis=0)) > 50).sum() + (
        np.abs(np.diff(photo[..., 0].astype(int), axis=1)) > 50
    ).sum() == 8  # one edge of 8 px: Pillow garbles a turned TIFF that it maps


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
        (b"", r"an empty file \(0 bytes\)"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
            "a git-lfs pointer .* `git lfs pull`",
        ),
        (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "a web page, saved in the place of the file"),
        (b"hello", "not an image of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a known format"),
        (encoded(Image.effect_noise((64, 64), 90), "JPEG")[:900], "damaged image"),
        (encoded(Image.effect_noise((64, 64), 90))[:900], "damaged image"),
        (
            encoded(Image.fromarray(np.float32([[-0.5, 3]])), "TIFF"),
            "its pixels reach from -0.5 to 3: save it with 8 bits",
        ),
        (encoded(Image.fromarray(np.float32([[np.nan, 3]])), "TIFF"), "its pixels reach from nan to nan"),
        (encoded(Image.fromarray(np.int32([[-7, 3]])), "TIFF"), "its pixels reach from -7 to 3"),
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


RAMP = np.array([[0, 1, 2, 3], [4, 5, 6, 7]])


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["I;16", "I", "F"])
def test_the_depth_of_the_largest_value_is_white(tmp_path, bits, kind):
    """12 bits in a 16-bit file were nearly black."""
    top = 2**bits - 1
    values = RAMP * top // 7
    dtype = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[kind]
    Image.fromarray(values.astype(dtype)).save(tmp_path / "deep.tif")
    grey = read_photo(tmp_path / "deep.tif")
    assert (grey == np.rint(values * (255 / top))[..., None]).all()
    assert "scaled so that" in read_header(tmp_path / "deep.tif").deep


def test_floats_up_to_one_are_shares_of_white(tmp_path):
    Image.fromarray((RAMP / 7).astype(np.float32)).save(tmp_path / "share.tif")
    assert (read_photo(tmp_path / "share.tif")[..., 0] == np.rint(RAMP * (255 / 7))).all()


@pytest.mark.parametrize("bits", [12, 16])
def test_colours_of_16_bits(tmp_path, bits):
    """Pillow reads their upper 8 bits, of which 12 bits fill four."""
    values = (RAMP * (2**bits - 1) // 7).astype(">u2")
    rows = b"".join(b"\0" + np.repeat(row[:, None], 3, 1).tobytes() for row in values)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 4, 2, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert photos.decode_header(png, "x").deep == "colours of 16 bits, of which the upper 8 are read"
    photo = decode_photo(png, "x").astype(int)
    assert np.abs(photo - RAMP[..., None] * (255 / 7)).max() <= (1 if bits == 16 else 17)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV", "LAB"]
)
def test_every_mode_of_pillow_becomes_rgb(mode):
    red = Image.new("RGB", (3, 2), (250, 10, 10))
    through = {"La": "LA", "RGBa": "RGBA", "PA": "P"}.get(mode)
    if mode == "LAB":
        image = ImageCms.profileToProfile(
            red, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
    else:
        image = (red.convert(through) if through else red).convert(mode)
    photo = as_photo(image)
    assert photo.dtype == np.uint8 and photo.shape == (2, 3, 3)
    if mode == "1":
        assert set(np.unique(photo)) <= {0, 255}
    else:
        wanted = [82] * 3 if mode in ("L", "LA", "La") else [250, 10, 10]
        assert np.abs(photo.astype(int) - wanted).max() < 12


def test_what_is_no_photo_in_memory_is_described_not_printed():
    with pytest.raises(InputError, match=r"uint8 \[h, w, 3\] RGB, a Pillow image or a path, not float64 \[4, 5, 3\]"):
        as_photo(np.zeros((4, 5, 3)))
    with pytest.raises(InputError, match="damaged image"):
        as_photo(Image.open(io.BytesIO(encoded(Image.effect_noise((64, 64), 90), "JPEG")[:900])))


def test_links_to_nothing_are_named(tmp_path):
    (tmp_path / "a.jpg").symlink_to(tmp_path / "annexed.jpg")
    with pytest.raises(InputError, match=r"a\.jpg: a link to a file that is not there"):
        read_photo(tmp_path / "a.jpg")
