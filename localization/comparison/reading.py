"""Boxes of the readers in a comparison: from a network's channels on disk, shard by shard, by coverage alone."""

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np

from localization.channels import READERS
from localization.comparison.boxes import Covered, Fit, small, to_photos
from localization.comparison.maps import SHARD, Made
from localization.comparison.samples import Samples
from localization.regression.coverage import fit_coverage_blocks, status
from localization.routes import LINEAR

SIDE = 48  # pixels of the maps that are read beside channels; cells are fewer


def localize_channels(name: str, read: Made, made: Mapping[str, Made], samples: Samples) -> Fit:
    """The boxes of one reader, learned in each part from its training samples; only maps are held in memory."""
    entry, everything = read.entry, np.arange(len(samples))
    maps = [small(one.lying_over(entry, everything, samples), SIDE) for one in made.values() if READERS[name].maps]
    known = samples.target_boxes(entry)
    found: dict[int, np.ndarray] = {}
    covered: dict[int, np.ndarray] = {}
    said: dict[int, str] = {}
    settings = []

    def features(indices: np.ndarray) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
        for number in np.unique(indices // SHARD):
            own = indices[indices // SHARD == number]
            yield own, [*read.channels(own), *(one[own] for one in maps)]

    def lessons(train: np.ndarray) -> Iterator[tuple[list[np.ndarray], np.ndarray, np.ndarray]]:
        for own, arrays in features(train):
            ok = status(arrays) == "ok"
            yield [one[ok] for one in arrays], known[own[ok]], samples.images[own[ok]]

    for train, test in samples.parts:
        fit = fit_coverage_blocks(partial(lessons, train), size=entry.size)
        settings.append({LINEAR: {"cells": fit.cells, **fit.record}})
        for own, arrays in features(test):
            boxes, cells, why = fit.located(arrays)
            found |= zip(own.tolist(), boxes)
            covered |= zip(own.tolist(), cells)
            said |= zip(own.tolist(), why.tolist())
    statuses = np.array([said[i] for i in samples.test.tolist()])
    shown = Covered([covered[i] for i in samples.test.tolist()], statuses, entry)
    return Fit({(name, LINEAR): to_photos(found, entry, samples)}, statuses, settings, covered=shown)
