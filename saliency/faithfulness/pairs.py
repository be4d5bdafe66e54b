"""How far maps agree: rank correlation, and overlap of the top pixels."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from saliency._checks import MapsLike, PerImage, as_maps, kind_of, number
from saliency.errors import InputError
from saliency.maps.ranks import rank_correlations, top_overlaps


def rank_correlation(a: MapsLike, b: MapsLike) -> PerImage:
    """Spearman's correlation of each pair of maps `[n, h, w]`; ties share their mean rank. NaN where one says nothing.

    >>> import numpy as np
    >>> from saliency import faithfulness
    >>> maps = np.arange(24.0).reshape(1, 4, 6)
    >>> faithfulness.rank_correlation(maps, -maps).round(6).tolist()
    [-1.0]
    """
    return np.array([rank_correlations(np.stack(pair))[0, 1] for pair in zip(*_pairs(a, b))], float)


def top_overlap(a: MapsLike, b: MapsLike, share: float = 0.1) -> PerImage:
    """How many of the top `share` of pixels two maps `[n, h, w]` have in common, as a share of them.

    >>> import numpy as np
    >>> from saliency import faithfulness
    >>> maps = np.arange(24.0).reshape(1, 4, 6)
    >>> faithfulness.top_overlap(maps, maps**2).tolist(), faithfulness.top_overlap(maps, -maps).tolist()
    ([1.0], [0.0])
    """
    number("share", share, above=0, below=1)
    return np.array([top_overlaps(np.stack(pair), share)[0, 1] for pair in zip(*_pairs(a, b))], float)


@dataclass(frozen=True)
class Agreement:
    """Means over images, for each pair of methods, of the rank correlation and of the overlap of the top pixels.

    >>> import numpy as np
    >>> from saliency.faithfulness import Agreement
    >>> Agreement(("a", "b"), np.eye(2), np.ones((2, 2))).correlation.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    names: tuple[str, ...]
    correlation: Float[np.ndarray, "m m"]
    overlap: Float[np.ndarray, "m m"]


def agreement(maps: Mapping[str, MapsLike], share: float = 0.1) -> Agreement:
    """All pairs of methods, by name; images that a method has no usable map for do not count for its pairs.

    >>> import numpy as np
    >>> from saliency import faithfulness
    >>> maps = np.arange(24.0).reshape(1, 4, 6)
    >>> found = faithfulness.agreement({"up": maps, "down": -maps})
    >>> found.names, found.correlation.round(6).tolist()
    (('up', 'down'), [[1.0, -1.0], [-1.0, 1.0]])
    """
    number("share", share, above=0, below=1)
    kind_of("maps", maps, Mapping, "from a method's name to its maps")  # type: ignore[type-abstract]
    each = [as_maps(f"maps of {name}", own) for name, own in maps.items()]
    if len({own.shape for own in each}) != 1 or not len(each[0]):
        raise InputError("agreement needs maps of the same images, at least one, from each method")
    stacks = [np.stack(own) for own in zip(*each)]
    return Agreement(
        tuple(maps),
        _mean(np.array([rank_correlations(stack) for stack in stacks])),
        _mean(np.array([top_overlaps(stack, share) for stack in stacks])),
    )


def _mean(pairs: Float[np.ndarray, "n m m"]) -> Float[np.ndarray, "m m"]:
    known = np.isfinite(pairs)
    with np.errstate(invalid="ignore"):
        return np.where(known, pairs, 0).sum(0) / known.sum(0)


def _pairs(a: MapsLike, b: MapsLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = as_maps("maps", a), as_maps("maps", b)
    if a.shape != b.shape:
        raise InputError(f"maps to compare must be of the same images, not {list(a.shape)} and {list(b.shape)}")
    return a, b
