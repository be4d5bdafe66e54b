"""Coverage the slow way: cell by cell, rectangle by rectangle."""

from itertools import combinations

import numpy as np


def covered(box: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """The share of each cell, of a photo of side 1, that a box covers."""
    rows, columns = grid
    shares = np.zeros(grid)
    for row in range(rows):
        for column in range(columns):
            height = min(box[3], (row + 1) / rows) - max(box[1], row / rows)
            width = min(box[2], (column + 1) / columns) - max(box[0], column / columns)
            shares[row, column] = max(height, 0) * max(width, 0) * rows * columns
    return shares


def mean_rectangle(mask: np.ndarray, sharpness: float) -> np.ndarray:
    """The mean of all rectangles of whole cells, weighted by exp(sharpness * soft IoU), in shares of the sides."""
    rows, columns = mask.shape
    boxes, overlaps = [], []
    for top, bottom in combinations(range(rows + 1), 2):
        for left, right in combinations(range(columns + 1), 2):
            inside = sum(mask[y, x] for y in range(top, bottom) for x in range(left, right))
            overlaps.append(inside / ((bottom - top) * (right - left) + mask.sum() - inside))
            boxes.append([left / columns, top / rows, right / columns, bottom / rows])
    weights = np.exp(sharpness * np.array(overlaps))
    return weights @ np.array(boxes) / weights.sum()


def corrected_loss(boxes: np.ndarray, true: np.ndarray) -> float:
    """The correction's loss without its penalty, box by box."""
    losses = []
    for a, b in zip(boxes.tolist(), true.tolist()):
        width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        inside = width * height if width > 0 and height > 0 else 0.0
        union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inside
        hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
        overlap = inside / union
        losses.append(-(overlap - 0.2 * (hull - union) / hull) - 0.5 / (1 + np.exp(-12 * (overlap - 0.5))))
    return float(np.mean(losses))


def minimised(function, start: np.ndarray, steps: int, memory: int) -> np.ndarray:
    """L-BFGS of one descent, with a backtracking line search; `function` gives value and gradient."""
    at, (value, gradient) = start, function(start)
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(steps):
        vector, shares = gradient, []
        for step, change in reversed(pairs):
            shares.append(step @ vector / (step @ change))
            vector = vector - shares[-1] * change
        if pairs:
            vector = vector * (pairs[-1][0] @ pairs[-1][1] / (pairs[-1][1] @ pairs[-1][1]))
        for (step, change), share in zip(pairs, reversed(shares)):
            vector = vector + (share - change @ vector / (step @ change)) * step
        slope = -vector @ gradient
        if slope >= -1e-12:
            break
        rate = 1.0 if pairs else min(1.0, 1 / np.abs(gradient).sum())
        for _ in range(20):
            step = -rate * vector
            new_value, new_gradient = function(at + step)
            if new_value <= value + 1e-4 * rate * slope:
                break
            rate /= 2
        else:
            break
        change = new_gradient - gradient
        if step @ change > 1e-10 * np.sqrt((step @ step) * (change @ change)):
            pairs = [*pairs, (step, change)][-memory:]
        at, value, gradient = at + step, new_value, new_gradient
    return at
