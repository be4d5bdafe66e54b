"""The choice among candidates: its statistics against a loop, its ridge against scikit-learn, and what it is for."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from localization.boxes import iou
from localization.regression import choice
from localization.regression.cells import Cells
from localization.regression.choice import candidates, fit_choice
from saliency.errors import InputError


def photos(rng, n, size=(24, 30)):
    """One map bright over the box, one whose brightest spot is elsewhere in half of the photos."""
    height, width = size
    corner = rng.uniform(0, 0.5, (n, 2)) * [width, height]
    boxes = np.concatenate([corner, corner + rng.uniform(0.3, 0.5, (n, 2)) * [width, height]], 1)
    y, x = np.mgrid[:height, :width] + 0.5
    inside = (x > boxes[:, :1, None]) & (x < boxes[:, 2:3, None]) & (y > boxes[:, 1:2, None]) & (y < boxes[:, 3:, None])
    good = (inside + 0.8 * rng.random((n, *size))).astype(np.float32)
    sharp = (inside + 0.1 * rng.random((n, *size))).astype(np.float32)
    sharp[::2] = 0.1 * rng.random((len(sharp[::2]), *size))
    sharp[::2, :4, :4] = 1
    return [good, sharp], boxes


def test_the_share_inside_is_that_of_a_loop(rng):
    maps = rng.normal(size=(2, 5, 7))
    boxes = np.array([[[0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1]], [[0.5, 0.5, 0.55, 0.6], [0.3, 0, 0.31, 1]]])
    found = choice._inside(maps, boxes)
    for n in range(2):
        positive = np.maximum(maps[n], 0)
        for m, (x0, y0, x1, y1) in enumerate(boxes[n]):
            total = 0.0
            for i in range(5):
                for j in range(7):
                    tall = max(0, min(y1 * 5, i + 1) - max(y0 * 5, i))
                    wide = max(0, min(x1 * 7, j + 1) - max(x0 * 7, j))
                    total += positive[i, j] * tall * wide
            assert found[n, m] == pytest.approx(total / positive.sum(), abs=1e-12)


def test_the_ridge_is_scikit_learns(rng):
    x, y = rng.normal(size=(40, 6)), rng.normal(size=40)
    weights, intercept = choice._ridge(x, y, 0.1)
    known = Ridge(alpha=0.1 * 40).fit(x, y)
    np.testing.assert_allclose(weights, known.coef_)
    assert intercept == pytest.approx(known.intercept_)


def test_it_chooses_better_than_one_candidate_for_all(rng):
    maps, boxes = photos(rng, 140)
    taught, rest = slice(100), slice(100, 140)
    fit = fit_choice(
        maps[0][taught], [one[taught] for one in maps], boxes[taught], size=(24, 30), cells=Cells((6, 7))
    )  # fmt: skip
    new = [one[rest] for one in maps]
    found = iou(fit.predict(maps[0][rest], new), boxes[rest])
    every, seen = candidates(fit.coverage, maps[0][rest], new)
    assert every.shape == (40, 1 + 8 + 12, 4) and seen.shape[:2] == (40, 21)
    single = np.nan_to_num(iou(every * [30, 24, 30, 24], boxes[rest][:, None])).mean(0)
    assert found.mean() > single.max() and found.mean() > iou(fit.coverage.predict(maps[0][rest]), boxes[rest]).mean()


def test_a_mirrored_photo_gives_the_mirrored_box(rng):
    maps, boxes = photos(rng, 60)
    fit = fit_choice(maps[0], maps, boxes, size=(24, 30), cells=Cells((6, 7)))
    own, turned = fit.predict(maps[0], maps), fit.predict(maps[0][..., ::-1], [one[..., ::-1] for one in maps])
    mirrored = np.stack([30 - own[:, 2], own[:, 1], 30 - own[:, 0], own[:, 3]], 1)
    assert (iou(turned, mirrored) > 0.95).mean() > 0.9  # of equal expectations either may be taken


def test_what_says_nothing_has_no_box_and_too_few_photos_are_refused(rng):
    maps, boxes = photos(rng, 20)
    fit = fit_choice(maps[0], maps, boxes, size=(24, 30), cells=Cells((6, 7)))
    assert np.isnan(fit.predict(np.zeros((2, 24, 30)), [np.zeros((2, 24, 30))] * 2)).all()
    with pytest.raises(InputError, match="a choice needs at least 4 photos, not 3"):
        fit_choice(maps[0][:3], [one[:3] for one in maps], boxes[:3], size=(24, 30))
