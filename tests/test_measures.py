"""The measures beside insertion and deletion, against slow loops over their definitions; small, not square images."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.interpolate import griddata, interp1d

from saliency import faithfulness
from saliency.errors import InputError
from saliency.faithfulness import (
    MEASURES,
    box_masks,
    completeness,
    confidence,
    effective_complexity,
    entropy,
    entropy_rise,
    faithfulness_correlation,
    infidelity,
    information_curve,
    noisy_linear_imputation,
    pxap,
    random_logit,
    rank_correlation,
    relevance_mass,
    relevance_rank,
    road,
    roc_auc,
    sanity,
    sensitivity,
    to_quantus,
    top_in_mask,
)
from saliency.maps.controls import randomised
from saliency.methods import METHODS, Options
from saliency.models.network import Network
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn

SIZE = (7, 11)


@pytest.fixture
def maps(rng) -> np.ndarray:
    return rng.normal(size=(3, *SIZE)).astype(np.float32)


@pytest.fixture
def x(rng) -> np.ndarray:
    return rng.uniform(0, 255, size=(3, *SIZE, 3)).astype(np.float32)


@pytest.fixture
def masks(rng) -> np.ndarray:
    return rng.random((3, *SIZE)) < 0.3


@pytest.fixture(scope="module")
def net() -> Network:
    return random_network(scenes_cnn(blocks=((4,), (6,))), seed=2)


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(3, 12, 16, 3)).astype(np.float32)


def score(images):
    return np.tanh(np.asarray(images) / 100 - 1).sum((1, 2, 3)) + 0.01 * np.asarray(images)[:, 2:4, 3:9].sum((1, 2, 3))


def imputed_slowly(image: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Repeat the weighted mean of the neighbours until nothing moves."""
    image = np.where(hidden[..., None], image.mean((0, 1)), image).astype(float)
    for _ in range(3000):
        before = image.copy()
        for row, col in np.argwhere(hidden):
            total = weight = 0.0
            for down in (-1, 0, 1):
                for right in (-1, 0, 1):
                    at = row + down, col + right
                    if (down, right) != (0, 0) and 0 <= at[0] < hidden.shape[0] and 0 <= at[1] < hidden.shape[1]:
                        own = 1 / 6 if down == 0 or right == 0 else 1 / 12
                        total, weight = total + own * image[at], weight + own
            image[row, col] = total / weight
        if np.abs(image - before).max() < 1e-9:
            break
    return image


def test_imputation_is_the_fixed_point_of_the_neighbours_mean(x, rng):
    hidden = rng.random((3, *SIZE)) < [[[0.2]], [[0.6]], [[0.95]]]
    hidden[0, 0, :4] = hidden[1, -1, -1] = True  # a border and a corner
    found = noisy_linear_imputation(x, hidden)
    for k in range(3):
        np.testing.assert_allclose(found[k], imputed_slowly(x[k], hidden[k]), rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(found[~hidden], x[~hidden])
    noisy = noisy_linear_imputation(x, hidden, noise=5.0, seed=1)
    assert 3 < (noisy - found)[hidden].std() < 7 and np.array_equal(noisy[~hidden], x[~hidden])
    np.testing.assert_allclose(noisy_linear_imputation(x, np.ones_like(hidden))[1, 0, 0], x[1].mean((0, 1)), rtol=1e-5)
    np.testing.assert_array_equal(noisy_linear_imputation(x, np.zeros_like(hidden)), x)
    with pytest.raises(InputError, match="hidden must be"):
        noisy_linear_imputation(x, hidden[0])


def test_road_scores_what_is_imputed_in_both_orders(x, maps):
    maps[2] = 4.0
    found = road(score, x, maps, shares=[0.25, 0.5], noise=0.0)
    for k in range(2):
        order = np.argsort(-maps[k], axis=None, kind="stable")
        for j, share in enumerate((0.25, 0.5)):
            count = round(share * maps[k].size)
            for curves, pixels in ((found.most, order[:count]), (found.least, order[len(order) - count :])):
                hidden = np.zeros(maps[k].size, bool)
                hidden[pixels] = True
                slow = score(imputed_slowly(x[k], hidden.reshape(SIZE))[None])[0]
                np.testing.assert_allclose(curves.scores[k, j], slow, rtol=1e-4)
    np.testing.assert_allclose(found.score[:2], (found.least.scores - found.most.scores)[:2].mean(1) / 2)
    assert np.isnan(found.score[2])
    again = road(score, x, maps, shares=[0.25, 0.5], noise=0.1)
    assert not np.allclose(again.most.scores[0], found.most.scores[0])
    with pytest.raises(InputError, match="shares must be"):
        road(score, x, maps, shares=[1.5])


def test_a_network_is_judged_by_its_probability(net, inputs):
    maps = np.random.default_rng(0).random(inputs.shape[:3])
    logits = np.asarray(net(inputs))
    odds = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(confidence(net, inputs, maps).whole, odds.max(1), rtol=1e-4)
    hidden = maps > np.quantile(maps, 0.7, axis=(1, 2), keepdims=True)
    changed = np.asarray(net(noisy_linear_imputation(inputs, hidden)))
    slow = (np.exp(changed) / np.exp(changed).sum(1, keepdims=True))[np.arange(3), logits.argmax(1)]
    share = hidden[0].mean()
    np.testing.assert_allclose(road(net, inputs, maps, shares=[share], noise=0).most.scores[:, 0], slow, rtol=1e-3)


def test_drop_and_increase_by_hand(x, maps):
    maps[2] = -np.abs(maps[2])  # nothing positive to show
    found = confidence(score, x, maps, fill=60.0)
    for k in range(2):
        shown = np.maximum(maps[k], 0)
        shown = (shown - shown.min()) / (shown.max() - shown.min())
        seen = score((shown[..., None] * x[k] + (1 - shown[..., None]) * 60)[None])[0]
        whole = score(x[k : k + 1])[0]
        np.testing.assert_allclose(found.seen[k], seen, rtol=1e-4)
        np.testing.assert_allclose(found.drop[k], max(0, whole - seen) / whole, rtol=1e-3, atol=1e-6)
        assert found.increase[k] == float(seen > whole)
    assert np.isnan(found.drop[2]) and np.isnan(found.increase[2])


@pytest.mark.parametrize("best", [False, True])
def test_infidelity_is_the_mean_square_over_masks(x, maps, rng, best):
    hidden = rng.random((9, *SIZE)) < 0.4
    found = infidelity(score, x, maps, masks=hidden, fill=60.0, scaled_at_best=best)
    for k in range(3):
        sums = np.array([maps[k][mask].sum() for mask in hidden])
        drops = np.array([score(x[k : k + 1])[0] - score(np.where(m[..., None], 60, x[k])[None])[0] for m in hidden])
        by = (sums @ drops) / (sums @ sums) if best else 1
        np.testing.assert_allclose(found[k], np.mean((by * sums - drops) ** 2), rtol=1e-4)
        least = min(np.mean((at * sums - drops) ** 2) for at in np.linspace(by - 1, by + 1, 41))
        assert not best or found[k] <= least * (1 + 1e-6)


def test_infidelitys_own_squares_lie_within_the_image_and_follow_the_seed(x, maps):
    seen: list[np.ndarray] = []

    def watched(images):
        seen.extend(np.asarray(images))
        return score(images)

    one = infidelity(watched, x[:1], maps[:1], count=20, fill=0.0, seed=1)
    changed = {tuple(np.ptp(np.argwhere((image != x[0]).any(-1)), 0) + 1) for image in seen if (image != x[0]).any()}
    assert all(height == width <= 3 for height, width in changed) and len(changed) > 1
    assert one != infidelity(score, x[:1], maps[:1], count=20, fill=0.0, seed=2)


@pytest.mark.parametrize("by", ["rank", "value"])
def test_faithfulness_correlation_over_stated_sets(x, maps, rng, by):
    hidden = rng.random((12, *SIZE)) < 0.3
    found = faithfulness_correlation(score, x, maps, masks=hidden, fill=60.0, by=by)
    for k in range(3):
        sums = [maps[k][mask].sum() for mask in hidden]
        drops = [score(x[k : k + 1])[0] - score(np.where(m[..., None], 60, x[k])[None])[0] for m in hidden]
        if by == "rank":
            sums, drops = np.argsort(np.argsort(sums)), np.argsort(np.argsort(drops))
        np.testing.assert_allclose(found[k], np.corrcoef(sums, drops)[0, 1], atol=1e-4)


def test_random_sets_are_of_whole_cells_and_of_the_share(x, maps):
    true = np.asarray(x).sum(-1)
    plain = lambda images: np.asarray(images).sum((1, 2, 3))  # noqa: E731
    assert faithfulness_correlation(plain, x, true, fill=0.0, grid=None, by="value").min() > 0.999
    assert faithfulness_correlation(plain, x, true, fill=0.0, grid=3).min() > 0.999
    assert np.isnan(faithfulness_correlation(lambda images: np.asarray(images)[:, 0, 0, 0] * 0, x, maps)).all()


def test_completeness(x, maps):
    found = completeness(score, x, maps, fill=60.0)
    drops = score(x) - score(np.full_like(x, 60))
    np.testing.assert_allclose(found, np.abs(maps.sum((1, 2)) - drops) / np.abs(drops), rtol=1e-4)


def test_completeness_of_integrated_gradients_is_within_a_percent(net, inputs):
    maps = METHODS["integrated-gradients"].maps(net, inputs, options=Options(fill="mean"))
    assert completeness(net, inputs, maps, fill="mean").max() < 0.01
    assert completeness(net, inputs, 2 * maps, fill="mean").min() > 0.9


def test_masses_ranks_and_areas_equal_loops(maps, masks):
    maps[0] = np.round(maps[0])  # ties
    masks[2] = False
    for k in range(2):
        inside, outside = maps[k][masks[k]], maps[k][~masks[k]]
        order = sorted(np.ndindex(*SIZE), key=lambda at: -maps[k][at])
        np.testing.assert_allclose(
            relevance_mass(maps, masks)[k], inside[inside > 0].sum() / maps[k][maps[k] > 0].sum(), rtol=1e-5
        )
        top = order[: masks[k].sum()]
        np.testing.assert_allclose(relevance_rank(maps, masks)[k], np.mean([masks[k][at] for at in top]))
        top = order[: round(0.1 * maps[k].size)]
        np.testing.assert_allclose(top_in_mask(maps, masks, 0.1)[k], np.mean([masks[k][at] for at in top]))
        pairs = [(a > b) + 0.5 * (a == b) for a in inside for b in outside]
        np.testing.assert_allclose(roc_auc(maps, masks)[k], np.mean(pairs))
    for measure in (relevance_mass, relevance_rank, top_in_mask, roc_auc):
        assert np.isnan(measure(maps, masks)[2])
        with pytest.raises(InputError, match="masks must be"):
            measure(maps, masks[:, 1:])


def test_pxap_is_the_area_of_steps_over_all_thresholds(maps, masks):
    maps[1] = 2.0  # says nothing: all zero
    ignored = np.zeros_like(masks)
    ignored[0, :2] = True
    scaled = [(m - m.min()) / (m.max() - m.min()) if np.ptp(m) else 0 * m for m in maps.astype(float)]
    values = np.concatenate([s[~i] for s, i in zip(scaled, ignored)])
    true = np.concatenate([m[~i] for m, i in zip(masks, ignored)])
    area, recall = 0.0, 0.0
    for threshold in np.arange(100)[::-1] / 100:
        chosen = values >= threshold
        now = true[chosen].sum() / true.sum()
        area, recall = area + true[chosen].mean() * (now - recall), now
    np.testing.assert_allclose(pxap(maps, masks, ignored, thresholds=100), area, rtol=1e-9)
    assert np.isnan(pxap(maps, np.zeros_like(masks)))
    assert pxap(masks.astype(float), masks) == 1


def test_box_masks_take_pixels_whose_middle_lies_within():
    found = box_masks([[[0.6, 0, 2.5, 1]], [[0, 0, 1, 1], [3, 1, 4, 2]], []], (2, 4)).astype(int)
    assert found.tolist() == [[[0, 1, 0, 0], [0] * 4], [[1, 0, 0, 0], [0, 0, 0, 1]], [[0] * 4, [0] * 4]]


def test_entropy_and_effective_complexity(maps):
    maps[1] = 1.0
    shares = np.abs(maps[0]) / np.abs(maps[0]).sum()
    np.testing.assert_allclose(entropy(maps)[0], -sum(p * np.log(p) for p in shares.ravel().astype(float)), rtol=1e-5)
    assert np.isnan(entropy(maps)[1]) and np.isnan(effective_complexity(maps)[1])
    assert effective_complexity(maps, 0.5)[0] == (np.abs(maps[0]) > np.abs(maps[0]).max() / 2).sum()
    assert entropy(maps[:0]).shape == effective_complexity(maps[:0]).shape == (0,)


def test_sensitivity_is_the_relative_change_under_even_noise(net, inputs):
    method = METHODS["gradient-max"]
    target = np.asarray(net(inputs)).argmax(1)
    plain = method.maps(net, inputs)
    found = sensitivity(method, net, inputs, plain, radius=0.1, count=3, seed=4)
    rng, change = np.random.default_rng(4), np.empty((3, 3))
    for k in range(3):
        draw = rng.uniform(-1, 1, inputs.shape[1:])
        near = np.stack([one + 0.1 * np.ptp(one) * draw for one in inputs]).astype(np.float32)
        moved = method.maps(net, near, target=target)
        change[:, k] = [np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(moved, plain)]
        ratio = [np.linalg.norm(a - b) / np.linalg.norm(c - d) for a, b, c, d in zip(moved, plain, near, inputs)]
        np.testing.assert_allclose(found.ratio[:, k], ratio, rtol=1e-3)
    np.testing.assert_allclose(found.max, change.max(1), rtol=1e-3)
    np.testing.assert_allclose(found.mean, change.mean(1), rtol=1e-3)
    np.testing.assert_allclose(found.lipschitz, found.ratio.max(1))


def test_another_classes_map_and_randomised_layers(net, inputs):
    method, target = METHODS["grad-cam"], np.array([1, 4, 9])
    maps = method.maps(net, inputs, target=target)
    found = random_logit(method, net, inputs, maps, target=target, seed=3)
    other = (target + np.random.default_rng(3).integers(1, 10, 3)) % 10
    assert (other != target).all()
    np.testing.assert_allclose(found, rank_correlation(maps, method.maps(net, inputs, target=other)))
    curve = sanity(method, net, inputs, maps, target=target)
    few = sanity(method, net, inputs, maps, target=target, points=2)
    assert list(few) == [next(iter(curve)), list(curve)[-1]]
    np.testing.assert_array_equal(few[list(curve)[-1]], curve[list(curve)[-1]])
    single = sanity(method, net, inputs, maps, target=target, order="single")
    assert list(single) == list(curve)
    first = next(iter(curve))
    np.testing.assert_allclose(single[first], curve[first])  # nothing above the logits
    alone = randomised(net, only=list(curve)[-1])
    assert np.array_equal(alone.weights[first]["kernel"], net.weights[first]["kernel"])
    drawn = method.maps(alone, inputs, target=target)
    np.testing.assert_allclose(single[list(curve)[-1]], rank_correlation(maps, drawn))
    rise = entropy_rise(method, net, inputs, maps, target=target)
    after = entropy(method.maps(randomised(net), inputs, target=target))
    np.testing.assert_allclose(rise, after / entropy(maps) - 1, rtol=1e-5)


def pic_slowly(image, values, kept, said, shares):
    """PAIR's compute_pic_metric, one step after another."""

    def blurred(mask):
        made = image.copy()
        points, holes = np.argwhere(mask), np.argwhere(~mask)
        for c in range(3):
            middle = image[..., c].mean()
            made[..., c][~mask] = np.round(griddata(points, image[..., c][mask], holes, "linear", fill_value=middle))
        return made

    def held(one):
        buffer = io.BytesIO()
        Image.fromarray(one).save(buffer, "webp", lossless=True, quality=100)
        return len(buffer.getvalue())

    start, best, points = blurred(kept), 0.0, []
    for share in shares:
        one = blurred(kept | (values >= np.quantile(values, 1 - share)))
        now = np.clip((said(one) - said(start)) / (said(image) - said(start)), 0, 1)
        best = max(best, now)
        points.append((np.clip((held(one) - held(start)) / (held(image) - held(start)), 0, 1), best))
    at, value = zip(*points, (0.0, 0.0), (1.0, 1.0))
    shown = np.append(np.linspace(0, 1, 1000, endpoint=False), 1)
    return np.append(interp1d(at, value)(shown[:-1]), 1)


def test_information_curves_equal_the_papers_code_transcribed(rng):
    pixels = rng.integers(0, 256, (2, 18, 26, 3), np.uint8)
    values = rng.normal(size=(2, 18, 26))
    bright = lambda images: np.asarray(images)[:, 4:14, 6:20].std((1, 2, 3))  # noqa: E731
    shares = (0.05, 0.2, 0.5, 0.75)
    found = information_curve(bright, pixels.astype(np.float32), values, shares=shares, seed=3)
    kept = np.random.default_rng(3).random((18, 26)) < 0.01
    kept[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    for k in range(2):
        slow = pic_slowly(pixels[k], values[k], kept, lambda one: bright(one[None])[0], shares)
        np.testing.assert_allclose(found.performance[k], slow, atol=1e-4)
        np.testing.assert_allclose(found.auc[k], np.trapezoid(slow, found.shown), atol=1e-4)
    assert np.isnan(information_curve(bright, pixels.astype(np.float32), values, least=1e9).auc).all()
    flat = information_curve(lambda images: np.asarray(images)[:, 0, 0, 0] * 0, pixels.astype(np.float32), values)
    assert np.isnan(flat.auc).all()  # the blurred image scores no less


def test_aic_asks_whether_the_class_is_still_predicted(net, rng):
    pixels = rng.integers(0, 256, (3, 16, 24, 3), np.uint8)
    x = net.preprocess.normalise(pixels.astype(np.float32)).astype(np.float32)
    found = information_curve(net, x, rng.random((3, 16, 24)), kind="aic", shares=(0.1, 0.6))
    known = ~np.isnan(found.auc)
    assert set(np.unique(found.performance[known][:, [0, -1]])) <= {0.0, 1.0}
    with pytest.raises(InputError, match="black box"):
        information_curve(score, x, rng.random((3, 16, 24)), kind="aic")


def test_quantus_batches(x, maps, masks):
    batches = to_quantus(x, maps, [1, 2, 3], masks)
    assert batches["x_batch"].shape == (3, 3, *SIZE) and batches["x_batch"][1, 2, 3, 4] == x[1, 3, 4, 2]
    assert batches["a_batch"].dtype == np.float32 and batches["s_batch"].dtype == bool
    assert batches["y_batch"].tolist() == [1, 2, 3] and "s_batch" not in to_quantus(x, maps, 7)
    for wrong in ([1, 2], [0.5, 1, 2]):
        with pytest.raises(InputError, match="target must be"):
            to_quantus(x, maps, wrong)
    with pytest.raises(InputError, match="maps must be"):
        to_quantus(x, maps[:, 1:], 1)


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_is_explained_and_has_its_function(name):
    measure = MEASURES[name]
    assert callable(getattr(faithfulness, measure.function))
    assert measure.summary.endswith(".") and measure.caution.endswith(".") and measure.source and measure.cost


@pytest.mark.parametrize("measure", [road, confidence, infidelity, faithfulness_correlation, completeness,
                                     information_curve])  # fmt: skip
def test_what_does_not_fit_is_named_and_what_says_nothing_is_nan(x, maps, measure):
    with pytest.raises(InputError, match="maps must be"):
        measure(score, x, maps[:2])
    maps[0], maps[1, 2, 3] = 5.0, np.nan
    found = measure(score, x, maps)
    figures = {"Road": "score", "Confidence": "drop", "Information": "auc"}
    values = found if isinstance(found, np.ndarray) else getattr(found, figures[type(found).__name__])
    assert np.isnan(values[:2]).all() and values.shape == (3,)
