"""Pictures of maps over photos, by the colours of their pixels, and figures of many."""

import ast
import io
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import localization
import saliency
from localization.comparison.report import _drawn
from localization.report import figures
from saliency import overlay, show
from saliency.errors import InputError
from saliency.models.preprocessing import Preprocessing
from saliency.pictures import full_colour, is_signed

PHOTO = np.full((30, 40, 3), (90, 120, 60), np.uint8)
GREY = round(0.299 * 90 + 0.587 * 120 + 0.114 * 60)


def test_nothing_is_coloured_where_the_map_is_zero_or_unknown():
    values = np.zeros((30, 40))
    values[:, 20:] = np.nan
    values[10, 5] = 2.0
    shown = overlay(PHOTO, values)
    rest = np.ones((30, 40), bool)
    rest[10, 5] = False
    assert (np.abs(shown[rest].astype(int) - GREY) <= 1).all()
    assert np.abs(shown[10, 5].astype(int) - GREY).max() > 50


def test_signs_have_different_colours_and_equal_strength():
    values = np.array([[-1.0, 1.0]]).repeat(2, 0)
    red, _, blue = np.moveaxis(overlay(PHOTO, values).astype(int), -1, 0)
    assert (red - blue)[:, -1].mean() > 30 and (red - blue)[:, 0].mean() < -30
    one_sided = overlay(PHOTO, np.abs(values))
    np.testing.assert_array_equal(one_sided[:, 0], one_sided[:, -1])


def test_pictures_with_one_limit_share_a_scale():
    weak, strong = (overlay(PHOTO, np.full((3, 4), value), limit=4.0, opacity=1.0) for value in (1.0, 4.0))
    assert (np.abs(weak.astype(int) - GREY).max()) < (np.abs(strong.astype(int) - GREY).max())
    np.testing.assert_array_equal(overlay(PHOTO, np.full((3, 4), 8.0)), overlay(PHOTO, np.full((3, 4), 1.0)))


def test_a_box_is_drawn_where_it_lies():
    shown = overlay(PHOTO, np.eye(3) * 1e-9, boxes=[(10, 5, 30, 20)], limit=1.0)
    white = (shown == 255).all(-1)
    rows, cols = np.flatnonzero(white.any(1)), np.flatnonzero(white.any(0))
    assert (cols[0], rows[0], cols[-1] + 1, rows[-1] + 1) == (10, 5, 30, 20)
    assert not white[8:17, 13:27].any()


def test_what_a_crop_hid_stays_grey():
    crop = Preprocessing((20, 20), mode="crop")  # of 30 x 40 the middle 30 x 30
    shown = overlay(PHOTO, np.ones((20, 20)), preprocess=crop, opacity=1.0)
    coloured = (np.abs(shown.astype(int) - GREY) > 1).any(-1)
    assert coloured[:, 6:34].all() and not coloured[:, :4].any() and not coloured[:, 36:].any()
    with_bars = Preprocessing((20, 20), mode="letterbox")  # 15 x 20 in the middle
    map = np.zeros((20, 20))
    map[:1] = 1  # in the padding, which is no part of the photo
    map[10:] = 2
    shown = overlay(PHOTO, map, preprocess=with_bars, limit=2.0).astype(int)
    assert np.abs(shown[:13] - GREY).max() <= 1 < np.abs(shown[17:] - GREY).min(axis=-1).max()


def test_a_pillow_image_is_the_same_picture():
    values = np.eye(5)
    image = overlay(Image.fromarray(PHOTO), values, boxes=(3, 4, 20, 20), as_image=True)
    assert image.size == (40, 30) and image.mode == "RGB"
    np.testing.assert_array_equal(image, overlay(PHOTO, values, boxes=[[3, 4, 20, 20], [np.nan] * 4]))


def test_boxes_without_area_are_drawn_as_lines():
    shown = overlay(PHOTO, np.eye(3) * 1e-9, boxes=(10.2, 5, 10.2, 20), limit=1.0)
    assert (shown == 255).all(-1)[5:20, 10].all()


def test_odd_pixels_and_faint_negatives_decide_nothing():
    values = np.ones((40, 40))
    values[0, 0] = 1e6
    assert full_colour([values, np.full((2, 2), np.nan)]) == 1 and full_colour([np.zeros((2, 2))]) == 1
    assert not is_signed([np.array([[1.0, -0.01]])]) and is_signed([np.array([[1.0, -0.2]])])
    assert is_signed([np.array([[-1.0, -2.0]])]) and not is_signed([np.zeros((2, 2))])


def pixels(axes):
    return np.asarray(axes.images[0].get_array())


def test_a_figure_has_a_place_a_title_and_a_bar_for_each():
    maps = {"$a": np.stack([np.eye(3), 2 * np.eye(3)]), "signed": [np.array([[1.0, -1]]), np.array([[-4.0, 4]])]}
    figure = show([PHOTO, PHOTO[:20]], maps, titles=["one", "two"], boxes={"$a": [[1, 2, 20, 18]] * 2})
    figure.canvas.draw()
    places, bars = figure.axes[:6], figure.axes[6:]
    assert [one.get_title() for one in places[:3]] == ["photo", "$a", "signed"] and places[3].get_ylabel() == "two"
    assert [len(one.patches) for one in places] == [0, 1, 0, 0, 1, 0] and len(bars) == 2
    np.testing.assert_array_equal(pixels(places[0]), PHOTO)
    np.testing.assert_array_equal(pixels(places[1]), overlay(PHOTO, maps["$a"][0], limit=1.0))
    np.testing.assert_array_equal(pixels(places[5]), overlay(PHOTO[:20], maps["signed"][1], limit=4.0))
    assert Image.open(io.BytesIO(figure._repr_png_())).size[0] > 300


@pytest.mark.parametrize(
    ("scale", "limits"),
    [("map", [[1, 2], [3, 4]]), ("row", [[2, 2], [4, 4]]), ("column", [[3, 4], [3, 4]]), ("all", [[4, 4], [4, 4]])],
)
@pytest.mark.parametrize("columns", [1, 2])
def test_what_shares_a_scale(scale, limits, columns):
    maps = {"a": np.full((2, 3, 4), 1.0) * [[[1]], [[3]]], "b": np.full((2, 3, 4), 1.0) * [[[2]], [[4]]]}
    for own in maps.values():
        own[:, 0, 0] = 0  # not constant
    figure = show([PHOTO] * 2, maps, scale=scale, columns=columns)
    places = np.reshape(figure.axes[:6], (2, 3))[:, 1:]
    for i, row in enumerate(places):
        for j, axes in enumerate(row):
            expected = overlay(PHOTO, list(maps.values())[j][i], limit=limits[i][j])
            np.testing.assert_array_equal(pixels(axes), expected)
    figure.canvas.draw()
    tops = sorted(
        {round(float(bar.get_xlim()[1] if scale != "row" else bar.get_ylim()[1]), 6) for bar in figure.axes[6:]}
    )
    assert tops == {"map": [1], "row": [2, 4], "column": [3, 4], "all": [4]}[scale]


def test_photos_alone_and_maps_that_say_nothing():
    figure = show([PHOTO] * 5, titles=list("abcde"), columns=3, title="five")
    assert len(figure.axes) == 6 and [one.get_title() for one in figure.axes[:5]] == list("abcde")
    nothing = show(PHOTO, np.stack([np.zeros((3, 3))]))
    assert nothing.axes[1].texts[0].get_text() == "no map"
    assert show(PHOTO, np.full((3, 3), np.nan)).axes[1].texts[0].get_text() == "no map"


EXAMPLE = re.search(r"```python\n(.*?)```", (Path(__file__).parents[1] / "docs" / "pictures.md").read_text(), re.S)[1]


def test_twelve_photos_under_three_classes_take_eight_lines_of_public_names():
    """The docs' own cell, which runs below."""
    assert len([line for line in EXAMPLE.splitlines() if line]) == 8
    asked = {
        (node.value.id, node.attr)
        for node in ast.walk(ast.parse(EXAMPLE))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    public = {(module.__name__, name) for module in (saliency, localization) for name in module.__all__}
    asked = {one for one in asked if one[0] in ("saliency", "localization")}
    assert {"show", "grad_cam"} < {name for _, name in asked} and asked <= public
    assert "saliency.show(" in saliency.__doc__ and "`overlay`" in saliency.__doc__


@pytest.mark.slow  # a figure of 48 pictures at 300 dpi
def test_those_eight_lines_make_the_picture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(EXAMPLE, names := {})
    boxes = np.array(list(names["boxes"].values()))
    assert boxes.shape == (3, 12, 4) and np.isfinite(boxes).all()
    with Image.open("maps.png") as image:
        assert image.width > 3000 and round(image.info["dpi"][0]) == 300


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: overlay(PHOTO, np.zeros((2, 3, 3))), r"saliency_map must be numbers \[h, w\]"),
        (lambda: overlay(PHOTO, np.full((2, 3), np.nan)), "finite ones among them"),
        (lambda: overlay(PHOTO, np.eye(3), opacity=1.5), r"opacity must lie in 0\.\.1"),
        (lambda: overlay(PHOTO, np.eye(3), limit=0.0), "limit must be a finite number above 0"),
        (lambda: overlay(PHOTO, np.eye(3), colours="pinkish"), "colours must be one of matplotlib's"),
        (lambda: overlay(PHOTO, np.eye(3), boxes=[(1, 2, 3)]), "boxes must be x0 y0 x1 y1"),
        (lambda: overlay("missing.png", np.eye(3)), r"missing\.png: no such file"),
        (lambda: show([PHOTO], {"a": [np.eye(3)]}, boxes={"b": [[1, 2, 3, 4]]}), "the name of boxes must be one of a"),
        (lambda: show([PHOTO], {3: [np.eye(3)]}), "the name of maps must be text"),
        (lambda: show([PHOTO] * 2, np.eye(3)), r"maps must be \[n, h, w\], a map for each of the 2 photos"),
        (lambda: show(7), "photos must be a photo or a list of photos, not 7"),
    ],
)
def test_bad_arguments_are_named(call, says):
    with pytest.raises(InputError, match=says):
        call()


def test_a_gallery_lays_maps_over_photos_in_letters_for_a_narrow_page(rng):
    names = [f"method-{i} of long name" for i in range(3)]
    maps = {name: [rng.random((30, 40)), np.zeros((30, 40))] for name in names}
    box = np.array([5.0, 6, 30, 20])
    predicted = {names[0]: [box, np.full(4, np.nan)]}
    figure = figures.gallery([PHOTO, PHOTO], maps, [box[None]] * 2, predicted, ["a cat\nexplained: dog", "b"])
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.images[0].get_array(), PHOTO)
    np.testing.assert_array_equal(axes.images[1].get_array(), overlay(PHOTO, maps[names[0]][0]))
    assert [text.get_text() for text in axes.texts].count("no map") == 3
    styles = [patch.get_linestyle() for patch in axes.patches if patch.get_linewidth() == 1.3]
    assert styles.count("-") == 8 and len(styles) == 9
    narrow = (390 - 2 * 16) / figure.get_size_inches()[0]  # dots an inch on a page of 390 px
    assert min(text.get_fontsize() for text in axes.texts) * narrow / 72 > 7.5


def test_a_gallery_shows_every_class():
    def drawn(labels, seed=0):
        samples = SimpleNamespace(labels=labels, test=np.arange(len(labels))[::-1])
        chosen = _drawn(SimpleNamespace(samples=samples, made={}, results={"seed": seed}))
        assert (np.diff(chosen) > 0).all()
        return [labels[samples.test[k]] for k in chosen]

    labels = [*["common"] * 60, "rare", "odd", *[f"class {i}" for i in range(14)]]
    assert set(drawn(labels, 3)) == set(labels) and len(drawn(labels, 3)) == 17
    assert sorted(drawn(["a"] * 30 + ["b"])) == ["a"] * 11 + ["b"]
    assert len(drawn([str(i) for i in range(99)])) == 24
