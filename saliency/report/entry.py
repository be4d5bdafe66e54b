"""What the classifier is not shown: how much of each photo its preprocessing cuts away, in words for a page."""

from collections.abc import Iterable

import numpy as np

from saliency.models.preprocessing import Placement, Preprocessing


def shown_share(placement: Placement) -> float:
    """The share of a photo's area, 0..1, that lies inside the network's input."""
    sides = [
        (min(size, (end - offset) / scale) - max(0.0, -offset / scale)) / size
        for size, end, scale, offset in zip(
            placement.photo[::-1], placement.input[::-1], placement.scale, placement.offset
        )
    ]
    return float(np.prod(np.clip(sides, 0, 1)))


def entry_words(preprocess: Preprocessing, sizes: Iterable[tuple[int, int]]) -> str:
    """One sentence: how photos of these (height, width) become input, and how much of them is cut away."""
    shares = [1 - shown_share(preprocess.placement((int(height), int(width)))) for height, width in sizes]
    height, width = preprocess.size
    how = {
        "stretch": "is stretched to the input",
        "crop": "is scaled and its middle cut out as the input",
        "letterbox": "is fitted into the input, which the mean colour fills up",
    }[preprocess.mode]
    cut = [share for share in shares if share > 1e-3]
    if not cut:
        lost = "nothing is cut away"
    elif len(shares) == 1:
        lost = f"its border is cut away, {cut[0]:.0%} of its area: nothing there can count"
    else:
        lost = (
            f"of {len(cut)} of {len(shares)} photo{'s' * (len(shares) > 1)} the border is cut away,"
            f" {np.mean(cut):.0%} of their area on average and {max(cut):.0%} at most: nothing there can count"
        )
    return f"{'The' if len(shares) == 1 else 'Each'} photo {how} of {width}x{height} px (width x height); {lost}."
