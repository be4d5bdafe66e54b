"""Insertion and deletion: the score while pixels go or come back, the map's highest first."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float

from saliency._checks import ImagesLike, MapsLike, PerImage, as_maps, whole
from saliency.errors import InputError
from saliency.maps.black_box import chunk_of, of_each, probes, scored
from saliency.maps.gradient import Progress
from saliency.maps.ranks import descending_rank
from saliency.maps.status import usable
from saliency.models.black_box import Classifier, classifier_input, entry
from saliency.models.network import Network
from saliency.models.preprocessing import Preprocessing
from saliency.occlusion.windows import Fill, fill_images
from saliency.scores import Target, last_layer

STEPS = 32  # of a curve, where none are stated


@dataclass(frozen=True)
class Curves:
    """`scores` float `[n, steps + 1]` after a share `shares` `[steps + 1]` of the pixels has changed.

    >>> import numpy as np
    >>> from saliency.faithfulness import Curves
    >>> Curves(np.array([0, 0.5, 1]), np.array([[1.0, 0.5, 0.0]])).auc.tolist()
    [0.5]
    """

    shares: Float[np.ndarray, " k"]
    scores: Float[np.ndarray, "n k"]

    @property
    def auc(self) -> PerImage:
        return np.trapezoid(self.scores, self.shares, axis=1)


def deletion(
    net: Classifier,
    x: ImagesLike,
    maps: MapsLike,
    *,
    target: Target = None,
    steps: int = STEPS,
    fill: Fill | np.ndarray = "grey",
    seed: int = 0,
    preprocess: Preprocessing | None = None,
    progress: Progress | None = None,
) -> Curves:
    """The target's probability while pixels give way to `fill`, the map's highest first, in equal steps,
    no more than there are pixels (or 32).

    `target` is by default the class predicted for the whole image. A black box's scores are taken as they are, and
    `preprocess` says how a fill in pixels enters its images (default: they are pixels 0..255). A map that says nothing
    has scores of NaN. Raises InputError as `occlusion_maps` does, and for maps that do not fit the images. After
    Petsiuk et al. 2018.

    >>> import numpy as np
    >>> from saliency import faithfulness
    >>> maps = np.arange(24.0).reshape(1, 4, 6)
    >>> brightness = lambda images: images.mean((1, 2, 3))
    >>> curves = faithfulness.deletion(brightness, np.full((1, 4, 6, 3), 100.0), maps, steps=4, fill=0)
    >>> curves.scores.tolist(), curves.auc.tolist()
    ([[100.0, 75.0, 50.0, 25.0, 0.0]], [50.0])
    """
    x = classifier_input(net, x, last_layer(net, "log_probability"))
    hidden = fill_images(x, fill, entry(net, preprocess), seed)
    return _replacement(net, x, maps, x, hidden, target, steps, progress)


def insertion(
    net: Classifier,
    x: ImagesLike,
    maps: MapsLike,
    *,
    target: Target = None,
    steps: int = STEPS,
    fill: Fill | np.ndarray = "blur",
    seed: int = 0,
    preprocess: Preprocessing | None = None,
    progress: Progress | None = None,
) -> Curves:
    """The same while pixels of the image come back into `fill`, the map's highest first.

    >>> import numpy as np
    >>> from saliency import faithfulness
    >>> maps = np.arange(24.0).reshape(1, 4, 6)
    >>> brightness = lambda images: images.mean((1, 2, 3))
    >>> curves = faithfulness.insertion(brightness, np.full((1, 4, 6, 3), 100.0), maps, steps=4, fill=0)
    >>> curves.scores.tolist()
    [[0.0, 25.0, 50.0, 75.0, 100.0]]
    """
    x = classifier_input(net, x, last_layer(net, "log_probability"))
    hidden = fill_images(x, fill, entry(net, preprocess), seed)
    return _replacement(net, x, maps, hidden, x, target, steps, progress)


def _replacement(
    net: Classifier,
    x: np.ndarray,
    maps: MapsLike,
    start: np.ndarray,
    end: np.ndarray,
    target: Target,
    steps: int,
    progress: Progress | None,
) -> Curves:
    size = int(np.prod(x.shape[1:3]))
    whole("steps", steps, least=1, most=max(size, STEPS))  # no pixel is left to change between two more
    maps = paired_maps(x, maps)
    white_box = isinstance(net, Network)
    functions = probes(net, x, "log_probability", target)
    chunk = chunk_of(net, x.shape[1:3])
    replaced = np.round(np.linspace(0, 1, steps + 1) * size).astype(int)
    ranked = usable(maps)

    def scores_of(i: int) -> np.ndarray:
        if not ranked[i]:
            return np.full(steps + 1, np.nan)
        mixed = partial(_mixed, start[i], end[i], descending_rank(maps[i]), replaced)
        return scored(functions[i], mixed, steps + 1, chunk)

    scores = np.reshape(of_each(net, scores_of, len(x), progress), (len(x), steps + 1))
    return Curves(replaced / size, np.exp(scores) if white_box else scores)


def _mixed(start: np.ndarray, end: np.ndarray, rank: np.ndarray, replaced: np.ndarray, k: np.ndarray) -> np.ndarray:
    """`start` with the first `replaced[k]` pixels of `end`, for each of several k."""
    return np.where((rank < replaced[k, None, None])[..., None], end, start)


def paired_maps(x: Float[np.ndarray, "n h w c"], maps: MapsLike) -> Float[np.ndarray, "n h w"]:
    """Maps of these images, or InputError."""
    maps = as_maps("maps", maps) if len(x) else np.empty(x.shape[:3])
    if maps.shape != x.shape[:3]:
        raise InputError(f"maps must be {list(x.shape[:3])} as the images are, not {list(maps.shape)}")
    return maps


def class_scores(
    net: Classifier, x: Float[np.ndarray, "n h w c"], target: Target
) -> Callable[[int, Float[np.ndarray, "k h w c"]], Float[np.ndarray, " k"]]:
    """The function from i and changed copies of the i-th image to the target's probabilities; a black box's scores."""
    functions = probes(net, x, "log_probability", target)
    chunk = chunk_of(net, x.shape[1:3])

    def score(i: int, images: np.ndarray) -> np.ndarray:
        values = scored(functions[i], lambda k: images[k], len(images), chunk)
        return np.exp(values) if isinstance(net, Network) else values

    return score
