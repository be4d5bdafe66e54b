"""Performance information curves: what the classifier says against how much of the image's information it is shown."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, UInt8

from saliency._checks import ImagesLike, MapsLike, number, numbers, one_of, whole
from saliency.errors import InputError
from saliency.faithfulness.curves import class_scores, paired_maps
from saliency.maps.black_box import of_each
from saliency.maps.gradient import Progress
from saliency.maps.status import usable
from saliency.models.black_box import Classifier, classifier_input, entry
from saliency.models.network import Network
from saliency.models.preprocessing import Preprocessing
from saliency.scores import Score, Target, last_layer, predicted, resolve_targets

SHARES = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.13, 0.21, 0.34, 0.5, 0.75)
KEPT = 0.01  # of the pixels, at random, and the corners, are all that the blurred image keeps
POINTS = 1001
Kind = Literal["sic", "aic"]


@dataclass(frozen=True)
class Information:
    """`performance` float `[n, k]`, 0 for the blurred image and 1 for the whole one, at a share `shown` `[k]` of the
    information between the two. NaN for an image on which the measure is not defined.

    >>> import numpy as np
    >>> from saliency.faithfulness import Information
    >>> Information(np.array([0, 0.5, 1]), np.array([[0, 1, 1.0]])).auc.tolist()
    [0.75]
    """

    shown: Float[np.ndarray, " k"]
    performance: Float[np.ndarray, "n k"]

    @property
    def auc(self) -> Float[np.ndarray, " n"]:
        return np.trapezoid(self.performance, self.shown, axis=1)


def information_curve(
    net: Classifier,
    x: ImagesLike,
    maps: MapsLike,
    *,
    kind: Kind = "sic",
    target: Target = None,
    shares: Sequence[float] = SHARES,
    least: float = 0.0,
    seed: int = 0,
    preprocess: Preprocessing | None = None,
    progress: Progress | None = None,
) -> Information:
    """SIC: the class probability, or AIC: whether the class is the predicted one, as a blurred image becomes sharp.

    The image is kept at the map's highest `shares` of its pixels, at 1% of random ones and at the corners, and is
    interpolated linearly elsewhere. How much information it holds is the size of its lossless WebP file. Both axes run
    from the image of the random pixels alone, 0, to the whole one, 1, and the curve never falls. NaN, too, for images
    whose blurred version scores or holds no less, or whose probability is below `least` (0.8 in the paper's code; a
    black box has scores, and "sic" alone). Other arguments and errors as for `deletion`. Kapishnikov et al. 2019; PAIR
    saliency 0.2.1, `compute_pic_metric`.

    >>> import numpy as np
    >>> from saliency import faithfulness
    >>> x = np.random.default_rng(0).integers(0, 256, (1, 24, 16, 3)).astype(float)
    >>> contrast = lambda images: images.std((1, 2, 3))
    >>> faithfulness.information_curve(contrast, x, x.mean(-1)).performance.shape
    (1, 1001)
    """
    one_of("kind", kind, get_args(Kind))
    shares = numbers("shares", shares, above=0, below=1)
    number("least", least)
    whole("seed", seed)
    if kind == "aic" and not isinstance(net, Network):
        raise InputError('kind "aic" asks which class is predicted, and net is a black box: take "sic"')
    x = classifier_input(net, x, last_layer(net, "log_probability"))
    values = paired_maps(x, maps)
    how, ranked = entry(net, preprocess), usable(values)
    wanted = resolve_targets(net, x, Score(), target) if isinstance(net, Network) else np.zeros(len(x), int)
    probability = class_scores(net, x, wanted if isinstance(net, Network) else target)
    pixels = np.clip(np.round(x if how is None else how.pixels(x)), 0, 255).astype(np.uint8)

    def score(i: int, images: UInt8[np.ndarray, "k h w c"]) -> np.ndarray:
        inputs = images.astype(np.float32) if how is None else how.normalise(images.astype(np.float32))
        if kind == "sic":
            return probability(i, np.asarray(inputs, x.dtype))
        assert isinstance(net, Network)
        return (predicted(net, np.asarray(inputs, x.dtype)) == wanted[i]).astype(float)

    kept = np.random.default_rng(seed).random(x.shape[1:3]) < KEPT
    kept[[0, 0, -1, -1], [0, -1, 0, -1]] = True

    def curve(i: int) -> np.ndarray:
        if not ranked[i]:
            return np.full(POINTS, np.nan)
        masks = [kept | (values[i] >= np.quantile(values[i], 1 - share)) for share in shares]
        images = [interpolated(pixels[i], mask) for mask in (kept, *masks)] + [pixels[i]]
        said, held = score(i, np.stack(images)), np.array([_information(one) for one in images], float)
        if said[-1] < least or said[0] >= said[-1] or held[0] >= held[-1]:
            return np.full(POINTS, np.nan)
        shown = np.clip((held[1:-1] - held[0]) / (held[-1] - held[0]), 0, 1)
        performance = np.maximum.accumulate(np.clip((said[1:-1] - said[0]) / (said[-1] - said[0]), 0, 1))
        at, value = np.append(shown, [0, 1]), np.append(performance, [0, 1])
        order = np.argsort(at, kind="stable")
        return np.append(np.interp(np.linspace(0, 1, POINTS - 1, endpoint=False), at[order], value[order]), 1)

    return Information(
        np.append(np.linspace(0, 1, POINTS - 1, endpoint=False), 1),
        np.reshape(of_each(net, curve, len(x), progress), (len(x), POINTS)),
    )


def interpolated(image: UInt8[np.ndarray, "h w c"], kept: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w c"]:
    """The image with all but its `kept` pixels interpolated linearly over a triangulation of those."""
    from scipy.interpolate import LinearNDInterpolator  # on use: it takes longer to import than all of ours

    if kept.all():
        return image
    changed = image.copy()
    made = LinearNDInterpolator(np.argwhere(kept), image[kept].astype(float))(np.argwhere(~kept))
    made = np.where(np.isnan(made), image.mean((0, 1)), made)  # a pixel on the hull may count as outside
    changed[~kept] = np.round(made).astype(np.uint8)
    return changed


def _information(image: UInt8[np.ndarray, "h w c"]) -> int:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image if image.shape[2] == 3 else image[..., 0]).save(buffer, "webp", lossless=True, quality=100)
    return buffer.tell()
