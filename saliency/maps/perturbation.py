"""Maps from forward passes alone, so that any classifier will do: RISE and finite differences.

Images are float `[n, h, w, 3]`, maps float32 `[n, h, w]`. Occlusion, the third of
the kind, has a package of its own.
"""

from functools import partial

import numpy as np
from jaxtyping import Float

from saliency._checks import ImagesLike, Pair, function, kind_of, number, whole
from saliency.maps.black_box import chunk_of, of_each, probes, scored
from saliency.maps.gradient import Progress
from saliency.models.black_box import Classifier, classifier_input, entry
from saliency.models.network import Network
from saliency.models.preprocessing import Preprocessing
from saliency.occlusion.execution import Execution
from saliency.occlusion.maps import counter, scores_under
from saliency.occlusion.windows import Fill, Windows, fill_images
from saliency.scores import Score, Target, as_score, last_layer, resolve_targets

DEFAULT = Execution()


def rise_maps(
    net: Classifier,
    x: ImagesLike,
    *,
    masks: int = 512,
    cells: int = 7,
    keep: float = 0.5,
    fill: Fill = "grey",
    seed: int = 0,
    score: str | Score = "logit",
    target: Target = None,
    preprocess: Preprocessing | None = None,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n h w"]:
    """RISE (Petsiuk et al. 2018): the mean over random masks of (score - mean score) * mask, divided by `keep`.

    Positive where showing a pixel raises the score. Taking the mean score off changes the expected map by a
    constant only, and takes away most of its noise. Each mask is a coarse grid of `cells` a side, a share `keep` of
    them visible, enlarged bilinearly and shifted at random; all images get the same masks, drawn from `seed`.

    `net`, `x`, `fill`, `score`, `target` and `preprocess` are those of `occlusion_maps`, and so are the errors; maps
    are float32 `[n, h, w]`. `progress(done, total)` counts images.

    >>> import numpy as np, saliency
    >>> photos = np.random.default_rng(0).integers(0, 256, (1, 8, 6, 3))
    >>> top_left = lambda images: images[:, :4, :3].mean((1, 2, 3))
    >>> found = saliency.rise_maps(top_left, photos, masks=64, cells=4, fill=0)
    >>> found.shape, bool(found[0, :4, :3].mean() > found[0, 4:, 3:].mean())
    ((1, 8, 6), True)
    """
    whole("masks", masks, least=2)
    whole("cells", cells, least=1)
    number("keep", keep, above=0, below=1)
    whole("seed", seed)
    function("progress", progress, "(done, total)")
    preprocess = entry(net, preprocess)
    x = classifier_input(net, x, last_layer(net, score))
    functions = probes(net, x, score, target)
    size, chunk = x.shape[1:3], chunk_of(net, x.shape[1:3], score)
    rng = np.random.default_rng(seed)
    grids = (rng.random((masks, cells + 1, cells + 1)) < keep).astype(np.float32)
    shifts = rng.random((masks, 2))

    def visible(k: np.ndarray) -> np.ndarray:
        return enlarged(grids[k], shifts[k], size)

    def masked(image: np.ndarray, hidden: np.ndarray, k: np.ndarray) -> np.ndarray:
        return (hidden + visible(k)[..., None] * (image - hidden)).astype(image.dtype, copy=False)

    fills = fill_images(x, fill, preprocess, seed)

    def scores_of(i: int) -> np.ndarray:
        return scored(functions[i], partial(masked, x[i], fills[i]), masks, chunk)

    scores = np.reshape(of_each(net, scores_of, len(x), progress), (len(x), masks))
    weights = (scores - scores.mean(1, keepdims=True)) / (masks * keep)
    maps = np.zeros(x.shape[:3])
    for start in range(0, masks, chunk):
        k = np.arange(start, min(start + chunk, masks))
        maps += np.einsum("nk,khw->nhw", weights[:, k], visible(k))
    return maps.astype(np.float32)


def enlarged(
    grids: Float[np.ndarray, "k rows cols"], shifts: Float[np.ndarray, "k 2"], size: Pair
) -> Float[np.ndarray, "k h w"]:
    """Coarse grids as masks of `size`: bilinear, each moved by its own share of a cell; the last cell is spare."""
    lines = []
    for axis in (0, 1):
        cells = grids.shape[axis + 1] - 1
        cell = -(-size[axis] // cells)
        at = (np.arange(size[axis]) + 0.5 + np.floor(shifts[:, axis, None] * cell)) / cell - 0.5
        share = 1 - np.abs(np.clip(at, 0, cells)[..., None] - np.arange(cells + 1))  # of each grid line in each pixel
        lines.append(np.maximum(0, share).astype(np.float32))
    rows, cols = lines
    return rows @ grids @ cols.transpose(0, 2, 1)


def finite_difference_maps(
    net: Classifier,
    x: ImagesLike,
    *,
    cell: int = 8,
    step: float = 0.02,
    score: str | Score = "logit",
    target: Target = None,
    execution: Execution = DEFAULT,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n h w"]:
    """What `gradient-max` would see, for a classifier without derivatives: central differences, cell by cell.

    One channel of a square of `cell` pixels goes up and down by `step` times the image's range; the map is the largest
    absolute derivative of the channels, per pixel. At `cell=1` it is the gradient map: 2 passes a pixel and channel.
    (Fast Object Localization via Sensitivity Analysis, section 4.)

    `net`, `x`, `score`, `target` and `execution` are those of `occlusion_maps`, and so are the errors; maps are float32
    `[n, h, w]`, a derivative per unit of `x`. `progress` counts images of a black box, positions of a network.

    >>> import numpy as np, saliency
    >>> photos = np.random.default_rng(0).integers(0, 256, (1, 8, 6, 3))
    >>> top_left = lambda images: images[:, :4, :3].mean((1, 2, 3))
    >>> found = saliency.finite_difference_maps(top_left, photos, cell=2)
    >>> found.shape, bool(found[0, 0, 0] > 0), bool(found[0, 7, 5] > 0)
    ((1, 8, 6), True, False)
    """
    whole("cell", cell, least=1)
    number("step", step, above=0)
    kind_of("execution", execution, Execution, "how occlusion is computed")
    function("progress", progress, "(done, total)")
    score = as_score(score)
    x = classifier_input(net, x, last_layer(net, score))
    height, width = x.shape[1:3]
    extent = np.ptp(x, axis=(1, 2, 3))
    by = (step * np.where(extent > 0, extent, 1)).astype(x.dtype)
    rows, cols = np.arange(height) // cell, np.arange(width) // cell
    label = rows[:, None] * (cols[-1] + 1) + cols
    area = np.bincount(label.ravel())[:, None]
    if isinstance(net, Network):
        side = min(cell, height), min(cell, width)
        scores = _moved_scores(net, x, by, Windows((height, width), side, side), score, target, execution, progress)
    else:
        functions, channels = probes(net, x, target=target), x.shape[-1]

        def scores_of(i: int) -> np.ndarray:
            changed = partial(_moved, x[i], by[i], label)
            return scored(functions[i], changed, 2 * channels * len(area), chunk_of(net, (height, width)))

        scores = np.reshape(of_each(net, scores_of, len(x), progress), (len(x), len(area), channels, 2))
    slopes = np.abs(scores[..., 0] - scores[..., 1]) / (2 * by[:, None, None] * area)
    return slopes.max(-1)[:, label].astype(np.float32)


def _moved(image: np.ndarray, by: np.float32, label: np.ndarray, k: np.ndarray) -> Float[np.ndarray, "k h w c"]:
    """The image with one channel of one cell up or down, numbered as `[cells, channels, 2]` are."""
    channels = image.shape[-1]
    place, channel, sign = (j[:, None, None] for j in np.unravel_index(k, (label.max() + 1, channels, 2)))
    here = (label == place)[..., None] & (np.arange(channels) == channel[..., None])
    return (image + here * np.where(sign, -by, by)[..., None]).astype(image.dtype, copy=False)


def _moved_scores(
    net: Network,
    x: Float[np.ndarray, "n h w c"],
    by: Float[np.ndarray, " n"],
    cells: Windows,
    score: Score,
    target: Target,
    execution: Execution,
    progress: Progress | None,
) -> Float[np.ndarray, "n cells c 2"]:
    """Scores of the images that `_moved` makes: occlusion by a brighter or darker image, where only what a cell
    changes needs computing."""
    targets = resolve_targets(net, x, score, target)
    step = counter(2 * x.shape[-1] * len(x) * len(cells.positions), progress)
    scores = np.empty((len(x), len(cells.positions), x.shape[-1], 2))
    for channel, sign in np.ndindex(x.shape[-1], 2):
        fills = x.copy()
        fills[..., channel] += np.where(sign, -by, by)[:, None, None]
        found, *_ = scores_under(net, x, fills, cells, score=score, targets=targets, execution=execution, step=step)
        scores[..., channel, sign] = np.reshape(found, (len(x), -1)) if found else 0
    return scores
