"""Overlap the slow way: pixel by pixel, and as VOC's devkit writes it."""

import numpy as np


def iou_by_pixels(a: np.ndarray, b: np.ndarray, size: tuple[int, int]) -> float:
    """Of boxes with whole corners: how many pixels lie in both, and in either."""
    both = either = 0
    for y in range(size[0]):
        for x in range(size[1]):
            in_a, in_b = (box[0] <= x < box[2] and box[1] <= y < box[3] for box in (a, b))
            both += in_a and in_b
            either += in_a or in_b
    return both / either if either else 0.0


def iou_devkit(a: np.ndarray, b: np.ndarray) -> float:
    """Of 1-based inclusive corners."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return width * height / (sum(areas) - width * height)
