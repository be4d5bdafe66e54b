"""How good a map is without a box fitted to it, and how much maps agree.

Maps are float `[n, h, w]`, images as for `methods`. A measure gives one float per image, NaN for a map that cannot be
ranked: one with NaN in it, or constant. `MEASURES` says of each which direction is better.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from saliency._checks import ImagesLike, MapsLike, as_array, as_maps, described, kind_of, number, whole
from saliency.errors import InputError
from saliency.maps.black_box import chunk_of, of_each, probes, scored
from saliency.maps.controls import cascade
from saliency.maps.gradient import Progress
from saliency.maps.ranks import descending_rank, rank_correlations, top_overlaps
from saliency.maps.status import usable
from saliency.methods import DEFAULTS, Method, Options
from saliency.models.black_box import Classifier, classifier_input, entry
from saliency.models.network import Network, check_input
from saliency.models.preprocessing import Preprocessing
from saliency.occlusion.windows import Fill, fill_images
from saliency.scores import Score, Target, last_layer, resolve_targets

PerImage = Float[np.ndarray, " n"]
Boxes = np.ndarray | Sequence[ArrayLike]  # [n, 4], or for each image [m, 4]


@dataclass(frozen=True)
class Measure:
    """What a figure says, and which way is better; "neither" where it describes and does not judge."""

    better: Literal["higher", "lower", "neither"]
    summary: str
    source: str


MEASURES = {
    "insertion": Measure(
        "higher",
        "Area under the class probability while the map's pixels come back into a blurred image, highest first.",
        "Petsiuk et al. 2018",
    ),
    "deletion": Measure(
        "lower",
        "Area under the class probability while the map's pixels are greyed out, highest first.",
        "Petsiuk et al. 2018",
    ),
    "pointing": Measure(
        "higher", "Share of images whose map peaks within 15 px of a true box.", "Zhang et al. 2016"
    ),
    "energy": Measure("higher", "Share of the map's positive mass inside the true boxes.", "Wang et al. 2020"),
    "sparsity": Measure("neither", "Gini index of the absolute map: 0 even, 1 one pixel.", "Chalasani et al. 2020"),
    "stability": Measure(
        "higher", "Spearman correlation with the map of the image under faint noise.", "after Yeh et al. 2019"
    ),
    "sanity": Measure(
        "lower", "Spearman correlation with the map of the network with randomised weights.", "Adebayo et al. 2018"
    ),
    "agreement": Measure("neither", "Spearman correlation, and overlap of the top pixels, of two methods.", "-"),
}  # fmt: skip


@dataclass(frozen=True)
class Curves:
    """`scores` float `[n, steps + 1]` after a share `shares` `[steps + 1]` of the pixels has changed."""

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
    steps: int = 32,
    fill: Fill | np.ndarray = "grey",
    seed: int = 0,
    preprocess: Preprocessing | None = None,
    progress: Progress | None = None,
) -> Curves:
    """The target's probability while pixels give way to `fill`, the map's highest first, in equal steps.

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
    steps: int = 32,
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
    whole("steps", steps, least=1)
    maps = as_maps("maps", maps) if len(x) else np.empty(x.shape[:3])
    if maps.shape != x.shape[:3]:
        raise InputError(f"maps must be {list(x.shape[:3])} as the images are, not {list(maps.shape)}")
    white_box = isinstance(net, Network)
    functions = probes(net, x, "log_probability", target)
    chunk = chunk_of(net, x.shape[1:3])
    size = np.prod(x.shape[1:3])
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


def pointing_game(maps: MapsLike, boxes: Boxes, tolerance: float = 15.0) -> PerImage:
    """1 where the map's maximum (the first of several) lies within `tolerance` pixels of a box, else 0.

    Maps float `[n, h, w]`, boxes `[n, 4]` or for each image `[m, 4]`, `x0 y0 x1 y1` in pixel edges of the map; NaN for
    an image without a box and for a map that says nothing. Zhang et al. 2016. Raises InputError for other shapes.

    >>> import numpy as np
    >>> from saliency import faithfulness
    >>> maps = np.arange(24.0).reshape(1, 4, 6)
    >>> faithfulness.pointing_game(maps, [[4, 2, 6, 4]], tolerance=0).tolist()
    [1.0]
    """
    maps = as_maps("maps", maps)
    number("tolerance", tolerance, least=0)
    hits = np.full(len(maps), np.nan)
    for i, targets in _with_boxes(maps, boxes):
        row, col = np.unravel_index(maps[i].argmax(), maps[i].shape)
        point = np.array([col, row]) + 0.5
        away = np.maximum(0, np.maximum(targets[:, :2] - point, point - targets[:, 2:]))
        hits[i] = np.hypot(*away.T).min() <= tolerance
    return hits


def energy_pointing_game(maps: MapsLike, boxes: Boxes) -> PerImage:
    """The share of each map's positive mass inside its boxes; a pixel cut by an edge counts in part.

    Arguments and NaN as for `pointing_game`. Wang et al. 2020.

    >>> import numpy as np
    >>> from saliency import faithfulness
    >>> maps = np.arange(24.0).reshape(1, 4, 6)
    >>> faithfulness.energy_pointing_game(maps, [[0, 2, 6, 4]]).round(3).tolist()
    [0.761]
    """
    maps = as_maps("maps", maps)
    shares = np.full(len(maps), np.nan)
    for i, targets in _with_boxes(maps, boxes):
        positive = np.maximum(maps[i], 0).astype(float)
        if positive.any():
            inside = np.max([_coverage(box, *positive.shape) for box in targets], axis=0)
            shares[i] = (positive * inside).sum() / positive.sum()
    return shares


def _with_boxes(maps: np.ndarray, boxes: Boxes) -> Iterator[tuple[int, np.ndarray]]:
    """Index and boxes `[m, 4]` of each image whose map can be ranked and which has a box."""
    if not hasattr(boxes, "__len__") or len(boxes) != len(maps):
        found = f"of {len(boxes)}" if hasattr(boxes, "__len__") else described(boxes)
        raise InputError(f"{len(maps)} maps need boxes of as many images, not {found}")
    for i in usable(maps).nonzero()[0].tolist():
        targets = as_array("boxes", boxes[i], "[n, 4], or for each image [m, 4]").astype(float)
        if targets.size % 4 or targets.shape[-1:] not in ((4,), (0,)):
            raise InputError(f"boxes must be [n, 4], or for each image [m, 4], not {described(boxes[i])} for image {i}")
        targets = targets.reshape(-1, 4)
        if len(targets):
            yield i, targets


def _pairs(a: MapsLike, b: MapsLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = as_maps("maps", a), as_maps("maps", b)
    if a.shape != b.shape:
        raise InputError(f"maps to compare must be of the same images, not {list(a.shape)} and {list(b.shape)}")
    return a, b


def _coverage(box: np.ndarray, height: int, width: int) -> Float[np.ndarray, "h w"]:
    """How much of each pixel lies in the box."""
    x0, y0, x1, y1 = box
    cols, rows = (
        np.clip(np.minimum(at + 1, high) - np.maximum(at, low), 0, 1)
        for at, low, high in ((np.arange(width), x0, x1), (np.arange(height), y0, y1))
    )
    return np.outer(rows, cols)


def sparsity(maps: MapsLike) -> PerImage:
    """Gini index of the absolute values of maps `[n, h, w]`: 0 where all are equal, near 1 where one pixel has all.

    Chalasani et al. 2020. NaN for a map that says nothing.

    >>> import numpy as np
    >>> from saliency import faithfulness
    >>> maps = np.arange(24.0).reshape(1, 4, 6)
    >>> faithfulness.sparsity(maps).round(3).tolist()
    [0.347]
    """
    maps = as_maps("maps", maps)
    size = maps[0].size if len(maps) else 1
    values = np.sort(np.abs(maps.reshape(len(maps), size)).astype(float))
    with np.errstate(invalid="ignore"):
        gini = (2 * np.arange(1, size + 1) - size - 1) @ values.T / (size * values.sum(1))
    return np.where(usable(maps), gini, np.nan)


def rank_correlation(a: MapsLike, b: MapsLike) -> PerImage:
    """Spearman's correlation of each pair of maps `[n, h, w]`; ties share their mean rank. NaN where one says nothing.

    >>> import numpy as np
    >>> from saliency import faithfulness
    >>> maps = np.arange(24.0).reshape(1, 4, 6)
    >>> faithfulness.rank_correlation(maps, -maps).round(6).tolist()
    [-1.0]
    """
    return np.array([rank_correlations(np.stack(pair))[0, 1] for pair in zip(*_pairs(a, b))], float)


def top_overlap(a: MapsLike, b: MapsLike, share: float = 0.1) -> PerImage:
    """How many of the top `share` of pixels two maps `[n, h, w]` have in common, as a share of them.

    >>> import numpy as np
    >>> from saliency import faithfulness
    >>> maps = np.arange(24.0).reshape(1, 4, 6)
    >>> faithfulness.top_overlap(maps, maps**2).tolist(), faithfulness.top_overlap(maps, -maps).tolist()
    ([1.0], [0.0])
    """
    number("share", share, above=0, below=1)
    return np.array([top_overlaps(np.stack(pair), share)[0, 1] for pair in zip(*_pairs(a, b))], float)


@dataclass(frozen=True)
class Agreement:
    """Means over images, for each pair of methods, of the rank correlation and of the overlap of the top pixels."""

    names: tuple[str, ...]
    correlation: Float[np.ndarray, "m m"]
    overlap: Float[np.ndarray, "m m"]


def agreement(maps: Mapping[str, MapsLike], share: float = 0.1) -> Agreement:
    """All pairs of methods, by name; images that a method has no usable map for do not count for its pairs.

    >>> import numpy as np
    >>> from saliency import faithfulness
    >>> maps = np.arange(24.0).reshape(1, 4, 6)
    >>> found = faithfulness.agreement({"up": maps, "down": -maps})
    >>> found.names, found.correlation.round(6).tolist()
    (('up', 'down'), [[1.0, -1.0], [-1.0, 1.0]])
    """
    number("share", share, above=0, below=1)
    each = [as_maps(f"maps of {name}", own) for name, own in maps.items()]
    if len({own.shape for own in each}) != 1 or not len(each[0]):
        raise InputError("agreement needs maps of the same images, at least one, from each method")
    stacks = [np.stack(own) for own in zip(*each)]
    return Agreement(
        tuple(maps),
        _mean(np.array([rank_correlations(stack) for stack in stacks])),
        _mean(np.array([top_overlaps(stack, share) for stack in stacks])),
    )


def _mean(pairs: Float[np.ndarray, "n m m"]) -> Float[np.ndarray, "m m"]:
    known = np.isfinite(pairs)
    with np.errstate(invalid="ignore"):
        return np.where(known, pairs, 0).sum(0) / known.sum(0)


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
    number("noise", noise, least=0)
    x = classifier_input(net, x, last_layer(net, Score()))
    draw = np.random.default_rng(seed).normal(size=x.shape[1:])
    noisy = (x + noise * np.ptp(x, axis=(1, 2, 3), keepdims=True) * draw).astype(x.dtype)
    target = _settled(net, x, target)
    return rank_correlation(maps, method.maps(net, noisy, target=target, options=options))


def sanity(
    method: Method,
    net: Network,
    x: ImagesLike,
    maps: MapsLike,
    *,
    target: Target = None,
    options: Options = DEFAULTS,
    seed: int = 0,
) -> dict[str, PerImage]:
    """Rank correlation of a method's `maps` with those of the network randomised from the logits down to each layer.

    A map that survives this does not show what the network learned. The class explained stays the trained network's.
    Adebayo et al. 2018.

    >>> import numpy as np, saliency
    >>> net, method = saliency.load_network("scenes_cnn"), saliency.METHODS["edges"]
    >>> photo = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    >>> x = net.preprocess([photo])
    >>> found = saliency.faithfulness.sanity(method, net, x, method.maps(net, x))
    >>> list(found)[:2], found["logits"].round(6).tolist()  # edges do not look at the network
    (['logits', 'conv4_2'], [1.0])
    """
    kind_of("net", net, Network, "as load_network gives it: a black box has no weights to randomise")
    x = check_input(net, x)
    target = _settled(net, x, target)
    return {
        layer: rank_correlation(maps, method.maps(broken, x, target=target, options=options))
        for layer, broken in cascade(net, seed)
    }


def _settled(net: Classifier, x: np.ndarray, target: Target) -> Target:
    return resolve_targets(net, x, Score(), target) if isinstance(net, Network) else target
