"""LIME and KernelSHAP: a linear model of the score, whose inputs are whether each segment is shown.

Maps are float32 `[n, h, w]`: each segment's coefficient at its pixels, positive where showing the segment raises the
score.
"""

from functools import cache, partial
from itertools import product
from math import comb
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int, Num

from saliency._checks import ImagesLike, number, one_of, whole
from saliency.errors import InputError
from saliency.maps.coalitions import Segmented, ask
from saliency.maps.gradient import Progress
from saliency.models.black_box import Classifier
from saliency.models.preprocessing import Preprocessing
from saliency.occlusion.windows import Fill
from saliency.scores import Score, Target

Distance = Literal["cosine", "euclidean"]
Regression = Literal["ridge", "lasso", "least squares"]


def lime_maps(
    net: Classifier,
    x: ImagesLike,
    segmentation: Segmented = "grid",
    *,
    segments: int = 50,
    masks: int = 512,
    distance: Distance = "cosine",
    width: float = 0.25,
    regression: Regression = "ridge",
    alpha: float = 1.0,
    fill: Fill = "grey",
    seed: int = 0,
    score: str | Score = "logit",
    target: Target = None,
    preprocess: Preprocessing | None = None,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n h w"]:
    """LIME (Ribeiro et al. 2016): coefficients of a linear model fitted to the scores of composites in which each
    segment is shown with probability a half, those nearest to the image weighing most.

    Args:
        net, x, segmentation, segments, fill, seed, score, target, preprocess: as of `segment_occlusion`.
        masks: how many composites are scored.
        distance: of a composite to the image: "cosine", 1 - their cosine, or "euclidean", both of normalised pixels.
        width: of the kernel exp(-distance^2 / (2 width^2)) that weighs a composite.
        regression: "ridge" (the authors' choice, and the only one of the two penalties that follows the scores' scale),
            "lasso" (captum's default, with alpha=0.01 and width=1) or "least squares"; the intercept is not penalised.
        alpha: the penalty's weight, as scikit-learn's Ridge and Lasso have it.
        progress: called with (done, total) images.

    Returns maps float32 `[n, h, w]`. Raises InputError as `segment_occlusion` does, and for options out of range.

    >>> import numpy as np, saliency
    >>> total = lambda x: x.sum((1, 2, 3))
    >>> found = saliency.lime_maps(total, np.full((1, 2, 3, 1), 9.0), np.array([[0, 1, 1]] * 2), fill=0, alpha=1e-6)
    >>> found[0, 0].round(2).tolist()
    [18.0, 36.0, 36.0]
    """
    whole("masks", masks, least=2)
    one_of("distance", distance, get_args(Distance))
    number("width", width, above=0)
    one_of("regression", regression, get_args(Regression))
    number("alpha", alpha, least=0)
    asked = ask(
        net, x, lambda k: lime_masks(masks, k, seed), segmentation=segmentation, segments=segments, fill=fill,
        seed=seed, score=score, target=target, preprocess=preprocess, progress=progress,
    )  # fmt: skip
    values = []
    for image, filled, labels, shown, scores in zip(
        asked.x, asked.fills, asked.segments, asked.coalitions, asked.scores
    ):
        weights = lime_weights(image, filled, labels, shown, distance, width)
        values.append(fitted(shown, scores, weights, regression, alpha))
    return asked.maps(values)


def lime_masks(masks: int, segments: int, seed: int) -> Int[np.ndarray, "m k"]:
    """Each segment shown, 1, or hidden, 0, as a coin falls."""
    return np.random.default_rng(seed).integers(0, 2, (masks, segments))


def lime_weights(
    image: Float[np.ndarray, "h w c"],
    fill: Float[np.ndarray, "h w c"],
    labels: Int[np.ndarray, "h w"],
    shown: Num[np.ndarray, "m k"],
    distance: Distance = "cosine",
    width: float = 0.25,
) -> Float[np.ndarray, " m"]:
    """How much each composite weighs. Products of composites add up over segments, so that none has to be made."""
    image, fill = image.astype(float), fill.astype(float)

    def of_segments(values: Float[np.ndarray, "h w c"]) -> Float[np.ndarray, " k"]:
        return np.bincount(labels.ravel(), values.sum(-1).ravel(), shown.shape[1])

    own = of_segments(image * image)
    if distance == "euclidean":
        squared = (1 - shown) @ of_segments((image - fill) ** 2)
    else:
        inner = shown @ own + (1 - shown) @ of_segments(image * fill)
        length = np.sqrt(shown @ own + (1 - shown) @ of_segments(fill * fill))
        squared = (1 - inner / np.maximum(length * np.sqrt(own.sum()), 1e-8)) ** 2
    return np.exp(-squared / (2 * width**2))


def fitted(
    shown: Num[np.ndarray, "m k"],
    scores: Float[np.ndarray, " m"],
    weights: Float[np.ndarray, " m"],
    regression: Regression = "ridge",
    alpha: float = 1.0,
) -> Float[np.ndarray, " k"]:
    """The coefficients of the weighted linear model; of several least-squares solutions the shortest."""
    if not weights.sum() > 0:
        raise InputError("width is so small that no composite weighs anything: take a larger one")
    if regression == "lasso":
        from sklearn.linear_model import Lasso  # on use: slow to import

        model = Lasso(alpha=alpha, max_iter=10_000)
        return np.asarray(model.fit(shown.astype(float), scores, sample_weight=weights).coef_, float)
    shares = weights / weights.sum()
    inputs, outputs = shown - shares @ shown, scores - shares @ scores
    if regression == "ridge" and alpha > 0:
        left = inputs.T @ (weights[:, None] * inputs) + alpha * np.eye(inputs.shape[1])
        return np.linalg.solve(left, inputs.T @ (weights * outputs))
    roots = np.sqrt(weights / weights.max())
    return np.linalg.lstsq(roots[:, None] * inputs, roots * outputs, rcond=None)[0]


def kernel_shap_maps(
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
    """KernelSHAP (Lundberg & Lee 2017): Shapley values of the segments as the solution of a weighted least-squares
    problem; they add up to the score of the image less that of the fill alone.

    Exact where all 2^k coalitions are no more than `masks`, which are then all scored; otherwise `masks` of them, all
    and nothing shown among them, the others drawn by the Shapley kernel. It takes more masks than segments for the
    solution to be one of its own; with fewer it is the shortest. Arguments, result and errors are those of `lime_maps`.

    >>> import numpy as np, saliency
    >>> product = lambda x: x[:, 0, 0, 0] * x[:, 0, 1, 0] + x[:, 0, 2, 0]
    >>> found = saliency.kernel_shap_maps(product, np.ones((1, 1, 3, 1)), np.array([[0, 1, 2]]), fill=0)
    >>> found[0, 0].round(3).tolist()
    [0.5, 0.5, 1.0]
    """
    whole("masks", masks, least=2)
    drawn = cache(partial(kernel_shap_masks, masks, seed=seed))  # once for a number of segments, not for an image
    asked = ask(
        net, x, lambda k: drawn(k)[0], segmentation=segmentation, segments=segments, fill=fill,
        seed=seed, score=score, target=target, preprocess=preprocess, progress=progress,
    )  # fmt: skip
    return asked.maps(
        [
            kernel_shap_values(shown, scores, drawn(shown.shape[1])[1])
            for shown, scores in zip(asked.coalitions, asked.scores)
        ]
    )


def kernel_shap_masks(masks: int, segments: int, seed: int) -> tuple[Int[np.ndarray, "m k"], Float[np.ndarray, " m-2"]]:
    """Coalitions, all and nothing shown first, and how much each of the others weighs in the sum of squares.

    All of them, each by the Shapley kernel (k - 1) / (C(k, s) s (k - s)) of s shown of k; or as many as `masks`, drawn
    by that kernel, so that each weighs 1.
    """
    ends = np.array([np.ones(segments, int), np.zeros(segments, int)])
    if kernel_shap_count(masks, segments) == 2**segments:
        every = np.array(list(product((0, 1), repeat=segments)))[1:-1].reshape(-1, segments)
        return np.concatenate([ends, every]), np.array([_kernel(one) for one in every])
    rng = np.random.default_rng(seed)
    sizes = np.arange(1, segments)
    chances = 1 / (sizes * (segments - sizes))
    counts = rng.choice(sizes, masks - 2, p=chances / chances.sum())
    drawn = rng.random((masks - 2, segments)).argsort(1).argsort(1) < counts[:, None]
    return np.concatenate([ends, drawn.astype(int)]), np.ones(masks - 2)


def kernel_shap_count(masks: int, segments: int) -> int:
    """How many coalitions are scored: all, if they are no more than `masks`."""
    return 2**segments if 2**segments <= max(masks, 4) else masks


def _kernel(shown: Int[np.ndarray, " k"]) -> float:
    k, s = len(shown), int(shown.sum())
    return (k - 1) / (comb(k, s) * s * (k - s))


def kernel_shap_values(
    shown: Num[np.ndarray, "m k"], scores: Float[np.ndarray, " m"], weights: Float[np.ndarray, " m-2"]
) -> Float[np.ndarray, " k"]:
    """The values that fit the coalitions best and add up to the score of all less that of nothing, which are the first
    two. They are that sum's equal shares and what each segment differs from its own, which adds up to 0."""
    k = shown.shape[1]
    share = (scores[0] - scores[1]) / k
    if k == 1:
        return np.array([share])
    differing = shown[2:] - shown[2:].mean(1, keepdims=True)
    wanted = scores[2:] - scores[1] - share * shown[2:].sum(1)
    roots = np.sqrt(weights)
    return share + np.linalg.lstsq(roots[:, None] * differing, roots * wanted, rcond=None)[0]
