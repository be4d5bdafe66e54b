"""Where occluding windows lie, what they hide, what fills them, and how their scores become a pixel map.

Sizes are (height, width) everywhere, and height is never assumed equal to width. A window is a template of
opacities in 0..1 placed at a start (row, column); what lies beyond the border is cut off.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter

from saliency._checks import Pair, one_of
from saliency.errors import InputError
from saliency.models.preprocessing import Preprocessing

Convention = Literal["captum", "pair", "xplique", "grid"]
Shape = Literal["rectangle", "disc", "gaussian"]
Fill = str | float | tuple[float, float, float]
GREY = 127.5
BLUR = 0.1  # the blurred image's sigma, as a share of the image's shorter side


@dataclass(frozen=True)
class Windows:
    """All positions of a sliding window over an image.

    `convention` says where windows start and how a pixel's value is made of theirs (all are drops, base - occluded):

    - captum: the last window is cut off at the border; a pixel is the mean over the windows that hide it.
    - xplique: windows that do not fit are left out; a pixel is the sum.
    - pair: the sum too, at every start but the last of each axis (PAIR's loop ends one early).
    - grid: windows that do not fit are left out; a pixel is interpolated between the centres of the windows.
    """

    image: Pair
    patch: Pair
    stride: Pair
    shape: Shape = "rectangle"
    convention: Convention = "captum"

    def __post_init__(self) -> None:
        one_of("convention", self.convention, get_args(Convention))
        one_of("shape", self.shape, get_args(Shape))
        for image, patch, stride, axis in zip(self.image, self.patch, self.stride, ("high", "wide")):
            if not 1 <= patch <= image:
                raise InputError(f"patch must be 1 to {image} px {axis}, the image's size, not {patch}")
            if stride < 1:
                raise InputError(f"stride must be at least 1 px, not {stride}")
            if self.convention == "captum" and stride > patch:
                raise InputError(
                    f"stride must not exceed the patch ({patch} px {axis}), or pixels stay uncovered; it is {stride}"
                )
            if self.convention == "pair" and patch == image:
                raise InputError(f"the pair convention needs a patch smaller than the image, not {patch} px {axis}")

    @cached_property
    def starts(self) -> tuple[Int[np.ndarray, " rows"], Int[np.ndarray, " cols"]]:
        """First row of each row of windows, first column of each column of windows."""
        rows, cols = (
            np.arange(0, self._last(image - patch, stride) + 1, stride)
            for image, patch, stride in zip(self.image, self.patch, self.stride)
        )
        return rows, cols

    def _last(self, room: int, stride: int) -> int:
        match self.convention:
            case "captum":
                return -(-room // stride) * stride
            case "pair":
                return room - 1
            case _:
                return room

    @property
    def grid(self) -> Pair:
        return len(self.starts[0]), len(self.starts[1])

    @cached_property
    def positions(self) -> Int[np.ndarray, "p 2"]:
        """Start (row, column) of every window, row by row."""
        rows, cols = self.starts
        return np.stack([np.repeat(rows, len(cols)), np.tile(cols, len(rows))], -1).astype(np.int32)

    @cached_property
    def template(self) -> Float[np.ndarray, "ph pw"]:
        """Opacity of each pixel: 1 hides it. Disc: the inscribed ellipse; Gaussian: sigma = a quarter of the side."""
        y, x = (np.abs((np.arange(size) + 0.5) / size * 2 - 1) for size in self.patch)
        radius2 = y[:, None] ** 2 + x[None] ** 2
        match self.shape:
            case "rectangle":
                return np.ones(self.patch)
            case "disc":
                return (radius2 <= 1).astype(float)
            case "gaussian":
                return np.exp(-2 * radius2)

    @cached_property
    def coverage(self) -> Float[np.ndarray, "h w"]:
        """How many windows hide each pixel, opacity counted."""
        return self._spread(np.ones((1, *self.grid)))[0]

    def pixel_maps(self, drops: Float[np.ndarray, "n rows cols"]) -> Float[np.ndarray, "n h w"]:
        """Maps from the drops of each window; NaN where no window hides a pixel under the captum convention."""
        if self.convention == "grid":
            return self._interpolated(drops)
        total = self._spread(np.asarray(drops, float))
        if self.convention == "captum":
            with np.errstate(invalid="ignore"):
                total = total / self.coverage
        return total.astype(np.float32)

    def _spread(self, values: np.ndarray) -> np.ndarray:
        canvas = np.zeros((len(values), self.image[0] + self.patch[0], self.image[1] + self.patch[1]))
        for i, row in enumerate(self.starts[0]):
            for j, col in enumerate(self.starts[1]):
                canvas[:, row : row + self.patch[0], col : col + self.patch[1]] += (
                    values[:, i, j, None, None] * self.template
                )
        return canvas[:, : self.image[0], : self.image[1]]

    def _interpolated(self, drops: np.ndarray) -> np.ndarray:
        rows, cols = (
            np.stack([np.interp(np.arange(size) + 0.5, starts + patch / 2, unit) for unit in np.eye(len(starts))])
            for size, patch, starts in zip(self.image, self.patch, self.starts)
        )
        return np.einsum("nij,ih,jw->nhw", drops, rows, cols).astype(np.float32)


def fill_images(
    x: Float[np.ndarray, "n h w 3"], fill: Fill | np.ndarray, preprocess: Preprocessing, seed: int = 0
) -> Float[np.ndarray, "n h w 3"]:
    """What shows through the windows, in the network's space. Levels are stated as pixels, 0..255 RGB.

    "grey" (127.5), a number, (r, g, b), "mean" (each image's mean colour), "blur" (the image, blurred by a tenth of
    its shorter side), "noise" (uniform pixels from `seed`, the same for every image). Images `[n, h, w, 3]` that are in
    that space already are taken as they are.
    """
    if np.ndim(fill) == 4:
        if np.shape(fill) != x.shape:
            raise InputError(f"fill must be {list(x.shape)} as the images are, not {list(np.shape(fill))}")
        return np.asarray(fill, np.float32)
    if isinstance(fill, str):
        match fill:
            case "grey":
                colour = np.full(3, GREY)
            case "mean":
                return np.broadcast_to(x.mean((1, 2), keepdims=True), x.shape).astype(np.float32)
            case "blur":
                sigma = BLUR * min(x.shape[1:3])
                return gaussian_filter(np.asarray(x, np.float32), (0, sigma, sigma, 0), mode="nearest")
            case "noise":
                noise = np.random.default_rng(seed).uniform(0, 255, x.shape[1:])
                return np.broadcast_to(preprocess.normalise(noise), x.shape)
            case _:
                raise InputError(f"fill must be grey, mean, blur, noise, a level 0..255 or r,g,b, not {fill!r}")
    else:
        colour = np.broadcast_to(np.asarray(fill, float), (3,)) if np.size(fill) in (1, 3) else np.full(3, np.nan)
    if not ((colour >= 0) & (colour <= 255)).all():
        raise InputError(f"fill must be one level 0..255 or three (r, g, b), not {fill!r}")
    return np.broadcast_to(np.asarray(preprocess.normalise(colour), np.float32), x.shape)
