"""Boxes from maps, and how good they are.

    data = localization.load("voc", "VOC2007", split="test")                # photos, boxes, labels, notes
    localization.compare(net, data, methods=["gradient-max", "grad-cam"])   # methods x boxes on the same photos
    localization.evaluate(data, net=net, train=train)                       # one source of maps or boxes, one protocol
    localization.make_maps(net, data, "runs/maps")                          # maps of any number of photos, on disk
    localization.fit("runs/maps").linear                                    # the linear map from those to boxes

The way goes `datasets` -> maps -> boxes (`fit_linear_map`, `fit_coverage`,
`heuristics`) -> figures (`corloc`, ...) -> page. What these
four give has `.rows`, `.table()`, `.notes` and shows itself in a notebook; `.save(folder)` writes it. Boxes are float
`[n, 4]`, `x0 y0 x1 y1` in continuous pixel edges, half-open. Bad input raises `saliency.InputError`.
"""

from typing import TYPE_CHECKING

from saliency._lazy import attached

if TYPE_CHECKING:
    from localization import boxes, datasets, heuristics, protocols
    from localization.comparison import CompareOptions, Comparison, NetworkComparison, compare, compare_networks
    from localization.datasets import Dataset, load, scenes
    from localization.datasets.moving_digits import moving_digits
    from localization.evaluation import Evaluation, EvaluationOptions, evaluate
    from localization.features import Features
    from localization.fitting import Fit, FitOptions, fit
    from localization.map_making import MadeMaps, MapOptions, make_maps
    from localization.metrics import best_iou, corloc, corloc_by_class, mean_iou, top1_loc
    from localization.protocols import PROTOCOLS
    from localization.regression import (
        CoverageMap,
        LinearMap,
        fit_coverage,
        fit_linear_map,
        load_coverage_map,
        load_linear_map,
    )
    from localization.statistics import Estimate, bootstrap, mcnemar_exact, paired_difference, wilson

__getattr__, __dir__ = attached(__name__)

__all__ = [
    "PROTOCOLS",
    "CompareOptions",
    "Comparison",
    "CoverageMap",
    "Dataset",
    "Estimate",
    "Evaluation",
    "EvaluationOptions",
    "Features",
    "Fit",
    "FitOptions",
    "LinearMap",
    "MadeMaps",
    "MapOptions",
    "NetworkComparison",
    "best_iou",
    "bootstrap",
    "boxes",
    "compare",
    "compare_networks",
    "corloc",
    "corloc_by_class",
    "datasets",
    "evaluate",
    "fit",
    "fit_coverage",
    "fit_linear_map",
    "heuristics",
    "load",
    "load_coverage_map",
    "load_linear_map",
    "make_maps",
    "mcnemar_exact",
    "mean_iou",
    "moving_digits",
    "paired_difference",
    "protocols",
    "scenes",
    "top1_loc",
    "wilson",
]
