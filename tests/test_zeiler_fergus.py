"""The analysis after Zeiler & Fergus: each figure against its formula, written out by hand."""

from itertools import combinations, product

import numpy as np
import pytest
from scipy.stats import spearmanr

from saliency.errors import InputError
from saliency.models.graph import Architecture, Builder
from saliency.models.network import Network
from saliency.models.operators import Conv, Dense, Flatten, Relu
from saliency.models.preprocessing import Preprocessing
from saliency.models.weights import ARCHITECTURES, random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.occlusion import Execution, Windows, fill_images, occluded_logits
from saliency.zeiler_fergus import (
    correspondence,
    feature_layers,
    interactions,
    probabilities,
    rank_correlations,
    ranked,
    region_table,
    separate,
    sign_change,
    sweep,
)
from saliency.zeiler_fergus.regions import hidden

SIZE = (7, 9)
PIXELS = Preprocessing(SIZE, mode="stretch", scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def linear(rng: np.random.Generator, classes: int = 4) -> tuple[Network, np.ndarray]:
    """A classifier whose logits are sums of weighted pixels; the weights are `[h, w, 3, classes]`."""
    build = Builder()
    build.add("flatten", Flatten())
    build.add("logits", Dense(classes))
    weights = rng.normal(size=(*SIZE, 3, classes)).astype(np.float32) * 0.02
    parameters = {"logits": {"kernel": weights.reshape(-1, classes), "bias": np.zeros(classes, np.float32)}}
    return Network(Architecture("linear", tuple(build.nodes), "flatten", SIZE), parameters, PIXELS), weights


def convolutional() -> Network:
    return random_network(scenes_cnn(((4,), (5,), (6,)), size=(18, 22)))


def test_probability_table_of_a_linear_classifier_by_hand(rng):
    net, weights = linear(rng)
    image = rng.uniform(0, 255, (*SIZE, 3)).astype(np.float32)
    sizes = [Windows(SIZE, (3, 2), (2, 2)), Windows(SIZE, (4, 5), (3, 2))]
    for windows, one in zip(sizes, sweep(net, image, 2, sizes, fill=(10.0, 200.0, 30.0)), strict=True):
        grid = [
            (y, x)
            for y in range(0, SIZE[0] - windows.patch[0] + windows.stride[0], windows.stride[0])
            for x in range(0, SIZE[1] - windows.patch[1] + windows.stride[1], windows.stride[1])
        ]
        assert one.probability.size == len(grid)
        for index, (y, x) in enumerate(grid):
            masked = image.copy()
            masked[y : y + windows.patch[0], x : x + windows.patch[1]] = (10, 200, 30)
            e = np.exp(np.einsum("hwc,hwck->k", masked, weights, dtype=float))
            assert one.probability.flat[index] == pytest.approx(e[2] / e.sum(), rel=1e-4)
            assert one.confidence.flat[index] == pytest.approx(e.max() / e.sum(), rel=1e-4)
            assert one.top.flat[index] == e.argmax()
            x0, y0, x1, y1 = one.box(index)
            assert [x0, y0, x1, y1] == [x, y, min(x + windows.patch[1], SIZE[1]), min(y + windows.patch[0], SIZE[0])]
        e = np.exp(np.einsum("hwc,hwck->k", image, weights, dtype=float))
        assert one.base == pytest.approx(e[2] / e.sum(), rel=1e-4)
        np.testing.assert_allclose(one.drop, one.base - one.probability)


def test_averages_of_a_sweep(rng):
    net, _ = linear(rng)
    image = rng.uniform(0, 255, (*SIZE, 3)).astype(np.float32)
    target = int(probabilities(net, image[None])[0].argmax())
    (one,) = sweep(net, image, target, [Windows(SIZE, (3, 3), (1, 2))], fill="noise", seed=5)
    values = one.probability.ravel().tolist()
    assert one.mean == pytest.approx(sum(values) / len(values))
    assert one.spread**2 == pytest.approx(sum((v - one.mean) ** 2 for v in values) / len(values))
    assert values[one.worst] == min(values)
    assert one.predicted_share == sum(top == target for top in one.top.ravel()) / len(values)
    assert 0 < one.predicted_share < 1


def test_drop_map_is_the_mean_over_the_windows_that_hide_a_pixel(rng):
    net, _ = linear(rng)
    image = rng.uniform(0, 255, (*SIZE, 3)).astype(np.float32)
    (one,) = sweep(net, image, 1, [Windows(SIZE, (4, 3), (2, 3))])
    total, hits = np.zeros(SIZE), np.zeros(SIZE)
    for index, drop in enumerate(one.drop.ravel()):
        x0, y0, x1, y1 = one.box(index)
        total[y0:y1, x0:x1] += drop
        hits[y0:y1, x0:x1] += 1
    np.testing.assert_allclose(one.drop_map, total / hits, atol=1e-6)


def test_sizes_together_give_what_each_gives_alone(rng):
    net = convolutional()
    image = rng.normal(size=(18, 22, 3)).astype(np.float32)
    sizes = [Windows((18, 22), side, (3, 4)) for side in ((5, 4), (9, 11))]
    for windows, one in zip(sizes, sweep(net, image, 3, sizes)):
        (alone,) = sweep(net, image, 3, [windows])
        np.testing.assert_allclose(one.probability, alone.probability, atol=1e-6)


def test_progress_counts_every_position(rng):
    net, _ = linear(rng)
    seen = []
    sizes = [Windows(SIZE, (3, 3), (1, 1)), Windows(SIZE, (4, 4), (2, 2))]
    sweep(net, np.zeros((*SIZE, 3), np.float32), 0, sizes, progress=lambda done, total: seen.append((done, total)))
    total = sum(len(windows.positions) for windows in sizes)
    assert seen[-1] == (total, total) and seen == sorted(seen)


def test_ranked_breaks_ties_by_index():
    np.testing.assert_array_equal(ranked(np.array([0.1, 0.4, 0.1, 0.4]), 3), [1, 3, 0])


def test_rank_correlations_are_spearmans(rng):
    maps = np.stack([rng.normal(size=(5, 6)), rng.integers(0, 4, (5, 6)), np.ones((5, 6))]).astype(float)
    maps = np.concatenate([maps, np.exp(maps[:1])])
    got = rank_correlations(maps)
    assert got[0, 1] == pytest.approx(spearmanr(maps[0].ravel(), maps[1].ravel()).statistic)
    assert got[0, 3] == pytest.approx(1)
    assert np.isnan(got[2]).all() and np.isnan(got[:, 2]).all()


def test_separate_windows_are_the_best_that_do_not_overlap(rng):
    windows = Windows((20, 26), (5, 7), (2, 3))
    drop = rng.normal(size=windows.grid)
    chosen = separate(drop, windows, 4)
    expected: list[int] = []
    for index in sorted(range(drop.size), key=lambda i: -drop.flat[i]):
        y, x = windows.positions[index]
        if all(abs(y - windows.positions[k][0]) >= 5 or abs(x - windows.positions[k][1]) >= 7 for k in expected):
            expected.append(index)
    assert chosen.tolist() == expected[:4]
    assert separate(drop, windows, 1000).tolist() == expected
    assert separate(drop, windows, 0).size == 0


def test_interaction_of_an_additive_score_is_exactly_zero(rng):
    weights = rng.integers(-5, 6, (8, 10, 3))
    image, fill = (rng.integers(0, 256, (8, 10, 3)).astype(np.float32) for _ in range(2))
    boxes = np.array([[0, 0, 3, 2], [4, 1, 7, 6], [7, 5, 10, 8]])
    matrix = interactions(lambda x: np.einsum("nhwc,hwc->n", x, weights), image, fill, boxes)
    np.testing.assert_array_equal(matrix, np.diag(np.diag(matrix)))
    single = [(weights[y0:y1, x0:x1] * (image - fill)[y0:y1, x0:x1]).sum() for x0, y0, x1, y1 in boxes]
    np.testing.assert_array_equal(np.diag(matrix), single)


def test_interaction_of_parts_that_stand_in_for_each_other_and_of_parts_that_need_each_other():
    boxes = np.array([[0, 0, 2, 2], [3, 0, 5, 2], [0, 3, 2, 5]])
    image, fill = np.ones((5, 5, 3), np.float32), np.zeros((5, 5, 3), np.float32)

    def parts(x):
        return x[:, :2, :2].mean((1, 2, 3)), x[:, :2, 3:].mean((1, 2, 3))

    either = interactions(lambda x: np.maximum(*parts(x)), image, fill, boxes)
    np.testing.assert_array_equal(either, [[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    both = interactions(lambda x: np.minimum(*parts(x)), image, fill, boxes)
    np.testing.assert_array_equal(both, [[1, -1, 0], [-1, 1, 0], [0, 0, 0]])


def test_sign_change_is_the_share_of_signs_that_differ():
    assert sign_change(np.array([1.0, -2, 0, 3]), np.array([2.0, 2, 0, 0])) == 0.5


def test_correspondence_is_the_mean_hamming_distance_over_pairs():
    signs = np.array([[1, 0, -1, 1], [1, 1, -1, 1], [-1, 0, 0, 1]], np.int8)
    by_hand = [sum(a != b for a, b in zip(signs[i], signs[j])) / 4 for i, j in ((0, 1), (0, 2), (1, 2))]
    assert correspondence(signs) == pytest.approx(sum(by_hand) / 3)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_feature_layers_of_every_network(name):
    expected = {
        "alexnet": ("relu5", "relu7"),
        "alexnet_2012": ("relu5", "relu7"),
        "scenes_cnn": ("relu3_2", "relu4_2"),
        "squeezenet1_1": ("fire6", "fire8"),
        "vgg16": ("relu4_3", "relu6"),
    }
    first, second = feature_layers(ARCHITECTURES[name]())
    assert first != second
    assert expected.get(name, (first, second)) == (first, second)


def test_a_network_without_inner_features_has_no_feature_layers(rng):
    with pytest.raises(InputError, match="no inner features"):
        feature_layers(linear(rng)[0].architecture)


REGIONS = {
    "eye": {"a": [2, 3, 7, 8], "b": [10, 1, 16, 6], "c": [5, 5, 9, 11]},
    "tail": {"b": [12, 9, 20, 17]},
}


@pytest.fixture(scope="module")
def table():
    net, rng = convolutional(), np.random.default_rng(3)
    images = {name: rng.normal(size=(18, 22, 3)).astype(np.float32) for name in "abc"}
    fills = {name: fill_images(image[None], "grey", net.preprocess)[0] for name, image in images.items()}
    rows = region_table(net, images, fills, REGIONS, ("conv2_1", "relu3_1"), draws=5, seed=1)
    return net, images, fills, rows


def test_both_measures_by_a_direct_transcription(table):
    net, images, fills, rows = table
    assert [(row.region, row.layer) for row in rows] == list(product(REGIONS, ("conv2_1", "relu3_1")))
    for row in rows:
        changed, directions = [], []
        for photo, (x0, y0, x1, y1) in REGIONS[row.region].items():
            masked = images[photo].copy()
            masked[y0:y1, x0:x1] = fills[photo][y0:y1, x0:x1]
            whole, part = (np.asarray(net.upto(x[None], row.layer)).ravel() for x in (images[photo], masked))
            changed.append(np.mean([np.sign(a) != np.sign(b) for a, b in zip(whole, part)]))
            e = whole - part
            directions.append(np.where(np.abs(e) > 1e-5 * np.abs(whole).max(), np.sign(e), 0))
        assert row.sign_change.value == pytest.approx(np.mean(changed), abs=1e-6)
        if len(directions) == 1:
            assert row.correspondence is None
            continue
        total = sum(np.mean(directions[i] != directions[j]) for i, j in combinations(range(len(directions)), 2))
        assert row.correspondence.value == pytest.approx(total / 3, abs=1e-6)


def test_draws_have_a_spread_and_p_values_their_range(table):
    for row in table[-1]:
        for measure in (row.sign_change, row.correspondence):
            if measure:
                assert measure.deviation > 0 and measure.random_deviation > 0
                assert 0 < measure.p <= 1


def test_p_value_of_one_photo_is_the_rank_among_random_boxes(table):
    """With one photo the swaps draw from one pool: the box itself and five random ones."""
    for row in table[-1][2:]:
        share = row.sign_change.p * 6
        assert share == pytest.approx(round(share), abs=0.15) and round(share) >= 1


def test_a_box_that_matters_has_a_small_p_value(rng):
    """Only one corner reaches the features: no random box changes as many signs as the one that hides it."""
    build = Builder()
    build.conv_relu("conv", "relu", Conv(3, (4, 4)))
    build.add("flatten", Flatten())
    build.add("logits", Dense(2))
    architecture = Architecture("corner", tuple(build.nodes), "relu", (24, 24))
    net = random_network(architecture)
    image = np.zeros((24, 24, 3), np.float32)
    image[:6, :6] = rng.normal(size=(6, 6, 3))
    fill = np.zeros_like(image)
    regions = {"corner": {"one": [0, 0, 6, 6]}, "empty": {"one": [15, 15, 21, 21]}}
    corner, empty = region_table(net, {"one": image}, {"one": fill}, regions, ("relu",), draws=30)
    assert corner.sign_change.value > 0 and empty.sign_change.value == 0
    assert corner.sign_change.p < 0.1 and empty.sign_change.p == 1
    assert isinstance(net.layers["relu"], Relu)


def test_regions_draw_the_same_whichever_others_are_asked_for(table):
    net, images, fills, rows = table
    alone = region_table(net, images, fills, {"tail": REGIONS["tail"]}, ("conv2_1", "relu3_1"), draws=5, seed=1)
    assert alone == rows[2:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"regions": {"eye": {"a": [2, 3, 23, 8]}}}, r"'eye' of a .* 22x18"),
        ({"regions": {"eye": {"a": [7, 3, 7, 8]}}}, "'eye' of a"),
        ({"layers": ("conv9",)}, "no layer 'conv9'"),
        ({"draws": 1}, "draws must be at least 2"),
    ],
)
def test_region_errors(table, change, message):
    net, images, fills, _ = table
    arguments = {"regions": REGIONS, "layers": ("conv2_1",), "draws": 5, **change}
    with pytest.raises(InputError, match=message):
        region_table(net, images, fills, **arguments)


def test_hidden_fills_boxes_and_leaves_the_image_alone(rng):
    image, fill = rng.normal(size=(2, 6, 8, 3))
    before = image.copy()
    got = hidden(image, fill, np.array([[1, 2, 4, 5], [6, 0, 8, 1]]))
    inside = np.zeros((6, 8), bool)
    inside[2:5, 1:4] = inside[0, 6:] = True
    np.testing.assert_array_equal(got, np.where(inside[..., None], fill, image))
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("shape", ["rectangle", "disc"])
def test_both_engines_give_every_logit(rng, shape):
    net = convolutional()
    image = rng.normal(size=(18, 22, 3)).astype(np.float32)
    sizes = [Windows((18, 22), side, (3, 4), shape) for side in ((5, 4), (6, 7))]
    fast, slow = (
        occluded_logits(net, image, sizes, fill="noise", execution=Execution(engine))
        for engine in ("incremental", "dense")
    )
    for windows, one, other in zip(sizes, fast, slow, strict=True):
        assert one.shape == (*windows.grid, 10)
        np.testing.assert_allclose(one, other, atol=1e-4)
    with pytest.raises(InputError, match="engine must be one of"):
        occluded_logits(net, image, sizes, execution=Execution("quick"))
