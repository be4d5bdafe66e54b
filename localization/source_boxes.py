"""From a source of maps or channels to the box of each sample: by a saved map, or by what training photos teach."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from localization.boxes import to_input, to_photo
from localization.datasets.dataset import Dataset, Progress
from localization.heuristics import fit_heuristic
from localization.map_sources import MapSource
from localization.protocols import Samples
from localization.regression import CoverageMap, LinearMap, fit_coverage
from localization.regression.coverage import status as features_status
from localization.routes import EQ4, HEURISTIC, Route, fit_eq4
from saliency.errors import InputError
from saliency.maps.status import status

CHUNK = 32  # photos decoded at once
Arrays = list[np.ndarray]  # features of some samples: maps [k, h, w], channels [k, rows, columns, c]
Several = tuple[np.ndarray, np.ndarray]  # boxes [m, 4], best first, and their scores
Bundle = LinearMap | CoverageMap
Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Predictor:
    """`boxes(features)` float `[k, 4]` in pixels of a frame of the features' input, `several(features)` more of them a
    sample, where they can be found."""

    boxes: Callable[[Arrays], np.ndarray]
    several: Callable[[Arrays], list[Several]] | None = None


@dataclass(frozen=True, eq=False)
class Photos:
    """What is scored (`data`, `samples`) and what is learned from; `parts` pairs the learned samples with those that
    are scored by what these taught: one pair, or one a fold. `alike` numbers the photos of the learned samples, photos
    that show the same with one number."""

    data: Dataset
    samples: Samples
    train: Dataset | None
    learned: Samples | None
    parts: Sequence[tuple[np.ndarray, np.ndarray]]
    alike: Int[np.ndarray, " m"]

    @property
    def folded(self) -> bool:
        return self.train is self.data

    @property
    def training(self) -> list[tuple[Dataset, Samples]]:
        """The training photos, where they are others than those that are scored."""
        return [] if self.folded or self.train is None or self.learned is None else [(self.train, self.learned)]

    @cached_property
    def sizes(self) -> Float[np.ndarray, "n 2"]:
        """(height, width) of each scored sample's photo."""
        return sizes_of(self.data, self.samples)


def boxes_of_source(
    source: MapSource,
    photos: Photos,
    *,
    route: Route,
    bundle: Bundle | None = None,
    map_size: Size = (56, 56),
    several: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Float[np.ndarray, "n 4"], list[Several]]:
    """Each scored sample's box in its photo's pixels, NaN where the features say nothing; and up to `several` boxes
    each with their scores, for the linear map by coverage."""
    found = np.full((len(photos.samples), 4), np.nan)
    more: list[Several] = [(np.empty((0, 4)), np.empty(0))] * (len(found) if several else 0)
    total = len(photos.samples) + (0 if bundle else sum(len(learned) for _, learned in photos.training))
    done = 0

    def chunks(data: Dataset, of: Samples, size: Size) -> Iterator[tuple[np.ndarray, Arrays, Size]]:
        nonlocal done
        for first in range(0, len(of), CHUNK):
            indices = np.arange(first, min(first + CHUNK, len(of)))
            yield indices, *source.features(data, of, indices, size)
            done += len(indices)
            if progress is not None:
                progress(done, total)

    def place(indices: np.ndarray, features: Arrays, frame: Size, predictor: Predictor) -> None:
        said = _status(features)
        boxes = np.where((said == "ok")[:, None], predictor.boxes(features), np.nan)
        others = predictor.several(features) if several and predictor.several else [None] * len(boxes)
        for i, box, ok, own in zip(indices, boxes, said == "ok", others):
            placement = source.placement(size_of(photos.data, photos.samples, i), frame)
            found[i] = to_photo(box, placement)
            if own is not None and ok:
                more[i] = np.array([to_photo(one, placement) for one in own[0]]).reshape(-1, 4), own[1]

    if bundle is not None:
        for indices, features, frame in chunks(photos.data, photos.samples, map_size_of(bundle)):
            place(indices, features, frame, _by_bundle(bundle, frame, several, source.record))
        return found, more
    assert photos.train is not None and photos.learned is not None  # checked
    parts = list(chunks(photos.train, photos.learned, map_size))
    everything = [np.concatenate(arrays) for arrays in zip(*(features for _, features, _ in parts))]
    frame = parts[0][2]
    known = np.array(
        [
            to_input(box, source.placement(size_of(photos.train, photos.learned, i), frame))
            for i, box in enumerate(photos.learned.largest)
        ]
    )
    usable = _status(everything) == "ok"
    for learned, scored in photos.parts:
        own = learned[usable[learned]]
        predictor = _learned(
            [one[own] for one in everything], frame, known[own], photos.alike[own], route, several, seed
        )
        if photos.folded:
            place(scored, [one[scored] for one in everything], frame, predictor)
        else:
            for indices, features, own_frame in chunks(photos.data, photos.samples, map_size):
                place(indices, features, own_frame, predictor)
    return found, more


def _status(features: Arrays) -> np.ndarray:
    return status(_stacked(features)) if all(one.ndim == 3 for one in features) else features_status(features)


def _stacked(features: Arrays) -> np.ndarray:
    """Maps `[k, h, w]`, or `[k, m, h, w]` of m methods."""
    return features[0] if len(features) == 1 else np.stack(features, 1)


def _learned(
    features: Arrays, frame: Size, boxes: np.ndarray, alike: np.ndarray, route: Route, several: int, seed: int
) -> Predictor:
    """What takes features to boxes by the route; `alike` numbers the photos, copies with one number."""
    if route == HEURISTIC:
        heuristic = fit_heuristic(_stacked(features), boxes, seed=seed)
        return Predictor(lambda new: heuristic.predict(_stacked(new)))
    if route == EQ4:
        linear = fit_eq4(_stacked(features), boxes, seed)
        return Predictor(lambda new: linear.predict(_stacked(new)))
    coverage = fit_coverage(features, boxes, size=frame, photos=alike, seed=seed)
    return Predictor(coverage.predict, partial(coverage.detected, most=max(several, 1)))


def _by_bundle(bundle: Bundle, frame: Size, several: int, source: Mapping[str, Any]) -> Predictor:
    """What takes features of the bundle's size to boxes in pixels of the frame."""
    if isinstance(bundle, LinearMap):
        return Predictor(lambda new: bundle.predict(_stacked(new), source=source))
    scale = np.tile(frame[::-1], 2) / np.tile(bundle.size[::-1], 2)

    def detected(new: Arrays) -> list[Several]:
        return [(boxes * scale, scores) for boxes, scores in bundle.detected(new, most=max(several, 1), source=source)]

    return Predictor(lambda new: bundle.predict(new, source=source) * scale, detected)


def map_size_of(bundle: Bundle) -> Size:
    """(height, width) of the maps that it takes; (1, 1) for one of channels alone. Raises InputError for maps of
    several sizes, which no method makes."""
    if isinstance(bundle, LinearMap):
        return bundle.size
    sizes = {(shape[0], shape[1]) for shape in bundle.shapes if len(shape) == 2}
    if len(sizes) > 1:
        said = ", ".join("x".join(map(str, shape)) for shape in bundle.shapes)
        raise InputError(
            f"`linear`: a coverage map of features {said} cannot be applied to maps of a method, which are of one size;"
            " fit it to such, or call its `predict` with such features"
        )
    return sizes.pop() if sizes else (1, 1)


def sizes_of(data: Dataset, of: Samples) -> Float[np.ndarray, "n 2"]:
    return np.array([data.annotations[i].size for i in of.images], float)


def size_of(data: Dataset, of: Samples, sample: int) -> Size:
    return data.annotations[of.images[sample]].size
