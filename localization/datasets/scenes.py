"""Scenes: the embedded data set. A handwritten digit somewhere on a photograph, among stray strokes.

Images uint8 [n, 96, 96, 3] RGB; labels int64 [n] in 0..9; boxes float64 [n, 4], `x0 y0 x1 y1` in
continuous pixel edges (half-open), tight on the pixels the digit covers. Everything is drawn from a
seed with integer arithmetic, so the same call gives the same bytes on any machine. The splits share
neither a digit instance nor a piece of a photograph.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from saliency._checks import one_of, whole

SIZE = 96
GLYPH = (16, 56)  # px, the geometric mean of the drawn tile's sides
ASPECT = (0.8, 1.25)
FRAGMENTS = (3, 7)
CONTRAST = 70  # grey levels between a stroke and what lies under it

# Of the 1797 digit instances and of the 640 columns of each photograph.
_DIGITS = {"train": (0, 1197), "val": (1197, 1497), "test": (1497, 1797)}
_COLUMNS = {"train": (0, 384), "val": (384, 512), "test": (512, 640)}


@dataclass(frozen=True)
class Scenes:
    """Images uint8 [n, 96, 96, 3], labels int64 [n], boxes float64 [n, 4], and which digit was drawn.

    `digits` int64 [n] holds the index of each drawn instance in scikit-learn's `load_digits`.
    """

    split: str
    seed: int
    images: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    digits: np.ndarray

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each label."""
        return tuple("0123456789")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"Scenes({self.split}, seed {self.seed}: {len(self):,} images of {SIZE}x{SIZE} px with a digit each)"


def scenes(split: str = "test", n: int = 100, seed: int = 0) -> Scenes:
    """Draw `n` scenes of a split ("train", "val" or "test"); the first k of n are those of a call with n=k.

    Raises InputError for an unknown split or a negative n.
    """
    one_of("split", split, _DIGITS)
    whole("n", n)
    whole("seed", seed)
    images = np.empty((n, SIZE, SIZE, 3), np.uint8)
    boxes = np.empty((n, 4))
    digits = np.empty(n, np.int64)
    for i in range(n):
        images[i], boxes[i], digits[i] = _draw(split, np.random.default_rng([seed, i, list(_DIGITS).index(split)]))
    return Scenes(split, seed, images, _digits()[1][digits], boxes, digits)


@cache
def _digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ink uint8 [1797, 8, 8] in 0..255, labels int64 [1797], and one fixed shuffle of the instances."""
    from sklearn.datasets import load_digits

    data = load_digits()
    ink = (data.images * 255 / 16).astype(np.uint8)
    return ink, data.target.astype(np.int64), np.random.default_rng(0).permutation(len(ink))


@cache
def _photos() -> tuple[np.ndarray, ...]:
    from sklearn.datasets import load_sample_images

    return tuple(np.asarray(photo) for photo in load_sample_images().images)


def _draw(split: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    """One scene: (image uint8 [96, 96, 3], box [4], index of the digit instance)."""
    ink, _, order = _digits()
    instances = order[slice(*_DIGITS[split])]
    canvas = _background(split, rng)
    chosen = int(rng.choice(instances))
    for _ in range(rng.integers(FRAGMENTS[0], FRAGMENTS[1] + 1)):
        other = int(rng.choice(instances))
        if other != chosen:
            _stamp(canvas, _fragment(ink[other], rng), rng)
    box = _stamp(canvas, _scaled(ink[chosen], 1.0, rng), rng)
    return canvas, box, chosen


def _background(split: str, rng: np.random.Generator) -> np.ndarray:
    photo = _photos()[rng.integers(len(_photos()))]
    left, right = _COLUMNS[split]
    y = rng.integers(photo.shape[0] - SIZE + 1)
    x = rng.integers(left, right - SIZE + 1)
    crop = photo[y : y + SIZE, x : x + SIZE]
    return (crop[:, ::-1] if rng.integers(2) else crop).copy()


def _fragment(digit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A stroke piece: 2 to 4 cells a side cut out of a digit where there is ink, drawn at the digit's scale."""
    height, width = rng.integers(2, 5, size=2)
    ys, xs = np.nonzero(digit > 128)
    at = rng.integers(len(ys))
    y = int(np.clip(ys[at] - height // 2, 0, 8 - height))
    x = int(np.clip(xs[at] - width // 2, 0, 8 - width))
    piece = np.zeros((height + 2, width + 2), np.uint8)  # a blank rim, so that the stroke ends softly
    piece[1:-1, 1:-1] = digit[y : y + height, x : x + width]
    return _scaled(piece, max(piece.shape) / 8, rng)


def _scaled(ink: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Opacity uint8 [h, w] of the ink at a random size and aspect, cut tight."""
    size = scale * rng.uniform(*GLYPH)
    root = np.sqrt(rng.uniform(*ASPECT))
    width, height = max(1, round(size * root)), max(1, round(size / root))
    grey = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BICUBIC), np.int32)
    opacity = np.clip((grey - 90) * 3, 0, 255).astype(np.uint8)  # steep, so that a stroke has an edge
    ys, xs = np.nonzero(opacity)
    if not len(ys):
        return np.full((1, 1), 255, np.uint8)
    return opacity[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]


def _stamp(canvas: np.ndarray, opacity: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Paint a stroke in a contrasting colour at a random place, in the canvas; returns its box."""
    height, width = opacity.shape
    y = int(rng.integers(SIZE - height + 1))
    x = int(rng.integers(SIZE - width + 1))
    under = canvas[y : y + height, x : x + width].astype(np.int32)
    colour = _contrasting(int(under.mean()), rng)
    alpha = opacity[..., None].astype(np.int32)
    canvas[y : y + height, x : x + width] = (under * (255 - alpha) + colour * alpha + 127) // 255
    return np.array([x, y, x + width, y + height], float)


def _contrasting(level: int, rng: np.random.Generator) -> np.ndarray:
    for _ in range(50):
        colour = rng.integers(0, 256, size=3)
        if abs(int(colour.sum()) // 3 - level) >= CONTRAST:
            return colour
    return np.full(3, 0 if level > 127 else 255)
