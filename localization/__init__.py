"""Boxes from maps, and how good they are."""

from localization import datasets
from localization.metrics import best_iou, corloc, corloc_by_class, mean_iou
from localization.statistics import Estimate, bootstrap, mcnemar_exact, paired_difference, wilson

__all__ = [
    "Estimate",
    "best_iou",
    "bootstrap",
    "corloc",
    "corloc_by_class",
    "datasets",
    "mcnemar_exact",
    "mean_iou",
    "paired_difference",
    "wilson",
]
