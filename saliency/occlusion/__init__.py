"""Occlusion: windows that hide a part of each image, and the score under each of them."""

from typing import TYPE_CHECKING

from saliency._lazy import attached

if TYPE_CHECKING:
    from saliency.occlusion.execution import Engine, Execution
    from saliency.occlusion.maps import (
        OcclusionMaps,
        Progress,
        occluded_logits,
        occlusion_maps,
        passes_saved,
    )
    from saliency.occlusion.windows import Windows, fill_images

__getattr__, __dir__ = attached(__name__)

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
