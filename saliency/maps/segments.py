"""Superpixels: an image cut into connected regions, which perturbations hide and region maps rank.

SLIC and Felzenszwalb's segmentation are scikit-image's (extra `segments`), imported when they are asked for; a grid
needs nothing.
"""

import warnings
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from saliency._checks import as_array, described, number, one_of, whole
from saliency.errors import InputError

Segmentation = Literal["slic", "felzenszwalb", "grid"]
REMEDY = "need scikit-image: pip install 'salbox[segments]', or take method='grid'"


def superpixels(
    image: np.ndarray,
    method: Segmentation = "slic",
    *,
    segments: int = 50,
    compactness: float = 10.0,
    scale: float = 100.0,
    sigma: float = 0.8,
    min_size: int = 20,
) -> Int[np.ndarray, "h w"]:
    """The number of the region that each pixel belongs to, from 0 on without gaps: int32 `[h, w]`.

    Args:
        image: pixels 0..255, `[h, w, c]`, or `[h, w]` of one channel; of any dtype.
        method: "slic" (Achanta et al. 2012; of three channels in Lab), "felzenszwalb" (Felzenszwalb & Huttenlocher
            2004), or "grid", rectangles as nearly square as they can be, whatever the image shows.
        segments: SLIC's and the grid's number of regions, about.
        compactness: SLIC's weight of places against colours.
        scale: Felzenszwalb's; larger gives larger regions.
        sigma: Felzenszwalb's blur in pixels, before.
        min_size: Felzenszwalb's least region, in pixels.

    Raises InputError for an image of another shape, with NaN or beyond 0..255, an unknown method, numbers out of range,
    and where scikit-image is not installed.

    >>> import numpy as np, saliency
    >>> saliency.superpixels(np.zeros((4, 6, 3)), "grid", segments=6)
    array([[0, 0, 1, 1, 2, 2],
           [0, 0, 1, 1, 2, 2],
           [3, 3, 4, 4, 5, 5],
           [3, 3, 4, 4, 5, 5]], dtype=int32)
    """
    one_of("method", method, get_args(Segmentation))
    whole("segments", segments, least=1)
    number("compactness", compactness, above=0)
    number("scale", scale, above=0)
    number("sigma", sigma, least=0)
    whole("min_size", min_size, least=1)
    pixels = _pixels(image)
    if method == "grid":
        return grid(pixels.shape[0], pixels.shape[1], segments)
    if method == "felzenszwalb":
        return felzenszwalb(pixels / 255, scale, sigma, min_size)
    slic = _skimage("slic")
    return _numbered(slic(pixels / 255, segments, compactness, start_label=0, channel_axis=-1))


def check_segmentation(segmentation: object) -> None:
    """InputError for what says nothing about segments, whatever the images."""
    if isinstance(segmentation, str):
        one_of("segmentation", segmentation, get_args(Segmentation))
        return
    what = f"{', '.join(get_args(Segmentation))}, or whole numbers [h, w] or [n, h, w], a segment's for each pixel"
    given = as_array("segmentation", segmentation, what)
    if given.dtype.kind not in "iub" or given.ndim not in (2, 3):
        raise InputError(f"segmentation must be {what}, not {described(segmentation)}")


def felzenszwalb(
    image: Float[np.ndarray, "h w c"], scale: float, sigma: float, min_size: int
) -> Int[np.ndarray, "h w"]:
    """Felzenszwalb's regions of an image whose values span about 1; `scale` is of pixels 0..255, as the paper's."""
    segment = _skimage("felzenszwalb")
    with warnings.catch_warnings():  # it takes any number of channels, and wonders about more than three
        warnings.filterwarnings("ignore", "Got image with third dimension", RuntimeWarning)
        return _numbered(segment(image, scale=scale, sigma=sigma, min_size=min_size, channel_axis=-1))


def require_skimage(method: str) -> None:
    """InputError where scikit-image is not installed."""
    _skimage(method)


def _skimage(name: str) -> Any:
    try:
        from skimage import segmentation
    except ImportError as error:
        raise InputError(f"superpixels by {name} {REMEDY}") from error
    return getattr(segmentation, name)


def _pixels(image: np.ndarray) -> Float[np.ndarray, "h w c"]:
    try:
        pixels = np.asarray(image, float)
    except (TypeError, ValueError):
        raise InputError("image must be pixels [h, w, c] of one image, as an array of numbers") from None
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or not pixels.size:
        raise InputError(f"image must be the pixels [h, w, c] of one image, not {list(pixels.shape)}")
    if not np.isfinite(pixels).all():
        raise InputError("image has NaN or infinite values")
    if 0 < pixels.max() <= 1 and (pixels % 1).any():
        raise InputError(
            f"image must be pixels 0..255, not {pixels.min():g}..{pixels.max():g}, of which all would be nearly black:"
            " multiply it by 255"
        )
    if pixels.min() < 0 or pixels.max() > 255:
        raise InputError(
            f"image must be pixels 0..255, not {pixels.min():g}..{pixels.max():g}; of a network's normalised image"
            " net.preprocess.pixels(x) gives them"
        )
    return pixels


def grid(height: int, width: int, segments: int) -> Int[np.ndarray, "h w"]:
    rows = int(np.clip(round((segments * height / width) ** 0.5), 1, height))
    columns = int(np.clip(round(segments / rows), 1, width))
    row, column = np.arange(height) * rows // height, np.arange(width) * columns // width
    return (row[:, None] * columns + column[None]).astype(np.int32)


def _numbered(labels: np.ndarray) -> Int[np.ndarray, "h w"]:
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)
