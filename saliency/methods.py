"""The menu: every way to make a map, under one name and one signature.

    METHODS["occlusion"].maps(net, x, target=labels, options=Options(patch=24, stride=8))
    METHODS["smooth(flip(grad-cam))"]    # a method in wrappers, `saliency.wrappers`; iterating gives the plain ones

Images are float `[n, h, w, 3]` as `net.preprocess` gives them, maps float32 `[n, h, w]`. A map depends on its image,
the target and the options alone, not on the other images of the call: what is random comes from `Options.seed`.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from saliency._checks import ImagesLike, Pair, function, kind_of
from saliency.errors import InputError
from saliency.maps.attention import Rule, attention_maps, attentions, class_attention_maps
from saliency.maps.attribution import (
    InputXGradient,
    IntegratedGradients,
    NoisyGradients,
    Recipe,
    ReluRule,
    Sensitivity,
    attribution_maps,
)
from saliency.maps.cam import activation_maps, cam, grad_cam, local_head, spatial_shape, stage_layers
from saliency.maps.cam_passes import ablation_cam, score_cam
from saliency.maps.cam_rules import CamRule
from saliency.maps.controls import centre_gaussian, edge_maps, random_maps, random_weight_maps
from saliency.maps.extremal import extremal_maps
from saliency.maps.full_grad import full_grad
from saliency.maps.global_sensitivity import designs, hsic_maps, sobol_maps
from saliency.maps.gradient import Aggregate, Progress, gradient_maps
from saliency.maps.paths import (
    BlurIntegratedGradients,
    ExpectedGradients,
    GuidedIntegratedGradients,
    flat_colours,
)
from saliency.maps.perturbation import finite_difference_maps, rise_maps
from saliency.maps.relevance import LrpRule, check_relevance, deep_lift, lrp
from saliency.maps.segment_occlusion import channel_occlusion, segment_occlusion, segment_passes_saved
from saliency.maps.shapley import shapley_count, shapley_maps
from saliency.maps.surrogates import kernel_shap_count, kernel_shap_maps, lime_maps
from saliency.maps.xrai import xrai
from saliency.method import DEFAULTS, FAMILIES, Cost, Family, Method, Sign
from saliency.models.black_box import Classifier, classifier_input
from saliency.models.network import Network
from saliency.occlusion import Execution, occlusion_maps, passes_saved
from saliency.occlusion.plan import macs
from saliency.options.methods import Options
from saliency.scores import Target
from saliency.wrappers import Menu

# `Any`: a network, or for a method that takes one a black box; `_method` sees to it.
Run = Callable[[Any, np.ndarray, Target, Options, Progress | None], np.ndarray]
Count = Callable[[Any, Pair, Options], Cost]


def _method(
    name: str,
    family: Family,
    sign: Sign,
    source: str,
    summary: str,
    run: Run,
    cost: Count,
    black_box: bool = False,
    *,
    random: bool = False,
    layered: bool = False,
) -> Method:
    """A method of the menu; black boxes are refused up front where it is not for them."""

    def check(net: Classifier) -> None:
        if not black_box and not isinstance(net, Network):
            able = ", ".join(method.name for method in METHODS.values() if method.black_box)
            raise InputError(f"{name} needs a network's layers and gradients; for a black box there are {able}")

    def maps(
        net: Classifier,
        x: ImagesLike,
        *,
        target: Target = None,
        options: Options = DEFAULTS,
        progress: Progress | None = None,
    ) -> np.ndarray:
        check(net)
        kind_of("options", options, Options, "what the methods share")
        function("progress", progress, "(done, total)")
        first = net.architecture.nodes[0].name if isinstance(net, Network) else None
        return run(net, classifier_input(net, x, first), target, options, progress)

    def checked_cost(net: Classifier, size: Pair, options: Options = DEFAULTS) -> Cost:
        check(net)
        return cost(net, size, options)

    return Method(name, family, sign, source, summary, maps, checked_cost, black_box, random, layered)


def _gradient(aggregate: Aggregate) -> Run:
    return lambda net, x, target, o, progress: gradient_maps(
        net, x, score=o.score, target=target, aggregate=aggregate, progress=progress
    )


def _gestalt(aggregate: Aggregate) -> Run:
    return lambda net, x, target, o, progress: gradient_maps(
        net, x, score=o.gestalt, aggregate=aggregate, progress=progress
    )


def _attribution(recipe: Callable[[Options], Recipe], relu: ReluRule = "exact") -> Run:
    return lambda net, x, target, o, progress: attribution_maps(
        net, x, recipe(o), score=o.score, target=target, relu=relu, fill=o.fill, progress=progress
    )


def _occlusion(score: Callable[[Options], str]) -> Run:
    def run(net: Classifier, x: np.ndarray, target: Target, o: Options, progress: Progress | None) -> np.ndarray:
        windows = o.windows(x.shape[1:3])
        return occlusion_maps(
            net,
            x,
            windows,
            fill=o.fill,
            execution=Execution(o.engine, steady=True),  # a killed run goes on in the same bits
            score=score(o),
            target=target,
            seed=o.seed,
            preprocess=o.preprocess,
            progress=progress,
        ).maps

    return run


def _grad_cam(rule: CamRule, score: str = "logit") -> Run:
    return lambda net, x, target, o, progress: grad_cam(
        net, x, rule=rule, layer=o.layer, score=score, target=target, progress=progress
    )


def _guided_grad_cam(net: Network, x: np.ndarray, target: Target, o: Options, progress: Progress | None) -> np.ndarray:
    guided = attribution_maps(net, x, Sensitivity(), target=target, relu="guided", fill=o.fill, progress=progress)
    return guided * grad_cam(net, x, layer=o.layer, target=target)


def _passes(forwards: int, backwards: int) -> Count:
    return lambda net, size, o: Cost(forwards, backwards)


def _occlusion_cost(score: Callable[[Options], str]) -> Count:
    def cost(net: Classifier, size: Pair, o: Options) -> Cost:
        windows = o.windows(size)
        saved = passes_saved(net, windows, score=score(o), engine=o.engine) if isinstance(net, Network) else 0.0
        return Cost(1 + len(windows.positions), 0, saved)

    return cost


def _cam_cost(net: Network, size: Pair, o: Options) -> Cost:
    local_head(net.architecture)
    return Cost(1, 0)


def _attention(rule: Rule) -> Run:
    return lambda net, x, target, o, progress: attention_maps(net, x, rule, target=target, progress=progress)


def _attention_cost(backwards: int) -> Count:
    def cost(net: Network, size: Pair, o: Options) -> Cost:
        attentions(net.architecture)
        return Cost(1, backwards)

    return cost


def _noisy_cost(net: Network, size: Pair, o: Options) -> Cost:
    return Cost(o.samples, o.samples)


def _steps_cost(times: int) -> Count:
    return lambda net, size, o: Cost(times * o.steps, times * o.steps)


def _lrp(rule: LrpRule) -> Run:
    return lambda net, x, target, o, progress: lrp(net, x, rule=rule, target=target, progress=progress)


def _lrp_cost(parts: int) -> Count:
    """Of layers in so many parts, besides the pass that finds the activations."""

    def cost(net: Network, size: Pair, o: Options) -> Cost:
        check_relevance(net.architecture)
        return Cost(1 if parts == 1 else 1 + parts, parts)

    return cost


def _channel_cost(net: Network, size: Pair, o: Options) -> Cost:
    layer = net.architecture.require(o.layer or net.architecture.gestalt_layer)
    return Cost(1 + spatial_shape(net, layer, (1, *size))[-1], 0)


def _ablation_cost(net: Network, size: Pair, o: Options) -> Cost:
    """Only what comes after the layer is computed anew for each channel."""
    plain = _channel_cost(net, size, o)
    architecture = net.architecture
    layer = architecture.require(o.layer or architecture.gestalt_layer)
    shapes = architecture.shapes(*size)
    before, all_of_it = (
        sum(macs(node, shapes, None) for node in architecture.ancestors(to)) for to in (layer, architecture.last)
    )
    return Cost(plain.forwards, 0, (plain.forwards - 1) * before / max(all_of_it, 1))


def _stages_cost(net: Network, size: Pair, o: Options) -> Cost:
    layers = len(stage_layers(net.architecture))
    return Cost(layers, layers)


def _by_segments(target: Target, o: Options) -> dict[str, Any]:
    """What the methods that ask by segments are told."""
    return {
        "segmentation": o.segmentation,
        "segments": o.segments,
        "fill": o.fill,
        "seed": o.seed,
        "score": o.score,
        "target": target,
        "preprocess": o.preprocess,
    }


def _segment_cost(net: Classifier, size: Pair, o: Options) -> Cost:
    """Of superpixels, which each image has in a number of its own, as of a grid of about as many cells."""
    saved = segment_passes_saved(net, size, o.segments, o.score, o.engine) if isinstance(net, Network) else 0.0
    return Cost(1 + o.segment_count(size), 0, saved)


def _channel_occlusion(
    net: Classifier, x: np.ndarray, target: Target, o: Options, progress: Progress | None
) -> np.ndarray:
    return channel_occlusion(
        net, x, o.windows(x.shape[1:3]), fill=o.fill, score=o.score, target=target, preprocess=o.preprocess,
        seed=o.seed, execution=Execution(o.engine, steady=True), progress=progress,
    ).sum(-1)  # fmt: skip


def _channel_occlusion_cost(net: Classifier, size: Pair, o: Options) -> Cost:
    one = _occlusion_cost(lambda o: o.score)(net, size, o)
    channels = len(net.preprocess.mean) if isinstance(net, Network) else 3
    return Cost(1 + channels * (one.forwards - 1), 0, channels * one.saved)


def _sobol_cost(net: Classifier, size: Pair, o: Options) -> Cost:
    segments = o.segment_count(size)
    return Cost(designs(o.masks, segments) * (segments + 2), 0)


def _finite_difference_cost(net: Classifier, size: Pair, o: Options) -> Cost:
    side = o.square(size)
    return Cost(6 * -(-size[0] // side) * -(-size[1] // side), 0)


_PAPER = "Fast Object Localization via Sensitivity Analysis"
_MENU = (
    _method(
        "gradient-max",
        "gradient",
        "magnitude",
        f"Simonyan et al. 2013; {_PAPER}, Eq. 1",
        "How much the class score answers to the smallest change of each pixel:\n"
        "one backward pass, the largest absolute derivative of the three channels.",
        _gradient("max"),
        _passes(1, 1),
    ),
    _method(
        "gradient-mean",
        "gradient",
        "magnitude",
        f"Simonyan et al. 2013; {_PAPER}, Eq. 1",
        "How much the class score answers to the smallest change of each pixel:\n"
        "one backward pass, the mean absolute derivative of the three channels.",
        _gradient("mean"),
        _passes(1, 1),
    ),
    _method(
        "gestalt-max",
        "gradient",
        "magnitude",
        f"{_PAPER}, Eq. 3",
        "The derivative of a layer's mean activation, which knows of no class:\n"
        "one backward pass from the last convolution, the largest of the three channels.",
        _gestalt("max"),
        _passes(1, 1),
        layered=True,
    ),
    _method(
        "gestalt-mean",
        "gradient",
        "magnitude",
        f"{_PAPER}, Eq. 3",
        "The derivative of a layer's mean activation, which knows of no class:\n"
        "one backward pass from the last convolution, the mean of the three channels.",
        _gestalt("mean"),
        _passes(1, 1),
        layered=True,
    ),
    _method(
        "input-x-gradient",
        "gradient",
        "signed",
        "Shrikumar et al. 2016",
        "What each pixel adds to the score, were the network linear:\n"
        "one backward pass times the normalised image, summed over the channels.",
        _attribution(lambda o: InputXGradient()),
        _passes(1, 1),
    ),
    _method(
        "smoothgrad",
        "gradient",
        "magnitude",
        "Smilkov et al. 2017",
        "The mean gradient of noisy copies of the image, so that it flickers less:\n"
        "one backward pass a copy, the largest absolute mean of the three channels.",
        _attribution(lambda o: NoisyGradients("mean", o.samples, o.noise, o.seed)),
        _noisy_cost,
        random=True,
    ),
    _method(
        "smoothgrad-squared",
        "gradient",
        "magnitude",
        "Hooker et al. 2019",
        "The mean square of the gradients of noisy copies of the image:\n"
        "one backward pass a copy, the largest of the three channels.",
        _attribution(lambda o: NoisyGradients("square", o.samples, o.noise, o.seed)),
        _noisy_cost,
        random=True,
    ),
    _method(
        "vargrad",
        "gradient",
        "magnitude",
        "Adebayo et al. 2018",
        "How much the gradient of noisy copies of the image varies from copy to copy:\n"
        "one backward pass a copy, the largest variance of the three channels.",
        _attribution(lambda o: NoisyGradients("variance", o.samples, o.noise, o.seed)),
        _noisy_cost,
        random=True,
    ),
    _method(
        "integrated-gradients",
        "path",
        "signed",
        "Sundararajan et al. 2017",
        "What each pixel adds along the line from the fill to the image; the sum is the score's difference:\n"
        "one backward pass a step, times the difference from the fill, summed over the channels.",
        _attribution(lambda o: IntegratedGradients(o.steps)),
        lambda net, size, o: Cost(o.steps, o.steps),
    ),
    _method(
        "expected-gradients",
        "path",
        "signed",
        "Erion et al. 2021",
        "Integrated gradients from many backgrounds in place of one, here images of one random colour each:\n"
        "one backward pass a background, at a random place on the way.",
        lambda net, x, target, o, progress: attribution_maps(
            net,
            x,
            ExpectedGradients(o.samples, seed=o.seed, backgrounds=flat_colours(net.preprocess, o.samples, o.seed)),
            score=o.score,
            target=target,
            progress=progress,
        ),
        _noisy_cost,
        random=True,
    ),
    _method(
        "gradient-shap",
        "path",
        "signed",
        "Lundberg & Lee 2017, as in captum",
        "Expected gradients from the fill, with noise on the image:\n"
        "one backward pass a sample, at a random place on the way.",
        _attribution(lambda o: ExpectedGradients(o.samples, o.noise, o.seed)),
        _noisy_cost,
        random=True,
    ),
    _method(
        "blur-ig",
        "path",
        "signed",
        "Xu et al. 2020",
        "What each pixel adds while the image comes into focus, out of a blur in place of a colour:\n"
        "one backward pass a step.",
        _attribution(lambda o: BlurIntegratedGradients(o.steps)),
        _steps_cost(1),
    ),
    _method(
        "guided-ig",
        "path",
        "signed",
        "Kapishnikov et al. 2021",
        "Integrated gradients by a detour near the straight line, pixels first that the score answers to least:\n"
        "one backward pass a step, one step after another.",
        _attribution(lambda o: GuidedIntegratedGradients(o.steps)),
        _steps_cost(1),
    ),
    _method(
        "xrai",
        "path",
        "signed",
        "Kapishnikov et al. 2019",
        "Integrated gradients from black and from white, given to whole regions of the image, best first:\n"
        "two backward passes a step, and six segmentations (extra segments).",
        lambda net, x, target, o, progress: xrai(
            net, x, steps=o.steps, score=o.score, target=target, progress=progress
        ),
        _steps_cost(2),
    ),
    _method(
        "deep-lift",
        "relevance",
        "signed",
        "Shrikumar et al. 2017 (rescale rule)",
        "What each pixel's difference from the fill adds to the score, layer by layer; the sum is the score's\n"
        "difference: a pass of the image, one of the fill, and one back by differences in place of derivatives.",
        lambda net, x, target, o, progress: deep_lift(
            net, x, score=o.score, target=target, fill=o.fill, progress=progress
        ),
        _passes(2, 1),
    ),
    _method(
        "lrp-epsilon",
        "relevance",
        "signed",
        "Bach et al. 2015, Eq. 58",
        "The class logit shared out layer by layer, to each input what it contributes to its outputs:\n"
        "one backward pass; of a network of ReLUs it is input times gradient, less what biases take.",
        _lrp("epsilon"),
        _lrp_cost(1),
    ),
    _method(
        "lrp-gamma",
        "relevance",
        "signed",
        "Montavon et al. 2019",
        "LRP that favours, in every layer, what agrees with an output's sign: less noise than lrp-epsilon;\n"
        "a backward pass with each layer split by the signs of inputs and outputs.",
        _lrp("gamma"),
        _lrp_cost(4),
    ),
    _method(
        "lrp-composite",
        "relevance",
        "signed",
        "Montavon et al. 2019; zennit's EpsilonGammaBox",
        "LRP by the usual rules: epsilon for dense layers, gamma for convolutions, z-box for the first layer:\n"
        "a backward pass with convolutions split by the signs of inputs and outputs.",
        _lrp("epsilon-gamma-box"),
        _lrp_cost(4),
    ),
    _method(
        "guided-backprop",
        "gradient",
        "magnitude",
        "Springenberg et al. 2015",
        "A backward pass in which a ReLU lets only positive derivatives of active units through:\n"
        "crisp, but close to an edge detector; the largest absolute value of the three channels.",
        _attribution(lambda o: Sensitivity(), relu="guided"),
        _passes(1, 1),
    ),
    _method(
        "deconvolution",
        "gradient",
        "magnitude",
        "Zeiler & Fergus 2014",
        "A backward pass in which a ReLU lets every positive derivative through, active unit or not:\n"
        "the network run in reverse; the largest absolute value of the three channels.",
        _attribution(lambda o: Sensitivity(), relu="deconvolution"),
        _passes(1, 1),
    ),
    _method(
        "grad-cam",
        "class activation",
        "magnitude",
        "Selvaraju et al. 2017",
        "A layer's channels, weighted by how the class logit answers to each, and rectified:\n"
        "one backward pass to the last convolution, enlarged to the image.",
        lambda net, x, target, o, progress: grad_cam(net, x, layer=o.layer, target=target, progress=progress),
        _passes(1, 1),
        layered=True,
    ),
    _method(
        "grad-cam++",
        "class activation",
        "magnitude",
        "Chattopadhay et al. 2018",
        "Grad-CAM with weights from positive derivatives alone, heavier where few places hold the class:\n"
        "one backward pass to the last convolution, enlarged to the image.",
        _grad_cam("grad-cam++"),
        _passes(1, 1),
        layered=True,
    ),
    _method(
        "xgrad-cam",
        "class activation",
        "magnitude",
        "Fu et al. 2020",
        "Grad-CAM with each channel's derivatives averaged where the channel is active:\n"
        "one backward pass to the last convolution, enlarged to the image.",
        _grad_cam("xgrad-cam"),
        _passes(1, 1),
        layered=True,
    ),
    _method(
        "hires-cam",
        "class activation",
        "magnitude",
        "Draelos & Carin 2020",
        "A layer's activations times their own derivatives, place by place, rectified:\n"
        "one backward pass to the last convolution, enlarged to the image.",
        _grad_cam("hires-cam"),
        _passes(1, 1),
        layered=True,
    ),
    _method(
        "layer-cam",
        "class activation",
        "magnitude",
        "Jiang et al. 2021",
        "A layer's activations times their own positive derivatives, place by place; good at early layers:\n"
        "one backward pass to the layer, enlarged to the image.",
        _grad_cam("layer-cam"),
        _passes(1, 1),
        layered=True,
    ),
    _method(
        "layer-cam-fused",
        "class activation",
        "magnitude",
        "Jiang et al. 2021",
        "LayerCAM at the last layer of every resolution, each scaled to 1, and their mean:\n"
        "fine from early layers, sure of the class from late ones; one backward pass a layer.",
        lambda net, x, target, o, progress: grad_cam(
            net, x, rule="layer-cam", layer=stage_layers(net.architecture), target=target, progress=progress
        ),
        _stages_cost,
    ),
    _method(
        "finer-cam",
        "class activation",
        "magnitude",
        "Zhang et al. 2025",
        "Grad-CAM of the class logit less 0.6 times the mean of the three logits nearest to it:\n"
        "what tells the class from those it is taken for; one backward pass to the last convolution.",
        _grad_cam("grad-cam", score="finer"),
        _passes(1, 1),
        layered=True,
    ),
    _method(
        "eigen-cam",
        "class activation",
        "magnitude",
        "Muhammad & Yeasin 2020",
        "The first principal component of a layer's activations over its places, whatever the class:\n"
        "one forward pass up to the last convolution, enlarged to the image.",
        _grad_cam("eigen-cam"),
        _passes(1, 0),
        layered=True,
    ),
    _method(
        "fem",
        "class activation",
        "magnitude",
        "Ahmed Asif Fuad et al. 2020",
        "How many of a layer's channels are far above their mean at a place, whatever the class:\n"
        "one forward pass up to the last convolution, enlarged to the image.",
        _grad_cam("fem"),
        _passes(1, 0),
        layered=True,
    ),
    _method(
        "score-cam",
        "class activation",
        "magnitude",
        "Wang et al. 2020",
        "A layer's channels, weighted by the class logit of the image seen through each, and rectified:\n"
        "one forward pass a channel, no derivative.",
        lambda net, x, target, o, progress: score_cam(net, x, layer=o.layer, target=target, progress=progress),
        _channel_cost,
        layered=True,
    ),
    _method(
        "ablation-cam",
        "class activation",
        "magnitude",
        "Ramaswamy & Desai 2020",
        "A layer's channels, weighted by the share of the class logit that goes with each, and rectified:\n"
        "one forward pass a channel from the layer on, no derivative.",
        lambda net, x, target, o, progress: ablation_cam(net, x, layer=o.layer, target=target, progress=progress),
        _ablation_cost,
        layered=True,
    ),
    _method(
        "full-grad",
        "gradient",
        "magnitude",
        "Srinivas & Fleuret 2019",
        "What the image and each layer's bias add to the class logit, absolute values of all layers together:\n"
        "one backward pass that stops at every layer.",
        lambda net, x, target, o, progress: full_grad(net, x, target=target, progress=progress),
        _passes(1, 1),
    ),
    _method(
        "guided-grad-cam",
        "class activation",
        "magnitude",
        "Selvaraju et al. 2017",
        "Guided backprop where Grad-CAM is positive: its crispness, with the class's place:\n"
        "one backward pass for each of the two, multiplied.",
        _guided_grad_cam,
        _passes(2, 2),
        layered=True,
    ),
    _method(
        "cam",
        "class activation",
        "signed",
        "Zhou et al. 2016",
        "The class logit at each place, before the global pool; for heads of a pool and one dense layer:\n"
        "one forward pass, enlarged to the image.",
        lambda net, x, target, o, progress: cam(net, x, target=target, progress=progress),
        _cam_cost,
    ),
    _method(
        "activation",
        "class activation",
        "magnitude",
        f"{_PAPER}, Eq. 3, before the mean over places",
        "The mean activation of a layer at each place, whatever the class:\n"
        "one forward pass up to the last convolution, enlarged to the image.",
        lambda net, x, target, o, progress: activation_maps(net, x, layer=o.layer, progress=progress),
        _passes(1, 0),
        layered=True,
    ),
    _method(
        "attention-rollout",
        "attention",
        "magnitude",
        "Abnar & Zuidema 2020",
        "How much of each patch reaches a transformer's class token through all blocks, whatever the class:\n"
        "one forward pass, enlarged to the image.",
        _attention("rollout"),
        _attention_cost(0),
    ),
    _method(
        "gradient-rollout",
        "attention",
        "magnitude",
        "Gildenblat 2020, after Abnar & Zuidema 2020",
        "Attention rollout of attention times the class logit's derivative to it, negative ones left out:\n"
        "one backward pass, enlarged to the image.",
        _attention("gradient-rollout"),
        _attention_cost(1),
    ),
    _method(
        "chefer",
        "attention",
        "magnitude",
        "Chefer et al. 2021",
        "What each block's attention, times the class logit's derivative to it, adds to earlier blocks':\n"
        "one backward pass, enlarged to the image.",
        _attention("chefer"),
        _attention_cost(1),
    ),
    _method(
        "class-attention",
        "attention",
        "magnitude",
        "Caron et al. 2021",
        "How far a transformer's class token looks at each patch in its last block, the mean of the heads:\n"
        "one forward pass, enlarged to the image.",
        lambda net, x, target, o, progress: class_attention_maps(net, x, layer=o.layer, progress=progress).mean(1),
        _attention_cost(0),
    ),
    _method(
        "occlusion",
        "perturbation",
        "signed",
        "Zeiler & Fergus 2014",
        "How far the class score falls when a window that covers the pixel is hidden:\n"
        "one forward pass a window, the mean over the windows on a pixel.",
        _occlusion(lambda o: o.score),
        _occlusion_cost(lambda o: o.score),
        black_box=True,
    ),
    _method(
        "occlusion-gestalt",
        "perturbation",
        "signed",
        f"Zeiler & Fergus 2014; {_PAPER}, Eq. 3",
        "How far a layer's mean activation falls when a window is hidden, whatever the class:\n"
        "one forward pass a window, the mean over the windows on a pixel.",
        _occlusion(lambda o: o.gestalt),
        _occlusion_cost(lambda o: o.gestalt),
        layered=True,
    ),
    _method(
        "rise",
        "perturbation",
        "signed",
        "Petsiuk et al. 2018",
        "How much better the score is than its mean where random masks show the pixel:\none forward pass a mask.",
        lambda net, x, target, o, progress: rise_maps(
            net,
            x,
            masks=o.masks,
            fill=o.fill,
            seed=o.seed,
            score=o.score,
            target=target,
            preprocess=o.preprocess,
            progress=progress,
        ),
        lambda net, size, o: Cost(o.masks, 0),
        black_box=True,
        random=True,
    ),
    _method(
        "finite-differences",
        "perturbation",
        "magnitude",
        f"{_PAPER}, section 4",
        "The gradient of a black box: a square's brightness goes a little up and a little down:\n"
        "two forward passes a square and channel, the largest absolute derivative.",
        lambda net, x, target, o, progress: finite_difference_maps(
            net, x, cell=o.square(x.shape[1:3]), step=o.step, score=o.score, target=target, progress=progress
        ),
        _finite_difference_cost,
        black_box=True,
    ),
    _method(
        "segment-occlusion",
        "perturbation",
        "signed",
        "Zeiler & Fergus 2014, of segments; captum's FeatureAblation",
        "How far the class score falls when the segment that the pixel belongs to is hidden:\n"
        "one forward pass a cell of a grid, a superpixel or any segment that is given.",
        lambda net, x, target, o, progress: (
            segment_occlusion(
                net,
                x,
                execution=Execution(o.engine, steady=True),
                progress=progress,
                **_by_segments(target, o),
            ).maps
        ),
        _segment_cost,
        black_box=True,
    ),
    _method(
        "channel-occlusion",
        "perturbation",
        "signed",
        "Zeiler & Fergus 2014, of channels; captum's Occlusion",
        "Occlusion of one channel of a window at a time, the drops of a pixel's channels added up:\n"
        "one forward pass a window and channel, the mean over the windows on a pixel.",
        _channel_occlusion,
        _channel_occlusion_cost,
        black_box=True,
    ),
    _method(
        "lime",
        "perturbation",
        "signed",
        "Ribeiro et al. 2016",
        "A linear model of the score near the image, whose inputs are which segments are shown:\n"
        "one forward pass a composite, weighed by its likeness to the image; each segment's coefficient.",
        lambda net, x, target, o, progress: lime_maps(
            net, x, masks=o.masks, progress=progress, **_by_segments(target, o)
        ),
        lambda net, size, o: Cost(o.masks, 0),
        black_box=True,
        random=True,
    ),
    _method(
        "kernel-shap",
        "perturbation",
        "signed",
        "Lundberg & Lee 2017",
        "Shapley values of the segments by weighted least squares; they add up to the score less the fill's:\n"
        "one forward pass a coalition of segments, exact where all of them are taken.",
        lambda net, x, target, o, progress: kernel_shap_maps(
            net, x, masks=o.masks, progress=progress, **_by_segments(target, o)
        ),
        lambda net, size, o: Cost(kernel_shap_count(o.masks, o.segment_count(size)), 0),
        black_box=True,
        random=True,
    ),
    _method(
        "shapley-sampling",
        "perturbation",
        "signed",
        "Castro et al. 2009",
        "What each segment adds to the score as it joins those before it, the mean over random orders:\n"
        "one forward pass a segment and order; the values add up to the score less the fill's.",
        lambda net, x, target, o, progress: shapley_maps(
            net, x, samples=o.samples, progress=progress, **_by_segments(target, o)
        ),
        lambda net, size, o: Cost(shapley_count(o.samples, o.segment_count(size)), 0),
        black_box=True,
        random=True,
    ),
    _method(
        "sobol",
        "perturbation",
        "magnitude",
        "Fel et al. 2021",
        "The share of the score's variance that a segment takes part in as all of them fade at random:\n"
        "one forward pass a composite of a quasi-random design; says how much, not which way.",
        lambda net, x, target, o, progress: sobol_maps(
            net, x, masks=o.masks, progress=progress, **_by_segments(target, o)
        ),
        _sobol_cost,
        black_box=True,
        random=True,
    ),
    _method(
        "hsic",
        "perturbation",
        "magnitude",
        "Novello et al. 2022",
        "How far the score's distribution depends on whether a segment is shown, by kernels:\n"
        "one forward pass a composite; says how much, not which way.",
        lambda net, x, target, o, progress: hsic_maps(
            net, x, masks=o.masks, progress=progress, **_by_segments(target, o)
        ),
        lambda net, size, o: Cost(o.masks, 0),
        black_box=True,
        random=True,
    ),
    _method(
        "extremal-perturbation",
        "perturbation",
        "magnitude",
        "Fong et al. 2019",
        "The smooth mask over a tenth of the image that keeps the score highest, the rest filled:\n"
        "one backward pass a step of its optimisation.",
        lambda net, x, target, o, progress: extremal_maps(
            net, x, iterations=o.iterations, fill=o.fill, seed=o.seed, score=o.score, target=target, progress=progress
        ),
        lambda net, size, o: Cost(o.iterations, o.iterations),
    ),
    _method(
        "random-weights",
        "control",
        "magnitude",
        "Adebayo et al. 2018",
        "Control: gradient-max of the same network with all its weights drawn anew.\n"
        "What is left is the architecture's doing, not what was learned.",
        lambda net, x, target, o, progress: random_weight_maps(
            net, x, seed=o.seed, score=o.score, target=target, progress=progress
        ),
        _passes(1, 1),
        random=True,
    ),
    _method(
        "random",
        "control",
        "magnitude",
        "control",
        "Control: uniform noise.\nNothing is looked at.",
        lambda net, x, target, o, progress: random_maps(x, o.seed),
        _passes(0, 0),
        black_box=True,
        random=True,
    ),
    _method(
        "centre-gaussian",
        "control",
        "magnitude",
        "control",
        "Control: a bump in the middle of the image, where photographers put things.\nNothing is looked at.",
        lambda net, x, target, o, progress: centre_gaussian(x),
        _passes(0, 0),
        black_box=True,
    ),
    _method(
        "edges",
        "control",
        "magnitude",
        "Adebayo et al. 2018; control",
        "Control: the image's own edges, Sobel's gradient magnitude.\nThe network is not looked at.",
        lambda net, x, target, o, progress: edge_maps(x),
        _passes(0, 0),
        black_box=True,
    ),
)

METHODS = Menu({method.name: method for method in _MENU})
ATTENTION = ("attention-rollout", "gradient-rollout", "chefer", "class-attention")
CONTROLS = tuple(method.name for method in _MENU if method.family == "control")


def by_family(names: Iterable[str] | None = None) -> dict[Family, list[Method]]:
    """The methods of these names (default: all), family by family in the order of FAMILIES; none that is empty.

    >>> from saliency.methods import by_family
    >>> {family: len(own) for family, own in by_family(["edges", "occlusion", "rise"]).items()}
    {'perturbation': 2, 'control': 1}
    """
    own = [METHODS[name] for name in (METHODS if names is None else names)]
    found = {family: [method for method in own if method.family == family] for family in FAMILIES}
    return {family: some for family, some in found.items() if some}
