"""Occlusion maps as slow loops over pixels and windows."""

import numpy as np


def starts(size: int, patch: int, stride: int, convention: str) -> list[int]:
    if convention == "pair":
        return list(range(0, size - patch, stride))
    if convention == "captum":
        found = [0]
        while found[-1] + patch < size:
            found.append(found[-1] + stride)
        return found
    return [start for start in range(0, size, stride) if start + patch <= size]


def hidden(image: np.ndarray, fill: np.ndarray, template: np.ndarray, row: int, col: int) -> np.ndarray:
    image = image.copy()
    for i in range(template.shape[0]):
        for j in range(template.shape[1]):
            y, x = row + i, col + j
            if y < image.shape[0] and x < image.shape[1]:
                image[y, x] += template[i, j] * (fill[y, x] - image[y, x])
    return image


def occlusion(score, image, fill, template, stride, convention):
    """Scores `[rows, cols]` and the pixel map `[h, w]` (None for the grid convention, which interpolates)."""
    height, width = image.shape[:2]
    rows = starts(height, template.shape[0], stride[0], convention)
    cols = starts(width, template.shape[1], stride[1], convention)
    base = score(image)
    scores = np.array([[score(hidden(image, fill, template, row, col)) for col in cols] for row in rows])
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for r, row in enumerate(rows):
        for c, col in enumerate(cols):
            for i in range(template.shape[0]):
                for j in range(template.shape[1]):
                    if row + i < height and col + j < width:
                        total[row + i, col + j] += (base - scores[r, c]) * template[i, j]
                        count[row + i, col + j] += template[i, j]
    if convention == "grid":
        return scores, None
    if convention == "captum":
        total = total / np.where(count > 0, count, np.nan)
    return scores, total


def interpolated(drops: np.ndarray, centres_y: np.ndarray, centres_x: np.ndarray, height: int, width: int):
    """Bilinear between window centres, constant beyond the outermost."""
    out = np.zeros((height, width))
    for y in range(height):
        line = [np.interp(y + 0.5, centres_y, drops[:, c]) for c in range(drops.shape[1])]
        for x in range(width):
            out[y, x] = np.interp(x + 0.5, centres_x, line)
    return out
