"""`fit_linear_map`: features of maps, a closed form with the best penalty, and the solver that starts there."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np

from localization.boxes import as_boxes, iou
from localization.features import Coding, Features, stacked
from localization.regression import ridge, sgd
from localization.regression.linear_map import LinearMap, decoded, encoded
from localization.regression.rows import in_memory
from localization.regression.solvers import Method, refined
from saliency._checks import BoxesLike, StackedMapsLike, kind_of, number, one_of, whole
from saliency.errors import InputError


def fit_linear_map(
    maps: StackedMapsLike,
    boxes: BoxesLike,
    *,
    method: Method = "lad",
    features: Features | None = None,
    coding: Coding = "corners",
    lambdas: Sequence[float] = ridge.LAMBDAS,
    steps: int | None = None,
    seed: int = 0,
    source: Mapping[str, Any] | None = None,
) -> LinearMap:
    """Fit boxes `x0 y0 x1 y1`, in pixels of the maps, to the maps' features.

    The penalty is the one of `lambdas` whose left-out predictions overlap most with the boxes (mean IoU over exact
    leave-one-out). `method`: "ridge", the closed form; "lad", least absolute deviations, and "iou", an overlap loss,
    both started there; "sgd", the paper's recipe with that penalty, batches drawn from `seed`. `steps` is the length of
    the last three. `source` says what the maps are, and is saved. Boxes beyond the map or without area are learned as
    they are; what is predicted lies in the map.

    Raises InputError for fewer than 3 maps, numbers that do not fit together, and maps or boxes that are not finite.
    """
    maps, boxes = stacked(maps), as_boxes(boxes)
    features = Features() if features is None else features
    _check(maps, boxes, lambdas)
    one_of("method", method, get_args(Method))
    one_of("coding", coding, get_args(Coding))
    kind_of("features", features, Features, "or None for the default ones")
    whole("steps", steps, least=1, optional=True)
    whole("seed", seed)
    if source is not None:
        kind_of("source", source, Mapping, "what the maps are")
    size = (maps.shape[2], maps.shape[3])
    x, y = features(maps), encoded(boxes, coding, size)
    spectrum, solution = ridge.cross_validated(
        x, y, lambdas, lambda codes: float(iou(decoded(codes, coding, size), boxes).mean())
    )
    solution = refined(
        method,
        solution,
        spectrum,
        in_memory(x, y),
        coding=coding,
        steps=steps,
        batches=lambda: sgd.shuffled(x, y, seed),
    )
    record = {"method": method, "n": len(maps), "penalty": solution.penalty, "seed": seed, **solution.trace}
    return LinearMap(
        solution.weights,
        solution.intercept,
        features,
        coding,
        maps.mean(0, dtype=np.float64).astype(np.float32),
        dict(source or {}),
        record,
    )


def _check(maps: np.ndarray, boxes: np.ndarray, lambdas: Sequence[float]) -> None:
    if len(boxes) != len(maps):
        raise InputError(f"{len(boxes)} boxes do not pair with {len(maps)} maps")
    if len(maps) < 3:
        raise InputError(f"a linear map needs at least 3 maps to be fitted to, not {len(maps)}")
    if not len(lambdas):
        raise InputError("lambdas must be one or more numbers above 0")
    for penalty in lambdas:
        number("lambdas", penalty, above=0)
    for name, array in (("maps", maps), ("boxes", boxes)):
        bad = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(1))
        if len(bad):
            raise InputError(
                f"{name} hold NaN or infinite values at index {bad[0]} ({len(bad)} of {len(array)}): drop it"
            )
