"""Occlusion: windows that hide a part of each image, and the score under each of them."""

from saliency.occlusion.maps import (
    Engine,
    Execution,
    OcclusionMaps,
    Progress,
    occluded_logits,
    occlusion_maps,
    passes_saved,
)
from saliency.occlusion.windows import Windows, fill_images

__all__ = [
    "Engine",
    "Execution",
    "OcclusionMaps",
    "Progress",
    "Windows",
    "fill_images",
    "occluded_logits",
    "occlusion_maps",
    "passes_saved",
]
