"""What the linear map of a box regression sees of a saliency map: fixed transforms, nothing learned.

Maps are float `[n, h, w]`, or `[n, k, h, w]` for k methods stacked; features are float32 `[n, d]`, the
methods' one after another. Smoothing and pooling are products with a matrix for the rows and one for the columns.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from saliency._checks import StackedMapsLike, as_array, kind_of, number, one_of, whole
from saliency.errors import InputError

Coding = Literal["corners", "centre"]  # what boxes are as targets: two corners; centre and logarithms of the sides
Normalise = Literal["none", "sum", "max", "standardised"]
CHUNK = 256  # maps at once


@dataclass(frozen=True)
class Features:
    """Per map: smooth, focus, pool, raise to a power, normalise. `Features.raw()` is the paper's Eq. 4, all pixels.

    `smooth`: sigma of a Gaussian in pixels of the map. `size`: the most (rows, columns), pooled to by area (None: all).
    `normalise` divides a map by its sum or maximum, or makes it of mean 0 and deviation 1. `pixels=False` leaves the
    pixels themselves out.

    `focus`: sigma of a second Gaussian, as a share of the map's shorter side (0: none). The smoothed map's positive
    part is multiplied by the FOCUS_POWER-th power of itself under that Gaussian: what stands alone fades beside the
    largest group.

    `profiles`: quantiles q. The smoothed and powered map's share of mass above each row (left of each column), c, rises
    from 0 to 1; sigmoid((q - c) / `softness`) is then 1 before the q-quantile of the mass and 0 after it, so that
    a box's edge is nearly linear in these: their sum over the rows is the quantile's position. They are pooled to
    `size`, too.
    """

    size: tuple[int, int] | None = (24, 24)
    smooth: float = 1.0
    focus: float = 0.125
    power: float = 1.0
    normalise: Normalise = "sum"
    pixels: bool = False
    profiles: tuple[float, ...] = (0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98)
    softness: float = 0.05

    def __post_init__(self) -> None:
        one_of("normalise", self.normalise, get_args(Normalise))
        if self.size is not None:
            kind_of("size", self.size, tuple, "(rows, columns) of at least 1")
            if len(self.size) != 2:
                raise InputError(f"size must be (rows, columns), not {self.size}")
            for side in self.size:
                whole("size", side, least=1)
        for name in ("smooth", "focus"):
            number(name, getattr(self, name), least=0)
        for name in ("power", "softness"):
            number(name, getattr(self, name), above=0)
        kind_of("profiles", self.profiles, tuple, "quantiles between 0 and 1")
        for quantile in self.profiles:
            number("profiles", quantile, above=0, below=1)
        kind_of("pixels", self.pixels, bool, "whether pixels are features")
        if not self.pixels and not self.profiles:
            raise InputError("pixels=False without profiles leaves no features; give some quantiles as profiles")

    @classmethod
    def raw(cls, size: tuple[int, int] | None = None, normalise: Normalise = "none") -> "Features":
        return cls(size=size, smooth=0.0, focus=0.0, normalise=normalise, pixels=True, profiles=())

    def pooled(self, height: int, width: int) -> tuple[int, int]:
        """(rows, columns) that a map of height and width is pooled to."""
        rows, columns = self.size or (height, width)
        return min(rows, height), min(columns, width)

    def count(self, height: int, width: int) -> int:
        """Features of one method's map."""
        rows, columns = self.pooled(height, width)
        return rows * columns * self.pixels + len(self.profiles) * (rows + columns)

    def __call__(self, maps: StackedMapsLike) -> Float[np.ndarray, "n d"]:
        """Features in chunks of one compiled shape. A map that is not finite gives NaN features."""
        from localization.transforms import transformed

        maps = stacked(maps)
        n, chunk = len(maps), min(CHUNK, len(maps))
        parts = [
            np.asarray(transformed(maps[np.minimum(np.arange(i, i + chunk), n - 1)], features=self))
            for i in range(0, n, chunk or 1)
        ]
        width = maps.shape[1] * self.count(*maps.shape[2:])
        return np.concatenate(parts)[:n] if parts else np.empty((0, width), np.float32)


def stacked(maps: StackedMapsLike) -> Float[np.ndarray, "n k h w"]:
    """Maps with an axis of methods, or InputError for another shape."""
    maps = as_array("maps", maps, "numbers [n, h, w], or [n, k, h, w] for k methods stacked, of at least one pixel")
    if maps.ndim not in (3, 4) or 0 in maps.shape[1:] or maps.dtype.kind not in "fiub":
        raise InputError(
            f"maps must be numbers [n, h, w], or [n, k, h, w] for k methods stacked, of at least one pixel,"
            f" not {maps.dtype} {list(maps.shape)}"
        )
    return maps[:, None] if maps.ndim == 3 else maps
