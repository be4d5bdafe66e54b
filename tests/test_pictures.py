"""Pictures of maps over photos, by the colours of their pixels."""

import numpy as np
import pytest

from saliency.errors import InputError
from saliency.pictures import grid, overlay

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


def test_a_grid_has_a_place_and_a_title_for_each():
    figure = grid([PHOTO, PHOTO[:20], PHOTO], ["a", "$b", "c"], columns=2, title="three")
    assert [axes.get_title() for axes in figure.axes] == ["a", "$b", "c"]
    figure.canvas.draw()


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
        (lambda: grid([]), "images must hold at least one"),
        (lambda: grid([PHOTO], ["a", "b"]), "titles must be one for each of the 1 images"),
    ],
)
def test_bad_arguments_are_named(call, says):
    with pytest.raises(InputError, match=says):
        call()
