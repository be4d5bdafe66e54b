"""From photos to input: geometry, colour, and the way back."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from saliency.errors import InputError
from saliency.models.preprocessing import Preprocessing, from_record

CAFFE = {"order": "bgr", "scale": 1.0, "mean": (103.939, 116.779, 123.68), "std": (1.0, 1.0, 1.0)}


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_normalise_by_the_formula():
    pixels = photo(3, 4)
    net = Preprocessing((3, 4), mode="stretch")
    expected = (pixels / 255 - np.array(net.mean)) / np.array(net.std)
    np.testing.assert_allclose(net([pixels])[0], expected, rtol=1e-5, atol=1e-6)
    caffe = Preprocessing((3, 4), mode="stretch", **CAFFE)
    np.testing.assert_allclose(caffe([pixels])[0], pixels[..., ::-1] - np.array(caffe.mean), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("options", [{}, CAFFE, {"mean": (0.3,), "std": (0.7,)}])
@pytest.mark.parametrize("shape", [(), (7,), (5, 7), (3, 5, 7), (2, 3, 5, 7), (0, 5, 7)])
def test_normalise_and_the_way_back_to_the_last_bit(options, shape, rng):
    """Image by image and line by line as channel by channel, of NumPy's arrays and JAX's."""
    preprocess = Preprocessing((5, 7), mode="stretch", **options)
    scale, channels = np.float32(preprocess.scale), preprocess.channels
    turned = slice(None, None, -1) if preprocess.order == "bgr" else slice(None)
    pixels = rng.integers(0, 256, (*shape, channels)).astype(np.uint8)
    back = rng.normal(size=pixels.shape).astype(np.float32)
    there, home = np.empty_like(back), np.empty_like(back)
    for i in range(channels):
        mean, std = np.float32(preprocess.mean[i]), np.float32(preprocess.std[i])
        there[..., i] = (pixels[..., turned][..., i].astype(np.float32) * scale - mean) / std
        home[..., i] = (back[..., i] * std + mean) / scale
    found = preprocess.normalise(pixels)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, there)
    np.testing.assert_array_equal(preprocess.pixels(back), home[..., turned])
    np.testing.assert_allclose(preprocess.normalise(jnp.asarray(pixels)), there, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("options", [{}, CAFFE])
def test_pixels_is_the_way_back(options):
    preprocess = Preprocessing((5, 7), mode="stretch", **options)
    pixels = photo(5, 7)
    np.testing.assert_allclose(preprocess.pixels(preprocess.normalise(pixels)), pixels, atol=1e-3)


@pytest.mark.parametrize("height, width", [(40, 61), (61, 40), (32, 32), (20, 90)])
def test_crop_is_torchvisions(height, width):
    """Shorter side to 32, the longer truncated; then the centre, rounded half to even."""
    preprocess = Preprocessing((24, 28), shorter=32)
    scale = 32 / min(height, width)
    size = (32, int(32 * width / height)) if height <= width else (int(32 * height / width), 32)
    resized = np.asarray(Image.fromarray(photo(height, width)).resize(size[::-1], Image.Resampling.BILINEAR))
    top, left = round((size[0] - 24) / 2), round((size[1] - 28) / 2)
    placed = preprocess.place(photo(height, width))
    np.testing.assert_array_equal(placed, resized[top : top + 24, left : left + 28])
    where = preprocess.placement((height, width))
    assert where.offset == (-left, -top)
    np.testing.assert_allclose(where.scale, scale, rtol=0.03)


def test_stretch_and_letterbox():
    wide = np.full((10, 40, 3), 200, np.uint8)
    stretched = Preprocessing((24, 28), mode="stretch")
    assert stretched.placement((10, 40)).scale == (28 / 40, 24 / 10)
    assert (stretched.place(wide) == 200).all()
    boxed = Preprocessing((24, 28), mode="letterbox", mean=(0.5, 0.5, 0.5))
    placed = boxed.place(wide)
    where = boxed.placement((10, 40))
    assert where.scale == (28 / 40, 7 / 10)
    top = int(where.offset[1])
    assert (placed[top : top + 7] == 200).all()
    assert (np.abs(np.delete(placed, range(top, top + 7), 0).astype(int) - 127.5) < 1).all()


def test_another_mode_or_side():
    own = Preprocessing((224, 224), shorter=256, order="bgr")
    assert own.changed() == own
    assert own.changed(side=112) == Preprocessing((112, 112), shorter=128, order="bgr")
    assert own.changed("stretch", 64) == Preprocessing((64, 64), mode="stretch", order="bgr")
    assert Preprocessing((24, 28), mode="stretch").changed("letterbox").size == (24, 28)


def test_a_marked_pixel_lands_where_placement_says():
    for mode in ("crop", "stretch", "letterbox"):
        preprocess = Preprocessing((48, 64), mode=mode, shorter=None)
        marked = np.zeros((100, 150, 3), np.uint8)
        marked[40:60, 70:90] = 255
        where = preprocess.placement((100, 150))
        rows, cols = np.nonzero(preprocess.place(marked)[..., 0] > 127)
        x = np.array([70, 90]) * where.scale[0] + where.offset[0]
        y = np.array([40, 60]) * where.scale[1] + where.offset[1]
        np.testing.assert_allclose([cols.min(), cols.max() + 1], x, atol=0.75)
        np.testing.assert_allclose([rows.min(), rows.max() + 1], y, atol=0.75)


def test_interpolation_is_used():
    pixels = photo(40, 50)
    bilinear, bicubic = (Preprocessing((24, 24), interpolation=kind).place(pixels) for kind in ("bilinear", "bicubic"))
    assert (bilinear != bicubic).any()


def test_batches():
    preprocess = Preprocessing((8, 9))
    assert preprocess([photo(20, 30), photo(30, 20)]).shape == (2, 8, 9, 3)
    assert preprocess(np.stack([photo(20, 30)] * 3)).dtype == np.float32
    assert len(preprocess([])) == 0


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "LA", "1", "I", "F", "RGB"])
def test_pillow_images_of_any_mode(mode):
    image = Image.fromarray(photo(20, 30)).convert("L" if mode == "F" else mode)
    if mode == "F":
        image = Image.fromarray(np.asarray(image, np.float32))
    preprocess = Preprocessing((8, 9))
    one = preprocess(image)
    assert one.shape == (1, 8, 9, 3) and np.isfinite(one).all()
    np.testing.assert_array_equal(preprocess([image, image]), np.concatenate([one, one]))


def test_paths_and_single_photos(tmp_path):
    own, preprocess = photo(20, 30), Preprocessing((8, 9))
    Image.fromarray(own).save(tmp_path / "a.png")
    expected = preprocess([own])
    for given in (own, tmp_path / "a.png", str(tmp_path / "a.png"), [tmp_path / "a.png"], (own,), iter([own])):
        np.testing.assert_array_equal(preprocess(given), expected)
    for bad, said in (
        (tmp_path / "none.png", r"none\.png: no such file"),
        (tmp_path, "is a folder, where one photo is needed"),
        (None, "photos must be a list of photos, or uint8"),
        ({"a": own}, "photos must be a list of photos"),
        (3, "photos must be a list of photos"),
        ([None], "a photo must be uint8"),
        (expected, "a photo must be uint8 .* not float32"),
    ):
        with pytest.raises(InputError, match=said):
            preprocess(bad)


@pytest.mark.parametrize(
    "bad",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)],
)
def test_not_a_photo(bad):
    with pytest.raises(InputError, match=r"a photo must be uint8 \[h, w, 3\] RGB, a Pillow image or a path, not"):
        Preprocessing((8, 8)).place(bad)


def test_records():
    preprocess = Preprocessing((8, 9), shorter=20, interpolation="bicubic", **CAFFE)
    record = preprocess.record()
    assert from_record({k: list(v) if isinstance(v, tuple) else v for k, v in record.items()}) == preprocess
    for bad in ({**record, "colour": 1}, {}, []):
        with pytest.raises(InputError, match="this is no preprocessing"):
            from_record(bad)


def test_a_crop_needs_room():
    with pytest.raises(InputError, match="a crop of 24x28 needs a shorter side that holds it, not 27"):
        Preprocessing((24, 28), shorter=27)


@pytest.mark.parametrize("photo", [(40, 90), (90, 40), (64, 64), (33, 257)])
def test_what_a_crop_hides_is_told(photo):
    """Against a count of the photo's pixels that are in the input, on a fine grid."""
    crop = Preprocessing((24, 32), mode="crop", shorter=48)
    placed = crop.placement(photo)
    x, y = (
        (np.arange(4 * side) + 0.5) / 4 * placed.scale[axis] + placed.offset[axis]
        for axis, side in ((0, photo[1]), (1, photo[0]))
    )
    seen = ((x > 0) & (x < 32)).mean() * ((y > 0) & (y < 24)).mean()
    assert crop.seen(photo) == pytest.approx(seen, abs=0.01)
    assert f"{100 * (1 - crop.seen(photo)):.0f}% at most" in crop.summary([photo])
    for mode in ("stretch", "letterbox"):
        whole = Preprocessing((24, 32), mode=mode)
        assert whole.seen(photo) == pytest.approx(1) and "nothing is cut away" in whole.summary([photo])
