"""Images, maps and masks as Quantus takes them, for the measures that are its own."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from saliency._checks import ImagesLike, MapsLike, as_array, as_booleans, as_images
from saliency.errors import InputError
from saliency.faithfulness.curves import paired_maps


def to_quantus(
    x: ImagesLike, maps: MapsLike, target: ArrayLike, masks: ArrayLike | None = None
) -> Mapping[str, np.ndarray]:
    """`x_batch`, `y_batch`, `a_batch` and, with masks, `s_batch`, channels first: `metric(model=model, **batches)`.

    x: float `[n, h, w, c]` as the network takes them, and as `model`, its twin in another framework, does too.
    maps: float `[n, h, w]`. target: class indices, one or `[n]`. masks: booleans `[n, h, w]`
    (`faithfulness.box_masks` makes them of boxes). Raises InputError where they do not fit.

    >>> import numpy as np
    >>> from saliency import faithfulness
    >>> batches = faithfulness.to_quantus(np.zeros((2, 4, 6, 3)), np.zeros((2, 4, 6)), [1, 0], np.zeros((2, 4, 6)))
    >>> {name: (batch.shape, str(batch.dtype)) for name, batch in batches.items()}
    {'x_batch': ((2, 3, 4, 6), 'float32'), 'y_batch': ((2,), 'int64'), 'a_batch': ((2, 1, 4, 6), 'float32'),
    's_batch': ((2, 1, 4, 6), 'bool')}
    """
    x = as_images("x", x)
    maps = paired_maps(x, maps)
    targets = as_array("target", target, "class indices [n]")
    if targets.dtype.kind not in "iu" or targets.ndim > 1 or targets.size not in (1, len(x)):
        raise InputError(f"target must be one class index or one for each of the {len(x)} images")
    if targets.size and targets.min() < 0:
        raise InputError(f"target must be class indices from 0 on, not {targets.min()}")
    batches = {
        "x_batch": np.ascontiguousarray(np.moveaxis(x, -1, 1)),
        "y_batch": np.broadcast_to(targets.reshape(-1), len(x)).astype(np.int64),
        "a_batch": maps[:, None].astype(np.float32),
    }
    if masks is not None:
        inside = as_booleans("masks", masks, "[n, h, w]")
        if inside.shape != x.shape[:3]:
            raise InputError(f"masks must be {list(x.shape[:3])} as the images are, not {list(inside.shape)}")
        batches["s_batch"] = inside[:, None]
    return batches
