import numpy as np
import pytest
from scipy import ndimage

from localization.boxes import iou
from localization.heuristics import Heuristic, brightest, component_boxes, fit_heuristic, tight_boxes
from saliency import InputError


def slow_box(map_: np.ndarray, heuristic: Heuristic) -> list[float]:
    """The same by definition: sort all pixels, flood by hand, look for the extremes."""
    smooth = ndimage.gaussian_filter(map_.astype(np.float32), heuristic.sigma, mode="nearest", truncate=3)
    keep = max(1, round(heuristic.share * smooth.size))
    level = sorted(smooth.ravel(), reverse=True)[keep - 1]
    bright = smooth >= level
    if heuristic.component:
        return flooded(bright)
    ys, xs = np.nonzero(bright)
    return [min(xs), min(ys), max(xs) + 1, max(ys) + 1]


def flooded(mask: np.ndarray) -> list[float]:
    """The box of the largest component."""
    left, best = {(int(y), int(x)) for y, x in np.argwhere(mask)}, []
    while left:
        found, todo = [], [min(left)]
        while todo:
            y, x = todo.pop()
            if (y, x) in left:
                left.remove((y, x))
                found.append((y, x))
                todo += [(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        best = found if len(found) > len(best) else best
    if not best:
        return [np.nan] * 4
    ys, xs = zip(*best)
    return [min(xs), min(ys), max(xs) + 1, max(ys) + 1]


@pytest.mark.parametrize("component", [False, True])
@pytest.mark.parametrize(("sigma", "share"), [(0.7, 0.05), (2.0, 0.2)])
def test_boxes_equal_the_slow_ones(rng, sigma, share, component):
    maps = rng.normal(size=(6, 17, 23))
    heuristic = Heuristic(sigma, share, component)
    assert heuristic.predict(maps).tolist() == [slow_box(m, heuristic) for m in maps]


def test_flipping_the_map_flips_the_box(rng):
    maps = rng.random((4, 12, 19))
    boxes, flipped = (Heuristic(1.0, 0.1).predict(m) for m in (maps, maps[:, :, ::-1]))
    np.testing.assert_array_equal(flipped, np.stack([19 - boxes[:, 2], boxes[:, 1], 19 - boxes[:, 0], boxes[:, 3]], 1))


def test_a_map_that_says_nothing_gives_no_box(rng):
    maps = rng.random((4, 9, 7))
    maps[1, 2, 3], maps[2], maps[3] = np.nan, 0, 5
    boxes = Heuristic(1.0, 0.1).predict(maps)
    assert np.isfinite(boxes[0]).all()
    assert np.isnan(boxes[1:]).all()
    assert Heuristic(1.0, 0.1).predict(np.empty((0, 5, 5))).shape == (0, 4)


def test_pixels_components_boxes():
    maps = np.array([[[3.0, 1.0, 0.0], [0.0, 2.0, 0.0]]])
    assert [mask.sum() for mask in brightest(maps, (0.5, 1 / 6))] == [3, 1]
    masks = np.array([[[1, 0, 0, 1, 1]], [[0, 0, 0, 0, 0]], [[1, 1, 0, 0, 1]]], bool)
    np.testing.assert_array_equal(component_boxes(masks), [[3, 0, 5, 1], [np.nan] * 4, [0, 0, 2, 1]])
    boxes = tight_boxes(masks)
    assert boxes[0].tolist() == [0, 0, 5, 1]
    assert np.isnan(boxes[1]).all()


def test_the_largest_component_by_flooding(rng):
    """Masks of one batch do not touch one another; of equal components the one whose first pixel comes first."""
    masks = rng.random((60, 7, 11)) < np.repeat([0.1, 0.3, 0.5, 0.0, 1.0], 12)[:, None, None]
    for mask, box in zip(masks, component_boxes(masks), strict=True):
        np.testing.assert_array_equal(box, flooded(mask))
    assert component_boxes(masks[:0]).shape == (0, 4)


def test_the_setting_is_the_best_of_the_training_boxes(rng):
    corners = np.stack([rng.integers(0, 12, 40), rng.integers(0, 8, 40)], 1).astype(float)
    boxes = np.concatenate([corners, corners + np.array([9, 7])], 1)
    maps = 0.3 * rng.random((40, 20, 26))
    for m, (x0, y0, x1, y1) in zip(maps, boxes.astype(int)):
        m[y0:y1, x0:x1] += 1
    settings = {"sigmas": (0.5, 3.0), "shares": (0.03, 0.12, 0.5), "components": (False, True)}
    chosen = fit_heuristic(maps, boxes, **settings)
    figures = {
        h: (iou(h.predict(maps), boxes) > 0.5).mean()
        for h in (Heuristic(s, k, c) for s in (0.5, 3.0) for k in (0.03, 0.12, 0.5) for c in (False, True))
    }
    assert figures[chosen] == max(figures.values()) > 0.9


def test_nothing_usable_is_an_error():
    with pytest.raises(InputError, match="none of the training maps is usable"):
        fit_heuristic(np.zeros((3, 5, 5)), np.ones((3, 4)))
