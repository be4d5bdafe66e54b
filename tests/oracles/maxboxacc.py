"""MaxBoxAcc the slow way: every threshold, every map, components by flooding."""

import numpy as np

from tests.oracles.boxes import iou_by_pixels


def components(mask: np.ndarray) -> list[list[tuple[int, int]]]:
    """Pixels (y, x) of each 8-connected component, in the order of their first pixels."""
    left, found = {tuple(p) for p in np.argwhere(mask).tolist()}, []
    for first in sorted(left):
        if first not in left:
            continue
        left.discard(first)
        todo, component = [first], [first]
        while todo:
            y, x = todo.pop()
            near = [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (y + dy, x + dx) in left]
            left.difference_update(near)
            todo += near
            component += near
        found.append(component)
    return found


def hit(map: np.ndarray, true: np.ndarray, threshold: float, level: float, every: bool) -> bool:
    scaled = (map - map.min()) / (map.max() - map.min())
    found = components(scaled >= threshold)
    if not every:
        found = [max(found, key=len)]
    for component in found:
        ys, xs = zip(*component)
        box = np.array([min(xs), min(ys), max(xs) + 1, max(ys) + 1])
        if any(iou_by_pixels(box, other, map.shape) >= level for other in true):
            return True
    return False
