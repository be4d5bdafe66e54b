"""Boxes by coverage: each step against a slow loop or another library, and what holds of the whole."""

import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from localization.boxes import iou
from localization.regression import cells, correction, rectangles
from localization.regression import coverage as fitting
from localization.regression.cells import Cells, Moments
from localization.regression.coverage import (
    FOLDS,
    CoverageMap,
    fit_coverage,
    fit_coverage_blocks,
    load_coverage_map,
    status,
)
from saliency.errors import InputError
from tests.oracles import coverage as slow

SIZE = (20, 30)  # height, width of the maps
SMALL = (Cells((6, 7)),)


def blobs(rng, n, size=SIZE):
    """Maps float32 that are bright where their box is, and the boxes in their pixels."""
    height, width = size
    corner = rng.uniform(0, 0.5, (n, 2)) * [width, height]
    boxes = np.concatenate([corner, corner + rng.uniform(0.3, 0.5, (n, 2)) * [width, height]], 1)
    y, x = np.mgrid[:height, :width] + 0.5
    inside = (x > boxes[:, :1, None]) & (x < boxes[:, 2:3, None]) & (y > boxes[:, 1:2, None]) & (y < boxes[:, 3:, None])
    return (inside + 0.3 * rng.random((n, *size))).astype(np.float32), boxes


def layers(rng, n):
    """A map and activations [n, 5, 9, 4] that show the same boxes."""
    maps, boxes = blobs(rng, n)
    cut = maps.reshape(n, 5, 4, 9, -1).mean((2, 4)) if maps.shape[2] % 9 == 0 else maps[:, 2::4, 1:28:3]
    mixed = cut[..., None] * np.array([1.0, 0.5, -1, 0]) + 0.2 * rng.random((n, 5, 9, 4))
    return [maps, mixed.astype(np.float32)], boxes


def shares(boxes, size=SIZE):
    return boxes / np.tile(size[::-1], 2)


@given(st.lists(st.floats(-0.2, 1.2), min_size=4, max_size=4), st.integers(2, 6), st.integers(2, 6))
@settings(max_examples=50, deadline=None)
def test_covered_shares_are_those_of_a_loop_over_cells(numbers, rows, columns):
    x, y = np.sort(numbers[:2]), np.sort(numbers[2:])
    box = np.array([x[0], y[0], x[1], y[1]])
    np.testing.assert_allclose(
        cells.covered(box[None], (rows, columns))[0], slow.covered(box, (rows, columns)), atol=1e-9
    )


@pytest.mark.parametrize("shape", [(5, 7), (6, 3)])
def test_rectangles_are_those_of_a_loop(rng, shape):
    masks = rng.random((3, *shape)) ** 2
    for sharpness in (40.0, 5.0):
        found = np.asarray(rectangles.rectangles(jnp.asarray(masks), sharpness))
        np.testing.assert_allclose(found, [slow.mean_rectangle(mask, sharpness) for mask in masks], atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 11), (9, 6)])
def test_rectangles_of_masks_at_their_limits_are_those_of_a_loop(rng, shape):
    """All, nothing, one cell at each corner, a row, and what is cut off at both ends."""
    corners = np.zeros((4, *shape))
    for corner, (y, x) in zip(corners, ((0, 0), (0, -1), (-1, 0), (-1, -1))):
        corner[y, x] = 1
    row = np.zeros(shape)
    row[1] = 1
    cut = np.clip(3 * rng.random((2, *shape)) - 1, 0, 1)
    masks = np.concatenate([np.ones((1, *shape)), np.zeros((1, *shape)), corners, row[None], cut])
    found = np.asarray(rectangles.rectangles(jnp.asarray(masks)))
    np.testing.assert_allclose(found, [slow.mean_rectangle(mask, 40.0) for mask in masks], atol=1e-5)


def test_readings_are_what_they_say_and_an_empty_one_falls_back(rng):
    maps = rng.random((2, 5, 7)).astype(np.float32) * np.array([1, 0.15])[:, None, None]
    found = np.asarray(rectangles.soft_boxes(jnp.asarray(maps)))
    for i, coverage in enumerate(maps.astype(float)):
        relative = coverage / coverage.max()  # 4% of 35 cells is one
        masks = [np.clip((coverage - o) * g, 0, 1) for g, o in rectangles.ABSOLUTE]
        masks += [np.clip((relative - o) * g, 0, 1) for g, o in rectangles.RELATIVE]
        masks = [mask if mask.any() else relative for mask in masks]
        np.testing.assert_allclose(found[i], [slow.mean_rectangle(mask, 40.0) for mask in masks], atol=1e-4)
    np.testing.assert_allclose(found[1, 3], found[1, 4], atol=1e-6)  # above 0.3 there is nothing in the faint map


def test_resizing_keeps_means_and_is_bilinear_between_centres():
    for size, to in ((13, 14), (7, 14), (30, 14), (14, 14)):
        matrix = cells.resizing(size, to)
        np.testing.assert_allclose(matrix.sum(1), 1)
        np.testing.assert_allclose(matrix, matrix[::-1, ::-1], atol=1e-12)
    np.testing.assert_allclose(cells.resizing(2, 4) @ [0, 1], [0, 0.25, 0.75, 1])


@pytest.mark.parametrize("context", [(), (0.1, 0.3)])
def test_channels_are_as_many_as_they_count(rng, context):
    inputs, _ = layers(rng, 2)
    own = Cells((6, 7), context=context)
    found = np.asarray(cells.channels(tuple(map(jnp.asarray, inputs)), cells=own))
    assert found.shape == (2, 6, 7, own.count([one.shape[1:] for one in inputs]))
    np.testing.assert_allclose(found[..., 0].mean((1, 2)), 1, rtol=1e-5)  # the map over its mean
    np.testing.assert_allclose((found[..., 8:12] ** 2).mean((1, 2, 3)), 1, rtol=1e-4)  # the layer over its RMS


def moments_of(inputs, boxes, folds, own, parts=1):
    sums = Moments(own, FOLDS, [one.shape[1:] for one in inputs])
    for rows in np.array_split(np.arange(len(boxes)), parts):
        sums.add(tuple(one[rows] for one in inputs), boxes[rows], folds[rows])
    return sums


def test_the_ridge_is_scikit_learns(rng):
    inputs, boxes = layers(rng, 60)
    boxes, own, folds = shares(boxes), Cells((6, 7)), np.arange(60) % FOLDS
    x = np.asarray(cells.channels(tuple(map(jnp.asarray, inputs)), cells=own), float)
    matrix = moments_of(inputs, boxes, folds, own).matrix
    for penalty in (1e-3, 1.0):
        for left, total in ((None, matrix.sum(0)), (2, matrix.sum(0) - matrix[2])):
            rows = x[folds != left].reshape(-1, x.shape[-1])
            y = cells.covered(boxes[folds != left], own.grid).ravel()
            deviation = rows.std(0)
            varies = deviation > 1e-3 * np.abs(rows).max(0)
            known = Ridge(alpha=penalty * len(rows)).fit(rows[:, varies] / deviation[varies], y)
            (solution,) = cells.solved(total, [penalty])
            scale = np.abs(known.coef_).max()
            found = solution[1:-1][varies] * deviation[varies]
            np.testing.assert_allclose(found, known.coef_, rtol=1e-4, atol=1e-6 * scale)
            residual = rows @ solution[1:-1] + solution[0] - y
            (error,) = cells.squared_error(total, solution[None])
            assert error == pytest.approx((residual**2).sum(), rel=1e-6)


def test_the_penalty_is_the_best_on_left_out_folds(rng):
    inputs, boxes = layers(rng, 40)
    boxes, own, folds = shares(boxes), Cells((6, 7)), np.arange(40) % FOLDS
    x = np.asarray(cells.channels(tuple(map(jnp.asarray, inputs)), cells=own), float)
    y = cells.covered(boxes, own.grid)
    cross = cells.cross_fit(moments_of(inputs, boxes, folds, own).matrix, (1e-3, 0.1, 10.0))
    for penalty, stated in cross.errors.items():
        matrix = moments_of(inputs, boxes, folds, own).matrix
        errors = []
        for fold in range(FOLDS):
            (solution,) = cells.solved(matrix.sum(0) - matrix[fold], [penalty])
            if penalty == cross.penalty:
                np.testing.assert_allclose(cross.left_out[fold], solution)
            errors.append((x[folds == fold] @ solution[1:-1] + solution[0] - y[folds == fold]) ** 2)
        assert stated == pytest.approx(np.concatenate(errors).mean(), rel=1e-6)
    assert cross.penalty == min(cross.errors, key=cross.errors.get)


def test_moments_add_up_however_photos_come(rng):
    inputs, boxes = layers(rng, 75)
    boxes, own, folds = shares(boxes), Cells((6, 7)), rng.integers(0, FOLDS, 75)
    whole = moments_of(inputs, boxes, folds, own).matrix
    np.testing.assert_allclose(moments_of(inputs, boxes, folds, own, parts=20).matrix, whole, rtol=1e-12, atol=1e-9)
    halves = [moments_of([x[s] for x in inputs], boxes[s], folds[s], own) for s in (slice(0, 31), slice(31, 75))]
    np.testing.assert_allclose(halves[0].merged(halves[1]), whole, rtol=1e-12, atol=1e-9)


def test_devices_multiply_as_blas_does(rng, monkeypatch):
    """More channels than a photo has cells, photos that fill no chunk."""
    inputs, boxes = layers(rng, 45)
    boxes, own, folds = shares(boxes), Cells((3, 4), context=(0.2,)), np.arange(45) % 3
    by_blas = moments_of(inputs, boxes, folds, own).matrix
    monkeypatch.setattr(cells, "on_cpu", lambda: False)
    np.testing.assert_allclose(moments_of(inputs, boxes, folds, own).matrix, by_blas, rtol=1e-12, atol=1e-9)
    monkeypatch.setattr(cells, "ROWS", 7)
    z = rng.standard_normal((30, 5)).astype(np.float32)
    np.testing.assert_allclose(cells.squared(z), z.astype(float).T @ z.astype(float), rtol=1e-12)


@pytest.mark.parametrize("kept", [(0,), (1,), (2, 0)])
def test_moments_of_some_arrays_are_among_those_of_all(rng, kept):
    inputs, boxes = layers(rng, 20)
    inputs = [*inputs, inputs[0][:, ::2]]
    boxes, folds, shapes = shares(boxes), np.arange(20) % FOLDS, [one.shape[1:] for one in inputs]
    every, some = Cells((6, 7), context=(0.1,)), Cells((6, 7), context=(0.1,), layers=kept)
    numbers = some.numbers(shapes)
    found = moments_of(inputs, boxes, folds, every).matrix[:, numbers[:, None], numbers]
    np.testing.assert_allclose(found, moments_of(inputs, boxes, folds, some).matrix, rtol=1e-12, atol=1e-9)


def test_arrays_left_out_in_the_search_are_learned_without_as_if_alone(rng):
    """The search takes moments of some arrays from those of all."""
    inputs, boxes = layers(rng, 30)
    inputs.append(rng.random((30, 4, 4, 150)).astype(np.float32))  # says nothing, and is learned by heart
    own, given = Cells((6, 7), layers=(0, 1)), {"size": SIZE, "lambdas": (1e-6,)}
    searched = fit_coverage(inputs, boxes, candidates=(Cells((6, 7)), own), **given)
    assert searched.cells == own
    alone = fit_coverage(inputs, boxes, candidates=(own,), **given)
    np.testing.assert_array_equal(searched.solution, alone.solution)
    np.testing.assert_array_equal(searched.predict(inputs), alone.predict(inputs))


@pytest.fixture(scope="module")
def readings():
    """Boxes [60, 8, 4] about true boxes [60, 4], in shares."""
    rng = np.random.default_rng(3)
    true = shares(blobs(rng, 60)[1])
    moved = true[:, None] + 0.1 * rng.normal(size=(60, 8, 4))
    low, high = np.minimum(moved[..., :2], moved[..., 2:]), np.maximum(moved[..., :2], moved[..., 2:])
    return np.clip(np.concatenate([low, high], -1), 0, 1), true


def test_the_losses_are_those_of_a_loop_and_their_gradients_those_of_finite_differences(readings, rng):
    boxes, true = readings
    even, odd = correction.fit_correction(boxes, true).parts(boxes)
    start = correction.encoded(boxes[:, 2])
    weights = 0.05 * rng.normal(size=(3, 4 * even.shape[1] + 3))
    penalties, counted = np.array([0.03, 0.3, 0.0]), np.ones((3, len(boxes)))
    counted[1, ::3] = counted[2, 5] = 0
    arguments = (even, odd, start, true, penalties, counted)
    values, gradients = correction.losses(weights, *arguments)
    for value, own, penalty, counts in zip(values, weights, penalties, counted > 0):
        moved = correction.decoded(correction.moved(own, even, odd, start))
        assert (moved < 0).any()  # beyond the border
        known = slow.corrected_loss(moved[counts], true[counts]) + penalty * (own[:-3] ** 2).sum()
        assert value == pytest.approx(known)
    for i in range(weights.shape[1]):
        step = 1e-6 * (np.arange(weights.shape[1]) == i)
        up, down = (correction.losses(weights + s, *arguments)[0] for s in (step, -step))
        np.testing.assert_allclose(gradients[:, i], (up - down) / 2e-6, atol=1e-6)


def quadratics(rng, n):
    """A function of n descents, whose curvatures are unlike, and its minima."""
    roots = rng.normal(size=(n, 6, 6)) * np.geomspace(1, 30, n)[:, None, None]
    matrices, linear = roots @ roots.transpose(0, 2, 1) + 0.1 * np.eye(6), rng.normal(size=(n, 6))

    def function(at, runs):
        slopes = np.einsum("rij,rj->ri", matrices[runs], at)
        return (at * (slopes / 2 - linear[runs])).sum(1), slopes - linear[runs]

    return function, np.linalg.solve(matrices, linear[..., None])[..., 0]


def test_minimised_finds_the_minima_of_quadratics(rng):
    function, minima = quadratics(rng, 3)
    np.testing.assert_allclose(correction.minimised(function, np.zeros((3, 6))), minima, atol=1e-4)


def test_descents_at_once_go_as_each_does_alone(readings, rng):
    """By a plain L-BFGS of one descent; some end early, some are searched longer than others."""
    function, minima = quadratics(rng, 4)
    start = rng.normal(size=(4, 6))
    start[2] = minima[2]  # there already
    found = correction.minimised(function, start, steps=12, memory=3)
    for run in range(4):
        alone = lambda x, run=run: [one[0] for one in function(x[None], np.array([run]))]  # noqa: E731
        np.testing.assert_allclose(found[run], slow.minimised(alone, start[run], 12, 3), rtol=1e-6, atol=1e-9)
    boxes, true = readings
    even, odd = correction.fit_correction(boxes, true).parts(boxes)
    data = (even, odd, correction.encoded(boxes[:, 1]), true)
    penalties, counted = np.array([0.3, 0.003]), np.ones((2, len(boxes)))
    counted[1, :20] = 0
    found = correction.minimised(
        lambda at, runs: correction.losses(at, *data, penalties[runs], counted[runs]), np.zeros((2, 195)), 15
    )
    for run in range(2):
        own = [one[counted[run] > 0] for one in data]
        one = lambda x, own=own, run=run: [  # noqa: E731
            y[0] for y in correction.losses(x[None], *own, penalties[[run]], np.ones((1, len(own[0]))))
        ]
        np.testing.assert_allclose(found[run], slow.minimised(one, np.zeros(195), 15, 10), atol=1e-6)


def test_minimised_goes_as_far_down_as_scipy(readings):
    from scipy.optimize import minimize

    boxes, true = readings
    fit = correction.fit_correction(boxes, true)
    data = (*fit.parts(boxes), correction.encoded(boxes[:, fit.best]), true, np.array([0.03]), np.ones((1, len(true))))

    def alone(weights):
        return [one[0] for one in correction.losses(weights[None], *data)]

    known = minimize(alone, np.zeros(4 * 48 + 3), jac=True, method="L-BFGS-B", options={"maxiter": 80})
    found = correction.minimised(lambda at, _: correction.losses(at, *data), np.zeros((1, 4 * 48 + 3)))
    assert alone(found[0])[0] < known.fun + 0.01


def test_a_biased_rectangle_is_corrected_and_a_good_one_left_alone(readings):
    _, true = readings
    biased = np.repeat(true[:, None], 8, 1) + np.array([0.08, 0.08, -0.08, -0.08])
    fit = correction.fit_correction(biased, true)
    assert np.isfinite(fit.penalty)
    assert iou(fit(biased), true).mean() > iou(biased[:, 0], true).mean() + 0.2
    exact = np.repeat(true[:, None], 8, 1)
    assert np.isinf(correction.fit_correction(exact, true).penalty)
    np.testing.assert_allclose(correction.fit_correction(exact, true)(exact), np.clip(true, 0, 1))


@pytest.mark.parametrize("several", [False, True])
def test_boxes_are_found_where_the_maps_show_them(rng, several):
    inputs, boxes = layers(rng, 160)
    features = inputs if several else inputs[0]
    some = lambda rows: [one[rows] for one in inputs] if several else inputs[0][rows]  # noqa: E731
    fit = fit_coverage(some(slice(120)), boxes[:120], size=SIZE if several else None, candidates=SMALL)
    overlap = iou(fit.predict(some(slice(120, 160))), boxes[120:])
    assert (overlap > 0.5).mean() > 0.9 and overlap.mean() > 0.7
    assert fit.record["n"] == 120 and fit.record["photos"] == 120 and fit.record["notes"] == []
    coverage = fit.coverage(features)
    assert coverage.shape == (160, 6, 7)
    true = cells.covered(shares(boxes), (6, 7))
    assert np.corrcoef(coverage.ravel(), true.ravel())[0, 1] > 0.9


def test_no_cells_are_fitted_twice(rng, monkeypatch):
    """Where the choice looks at every photo, what it has left out is what the fit goes on with: the very same map."""
    maps, boxes = blobs(rng, 30)
    fitted = []
    plain = fitting._left_out
    monkeypatch.setattr(fitting, "_left_out", lambda *a: fitted.append(a[2]) or plain(*a))
    candidates = (*SMALL, Cells((3, 4)))
    found = fit_coverage(maps, boxes, candidates=candidates)
    assert fitted == [Cells((3, 4)), *SMALL]
    alone = fit_coverage(maps, boxes, candidates=(found.cells,))
    np.testing.assert_array_equal(found.solution, alone.solution)
    np.testing.assert_array_equal(found.predict(maps), alone.predict(maps))
    fitted.clear()
    monkeypatch.setattr(fitting, "SEARCHED", 20)
    fit_coverage(maps, boxes, candidates=candidates)
    assert len(fitted) == 3  # the last by all 30


def test_a_mirrored_photo_gives_the_mirrored_box(rng):
    inputs, boxes = layers(rng, 90)
    fit = fit_coverage(inputs, boxes, size=SIZE, candidates=(Cells((6, 7), context=(0.2,)),))
    # with a correction, whatever was chosen
    d = len(fit.correction.mean)
    weights = 0.05 * rng.normal(size=4 * d + 3)
    bent = CoverageMap(
        fit.cells,
        fit.solution,
        correction.Correction(2, fit.correction.mean, fit.correction.deviation, weights, 0.1),
        fit.size,
        fit.shapes,
        record=fit.record,
    )
    for one in (fit, bent):
        found, turned = one.predict(inputs), one.predict([x[:, :, ::-1] for x in inputs])
        mirrored = np.stack([30 - found[:, 2], found[:, 1], 30 - found[:, 0], found[:, 3]], 1)
        np.testing.assert_allclose(turned, mirrored, atol=5e-3)
        np.testing.assert_allclose(
            one.coverage([x[:, :, ::-1] for x in inputs]), one.coverage(inputs)[:, :, ::-1], atol=1e-4
        )


def test_blocks_give_the_map_that_arrays_give(rng):
    inputs, boxes = layers(rng, 70)
    photos = np.arange(70) // 2  # two rows a photo

    def blocks():
        for rows in np.array_split(rng.permutation(35), 6):
            own = (2 * rows[:, None] + [0, 1]).ravel()
            yield [one[own] for one in inputs], boxes[own], photos[own]

    whole = fit_coverage(inputs, boxes, size=SIZE, photos=photos, candidates=SMALL)
    streamed = fit_coverage_blocks(blocks, size=SIZE, candidates=SMALL)
    assert streamed.penalty == whole.penalty and streamed.correction.best == whole.correction.best
    np.testing.assert_allclose(streamed.solution, whole.solution, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(streamed.predict(inputs), whole.predict(inputs), atol=1e-3)


def test_the_same_call_gives_the_same_map(rng):
    maps, boxes = blobs(rng, 30)
    first, second = (fit_coverage(maps, boxes, candidates=SMALL) for _ in range(2))
    np.testing.assert_array_equal(first.solution, second.solution)
    np.testing.assert_array_equal(first.predict(maps), second.predict(maps))


def test_a_prediction_does_not_depend_on_its_neighbours(rng):
    maps, boxes = blobs(rng, 40)
    fit = fit_coverage(maps, boxes, candidates=SMALL)
    everyone = fit.predict(maps)
    for n in (1, 3, 5, 33):
        np.testing.assert_allclose(fit.predict(maps[3 : 3 + n]), everyone[3 : 3 + n], atol=1e-3)
    assert fit.predict(maps[:0]).shape == (0, 4)


def test_the_finer_grid_is_chosen_where_boxes_are_small(rng):
    size = (48, 48)
    corner = rng.uniform(0, 40, (80, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 7, (80, 2))], 1)
    y, x = np.mgrid[:48, :48] + 0.5
    inside = (x > boxes[:, :1, None]) & (x < boxes[:, 2:3, None]) & (y > boxes[:, 1:2, None]) & (y < boxes[:, 3:, None])
    fit = fit_coverage(inside + 0.1 * rng.random((80, *size)), boxes, candidates=(Cells((6, 6)), Cells((16, 16))))
    assert fit.cells.grid == (16, 16)
    assert len(fit.record["tried"]) == 2


def test_the_default_search_tries_grid_context_scales_and_layers(rng, monkeypatch):
    monkeypatch.setattr("localization.regression.coverage.GRIDS", ((15, 16),))
    monkeypatch.setattr("localization.regression.coverage.CONTEXTS", ((0.1,),))
    inputs, boxes = layers(rng, 40)
    fit = fit_coverage(inputs, boxes, size=SIZE)
    tried = " ".join(fit.record["tried"])
    assert all(word in tried for word in ("grid=(15, 16)", "context=(0.1,)", "scales=(0.0, 0.03", "layers=(0,)"))


@pytest.mark.parametrize("corrected", [False, True])
def test_a_bundle_comes_back_as_it_was(rng, tmp_path, corrected):
    inputs, boxes = layers(rng, 60)
    boxes = boxes + np.array([3, 2, -3, -2]) if corrected else boxes
    fit = fit_coverage(inputs, boxes, size=SIZE, candidates=SMALL, source={"method": "channels"})
    path = tmp_path / "coverage.safetensors"
    fit.save(path)
    again = load_coverage_map(path)
    np.testing.assert_array_equal(again.predict(inputs), fit.predict(inputs))
    assert (again.cells, again.size, again.shapes) == (fit.cells, fit.size, fit.shapes)
    assert again.source == {"method": "channels"} and again.record["n"] == 60
    assert again.penalty == fit.penalty


def test_a_file_that_is_no_coverage_map_is_refused(rng, tmp_path):
    from localization import fit_linear_map
    from saliency._files import write_tensors
    from saliency._reading import read_tensors

    maps, boxes = blobs(rng, 20)
    path = tmp_path / "linear.safetensors"
    fit_linear_map(maps, boxes, method="ridge").save(path)
    with pytest.raises(InputError, match=r"linear\.safetensors: not a coverage map"):
        load_coverage_map(path)
    path = tmp_path / "cut.safetensors"
    fit_coverage(maps, boxes, candidates=SMALL).save(path)
    tensors, header = read_tensors(path)
    for name, broken in (
        ("solution", tensors["solution"][:-1]),
        ("solution", tensors["solution"] * np.nan),
        ("deviation", tensors["deviation"] * 0),
    ):
        write_tensors(path, tensors | {name: broken}, header)
        with pytest.raises(InputError, match=r"cut\.safetensors: not a coverage map"):
            load_coverage_map(path)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.uint8])
def test_a_status_is_that_of_every_number(rng, dtype):
    """NaN that meets no other, infinities that cancel each other out, a sum beyond float32, one odd pixel."""
    maps = (200 * rng.random((9, 3, 4, 2))).astype(dtype)
    maps[1], maps[2, :, :, 1] = 7, 3
    maps[3] = 7
    maps[3, 2, 3, 1] = 8
    maps[4] = np.finfo(dtype).max if np.dtype(dtype).kind == "f" else 255
    maps[4, 0, 1] = 0
    if np.dtype(dtype).kind == "f":
        maps[5, 2, 3, 0] = np.nan
        maps[6, 0, 0, 0], maps[6, 1, 1, 1] = np.inf, -np.inf
        maps[7] = np.inf
    broken = "not finite" if np.dtype(dtype).kind == "f" else "ok"
    assert status(maps).tolist() == ["ok", "constant", "ok", "ok", "ok", broken, broken, broken, "ok"]


def test_constant_and_broken_maps_get_a_status_and_no_box(rng):
    maps, boxes = blobs(rng, 40)
    fit = fit_coverage(maps, boxes, candidates=SMALL)
    odd = maps[:4].copy()
    odd[0], odd[1, 3, 3], odd[2] = 0.7, np.nan, 0
    assert fit.status(odd).tolist() == ["constant", "not finite", "constant", "ok"]
    assert np.isnan(fit.predict(odd)[:3]).all() and np.isfinite(fit.predict(odd)[3]).all()
    assert np.isnan(fit.coverage(odd)[:3]).all() and np.isfinite(fit.coverage(odd)[3]).all()
    assert status([odd, maps[:4]]).tolist() == ["ok", "not finite", "ok", "ok"]  # the other map speaks


def test_a_photo_without_a_covered_cell_gets_a_status_and_no_box(rng):
    maps, boxes = blobs(rng, 40)
    fit = fit_coverage(maps, boxes, candidates=SMALL)
    dark = CoverageMap(fit.cells, np.r_[-99.0, fit.solution[1:]], fit.correction, fit.size, fit.shapes)
    boxes, coverage, said = dark.located(maps[:3])
    assert said.tolist() == ["nothing covered"] * 3 and np.isnan(boxes).all() and (coverage < 0).all()


def test_constant_maps_teach_nothing_and_are_counted(rng):
    maps, boxes = blobs(rng, 40)
    plain = fit_coverage(maps[3:], boxes[3:], photos=np.arange(3, 40), candidates=SMALL)
    maps[:3] = 1
    fit = fit_coverage(maps, boxes, candidates=SMALL)
    assert fit.record["n"] == 37 and fit.record["notes"] == ["3 rows with constant features were left out"]
    np.testing.assert_allclose(fit.predict(maps[3:]), plain.predict(maps[3:]), atol=0.05)


def test_too_few_photos_are_refused_and_equal_boxes_are_said(rng):
    maps, boxes = blobs(rng, 40)
    for n in (0, 1, 2):
        with pytest.raises(InputError, match=f"at least 3 photos .*, not {n}"):
            fit_coverage(maps[:n], boxes[:n], candidates=SMALL)
    with pytest.raises(InputError, match=r"at least 3 photos .*, not 2"):  # many rows, two photos
        fit_coverage(maps, boxes, photos=np.arange(40) % 2, candidates=SMALL)
    with pytest.raises(InputError, match=r"at least 3 photos .*, not 1"):
        fit_coverage(np.concatenate([maps[:1], maps[1:] * 0 + 1]), boxes, candidates=SMALL)
    same = np.tile([6.0, 4, 24, 15], (40, 1))
    fit = fit_coverage(maps, same, candidates=SMALL)
    assert fit.record["notes"] == ["all boxes are the same: what is predicted says nothing of the photos"]
    assert (iou(fit.predict(maps), same) > 0.8).all()


def test_three_photos_and_more_channels_than_cells_are_enough(rng):
    wide = rng.random((6, 4, 5, 300)).astype(np.float32)
    boxes = blobs(rng, 6)[1]
    for n in (3, 6):
        fit = fit_coverage(wide[:n], boxes[:n], size=SIZE, candidates=(Cells((3, 4)),))
        assert np.isfinite(fit.predict(wide)).all() and fit.solution.shape == (300 + 8 + 2,)


def test_folds_are_filled_whatever_the_photos_numbers(rng):
    maps, boxes = blobs(rng, 3)
    for photos in ([0, 5, 10], [7, 1000003, 2**40]):
        fit = fit_coverage(maps, boxes, photos=np.array(photos), candidates=SMALL)
        assert np.isfinite(fit.predict(maps)).all()


def test_a_small_sample_of_many_photos_is_of_all_folds():
    """The cells are chosen, and boxes corrected, by samples that lie in the same five folds as all photos."""
    everyone = np.arange(50_000)
    keys = fitting._keys(everyone, 0, fitting.SAMPLE)
    sample = np.flatnonzero(keys <= np.sort(keys)[fitting.SEARCHED - 1])
    counts = np.bincount(fitting._fold_of(sample, everyone, 0), minlength=fitting.FOLDS)
    assert counts.sum() == fitting.SEARCHED and counts.min() > 40, counts  # 60 each, give or take


def test_inputs_that_do_not_fit_are_refused_by_name(rng):
    inputs, boxes = layers(rng, 12)
    maps = inputs[0]
    fit = fit_coverage(maps, boxes, candidates=SMALL, source={"method": "a"})
    nan = boxes.copy()
    nan[4] = np.nan
    hole = maps.copy()
    hole[5, 2, 2] = np.inf
    for wrong, said in (
        (lambda: fit_coverage(inputs, boxes), r"size must be the \(height, width\)"),
        (lambda: fit_coverage(maps, boxes[:5]), "5 boxes do not pair with the features of 12 photos"),
        (lambda: fit_coverage(maps, nan), "boxes hold NaN or infinite values in photo 4"),
        (lambda: fit_coverage(hole, boxes), "features hold NaN or infinite values in photo 5"),
        (lambda: fit_coverage(maps[0], boxes), "features must be numbers"),
        (lambda: fit_coverage(maps[:, None], boxes), "activations .* of a single row: give maps"),
        (lambda: fit_coverage([maps, maps[:3]], boxes), "features must be of the same photos"),
        (lambda: fit_coverage(maps, boxes, photos=boxes[:, 0]), "photos must be whole numbers"),
        (lambda: fit_coverage(maps, boxes, lambdas=()), "lambdas must be"),
        (lambda: fit_coverage(maps, boxes, lambdas=(0.0,)), "lambdas must be"),
        (lambda: fit_coverage(maps, boxes, candidates=()), "candidates must be"),
        (lambda: fit_coverage(maps, boxes, seed=-1), "seed must be"),
        (lambda: fit_coverage(maps, boxes, size=(0, 3)), "size must be"),
        (lambda: fit_coverage(maps, boxes, source="x"), "source must be"),
        (lambda: fit_coverage(maps, boxes, candidates=(Cells(layers=(1,)),)), "layers must be indices below 1"),
        (lambda: fit.predict(maps[:, 1:]), "fitted to features of 20x30 and cannot be applied to 19x30"),
        (lambda: fit.predict(maps, source={"method": "b"}), "method 'a', these are of 'b'"),
        (lambda: Cells(grid=(1, 4)), "grid must be"),
        (lambda: Cells(scales=()), "scales must be"),
        (lambda: Cells(context=(-1.0,)), "context must be"),
        (lambda: Cells(layers=(0, 0)), "layers must be"),
    ):
        with pytest.raises(InputError, match=said):
            wrong()


def test_eight_devices_give_the_boxes_of_one(rng, tmp_path):
    """Eight in a process of their own, which has nothing to import but what it fits."""
    inputs, boxes = layers(rng, 50)
    np.savez(tmp_path / "given.npz", *inputs, boxes=boxes)
    script = (
        "import sys, numpy as np, jax\n"
        "from localization.regression.cells import Cells\n"
        "from localization.regression.coverage import fit_coverage\n"
        "given = dict(np.load(sys.argv[1]))\n"
        "inputs, own = [given['arr_0'], given['arr_1']], Cells((6, 7))\n"
        "fit = fit_coverage(inputs, given['boxes'], size=(20, 30), candidates=(own,))\n"
        "print(jax.local_device_count())\n"
        "np.save(sys.argv[2], fit.predict(inputs))\n"
    )
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    found = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "given.npz"), str(tmp_path / "found.npy")],
        cwd=Path(__file__).resolve().parents[1],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout.split() == ["8"]
    alone = fit_coverage(inputs, boxes, size=SIZE, candidates=SMALL)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), alone.predict(inputs), atol=0.05)
