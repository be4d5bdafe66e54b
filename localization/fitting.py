"""The linear map from the maps of a store to boxes, at any size: what is chosen on left-out images, its figures.

    result = fit(["runs/maps"])
    print(result.table())
    result.save("runs/fit")

Images are split at random, from the seed: to fit, to choose the penalty, to score. A photo that is scored is never
learned from, nor is one that helps to choose, whatever its file is called. Nothing that is written depends on the
clock, so that a killed run, started again, ends in the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from localization._processes import check_part
from localization.datasets.dataset import Progress
from localization.features import Coding
from localization.metrics import best_iou, hits
from localization.options.fit import FitOptions
from localization.regression import CoverageMap, LinearMap, ridge, sgd
from localization.regression.coverage import of_methods
from localization.regression.data import RegressionData, open_regression_data
from localization.regression.linear_map import decoded, encoded
from localization.regression.moments import moments
from localization.regression.rows import gathered_in_order
from localization.regression.solution import Solution
from localization.regression.solvers import refined
from localization.regression.store_coverage import fit_draws, fit_store, predict_store
from localization.report import fitted
from localization.statistics import bootstrap, mcnemar_exact
from saliency._checks import function, kind_of
from saliency._files import check_writable
from saliency.errors import InputError
from saliency.report.record import content_hash, record

Figures = dict[str, Any]
DRAWN = 8  # scored images whose coverage is kept to be drawn


@dataclass(frozen=True, eq=False)
class Fit:
    """The fitted `linear` map; `results` is all that is written as JSON; `boxes` float `[n, 4]` are those predicted for
    the scored images `[n]`, in pixels of their photos, and `overlaps` `[n]` their best IoU. `covered` float `[k, rows,
    columns]` is what a coverage map sees in the first of them."""

    linear: LinearMap | CoverageMap
    results: Figures
    images: Sequence[str]
    boxes: Float[np.ndarray, "n 4"]
    overlaps: Float[np.ndarray, " n"]
    covered: Float[np.ndarray, "k rows columns"] = field(default_factory=lambda: np.empty((0, 1, 1)))

    @property
    def rows(self) -> list[Figures]:
        """One row a route: the linear map and the boxes that look at no map, with CorLoc and mean IoU."""
        return list(self.results["rows"])

    @property
    def notes(self) -> list[str]:
        """What was left out, each as one line."""
        return list(self.results["notes"])

    def table(self) -> str:
        """The figures as text for a terminal."""
        return fitted.text(self.results)

    def save(self, folder: Path | str, *, command: str = "") -> Path:
        """Write linear_map.safetensors, results.json, boxes.csv and report.html; gives the path of results.json.

        Raises InputError where nothing can be written.
        """
        check_writable(Path(folder))
        results = {**self.results, "command": command}
        return fitted.write(Path(folder), results, self.linear, self.images, self.boxes, self.overlaps, self.covered)

    def _repr_html_(self) -> str:
        return fitted.notebook(self.results, self.linear, self.covered)


@dataclass(frozen=True)
class _Split:
    fit: Int[np.ndarray, " f"]
    choose: Int[np.ndarray, " c"]
    score: Int[np.ndarray, " s"]


def fit(
    stores: Sequence[Path | str] | Path | str,
    *,
    options: FitOptions | None = None,
    part: int = 0,
    parts: int = 1,
    progress: Progress | None = None,
) -> Fit:
    """Fit, choose and score the linear map on the maps of `stores`, folders that `make_maps` has filled; several of the
    same images are stacked as features.

    In a run of many processes, which `jax.distributed` knows of, each reads every `parts`-th shard from `part` on, and
    all get the same result. `progress` is called with (done, total) few-shot fits. Raises InputError for bad arguments,
    for stores that do not belong together, and for too few images.
    """
    options = FitOptions() if options is None else options
    kind_of("options", options, FitOptions, "or None for the default ones")
    options.check()
    check_part(part, parts)
    function("progress", progress, "(done, total)")
    if parts > 1 and (options.few_shot or options.method == "sgd"):
        raise InputError("`few_shot` and `method` sgd run in a single process; ridge, lad and iou in many")
    folders = [Path(store) for store in ([stores] if isinstance(stores, Path | str) else stores)]
    data = open_regression_data(folders, options.features, part=part, parts=parts, cache=options.cache * 2**20)
    split, notes = _split(data, options)
    if options.method == "coverage":
        return _by_coverage(data, split, options, progress, notes)
    targets = encoded(data.target_boxes(), options.coding, data.size)
    solution, path = _fitted(data, split, targets, options, parts)
    made = {
        "method": options.method,
        "n": len(split.fit),
        "penalty": solution.penalty,
        "seed": options.seed,
        "path": path,
        **solution.trace,
    }
    linear = LinearMap(
        solution.weights, solution.intercept, options.features, options.coding, data.typical(), data.source, made
    )
    images, boxes = _predicted(data, split.score, targets, [solution], options.coding)
    curve = _few_shot(data, split, targets, options, progress) if options.few_shot else []
    return _scored(options, data, split, linear, images, data.to_photos(boxes[0], images), curve, notes)


def _by_coverage(
    data: RegressionData, split: "_Split", options: FitOptions, progress: Progress | None, notes: list[str]
) -> Fit:
    """Learned from the images to fit and to choose, for it chooses in folds of its own."""
    learned = np.sort(np.concatenate([split.fit, split.choose]))
    coverage = fit_store(data, learned, lambdas=options.penalties, seed=options.seed)
    images, boxes = predict_store(data, split.score, [coverage])
    curve, rng = list[Figures](), np.random.default_rng(options.seed)
    sizes = [n for n in options.few_shot if n <= len(learned)]
    for n in sizes:
        draws = [rng.choice(learned, n, replace=False) for _ in range(options.repeats)]
        fits = fit_draws(data, draws, lambdas=options.penalties, seed=options.seed)
        curve.append(_drawn(data, n, *predict_store(data, split.score, fits)))
        if progress is not None:
            progress(len(curve) * options.repeats, len(sizes) * options.repeats)
    first = next(data.map_blocks(split.score), None)
    covered = coverage.coverage(of_methods(first[1][:DRAWN])) if first else np.empty((0, 1, 1))
    whole = replace(split, fit=learned, choose=np.empty(0, int))
    notes = [*notes, *coverage.record["notes"]]
    found = data.to_photos(boxes[0], images)
    return replace(_scored(options, data, whole, coverage, images, found, curve, notes), covered=covered)


def _split(data: RegressionData, options: FitOptions) -> tuple[_Split, list[str]]:
    """Images to fit, to choose and to score, and what was taken out of the first two, for they show what a later one
    shows."""
    order = np.random.default_rng(options.seed).permutation(len(data))
    ends = np.round(np.cumsum(options.shares) * len(data)).astype(int)
    fit, choose, score = (np.sort(part) for part in np.split(order, ends)[:3])
    pixels = np.array([record.pixels for record in data.records])
    apart = choose[~np.isin(pixels[choose], pixels[score])]
    learned = fit[~np.isin(pixels[fit], pixels[np.concatenate([score, choose])])]
    taken = len(choose) - len(apart) + len(fit) - len(learned)
    notes = list(data.notes)
    if taken:
        notes.append(f"{taken:,} images show the very photo of one held out, so nothing is learned from them")
    if min(len(learned), len(apart), len(score)) < 3:
        raise InputError(f"{len(data)} usable images are too few to be split {options.shares}; make maps of more")
    return _Split(learned, apart, score), notes


def _fitted(
    data: RegressionData, split: _Split, targets: np.ndarray, options: FitOptions, parts: int
) -> tuple[Solution, dict[float, float]]:
    """The solution of the best penalty, and the figure of each on the held-out images."""
    rows = data.feature_blocks(split.fit, targets)
    spectrum, solutions = None, None
    if parts == 1 and jax.process_count() == 1 and len(split.fit) < data.width:
        spectrum = ridge.from_rows(np.concatenate(list(rows.blocks())), rows.targets)
    elif 3 * 8 * data.width**2 <= options.budget * 2**20:
        sums = moments(rows)
        if options.method == "ridge" and len(options.penalties) == 1:  # nothing to choose: no eigenvectors are needed
            solutions = [ridge.one_penalty(sums, options.penalties[0], rows)]
        else:
            spectrum = ridge.from_moments(sums)
    elif options.method == "ridge":
        solutions = [ridge.conjugate_gradients(rows, penalty) for penalty in options.penalties]
    else:
        raise InputError(
            f"{data.width:,} features need more than `budget` {options.budget} MiB for a {options.method} fit;"
            " raise it, pool the maps, or use `method` ridge"
        )
    if spectrum is not None:
        solutions = ridge.polished(spectrum, rows, [spectrum.solution(penalty) for penalty in options.penalties])
    assert solutions is not None
    path = _chosen(data, split, targets, solutions, options)
    assert options.method != "coverage"  # which has solutions of its own
    best = solutions[max(range(len(solutions)), key=lambda i: (path[i], solutions[i].penalty))]
    if spectrum is not None:
        best = refined(
            options.method,
            best,
            spectrum,
            rows,
            coding=options.coding,
            steps=options.steps,
            batches=lambda: sgd.streamed(rows, options.seed),
        )
    return best, {solution.penalty: figure for solution, figure in zip(solutions, path)}


def _predicted(
    data: RegressionData, images: np.ndarray, targets: np.ndarray, solutions: list[Solution], coding: Coding
) -> tuple[np.ndarray, np.ndarray]:
    """(the images by their numbers; boxes `[solutions, n, 4]` in pixels of the maps), of all processes."""
    weights = np.concatenate([solution.weights for solution in solutions], 1)
    intercept = np.concatenate([solution.intercept for solution in solutions])
    codes = [x @ weights + intercept for x in data.feature_blocks(images, targets).blocks()]
    order, table = gathered_in_order(
        data.local_indices(images), np.concatenate([np.empty((0, len(intercept))), *codes])
    )
    return order, np.array([decoded(table[:, i : i + 4], coding, data.size) for i in range(0, len(intercept), 4)])


def _chosen(
    data: RegressionData, split: _Split, targets: np.ndarray, solutions: list[Solution], options: FitOptions
) -> list[float]:
    """The figure of each solution on the images held out for the choice."""
    images, boxes = _predicted(data, split.choose, targets, solutions, options.coding)
    true = [data.true()[i] for i in images]
    overlaps = [best_iou(data.to_photos(one, images), true) for one in boxes]
    return [float((hits(o) if options.choose == "corloc" else o).mean()) for o in overlaps]


def _few_shot(
    data: RegressionData, split: _Split, targets: np.ndarray, options: FitOptions, progress: Progress | None
) -> list[Figures]:
    """Ridge on random draws of few training boxes, penalty by leave-one-out; CorLoc on the test images."""
    own = data.feature_blocks(split.fit, targets)
    x, order = np.concatenate(list(own.blocks())), data.local_indices(split.fit)
    boxes, rng = data.target_boxes()[order], np.random.default_rng(options.seed)
    curve: list[Figures] = []
    sizes = [n for n in options.few_shot if n <= len(x)]
    for n in sizes:
        solutions: list[Solution] = []
        for _ in range(options.repeats):
            drawn = rng.choice(len(x), n, replace=False)

            def overlap_of(codes: np.ndarray, boxes: np.ndarray = boxes[drawn]) -> float:
                return float(best_iou(decoded(codes, options.coding, data.size), boxes).mean())

            solutions.append(ridge.cross_validated(x[drawn], own.targets[drawn], options.penalties, overlap_of)[1])
            if progress is not None:
                progress(len(curve) * options.repeats + len(solutions), len(sizes) * options.repeats)
        curve.append(_drawn(data, n, *_predicted(data, split.score, targets, solutions, options.coding)))
    return curve


def _drawn(data: RegressionData, n: int, images: np.ndarray, boxes: np.ndarray) -> Figures:
    """CorLoc of boxes `[draws, m, 4]` learned from n images each."""
    true = [data.true()[i] for i in images]
    right = np.array([hits(best_iou(data.to_photos(one, images), true)) for one in boxes])
    return {"n": n, **_interval(right.mean(0)), "draws": right.mean(1)}


def _interval(values: np.ndarray) -> Figures:
    estimate = bootstrap(values)
    return {"corloc": estimate.value, "low": estimate.low, "high": estimate.high}


def _scored(
    options: FitOptions,
    data: RegressionData,
    split: _Split,
    linear: LinearMap | CoverageMap,
    images: np.ndarray,
    boxes: np.ndarray,
    curve: list[Figures],
    notes: list[str],
) -> Fit:
    """The linear map's figures on the scored images, beside those of boxes that look at no map."""
    known, true = data.target_boxes()[split.fit], [data.true()[i] for i in images]
    photo = np.array([data.records[i].size for i in images])
    first = np.array([t[0] for t in true])
    small = (first[:, 2:] - first[:, :2]).prod(1) < photo.prod(1) / 2
    height, width = data.size
    routes = {"linear map": boxes}
    for name, box in {
        "median box": np.median(known, axis=0),
        "mean box": known.mean(0),
        "full image": np.array([0, 0, width, height], float),
    }.items():
        routes[name] = data.to_photos(np.tile(box, (len(images), 1)), images)
    overlaps = {name: best_iou(found, true) for name, found in routes.items()}
    rows = []
    for name, found in overlaps.items():
        right = hits(found)
        rows.append(
            {
                "route": name,
                **_interval(right),
                "mean_iou": float(found.mean()),
                "small": _interval(right[small]) if small.any() else None,
                "mcnemar_p": mcnemar_exact(right, hits(overlaps["linear map"])).p,
            }
        )
    stores = content_hash([store.digest() for store in data.stores])
    results = {
        **record(options, options.seed, stores),
        "images": {
            "fit": len(split.fit),
            "choose": len(split.choose),
            "score": len(images),
            "small": int(small.sum()),
        },
        "maps": data.source,
        "notes": notes,
        "entry": data.entry(),
        "penalty": linear.penalty,
        "path": linear.record["left_out_error" if isinstance(linear, CoverageMap) else "path"],
        "rows": rows,
        "few_shot": curve,
    }
    sources = [data.records[i].source for i in images]
    return Fit(linear, results, sources, boxes, overlaps["linear map"])
