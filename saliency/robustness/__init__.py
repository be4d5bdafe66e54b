"""Structured occlusion (seed 004) and occlusion as augmentation (seed 002): masks, calibration, augmentations."""

from saliency.robustness.augment import AUGMENTATIONS, augment, visible_share
from saliency.robustness.calibration import figures, reliability, video_log_probabilities
from saliency.robustness.evaluation import masked_log_probabilities
from saliency.robustness.masks import FAMILIES, describe, draw_fields, draw_masks, hide

__all__ = [
    "AUGMENTATIONS",
    "FAMILIES",
    "augment",
    "describe",
    "draw_fields",
    "draw_masks",
    "figures",
    "hide",
    "masked_log_probabilities",
    "reliability",
    "video_log_probabilities",
    "visible_share",
]
