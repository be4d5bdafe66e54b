"""Masks: exact coverage over many seeds, nested, moving; descriptors and Life's step against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import label
from scipy.signal import convolve2d

from saliency.errors import InputError
from saliency.robustness.masks import FAMILIES, Triangles, describe, draw_fields, draw_masks, hide, life_step

COVERAGES = np.array([0, 0.013, 0.25, 0.5, 0.777, 0.9, 1])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [(17, 23), (31, 14)])
def test_coverage_is_exact_and_masks_are_nested_over_a_thousand_seeds(family, size):
    fields = jnp.concatenate([draw_fields(family, 500, size, seed=seed) for seed in (0, 1)])
    hidden = np.asarray(hide(fields[None], jnp.asarray(COVERAGES)[:, None, None]))
    assert hidden.shape == (len(COVERAGES), 1000, 1, *size)
    error = np.abs(hidden.mean((-2, -1)) - COVERAGES[:, None, None])
    assert error.max() <= 0.5 / np.prod(size) + 1e-6 <= 0.005
    assert not (hidden[:-1] & ~hidden[1:]).any()
    half = hidden[3].reshape(1000, -1)
    assert len(np.unique(half, axis=0)) > 990  # a seed's masks differ from one another


@pytest.mark.parametrize("family", FAMILIES)
def test_draws(family):
    masks = draw_masks(family, 3, (24, 33), 0.4, frames=4, seed=5)
    assert masks.hidden.shape == (3, 4, 24, 33) and masks.hidden.dtype == bool
    np.testing.assert_allclose(masks.coverage, masks.hidden.mean((2, 3)))
    np.testing.assert_allclose(masks.error, masks.coverage - 0.4, atol=1e-6)
    np.testing.assert_array_equal(draw_masks(family, 2, (24, 33), 0.4, frames=4, seed=5).hidden, masks.hidden[:2])
    assert (masks.hidden[:, 1:] != masks.hidden[:, :-1]).any((2, 3)).all()  # it moves
    first = draw_masks(family, 3, (24, 33), 0.4, seed=5).hidden
    if family != "bernoulli":  # which draws every frame anew
        np.testing.assert_array_equal(first[:, 0], masks.hidden[:, 0])


@pytest.fixture(scope="module")
def videos():
    """Twenty fields of each family, 64x64 and three frames long."""
    return {family: draw_fields(family, 20, (64, 64), frames=3) for family in FAMILIES}


def test_structured_masks_move_little_by_little(videos):
    changed = {family: float((np.diff(hide(fields, 0.5), axis=1) != 0).mean()) for family, fields in videos.items()}
    assert changed["bernoulli"] == pytest.approx(0.5, abs=0.02)
    assert max(changed["perlin"], changed["triangles"]) < 0.25


def test_hidden_are_the_lowest_and_of_equals_the_first(rng):
    field = rng.integers(-3, 4, (5, 7)).astype(np.float32)
    for count in range(36):
        expected = np.zeros(35, bool)
        expected[np.argsort(field.ravel(), kind="stable")[:count]] = True
        np.testing.assert_array_equal(hide(jnp.asarray(field), count / 35).ravel(), expected)


def test_families_differ_in_structure(videos):
    shapes = {name: describe(hide(fields, 0.3)[:, 0]) for name, fields in videos.items()}
    components = {name: float(shape.components.mean()) for name, shape in shapes.items()}
    assert components["bernoulli"] > components["life"] > components["perlin"] > components["triangles"]


def test_a_triangle_is_a_triangle():
    hidden = np.asarray(draw_masks(Triangles(count=1), 20, (80, 60), 0.05).hidden[:, 0])
    for mask in hidden:
        rows, cols = np.nonzero(mask)
        if rows.min() > 0 and cols.min() > 0 and rows.max() < 79 and cols.max() < 59:  # not cut off
            hull = convex_hull_area(np.stack([rows, cols], 1))
            assert mask.sum() == pytest.approx(hull, rel=0.2)
            break
    else:
        pytest.fail("no whole triangle among the draws")


def convex_hull_area(points):
    from scipy.spatial import ConvexHull

    return ConvexHull(np.concatenate([points + offset for offset in ((0, 0), (0, 1), (1, 0), (1, 1))])).volume


def test_life_step_is_a_convolution_on_a_torus(rng):
    kernel = np.ones((3, 3), int)
    kernel[1, 1] = 0
    for density in (0.2, 0.5):
        alive = rng.random((19, 26)) < density
        neighbours = convolve2d(alive.astype(int), kernel, "same", "wrap")
        expected = (neighbours == 3) | (alive & (neighbours == 2))
        np.testing.assert_array_equal(jax.jit(life_step)(jnp.asarray(alive)), expected)


def test_life_shows_live_cells_first():
    steps = 3
    family = type(FAMILIES["life"])(steps=steps)
    key = jax.random.key(7)
    alive = jax.random.uniform(jax.random.split(key)[0], (30, 40)) < family.density
    for _ in range(steps):
        alive = life_step(alive)
    field = family.field(key, (30, 40), 1)[0]
    np.testing.assert_array_equal(hide(field, float(alive.mean())), alive)


@pytest.mark.parametrize("connectivity", [4, 8])
def test_descriptors_match_scipy(rng, connectivity):
    structure = np.ones((3, 3)) if connectivity == 8 else None
    masks = np.concatenate(
        [
            rng.random((12, 18, 25)) < rng.uniform(0.05, 0.95, (12, 1, 1)),
            *(draw_masks(family, 4, (18, 25), 0.45).hidden[:, 0] for family in FAMILIES),
            np.zeros((1, 18, 25), bool),
            np.ones((1, 18, 25), bool),
            spiral(18, 25)[None],
        ]
    )
    found = describe(jnp.asarray(masks), connectivity)
    for i, mask in enumerate(masks):
        labels, count = label(mask, structure)
        largest = np.bincount(labels[mask], minlength=1).max() if mask.any() else 0
        assert int(found.components[i]) == count
        assert float(found.largest[i]) == pytest.approx(largest / mask.size)
        assert float(found.coverage[i]) == pytest.approx(mask.mean())
    videos = describe(jnp.asarray(masks[:12].reshape(3, 4, 18, 25)), connectivity)
    np.testing.assert_array_equal(videos.components.ravel(), found.components[:12])


def spiral(height, width):
    """One long, thin component: the worst case of spreading labels."""
    mask = np.zeros((height, width), bool)
    mask[::2] = True
    mask[1::4, -1] = mask[3::4, 0] = True
    return mask


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: draw_masks("clouds", 1, (8, 8), 0.5), "unknown family 'clouds'; choose one of bernoulli"),
        (lambda: draw_masks("life", 1, (8, 8), 1.2), "coverage must be a share from 0 to 1, not 1.2"),
        (lambda: draw_masks("life", 1, (8, 0), 0.5), "size of at least 1x1"),
        (lambda: draw_masks("life", -1, (8, 8), 0.5), "n >= 0"),
        (lambda: describe(jnp.zeros((4, 4), bool), 6), "connectivity must be 4 or 8, not 6"),
    ],
)
def test_errors(call, message):
    with pytest.raises(InputError, match=message):
        call()
