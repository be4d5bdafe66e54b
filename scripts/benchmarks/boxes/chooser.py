"""Two questions beside the routes: does a box chosen among many by its predicted IoU win, and what does linearity cost?

Both read coverage maps of samples that were left out of the ridge (`crossed`).
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy import ndimage

from localization.boxes import iou
from localization.heuristics import Heuristic
from localization.regression import cells as ridge
from localization.regression.cells import Cells, channels, covered
from localization.regression.correction import fit_correction
from localization.regression.rectangles import ABSOLUTE, RELATIVE
from scripts.benchmarks.boxes.crossed import crossed, readings
from scripts.benchmarks.boxes.routes import Predict, Samples

THRESHOLDS = (0.3, 0.5, 0.7, 0.85)  # of a coverage map's largest cells: boxes round its components
HEURISTICS = tuple(Heuristic(sigma, share, True) for sigma in (2.0, 4.0) for share in (0.06, 0.15, 0.3))
PENALTIES = (1e-3, 1e-2, 0.1)
PARTS = 5
STEPS, WIDTH, RATE, ROWS = 1500, 64, 1e-3, 2048  # of the small network


def chosen(samples: Samples, maps: Sequence[int] = (), cells: Cells | None = None) -> tuple[Predict, str]:
    """The candidate whose IoU a ridge expects to be largest: soft rectangles, the corrected one, boxes round the
    coverage map's components, and heuristics' boxes of the arrays `maps`, which the ridge of cells reads too."""
    cells = cells or Cells()

    def predict(other: Samples) -> np.ndarray:
        return _chosen(samples, other, maps, cells)[0]

    return predict, f"{len(HEURISTICS) * len(maps)} boxes of heuristics"


def _chosen(train: Samples, test: Samples, maps: Sequence[int], cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    own, others = crossed(train, test, cells)
    soft, other_soft = readings(own), readings(others)
    # the correction by parts, so that a training sample's corrected box is as good as a tested one's
    part = (np.random.default_rng(1).permutation(train.photos.max() + 1) % PARTS)[train.photos]
    corrected = np.empty((len(own), 4))
    for k in range(PARTS):
        corrected[part == k] = fit_correction(soft[part != k], train.boxes[part != k])(soft[part == k])
    other_corrected = fit_correction(soft, train.boxes)(other_soft)
    candidates = _candidates(train, own, soft, corrected, maps)
    other_candidates = _candidates(test, others, other_soft, other_corrected, maps)
    x = [_statistics(m, c, b) for m, c, b in zip(own, candidates, corrected)]
    y = [iou(c, box[None]) for c, box in zip(candidates, train.boxes)]
    errors = []
    for penalty in PENALTIES:
        taken = np.zeros(len(x))
        for k in range(PARTS):
            rest = np.flatnonzero(part != k)
            weights = _ridge([x[i] for i in rest], [y[i] for i in rest], penalty)
            for i in np.flatnonzero(part == k):
                taken[i] = y[i][(x[i] @ weights[1:] + weights[0]).argmax()]
        errors.append(taken.mean() + (taken > 0.5).mean() / 2)
    weights = _ridge(x, y, PENALTIES[int(np.argmax(errors))])
    boxes = [
        c[(_statistics(m, c, b) @ weights[1:] + weights[0]).argmax()]
        for m, c, b in zip(others, other_candidates, other_corrected)
    ]
    return np.array(boxes), other_corrected


def _ridge(x: list[np.ndarray], y: list[np.ndarray], penalty: float) -> np.ndarray:
    a, b = np.concatenate(x), np.concatenate(y)
    mean, deviation = a.mean(0), np.maximum(a.std(0), 1e-6)
    q = (a - mean) / deviation
    w = np.linalg.solve(q.T @ q + penalty * len(q) * np.eye(q.shape[1]), q.T @ (b - b.mean())) / deviation
    return np.concatenate([[b.mean() - mean @ w], w])


def _candidates(
    samples: Samples, maps: np.ndarray, soft: np.ndarray, corrected: np.ndarray, of: Sequence[int]
) -> list[np.ndarray]:
    heuristic = [
        one.predict(samples.arrays[i].astype(np.float32)) / samples.arrays[i].shape[1] for i in of for one in HEURISTICS
    ]
    found = []
    for j, map in enumerate(maps):
        boxes = [corrected[j][None], soft[j], *_components(map), *(b[j][None] for b in heuristic)]
        every = np.clip(np.concatenate(boxes), 0, 1)
        found.append(every[np.isfinite(every).all(1) & (every[:, 2:] - every[:, :2] > 0.02).all(1)])
    return found


def _components(map: np.ndarray) -> list[np.ndarray]:
    """Boxes round the components above a share of the largest cells, an eighth of a cell finer than the grid."""
    fine = ndimage.zoom(map, 4, order=1, grid_mode=True, mode="nearest")
    top = np.sort(map.ravel())[-8:].mean()
    found = []
    for threshold in THRESHOLDS:
        labels, _ = ndimage.label(fine >= threshold * max(top, 1e-3))
        slices = ndimage.find_objects(labels)
        corners = np.array([(x.start, y.start, x.stop, y.stop) for y, x in slices], float).reshape(-1, 4)
        large = np.argsort((corners[:, 2:] - corners[:, :2]).prod(1))[::-1][:4]
        found.append(corners[large] / fine.shape[0])
    return found


def _statistics(map: np.ndarray, boxes: np.ndarray, corrected: np.ndarray) -> np.ndarray:
    """What is told of each candidate: its soft IoU with all readings of the map, coverage inside and round it, its
    place and size, and how far the others agree."""
    inside = covered(boxes, map.shape)
    shrunk = covered(_scaled(boxes, 0.7), map.shape)
    grown = covered(np.clip(_scaled(boxes, 1.4), 0, 1), map.shape)
    area = np.maximum(inside.sum((1, 2)), 1e-3)
    k = max(1, round(map.size * 0.04))
    relative = np.maximum(map, 0) / max(np.sort(map.ravel())[-k:].mean(), 1e-3)
    read = [np.clip((m - o) * g, 0, 1) for m, some in ((map, ABSOLUTE), (relative, RELATIVE)) for g, o in some]
    total = (inside[:, None] * np.array(read)).sum((2, 3))
    overlap = total / np.maximum(area[:, None] + np.array(read).sum((1, 2)) - total, 1e-6)
    rim, ring = np.maximum(inside - shrunk, 0), np.maximum(grown - inside, 0)
    means = [(part * map).sum((1, 2)) / np.maximum(part.sum((1, 2)), 1e-3) for part in (inside, shrunk, rim, ring)]
    size = np.log(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.02))
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5
    with_all = iou(boxes[:, None], boxes[None])
    return np.column_stack(
        [overlap, overlap**2, *means, means[0] - means[3], size, size**2, centre[:, 0] ** 2, centre[:, 1],
         centre[:, 1] ** 2, with_all.mean(1), iou(boxes, corrected[None])]
    )  # fmt: skip


def _scaled(boxes: np.ndarray, factor: float) -> np.ndarray:
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * factor
    return np.concatenate([centre - half, centre + half], 1)


def small_network(samples: Samples, cells: Cells | None = None) -> tuple[Predict, str]:
    """The same cells by two layers of WIDTH features each in place of a ridge, the rest as in coverage. A fifth of the
    photos is not learned from and chooses the reading and the correction."""
    cells = cells or Cells()
    rng = np.random.default_rng(0)
    held = np.isin(samples.photos, rng.permutation(np.unique(samples.photos))[: max(1, len(samples) // 5)])
    train = samples.select(np.flatnonzero(~held))
    forward = _trained(train, cells, rng)
    rest = samples.select(np.flatnonzero(held))
    correction = fit_correction(readings(forward(rest)), rest.boxes)
    return lambda other: correction(readings(forward(other))), f"{STEPS} steps of {ROWS} cells"


def _trained(train: Samples, cells: Cells, rng: np.random.Generator) -> Callable[[Samples], np.ndarray]:
    x = np.concatenate([_cells(train, rows, cells) for rows in _chunks(len(train))])
    y = covered(train.boxes, cells.grid).reshape(-1).astype(np.float32)
    x = x.reshape(-1, x.shape[-1])
    mean, deviation = x.mean(0, dtype=np.float64).astype(np.float32), np.maximum(x.std(0), 1e-4)
    sizes = [x.shape[1], WIDTH, WIDTH, 1]
    weights = [
        (jnp.asarray(rng.standard_normal((a, b)) * np.sqrt(2 / a), jnp.float32), jnp.zeros(b))
        for a, b in pairwise(sizes)
    ]

    def network(weights, x: Array) -> Array:
        for w, b in weights[:-1]:
            x = jax.nn.relu(x @ w + b)
        return (x @ weights[-1][0] + weights[-1][1])[..., 0]

    @jax.jit
    def step(weights, first, second, t: Array, x: Array, y: Array):
        def loss(weights):
            decay = sum((w**2).sum() for w, _ in weights)
            return ((network(weights, x) - y) ** 2).mean() + 1e-4 * decay

        gradient = jax.grad(loss)(weights)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, second, gradient)
        rate = RATE * (1 - t / STEPS) * jnp.sqrt(1 - 0.999 ** (t + 1)) / (1 - 0.9 ** (t + 1))
        weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-8), weights, first, second)
        return weights, first, second

    first = second = jax.tree.map(jnp.zeros_like, weights)
    for t in range(STEPS):
        rows = rng.integers(0, len(x), ROWS)
        weights, first, second = step(
            weights, first, second, jnp.float32(t), (x[rows] - mean) / deviation, jnp.asarray(y[rows])
        )
    apply = jax.jit(network)

    def maps(samples: Samples) -> np.ndarray:
        parts = [
            np.asarray(apply(weights, (_cells(samples, rows, cells) - mean) / deviation))
            for rows in _chunks(len(samples))
        ]
        return np.concatenate(parts)[: len(samples)]

    return maps


def _chunks(n: int) -> list[np.ndarray]:
    return [np.arange(start, min(start + ridge.CHUNK, n)) for start in range(0, n, ridge.CHUNK)]


def _cells(samples: Samples, rows: np.ndarray, cells: Cells) -> np.ndarray:
    padded = np.resize(rows, ridge.CHUNK)
    found = channels(tuple(jnp.asarray(one[padded]) for one in samples.arrays), cells=cells)
    return np.asarray(found)[: len(rows)]
