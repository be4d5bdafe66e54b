"""Whether a map says anything. One that does not never becomes a box, a rank or a figure."""

import numpy as np
from jaxtyping import Bool, Shaped

from saliency._checks import StackedMapsLike, as_array
from saliency.errors import InputError


def status(maps: StackedMapsLike) -> Shaped[np.ndarray, " n"]:
    """Of each map "ok", "not finite" or "constant"; of k stacked ones "constant" where all of them are.

    Raises InputError for what is no maps `[n, h, w]` or `[n, k, h, w]` of at least one pixel.

    >>> status([[[1, 2]], [[3, 3]], [[0, np.nan]]]).tolist()
    ['ok', 'constant', 'not finite']
    """
    if isinstance(maps, list | tuple) and not len(maps):
        return np.empty(0, "<U10")
    maps = as_array("maps", maps, "numbers [n, h, w], or [n, k, h, w] for k methods stacked")
    if maps.ndim not in (3, 4) or 0 in maps.shape[1:]:
        raise InputError(
            f"maps must be numbers [n, h, w], or [n, k, h, w] for k methods stacked, of at least one pixel,"
            f" not {maps.dtype} {list(maps.shape)}"
        )
    axes = tuple(range(1, maps.ndim))
    constant = (maps == maps[..., :1, :1]).all(axes)
    return np.select([~np.isfinite(maps).all(axes), constant], ["not finite", "constant"], "ok")


def usable(maps: StackedMapsLike) -> Bool[np.ndarray, " n"]:
    """Which maps say something."""
    return status(maps) == "ok"
