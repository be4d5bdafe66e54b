"""Occlusion by segments of any shape, by pairs of them, and channel by channel.

The sign is base - hidden everywhere: positive where hiding a segment hurts the score. Where the incremental engine
pays, it computes a network's scores from what each segment changes.
"""

from dataclasses import dataclass
from itertools import combinations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from saliency._checks import ImagesLike, Pair, function, kind_of, whole
from saliency.errors import InputError
from saliency.maps.black_box import chunk_of, of_each, probes, scored
from saliency.maps.coalitions import Segmented, as_segments, painted
from saliency.maps.gradient import Progress
from saliency.maps.segments import grid
from saliency.models.black_box import Classifier, classifier_input, entry
from saliency.models.network import Network
from saliency.models.preprocessing import Preprocessing
from saliency.occlusion.dense import CPU_CHUNK, black_box_scores
from saliency.occlusion.execution import Engine, Execution
from saliency.occlusion.maps import check_windows, counter, scores_under
from saliency.occlusion.sets import HiddenSets, atoms, filled_up, scores_of_sets, set_passes_saved
from saliency.occlusion.windows import Fill, Windows, fill_images
from saliency.scores import Score, Target, as_score, last_layer, resolve_targets, score_values

DEFAULT = Execution()


@dataclass(frozen=True)
class SegmentOcclusion:
    """What `segment_occlusion` found: `maps` float32 `[n, h, w]`; for each image `segments` int32 `[h, w]` and `drops`
    float32 `[k]`, base - the score with one of them hidden; `base` float32 `[n]`; `engine`, "dense" or "incremental",
    what ran."""

    maps: Float[np.ndarray, "n h w"]
    segments: list[Int[np.ndarray, "h w"]]
    drops: list[Float[np.ndarray, " _"]]
    base: Float[np.ndarray, " n"]
    engine: str


def segment_occlusion(
    net: Classifier,
    x: ImagesLike,
    segmentation: Segmented = "grid",
    *,
    segments: int = 50,
    fill: Fill | np.ndarray = "grey",
    score: str | Score = "logit",
    target: Target = None,
    preprocess: Preprocessing | None = None,
    seed: int = 0,
    execution: Execution = DEFAULT,
    progress: Progress | None = None,
) -> SegmentOcclusion:
    """Hide one segment at a time and see how far the score falls; its pixels get the drop (captum's FeatureAblation
    with a feature mask; of superpixels, leave-one-out).

    Args:
        net, x, fill, score, target, preprocess, seed, execution: as of `occlusion_maps`.
        segmentation: "grid", "slic" or "felzenszwalb", cut by `superpixels`; or which segment each pixel belongs to,
            whole numbers `[h, w]` for all images or `[n, h, w]`. Segments may have any shape, connected or not.
        segments: about how many are cut, where `segmentation` is a name.
        progress: called with (done, total) segments of all images.

    Returns:
        SegmentOcclusion, its `maps` float32 `[n, h, w]` positive where hiding a segment hurts the score.

    Raises InputError as `occlusion_maps` does, and for segments of another size or that are no whole numbers.

    >>> import numpy as np, saliency
    >>> halves = np.repeat([[0, 1, 1]], 2, 0)
    >>> found = saliency.segment_occlusion(lambda x: x.sum((1, 2, 3)), np.ones((1, 2, 3, 1)), halves, fill=0)
    >>> found.drops[0].tolist(), found.maps[0, 0].tolist()
    ([2.0, 4.0], [2.0, 4.0, 4.0])
    """
    start = _Start.of(net, x, fill, score, target, preprocess, seed, execution, progress)
    labels = as_segments(start.x, segmentation, segments, start.preprocess)
    sets = [HiddenSets(own, np.arange(own.max() + 1, dtype=np.int32)[:, None]) for own in labels]
    base, hidden, engine = start.scores(net, sets, execution, progress)
    drops = [(whole_ - own).astype(np.float32) for whole_, own in zip(base, hidden)]
    return SegmentOcclusion(painted(drops, labels, start.x), labels, drops, base.astype(np.float32), engine)


@dataclass(frozen=True)
class SegmentInteractions:
    """What `segment_interactions` found for each image: `pairs` float32 `[k, k]`, symmetric, the single drops on the
    diagonal; `masks` bool `[k, h, w]`, what each row hides; and the `engine` that ran."""

    pairs: list[Float[np.ndarray, "_ _"]]
    masks: list[Bool[np.ndarray, "_ h w"]]
    engine: str


def segment_interactions(
    net: Classifier,
    x: ImagesLike,
    segmentation: Segmented | Windows = "grid",
    *,
    segments: int = 9,
    fill: Fill | np.ndarray = "grey",
    score: str | Score = "logit",
    target: Target = None,
    preprocess: Preprocessing | None = None,
    seed: int = 0,
    execution: Execution = DEFAULT,
    progress: Progress | None = None,
) -> SegmentInteractions:
    """How two segments, or two windows, count together: f(x) - f(hide i) - f(hide j) + f(hide i and j).

    0 where the score adds up over them. Above 0 they need each other: losing one is already most of the loss. Below 0
    they stand in for each other: either alone is enough. (The interaction index of cooperative games, Grabisch &
    Roubens 1999, of the whole image; `analyze_occlusion` states its interactions with the other sign.) The diagonal
    holds the single drops, f(x) - f(hide i). It takes 1 + k + k (k - 1) / 2 scores an image.

    Arguments and errors are those of `segment_occlusion`; `Windows` of rectangles may stand in place of segments, and
    overlap. `progress` counts single segments and pairs.

    >>> import numpy as np, saliency
    >>> product = lambda x: x[:, 0, 0, 0] * x[:, 0, 1, 0]
    >>> saliency.segment_interactions(product, np.ones((1, 1, 2, 1)), np.array([[0, 1]]), fill=0).pairs[0].tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    start = _Start.of(net, x, fill, score, target, preprocess, seed, execution, progress)
    size = start.x.shape[1], start.x.shape[2]
    if isinstance(segmentation, Windows):
        masks = [_window_masks(segmentation, size)] * len(start.x)
    else:
        labels = as_segments(start.x, segmentation, segments, start.preprocess)
        masks = [own == np.arange(own.max() + 1)[:, None, None] for own in labels]
    sets = [_pairs(own) for own in masks]
    base, hidden, engine = start.scores(net, sets, execution, progress)
    found = []
    for whole_, own, values in zip(base, masks, hidden):
        k = len(own)
        single = whole_ - values[:k]
        pairs = np.diag(single)
        for (i, j), both in zip(combinations(range(k), 2), values[k:]):
            pairs[i, j] = pairs[j, i] = single[i] + single[j] - (whole_ - both)
        found.append(pairs.astype(np.float32))
    return SegmentInteractions(found, masks, engine)


def _window_masks(windows: Windows, size: Pair) -> Bool[np.ndarray, "k h w"]:
    check_windows(windows, size)
    if windows.shape == "gaussian":
        raise InputError("windows that fade out hide no segment: take rectangles or discs")
    masks = np.zeros((len(windows.positions), size[0] + windows.patch[0], size[1] + windows.patch[1]), bool)
    for mask, (row, col) in zip(masks, windows.positions):
        mask[row : row + windows.patch[0], col : col + windows.patch[1]] = windows.template > 0
    return masks[:, : size[0], : size[1]]


def _pairs(masks: Bool[np.ndarray, "k h w"]) -> HiddenSets:
    """Every mask alone, then every two of them, in the order of `combinations`."""
    labels, members = atoms(masks)
    own = [row[row >= 0] for row in members]
    both = [np.union1d(own[i], own[j]) for i, j in combinations(range(len(own)), 2)]
    return HiddenSets(labels, filled_up([*own, *both]))


def channel_occlusion(
    net: Classifier,
    x: ImagesLike,
    windows: Windows,
    *,
    fill: Fill | np.ndarray = "grey",
    score: str | Score = "logit",
    target: Target = None,
    preprocess: Preprocessing | None = None,
    seed: int = 0,
    execution: Execution = DEFAULT,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n h w c"]:
    """Occlusion of one channel of a window at a time (captum's Occlusion with a window of one channel).

    Arguments and errors are those of `occlusion_maps`; the result is float32 `[n, h, w, c]`, positive where hiding that
    channel there hurts the score. `progress` counts windows of all channels.

    >>> import numpy as np, saliency
    >>> red = lambda x: x[..., 0].sum((1, 2))
    >>> windows = saliency.Windows((2, 4), patch=2, stride=2)
    >>> saliency.channel_occlusion(red, np.ones((1, 2, 4, 3)), windows, fill=0)[0, 0, 0].tolist()
    [4.0, 0.0, 0.0]
    """
    start = _Start.of(net, x, fill, score, target, preprocess, seed, execution, progress)
    check_windows(windows, (start.x.shape[1], start.x.shape[2]))
    x, channels = start.x, start.x.shape[-1]
    step = counter(channels * len(x) * len(windows.positions), progress)
    base = start.base(net)
    maps = np.empty(x.shape, np.float32)
    for channel in range(channels):
        fills = x.copy()
        fills[..., channel] = start.fills[..., channel]
        if isinstance(net, Network):
            hidden, *_ = scores_under(
                net, x, fills, windows, score=start.score, targets=start.targets, execution=execution, step=step
            )
        else:
            functions = probes(net, x, start.score, target)
            chunk = execution.chunk or CPU_CHUNK
            hidden = [
                black_box_scores(function, image, filled, windows, chunk=chunk, step=step)
                for function, image, filled in zip(functions, x, fills)
            ]
        scores = np.reshape(hidden, (len(x), *windows.grid))
        maps[..., channel] = windows.pixel_maps(base[:, None, None] - scores)
    return maps


def segment_passes_saved(net: Network, size: Pair, segments: int, score: str | Score, engine: Engine) -> float:
    """How many forward passes the incremental engine leaves out of a grid's map, by the multiplications of its plan."""
    labels = grid(*size, segments)
    sets = HiddenSets(labels, np.arange(labels.max() + 1, dtype=np.int32)[:, None])
    return set_passes_saved(net, sets, score=as_score(score), engine=engine)


@dataclass(frozen=True)
class _Start:
    """The arguments that all of these share, checked and settled."""

    x: Float[np.ndarray, "n h w c"]
    fills: Float[np.ndarray, "n h w c"]
    score: Score
    target: Target
    targets: Int[np.ndarray, " _"]  # of a network, n; of a black box none
    preprocess: Preprocessing | None

    @classmethod
    def of(
        cls, net: Classifier, x: ImagesLike, fill: Fill | np.ndarray, score: str | Score, target: Target,
        preprocess: Preprocessing | None, seed: int, execution: Execution, progress: Progress | None,
    ) -> "_Start":  # fmt: skip
        function("progress", progress, "(done, total)")
        whole("seed", seed)
        kind_of("execution", execution, Execution, "how occlusion is computed")
        score, preprocess = as_score(score), entry(net, preprocess)
        images = classifier_input(net, x, last_layer(net, score))
        if not isinstance(net, Network) and execution.engine == "incremental":
            raise InputError("the incremental engine needs a network whose layers it can see; a function takes dense")
        fills = fill_images(images, fill, preprocess, seed)
        targets = resolve_targets(net, images, score, target) if isinstance(net, Network) else np.empty(0, int)
        return cls(images, fills, score, target, targets, preprocess)

    def base(self, net: Classifier) -> Float[np.ndarray, " n"]:
        """Each image's own score."""
        if isinstance(net, Network):
            return score_values(net, self.x, self.score, self.targets).astype(float)
        functions = probes(net, self.x, self.score, self.target)
        return np.array([float(np.asarray(own(jnp.asarray(x[None])))[0]) for own, x in zip(functions, self.x)])

    def scores(
        self, net: Classifier, sets: list[HiddenSets], execution: Execution, progress: Progress | None
    ) -> tuple[Float[np.ndarray, " n"], list[Float[np.ndarray, " p"]], str]:
        """Each image's own score, and those under its sets; and the engine that ran."""
        step = counter(sum(len(one.members) for one in sets), progress)
        if isinstance(net, Network):
            base = self.base(net)
            hidden, engine = scores_of_sets(
                net, self.x, self.fills, sets, score=self.score, targets=self.targets, execution=execution, step=step
            )
            return base, [one.astype(float) for one in hidden], engine
        functions = probes(net, self.x, self.score, self.target)
        chunk = execution.chunk or chunk_of(net, (self.x.shape[1], self.x.shape[2]))

        def scores_of(i: int) -> np.ndarray:
            own = sets[i]

            def composites(k: np.ndarray) -> np.ndarray:
                shown = np.concatenate([np.ones((1, own.visible.shape[1]), bool), own.visible])[k]
                return np.where(shown[:, own.labels][..., None], self.x[i], self.fills[i])

            found = scored(functions[i], composites, 1 + len(own.members), chunk)
            step(len(own.members))
            return found

        found = of_each(net, scores_of, len(self.x))
        return np.array([one[0] for one in found]), [one[1:] for one in found], "dense"
