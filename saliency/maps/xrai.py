"""XRAI: integrated gradients, given to regions of the image instead of pixels (Kapishnikov et al. 2019)."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from saliency._checks import ImagesLike, function, kind_of, whole
from saliency._cores import cores
from saliency.maps.attribution import Gradient, IntegratedGradients, attribution_maps
from saliency.maps.gradient import Progress
from saliency.maps.segments import felzenszwalb, require_skimage
from saliency.models.network import Network, check_input
from saliency.scores import Score, Target, as_score

SCALES = (50, 100, 150, 250, 500, 1200)  # Felzenszwalb's, of an image with values -1..1
SIDE, SIGMA, LEAST = 224, 0.8, 150  # the size an image is segmented at, the blur before, and the smallest region there
DILATION, ADDED = 5, 50  # of an image of SIDE: pixels by which regions grow, and the fewest that a region has to add


def xrai(
    net: Network,
    x: ImagesLike,
    *,
    steps: int = 100,
    scales: int = len(SCALES),
    score: str | Score = "logit",
    target: Target = None,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n h w"]:
    """Every pixel's region's gain: regions are taken one by one, always the one with the most attribution a pixel among
    pixels not yet taken (Kapishnikov et al. 2019, Algorithm 1).

    The attribution is integrated gradients' mean from black and from white, the largest of the channels; the regions
    are Felzenszwalb's at six scales, of the photo as the network sees it, each grown a little, to hold its own edges.
    Lengths in pixels are PAIR's for images of 224 pixels, and go with the image's size.

    Args:
        net: a network.
        x: float `[n, h, w, c]` as `net.preprocess` gives it.
        steps: gradients from black, and as many from white.
        scales: so many of the six scales, spread from the finest to the coarsest; each takes a segmentation, which on
            small images lasts longer than all passes.
        score, target, progress: as for `gradient_maps`.

    Returns:
        float32 `[n, h, w]`, signed.

    Raises InputError as `gradient_maps` does, and where scikit-image (extra `segments`) is not installed.

    >>> import numpy as np, saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> x = net.preprocess(np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3)).astype(np.uint8))
    >>> saliency.xrai(net, x, steps=4, target=3).shape
    (1, 96, 96)
    """
    kind_of("net", net, Network, "as load_network gives it")
    whole("steps", steps, least=1)
    whole("scales", scales, least=1, most=len(SCALES))
    function("progress", progress, "(done, total)")
    require_skimage("felzenszwalb")
    x = check_input(net, x, as_score(score).layer_in(net.architecture))
    channels = net.preprocess.channels
    ends = net.preprocess.normalise(np.array([[0.0] * channels, [255.0] * channels]))
    recipe = FromEnds(steps, tuple(tuple(map(float, end)) for end in ends))
    attributions = attribution_maps(net, x, recipe, score=score, target=target, progress=progress)
    with ThreadPoolExecutor(cores()) as pool:  # NumPy, SciPy and scikit-image let go of Python's lock for much of it
        maps = list(pool.map(lambda pair: gains(pair[0], regions(pair[1], scales=scales)), zip(attributions, x)))
    return np.stack(maps).astype(np.float32) if maps else attributions


@dataclass(frozen=True)
class FromEnds:
    """Integrated gradients' mean from images of one colour each, the largest of the channels."""

    steps: int
    colours: tuple[tuple[float, ...], ...]

    def __call__(self, gradient: Gradient, x: Array, baseline: Array) -> Array:
        each = IntegratedGradients(self.steps).each_channel
        starts = (jnp.zeros_like(x) + jnp.asarray(colour, x.dtype)[None, None, None] for colour in self.colours)
        return jnp.stack([each(gradient, x, start) for start in starts]).mean(0).max(-1)


def regions(
    image: Float[np.ndarray, "h w c"], radius: int | None = None, scales: int = len(SCALES)
) -> Bool[np.ndarray, "m h w"]:
    """Felzenszwalb's regions of so many scales, each dilated by a disc of `radius` (default: DILATION, for the
    size)."""
    from skimage.transform import resize  # asked for only where there is something to segment

    size = image.shape[:2]
    low, high = float(image.min()), float(image.max())
    spread = 2 * (image.astype(float) - low) / (high - low or 1) - 1
    small = resize(spread, (SIDE, SIDE), order=3, mode="constant", preserve_range=True, anti_aliasing=True)
    if radius is None:
        radius = round(DILATION * min(size) / SIDE)
    pixels = np.arange(SIDE**2).reshape(SIDE, SIDE).astype(float)
    nearest = resize(pixels, size, order=0, preserve_range=True, mode="constant", anti_aliasing=False).astype(int)
    found = []
    for scale in np.unique(np.linspace(0, len(SCALES) - 1, scales).round().astype(int)):
        labels = felzenszwalb(small, SCALES[scale], SIGMA, LEAST)
        found.append(dilated(labels.ravel()[nearest], radius))
    return np.concatenate(found)


def dilated(labels: np.ndarray, radius: int) -> Bool[np.ndarray, "m h w"]:
    """A mask for each label, grown by a disc."""
    height, width = labels.shape
    masks = np.zeros((labels.max() + 1, height, width), bool)
    rows, columns = np.mgrid[:height, :width]
    for down in range(-radius, radius + 1):
        for right in range(-radius, radius + 1):
            if down**2 + right**2 <= radius**2:
                to = slice(max(down, 0), height + min(down, 0)), slice(max(right, 0), width + min(right, 0))
                of = slice(max(-down, 0), height + min(-down, 0)), slice(max(-right, 0), width + min(-right, 0))
                masks[labels[of], rows[to], columns[to]] = True
    return masks


def gains(
    attribution: Float[np.ndarray, "h w"], masks: Bool[np.ndarray, "m h w"], added: int | None = None
) -> Float[np.ndarray, "h w"]:
    """Regions taken by their mean attribution among pixels that are left; each pixel has that of the region that took
    it, and those that none took their own mean. A region that would add fewer than `added` pixels is left out."""
    height, width = attribution.shape
    if added is None:
        added = max(1, round(ADDED * height * width / SIDE**2))
    values, masks = attribution.astype(float).ravel(), masks.reshape(len(masks), -1)
    sums, counts = masks @ values, masks.sum(1)
    free, found = np.ones(len(values), bool), np.empty(len(values))
    while True:
        able = counts >= added
        if not able.any():
            break
        best = int(np.where(able, sums / np.maximum(counts, 1), -np.inf).argmax())
        taken = masks[best] & free
        found[taken] = values[taken].mean()
        free &= ~taken
        held = masks[:, taken]
        sums, counts = sums - held @ values[taken], counts - held.sum(1)
    found[free] = values[free].mean() if free.any() else 0
    return found.reshape(height, width)
