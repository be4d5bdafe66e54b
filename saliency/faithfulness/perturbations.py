"""A map's sums against what the score does: infidelity, correlation over random sets, completeness."""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from saliency._checks import ImagesLike, MapsLike, PerImage, as_booleans, number, one_of, whole
from saliency.errors import InputError
from saliency.faithfulness.curves import paired_maps
from saliency.maps.black_box import chunk_of, of_each, probes, scored
from saliency.maps.gradient import Progress
from saliency.maps.status import usable
from saliency.models.black_box import Classifier, classifier_input, entry
from saliency.models.preprocessing import Preprocessing
from saliency.occlusion.windows import Fill, fill_images
from saliency.scores import Target, last_layer

Masks = Bool[np.ndarray, "k h w"]
By = Literal["rank", "value"]


def infidelity(
    net: Classifier,
    x: ImagesLike,
    maps: MapsLike,
    *,
    target: Target = None,
    masks: ArrayLike | None = None,
    count: int = 48,
    scaled_at_best: bool = True,
    score: Literal["logit", "log_probability"] = "logit",
    fill: Fill | np.ndarray = "grey",
    seed: int = 0,
    preprocess: Preprocessing | None = None,
    progress: Progress | None = None,
) -> PerImage:
    """Mean over masks of (the map's sum under the mask - the score's drop when the fill hides it)^2.

    `masks` bool `[k, h, w]`, the same for all images (default: `count` squares at random places, of random sides from
    a sixteenth to half of the shorter side, drawn from `seed`). `scaled_at_best`: of each image the map times the
    number that makes the figure least, since most maps have no unit. Other arguments, NaN and errors as for `deletion`.
    Yeh et al. 2019, Definition 2.1 with square removal.

    >>> import numpy as np
    >>> from saliency import faithfulness
    >>> x = np.random.default_rng(0).uniform(0, 9, (1, 8, 6, 3))
    >>> total = lambda images: images.sum((1, 2, 3))
    >>> bool(faithfulness.infidelity(total, x, 7 * x.sum(-1), fill=0)[0] < 1e-6)
    True
    """
    x = classifier_input(net, x, last_layer(net, score))
    maps = paired_maps(x, maps)
    whole("count", count, least=1)
    masks = _squares(x.shape[1:3], count, seed) if masks is None else _as_masks(masks, x)
    drops = _drops(net, x, masks, target, score, fill_images(x, fill, entry(net, preprocess), seed), progress)
    sums = _sums(maps, masks)
    if scaled_at_best:
        squares = (sums**2).sum(1)
        sums = sums * ((sums * drops).sum(1) / np.where(squares > 0, squares, 1))[:, None]
    return np.where(usable(maps), ((sums - drops) ** 2).mean(1), np.nan)


def faithfulness_correlation(
    net: Classifier,
    x: ImagesLike,
    maps: MapsLike,
    *,
    target: Target = None,
    masks: ArrayLike | None = None,
    count: int = 64,
    share: float = 0.2,
    grid: int | None = 9,
    by: By = "rank",
    score: Literal["logit", "log_probability"] = "logit",
    fill: Fill | np.ndarray = "grey",
    seed: int = 0,
    preprocess: Preprocessing | None = None,
    progress: Progress | None = None,
) -> PerImage:
    """Correlation, over random sets of pixels, of the map's sum there and the score's drop when the fill hides them.

    `masks` bool `[k, h, w]` (default: `count` sets of a `share` of the cells of a grid of `grid` rows and columns, or
    of single pixels where that is None, drawn from `seed`). `by` "rank" is Spearman's, with a grid muFidelity (Fel et
    al. 2021); by "value" it is Pearson's, of pixels faithfulness correlation (Bhatt et al. 2020). Other arguments, NaN
    and errors as for `deletion`; NaN too where no set changes the score.

    >>> import numpy as np
    >>> from saliency import faithfulness
    >>> x = np.random.default_rng(0).uniform(0, 9, (1, 8, 6, 3))
    >>> total = lambda images: images.sum((1, 2, 3))
    >>> faithfulness.faithfulness_correlation(total, x, x.sum(-1), grid=4, fill=0).round(3).tolist()
    [1.0]
    """
    one_of("by", by, get_args(By))
    x = classifier_input(net, x, last_layer(net, score))
    maps = paired_maps(x, maps)
    if masks is None:
        whole("count", count, least=3)
        number("share", share, above=0, below=1)
        whole("grid", grid, least=2, optional=True)
        masks = _sets(x.shape[1:3], count, share, grid, seed)
    else:
        masks = _as_masks(masks, x)
    drops = _drops(net, x, masks, target, score, fill_images(x, fill, entry(net, preprocess), seed), progress)
    found = [_correlated(a, b, by) for a, b in zip(_sums(maps, masks), drops)]
    return np.where(usable(maps), np.array(found, float), np.nan)


def completeness(
    net: Classifier,
    x: ImagesLike,
    maps: MapsLike,
    *,
    target: Target = None,
    score: Literal["logit", "log_probability"] = "logit",
    fill: Fill | np.ndarray = "grey",
    seed: int = 0,
    preprocess: Preprocessing | None = None,
    progress: Progress | None = None,
) -> PerImage:
    """|the map's sum - the score's difference from the fill| / |that difference|; arguments as for `deletion`.

    Sundararajan et al. 2017, the axiom of completeness.

    >>> import numpy as np
    >>> from saliency import faithfulness
    >>> x = np.random.default_rng(0).uniform(1, 9, (1, 8, 6, 3))
    >>> total = lambda images: images.sum((1, 2, 3))
    >>> faithfulness.completeness(total, x, 1.5 * x.sum(-1), fill=0).round(3).tolist()
    [0.5]
    """
    x = classifier_input(net, x, last_layer(net, score))
    maps = paired_maps(x, maps)
    everything = np.ones((1, *x.shape[1:3]), bool)
    hidden = fill_images(x, fill, entry(net, preprocess), seed)
    drops = _drops(net, x, everything, target, score, hidden, progress)[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(usable(maps), np.abs(maps.sum((1, 2), dtype=float) - drops) / np.abs(drops), np.nan)


def _drops(
    net: Classifier,
    x: np.ndarray,
    masks: np.ndarray,
    target: Target,
    score: str,
    hidden: np.ndarray,
    progress: Progress | None,
) -> Float[np.ndarray, "n k"]:
    """The score of each image less that with each mask's pixels replaced."""
    functions, chunk = probes(net, x, score, target), chunk_of(net, x.shape[1:3], score)
    every = np.concatenate([np.zeros((1, *masks.shape[1:]), bool), masks])[..., None]

    def drops_of(i: int) -> np.ndarray:
        values = scored(functions[i], lambda k: np.where(every[k], hidden[i], x[i]), len(every), chunk)
        return values[0] - values[1:]

    return np.reshape(of_each(net, drops_of, len(x), progress), (len(x), len(masks)))


def _sums(maps: np.ndarray, masks: np.ndarray) -> Float[np.ndarray, "n k"]:
    return maps.reshape(len(maps), -1).astype(float) @ masks.reshape(len(masks), -1).T.astype(float)


def _squares(size: tuple[int, int], count: int, seed: int) -> Masks:
    whole("seed", seed)
    rng, shorter = np.random.default_rng(seed), min(size)
    sides = rng.integers(max(1, shorter // 16), max(1, shorter // 2) + 1, count)
    masks = np.zeros((count, *size), bool)
    for mask, side in zip(masks, sides.tolist()):
        row, col = (int(rng.integers(0, length - side + 1)) for length in size)
        mask[row : row + side, col : col + side] = True
    return masks


def _sets(size: tuple[int, int], count: int, share: float, grid: int | None, seed: int) -> Masks:
    whole("seed", seed)
    rng = np.random.default_rng(seed)
    rows, cols = size if grid is None else (min(grid, size[0]), min(grid, size[1]))
    chosen = rng.random((count, rows * cols)).argsort(1) < max(1, round(share * rows * cols))
    at = np.ix_(np.arange(size[0]) * rows // size[0], np.arange(size[1]) * cols // size[1])
    return np.stack([one.reshape(rows, cols)[at] for one in chosen])


def _as_masks(masks: object, x: np.ndarray) -> Masks:
    found = as_booleans("masks", masks, "[k, h, w]")
    if found.ndim != 3 or not len(found) or found.shape[1:] != x.shape[1:3]:
        raise InputError(f"masks must be [k, {x.shape[1]}, {x.shape[2]}] as the images are, not {list(found.shape)}")
    return found


def _correlated(a: np.ndarray, b: np.ndarray, by: By) -> float:
    if by == "rank":
        from scipy.stats import rankdata  # on use: it takes longer to import than all of ours

        a, b = rankdata(a), rankdata(b)
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm > 0 else float("nan")
