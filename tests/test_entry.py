"""What a page says of the part of a photo that the classifier is not shown, against a count of pixels."""

from dataclasses import replace

import numpy as np
import pytest

from saliency.models.preprocessing import Preprocessing
from saliency.report.entry import entry_words, shown_share

CROP = Preprocessing((50, 40), shorter=60)


@pytest.mark.parametrize("mode", ["crop", "stretch", "letterbox"])
def test_the_share_that_is_shown_is_the_share_of_pixels_whose_centre_lands_in_the_input(mode, rng):
    preprocess = replace(CROP, mode=mode, shorter=60 if mode == "crop" else None)
    for _ in range(20):
        height, width = (int(side) for side in rng.integers(40, 300, 2))
        placement = preprocess.placement((height, width))
        x = (np.arange(width) + 0.5) * placement.scale[0] + placement.offset[0]
        y = (np.arange(height) + 0.5) * placement.scale[1] + placement.offset[1]
        counted = ((x > 0) & (x < 40)).mean() * ((y > 0) & (y < 50)).mean()
        assert shown_share(placement) == pytest.approx(counted, abs=0.04)
        if mode != "crop":
            assert shown_share(placement) == pytest.approx(1)


def test_the_words_count_what_is_cut_away():
    said = entry_words(CROP, [(120, 80), (60, 60)])
    assert "40x50 px (width x height)" in said and "2 of 2 photos" in said
    assert "nothing is cut away" in entry_words(replace(CROP, mode="stretch", shorter=None), [(120, 80)])
    whole = replace(CROP, size=(60, 60), shorter=60)
    assert "1 of 2 photos" in entry_words(whole, [(60, 60), (60, 120)]) and "50%" in entry_words(whole, [(60, 120)])
