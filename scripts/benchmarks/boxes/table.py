"""Boxes of all routes on the same photos and folds, scored: a row each, with intervals and paired differences."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from localization.boxes import below_half
from localization.metrics import best_iou, corloc, corloc_by_class, hits, mean_iou
from localization.statistics import bootstrap, mcnemar_exact, paired_difference
from saliency import report
from saliency._files import write_arrays
from saliency.report.record import plain
from scripts.benchmarks.boxes.photos import Photos
from scripts.benchmarks.boxes.routes import Route, Samples

SOLVERS = 4  # of the boxes in the cache: another number where other ones would be found
LONGEST = 200  # letters of a name in the cache
OTHERS = {  # routes of the same features that a route is paired with
    "coverage": ("heuristic", "lad", "flip-equivariant", "Eq. 4"),
    "lad": ("heuristic",),
    "flip-equivariant": ("heuristic",),
    "Eq. 4": ("heuristic",),
    "chooser": ("coverage",),
    "small network": ("coverage",),
}


def compared(
    photos: Photos,
    arrays: Callable[[str, np.ndarray], np.ndarray],
    routes: Sequence[Route],
    cache: Path,
    *,
    learned: np.ndarray | None = None,
    scored: np.ndarray | None = None,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """A row for each route. `arrays(name, rows)` are features of samples; `learned` and `scored` say which samples may
    be learned from and which are scored (default: all), always of other folds.

    Coverage is paired with the heuristic and the other linear maps of the same map, or with the best of all heuristics
    where it reads several arrays; that one is chosen on the scored photos, in its favour. OTHERS says with what other
    routes are paired.
    """
    everything = np.ones(len(photos), bool)
    learned, scored = everything if learned is None else learned, everything if scored is None else scored
    tested = np.flatnonzero(scored & np.isin(photos.folds, photos.scored))
    inputs = report.content_hash(photos.ids, photos.of, photos.target, photos.folds, learned, scored)
    key = inputs[:12]
    found: dict[Route, tuple[np.ndarray, float, float, dict[str, int]]] = {}
    rows: list[dict[str, Any]] = []
    for route in routes:
        found[route] = _cached(route, photos, arrays, cache / f"{photos.name}-{key}", learned, scored)
        row = _row(route, found[route], photos, tested, seed)
        say(line(photos.name, row))
        rows.append(row)
    right = {route: hits(best_iou(one[0][tested], [photos.true[i] for i in tested])) for route, one in found.items()}
    heuristics = [route for route in routes if route.name == "heuristic"]
    strongest = max(heuristics, key=lambda route: right[route].mean()) if heuristics else None
    for route, row in zip(routes, rows):
        others = [one for one in routes if one is not route and one.features == route.features and one.name in
                  OTHERS.get(route.name.partition(",")[0], ())]  # fmt: skip
        if route.name.startswith("coverage") and strongest is not None and (len(route.features) > 1 or not others):
            others = [strongest]
        if others and route.features:
            row["paired"] = [_paired(route, other, right, photos.of[tested], seed) for other in others]
    return {
        "inputs": inputs,
        "n": len(tested),
        "photos": len(np.unique(photos.of[tested])),
        "learned_from": int((learned & ~np.isin(photos.folds, photos.scored)).sum()) or "the other folds",
        "folds": len(photos.scored),
        "rows": rows,
    }


def _paired(route: Route, other: Route, right: Mapping[Route, np.ndarray], of: np.ndarray, seed: int) -> dict[str, Any]:
    difference = paired_difference(right[route], right[other], clusters=of, seed=seed)
    return {
        "against": f"{other.title}, {other.name}",
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
        "mcnemar_p": mcnemar_exact(right[route], right[other]).p,
    }


def _row(route: Route, found: tuple, photos: Photos, tested: np.ndarray, seed: int) -> dict[str, Any]:
    boxes, seconds, milliseconds, chosen = found
    true = [photos.true[i] for i in tested]
    of = photos.of[tested]
    share, overlap = (figure(boxes[tested], true, images=of, seed=seed) for figure in (corloc, mean_iou))
    row = {
        "features": route.title,
        "route": route.name,
        "n": share.n,
        "no_box": share.missing,
        "corloc": share.value,
        "low": share.low,
        "high": share.high,
        "mean_iou": overlap.value,
        "fit_cpu_seconds": seconds,
        "predict_cpu_ms": milliseconds,
        "chosen": chosen,
    }
    small = below_half(photos.target[tested], np.ones((len(tested), 2)))
    if small.any() and not small.all():
        some = [box for box, chosen in zip(true, small) if chosen]
        row["small"] = plain(corloc(boxes[tested][small], some, images=of[small], seed=seed))
    if photos.classes:
        row |= _by_class(boxes[tested], true, photos.label[tested], of, seed)
        if photos.any is not None:
            row["any"] = _by_class(boxes[tested], [photos.any[i] for i in tested], photos.label[tested], of, seed)
    return row


def _by_class(boxes: np.ndarray, true: Sequence[np.ndarray], labels: np.ndarray, of: np.ndarray, seed: int):
    right = hits(best_iou(boxes, true))
    mean = bootstrap(right, clusters=of, classes=np.unique(labels, return_inverse=True)[1], seed=seed)
    classes = corloc_by_class(boxes, true, labels, images=of, seed=seed)
    return {
        "class_mean": {"corloc": mean.value, "low": mean.low, "high": mean.high},
        "by_class": {str(label): {"corloc": one.value, "n": one.n} for label, one in classes.items()},
    }


def _cached(
    route: Route,
    photos: Photos,
    arrays: Callable[[str, np.ndarray], np.ndarray],
    cache: Path,
    learned: np.ndarray,
    scored: np.ndarray,
) -> tuple[np.ndarray, float, float, dict[str, int]]:
    """Boxes of the scored samples in shares, float `[n, 4]`; CPU seconds of a fit, ms of a box; what was chosen. Each
    fold is kept by itself, so that a run that was stopped goes on."""
    boxes, chosen, fitting, predicting = np.full((len(photos), 4), np.nan), [], 0.0, 0.0
    name = f"{SOLVERS}-{route.name}-{'-'.join(route.features)}-{route.key}".replace(" ", "_").replace("/", "_")
    if len(name) > LONGEST:  # than a file system takes, with the fold and its ending
        name = f"{name[: LONGEST - 17]}-{report.content_hash(name)[:16]}"
    counted = 0
    for fold in photos.scored:
        test = np.flatnonzero(scored & (photos.folds == fold))
        path = cache / f"{name}-{fold}.npz"
        if not path.exists():
            train = np.flatnonzero(learned & (photos.folds != fold))
            start = time.process_time()
            some, others = (
                Samples([arrays(one, rows) for one in route.features], photos.target[rows], photos.label[rows],
                        photos.of[rows]) for rows in (train, test)
            )  # fmt: skip
            predict, said = route.learn(some)
            fitted = time.process_time()
            predicted = predict(others)
            write_arrays(path, {"boxes": predicted, "said": np.array(said),
                                "times": np.array([fitted - start, time.process_time() - fitted])})  # fmt: skip
        with np.load(path, allow_pickle=False) as file:
            boxes[test], said, times = file["boxes"], str(file["said"]), file["times"]
        chosen.append(said)
        counted += len(test)
        fitting, predicting = fitting + times[0] / len(photos.scored), predicting + times[1]
    return boxes, float(fitting), float(1000 * predicting / counted), dict(Counter(chosen))


def line(name: str, row: Mapping[str, Any]) -> str:
    """One row of the table as text."""
    share = f"{row['corloc']:.1%} [{row['low']:.1%}, {row['high']:.1%}]"
    small = f"  small {row['small']['value']:.1%}" if "small" in row else ""
    mean = f"  classes {row['class_mean']['corloc']:.1%}" if "class_mean" in row else ""
    mean += f" any {row['any']['class_mean']['corloc']:.1%}" if "any" in row else ""
    return f"{name:12} {row['features']:50} {row['route']:20} {share:24} n {row['n']}{small}{mean}"
