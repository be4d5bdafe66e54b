"""Where in the image did the classifier look? Gradient and occlusion maps of the same score, in JAX."""

from saliency.errors import InputError
from saliency.maps.cam import grad_cam
from saliency.maps.gradient import gradient_maps
from saliency.models.weights import load_network
from saliency.occlusion import OcclusionMaps, occlusion_maps
from saliency.scores import Score

__all__ = ["InputError", "OcclusionMaps", "Score", "grad_cam", "gradient_maps", "load_network", "occlusion_maps"]
