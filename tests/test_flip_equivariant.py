import numpy as np
import pytest

from localization.boxes import iou
from localization.features import Features
from localization.regression.flip_equivariant import candidates, fit_flip_equivariant
from saliency.errors import InputError


def blobs(rng, n, size=(20, 30)):
    """Boxes, and maps that are bright inside them."""
    height, width = size
    corner = rng.uniform(0, 0.5, (n, 2)) * [width, height]
    boxes = np.concatenate([corner, corner + rng.uniform(0.3, 0.5, (n, 2)) * [width, height]], 1)
    y, x = np.mgrid[:height, :width] + 0.5
    inside = (x > boxes[:, :1, None]) & (x < boxes[:, 2:3, None]) & (y > boxes[:, 1:2, None]) & (y < boxes[:, 3:, None])
    return (inside + 0.1 * rng.random((n, *size))).astype(np.float32), boxes


@pytest.mark.parametrize("features", [Features(size=(1, 1), focus=0), Features.raw((5, 6))])
def test_a_mirrored_map_gives_the_mirrored_box(rng, features):
    maps, boxes = blobs(rng, 30)
    fit = fit_flip_equivariant(maps, boxes, features=[features])
    found, turned = fit.predict(maps), fit.predict(maps[..., ::-1])
    assert np.allclose(turned, np.stack([30 - found[:, 2], found[:, 1], 30 - found[:, 0], found[:, 3]], 1), atol=2e-3)


def test_left_out_is_what_refitting_without_the_map_gives(rng):
    maps, boxes = blobs(rng, 8)
    one, lambdas = Features(size=(1, 1), focus=0), (0.01,)
    whole = fit_flip_equivariant(maps, boxes, features=[one], lambdas=lambdas)
    refitted = []
    for i in range(8):
        rest = np.arange(8) != i
        # the same absolute penalty: `lambdas` is relative to the mean eigenvalue, which the rest has less of
        x, flipped = (one(maps[..., ::step]).astype(float) for step in (1, -1))
        even, odd = (x + flipped) / 2, (x - flipped) / 2
        centred = even - even.mean(0)
        of_all = np.array([(odd**2).sum() * 2, (centred**2).sum()]) * 0.01 / x.shape[1]
        a, b = odd[rest], even[rest] - even[rest].mean(0)
        shares = np.stack([boxes[:, 0] + boxes[:, 2] - 30, boxes[:, 1] + boxes[:, 3]], 1) / [60, 40]
        sides = (boxes[:, 2:] - boxes[:, :2]) / [30, 20]
        codes = np.concatenate([shares, sides], 1)
        w = np.linalg.solve(2 * a.T @ a + of_all[0] * np.eye(x.shape[1]), 2 * a.T @ codes[rest, :1])
        v = np.linalg.solve(b.T @ b + of_all[1] * np.eye(x.shape[1]), b.T @ (codes[rest, 1:] - codes[rest, 1:].mean(0)))
        middle = codes[rest, 1:].mean(0) + (even[i] - even[rest].mean(0)) @ v
        cx, cy, width, height = odd[i] @ w[:, 0] + 0.5, *middle
        box = np.array([cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2]) * [30, 20, 30, 20]
        refitted.append(iou(np.clip(box, 0, [30, 20, 30, 20]), boxes[i]))
    assert whole.record["left_out_iou"] == pytest.approx(np.mean(refitted), abs=1e-3)


def test_stacked_maps_are_chosen_for_and_localize(rng):
    maps, boxes = blobs(rng, 60)
    both = np.stack([maps, maps[rng.permutation(60)]], 1)  # the second knows nothing of its image
    fit = fit_flip_equivariant(both[:40], boxes[:40], source={"method": "x"})
    assert fit.features in candidates((20, 30))
    assert (iou(fit.predict(both[40:]), boxes[40:]) > 0.5).mean() > 0.8


def test_errors(rng):
    with pytest.raises(InputError, match="at least 3 maps with a box each, not 2 and 2"):
        fit_flip_equivariant(np.ones((2, 4, 4)), np.ones((2, 4)))
    with pytest.raises(InputError, match="not 4 and 3"):
        fit_flip_equivariant(np.ones((4, 4, 4)), np.ones((3, 4)))
