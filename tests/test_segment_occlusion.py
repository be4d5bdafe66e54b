"""Occlusion by segments, pairs and channels against slow loops, and the incremental engine against full passes."""

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import saliency
from saliency import InputError, Score, Windows
from saliency.maps.segment_occlusion import channel_occlusion, segment_interactions, segment_occlusion
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.occlusion import Execution, fill_images, occlusion_maps
from saliency.occlusion.sets import HiddenSets, atoms, filled_up, frame_sizes, scores_of_sets, sets_plan
from tests import small_networks

SIZE = (11, 8)


def score(images):
    images = np.asarray(images, float)
    return np.sin(images / 60).sum((1, 2, 3)) + images[:, 2, 3].prod(1) * 1e-5


@pytest.fixture
def x(rng) -> np.ndarray:
    return rng.uniform(0, 255, size=(2, *SIZE, 3)).astype(np.float32)


@pytest.fixture
def labels(rng) -> np.ndarray:
    """Scattered pixels: no segment is connected, and all of them touch the border."""
    return rng.integers(0, 5, size=SIZE)


def loop(image, fill, hidden):
    """An image with some pixels filled, one by one."""
    image = image.copy()
    for row, col in zip(*np.nonzero(hidden)):
        image[row, col] = fill[row, col]
    return image


def test_drops_equal_a_loop(x, labels):
    fills = fill_images(x, "blur", None)
    each = np.stack([labels, labels.max() - labels])
    found = segment_occlusion(score, x, each, fill="blur")
    for image, fill, own, segments, drops, map_ in zip(x, fills, each, found.segments, found.drops, found.maps):
        assert_array_equal(segments, own)
        slow = [score(image[None])[0] - score(loop(image, fill, own == k)[None])[0] for k in range(5)]
        assert_allclose(drops, slow, rtol=1e-4, atol=1e-4)
        for row in range(SIZE[0]):
            for col in range(SIZE[1]):
                assert map_[row, col] == drops[own[row, col]]


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_number_of_channels(rng, channels):
    x = rng.uniform(0, 255, size=(1, 4, 6, channels))
    found = segment_occlusion(lambda i: i.sum((1, 2, 3)), x, "grid", segments=6, fill=0)
    assert found.segments[0].max() == 5 and found.maps.shape == (1, 4, 6)
    assert_allclose(found.drops[0].sum(), x.sum(), rtol=1e-5)  # an additive score


def test_segments_are_numbered_anew_in_their_order(x, labels):
    plain = segment_occlusion(score, x, labels)
    gaps = segment_occlusion(score, x, labels * 7 - 12)
    assert_array_equal(gaps.maps, plain.maps)
    assert_array_equal(gaps.segments[0], labels)


def sets_of(rng, size, kinds=7):
    """Segments of every kind: scattered, blobs, lines, at borders and corners; hidden alone and two at a time."""
    rows, cols = np.indices(size)
    labels = rng.integers(0, 2, size)
    for k, (row, col, reach) in enumerate(rng.integers(0, 1 + np.array([*size, min(size) // 3]), (kinds - 2, 3))):
        labels[(rows - row) ** 2 + (cols - col) ** 2 <= reach**2 + 1] = k + 2
    labels[0, 0], labels[-1, -1] = kinds, kinds  # one in two corners
    labels = np.unique(labels, return_inverse=True)[1].reshape(size)
    count = labels.max() + 1
    alone = [np.array([k]) for k in range(count)]
    return HiddenSets(labels, filled_up([*alone, np.array([0, count - 1]), np.array([1, 2, 3])]))


LARGE = ("squeezenet1_1", "resnet18", "efficientnet_lite0", "densenet121")


@pytest.fixture
def few_frames(monkeypatch):
    """Less to compile: what is checked is the same."""
    monkeypatch.setattr("saliency.occlusion.sets.FRAMES", (0.25, 0.6, 1))


@pytest.mark.parametrize(
    ("name", "fill"),
    [("scenes_cnn", "grey"), *(pytest.param(name, "noise", marks=pytest.mark.slow) for name in LARGE)],
)
def test_the_incremental_engine_computes_what_full_passes_do(name, fill, rng, few_frames):
    with jax.enable_x64(True):
        architecture = small_networks.SMALL[name]()
        net = random_network(architecture, 1, np.float64)
        x = rng.normal(size=(1, *architecture.size, 3))
        fills = fill_images(x, fill, net.preprocess)
        sets = [sets_of(rng, architecture.size)]
        found = {}
        for engine in ("dense", "incremental"):
            done = []
            (found[engine],), ran = scores_of_sets(
                net, x, fills, sets, score=Score(), targets=np.array([1], np.int32),
                execution=Execution(engine, chunk=3), step=done.append,
            )  # fmt: skip
            assert ran == engine and sum(done) == len(sets[0].members)
        hidden = [loop(x[0], fills[0], np.isin(sets[0].labels, row[row >= 0])) for row in sets[0].members]
        slow = np.asarray(net(np.stack(hidden)))[:, 1]
    assert np.ptp(slow) > 1e-4
    assert_allclose(found["dense"], slow, atol=1e-9)
    assert_allclose(found["incremental"], slow, atol=1e-9)


@pytest.mark.parametrize("kind", ["log_probability", "gestalt", "contrast:2"])
def test_every_score_by_both_engines(kind, rng, few_frames):
    net = random_network(scenes_cnn(((4,), (6,)), size=(15, 22)), 1)
    x = rng.normal(size=(2, 15, 22, 3)).astype(np.float32)
    mask = rng.integers(0, 4, (15, 22))
    mask[:5, :7] += 4
    both = [
        segment_occlusion(net, x, mask, score=kind, target=1, execution=Execution(engine))
        for engine in ("dense", "incremental")
    ]
    assert [one.engine for one in both] == ["dense", "incremental"]
    assert_allclose(both[0].base, both[1].base)
    for dense, incremental in zip(both[0].drops, both[1].drops):
        assert_allclose(incremental, dense, atol=2e-5 * np.abs(dense).max() + 1e-6)


def test_another_images_segments_compile_nothing_anew(rng, few_frames):
    from saliency.occlusion.incremental import class_scores

    net = random_network(scenes_cnn(((4,), (6,)), size=(31, 24)), 1)
    x = rng.normal(size=(1, 31, 24, 3)).astype(np.float32)

    def run(shift: int) -> None:
        mask = (np.indices((31, 24)) + shift)[0] // 3 * 9 + (np.indices((31, 24))[1] + shift) // 3
        segment_occlusion(net, x, mask, target=1, execution=Execution("incremental"))

    run(0)
    before = class_scores.jitted._cache_size()
    run(1)
    assert class_scores.jitted._cache_size() == before


def test_frames_hold_what_they_must(rng):
    sets = sets_of(rng, (31, 24))
    plan = sets_plan(scenes_cnn(((4,), (6,)), size=(31, 24)), sets, Score())
    first, past = sets.bounds
    assert sorted(np.concatenate([group.positions for group in plan.groups])) == list(range(len(sets.members)))
    for group in plan.groups:
        at, size = group.starts["window"], group.layout.region[plan.architecture.nodes[0].name]
        assert size in frame_sizes((31, 24))
        assert (at <= first[group.positions]).all() and (at + size >= past[group.positions]).all()
        assert (at >= 0).all() and (at + size <= (31, 24)).all()
    for row, low, high in zip(sets.members, first, past):
        rows, cols = np.nonzero(np.isin(sets.labels, row[row >= 0]))
        assert [rows.min(), cols.min()] == low.tolist() and [rows.max() + 1, cols.max() + 1] == high.tolist()


def test_pairs_equal_a_loop(x, labels):
    fills = fill_images(x, 30, None)
    found = segment_interactions(score, x, labels, fill=30)
    for image, fill, pairs in zip(x, fills, found.pairs):
        own = lambda hidden, image=image, fill=fill: score(loop(image, fill, hidden)[None])[0]  # noqa: E731
        for i in range(5):
            for j in range(5):
                parts = own(labels == i), own(labels == j), own((labels == i) | (labels == j))
                expected = own(labels < 0) - parts[0] - parts[1] + parts[2]
                assert_allclose(pairs[i, j], expected, rtol=1e-3, atol=1e-3)


def test_what_pairs_mean():
    """Both needed: above 0. Either enough: below. Added up: 0, and the diagonal holds the single drops."""
    x, halves = np.ones((1, 2, 2, 1)), np.array([[0, 1], [0, 1]])
    left, right = (lambda i: i[:, 0, 0, 0]), (lambda i: i[:, 0, 1, 0])
    for combined, expected in (
        (lambda i: left(i) * right(i), [[1, 1], [1, 1]]),
        (lambda i: np.maximum(left(i), right(i)), [[0, -1], [-1, 0]]),
        (lambda i: left(i) + 2 * right(i), [[1, 0], [0, 2]]),
    ):
        assert segment_interactions(combined, x, halves, fill=0).pairs[0].tolist() == expected


def test_pairs_of_windows_that_overlap_by_both_engines(rng, few_frames):
    net = random_network(scenes_cnn(((4,), (6,)), size=(15, 22)), 1)
    x = rng.normal(size=(1, 15, 22, 3)).astype(np.float32)
    windows = Windows((15, 22), patch=(6, 9), stride=(5, 7))  # the last ones are cut off at the border
    dense, incremental = (
        segment_interactions(net, x, windows, target=1, execution=Execution(engine)).pairs[0]
        for engine in ("dense", "incremental")
    )
    assert dense.shape == (len(windows.positions),) * 2
    assert_allclose(incremental, dense, atol=2e-5)
    alone = occlusion_maps(net, x, windows, target=1).drops.ravel()
    assert_allclose(np.diag(dense), alone, atol=2e-5)


def test_atoms_make_up_their_masks(rng):
    masks = rng.random((4, 5, 7)) < 0.4
    labels, members = atoms(masks)
    for mask, row in zip(masks, members):
        assert_array_equal(np.isin(labels, np.flatnonzero(~masks.any(0).ravel())) if not len(row) else
                           np.isin(labels, row[row >= 0]), mask)  # fmt: skip


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_equal_a_loop(rng, channels):
    x = rng.uniform(0, 255, size=(2, *SIZE, channels)).astype(np.float32)
    windows = Windows(SIZE, (4, 3), (3, 3))
    own = lambda images: np.sin(np.asarray(images, float) / 60).sum((1, 2)).prod(-1)  # noqa: E731
    found = channel_occlusion(own, x, windows, fill="mean")
    assert found.shape == x.shape
    for image, fill, map_ in zip(x, fill_images(x, "mean", None), found):
        for channel in range(channels):
            total, count = np.zeros(SIZE), np.zeros(SIZE)
            for row, col in windows.positions:
                hidden = image.copy()
                here = np.s_[row : row + 4, col : col + 3]
                hidden[(*here, channel)] = fill[(*here, channel)]
                total[here] += own(image[None])[0] - own(hidden[None])[0]
                count[here] += 1
            assert_allclose(map_[..., channel], total / count, rtol=1e-3, atol=1e-3)


def test_one_segment_and_a_constant_image(x):
    found = segment_occlusion(score, x, np.zeros(SIZE, int), fill=0)
    assert_allclose(found.maps[:, 0, 0], score(x) - score(x * 0), rtol=1e-4)
    constant = segment_occlusion(score, np.full((1, *SIZE, 3), 9.0), "grid", segments=4, fill=9)
    assert (constant.maps == 0).all()
    assert segment_interactions(score, x, np.zeros(SIZE, int), fill=0).pairs[0].shape == (1, 1)
    none = segment_occlusion(score, np.empty((0, *SIZE, 3)))
    assert none.maps.shape == (0, *SIZE) and none.drops == []


def test_a_column_of_a_black_box(x):
    every = lambda images: np.stack([score(images), -score(images)], 1)  # noqa: E731
    plain = segment_occlusion(score, x, "grid", segments=6)
    assert_array_equal(segment_occlusion(every, x, "grid", segments=6, target=1).maps, -plain.maps)
    with pytest.raises(InputError, match="say by target which is the score"):
        segment_occlusion(every, x)


def test_progress(x):
    for method, total in ((segment_occlusion, 2 * 5), (segment_interactions, 2 * 15)):
        told = []
        method(score, x, np.arange(88).reshape(SIZE) % 5, progress=lambda *one, told=told: told.append(one))
        assert told[-1] == (total, total)
    told = []
    channel_occlusion(score, x, Windows(SIZE, 4, 4), progress=lambda *one: told.append(one))
    assert told[-1] == (3 * 2 * 6, 3 * 2 * 6)


@pytest.mark.parametrize(
    ("segmentation", "says"),
    [
        ("squares", "segmentation must be one of slic, felzenszwalb, grid"),
        (np.zeros((8, 11), int), r"segmentation must be \[11, 8\] or \[2, 11, 8\].*not \[8, 11\]"),
        (np.zeros(SIZE), r"segmentation must be .* whole numbers \[h, w\]"),
        (np.full(SIZE, np.nan), "segmentation must be"),
        (7, "segmentation must be"),
        (None, "segmentation must be"),
    ],
)
def test_bad_segments_are_refused(x, segmentation, says):
    with pytest.raises(InputError, match=says):
        segment_occlusion(score, x, segmentation)


def test_bad_input_is_refused(x):
    with pytest.raises(InputError, match="NaN"):
        segment_occlusion(score, x * np.nan)
    with pytest.raises(InputError, match="segments must be a whole number of at least 1, not 0"):
        segment_occlusion(score, x, segments=0)
    with pytest.raises(InputError, match="the incremental engine needs a network"):
        segment_occlusion(score, x, execution=Execution("incremental"))
    with pytest.raises(InputError, match="windows that fade out"):
        segment_interactions(score, x, Windows(SIZE, 4, 4, "gaussian"))
    with pytest.raises(InputError, match=r"windows are of images \[9, 8\]"):
        segment_interactions(score, x, Windows((9, 8), 4, 4))
    with pytest.raises(InputError, match="windows must be a Windows"):
        channel_occlusion(score, x, 4)


def test_superpixels_of_each_image(rng):
    pytest.importorskip("skimage")
    net = saliency.load_network("scenes_cnn")
    photos = np.zeros((1, 96, 96, 3), np.uint8)
    photos[0, 20:60, 30:70] = rng.integers(150, 255, (40, 40, 3))
    found = segment_occlusion(net, net.preprocess(photos), "slic", segments=20, target=3)
    assert 5 <= len(found.drops[0]) <= 40
    assert len(np.unique(found.segments[0])) == len(found.drops[0])
