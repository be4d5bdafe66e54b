"""Scores of an image some of whose segments are shown: the frame of every method that asks by segments.

Segments are int32 `[h, w]` for each image, numbered from 0 without gaps. A coalition says how visible each of them is,
a row of `[m, k]`: 1 shows a segment, 0 shows the fill in its place, between them lies their mixture.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num

from saliency._batches import balanced_size
from saliency._checks import ImagesLike, as_array, function, whole
from saliency.errors import InputError
from saliency.maps.black_box import chunk_of, of_each, probes, scored
from saliency.maps.gradient import Progress
from saliency.maps.segments import Segmentation, check_segmentation, grid, superpixels
from saliency.models.black_box import Classifier, classifier_input, entry
from saliency.models.preprocessing import Preprocessing
from saliency.occlusion.windows import Fill, fill_images
from saliency.scores import Score, Target, last_layer

Segmented = Segmentation | np.ndarray  # by name, or which segment each pixel belongs to


@dataclass(frozen=True)
class Asked:
    """What was shown of each image, and its scores: images and fills `[n, h, w, c]`; for each image segments `[h, w]`,
    coalitions `[m, k]` and scores `[m]`."""

    x: Float[np.ndarray, "n h w c"]
    fills: Float[np.ndarray, "n h w c"]
    segments: list[Int[np.ndarray, "h w"]]
    coalitions: list[Num[np.ndarray, "_ _"]]
    scores: list[Float[np.ndarray, " _"]]

    def maps(self, values: Sequence[Float[np.ndarray, " _"]]) -> Float[np.ndarray, "n h w"]:
        """Each segment's value at its pixels."""
        return painted(values, self.segments, self.x)


def ask(
    net: Classifier,
    x: ImagesLike,
    coalitions: Callable[[int], Num[np.ndarray, "m k"]],
    *,
    segmentation: Segmented = "grid",
    segments: int = 50,
    fill: Fill = "grey",
    seed: int = 0,
    score: str | Score = "logit",
    target: Target = None,
    preprocess: Preprocessing | None = None,
    progress: Progress | None = None,
) -> Asked:
    """Every image's score under the coalitions of its segments; `coalitions` draws them for a number of segments.

    The other arguments, and the errors, are those of `segment_occlusion`; `progress` counts images.
    """
    function("progress", progress, "(done, total)")
    whole("seed", seed)
    preprocess = entry(net, preprocess)
    x = classifier_input(net, x, last_layer(net, score))
    parts = as_segments(x, segmentation, segments, preprocess)
    fills = fill_images(x, fill, preprocess, seed)
    functions = probes(net, x, score, target)
    drawn = {count: coalitions(count) for count in {int(one.max()) + 1 for one in parts}}
    masks = [drawn[int(one.max()) + 1] for one in parts]
    chunk = balanced_size(max(map(len, masks), default=1), chunk_of(net, (x.shape[1], x.shape[2]), score))

    def scores_of(i: int) -> np.ndarray:
        index = np.minimum(np.arange(-(-len(masks[i]) // chunk) * chunk), len(masks[i]) - 1)  # calls of one size

        def composites(k: np.ndarray) -> np.ndarray:
            shown = masks[i][index[k]][:, parts[i]][..., None].astype(x.dtype)
            return shown * x[i] + (1 - shown) * fills[i]

        return scored(functions[i], composites, len(index), chunk)[: len(masks[i])]

    return Asked(x, fills, parts, masks, of_each(net, scores_of, len(x), progress))


def painted(
    values: Sequence[Float[np.ndarray, " _"]], segments: Sequence[Int[np.ndarray, "h w"]], x: np.ndarray
) -> Float[np.ndarray, "n h w"]:
    """Each segment's value at its pixels, of images like `x`."""
    maps = np.empty(x.shape[:3], np.float32)
    for map_, own, labels in zip(maps, values, segments):
        map_[:] = own[labels]
    return maps


def as_segments(
    x: Float[np.ndarray, "n h w c"], segmentation: Segmented, segments: int, preprocess: Preprocessing | None
) -> list[Int[np.ndarray, "h w"]]:
    """Each image's segments, numbered from 0 without gaps in the order of the numbers that are given.

    `segmentation` is a method of `superpixels`, which cuts about `segments` of them; or which segment each pixel
    belongs to, whole numbers `[h, w]` for all images or `[n, h, w]`. Raises InputError for anything else.
    """
    whole("segments", segments, least=1)
    check_segmentation(segmentation)
    n, height, width, _ = x.shape
    if isinstance(segmentation, str):
        if segmentation == "grid":
            return [grid(height, width, segments)] * n
        pixels = x if preprocess is None else np.asarray(preprocess.pixels(x))
        return [superpixels(np.clip(one, 0, 255), segmentation, segments=segments) for one in pixels]
    given = as_array("segmentation", segmentation)
    if given.shape not in ((height, width), (n, height, width)):
        raise InputError(
            f"segmentation must be [{height}, {width}] or [{n}, {height}, {width}], the images' size,"
            f" not {list(given.shape)}"
        )
    return [
        np.unique(one, return_inverse=True)[1].reshape(height, width).astype(np.int32)
        for one in np.broadcast_to(given, (n, height, width))
    ]
