"""Global sensitivity analysis of a score in the visibility of segments: total Sobol indices and HSIC.

Maps are float32 `[n, h, w]`, at least 0: each segment's index at its pixels. An index says how much depends on a
segment, and not which way. xplique, whose methods these are, enlarges its grid bicubically; segments keep their own
value here.
"""

import numpy as np
from jaxtyping import Float, Int, Num

from saliency._checks import ImagesLike, whole
from saliency.maps.coalitions import Segmented, ask
from saliency.maps.gradient import Progress
from saliency.models.black_box import Classifier
from saliency.models.preprocessing import Preprocessing
from saliency.occlusion.windows import Fill
from saliency.scores import Score, Target


def sobol_maps(
    net: Classifier,
    x: ImagesLike,
    segmentation: Segmented = "grid",
    *,
    segments: int = 50,
    masks: int = 512,
    fill: Fill = "grey",
    seed: int = 0,
    score: str | Score = "logit",
    target: Target = None,
    preprocess: Preprocessing | None = None,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n h w"]:
    """Total Sobol indices (Fel et al. 2021): the share of the score's variance that a segment's visibility takes part
    in, alone or with others, when each segment is faded in at random between fill and image.

    Jansen's estimator on a scrambled Sobol sequence; `designs(masks, k)` points, each with k + 2 scores for k segments:
    the largest power of two of which no more than `masks` scores are asked, 2 at least.
    Arguments, result and errors are those of `lime_maps`; a score that does not vary has indices of 0.

    >>> import numpy as np, saliency
    >>> left = lambda x: x[:, 0, 0, 0]
    >>> saliency.sobol_maps(left, np.ones((1, 1, 2, 1)), np.array([[0, 1]]), fill=0, masks=1024)[0].round(1).tolist()
    [[1.0, 0.0]]
    """
    whole("masks", masks, least=2)
    asked = ask(
        net, x, lambda k: sobol_masks(designs(masks, k), k, seed), segmentation=segmentation, segments=segments,
        fill=fill, seed=seed, score=score, target=target, preprocess=preprocess, progress=progress,
    )  # fmt: skip
    return asked.maps([jansen(scores, shown.shape[1]) for shown, scores in zip(asked.coalitions, asked.scores)])


def designs(masks: int, segments: int) -> int:
    """Points of the Sobol sequence that `masks` scores are enough for: a power of two, 2 at least."""
    return 2 ** max(1, int(np.log2(max(1, masks // (segments + 2)))))


def sobol_masks(points: int, segments: int, seed: int | None) -> Float[np.ndarray, "m k"]:
    """Two samples A and B of `points` rows each, and for each segment A with its column taken from B; of a Sobol
    sequence, scrambled by `seed` (None: as it is)."""
    from scipy.stats import qmc  # on use: slow to import

    sequence = qmc.Sobol(2 * segments, scramble=seed is not None, rng=seed)
    both = sequence.random(points)
    a, b = both[:, :segments], both[:, segments:]
    mixed = np.repeat(a[None], segments, 0)
    each = np.arange(segments)
    mixed[each, :, each] = b.T
    return np.concatenate([a, b, mixed.reshape(-1, segments)])


def jansen(scores: Float[np.ndarray, " m"], segments: int) -> Float[np.ndarray, " k"]:
    """Total indices by Jansen's estimator (1999): sum over the rows of (f(A) - f(A with column i of B))^2, divided by
    twice their number and the variance of f(A)."""
    points = len(scores) // (segments + 2)
    a, mixed = scores[:points], scores[2 * points :].reshape(segments, points)
    variance = a.var(ddof=1)
    if not variance > 1e-12 * max(1.0, float(np.abs(a).max())) ** 2:
        return np.zeros(segments)
    return ((a - mixed) ** 2).mean(1) / (2 * variance)


def hsic_maps(
    net: Classifier,
    x: ImagesLike,
    segmentation: Segmented = "grid",
    *,
    segments: int = 50,
    masks: int = 512,
    fill: Fill = "grey",
    seed: int = 0,
    score: str | Score = "logit",
    target: Target = None,
    preprocess: Preprocessing | None = None,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n h w"]:
    """HSIC (Novello et al. 2022): how far the score's distribution depends on whether a segment is shown, measured by
    the Hilbert-Schmidt independence criterion of the two.

    Segments are shown or hidden by a Latin hypercube, each in half of the `masks`. The kernel of a segment is 1 + (1/2
    - [it differs]), that of the scores Gaussian, its width the median distance of two scores (xplique takes the median
    score, which a shift of the logits would change). Arguments, result and errors are those of `lime_maps`.

    >>> import numpy as np, saliency
    >>> left = lambda x: x[:, 0, 0, 0]
    >>> found = saliency.hsic_maps(left, np.ones((1, 1, 2, 1)), np.array([[0, 1]]), fill=0)[0, 0]
    >>> bool(found[0] > 20 * found[1])
    True
    """
    whole("masks", masks, least=2)
    asked = ask(
        net, x, lambda k: hsic_masks(masks, k, seed), segmentation=segmentation, segments=segments, fill=fill,
        seed=seed, score=score, target=target, preprocess=preprocess, progress=progress,
    )  # fmt: skip
    return asked.maps([hsic(shown, scores) for shown, scores in zip(asked.coalitions, asked.scores)])


def hsic_masks(masks: int, segments: int, seed: int) -> Int[np.ndarray, "m k"]:
    """A Latin hypercube, rounded: each segment is shown in half of the masks, in an order of its own."""
    rng = np.random.default_rng(seed)
    return (rng.random((masks, segments)).argsort(0) >= masks - masks // 2).astype(int)


def hsic(
    shown: Num[np.ndarray, "m k"], scores: Float[np.ndarray, " m"], width: float | None = None
) -> Float[np.ndarray, " k"]:
    """trace(K H L H) / m for each segment: K the kernel of its being shown, L that of the scores with `width` (None:
    the median distance of two of them), H = 1 - 1/m. Scores that are all one have 0."""
    m = len(scores)
    apart = np.abs(scores[:, None] - scores)
    if width is None:
        width = float(np.median(apart[np.triu_indices(m, 1)])) or float(apart.max())
    if width == 0:
        return np.zeros(shown.shape[1])
    kernel = np.exp(-(apart**2) / (2 * width**2))
    centred = kernel - kernel.mean(0) - kernel.mean(1)[:, None] + kernel.mean()
    # K = 3/2 - (a - b)^2, and of 0 and 1 (a - b)^2 = a + b - 2ab, whose first two terms a centred matrix does not see
    return np.maximum(2 * np.einsum("ik,ij,jk->k", shown, centred, shown, optimize=True) / m, 0)
