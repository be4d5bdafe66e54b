import numpy as np
import pytest

from localization.statistics import bootstrap, mcnemar_exact, paired_difference, wilson
from saliency.errors import InputError


def slow_bootstrap(values, clusters, classes, draws=2000, seed=1):
    """Whole clusters drawn one by one, the mean taken from the samples themselves."""
    rng, means = np.random.default_rng(seed), []
    names = np.unique(clusters)
    members = {name: np.flatnonzero(clusters == name) for name in names}
    for _ in range(draws):
        drawn = np.concatenate([members[name] for name in rng.choice(names, len(names))])
        means.append(np.mean([values[drawn][classes[drawn] == c].mean() for c in np.unique(classes[drawn])]))
    return np.quantile(means, [0.025, 0.975])


@pytest.mark.parametrize("binary", [True, False])
def test_bootstrap_against_drawing_one_by_one(rng, binary):
    n = 240
    clusters, classes = rng.integers(0, 80, n), rng.integers(0, 4, n)
    values = rng.random(n) < 0.3 + 0.1 * classes if binary else rng.random(n)
    ours = bootstrap(values, clusters=clusters, classes=classes)
    assert ours.value == pytest.approx(np.mean([values[classes == c].mean() for c in range(4)]))
    assert [ours.low, ours.high] == pytest.approx(slow_bootstrap(values, clusters, classes), abs=0.012)


def test_bootstrap_of_a_share_has_the_binomials_width():
    half = bootstrap(np.arange(1000) % 2)
    assert half.value == 0.5
    assert (half.high - half.low) / 2 == pytest.approx(1.96 * 0.5 / np.sqrt(1000), abs=0.002)  # 3.1 points


def test_objects_of_one_image_are_drawn_together(rng):
    values = np.repeat(rng.random(200) < 0.5, 5)
    together = bootstrap(values, clusters=np.repeat(np.arange(200), 5))
    apart = bootstrap(values)
    assert together.value == apart.value
    assert (together.high - together.low) / (apart.high - apart.low) == pytest.approx(np.sqrt(5), rel=0.1)


def test_same_seed_same_interval(rng):
    values = rng.random(50)
    assert bootstrap(values, seed=3) == bootstrap(values, seed=3) != bootstrap(values, seed=4)


def test_labels_may_be_text():
    assert bootstrap([1, 0, 0], classes=["cat", "dog", "dog"]).value == 0.5


def test_paired_difference_is_tighter_than_two_intervals(rng):
    first = rng.random(500) < 0.5
    second = np.where(rng.random(500) < 0.05, ~first, first)
    paired = paired_difference(first, second)
    assert paired.value == pytest.approx(first.mean() - second.mean())
    assert paired.high - paired.low < 0.5 * (bootstrap(first).high - bootstrap(first).low)


def test_nothing_has_no_mean():
    assert np.isnan(bootstrap([]).value) and bootstrap([]).n == 0
    assert np.isnan(wilson(0, 0).value)


def test_wilson():
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662; 0 of 20 gives 0 to 0.1611
    estimate = wilson(81, 263)
    assert (estimate.low, estimate.high) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))
    assert wilson(0, 20).low == 0 and wilson(0, 20).high == pytest.approx(0.1611, abs=5e-5)
    assert str(wilson(1, 2))[:5] == "50.0%" and float(wilson(1, 2)) == 0.5


def test_mcnemar_by_hand():
    first = np.array([1] * 9 + [0] * 1 + [1] * 20 + [0] * 5, bool)
    second = np.array([0] * 9 + [1] * 1 + [1] * 20 + [0] * 5, bool)
    test = mcnemar_exact(first, second)
    # 10 discordant pairs, as uneven as 9:1 or more: 2 * (C(10,0) + C(10,1)) / 2^10
    assert (test.only_first, test.only_second, test.p) == (9, 1, pytest.approx(22 / 1024))
    assert mcnemar_exact(first, first).p == 1


def test_errors():
    with pytest.raises(InputError, match="classes must name one for each of the 3"):
        bootstrap([1, 2, 3], classes=[0, 1])
    with pytest.raises(InputError, match="same samples"):
        paired_difference([1, 2], [1])
    with pytest.raises(InputError, match="same samples"):
        mcnemar_exact([True], [True, False])
    with pytest.raises(InputError, match="hits must lie in"):
        wilson(3, 2)
