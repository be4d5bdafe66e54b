"""Boxes by coverage: a ridge shared by all places says which cells the box covers, the best rectangle is the box.

Three steps, all flip-equivariant: `cells` (the ridge), `rectangles` (nothing learned), `correction` (linear, shrunk to
none). Where Eq. 4 of "Fast Object Localization via Sensitivity Analysis" gives every pixel its own weights, here what
is learned at one place helps at all others, so that 25 boxes go far.

Features are one saliency map a photo float `[n, h, w]`, activations float `[n, h, w, c]`, or a list of such arrays of
the same photos, of unlike sizes if need be. Boxes are `x0 y0 x1 y1` in pixels of an image of `size` (height, width).
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from localization.boxes import as_boxes, clip, iou, ordered
from localization.regression import cells as ridge
from localization.regression.cells import Cells, Inputs, Moments
from localization.regression.correction import Correction, fit_correction
from localization.regression.rectangles import SETTINGS, local_overlap, read, separate_rectangles, soft_boxes
from localization.regression.rows import gathered
from saliency._batches import map_batches
from saliency._checks import BoxesLike, kind_of, number, whole
from saliency._files import write_tensors
from saliency._reading import as_input_error, read_tensors
from saliency.errors import InputError

Features = np.ndarray | Sequence[np.ndarray]
# features, boxes in shares, numbers of the photos, and how many rows there were with the useless ones
Block = tuple[Inputs, Float[np.ndarray, "b 4"], Int[np.ndarray, " b"], int]
Blocks = Callable[[], Iterator[Block]]
FORMAT = 1
FOLDS = 5
BLOCK = 128  # photos
CORRECTED = 2500  # photos whose left-out boxes the correction is fitted to
SEARCHED = 300  # photos by which the cells are chosen
FOLD, SAMPLE = 0, 1  # what random numbers of photos are drawn for
LEAST = 3  # photos
MOST_CHANNELS = 1200  # of cells that are tried unasked: time grows with their square
GRIDS = ((24, 24),)  # what is tried beside the default cells
CONTEXTS = ((0.1,), (0.06, 0.15))
SCALES = ((0.0, 0.03, 0.06, 0.11),)  # for small boxes


@dataclass(frozen=True)
class CoverageMap:
    """`solution` float64 `[z]`: the intercept, a weight for each channel of a cell, and -1 for the covered share.

    `size` is (height, width) of the image that boxes are stated in; `shapes` are those of the features of one photo.
    `source` says what the features were: method, network, layers and so on. `record` says how the fit was made.

    >>> import localization
    >>> boxes = np.array([[0.0, 0, 4, 4], [4, 4, 8, 8], [2, 0, 6, 4], [0, 4, 4, 8]])
    >>> x = np.arange(8) + 0.5
    >>> inside = [np.outer((y0 < x) & (x < y1), (x0 < x) & (x < x1)) for x0, y0, x1, y1 in boxes]
    >>> learned = localization.fit_coverage(np.array(inside, float), boxes)
    >>> learned.predict(np.array(inside[1:2], float)).shape, learned.coverage(np.array(inside, float)).ndim
    ((1, 4), 3)
    >>> learned.status(np.zeros((1, 8, 8))).tolist()
    ['constant']
    """

    cells: Cells
    solution: Float[np.ndarray, " z"]
    correction: Correction
    size: tuple[int, int]
    shapes: tuple[tuple[int, ...], ...]
    source: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def penalty(self) -> float:
        """The ridge penalty for each cell, of standardised channels."""
        return float(self.record["penalty"])

    def predict(self, features: Features, *, source: Mapping[str, Any] | None = None) -> Float[np.ndarray, "n 4"]:
        """Boxes `x0 y0 x1 y1` in pixels of an image of `size`, inside of it; NaN where `status` is not "ok".

        Raises InputError for features of another number or shape, or of another `source` where both sides state it.
        """
        return self.located(features, source=source)[0]

    def coverage(
        self, features: Features, *, source: Mapping[str, Any] | None = None
    ) -> Float[np.ndarray, "n rows columns"]:
        """The share of each cell that the box is expected to cover, about 0 to 1; NaN for features that say nothing."""
        return self.located(features, source=source)[1]

    def status(self, features: Features) -> np.ndarray:
        """Whether a photo's features give a box: "ok", "not finite", "constant" (all arrays are), or "nothing covered"
        where no cell is expected to lie in a box."""
        return self.located(features)[2]

    def located(
        self, features: Features, *, source: Mapping[str, Any] | None = None
    ) -> tuple[Float[np.ndarray, "n 4"], Float[np.ndarray, "n rows columns"], np.ndarray]:
        """Boxes, coverage maps and status of one sweep over the features."""
        inputs = self._checked(features, source or {})
        said = status(inputs)
        maps = _applied(inputs, np.broadcast_to(self.solution, (len(said), len(self.solution))), self.cells)
        said = np.where((said == "ok") & ~(maps > 0).any((1, 2)), "nothing covered", said)
        shares = self.correction(_read(maps))
        inside = clip(ordered(shares * np.tile(self.size[::-1], 2)), self.size)
        usable = np.isin(said, ("ok", "nothing covered"))[:, None, None]
        return np.where((said == "ok")[:, None], inside, np.nan), np.where(usable, maps, np.nan), said

    def detected(
        self,
        features: Features,
        *,
        most: int = 5,
        limit: float = 0.3,
        source: Mapping[str, Any] | None = None,
    ) -> list[tuple[Float[np.ndarray, "k 4"], Float[np.ndarray, " k"]]]:
        """For each photo at most `most` boxes in pixels of `size`, best first, and their scores 0 to 1, where several
        objects are to be found: the rectangles that fit best what lies about them, none with an IoU above `limit` with
        a better one. They are not corrected. A photo whose status is not "ok" has none.

        Raises InputError as `predict` does, and for numbers out of range.
        """
        whole("most", most, least=1)
        number("limit", limit, least=0, below=1)
        _, maps, said = self.located(features, source=source)
        grid, found = self.cells.grid, []
        for own, why in zip(maps, said):
            boxes, scores = np.empty((0, 4)), np.empty(0)
            if why == "ok":
                reading = read(jnp.asarray(own[None]))[:, self.correction.best]
                boxes, scores = separate_rectangles(np.asarray(local_overlap(reading))[0], grid, most, limit)
            found.append((boxes * np.tile(self.size[::-1], 2), scores))
        return found

    def _checked(self, features: Features, source: Mapping[str, Any]) -> Inputs:
        inputs = as_inputs(features)
        shapes = tuple(one.shape[1:] for one in inputs)
        if shapes != self.shapes:
            own, got = (", ".join("x".join(map(str, shape)) for shape in some) for some in (self.shapes, shapes))
            raise InputError(f"this coverage map was fitted to features of {own} and cannot be applied to {got}")
        for key, known in self.source.items():
            if key in source and source[key] != known:
                raise InputError(
                    f"this coverage map was fitted to features of {key} {known!r}, these are of {source[key]!r}:"
                    " fit another"
                )
        return inputs

    @property
    def _header(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "cells": asdict(self.cells),
            "size": self.size,
            "shapes": self.shapes,
            "best": self.correction.best,
            "penalty": None if np.isinf(self.correction.penalty) else self.correction.penalty,
            "source": dict(self.source),
            "record": dict(self.record),
        }

    def save(self, path: Path | str) -> None:
        """A safetensors file with the weights, and all else as JSON in its header."""
        correction = self.correction
        tensors = {"solution": self.solution, "mean": correction.mean, "deviation": correction.deviation}
        if correction.weights is not None:
            tensors["correction"] = correction.weights
        contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
        write_tensors(path, contiguous, {"coverage_map": json.dumps(self._header)})


def load_coverage_map(path: Path | str) -> CoverageMap:
    """A saved coverage map; InputError for a file that is none, or is broken.

    >>> import tempfile, localization
    >>> boxes = np.array([[0.0, 0, 4, 4], [4, 4, 8, 8], [2, 0, 6, 4]])
    >>> maps = np.random.default_rng(0).random((3, 8, 8))
    >>> learned = localization.fit_coverage(maps, boxes)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     learned.save(f"{folder}/coverage.safetensors")
    ...     again = localization.load_coverage_map(f"{folder}/coverage.safetensors")
    >>> np.array_equal(again.predict(maps), learned.predict(maps))
    True
    """
    tensors, metadata = read_tensors(path)
    with as_input_error(path, "not a coverage map of this version; fit and save it again"):
        header = json.loads(metadata["coverage_map"])
        stated: Any = {key: tuple(v) if isinstance(v, list) else v for key, v in header["cells"].items()}
        weights = tensors.get("correction")
        penalty = np.inf if header["penalty"] is None else float(header["penalty"])
        correction = Correction(int(header["best"]), tensors["mean"], tensors["deviation"], weights, penalty)
        try:
            cells = Cells(**stated)
        except InputError as error:  # which names no file
            raise ValueError(str(error)) from error
        fitted = CoverageMap(
            cells,
            tensors["solution"],
            correction,
            (int(header["size"][0]), int(header["size"][1])),
            tuple(tuple(map(int, shape)) for shape in header["shapes"]),
            dict(header["source"]),
            dict(header["record"]),
        )
        d = 6 * SETTINGS
        wanted = {"solution": (fitted.cells.count(fitted.shapes) + 2,), "mean": (d,), "deviation": (d,)}
        wanted |= {"correction": (4 * d + 3,)} if weights is not None else {}
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        if header["format"] != FORMAT or shapes != wanted or not 0 <= correction.best < SETTINGS:
            raise ValueError(f"format {header['format']}, tensors {shapes}")
        if not all(np.isfinite(tensor).all() for tensor in tensors.values()) or (correction.deviation <= 0).any():
            raise ValueError("numbers that are not finite, or deviations of 0")
    return fitted


def fit_coverage(
    features: Features,
    boxes: BoxesLike,
    *,
    size: tuple[int, int] | None = None,
    photos: ArrayLike | None = None,
    candidates: Sequence[Cells] | None = None,
    lambdas: Sequence[float] = ridge.LAMBDAS,
    seed: int = 0,
    source: Mapping[str, Any] | None = None,
) -> CoverageMap:
    """Fit boxes `x0 y0 x1 y1`, in pixels of an image of `size` (default: that of the features, where they share one).

    Everything is chosen among these photos: the penalty of `lambdas` by the left-out error of five folds, the reading
    of the coverage map and its correction by left-out boxes, and the cells by the mean IoU of left-out boxes of at most
    SEARCHED photos. `candidates` are cells in the order of preference (default: grid, context, scales and layers are
    tried step by step); a later one is taken where it is better by more than the standard error of the difference.
    `photos` numbers the photo a row is of (default: each its own): rows of one photo stay together in the folds.
    `source` says what the features are, and is saved.

    A row whose features are constant teaches nothing; it is left out, and counted in the record. Raises InputError for
    fewer than 3 photos, numbers that do not fit together, and features or boxes that are not finite.

    >>> import localization
    >>> boxes = np.array([[0.0, 0, 4, 4], [4, 4, 8, 8], [2, 0, 6, 4], [0, 4, 4, 8]])
    >>> x = np.arange(8) + 0.5
    >>> inside = [np.outer((y0 < x) & (x < y1), (x0 < x) & (x < x1)) for x0, y0, x1, y1 in boxes]
    >>> maps = np.array(inside, np.float32)
    >>> found = localization.fit_coverage(maps, boxes).predict(maps)
    >>> bool(localization.best_iou(found, boxes).min() > 0.5)
    True
    """
    inputs, boxes = as_inputs(features), as_boxes(boxes)
    numbers = np.arange(len(boxes)) if photos is None else np.asarray(photos)
    _check_lengths(inputs, boxes, numbers)

    def blocks() -> Iterator[tuple[Inputs, np.ndarray, np.ndarray]]:
        for start in range(0, max(len(boxes), 1), BLOCK):
            rows = slice(start, start + BLOCK)
            yield tuple(one[rows] for one in inputs), boxes[rows], numbers[rows]

    return fit_coverage_blocks(
        blocks, size=_frame(inputs, size), candidates=candidates, lambdas=lambdas, seed=seed, source=source
    )


def fit_coverage_blocks(
    blocks: Callable[[], Iterator[tuple[Features, np.ndarray, np.ndarray]]],
    *,
    size: tuple[int, int],
    candidates: Sequence[Cells] | None = None,
    lambdas: Sequence[float] = ridge.LAMBDAS,
    seed: int = 0,
    source: Mapping[str, Any] | None = None,
) -> CoverageMap:
    """The same from blocks of photos, in memory that does not grow with their number but by a few numbers a photo.

    `blocks()` gives (features, boxes, numbers of the photos), the same at every call. With several processes each gives
    photos of its own, at least one, numbered over all of them, and all processes get the same map.
    """
    _check_options(candidates, lambdas, seed, source)
    size = _frame((), size)
    usable = partial(_usable, blocks, size)
    known = _survey(usable)
    keys = np.sort(_keys(known.photos, seed, SAMPLE))
    chosen, tried, own = _chosen(usable, known, candidates, lambdas, seed, keys[:SEARCHED][-1])
    if own is None or len(keys) > SEARCHED:  # otherwise the choice has looked at every photo already
        cross = ridge.cross_fit(_moments(usable, known, chosen, seed), lambdas)
        own = _left_out(usable, known, chosen, cross, seed, keys[:CORRECTED][-1])
    cross, boxes, true = own
    correction = fit_correction(boxes, true, seed)
    record = {
        "method": "coverage",
        "n": known.rows,
        "photos": len(known.photos),
        "penalty": cross.penalty,
        "left_out_error": {str(penalty): error for penalty, error in cross.errors.items()},
        "reading": correction.best,
        "correction_penalty": None if np.isinf(correction.penalty) else correction.penalty,
        "left_out_iou": float(iou(boxes[:, correction.best], true).mean()),
        "tried": tried,
        "seed": seed,
        "notes": known.notes,
    }
    return CoverageMap(chosen, cross.whole, correction, size, known.shapes, dict(source or {}), record)


@dataclass(frozen=True)
class _Known:
    """What one sweep tells: all processes' photos by number, sorted, and their rows; the shapes of one's features."""

    photos: Int[np.ndarray, " p"]
    rows: int
    shapes: tuple[tuple[int, ...], ...]
    notes: list[str]


def _usable(
    blocks: Callable[[], Iterator[tuple[Features, np.ndarray, np.ndarray]]], size: tuple[int, int]
) -> Iterator[Block]:
    """Blocks with boxes in shares, without the rows that have nothing to teach."""
    for features, boxes, photos in blocks():
        inputs, boxes, photos = as_inputs(features), as_boxes(boxes), np.asarray(photos)
        _check_lengths(inputs, boxes, photos)
        said = status(inputs)
        for name, bad in (("features", said == "not finite"), ("boxes", ~np.isfinite(boxes).all(1))):
            if bad.any():
                raise InputError(f"{name} hold NaN or infinite values in photo {photos[bad].min()}: drop it")
        ok = said == "ok"
        yield (
            tuple(one if ok.all() else one[ok] for one in inputs),
            boxes[ok] / np.tile(size[::-1], 2),
            photos[ok],
            len(ok),
        )


def _survey(usable: Blocks) -> _Known:
    numbers: list[np.ndarray] = []
    low: list[np.ndarray] = []
    high: list[np.ndarray] = []
    shapes: tuple[tuple[int, ...], ...] | None = None
    given = 0
    for inputs, boxes, photos, count in usable():
        own = tuple(one.shape[1:] for one in inputs)
        if shapes is not None and own != shapes:
            raise InputError(f"features must have one shape in all blocks, not {shapes} and {own}")
        shapes, given = own, given + count
        numbers.append(photos)
        if len(boxes):
            low.append(boxes.min(0))
            high.append(boxes.max(0))
    if shapes is None:
        raise InputError("features: there is no photo to learn from")
    everyone = gathered(np.concatenate(numbers).astype(float)).astype(int)
    photos = np.unique(everyone)
    if len(photos) < LEAST:
        raise InputError(
            f"a coverage map needs at least {LEAST} photos with a box and features that are not constant,"
            f" not {len(photos)}"
        )
    left_out = int(gathered(np.array([float(given)])).sum()) - len(everyone)
    notes = [f"{left_out} rows with constant features were left out"] if left_out else []
    if np.allclose(gathered(np.array(low)).min(0), gathered(np.array(high)).max(0)):
        notes.append("all boxes are the same: what is predicted says nothing of the photos")
    return _Known(photos, len(everyone), shapes, notes)


def _sample(usable: Blocks, seed: int, last: int) -> Block:
    """The photos with a key up to `last`, in one block: then no chunk of theirs is padded but the last."""
    found = [
        (tuple(one[own] for one in inputs), boxes[own], photos[own])
        for inputs, boxes, photos, _ in usable()
        for own in [_keys(photos, seed, SAMPLE) <= last]
    ]
    inputs = tuple(np.concatenate(arrays) for arrays in zip(*(inputs for inputs, _, _ in found)))
    boxes, photos = (np.concatenate([one[i] for one in found]) for i in (1, 2))
    return inputs, boxes, photos, len(photos)


# the cells' ridge by all photos; soft rectangles of left-out coverage maps, and the true boxes, of some photos
_LeftOut = tuple[ridge.CrossFit, Float[np.ndarray, "m s 4"], Float[np.ndarray, "m 4"]]


def _chosen(
    usable: Blocks,
    known: _Known,
    candidates: Sequence[Cells] | None,
    lambdas: Sequence[float],
    seed: int,
    last: int,
) -> tuple[Cells, dict[str, float], _LeftOut | None]:
    """The best cells, by left-out boxes of the photos with a key up to `last`, all mean IoUs that were compared, and
    what the best ones left out, where anything was."""
    if candidates is not None and len(candidates) == 1:
        return candidates[0], {}, None
    sample = [_sample(usable, seed, last)]
    sums: dict[Cells, np.ndarray] = {}
    left_out: dict[Cells, _LeftOut] = {}
    found: dict[Cells, np.ndarray] = {}

    def moments(cells: Cells) -> np.ndarray:
        whole = replace(cells, layers=None)
        if cells != whole and whole in sums:  # those of some arrays are among those of all
            own = cells.numbers(known.shapes)
            return sums[whole][:, own[:, None], own]
        sums[cells] = _moments(lambda: iter(sample), known, cells, seed)
        return sums[cells]

    def overlaps(cells: Cells) -> np.ndarray:
        if cells not in found:
            cross = ridge.cross_fit(moments(cells), lambdas)
            left_out[cells] = _, boxes, true = _left_out(lambda: iter(sample), known, cells, cross, seed, last)
            by_reading = iou(boxes, true[:, None])
            found[cells] = by_reading[:, by_reading.mean(0).argmax()]
        return found[cells]

    steps = _steps(known.shapes) if candidates is None else [lambda _: candidates[1:]]
    chosen = Cells() if candidates is None else candidates[0]
    for step in steps:
        for cells in step(chosen):
            if candidates is None and cells.count(known.shapes) > MOST_CHANNELS:
                continue
            gain = overlaps(cells) - overlaps(chosen)
            if gain.mean() > gain.std() / np.sqrt(len(gain)):
                chosen = cells
            for other in sums.keys() - {chosen, replace(chosen, layers=None)}:
                del sums[other]
    return chosen, {str(cells): float(own.mean()) for cells, own in found.items()}, left_out.get(chosen)


def _steps(shapes: Sequence[tuple[int, ...]]) -> list[Callable[[Cells], Sequence[Cells]]]:
    """What is tried one after another, each given what was chosen so far: a finer grid, context for layers, narrower
    smoothing for maps, and each array of several left out."""
    steps: list[Callable[[Cells], Sequence[Cells]]] = [lambda c: [replace(c, grid=grid) for grid in GRIDS]]
    if any(len(shape) == 3 for shape in shapes):
        steps.append(lambda c: [replace(c, context=context) for context in CONTEXTS])
    if any(len(shape) == 2 for shape in shapes):
        steps.append(lambda c: [replace(c, scales=scales) for scales in SCALES])
    everything = set(range(len(shapes)))
    if len(shapes) > 1:
        steps.append(lambda c: [replace(c, layers=tuple(sorted(everything - {left}))) for left in everything])
    return steps


def _moments(usable: Blocks, known: _Known, cells: Cells, seed: int) -> Float[np.ndarray, "folds z z"]:
    moments = Moments(cells, FOLDS, known.shapes)
    for inputs, boxes, photos, _ in usable():
        moments.add(inputs, boxes, _fold_of(photos, known.photos, seed))
    return moments.merged()


def _left_out(usable: Blocks, known: _Known, cells: Cells, cross: ridge.CrossFit, seed: int, last: int) -> _LeftOut:
    """Soft rectangles of left-out coverage maps for the photos with a key up to `last`, of all processes, and their
    true boxes."""
    maps, rows = [np.empty((0, *cells.grid), np.float32)], [np.empty((0, 5))]
    for inputs, boxes, photos, _ in usable():
        own = _keys(photos, seed, SAMPLE) <= last
        if not own.all():
            inputs, boxes, photos = tuple(one[own] for one in inputs), boxes[own], photos[own]
        maps.append(_applied(inputs, cross.left_out[_fold_of(photos, known.photos, seed)], cells))
        rows.append(np.concatenate([photos[:, None], boxes], 1))
    soft = _read(np.concatenate(maps))
    found = gathered(np.concatenate([np.concatenate(rows), soft.reshape(len(soft), -1)], 1))
    found = found[np.argsort(found[:, 0], kind="stable")]  # however photos are spread over processes
    return cross, found[:, 5:].reshape(-1, SETTINGS, 4), found[:, 1:5]


def _applied(inputs: Inputs, solutions: Float[np.ndarray, "n z"], cells: Cells) -> Float[np.ndarray, "n rows columns"]:
    """Coverage maps by each photo's solution."""

    def some(index: np.ndarray) -> Array:
        whole = index[-1] - index[0] + 1 == len(index)  # then nothing is copied
        rows = slice(index[0], index[-1] + 1) if whole else index
        chunk = tuple(jnp.asarray(one[rows]) for one in inputs)
        return ridge.coverage(chunk, jnp.asarray(solutions[index], jnp.float32), cells=cells)

    return _in_chunks(some, len(solutions), cells.grid)


def _read(maps: Float[np.ndarray, "n rows columns"]) -> Float[np.ndarray, "n s 4"]:
    """All readings' soft rectangles of coverage maps."""
    return _in_chunks(lambda index: soft_boxes(jnp.asarray(maps[index])), len(maps), (SETTINGS, 4))


def _in_chunks(some: Callable[[np.ndarray], Array], n: int, each: Sequence[int]) -> np.ndarray:
    """What `some` makes of the photos with these indices, for few shapes that are compiled: whole chunks, or for what
    is less than one its next size."""
    size = next(size for size in (1, 4, ridge.CHUNK) if n <= size or size == ridge.CHUNK)
    padded = np.minimum(np.arange(-(-n // size) * size), n - 1)
    return map_batches(lambda index: some(padded[index]), len(padded), size, each)[:n]


def _keys(photos: Int[np.ndarray, "*n"], seed: int, draw: int = FOLD) -> Int[np.ndarray, "*n"]:
    """A random number below 2^53 for each photo by its number alone, so that any process can tell (splitmix64).

    Samples are drawn by others than folds: those with the smallest numbers would else be the first of their five, and
    all of one fold, which nothing is learned without."""
    x = photos.astype(np.uint64) + np.full(photos.shape, seed, np.uint64) * np.uint64(0xD1342543DE82EF95)
    x += np.uint64(draw) * np.uint64(0x8CB92BA72F3D8DD7)
    x += np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(11)).astype(np.int64)


def _fold_of(photos: Int[np.ndarray, " n"], everyone: Int[np.ndarray, " p"], seed: int) -> Int[np.ndarray, " n"]:
    """Of all photos in order every FOLDS in a row are dealt out at random, one to each fold."""
    order = np.searchsorted(everyone, photos)
    around = order[:, None] - order[:, None] % FOLDS + np.arange(FOLDS)
    return (_keys(around, seed) < _keys(order, seed)[:, None]).sum(1)


def of_methods(maps: Float[np.ndarray, "n *k h w"]) -> list[np.ndarray]:
    """Maps of one method, or of k methods stacked, as the features of their photos: an array a method."""
    return [maps] if maps.ndim == 3 else list(np.moveaxis(maps, 1, 0))


def as_inputs(features: Features) -> Inputs:
    """Features as a tuple of arrays, or InputError."""
    inputs = tuple(np.asarray(one) for one in (features if isinstance(features, list | tuple) else [features]))
    for one in inputs:
        if one.ndim not in (3, 4) or 0 in one.shape[1:] or one.dtype.kind not in "fiub":
            raise InputError(
                "features must be numbers [n, h, w] (a map) or [n, h, w, c] (activations), or a list of such arrays,"
                f" not {one.dtype} {list(one.shape)}"
            )
        if one.ndim == 4 and one.shape[1] == 1 < one.shape[2]:
            raise InputError(
                f"features {list(one.shape)} are activations [n, h, w, c] of a single row: give maps [n, k, h, w] of k"
                " methods as a list of k arrays [n, h, w]"
            )
    if len({len(one) for one in inputs}) != 1:
        raise InputError(f"features must be of the same photos, not of {[len(one) for one in inputs]} photos")
    return inputs


def status(features: Features) -> np.ndarray:
    """Whether features say anything, per photo: "ok", "not finite" or "constant", which is all arrays being so."""
    inputs = as_inputs(features)
    finite = np.all([_finite(one) for one in inputs], 0)
    constant = np.all([_constant(one) for one in inputs], 0)
    return np.select([~finite, constant], ["not finite", "constant"], "ok")


def _finite(array: Float[np.ndarray, "n ..."]) -> np.ndarray:
    """Whether all of a photo's numbers are finite. If their sum is, they are."""
    rows = array.reshape(len(array), math.prod(array.shape[1:]))
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(rows.sum(1)) if array.dtype == np.float32 else np.zeros(len(rows), bool)
    left = np.flatnonzero(~finite)
    finite[left] = np.isfinite(rows[left]).all(1)
    return finite


def _constant(array: Float[np.ndarray, "n h w ..."]) -> np.ndarray:
    """Whether each channel of a photo is the same at all places; of most photos the first row says that it is not."""
    axes = tuple(range(1, array.ndim))
    constant = (array[:, :1] == array[:, :1, :1]).all(axes)
    left = np.flatnonzero(constant)
    constant[left] = (array[left] == array[left, :1, :1]).all(axes)
    return constant


def _frame(inputs: Inputs, size: tuple[int, int] | None) -> tuple[int, int]:
    """The (height, width) that boxes are stated in."""
    if size is None:
        sizes = {one.shape[1:3] for one in inputs}
        if len(sizes) > 1:
            raise InputError(
                f"size must be the (height, width) that boxes are stated in, where features are of {sorted(sizes)}"
            )
        return sizes.pop()
    kind_of("size", size, tuple, "(height, width) of the image that boxes are stated in")
    if len(size) != 2:
        raise InputError(f"size must be (height, width), not {size}")
    for side in size:
        whole("size", side, least=1)
    return size


def _check_options(
    candidates: Sequence[Cells] | None, lambdas: Sequence[float], seed: int, source: Mapping[str, Any] | None
) -> None:
    if not len(lambdas):
        raise InputError("lambdas must be one or more numbers above 0")
    for penalty in lambdas:
        number("lambdas", penalty, above=0)
    if candidates is not None:
        if not isinstance(candidates, Sequence) or not candidates:
            raise InputError("candidates must be one or more Cells, or None for the default ones")
        for cells in candidates:
            kind_of("candidates", cells, Cells, "one of those that are tried")
    whole("seed", seed)
    if source is not None:
        kind_of("source", source, Mapping, "what the features are")


def _check_lengths(inputs: Inputs, boxes: np.ndarray, photos: np.ndarray) -> None:
    n = len(inputs[0])
    if len(boxes) != n:
        raise InputError(f"{len(boxes)} boxes do not pair with the features of {n} photos")
    if photos.shape != (n,) or photos.dtype.kind not in "iu" or photos.min(initial=0) < 0:
        raise InputError(f"photos must be whole numbers of at least 0, one for each of the {n} rows")
