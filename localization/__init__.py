"""Boxes from maps, and how good they are."""

from localization import datasets
from localization.comparison import CompareOptions, Comparison, compare
from localization.features import Features
from localization.metrics import best_iou, corloc, corloc_by_class, mean_iou
from localization.regression import LinearMap, fit_linear_map, load_linear_map
from localization.statistics import Estimate, bootstrap, mcnemar_exact, paired_difference, wilson

__all__ = [
    "CompareOptions",
    "Comparison",
    "Estimate",
    "Features",
    "LinearMap",
    "best_iou",
    "bootstrap",
    "compare",
    "corloc",
    "corloc_by_class",
    "datasets",
    "fit_linear_map",
    "load_linear_map",
    "mcnemar_exact",
    "mean_iou",
    "paired_difference",
    "wilson",
]
