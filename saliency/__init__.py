"""Where in the image did the classifier look? Gradient and occlusion maps of the same score, in JAX.

    net = saliency.load_network("scenes_cnn")
    x = net.preprocess(photos)                                   # photos of any size -> float32 [n, h, w, 3]
    saliency.gradient_maps(net, x)                               # float32 [n, h, w]
    saliency.occlusion_maps(net, x, patch=16, stride=8).maps
    saliency.METHODS["grad-cam"].maps(net, x, target="dingo")    # every method under one signature
    saliency.METHODS["flip(grad-cam)"].maps(net, x)              # any of them in wrappers
    saliency.explain(net, "cat.jpg").save("runs/cat")            # classes, maps and their cost, one picture
    saliency.show(photos, {"Grad-CAM": maps}, preprocess=net.preprocess).savefig("maps.pdf")

`overlay` makes one picture of one map, `show` a figure of many; `map_to_photo` brings a map to a photo's own pixels.
Boxes from maps, data sets and figures are the package `localization`'s.

The way goes photo -> `models` -> `scores` -> `maps`, `occlusion` -> `faithfulness`. Bad input raises InputError.
"""

from typing import TYPE_CHECKING

from saliency._lazy import attached

if TYPE_CHECKING:
    from saliency import errors, faithfulness, methods, models, wrappers
    from saliency.cache import use_cache
    from saliency.errors import InputError
    from saliency.explanation import Explanation, explain
    from saliency.gallery import show
    from saliency.maps.attention import attention_maps, class_attention_maps
    from saliency.maps.cam import activation_maps, cam, grad_cam
    from saliency.maps.cam_passes import ablation_cam, score_cam
    from saliency.maps.extremal import extremal_maps
    from saliency.maps.full_grad import full_grad
    from saliency.maps.global_sensitivity import hsic_maps, sobol_maps
    from saliency.maps.gradient import gradient_maps
    from saliency.maps.paths import expected_gradients
    from saliency.maps.perturbation import finite_difference_maps, rise_maps
    from saliency.maps.placement import map_to_photo
    from saliency.maps.relevance import deep_lift, lrp
    from saliency.maps.segment_occlusion import channel_occlusion, segment_interactions, segment_occlusion
    from saliency.maps.segments import superpixels
    from saliency.maps.shapley import shapley_maps
    from saliency.maps.status import status
    from saliency.maps.surrogates import kernel_shap_maps, lime_maps
    from saliency.maps.xrai import xrai
    from saliency.methods import CONTROLS, METHODS, Cost, Method, Options
    from saliency.models.from_flax import from_flax
    from saliency.models.from_jax import from_function
    from saliency.models.from_keras import from_keras
    from saliency.models.from_onnx import from_onnx
    from saliency.models.from_torch import from_torch
    from saliency.models.network import Network
    from saliency.models.preprocessing import Preprocessing
    from saliency.models.weights import load_network, save_network
    from saliency.occlusion import Execution, OcclusionMaps, Windows, occlusion_maps
    from saliency.pictures import overlay
    from saliency.scores import Score, logits, probabilities
    from saliency.wrappers import Repeats, repeats
    from saliency.zeiler_fergus import analyze_occlusion

__getattr__, __dir__ = attached(__name__)

__version__ = "0.1.0"

__all__ = [
    "CONTROLS",
    "METHODS",
    "Cost",
    "Execution",
    "Explanation",
    "InputError",
    "Method",
    "Network",
    "OcclusionMaps",
    "Options",
    "Preprocessing",
    "Repeats",
    "Score",
    "Windows",
    "ablation_cam",
    "activation_maps",
    "analyze_occlusion",
    "attention_maps",
    "cam",
    "channel_occlusion",
    "class_attention_maps",
    "deep_lift",
    "errors",
    "expected_gradients",
    "explain",
    "extremal_maps",
    "faithfulness",
    "finite_difference_maps",
    "from_flax",
    "from_function",
    "from_keras",
    "from_onnx",
    "from_torch",
    "full_grad",
    "grad_cam",
    "gradient_maps",
    "hsic_maps",
    "kernel_shap_maps",
    "lime_maps",
    "load_network",
    "logits",
    "lrp",
    "map_to_photo",
    "methods",
    "models",
    "occlusion_maps",
    "overlay",
    "probabilities",
    "repeats",
    "rise_maps",
    "save_network",
    "score_cam",
    "segment_interactions",
    "segment_occlusion",
    "shapley_maps",
    "show",
    "sobol_maps",
    "status",
    "superpixels",
    "use_cache",
    "wrappers",
    "xrai",
]
