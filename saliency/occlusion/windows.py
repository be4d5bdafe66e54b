"""Where occluding windows lie, what they hide, what fills them, and how their scores become a pixel map.

Sizes are (height, width) everywhere, and height is never assumed equal to width. A window is a template of
opacities in 0..1 placed at a start (row, column); what lies beyond the border is cut off.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from saliency._checks import Pair, as_array, as_images, described, one_of, pair
from saliency.errors import InputError
from saliency.models.preprocessing import Preprocessing

Convention = Literal["captum", "pair", "xplique", "grid"]
Shape = Literal["rectangle", "disc", "gaussian"]
Fill = str | float | tuple[float, ...]
FILLS = ("grey", "mean", "blur", "noise")
GREY = 127.5
FAR = 10  # times the images' range: a fill further away from them is stated in another space
BLUR = 0.1  # the blurred image's sigma, as a share of the image's shorter side


@dataclass(frozen=True)
class Windows:
    """All positions of a sliding window over an image.

    `image`, `patch` and `stride` are (height, width) in pixels, or one number for both. `shape` says what of the patch
    is hidden: "rectangle", "disc" (the inscribed ellipse) or "gaussian" (fading out, sigma a quarter of the side).

    `convention` says where windows start and how a pixel's value is made of theirs. All are drops: the whole image's
    score less the score under the window, as captum and MATLAB have it.

    - captum: the last window is cut off at the border; a pixel is the mean over the windows that hide it.
    - xplique: windows that do not fit are left out; a pixel is the sum.
    - pair: the sum too, at every start but the last of each axis (PAIR's loop ends one early).
    - grid: windows that do not fit are left out; a pixel is interpolated bilinearly between the windows' centres.

    MATLAB's occlusionSensitivity is no convention here. The nearest is grid, with a patch of a fifth of each side, a
    stride of a tenth, the score "probability" and the fill "mean": its masks wholly within the image (MaskClipping
    "on"), its scores (OutputUpsampling "none") our `drops`. By default its first mask has its centre in the corner,
    masks at the border are cut off on each side of the image, and the scores are enlarged bicubically.

    Raises InputError for a patch larger than the image, a stride that leaves pixels uncovered, and unknown names.

    >>> windows = Windows((17, 13), patch=5, stride=(4, 3))
    >>> windows.grid, windows.coverage.min().item()
    ((4, 4), 1.0)
    """

    image: Pair
    patch: Pair
    stride: Pair
    shape: Shape = "rectangle"
    convention: Convention = "captum"

    def __post_init__(self) -> None:
        for name in ("image", "patch", "stride"):  # one number stands for both
            object.__setattr__(self, name, pair(name, getattr(self, name)))
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
    x: Float[np.ndarray, "n h w c"], fill: Fill | np.ndarray, preprocess: Preprocessing | None, seed: int = 0
) -> Float[np.ndarray, "n h w c"]:
    """What shows through the windows, in the images' own space. Levels are stated as pixels, 0..255.

    "grey" (127.5), a number, (r, g, b) or one number a channel, "mean" (each image's own mean colour), "blur" (the
    image, blurred by a tenth of its shorter side), "noise" (uniform pixels from `seed`, the same for every image).
    `preprocess` takes levels to the images' space; None: it is not known, and `x` is taken for pixels 0..255. Images
    `[n, h, w, c]` that are in that space already are taken as they are.

    Raises InputError for another fill, and, where the space is not known, for one that lies far outside the images'
    range: 127.5 is no grey among images of 0..1.
    """
    check_fill(fill)
    channels = x.shape[-1]
    if np.ndim(fill) == 4:
        images = as_images("fill", fill, x.dtype)
        if images.shape != x.shape:
            raise InputError(f"fill must be {list(x.shape)} as the images are, not {list(images.shape)}")
        return images
    if isinstance(fill, str) and fill == "mean":
        return np.broadcast_to(x.mean((1, 2), keepdims=True), x.shape).astype(x.dtype)
    if isinstance(fill, str) and fill == "blur":
        from scipy.ndimage import gaussian_filter  # on use: it takes longer to import than all of ours

        sigma = BLUR * min(x.shape[1:3])
        return gaussian_filter(x, (0, sigma, sigma, 0), mode="nearest")
    pixels = _pixels(fill, x.shape[1:], seed)  # type: ignore[arg-type]
    if preprocess is None:
        _check_range(x, fill, pixels)
    elif channels != len(preprocess.mean):
        raise InputError(f"fill: preprocess is for {len(preprocess.mean)} channels, and x has {channels}")
    else:
        pixels = preprocess.normalise(pixels)
    return np.broadcast_to(pixels.astype(x.dtype), x.shape)


def check_fill(fill: Fill | np.ndarray) -> None:
    """InputError for what is no fill, whatever the images."""
    if isinstance(fill, str):
        if fill not in FILLS:
            raise InputError(f"fill must be {', '.join(FILLS)}, a level 0..255 or one for each channel, not {fill!r}")
    elif np.ndim(fill) != 4:
        levels = as_array("fill", fill, f"{', '.join(FILLS)}, a level 0..255 or one for each channel")
        if (
            levels.dtype.kind == "b"
            or levels.ndim > 1
            or not levels.size
            or not ((levels >= 0) & (levels <= 255)).all()
        ):
            raise InputError(f"fill must be one level 0..255 or one for each channel (r, g, b), not {described(fill)}")


def _pixels(fill: Fill, shape: tuple[int, ...], seed: int) -> Float[np.ndarray, "*hw c"]:
    """A fill that looks at no image, as pixels 0..255: a colour `[c]`, or noise `[h, w, c]`."""
    if isinstance(fill, str):
        return np.random.default_rng(seed).uniform(0, 255, shape) if fill == "noise" else np.full(shape[-1], GREY)
    levels = np.asarray(fill, float).reshape(-1)
    if levels.size not in (1, shape[-1]):
        raise InputError(f"fill must be one level or one for each of {shape[-1]} channels, not {described(fill)}")
    return np.broadcast_to(levels, shape[-1:])


def _check_range(x: np.ndarray, fill: object, pixels: np.ndarray) -> None:
    """InputError where pixels of the fill lie more than FAR times the images' range away from them."""
    if not x.size or x.min() == x.max() == 0:
        return
    low, high = float(x.min()), float(x.max())
    room = FAR * max(high - low, abs(high), abs(low))
    if pixels.min() < low - room or pixels.max() > high + room:
        said = f"{fill} is {pixels.min():g}" if pixels.ndim == 1 else f"{fill} reaches {pixels.max():.4g}"
        raise InputError(
            f"fill {said} in pixels, far outside of the images' range {low:.4g} to {high:.4g}: say by preprocess how"
            " pixels 0..255 become such images, or give the fill as images"
        )
