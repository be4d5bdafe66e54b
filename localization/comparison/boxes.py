"""From the maps of a comparison to boxes and their figures: everything is learned on the training samples alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from localization import heuristics, protocols
from localization.boxes import below_half, iou, map_to_photo, to_photo
from localization.boxes_file import FoundBoxes, boxes_of, read_boxes
from localization.comparison.maps import Made
from localization.comparison.samples import Samples
from localization.metrics import best_iou, corloc, hits, mean_iou
from localization.regression import CoverageMap, fit_coverage, fit_linear_map
from localization.regression.coverage import of_methods
from localization.regression.flip_equivariant import candidates, even_odd, fit_flip_equivariant
from localization.routes import DEFAULT_ROUTES, EQ4, HEURISTIC, LINEAR, Fitting, Route, fit_eq4
from localization.statistics import mcnemar_exact, paired_difference
from localization.transforms import pooled
from saliency._cores import cores
from saliency.maps.status import status
from saliency.models.preprocessing import Preprocessing

EXTERNAL, NONE = "external", "none"
STACKED = "stacked"
BASELINES = {  # by their names in `protocols`; that of each class would have to know the photo's label
    "mean box": "mean box",
    "median box": "median box",
    "centre box": "centre box",
    "full photo": "full image",
}
Label = tuple[str, str]  # method, route
AT_ONCE = min(4, cores())  # methods whose boxes are made side by side
SIDE = 96  # pixels of the maps that boxes are made from
COLUMNS = (
    *("image", "label", "predicted_class", "method", "route", "x0", "y0", "x1", "y1"),
    *("true_x0", "true_y0", "true_x1", "true_y1", "iou", "correct", "status"),
)


@dataclass(frozen=True)
class Covered:
    """Of each scored sample what the linear map expects the box to cover, float `[rows, columns]` over the input of
    `entry`, NaN where its features say nothing; and the status of its box."""

    maps: Sequence[np.ndarray]
    status: np.ndarray
    entry: Preprocessing

    def over_photo(self, k: int, size: tuple[int, int]) -> Float[np.ndarray, "h w"]:
        """The k-th sample's, over its photo of (height, width)."""
        return map_to_photo(self.maps[k].clip(0, 1), self.entry.placement(size))


@dataclass(frozen=True)
class Fit:
    """Boxes by label, float `[test, 4]` in the photos' pixels; the status of each test map; what was chosen in each
    part's training; the weights of each pixel as images float `[4, h, w]`, by route that has such; what the linear map
    covers, where it is fitted so, and the coverage map of all that may be learned from, where it is to be kept."""

    boxes: Mapping[Label, np.ndarray]
    status: np.ndarray
    settings: Sequence[Mapping[str, Any]]
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    covered: Covered | None = None
    learned: CoverageMap | None = None

    def status_of(self, route: str) -> np.ndarray:
        """Why a box of this route is none, where it is none."""
        return self.covered.status if route == LINEAR and self.covered else self.status


def localize(
    names: Sequence[str],
    made: Mapping[str, Made],
    samples: Samples,
    fitting: Fitting = "coverage",
    routes: Sequence[Route] = DEFAULT_ROUTES,
    source: Mapping[str, Any] | None = None,
) -> Fit:
    """The box routes of one method, or those but the heuristic of several methods' maps side by side. `source` says
    what the maps are, where what is learned is to be kept."""
    name = names[0] if len(names) == 1 else STACKED
    routes = [route for route in routes if len(names) == 1 or route != HEURISTIC]
    found: dict[Label, dict[int, np.ndarray]] = {(name, route): {} for route in routes}
    settings: list[Mapping[str, Any]] = []
    images: dict[str, list[np.ndarray]] = {LINEAR: [], EQ4: []}
    covered: dict[int, np.ndarray] = {}
    covered_status: dict[int, str] = {}
    maps, entry, scale = _maps(names, made, samples)
    said, known = status(maps), samples.target_boxes(entry) * scale
    if HEURISTIC in routes:  # every setting once, for all parts: each chooses by its own training boxes
        pool = np.unique(np.concatenate([train for train, _ in samples.parts]))
        pool = pool[heuristics.sampled(maps[pool], known[pool])]
        searched = heuristics.grid_search(maps[pool])
    parts = [(train[said[train] == "ok"], test) for train, test in samples.parts]
    flip = LINEAR in routes and fitting == "flip-equivariant"
    halves = {one: even_odd(maps, one) for one in candidates(maps.shape[-2:])} if flip else {}

    def cover(train: np.ndarray) -> CoverageMap:
        size, photos = (maps.shape[-2], maps.shape[-1]), samples.images[train]
        return fit_coverage(of_methods(maps[train]), known[train], size=size, photos=photos, source=source)

    for train, test in parts:
        boxes: dict[str, np.ndarray] = {}
        chosen: dict[str, Any] = {}
        if LINEAR in routes and fitting == "coverage":
            coverage = cover(train)
            boxes[LINEAR], shown, why = coverage.located(of_methods(maps[test]))
            covered |= zip(test.tolist(), shown)
            covered_status |= zip(test.tolist(), why.tolist())
            chosen[LINEAR] = {"cells": coverage.cells, **coverage.record}
        elif LINEAR in routes:
            if flip:
                own = {features: (even[train], odd[train]) for features, (even, odd) in halves.items()}
                linear = fit_flip_equivariant(maps[train], known[train], parts=own)
            else:
                linear = fit_linear_map(maps[train], known[train])
            images[LINEAR].append(linear.images())
            chosen[LINEAR] = linear.record
            boxes[LINEAR] = linear.predict(maps[test])
        if EQ4 in routes:
            linear = fit_eq4(maps[train], known[train])
            images[EQ4].append(linear.images())
            chosen[EQ4] = linear.record
            boxes[EQ4] = linear.predict(maps[test])
        if HEURISTIC in routes:
            seen = np.isin(pool, train)
            found_there = {setting: some[seen] for setting, some in searched.items()}
            heuristic = heuristics.best(found_there, known[pool[seen]])
            chosen[HEURISTIC] = heuristic
            boxes[HEURISTIC] = heuristic.predict(maps[test])
        settings.append(chosen)
        for route in routes:
            own_boxes = np.where((said[test] == "ok")[:, None], boxes[route], np.nan)
            found[name, route] |= zip(test.tolist(), own_boxes / scale)
    return Fit(
        {label: to_photos(boxes, entry, samples) for label, boxes in found.items()},
        said[samples.test],
        settings,
        {route: np.mean(own, axis=0)[:, 0] for route, own in images.items() if own and len(names) == 1},
        Covered(
            [covered[i] for i in samples.test.tolist()],
            np.array([covered_status[i] for i in samples.test.tolist()]),
            entry,
        )
        if covered
        else None,
        None if source is None else coverage if not samples.folds else cover(np.flatnonzero(said == "ok")),
    )


def _maps(
    names: Sequence[str], made: Mapping[str, Made], samples: Samples
) -> tuple[np.ndarray, Preprocessing, np.ndarray]:
    """One method's maps `[n, h, w]`, or several methods' `[n, k, h, w]`, averaged to at most SIDE pixels a side, which
    no box needs finer; the entry over which they lie; and what takes boxes of that input there."""
    entry, indices = made[names[0]].entry, np.arange(len(samples))
    maps = [made[name].lying_over(entry, indices, samples) for name in names]
    shapes = maps[0].shape[1:]
    maps = [small(own, SIDE) for own in maps]
    scale = np.array([maps[0].shape[2] / shapes[1], maps[0].shape[1] / shapes[0]] * 2)
    return (maps[0] if len(maps) == 1 else np.stack(maps, axis=1)), entry, scale


def small(maps: Float[np.ndarray, "n h w"], side: int) -> Float[np.ndarray, "n rows columns"]:
    """Maps averaged by the whole number of pixels that makes them at most `side` a side."""
    shrink = -(-max(maps.shape[1:]) // side)
    return pooled(maps, [-(-size // shrink) for size in maps.shape[1:]]) if shrink > 1 else maps


def to_photos(boxes: Mapping[int, np.ndarray], entry: Preprocessing, samples: Samples) -> Float[np.ndarray, "test 4"]:
    """Boxes of the input, by sample, in the photos' pixels."""
    placed = [to_photo(boxes[i], entry.placement(samples.sizes[i])) for i in samples.test.tolist()]
    return np.array(placed).reshape(-1, 4)


def baselines(samples: Samples) -> Fit:
    """Boxes that look at no image: what a figure has to beat before it means anything."""
    found: dict[str, dict[int, np.ndarray]] = {name: {} for name in BASELINES.values()}
    settings = []
    for train, test in samples.parts:
        shapes = samples.shape(test)
        boxes = protocols.baselines(samples.of(train), samples.shape(train), samples.of(test), shapes)
        for theirs, name in BASELINES.items():
            found[name] |= zip(test.tolist(), boxes[theirs])
        shares = {name: boxes[theirs][0] / shapes[0, [1, 0, 1, 0]] for theirs, name in BASELINES.items()}
        settings.append(shares)
    every = {(name, NONE): np.array([box[i] for i in samples.test.tolist()]) for name, box in found.items()}
    return Fit(every, np.full(len(samples.test), "ok"), settings)


def external_boxes(path: Path | str, samples: Samples, box_format: str | None = None) -> FoundBoxes:
    """Another tool's box of each scored sample, in the photos' pixels; NaN, a miss, where it has none."""
    chosen = samples.test.tolist()
    return boxes_of(
        read_boxes(path, box_format),
        [samples.ids[i] for i in chosen],
        [samples.labels[i] for i in chosen],
        [samples.sizes[i] for i in chosen],
        source=path,
        box_format=box_format,
    )


def given(name: str, found: FoundBoxes) -> Fit:
    """Boxes that are taken as they are."""
    return Fit({(name, EXTERNAL): found.boxes}, np.where(np.isnan(found.boxes).any(1), "no box", "ok"), [])


def rows(fits: Mapping[str, Fit], samples: Samples, costs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a method and route: figures with intervals, CorLoc of each class and of the small boxes, and the method's
    cost (constant boxes have none)."""
    true, images = [samples.true[i] for i in samples.test], samples.images[samples.test]
    small = np.flatnonzero(below_half(samples.largest[samples.test], [samples.sizes[i] for i in samples.test]))
    mixed = 0 < len(small) < len(true)
    labels = np.array([samples.labels[i] for i in samples.test])
    free = {"base": None, "forwards": 0, "backwards": 0, "saved": 0.0, "ms_per_image": None, "peak_mib": None}
    found = []
    for (method, route), boxes in _labelled(fits).items():
        share, overlap = corloc(boxes, true, images=images), mean_iou(boxes, true, images=images)
        right = hits(best_iou(boxes, true))
        few = corloc(boxes[small], [true[k] for k in small], images=images[small]) if mixed else None
        found.append(
            free
            | dict(costs.get(method, {}))
            | {
                "method": method,
                "route": route,
                "corloc": share.value,
                "corloc_low": share.low,
                "corloc_high": share.high,
                "mean_iou": overlap.value,
                "mean_iou_low": overlap.low,
                "mean_iou_high": overlap.high,
                "corloc_small": few.value if few else None,
                "corloc_small_low": few.low if few else None,
                "corloc_small_high": few.high if few else None,
                "no_box": share.missing,
                "classes": {str(label): right[labels == label].mean() for label in np.unique(labels)},
            }
        )
    return found


def paired(rows: Sequence[Mapping[str, Any]], fits: Mapping[str, Fit], samples: Samples) -> list[dict[str, Any]]:
    """Every row against the best one on the same images: difference of CorLoc, its interval, McNemar's exact p."""
    true, images = [samples.true[i] for i in samples.test], samples.images[samples.test]
    right = {label: hits(best_iou(boxes, true)) for label, boxes in _labelled(fits).items()}
    best = max(rows, key=lambda row: row["corloc"])
    first = right[best["method"], best["route"]]
    compared = []
    for (method, route), second in right.items():
        difference = paired_difference(second, first, clusters=images)
        compared.append(
            {
                "method": method,
                "route": route,
                "against": f"{best['method']}, {best['route']}",
                "difference": difference.value,
                "low": difference.low,
                "high": difference.high,
                "mcnemar_p": mcnemar_exact(second, first).p,
            }
        )
    return compared


def carried(rows: Sequence[Mapping[str, Any]], fits: Mapping[str, Fit], samples: Samples) -> list[dict[str, Any]]:
    """Each row learned elsewhere against what the same features teach here, and against the median box of here."""
    true, images = [samples.true[i] for i in samples.test], samples.images[samples.test]
    right = {label: hits(best_iou(boxes, true)) for label, boxes in _labelled(fits).items()}
    corlocs = {(row["method"], row["route"]): row["corloc"] for row in rows}
    found = []
    for label in right:
        if not label[1].startswith("from "):
            continue
        for other in ((label[0], LINEAR), ("median box", NONE)):
            if other in right:
                difference = paired_difference(right[label], right[other], clusters=images)
                found.append(
                    {
                        "method": label[0],
                        "route": label[1],
                        "corloc": corlocs[label],
                        "against": ", ".join(other),
                        "against_corloc": corlocs[other],
                        "difference": difference.value,
                        "low": difference.low,
                        "high": difference.high,
                        "mcnemar_p": mcnemar_exact(right[label], right[other]).p,
                    }
                )
    return found


def image_rows(fits: Mapping[str, Fit], samples: Samples, classes: Sequence[str]) -> list[dict[str, Any]]:
    """One row an image, method and route, as COLUMNS; the true box is the one that is overlapped best."""
    chosen, found = samples.test.tolist(), []
    true = [samples.true[i] for i in chosen]
    counts = [len(own) for own in true]
    for fit in fits.values():
        for (method, route), boxes in fit.boxes.items():
            overlaps = np.split(iou(np.repeat(boxes, counts, 0), np.concatenate(true)), np.cumsum(counts)[:-1])
            for at, (i, own) in enumerate(zip(chosen, overlaps, strict=True)):
                best = int(own.argmax())
                values = (
                    *(samples.ids[i], samples.labels[i], classes[i], method, route),
                    *boxes[at].round(3),
                    *true[at][best],
                    *(own[best].round(4), bool(own[best] > 0.5), fit.status_of(route)[at]),
                )
                found.append(dict(zip(COLUMNS, values)))
    return found


def _labelled(fits: Mapping[str, Fit]) -> dict[Label, np.ndarray]:
    return {label: boxes for fit in fits.values() for label, boxes in fit.boxes.items()}
