"""Moving digits: short videos of handwritten digits that bounce about a dark canvas, like Moving MNIST, made offline.

Frames uint8 `[n, t, h, w, 3]` RGB (grey); labels int64 `[n, digits]` in 0..9; boxes float64 `[n, t, digits, 4]`,
`x0 y0 x1 y1` in continuous pixel edges, tight on the digit's ink. The splits share no digit instance. Everything is
drawn from a seed with integer arithmetic, so the same call gives the same bytes on any machine.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from saliency._checks import one_of, whole
from saliency.errors import InputError

SIDE = 7 / 16  # of the canvas's shorter side: 28 px of 64, as Moving MNIST has it
SPEED = (1 / 48, 1 / 16)  # of the shorter side, per frame
SPLITS = {"train": (0, 1097), "val": (1097, 1197), "test": (1197, 1797)}  # of the 1797 instances, shuffled
_FINE = 256  # positions are counted in 1/256 px


@dataclass(frozen=True)
class MovingDigits:
    """Videos, their labels and boxes, and which instance of scikit-learn's `load_digits` each digit is."""

    frames: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    instances: np.ndarray

    @property
    def images(self) -> np.ndarray:
        """The frames, by the name that every data set has for its pictures."""
        return self.frames

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each label."""
        return tuple("0123456789")

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        n, frames, height, width, _ = self.frames.shape
        return f"MovingDigits({n:,} videos of {frames} frames, {width}x{height} px, {self.labels.shape[1]} digits each)"


def moving_digits(
    split: str = "test",
    n: int = 100,
    *,
    frames: int = 5,
    digits: int = 1,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
) -> MovingDigits:
    """`n` videos of a split ("train", "val" or "test"); the first k of n are those of a call with n=k.

    A split's instances are gone through in a shuffled order, so that few videos share one. Where two digits meet, the
    brighter pixel shows. Raises InputError for an unknown split, a negative number and a canvas below 16 px.
    """
    one_of("split", split, SPLITS)
    for name, value, least in (("n", n, 0), ("frames", frames, 1), ("digits", digits, 1), ("seed", seed, 0)):
        whole(name, value, least)
    if not isinstance(size, tuple) or len(size) != 2:
        raise InputError(f"size must be (height, width), not {size!r}")
    for extent in size:
        whole("size", extent, 16)
    side = round(SIDE * min(size))
    ink, labels, order = _glyphs(side)
    first, last = SPLITS[split]
    instances = np.empty((n, digits), np.int64)
    canvas = np.zeros((n, frames, *size), np.uint8)
    boxes = np.empty((n, frames, digits, 4))
    for i in range(n):
        rng = np.random.default_rng([seed, i, list(SPLITS).index(split)])
        for j in range(digits):
            instances[i, j] = order[first + _turn(i * digits + j, last - first, seed)]
            glyph = ink[instances[i, j]]
            rows, cols = np.flatnonzero(glyph.any(1)), np.flatnonzero(glyph.any(0))
            glyph = glyph[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
            height, width = glyph.shape
            path = np.stack([_bounce(room - extent, min(size), frames, rng) for room, extent in zip(size, glyph.shape)])
            for t, (y, x) in enumerate(path.T):
                under = canvas[i, t, y : y + height, x : x + width]
                np.maximum(under, glyph, out=under)
                boxes[i, t, j] = x, y, x + width, y + height
    return MovingDigits(np.repeat(canvas[..., None], 3, -1), labels[instances], boxes, instances)


def _bounce(room: int, side: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Pixel positions along one axis: at a steady speed, reflected at both ends."""
    low, high = (round(speed * side * _FINE) for speed in SPEED)
    start = rng.integers(room * _FINE + 1)
    step = rng.integers(low, high + 1) * rng.choice([-1, 1])
    period = max(1, 2 * room * _FINE)
    at = (start + step * np.arange(frames)) % period
    return np.minimum(at, period - at).clip(0, room * _FINE) // _FINE


def _turn(index: int, count: int, seed: int) -> int:
    """A place in a shuffle of `count` that is made anew for every round through them."""
    return int(_shuffle(count, seed, index // count)[index % count])


@cache
def _shuffle(count: int, seed: int, turn: int) -> np.ndarray:
    return np.random.default_rng([seed, turn]).permutation(count)


@cache
def _glyphs(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ink uint8 [1797, side, side], labels, and one fixed shuffle of the instances."""
    from sklearn.datasets import load_digits

    data = load_digits()
    grey = (data.images * 255 / 16).astype(np.uint8)
    scaled = [np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)) for digit in grey]
    ink = np.stack(scaled)
    ink[ink < 32] = 0  # the resize's ripples are no ink
    return ink, data.target.astype(np.int64), np.random.default_rng(0).permutation(len(ink))
