"""From a map over the network's input to a map over the photo."""

import numpy as np
from jaxtyping import Float

from saliency._checks import as_array, kind_of, number
from saliency.errors import InputError
from saliency.models.preprocessing import Placement


def map_to_photo(
    map: Float[np.ndarray, "h w"], placement: Placement, outside: float = 0.0
) -> Float[np.ndarray, "height width"]:
    """A map over the input as a map over the photo: bilinear between pixel centres, `outside` where a crop cut.

    `placement` is where the photo lies in the input, `net.preprocess.placement((height, width))`. The map may be
    coarser than the input (a grid of scores): it is taken to cover the whole of it. What comes out has one value for
    each pixel of the photo. Raises InputError for what is no map `[h, w]`.

    >>> import saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> map_to_photo(np.eye(3), net.preprocess.placement((40, 60))).shape
    (40, 60)
    """
    from scipy.ndimage import affine_transform  # on use: it takes longer to import than all of ours

    kind_of("placement", placement, Placement, "as net.preprocess.placement((height, width)) gives it")
    if not (isinstance(outside, float) and np.isnan(outside)):  # which may stand for what is not known
        number("outside", outside)
    map = as_array("map", map, "numbers [h, w]")
    if map.ndim != 2 or 0 in map.shape:
        raise InputError(f"map must be numbers [h, w], not {list(map.shape)}")
    map = map.astype(np.float32) if map.dtype.kind != "f" else map
    # Along one axis: photo pixel p has its centre at p + 1/2, lands at (p + 1/2) * scale + offset in the input, and
    # so at that number times the map's resolution in the map, whose own pixel q has its centre at q + 1/2.
    resolution = np.array(map.shape) / placement.input
    scale = np.array(placement.scale[::-1]) * resolution
    offset = np.array(placement.offset[::-1]) * resolution
    start = 0.5 * scale + offset - 0.5
    photo = affine_transform(map, scale, start, output_shape=placement.photo, order=1, mode="nearest")
    for axis in (0, 1):
        centre = start[axis] + scale[axis] * np.arange(placement.photo[axis])
        cut = (centre < -0.5) | (centre > map.shape[axis] - 0.5)
        photo[(cut, slice(None)) if axis == 0 else (slice(None), cut)] = outside
    return photo
