"""Shapley values of segments by permutations: what each adds to the score as it joins those before it."""

from functools import cache, partial
from itertools import permutations
from math import factorial

import numpy as np
from jaxtyping import Float, Int

from saliency._checks import ImagesLike, whole
from saliency.maps.coalitions import Segmented, ask
from saliency.maps.gradient import Progress
from saliency.models.black_box import Classifier
from saliency.models.preprocessing import Preprocessing
from saliency.occlusion.windows import Fill
from saliency.scores import Score, Target

ENUMERATED = 8  # segments whose permutations are few enough to be counted


def shapley_maps(
    net: Classifier,
    x: ImagesLike,
    segmentation: Segmented = "grid",
    *,
    segments: int = 50,
    samples: int = 25,
    fill: Fill = "grey",
    seed: int = 0,
    score: str | Score = "logit",
    target: Target = None,
    preprocess: Preprocessing | None = None,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n h w"]:
    """Shapley value sampling (Castro et al. 2009; captum's ShapleyValueSampling): segments come in one after another in
    `samples` random orders, and the value of each is the mean of what it adds to the score.

    The values of an image's segments add up to its score less that of the fill alone, whatever the orders; for an
    additive score they are the drops of `segment_occlusion`. Exact where all k! orders are no more than `samples`,
    which are then all taken. An order takes k scores, and one more of the fill is common to all.

    Arguments, result `[n, h, w]` and errors are those of `segment_occlusion`; `progress` counts images.

    >>> import numpy as np, saliency
    >>> product = lambda x: x[:, 0, 0, 0] * x[:, 0, 1, 0] + x[:, 0, 2, 0]
    >>> saliency.shapley_maps(product, np.ones((1, 1, 3, 1)), np.array([[0, 1, 2]]), fill=0)[0, 0].tolist()
    [0.5, 0.5, 1.0]
    """
    whole("samples", samples, least=1)
    drawn = cache(partial(orders, samples, seed=seed))  # once for a number of segments, not for an image
    asked = ask(
        net, x, lambda k: growing(drawn(k)), segmentation=segmentation, segments=segments, fill=fill,
        seed=seed, score=score, target=target, preprocess=preprocess, progress=progress,
    )  # fmt: skip
    return asked.maps(
        [shapley_values(scores, drawn(shown.shape[1])) for shown, scores in zip(asked.coalitions, asked.scores)]
    )


def orders(samples: int, segments: int, seed: int) -> Int[np.ndarray, "s k"]:
    """Permutations of the segments: all of them, or `samples` drawn."""
    if _all(samples, segments):
        return np.array(list(permutations(range(segments))))
    rng = np.random.default_rng(seed)
    return np.array([rng.permutation(segments) for _ in range(samples)])


def shapley_count(samples: int, segments: int) -> int:
    """How many coalitions are scored."""
    return 1 + segments * (factorial(segments) if _all(samples, segments) else samples)


def _all(samples: int, segments: int) -> bool:
    return segments <= ENUMERATED and factorial(segments) <= samples


def growing(orders: Int[np.ndarray, "s k"]) -> Int[np.ndarray, "m k"]:
    """The coalitions to score: nothing; then for each order its first segment, its first two, and so on to all."""
    samples, k = orders.shape
    rank = np.argsort(orders, 1)  # when each segment comes in
    shown = rank[:, None] <= np.arange(k)[:, None]
    return np.concatenate([np.zeros((1, k), int), shown.reshape(samples * k, k).astype(int)])


def shapley_values(scores: Float[np.ndarray, " m"], orders: Int[np.ndarray, "s k"]) -> Float[np.ndarray, " k"]:
    """The mean over the orders of what each segment adds, from the scores of `growing`'s coalitions."""
    after = scores[1:].reshape(orders.shape)
    before = np.concatenate([np.full((len(orders), 1), scores[0]), after[:, :-1]], 1)
    values = np.zeros(orders.shape[1])
    np.add.at(values, orders, after - before)
    return values / len(orders)
