"""ROAD: pixels are removed so that their neighbours foretell them, and the network is not told where they were."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from saliency._checks import ImagesLike, MapsLike, as_booleans, as_images, number, numbers, whole
from saliency.errors import InputError
from saliency.faithfulness.curves import Curves, class_scores, paired_maps
from saliency.maps.black_box import of_each
from saliency.maps.gradient import Progress
from saliency.maps.ranks import descending_rank
from saliency.maps.status import usable
from saliency.models.black_box import Classifier, classifier_input
from saliency.scores import Target, last_layer

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9)
NEIGHBOURS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right]


@dataclass(frozen=True)
class Road:
    """`most` and `least`: the class probability with the map's highest, or lowest, pixels replaced.

    >>> import numpy as np
    >>> from saliency.faithfulness import Curves, Road
    >>> shares = np.array([0.2, 0.5])
    >>> Road(Curves(shares, np.array([[0.5, 0.1]])), Curves(shares, np.array([[0.9, 0.7]]))).score.round(3).tolist()
    [0.25]
    """

    most: Curves
    least: Curves

    @property
    def score(self) -> Float[np.ndarray, " n"]:
        """Half of least less most, the mean over the shares: higher is better, of a random order about 0."""
        return ((self.least.scores - self.most.scores) / 2).mean(1)


def road(
    net: Classifier,
    x: ImagesLike,
    maps: MapsLike,
    *,
    target: Target = None,
    shares: Sequence[float] = SHARES,
    noise: float = 0.01,
    seed: int = 0,
    progress: Progress | None = None,
) -> Road:
    """The target's probability with `shares` of the pixels replaced by `noisy_linear_imputation`, by order of the map.

    Both orders, most relevant first and least relevant first; `noise` is the deviation of what is added to replaced
    pixels as a share of each image's range. `target` is by default the class predicted for the whole image; a black
    box's scores are taken as they are. A map that says nothing has NaN. Raises InputError for shares outside of 0..1
    and for maps that do not fit. Rong et al. 2022; the combination of both orders is pytorch-grad-cam's.

    >>> import numpy as np
    >>> from saliency import faithfulness
    >>> x = np.zeros((1, 4, 6, 3)); x[0, 1:3, 2:4] = 100
    >>> brightest = lambda images: images.max((1, 2, 3))
    >>> found = faithfulness.road(brightest, x, x[..., 0], shares=[0.2], noise=0)
    >>> found.most.scores.round(3).tolist(), found.least.scores.tolist()
    ([[0.0]], [[100.0]])
    """
    shares = numbers("shares", shares, above=0, below=1)
    number("noise", noise, least=0)
    whole("seed", seed)
    x = classifier_input(net, x, last_layer(net, "log_probability"))
    order = paired_maps(x, maps)
    score, ranked = class_scores(net, x, target), usable(order)
    counts = np.round(np.asarray(shares, float) * np.prod(x.shape[1:3])).astype(int)

    def both(i: int) -> np.ndarray:
        if not ranked[i]:
            return np.full((2, len(counts)), np.nan)
        rank, size = descending_rank(order[i]), order[i].size
        hidden = [rank < count for count in counts] + [rank >= size - count for count in counts]
        amount = noise * float(np.ptp(x[i]))
        images = [_imputed(x[i], own, amount, np.random.default_rng([seed, k])) for k, own in enumerate(hidden)]
        return score(i, np.stack(images)).reshape(2, -1)

    found = np.reshape(of_each(net, both, len(x), progress), (len(x), 2, len(counts)))
    each = counts / max(1, np.prod(x.shape[1:3]))
    return Road(Curves(each, found[:, 0]), Curves(each, found[:, 1]))


def noisy_linear_imputation(
    x: ImagesLike, hidden: ArrayLike, noise: float = 0.0, seed: int = 0
) -> Float[np.ndarray, "n h w c"]:
    """Images `[n, h, w, c]` whose `hidden` pixels are the weighted mean of their eight neighbours, hidden ones too.

    Direct neighbours weigh twice as much as diagonal ones; those beyond the border do not count. One sparse linear
    system an image, solved exactly. `noise`: deviation, in the images' units, of Gaussian noise on what is replaced. An
    image with every pixel hidden becomes its own mean colour. Rong et al. 2022, section 4.

    >>> import numpy as np
    >>> from saliency.faithfulness import noisy_linear_imputation
    >>> x = np.arange(5.0)[None, None, :, None]
    >>> noisy_linear_imputation(x, np.array([[[0, 1, 1, 1, 0]]], bool))[0, 0, :, 0].round(6).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    x = as_images("x", x)
    hidden = as_booleans("hidden", hidden, "[n, h, w]")
    if hidden.shape != x.shape[:3]:
        raise InputError(f"hidden must be {list(x.shape[:3])} as the images are, not {list(hidden.shape)}")
    number("noise", noise, least=0)
    whole("seed", seed)
    made = [_imputed(one, own, noise, np.random.default_rng([seed, i])) for i, (one, own) in enumerate(zip(x, hidden))]
    return np.reshape(made, x.shape)


def _imputed(image: np.ndarray, hidden: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    from scipy.sparse import coo_array  # on use: they take longer to import than all of ours
    from scipy.sparse.linalg import splu

    if not hidden.any():
        return image
    if hidden.all():
        return np.broadcast_to(image.mean((0, 1)), image.shape).astype(image.dtype)
    height, width = hidden.shape
    number_of = np.full((height, width), -1)
    rows, cols = np.nonzero(hidden)
    unknowns = len(rows)
    number_of[rows, cols] = np.arange(unknowns)
    known = np.zeros((unknowns, image.shape[2]))
    total, entries = np.zeros(unknowns), []
    for down, right in NEIGHBOURS:
        weight = 1 / 6 if 0 in (down, right) else 1 / 12
        row, col = rows + down, cols + right
        at = np.flatnonzero((row >= 0) & (row < height) & (col >= 0) & (col < width))
        total[at] += weight
        theirs = number_of[row[at], col[at]]
        seen = theirs < 0
        known[at[seen]] += weight * image[row[at[seen]], col[at[seen]]]
        entries.append((at[~seen], theirs[~seen], np.full((~seen).sum(), -weight)))
    entries.append((np.arange(unknowns), np.arange(unknowns), total))
    i, j, values = (np.concatenate(part) for part in zip(*entries))
    system = coo_array((values, (i, j)), (unknowns, unknowns)).tocsc()
    found = splu(system).solve(known)
    if noise:
        found = found + noise * rng.standard_normal(found.shape)
    changed = image.copy()
    changed[rows, cols] = found
    return changed
