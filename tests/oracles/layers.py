"""Layers as slow loops over one image `[h, w, c]`."""

import numpy as np


def windows(x: np.ndarray, window, stride, padding, out, fill: float):
    """Yields (row, column, patch `[kh, kw, c]`), positions beyond the padding filled as the padding is."""
    (top, _), (left, _) = padding
    for i in range(out[0]):
        for j in range(out[1]):
            patch = np.full((*window, x.shape[-1]), fill)
            for a in range(window[0]):
                for b in range(window[1]):
                    row, col = i * stride[0] + a - top, j * stride[1] + b - left
                    if 0 <= row < x.shape[0] and 0 <= col < x.shape[1]:
                        patch[a, b] = x[row, col]
            yield i, j, patch


def conv(x, kernel, bias, stride, padding, groups, out):
    result = np.zeros((*out, kernel.shape[-1]))
    inside, outside = x.shape[-1] // groups, kernel.shape[-1] // groups
    for i, j, patch in windows(x, kernel.shape[:2], stride, padding, out, 0.0):
        for k in range(kernel.shape[-1]):
            group = k // outside
            result[i, j, k] = (patch[..., group * inside : (group + 1) * inside] * kernel[..., k]).sum() + bias[k]
    return result


def max_pool(x, window, stride, padding, out):
    result = np.zeros((*out, x.shape[-1]))
    for i, j, patch in windows(x, window, stride, padding, out, -np.inf):
        result[i, j] = patch.max((0, 1))
    return result


def avg_pool(x, window, stride, padding, out):
    """Padding counts, positions beyond it do not."""
    result = np.zeros((*out, x.shape[-1]))
    for i, j, patch in windows(x, window, stride, padding, out, 0.0):
        counted = 1
        for axis, at in ((0, i), (1, j)):
            end = x.shape[axis] + sum(padding[axis])
            counted *= min(at * stride[axis] + window[axis], end) - at * stride[axis]
        result[i, j] = patch.sum((0, 1)) / counted
    return result


def response_norm(x, size, alpha, beta, k):
    result = np.zeros_like(x)
    channels = x.shape[-1]
    for c in range(channels):
        near = range(max(0, c - size // 2), min(channels, c + size // 2 + 1))
        squares = sum(x[..., other] ** 2 for other in near)
        result[..., c] = x[..., c] / (k + alpha / size * squares) ** beta
    return result
