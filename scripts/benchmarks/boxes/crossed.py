"""Coverage maps of samples that were left out when their ridge was fitted, for what is learned from such maps."""

import numpy as np

from localization.regression import cells as ridge
from localization.regression.cells import Cells, Moments
from localization.regression.rectangles import soft_boxes
from scripts.benchmarks.boxes.routes import Samples

FOLDS = 5
BLOCK = 128


def crossed(train: Samples, test: Samples, cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    """Maps float32 `[n, rows, columns]` of the training samples, each by other folds' ridge, and of the tested ones."""
    numbers = np.unique(train.photos, return_inverse=True)[1]
    fold_of = (np.random.default_rng(0).permutation(numbers.max() + 1) % FOLDS)[numbers]
    shapes = [one.shape[1:] for one in train.arrays]
    moments = Moments(cells, FOLDS, shapes)
    for start in range(0, len(train), BLOCK):
        rows = slice(start, start + BLOCK)
        moments.add(tuple(one[rows] for one in train.arrays), train.boxes[rows], fold_of[rows])
    cross = ridge.cross_fit(moments.merged(), ridge.LAMBDAS)
    return (
        applied(train, cross.left_out[fold_of], cells),
        applied(test, np.broadcast_to(cross.whole, (len(test), len(cross.whole))), cells),
    )


def applied(samples: Samples, solutions: np.ndarray, cells: Cells) -> np.ndarray:
    """Each sample's coverage map by its own solution."""
    found = [np.empty((0, *cells.grid), np.float32)]
    for start in range(0, len(samples), ridge.CHUNK):
        index = np.minimum(np.arange(start, start + ridge.CHUNK), len(samples) - 1)
        maps = ridge.coverage(
            tuple(one[index] for one in samples.arrays), solutions[index].astype(np.float32), cells=cells
        )
        found.append(np.asarray(maps))
    return np.concatenate(found)[: len(samples)]


def readings(maps: np.ndarray) -> np.ndarray:
    """Soft rectangles `[n, s, 4]` of coverage maps, in chunks of one compiled shape."""
    parts = []
    for start in range(0, len(maps), ridge.CHUNK):
        index = np.minimum(np.arange(start, start + ridge.CHUNK), len(maps) - 1)
        parts.append(np.asarray(soft_boxes(maps[index])))
    return np.concatenate(parts)[: len(maps)]
