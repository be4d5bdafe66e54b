"""The order of a map's pixels, and how far the orders of several maps agree."""

import numpy as np
from jaxtyping import Float, Int

from saliency.maps.status import usable


def descending_rank(values: Float[np.ndarray, "h w"]) -> Int[np.ndarray, "h w"]:
    """Each pixel's place in the order from the highest value down, 0 first; ties in reading order."""
    order = np.argsort(-values, axis=None, kind="stable")
    place = np.empty(order.size, np.int64)
    place[order] = np.arange(order.size)
    return place.reshape(values.shape)


def rank_correlations(maps: Float[np.ndarray, "m h w"]) -> Float[np.ndarray, "m m"]:
    """Spearman's correlation over pixels of every two maps; ties share their mean rank.

    NaN where one of the two is constant or not finite.
    """
    from scipy.stats import rankdata  # on use: it takes longer to import than all of ours

    ranks = rankdata(np.reshape(maps, (len(maps), -1)), axis=1)
    ranks -= ranks.mean(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        ranks /= np.linalg.norm(ranks, axis=1, keepdims=True)
    ranks[~usable(maps)] = np.nan
    return ranks @ ranks.T


def top_overlaps(maps: Float[np.ndarray, "m h w"], share: float) -> Float[np.ndarray, "m m"]:
    """Which share of the top `share` of pixels every two maps have in common; NaN as for the correlation."""
    count = max(1, round(share * maps[0].size))
    top = np.array([descending_rank(values) < count for values in maps], float).reshape(len(maps), -1)
    top[~usable(maps)] = np.nan
    return top @ top.T / count
