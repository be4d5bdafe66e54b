import numpy as np
import pytest

from localization.boxes import to_inclusive
from localization.maxboxacc import box_accuracy, component_boxes
from saliency.errors import InputError
from tests.oracles.maxboxacc import hit

FIFTHS = np.arange(0, 1, 0.2)


def random_cases(rng, n, size=(7, 11)):
    for _ in range(n):
        count = rng.integers(1, 3)
        x, y = (np.sort(rng.integers(0, side + 1, (count, 2))) for side in size[::-1])
        yield rng.random(size).round(1), np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], 1).astype(float)


@pytest.mark.parametrize("v2", [False, True])
def test_against_a_slow_transcription(rng, v2):
    cases = list(random_cases(rng, 12))
    ours = box_accuracy(cases, v2=v2, thresholds=FIFTHS)
    for i, (map, true) in enumerate(cases):
        for t, threshold in enumerate(FIFTHS):
            for d, level in enumerate((0.3, 0.5, 0.7) if v2 else (0.5,)):
                assert ours.hits[i, t, d] == hit(map, true, threshold, level, every=v2)
    best = ours.hits.mean(0).max(0).mean()  # each level's own best threshold
    assert ours.oracle().value == pytest.approx(best)


def test_the_oracle_is_never_below_the_transferred_threshold(rng):
    one, other = (box_accuracy(random_cases(rng, 20), thresholds=FIFTHS) for _ in range(2))
    chosen = other.hits.mean(0).argmax(0)[0]
    assert one.transferred(other).value == pytest.approx(one.hits[:, chosen, 0].mean())
    assert one.oracle().value >= one.transferred(other).value


@pytest.mark.parametrize(
    ("map", "boxes"),
    [  # the examples of wsolevaluation's own tests, in its inclusive corners
        ([[0, 0, 0]] * 3, [[0, 0, 0, 0]] * 5),
        (
            [[0, 0, 0, 0, 0], [0, 0.4, 0.4, 0.4, 0.6], [0, 0.4, 1, 0.8, 0.6], [0, 0.4, 0.4, 0.4, 0.6]],
            [[1, 1, 4, 3], [1, 1, 4, 3], [2, 1, 4, 3], [2, 2, 4, 3], [2, 2, 3, 3]],
        ),
        (
            [[0.4, 0, 0.2, 0.2, 0.2], [0.4, 0.4, 0, 0.4, 0], [0, 0, 0, 0.4, 0], [1, 0.6, 0.8, 0.2, 0.2]],
            [[0, 0, 4, 3], [0, 0, 2, 2], [0, 3, 3, 3], [2, 3, 3, 3], [0, 3, 1, 3]],
        ),
    ],
)
def test_wsolevaluations_published_examples(map, boxes):
    found = component_boxes(np.array(map, float), FIFTHS, compatible=True)
    assert [to_inclusive(box, 0).astype(int).tolist() for box in found] == [[box] for box in boxes]


def test_wsolevaluation_cuts_true_boxes_to_whole_pixels():
    map = np.zeros((10, 35))
    map[1, 3:14] = 1  # 3..13, and one too long: 3..14
    # its test: the box 1 2 4 3 of a photo of 10x20 becomes 3 1 14 1 in a map of 35x10; 3.5 1 14 1.5 uncut
    true = np.array([[1 * 3.5, 2 * 0.5, 4 * 3.5 + 1, 3 * 0.5 + 1]])
    found = component_boxes(map, [0.5], compatible=True)[0]
    assert to_inclusive(found, 0).tolist() == [[3, 1, 14, 2]]
    assert box_accuracy([(map, true)], thresholds=[0.5], compatible=True).hits.tolist() == [[[True]]]  # 12 of 24


def test_a_map_that_is_not_finite_hits_nothing():
    map = np.full((4, 4), np.nan)
    assert not box_accuracy([(map, np.array([[0.0, 0, 4, 4]]))], v2=True).hits.any()


def test_errors():
    with pytest.raises(InputError, match=r"a map must be \[h, w\]"):
        box_accuracy([(np.zeros((2, 2, 3)), np.zeros((1, 4)))])
