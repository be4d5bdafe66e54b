"""Boxes of a comparison by coverage, shard by shard: of readers, and by what was learned on another data set."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from localization.channels import READERS
from localization.comparison.boxes import Covered, Fit, small, to_photos
from localization.comparison.maps import SHARD, Made
from localization.comparison.samples import Samples
from localization.features import pooled
from localization.regression import CoverageMap, load_bundle
from localization.regression.coverage import fit_coverage_blocks, status
from localization.routes import LINEAR
from saliency.errors import InputError
from saliency.report import plain

SIDE = 48  # pixels of the maps that are read beside channels; cells are fewer


def localize_channels(
    name: str, read: Made, made: Mapping[str, Made], samples: Samples, source: Mapping[str, Any] | None = None
) -> Fit:
    """The boxes of one reader, learned in each part from its training samples; only maps are held in memory. `source`
    says what is read, where what is learned is to be kept."""
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

    def cover(train: np.ndarray) -> CoverageMap:
        return fit_coverage_blocks(partial(lessons, train), size=entry.size, source=source)

    for train, test in samples.parts:
        fit = cover(train)
        settings.append({LINEAR: {"cells": fit.cells, **fit.record}})
        for own, arrays in features(test):
            boxes, cells, why = fit.located(arrays)
            found |= zip(own.tolist(), boxes)
            covered |= zip(own.tolist(), cells)
            said |= zip(own.tolist(), why.tolist())
    statuses = np.array([said[i] for i in samples.test.tolist()])
    shown = Covered([covered[i] for i in samples.test.tolist()], statuses, entry)
    learned = None if source is None else fit if not samples.folds else cover(everything)
    placed = {(name, LINEAR): to_photos(found, entry, samples)}
    return Fit(placed, statuses, settings, covered=shown, learned=learned)


def source_of(name: str, methods: Sequence[str], made: Mapping[str, Made], samples: Samples, **more: Any) -> dict:
    """What features are, for `evaluate` and another comparison to read again: `name` is that of their row, `method`
    names the reader and the methods whose maps follow, as `evaluate` takes them."""
    own: dict[str, Any] = {"name": name, "method": "+".join(methods), "dataset": samples.name}
    if all(made[one].base is not None for one in methods if one in made):  # of another tool's maps nothing is known
        net = samples.net
        own |= {"network": net.name, "weights": net.digest, "preprocessing": plain(net.preprocess.record()), **more}
    return own


def read_bundle(path: Path | str) -> CoverageMap:
    """A coverage map that says what its features were. Raises InputError."""
    bundle = load_bundle(path)
    if not isinstance(bundle, CoverageMap) or not {"method", "dataset"} <= bundle.source.keys():
        raise InputError(
            f"{path}: a bundle to compare is a coverage map that says what it was learned from: one that fit_boxes, or"
            " compare with keep_bundles, has written"
        )
    return bundle


def carried_over(bundle: CoverageMap, made: Mapping[str, Made], read: Mapping[str, Made], samples: Samples) -> Fit:
    """The boxes by what was learned elsewhere; InputError where its features are not those of this comparison."""
    readers, methods = needs(bundle)
    entry = (read[readers[0]] if readers else made[methods[0]]).entry
    shapes = [shape for shape in bundle.shapes if len(shape) == 2]
    if len(shapes) != len(methods):
        raise InputError(
            f"bundle of {bundle.source['method']}: it was learned from {len(shapes)} maps a photo; fit another"
        )
    here = source_of("", [*readers, *methods], made, samples)
    known = {key: here[key] for key in ("network", "weights", "preprocessing") if key in here}
    found: dict[int, np.ndarray] = {}
    said: dict[int, str] = {}
    for number in np.unique(samples.test // SHARD):
        own = samples.test[samples.test // SHARD == number]
        arrays = list(read[readers[0]].channels(own)) if readers else []
        for one, shape in zip(methods, shapes):
            maps = made[one].lying_over(entry, own, samples)
            arrays.append(pooled(maps, [min(pair) for pair in zip(maps.shape[1:], shape)]))
        boxes, _, why = bundle.located(arrays, source=known)
        found |= zip(own.tolist(), boxes / np.tile(bundle.size[::-1], 2) * np.tile(entry.size[::-1], 2))
        said |= zip(own.tolist(), why.tolist())
    name = str(bundle.source.get("name", bundle.source["method"]))
    label = name, f"from {bundle.source['dataset']}"
    statuses = np.array([said[i] for i in samples.test.tolist()])
    return Fit({label: to_photos(found, entry, samples)}, statuses, [bundle.record])


def needs(bundle: CoverageMap) -> tuple[list[str], list[str]]:
    """The readers and the methods whose features it takes."""
    names = str(bundle.source["method"]).split("+")
    return [one for one in names if one in READERS], [one for one in names if one not in READERS]
