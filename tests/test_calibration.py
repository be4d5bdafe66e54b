"""Calibration figures against slow loops; bins, bootstrap and videos."""

import numpy as np
import pytest

from saliency.errors import InputError
from saliency.robustness.calibration import (
    BINS,
    Sampled,
    figures,
    mean,
    reliability,
    resample_weights,
    video_log_probabilities,
)


def random_predictions(rng, n=200, k=4, sharpness=2.0):
    logits = sharpness * rng.normal(size=(n, k))
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True)), rng.integers(k, size=n)


def slow_figures(log_p, labels):
    right, nll, brier, bins = [], [], [], [[] for _ in range(BINS)]
    for row, label in zip(log_p, labels):
        p = np.exp(row)
        right.append(int(p.argmax() == label))
        nll.append(-row[label])
        brier.append(sum((p[i] - (i == label)) ** 2 for i in range(len(p))))
        bins[min(int(p.max() * BINS), BINS - 1)].append((p.max(), right[-1]))
    gaps = [len(b) * abs(np.mean([c for c, _ in b]) - np.mean([r for _, r in b])) for b in bins if b]
    return {"accuracy": np.mean(right), "nll": np.mean(nll), "brier": np.mean(brier), "ece": sum(gaps) / len(labels)}


def test_figures_match_a_slow_loop(rng):
    log_p, labels = random_predictions(rng)
    found = figures(log_p, labels)
    for name, value in slow_figures(log_p, labels).items():
        assert found[name].value == pytest.approx(value)
        low, high = found[name].interval
        assert low < value < high


def test_an_interval_lies_around_its_figure():
    assert Sampled(0.1, np.linspace(0.15, 0.25, 101)).interval == pytest.approx((0.0525, 0.1475))


def test_the_noise_of_the_draws_moves_no_interval(rng):
    """A share's interval stays in 0..1, and a difference that no resample brings below 0 is not called negative."""
    labels = np.zeros(40, int)
    log_p = np.log(np.full((40, 2), 0.5))
    log_p[:, 0] = np.log(np.where(np.arange(40) < 1, 0.6, 0.4))  # one of forty is right
    log_p[:, 1] = np.log(1 - np.exp(log_p[:, 0]))
    for seed in range(20):
        weights = resample_weights(np.arange(40), draws=1000, seed=seed)
        low, high = figures(log_p, labels, weights)["accuracy"].interval
        assert low == 0 and high <= 1


def test_every_resample_is_the_figure_of_the_drawn_items(rng):
    log_p, labels = random_predictions(rng, n=40)
    weights = resample_weights(np.arange(40), draws=5, seed=3)
    found = figures(log_p, labels, weights)
    for i, drawn in enumerate(weights.astype(int)):
        expected = slow_figures(np.repeat(log_p, drawn, 0), np.repeat(labels, drawn))
        assert {name: pytest.approx(one.resamples[i]) for name, one in found.items()} == expected


def test_groups_are_drawn_whole():
    weights = resample_weights(["a", "b", "a", "c"], draws=50)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    assert weights[:, [0, 1, 3]].sum(1).tolist() == [3] * 50


def test_confidence_one_is_counted_in_the_last_bin():
    log_p = np.log([[1.0, 1e-30], [1.0, 1e-30], [1e-30, 1.0]])
    table = reliability(log_p, np.array([0, 1, 1]))
    assert table.count.tolist() == [0] * (BINS - 1) + [3]
    assert table.accuracy[-1] == pytest.approx(2 / 3) and table.confidence[-1] == 1
    assert table.ece == pytest.approx(1 / 3)
    assert np.isnan(table.accuracy[:-1]).all()


def test_a_confidence_on_an_edge_belongs_to_the_bin_above():
    p = 12 / 15  # exactly an edge, as linspace has it
    table = reliability(np.log([[np.linspace(0, 1, 16)[12], 1 - p]]), np.array([0]))
    assert table.count.argmax() == 12 and len(table.edges) == BINS + 1


def test_reliability_and_figures_agree(rng):
    log_p, labels = random_predictions(rng)
    assert reliability(log_p, labels).ece == pytest.approx(figures(log_p, labels)["ece"].value)


def test_perfect_predictions():
    labels = np.array([0, 1, 2])
    found = figures(np.where(np.eye(3) > 0, 0.0, -800.0), labels)
    assert {name: one.value for name, one in found.items()} == {"accuracy": 1, "nll": 0, "brier": 0, "ece": 0}


def test_differences_and_means_are_paired(rng):
    log_p, labels = random_predictions(rng)
    one, other = figures(log_p, labels)["nll"], figures(log_p[:, ::-1], labels)["nll"]
    gap = one - other
    assert gap.value == pytest.approx(one.value - other.value)
    assert (one - one).interval == (0, 0)
    assert mean([one, other]).value == pytest.approx((one.value + other.value) / 2)
    np.testing.assert_allclose(mean([one, other]).resamples, (one.resamples + other.resamples) / 2)


def test_videos_average_log_probabilities(rng):
    log_p = np.stack([random_predictions(rng, n=6)[0] for _ in range(3)], 1)
    found = video_log_probabilities(log_p)
    product = np.exp(log_p).prod(1) ** (1 / 3)
    np.testing.assert_allclose(np.exp(found), product / product.sum(-1, keepdims=True))
    np.testing.assert_allclose(video_log_probabilities(log_p[:, :1]), log_p[:, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("log_p", "labels", "message"),
    [
        (np.log([[0.5, 0.5]]), [2], "labels must be class indices 0..1"),
        (np.log([[0.5, 0.5]]), [0.5], "labels must be class indices"),
        (np.log([[0.5, 0.5]]), [0, 1], r"labels \[n\]"),
        (np.empty((0, 3)), np.empty(0, int), "n >= 1"),
        ([[2.0, 1.0]], [0], "log_softmax"),
    ],
)
def test_errors(log_p, labels, message):
    with pytest.raises(InputError, match=message):
        figures(log_p, np.asarray(labels))
    with pytest.raises(InputError, match=message):
        reliability(log_p, np.asarray(labels))


def test_videos_need_frames():
    with pytest.raises(InputError, match="t >= 1"):
        video_log_probabilities(np.zeros((2, 3)))
