"""The linear map: closed forms against each other and scikit-learn, leave-one-out against leaving one out, bundles."""

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.optimize import linprog
from sklearn.linear_model import Ridge

from localization import Features, fit_linear_map, load_linear_map
from localization.boxes import iou
from localization.regression import lad, overlap, ridge, sgd
from localization.regression.linear_map import decoded, encoded
from localization.regression.moments import moments
from localization.regression.rows import FeatureBlocks, in_memory
from saliency.errors import InputError
from saliency.maps.status import status

SIZE = (20, 30)  # height, width
SMALL = Features.raw((5, 6))


@pytest.fixture
def problem(rng):
    """Features float32 [90, 11] off centre and of unlike scales, targets [90, 4]."""
    x = (rng.normal(size=(90, 11)) * np.linspace(0.5, 2, 11) + 3).astype(np.float32)
    return x, x[:, :4] @ rng.normal(size=(4, 4)) + rng.normal(size=(90, 4))


@pytest.fixture(scope="module")
def bright():
    """Maps float32 [200, 20, 30], bright where their box is, and the boxes."""
    rng = np.random.default_rng(1)
    x, y = (np.sort(rng.uniform(0, size, (200, 2)), 1) for size in (SIZE[1], SIZE[0]))
    boxes = np.stack([x[:, 0], y[:, 0], x[:, 1] + 1, y[:, 1] + 1], 1).clip(0, [30, 20, 30, 20])
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    inside = [(columns > a) & (columns < c) & (rows > b) & (rows < d) for a, b, c, d in boxes]
    return (np.array(inside) + 0.05 * rng.random((200, *SIZE))).astype(np.float32), boxes


def chunked(x, y, parts):
    return FeatureBlocks(lambda: iter(np.array_split(x, parts)), y, x.shape[1])


@pytest.mark.parametrize("penalty", [1e-4, 0.1, 10.0])
def test_every_closed_form_is_scikit_learns_ridge(problem, penalty):
    x, y = problem
    alpha = penalty * ((x - x.mean(0)) ** 2).sum() / x.shape[1]
    known = Ridge(alpha=alpha).fit(x.astype(float), y)
    sums = moments(chunked(x, y, 7), block=16)
    for solution in (
        ridge.from_rows(x, y).solution(penalty),
        ridge.from_moments(sums).solution(penalty),
        ridge.one_penalty(sums, penalty, chunked(x, y, 7)),
        ridge.conjugate_gradients(chunked(x, y, 3), penalty, tolerance=1e-9),
    ):
        np.testing.assert_allclose(solution.weights.T, known.coef_, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(solution.intercept, known.intercept_, rtol=1e-4, atol=1e-5)


def test_polishing_makes_up_for_float32_products(problem):
    x, y = problem
    x = np.concatenate([x, x[:, :3] + 1e-2 * x[:, 3:6]], 1)  # nearly collinear
    rows, spectrum = chunked(x, y, 4), ridge.from_moments(moments(chunked(x, y, 4), block=16))
    rough = [spectrum.solution(penalty) for penalty in (1e-4, 1.0)]
    for before, after in zip(rough, ridge.polished(spectrum, rows, rough)):
        alpha = before.penalty * ((x - x.mean(0, dtype=float)) ** 2).sum(dtype=float) / x.shape[1]
        known = Ridge(alpha=alpha).fit(x.astype(float), y)
        errors = [np.abs(one.weights.T - known.coef_).max() / np.abs(known.coef_).max() for one in (before, after)]
        assert errors[1] < 1e-7 and errors[1] < errors[0] / 5
        np.testing.assert_allclose(after.intercept, known.intercept_, rtol=1e-7)


def test_rows_made_on_the_device_stay_there_and_give_the_same(problem):
    """Blocks of unlike lengths, longer and shorter than those that are multiplied."""
    x, y = problem
    cuts = [5, 48, 50]
    there = FeatureBlocks(lambda: iter(map(jnp.asarray, np.split(x, cuts))), y, x.shape[1])
    here, sums = moments(chunked(x, y, 7), block=16), moments(there, block=16)
    assert sums.n == len(x)
    for one, other in zip(sums.centred(), here.centred()):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)
    known = Ridge(alpha=0.1 * ((x - x.mean(0, dtype=float)) ** 2).sum(dtype=float) / x.shape[1]).fit(x.astype(float), y)
    solution = ridge.one_penalty(sums, 0.1, there)
    np.testing.assert_allclose(solution.weights.T, known.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(solution.intercept, known.intercept_, rtol=1e-6)


def test_the_dual_form_is_the_primal_one(rng):
    x, y = rng.normal(size=(12, 40)).astype(np.float32), rng.normal(size=(12, 4))
    alpha = 0.1 * ((x - x.mean(0)) ** 2).sum() / 40
    known = Ridge(alpha=alpha).fit(x.astype(float), y)
    np.testing.assert_allclose(ridge.from_rows(x, y).solution(0.1).weights.T, known.coef_, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("n", [90, 9])
def test_leave_one_out_is_what_leaving_one_out_gives(problem, n):
    x, y = problem[0][:n].astype(float), problem[1][:n]
    spectrum = ridge.from_rows(x, y)
    found = ridge.left_out(spectrum, x, y, [0.1])[0.1]
    for i in (0, n // 2, n - 1):
        others = np.delete(np.arange(n), i)
        known = Ridge(alpha=spectrum.alpha(0.1)).fit(x[others], y[others])
        np.testing.assert_allclose(found[i], known.predict(x[i : i + 1])[0], rtol=1e-6)


def test_moments_are_the_sums_in_float64(rng):
    """Far from zero and in many blocks, where plain float32 sums lose their last four digits."""
    x = (rng.normal(size=(5000, 6)) + 1000).astype(np.float32)
    y = rng.normal(size=(5000, 2))
    sums = moments(chunked(x, y, 50), block=8)
    assert sums.n == 5000
    gram, cross, own = sums.centred()
    xc, yc = x.astype(float) - x.mean(0, dtype=float), y - y.mean(0)
    np.testing.assert_allclose(gram, xc.T @ xc, rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(cross, xc.T @ yc, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(own, yc.T @ yc, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(sums.mean_x, x.mean(0, dtype=float), rtol=1e-9)


def test_moments_of_parts_add(problem):
    x, y = problem
    whole = moments(chunked(x, y, 1), block=32)
    parts = [moments(chunked(x[i], y[i], 1), shift=whole.shift, block=32) for i in (slice(40), slice(40, None))]
    np.testing.assert_allclose((parts[0] + parts[1]).matrix, whole.matrix, rtol=1e-6, atol=1e-5)
    solution = ridge.from_rows(x, y).solution(0.1)
    residual = y - solution(x)
    np.testing.assert_allclose(whole.loss(solution.weights), 0.5 * (residual**2).sum(1).mean(), rtol=1e-5)
    with pytest.raises(ValueError, match="different shifts"):
        _ = whole + moments(chunked(x, y, 1), shift=whole.shift + 1, block=32)


def test_sgd_reaches_the_closed_forms_training_loss(problem):
    x, y = problem
    x = x / np.linspace(0.5, 2, 11).astype(np.float32)
    spectrum = ridge.from_rows(x, y)
    best = spectrum.solution(0.05)
    alpha = spectrum.alpha(0.05) / len(x)
    seen = {}
    found = sgd.descend(
        sgd.shuffled(x, y, 0),
        spectrum.mean_x,
        spectrum.mean_y,
        spectrum.squares.max() / len(x),
        alpha=alpha,
        penalty=0.05,
        steps=600,
        watch=lambda step, solution: seen.update({step: loss(solution, x, y, alpha)}),
        every=10,
    )
    least_loss = loss(best, x, y, alpha)
    assert least_loss <= min(seen.values()) + 1e-9
    assert loss(found, x, y, alpha) < 1.01 * least_loss
    assert seen[10] > seen[600]


def loss(solution, x, y, alpha):
    return 0.5 * ((y - solution(x)) ** 2).sum(1).mean() + 0.5 * alpha * (solution.weights**2).sum()


def test_batches_of_a_stream_are_the_rows_in_another_order(problem):
    x, y = problem
    batches = sgd.streamed(chunked(x, y, 4), seed=0, batch=30)
    seen = np.concatenate([next(batches)[0] for _ in range(3)])
    np.testing.assert_array_equal(np.sort(seen[:, 0]), np.sort(x[:, 0]))
    assert not np.array_equal(seen, x)


def test_least_absolute_deviations_reach_the_linear_programs_optimum(problem):
    x, y = problem
    x = x.astype(float)
    spectrum = ridge.from_rows(x, y[:, :1])
    found = lad.refine(spectrum.solution(1e-9), spectrum, in_memory(x, y[:, :1]), steps=2000)
    n, d = x.shape  # minimise the sum of t with -t <= y - xw - b <= t
    design = np.concatenate([x, np.ones((n, 1))], 1)
    program = linprog(
        np.r_[np.zeros(d + 1), np.ones(n)],
        A_ub=np.block([[design, -np.eye(n)], [-design, -np.eye(n)]]),
        b_ub=np.r_[y[:, 0], -y[:, 0]],
        bounds=[(None, None)] * (d + 1) + [(0, None)] * n,
    )
    assert np.abs(y[:, :1] - found(x)).sum() == pytest.approx(program.fun, rel=1e-3)
    start = np.abs(y[:, :1] - spectrum.solution(1e-9)(x)).sum()
    assert program.fun < start


def test_refinements_do_not_depend_on_the_blocks(problem):
    x, y = problem
    spectrum = ridge.from_rows(x, y)
    start = spectrum.solution(0.1)
    for refine in (
        lambda rows: lad.refine(start, spectrum, rows, steps=20),
        lambda rows: overlap.refine(start, spectrum, rows, centre=False, steps=3),
    ):
        whole, parts = refine(in_memory(x, y)), refine(chunked(x, y, 7))
        np.testing.assert_allclose(whole.weights, parts.weights, rtol=1e-3, atol=1e-4)


def test_generalised_iou_of_known_boxes():
    a = np.array([[0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 1, 1]], np.float32)
    b = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [3, 0, 4, 1]], np.float32)
    np.testing.assert_allclose(overlap.generalised_iou(a, b, False), [1, 1 / 3, -2 / 4], rtol=1e-6)
    centre = np.concatenate([(a[:, :2] + a[:, 2:]) / 2, a[:, 2:] - a[:, :2]], 1)
    true = np.concatenate([(b[:, :2] + b[:, 2:]) / 2, b[:, 2:] - b[:, :2]], 1)
    np.testing.assert_allclose(overlap.generalised_iou(centre, true, True), [1, 1 / 3, -2 / 4], rtol=1e-6)


@pytest.mark.parametrize("coding", ["corners", "centre"])
def test_codes_are_undone_and_out_of_range_boxes_put_right(coding):
    boxes = np.array([[3.0, 4, 17, 19], [0, 0, 30, 20]])
    np.testing.assert_allclose(decoded(encoded(boxes, coding, SIZE), coding, SIZE), boxes)
    wild = decoded(np.array([[0.9, 1.4, 0.2, -0.3]]), coding, SIZE)
    assert (wild[:, :2] <= wild[:, 2:]).all()
    assert (wild >= 0).all()
    assert (wild <= [30, 20, 30, 20]).all()


@pytest.mark.parametrize("method", ["ridge", "lad", "iou", "sgd"])
def test_boxes_are_found_by_every_method(bright, method):
    maps, boxes = bright
    fit = fit_linear_map(
        maps[:150],
        boxes[:150],
        method=method,
        features=Features(smooth=0, focus=0),
        steps=200 if method == "sgd" else None,
    )
    found = fit.predict(maps[150:])
    mean = np.broadcast_to(boxes[:150].mean(0), (50, 4))
    assert iou(found, boxes[150:]).mean() > iou(mean, boxes[150:]).mean() + 0.2
    assert fit.record["method"] == method


def test_both_codings_and_stacked_methods_are_fitted(bright, rng):
    maps, boxes = bright
    stacked = np.stack([maps, rng.random(maps.shape).astype(np.float32)], 1)
    for coding in ("corners", "centre"):
        fit = fit_linear_map(stacked, boxes, features=SMALL, coding=coding, method="ridge", lambdas=(0.1,))
        assert fit.predict(stacked).shape == (200, 4)
        assert fit.images().shape == (4, 2, *SIZE)
    with pytest.raises(InputError, match="2 stacked"):
        fit.predict(maps)


def test_images_are_the_weights_of_pixels_and_derivatives_of_anything_else(bright):
    maps, boxes = bright
    raw = fit_linear_map(maps, boxes, features=Features.raw(), method="ridge", lambdas=(1.0,))
    np.testing.assert_allclose(raw.images()[:, 0], raw.weights.T.reshape(4, *SIZE), rtol=1e-4, atol=1e-7)
    fit = fit_linear_map(maps, boxes, method="ridge", lambdas=(1.0,))
    moved = np.stack([fit.typical, fit.typical, fit.typical])
    moved[1, 0, 7, 9] += 1e-2
    moved[2, 0, 7, 9] -= 1e-2
    codes = fit.features(moved) @ fit.weights
    np.testing.assert_allclose(fit.images()[:, 0, 7, 9], (codes[1] - codes[2]) / 2e-2, rtol=0.02, atol=1e-4)


def test_a_saved_linear_map_is_the_same(bright, tmp_path):
    maps, boxes = bright
    fit = fit_linear_map(maps, boxes, source={"network": "vgg16", "method": "gradient-max"}, lambdas=(0.1, 1.0))
    fit.save(tmp_path / "map.safetensors")
    loaded = load_linear_map(tmp_path / "map.safetensors")
    np.testing.assert_array_equal(loaded.predict(maps), fit.predict(maps))
    assert loaded.features == fit.features
    assert loaded.penalty == fit.penalty
    fit.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "map.safetensors").read_bytes()


def test_maps_of_another_origin_are_refused(bright):
    maps, boxes = bright
    fit = fit_linear_map(
        maps, boxes, features=SMALL, method="ridge", source={"network": "vgg16", "layer": "conv5_3"}, lambdas=(1.0,)
    )
    assert fit.predict(maps, source={"network": "vgg16", "layer": "conv5_3"}).shape == (200, 4)
    with pytest.raises(InputError, match="layer 'conv5_3', these are of 'conv1_1'"):
        fit.predict(maps, source={"layer": "conv1_1"})
    with pytest.raises(InputError, match="20x30 and cannot be applied to 30x20"):
        fit.predict(maps.swapaxes(1, 2))


def test_files_that_are_no_linear_maps_are_told(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_linear_map(tmp_path / "none")
    (tmp_path / "text").write_text("not a map")
    with pytest.raises(InputError, match="not a readable safetensors"):
        load_linear_map(tmp_path / "text")
    save_file({"weights": np.ones(3)}, tmp_path / "other")
    with pytest.raises(InputError, match="not a linear map of this version"):
        load_linear_map(tmp_path / "other")


def test_maps_that_say_nothing_have_no_silent_box(bright):
    maps, boxes = bright
    fit = fit_linear_map(maps, boxes, features=SMALL, method="ridge", lambdas=(1.0,))
    bad = maps[:4].copy()
    bad[1, 0, 0], bad[2, 3, 3], bad[3] = np.nan, np.inf, 0
    assert status(bad).tolist() == ["ok", "not finite", "not finite", "constant"]
    found = fit.predict(bad)
    assert np.isnan(found).all(1).tolist() == [False, True, True, True]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"boxes": np.ones((3, 4))}, "do not pair"),
        ({"maps": np.ones((5, 4))}, "maps must be"),
        ({"method": "magic"}, "method must be one of"),
        ({"coding": "polar"}, "coding must be one of"),
        ({"lambdas": ()}, "lambdas must be"),
        ({"maps": np.full((5, 6, 7), np.nan)}, "maps hold NaN"),
        ({"boxes": np.full((5, 4), np.inf)}, "boxes hold NaN"),
        ({"maps": np.ones((2, 6, 7)), "boxes": np.ones((2, 4))}, "at least 3"),
    ],
)
def test_bad_input_is_told(change, part):
    given = {"maps": np.random.default_rng(0).random((5, 6, 7)), "boxes": np.tile([1.0, 1, 3, 4], (5, 1)), **change}
    with pytest.raises(InputError, match=part):
        fit_linear_map(given.pop("maps"), given.pop("boxes"), **given)
