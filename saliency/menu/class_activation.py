"""Activations of a layer, weighted by what the class makes of them."""

from collections.abc import Callable, Sequence

import numpy as np

from saliency._checks import Pair
from saliency.maps.attribution import Sensitivity, attribution_maps
from saliency.maps.cam import activation_maps, cam, grad_cam, grad_cams, local_head, spatial_shape, stage_layers
from saliency.maps.cam_passes import ablation_cam, affine_after, score_cam
from saliency.maps.cam_rules import CamRule
from saliency.maps.gradient import Progress
from saliency.menu.entry import PAPER, Entry, Run, passes
from saliency.method import Cost, Shared
from saliency.models.network import Network
from saliency.occlusion.plan import macs
from saliency.options.methods import Options
from saliency.scores import Score, Target, resolve_targets


def _grad_cam(rule: CamRule, score: str = "logit") -> Run:
    return lambda net, x, target, o, progress: grad_cam(
        net, x, rule=rule, layer=o.layer, score=score, target=target, progress=progress
    )


def _of_one_layer(rule: CamRule) -> Callable[[Options], Shared]:
    """A layer's activations, and the logit's derivatives by them."""

    def shared(o: Options) -> Shared:
        def run(net: Network, x: np.ndarray, rules: Sequence[CamRule], target: Target) -> np.ndarray:
            return grad_cams(net, x, rules, layer=o.layer, target=target)

        return Shared(f"activations and derivatives of {o.layer or 'the Gestalt layer'}", rule, run)

    return shared


def _guided_grad_cam(net: Network, x: np.ndarray, target: Target, o: Options, progress: Progress | None) -> np.ndarray:
    target = resolve_targets(net, x, Score(), target)  # once for both
    guided = attribution_maps(net, x, Sensitivity(), target=target, relu="guided", fill=o.fill, progress=progress)
    return guided * grad_cam(net, x, layer=o.layer, target=target)


def _cam_cost(net: Network, size: Pair, o: Options) -> Cost:
    local_head(net.architecture)
    return Cost(1, 0)


def _channel_cost(net: Network, size: Pair, o: Options) -> Cost:
    layer = net.architecture.require(o.layer or net.architecture.gestalt_layer)
    return Cost(1 + spatial_shape(net, layer, (1, *size))[-1], 0)


def _score_cam_cost(net: Network, size: Pair, o: Options) -> Cost:
    """Of all channels that are asked for; those of an image that do not vary share a pass."""
    plain = _channel_cost(net, size, o)
    return plain if o.channels is None else Cost(min(plain.forwards, 1 + o.channels), 0)


def _ablation_cost(net: Network, size: Pair, o: Options) -> Cost:
    """Only what comes after the layer is computed anew for each channel, and nothing where that is affine."""
    plain = _channel_cost(net, size, o)
    architecture = net.architecture
    layer = architecture.require(o.layer or architecture.gestalt_layer)
    if affine_after(architecture, layer):
        return Cost(1, 1)
    shapes = architecture.shapes(*size)
    before, all_of_it = (
        sum(macs(node, shapes, None) for node in architecture.ancestors(to)) for to in (layer, architecture.last)
    )
    return Cost(plain.forwards, 0, (plain.forwards - 1) * before / max(all_of_it, 1))


METHODS = (
    Entry(
        "grad-cam",
        "class activation",
        "magnitude",
        "Selvaraju et al. 2017",
        "A layer's channels, weighted by how the class logit answers to each, and rectified:\n"
        "one backward pass to the last convolution, enlarged to the image.",
        _grad_cam("grad-cam"),
        passes(1, 1),
        layered=True,
        shared=_of_one_layer("grad-cam"),
    ),
    Entry(
        "grad-cam++",
        "class activation",
        "magnitude",
        "Chattopadhay et al. 2018",
        "Grad-CAM with weights from positive derivatives alone, heavier where few places hold the class:\n"
        "one backward pass to the last convolution, enlarged to the image.",
        _grad_cam("grad-cam++"),
        passes(1, 1),
        layered=True,
        shared=_of_one_layer("grad-cam++"),
    ),
    Entry(
        "xgrad-cam",
        "class activation",
        "magnitude",
        "Fu et al. 2020",
        "Grad-CAM with each channel's derivatives averaged where the channel is active:\n"
        "one backward pass to the last convolution, enlarged to the image.",
        _grad_cam("xgrad-cam"),
        passes(1, 1),
        layered=True,
        shared=_of_one_layer("xgrad-cam"),
    ),
    Entry(
        "hires-cam",
        "class activation",
        "magnitude",
        "Draelos & Carin 2020",
        "A layer's activations times their own derivatives, place by place, rectified:\n"
        "one backward pass to the last convolution, enlarged to the image.",
        _grad_cam("hires-cam"),
        passes(1, 1),
        layered=True,
        shared=_of_one_layer("hires-cam"),
    ),
    Entry(
        "layer-cam",
        "class activation",
        "magnitude",
        "Jiang et al. 2021",
        "A layer's activations times their own positive derivatives, place by place; good at early layers:\n"
        "one backward pass to the layer, enlarged to the image.",
        _grad_cam("layer-cam"),
        passes(1, 1),
        layered=True,
        shared=_of_one_layer("layer-cam"),
    ),
    Entry(
        "layer-cam-fused",
        "class activation",
        "magnitude",
        "Jiang et al. 2021",
        "LayerCAM at the last layer of every resolution, each scaled to 1, and their mean:\n"
        "fine from early layers, sure of the class from late ones; one backward pass for all of them.",
        lambda net, x, target, o, progress: grad_cam(
            net, x, rule="layer-cam", layer=stage_layers(net.architecture), target=target, progress=progress
        ),
        passes(1, 1),
    ),
    Entry(
        "finer-cam",
        "class activation",
        "magnitude",
        "Zhang et al. 2025",
        "Grad-CAM of the class logit less 0.6 times the mean of the three logits nearest to it:\n"
        "what tells the class from those it is taken for; one backward pass to the last convolution.",
        _grad_cam("grad-cam", score="finer"),
        passes(1, 1),
        layered=True,
    ),
    Entry(
        "eigen-cam",
        "class activation",
        "magnitude",
        "Muhammad & Yeasin 2020",
        "The first principal component of a layer's activations over its places, whatever the class:\n"
        "one forward pass up to the last convolution, enlarged to the image.",
        _grad_cam("eigen-cam"),
        passes(1, 0),
        layered=True,
        shared=_of_one_layer("eigen-cam"),
    ),
    Entry(
        "fem",
        "class activation",
        "magnitude",
        "Ahmed Asif Fuad et al. 2020",
        "How many of a layer's channels are far above their mean at a place, whatever the class:\n"
        "one forward pass up to the last convolution, enlarged to the image.",
        _grad_cam("fem"),
        passes(1, 0),
        layered=True,
        shared=_of_one_layer("fem"),
    ),
    Entry(
        "score-cam",
        "class activation",
        "magnitude",
        "Wang et al. 2020",
        "A layer's channels, weighted by the class logit of the image seen through each, and rectified:\n"
        "one forward pass a channel, of all or of those that vary most; no derivative.",
        lambda net, x, target, o, progress: score_cam(
            net, x, layer=o.layer, channels=o.channels, target=target, progress=progress
        ),
        _score_cam_cost,
        layered=True,
        by_image=True,
    ),
    Entry(
        "ablation-cam",
        "class activation",
        "magnitude",
        "Ramaswamy & Desai 2020",
        "A layer's channels, weighted by the share of the class logit that goes with each, and rectified:\n"
        "a pass a channel from the layer on; where all after it is linear, one backward pass.",
        lambda net, x, target, o, progress: ablation_cam(net, x, layer=o.layer, target=target, progress=progress),
        _ablation_cost,
        layered=True,
        by_image=True,
    ),
    Entry(
        "guided-grad-cam",
        "class activation",
        "magnitude",
        "Selvaraju et al. 2017",
        "Guided backprop where Grad-CAM is positive: its crispness, with the class's place:\n"
        "one backward pass for each of the two, multiplied.",
        _guided_grad_cam,
        passes(2, 2),
        layered=True,
    ),
    Entry(
        "cam",
        "class activation",
        "signed",
        "Zhou et al. 2016",
        "The class logit at each place, before the global pool; for heads of a pool and one dense layer:\n"
        "one forward pass, enlarged to the image.",
        lambda net, x, target, o, progress: cam(net, x, target=target, progress=progress),
        _cam_cost,
    ),
    Entry(
        "activation",
        "class activation",
        "magnitude",
        f"{PAPER}, Eq. 3, before the mean over places",
        "The mean activation of a layer at each place, whatever the class:\n"
        "one forward pass up to the last convolution, enlarged to the image.",
        lambda net, x, target, o, progress: activation_maps(net, x, layer=o.layer, progress=progress),
        passes(1, 0),
        layered=True,
    ),
)
