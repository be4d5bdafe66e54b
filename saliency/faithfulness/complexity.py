"""How a map's values are spread: over few pixels or many."""

import numpy as np

from saliency._checks import MapsLike, PerImage, as_maps, number
from saliency.maps.status import usable


def sparsity(maps: MapsLike) -> PerImage:
    """Gini index of the absolute values of maps `[n, h, w]`: 0 where all are equal, near 1 where one pixel has all.

    Chalasani et al. 2020. NaN for a map that says nothing.

    >>> import numpy as np
    >>> from saliency import faithfulness
    >>> maps = np.arange(24.0).reshape(1, 4, 6)
    >>> faithfulness.sparsity(maps).round(3).tolist()
    [0.347]
    """
    maps = as_maps("maps", maps)
    size = maps[0].size if len(maps) else 1
    values = np.sort(np.abs(maps.reshape(len(maps), size)).astype(float))
    with np.errstate(invalid="ignore"):
        gini = (2 * np.arange(1, size + 1) - size - 1) @ values.T / (size * values.sum(1))
    return np.where(usable(maps), gini, np.nan)


def entropy(maps: MapsLike) -> PerImage:
    """Entropy, in nats, of the absolute values of maps `[n, h, w]` as a distribution over pixels.

    0 where one pixel has all, the logarithm of their number where all are equal. Bhatt et al. 2020, Definition 4. NaN
    for a map that says nothing.

    >>> import numpy as np
    >>> from saliency import faithfulness
    >>> faithfulness.entropy([[[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [-1.0, 1.0]]]).round(3).tolist()
    [0.0, 1.386]
    """
    maps = as_maps("maps", maps)
    values = np.abs(maps.reshape(len(maps), int(np.prod(maps.shape[1:])))).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = values / values.sum(1, keepdims=True)
        terms = np.where(shares > 0, -shares * np.log(shares), 0)
    return np.where(usable(maps), terms.sum(1) + 0.0, np.nan)


def effective_complexity(maps: MapsLike, share: float = 0.01) -> PerImage:
    """How many pixels of maps `[n, h, w]` exceed a `share` of the largest absolute value, in absolute value.

    After Nguyen & Martinez 2020. NaN for a map that says nothing.

    >>> from saliency import faithfulness
    >>> faithfulness.effective_complexity([[[0.0, 1.0], [-0.5, 0.001]]]).tolist()
    [2.0]
    """
    maps = as_maps("maps", maps)
    number("share", share, least=0, below=1)
    values = np.abs(maps)
    highest = values.max((1, 2), keepdims=True, initial=0)
    return np.where(usable(maps), (values > share * highest).sum((1, 2)), np.nan)
