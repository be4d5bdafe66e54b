"""Augmentations: rates over many draws, exact labels and coverage, nothing changed outside the mask, boxes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency.errors import InputError
from saliency.robustness.augment import (
    AUGMENTATIONS,
    CutMix,
    CutOut,
    GridMask,
    HideAndSeek,
    MixUp,
    RandomErasing,
    Structured,
    as_augmentation,
    augment,
    visible_share,
)
from saliency.robustness.masks import Bernoulli

SIZE = (20, 33)


def many_masks(augmentation, n=2000, size=SIZE):
    """bool `[n, h, w]`."""
    return np.asarray(jax.vmap(lambda key: augmentation.mask(key, size))(jax.random.split(jax.random.key(1), n))) > 0


def batch(rng, n=9):
    images = rng.normal(size=(n, *SIZE, 3)).astype(np.float32)
    labels = np.eye(4, dtype=np.float32)[rng.integers(4, size=n)]
    corners = np.sort(rng.uniform(0, 1, (n, 2, 2)), axis=1) * [SIZE[1], SIZE[0]] + [[0, 0], [0.5, 0.5]]
    return images, labels, corners.reshape(n, 4).clip(0, [SIZE[1], SIZE[0]] * 2)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_nothing_changes_outside_the_mask_and_labels_match_what_shows(name, rng):
    images, labels, boxes = batch(rng)
    found = augment(AUGMENTATIONS[name], jax.random.key(3), images, labels, boxes, fill=0.25)
    mask = np.asarray(found.mask)
    assert found.images.shape == images.shape and mask.shape == images.shape[:3]
    np.testing.assert_array_equal(np.asarray(found.images)[mask == 0], images[mask == 0])
    assert 0 < mask.mean() < 1
    np.testing.assert_allclose(found.coverage, mask.mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose(found.labels.sum(1), 1, atol=1e-6)
    if name in ("mixup", "cutmix"):
        partner = np.asarray(found.partner)
        np.testing.assert_allclose(found.weight, 1 - mask.mean((1, 2)), atol=1e-6)
        shares = np.asarray(found.weight)[:, None]
        np.testing.assert_allclose(found.labels, shares * labels + (1 - shares) * labels[partner], atol=1e-6)
        np.testing.assert_allclose(
            found.images, images * (1 - mask[..., None]) + images[partner] * mask[..., None], atol=1e-6
        )
        np.testing.assert_allclose(found.boxes, np.stack([boxes, boxes[partner]], 1), rtol=1e-6)
    else:
        assert set(np.unique(mask)) <= {0, 1}
        assert (np.asarray(found.images)[mask == 1] == 0.25).all()
        np.testing.assert_array_equal(found.labels, labels)
        np.testing.assert_array_equal(found.weight, 1)
        np.testing.assert_array_equal(found.partner, np.arange(len(images)))
        np.testing.assert_allclose(found.boxes, boxes[:, None], rtol=1e-6)


def test_fill_may_be_an_image_and_masks_differ_within_a_batch(rng):
    images, labels, _ = batch(rng)
    fill = rng.normal(size=images.shape).astype(np.float32)
    found = augment(HideAndSeek(), jax.random.key(0), images, labels, fill=fill)
    hidden = np.asarray(found.mask) == 1
    np.testing.assert_array_equal(np.asarray(found.images)[hidden], fill[hidden])
    assert len(np.unique(np.asarray(found.mask), axis=0)) == len(images)
    assert found.boxes is None and found.visible is None


def test_cutout_is_a_square_cut_off_at_the_border():
    masks = many_masks(CutOut(0.4))
    height, width = masks.any(2).sum(1), masks.any(1).sum(1)
    np.testing.assert_array_equal(masks.sum((1, 2)), height * width)  # full rectangles
    assert (height.max(), width.max()) == (8, 8) and min(height.min(), width.min()) == 4
    whole = (height == 8) & (width == 8)
    assert whole.mean() == pytest.approx((13 / 20) * (26 / 33), abs=0.04)


def test_random_erasing_rate_area_and_aspect():
    augmentation = RandomErasing(0.7, (0.05, 0.3), 0.5)
    masks = many_masks(augmentation, size=(60, 60))
    erased = masks.any((1, 2))
    assert erased.mean() == pytest.approx(0.7, abs=0.04)
    masks = masks[erased]
    height, width = masks.any(2).sum(1), masks.any(1).sum(1)
    np.testing.assert_array_equal(masks.sum((1, 2)), height * width)
    area = masks.mean((1, 2))
    assert 0.045 < area.min() < 0.06 and 0.28 < area.max() < 0.31
    assert area.mean() == pytest.approx(0.175, abs=0.01)  # uniform
    aspect = height / width
    assert 0.45 < aspect.min() < 0.6 and 1.8 < aspect.max() < 2.2
    assert np.median(aspect) == pytest.approx(1.25, abs=0.1)  # uniform, not log-uniform
    for touched in (masks[:, 0].any(1), masks[:, -1].any(1), masks[:, :, 0].any(1), masks[:, :, -1].any(1)):
        assert touched.mean() < 0.1  # placed inside, not cut off


def test_hide_and_seek_hides_each_cell_at_its_rate():
    masks = many_masks(HideAndSeek((4, 3), 0.3))
    rows, cols = np.arange(20) * 4 // 20, np.arange(33) * 3 // 33
    rates = np.array([[masks[:, rows == i][:, :, cols == j].mean((1, 2)) for j in range(3)] for i in range(4)])
    assert set(np.unique(rates)) == {0, 1}  # a cell is hidden as a whole or not at all
    np.testing.assert_allclose(rates.mean(-1), 0.3, atol=0.05)
    assert rates.mean() == pytest.approx(0.3, abs=0.015)
    assert np.abs(np.corrcoef(rates.reshape(12, -1)) - np.eye(12)).max() < 0.12  # and independently


def test_grid_mask_is_a_product_of_stripes_at_its_rate():
    masks = many_masks(GridMask((0.2, 0.4), 0.4), size=(40, 60))
    rows, cols = masks.any(2), masks.any(1)
    np.testing.assert_array_equal(masks, rows[:, :, None] & cols[:, None, :])
    assert masks.mean() == pytest.approx(0.36, abs=0.01)


def test_structured_masks_have_a_uniform_coverage():
    coverage = many_masks(Structured(Bernoulli(), (0.2, 0.6))).mean((1, 2))
    assert coverage.min() >= 0.199 and coverage.max() <= 0.601
    assert np.quantile(coverage, [0.25, 0.75]) == pytest.approx([0.3, 0.5], abs=0.02)


def test_mixup_and_cutmix_weights_follow_their_beta():
    keys = jax.random.split(jax.random.key(0), 4000)
    weight = 1 - jax.vmap(lambda key: MixUp(0.4).mask(key, (2, 2)))(keys)[:, 0, 0]
    assert weight.mean() == pytest.approx(0.5, abs=0.03)
    assert weight.var() == pytest.approx(1 / (4 * 1.8), abs=0.01)  # of Beta(a, a): 1 / (4 (2a + 1))
    masks = many_masks(CutMix(), 4000, (40, 60))
    height, width = masks.any(2).sum(1), masks.any(1).sum(1)
    np.testing.assert_array_equal(masks.sum((1, 2)), height * width)
    whole = ~(masks[:, 0].any(1) | masks[:, -1].any(1) | masks[:, :, 0].any(1) | masks[:, :, -1].any(1)) & (height > 5)
    np.testing.assert_allclose(width[whole] / height[whole], 1.5, atol=0.25)  # the image's own aspect


def test_visible_share_matches_a_fine_grid(rng):
    masks = (rng.random((6, 12, 17)) < 0.5).astype(np.float32)
    boxes = np.array(
        [[0, 0, 17, 12], [3, 2, 9, 5], [2.25, 1.5, 7.75, 9.25], [0.5, 0.25, 1, 0.5], [16, 11, 17, 12], [4, 0, 5, 12]]
    )
    fine = 1 - masks.repeat(4, 1).repeat(4, 2)
    expected = [
        one[round(4 * y0) : round(4 * y1), round(4 * x0) : round(4 * x1)].mean()
        for one, (x0, y0, x1, y1) in zip(fine, boxes)
    ]
    np.testing.assert_allclose(visible_share(jnp.asarray(masks), jnp.asarray(boxes)), expected, atol=1e-6)


def test_cutmix_says_what_shows_of_both_boxes(rng):
    images, labels, _ = batch(rng)
    boxes = np.tile([[0.0, 0, SIZE[1], SIZE[0]]], (len(images), 1))
    found = augment(CutMix(), jax.random.key(2), images, labels, boxes)
    np.testing.assert_allclose(found.visible, np.stack([found.weight, 1 - found.weight], 1), atol=1e-6)


def test_a_shape_that_never_fits_erases_nothing():
    assert not many_masks(RandomErasing(1.0, (0.9, 0.9), 1.0), 20, (10, 40)).any()


def test_errors(rng):
    images, labels, _ = batch(rng)
    with pytest.raises(InputError, match="unknown augmentation 'blur'; choose of plain, cutout"):
        as_augmentation("blur")
    with pytest.raises(InputError, match=r"labels \[n, k\]"):
        augment(CutOut(), jax.random.key(0), images, labels.argmax(1))
    assert as_augmentation("plain") is None
