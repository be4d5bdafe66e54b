"""Classifiers under masks of several shapes, and occlusion as augmentation: masks, trainings, calibration, a page."""

from saliency.robustness.augment import AUGMENTATIONS, augment, visible_share
from saliency.robustness.calibration import figures, reliability, video_log_probabilities
from saliency.robustness.evaluation import Evaluation, evaluate, masked_log_probabilities
from saliency.robustness.masks import FAMILIES, describe, draw_fields, draw_masks, hide
from saliency.robustness.subject import Options
from saliency.robustness.training import train, train_each

__all__ = [
    "AUGMENTATIONS",
    "FAMILIES",
    "Evaluation",
    "Options",
    "augment",
    "describe",
    "draw_fields",
    "draw_masks",
    "evaluate",
    "figures",
    "hide",
    "masked_log_probabilities",
    "reliability",
    "train",
    "train_each",
    "video_log_probabilities",
    "visible_share",
]
