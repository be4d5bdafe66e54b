"""What single masks cannot show: parts that matter together."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int

from saliency.occlusion import Windows
from saliency.zeiler_fergus.regions import hidden


def separate(drop: Float[np.ndarray, "rows cols"], windows: Windows, count: int) -> Int[np.ndarray, " k"]:
    """Up to `count` window indices by falling drop, each chosen only if it overlaps none before it.

    Windows that overlap would hide less together than one by one, which is no interaction of the classifier's.
    """
    starts, chosen = windows.positions, list[int]()
    for index in np.argsort(-drop, axis=None, kind="stable"):
        if len(chosen) >= count:
            break
        apart = np.abs(starts[chosen] - starts[index]) >= windows.patch
        if apart.any(1).all():
            chosen.append(int(index))
    return np.array(chosen, int)


def interactions(
    score: Callable[[Float[np.ndarray, "n h w c"]], Float[np.ndarray, " n"]],
    image: Float[np.ndarray, "h w c"],
    fill: Float[np.ndarray, "h w c"],
    boxes: Int[np.ndarray, "k 4"],
) -> Float[np.ndarray, "k k"]:
    """Drop of hiding boxes i and j together, minus the sum of their single drops; the diagonal holds single drops.

    Zero for a score that adds up over pixels. Above zero the parts stand in for each other: either alone is enough.
    Below zero they need each other: losing one is already most of the loss.
    """
    pairs = list(combinations(range(len(boxes)), 2))
    parts = [[], *([i] for i in range(len(boxes))), *pairs]
    values = score(np.stack([hidden(image, fill, boxes[list(part)]) for part in parts])).astype(float)
    single = values[0] - values[1 : 1 + len(boxes)]
    matrix = np.diag(single)
    for (i, j), value in zip(pairs, values[1 + len(boxes) :]):
        matrix[i, j] = matrix[j, i] = values[0] - value - (single[i] + single[j])
    return matrix
