"""How far a map moves when the image moves a little."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from saliency._checks import ImagesLike, MapsLike, PerImage, kind_of, number, whole
from saliency.faithfulness.curves import paired_maps
from saliency.faithfulness.pairs import rank_correlation
from saliency.maps.status import usable
from saliency.method import DEFAULTS, Method
from saliency.models.black_box import Classifier, classifier_input
from saliency.options.methods import Options
from saliency.scores import Score, Target, last_layer
from saliency.wrappers import settled


def stability(
    method: Method,
    net: Classifier,
    x: ImagesLike,
    maps: MapsLike,
    *,
    target: Target = None,
    options: Options = DEFAULTS,
    noise: float = 0.01,
    seed: int = 0,
) -> PerImage:
    """Rank correlation of a method's `maps` with those of the same images under Gaussian noise.

    `noise` is its deviation as a share of each image's range. The class explained stays that of the clean image.
    After Yeh et al. 2019.

    >>> import numpy as np, saliency
    >>> net, method = saliency.load_network("scenes_cnn"), saliency.METHODS["edges"]
    >>> photo = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    >>> x = net.preprocess([photo])
    >>> bool(saliency.faithfulness.stability(method, net, x, method.maps(net, x))[0] > 0.9)
    True
    """
    kind_of("method", method, Method, "as saliency.METHODS has it")
    number("noise", noise, least=0)
    x = classifier_input(net, x, last_layer(net, Score()))
    draw = np.random.default_rng(seed).normal(size=x.shape[1:])
    noisy = (x + noise * np.ptp(x, axis=(1, 2, 3), keepdims=True) * draw).astype(x.dtype)
    target = settled(net, x, target)
    return rank_correlation(maps, method.maps(net, noisy, target=target, options=options))


@dataclass(frozen=True)
class Sensitivity:
    """Of `k` nearby images of each: `change` `[n, k]` of the map, as a share of the map's norm, and `ratio` `[n, k]` of
    the change's norm to that of the image's.

    >>> import numpy as np
    >>> from saliency.faithfulness import Sensitivity
    >>> found = Sensitivity(np.array([[0.1, 0.3]]), np.array([[2.0, 5.0]]))
    >>> found.max.tolist(), found.mean.tolist(), found.lipschitz.tolist()
    ([0.3], [0.2], [5.0])
    """

    change: Float[np.ndarray, "n k"]
    ratio: Float[np.ndarray, "n k"]

    @property
    def max(self) -> PerImage:
        """Max-sensitivity (Yeh et al. 2019), normalised."""
        return self.change.max(1)

    @property
    def mean(self) -> PerImage:
        """Average sensitivity."""
        return self.change.mean(1)

    @property
    def lipschitz(self) -> PerImage:
        """The local Lipschitz estimate (Alvarez-Melis & Jaakkola 2018), in the map's units per the image's."""
        return self.ratio.max(1)


def sensitivity(
    method: Method,
    net: Classifier,
    x: ImagesLike,
    maps: MapsLike,
    *,
    target: Target = None,
    options: Options = DEFAULTS,
    radius: float = 0.02,
    count: int = 8,
    seed: int = 0,
) -> Sensitivity:
    """How far a method's `maps` move for `count` images near each, drawn evenly from all within `radius`.

    `radius` is a share of each image's range, in every pixel and channel; all images get the same draws, of `seed`. The
    class explained stays that of the clean image. NaN for a map that says nothing. Yeh et al. 2019, Definition 3.1.

    >>> import numpy as np, saliency
    >>> net, method = saliency.load_network("scenes_cnn"), saliency.METHODS["centre-gaussian"]
    >>> x = net.preprocess(np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3), np.uint8))
    >>> saliency.faithfulness.sensitivity(method, net, x, method.maps(net, x), count=2).max.tolist()
    [0.0]
    """
    kind_of("method", method, Method, "as saliency.METHODS has it")
    number("radius", radius, above=0)
    whole("count", count, least=1)
    whole("seed", seed)
    x = classifier_input(net, x, last_layer(net, Score()))
    maps = paired_maps(x, maps)
    target = settled(net, x, target)
    rng, range_ = np.random.default_rng(seed), np.ptp(x, axis=(1, 2, 3), keepdims=True)
    change, ratio = np.empty((len(x), count)), np.empty((len(x), count))
    for k in range(count):
        near = (x + radius * range_ * rng.uniform(-1, 1, x.shape[1:])).astype(x.dtype)
        moved = _norms(method.maps(net, near, target=target, options=options) - maps)
        with np.errstate(divide="ignore", invalid="ignore"):
            change[:, k], ratio[:, k] = moved / _norms(maps), moved / _norms(near - x)
    silent = ~usable(maps)
    change[silent], ratio[silent] = np.nan, np.nan
    return Sensitivity(change, ratio)


def _norms(values: np.ndarray) -> PerImage:
    return np.linalg.norm(values.reshape(len(values), -1).astype(float), axis=1)
