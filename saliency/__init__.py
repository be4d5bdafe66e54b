"""Where in the image did the classifier look? Gradient and occlusion maps of the same score, in JAX."""

from saliency.cam import grad_cam
from saliency.errors import InputError
from saliency.gradient import gradient_maps
from saliency.occlusion import OcclusionMaps, occlusion_maps
from saliency.scores import Score
from saliency.weights import load_network

__all__ = ["InputError", "OcclusionMaps", "Score", "grad_cam", "gradient_maps", "load_network", "occlusion_maps"]
