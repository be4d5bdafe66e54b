"""Sensitivity maps: derivatives by the pixels, at one point and along paths."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from saliency._checks import Pair
from saliency.maps.attribution import (
    InputXGradient,
    IntegratedGradients,
    Moment,
    NoisyGradients,
    NoisyMoments,
    Recipe,
    ReluRule,
    Sensitivity,
    attribution_maps,
)
from saliency.maps.full_grad import full_grad
from saliency.maps.gradient import Aggregate, gradient_maps, gradients_reduced
from saliency.maps.paths import BlurIntegratedGradients, ExpectedGradients, GuidedIntegratedGradients, flat_colours
from saliency.maps.xrai import xrai
from saliency.menu.entry import PAPER, Count, Entry, Run, passes
from saliency.method import Cost, Shared
from saliency.models.network import Network
from saliency.options.methods import Options
from saliency.scores import Target


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


def _one_gradient(score: str, aggregate: Aggregate) -> Shared:
    """The gradient of a score by the pixels, its channels reduced in one way or another."""

    def run(net: Network, x: np.ndarray, aggregates: Sequence[Aggregate], target: Target) -> np.ndarray:
        return gradients_reduced(net, x, aggregates, score=score, target=target)

    return Shared(f"gradient of {score}", aggregate, run)


def _of_noisy_copies(moment: Moment) -> Callable[[Options], Shared]:
    """The gradients of the same noisy copies."""

    def run(net: Network, x: np.ndarray, moments: Sequence[Moment], target: Target, *, o: Options) -> np.ndarray:
        recipe = NoisyMoments(tuple(moments), o.samples, o.noise, o.seed)
        return attribution_maps(net, x, recipe, score=o.score, target=target, fill=o.fill)

    return lambda o: Shared(
        f"gradients of {o.score}, {o.samples} noisy copies of {o.noise:g} by seed {o.seed}", moment, partial(run, o=o)
    )


def _noisy_cost(net: Network, size: Pair, o: Options) -> Cost:
    return Cost(o.samples, o.samples)


def _steps_cost(times: int) -> Count:
    return lambda net, size, o: Cost(times * o.steps, times * o.steps)


METHODS = (
    Entry(
        "gradient-max",
        "gradient",
        "magnitude",
        f"Simonyan et al. 2013; {PAPER}, Eq. 1",
        "How much the class score answers to the smallest change of each pixel:\n"
        "one backward pass, the largest absolute derivative of the three channels.",
        _gradient("max"),
        passes(1, 1),
        shared=lambda o: _one_gradient(o.score, "max"),
    ),
    Entry(
        "gradient-mean",
        "gradient",
        "magnitude",
        f"Simonyan et al. 2013; {PAPER}, Eq. 1",
        "How much the class score answers to the smallest change of each pixel:\n"
        "one backward pass, the mean absolute derivative of the three channels.",
        _gradient("mean"),
        passes(1, 1),
        shared=lambda o: _one_gradient(o.score, "mean"),
    ),
    Entry(
        "gestalt-max",
        "gradient",
        "magnitude",
        f"{PAPER}, Eq. 3",
        "The derivative of a layer's mean activation, which knows of no class:\n"
        "one backward pass from the last convolution, the largest of the three channels.",
        _gestalt("max"),
        passes(1, 1),
        shared=lambda o: _one_gradient(o.gestalt, "max"),
        layered=True,
    ),
    Entry(
        "gestalt-mean",
        "gradient",
        "magnitude",
        f"{PAPER}, Eq. 3",
        "The derivative of a layer's mean activation, which knows of no class:\n"
        "one backward pass from the last convolution, the mean of the three channels.",
        _gestalt("mean"),
        passes(1, 1),
        shared=lambda o: _one_gradient(o.gestalt, "mean"),
        layered=True,
    ),
    Entry(
        "input-x-gradient",
        "gradient",
        "signed",
        "Shrikumar et al. 2016",
        "What each pixel adds to the score, were the network linear:\n"
        "one backward pass times the normalised image, summed over the channels.",
        _attribution(lambda o: InputXGradient()),
        passes(1, 1),
    ),
    Entry(
        "smoothgrad",
        "gradient",
        "magnitude",
        "Smilkov et al. 2017",
        "The mean gradient of noisy copies of the image, so that it flickers less:\n"
        "one backward pass a copy, the largest absolute mean of the three channels.",
        _attribution(lambda o: NoisyGradients("mean", o.samples, o.noise, o.seed)),
        _noisy_cost,
        random=True,
        shared=_of_noisy_copies("mean"),
    ),
    Entry(
        "smoothgrad-squared",
        "gradient",
        "magnitude",
        "Hooker et al. 2019",
        "The mean square of the gradients of noisy copies of the image:\n"
        "one backward pass a copy, the largest of the three channels.",
        _attribution(lambda o: NoisyGradients("square", o.samples, o.noise, o.seed)),
        _noisy_cost,
        random=True,
        shared=_of_noisy_copies("square"),
    ),
    Entry(
        "vargrad",
        "gradient",
        "magnitude",
        "Adebayo et al. 2018",
        "How much the gradient of noisy copies of the image varies from copy to copy:\n"
        "one backward pass a copy, the largest variance of the three channels.",
        _attribution(lambda o: NoisyGradients("variance", o.samples, o.noise, o.seed)),
        _noisy_cost,
        random=True,
        shared=_of_noisy_copies("variance"),
    ),
    Entry(
        "guided-backprop",
        "gradient",
        "magnitude",
        "Springenberg et al. 2015",
        "A backward pass in which a ReLU lets only positive derivatives of active units through:\n"
        "crisp, but close to an edge detector; the largest absolute value of the three channels.",
        _attribution(lambda o: Sensitivity(), relu="guided"),
        passes(1, 1),
    ),
    Entry(
        "deconvolution",
        "gradient",
        "magnitude",
        "Zeiler & Fergus 2014",
        "A backward pass in which a ReLU lets every positive derivative through, active unit or not:\n"
        "the network run in reverse; the largest absolute value of the three channels.",
        _attribution(lambda o: Sensitivity(), relu="deconvolution"),
        passes(1, 1),
    ),
    Entry(
        "full-grad",
        "gradient",
        "magnitude",
        "Srinivas & Fleuret 2019",
        "What the image and each layer's bias add to the class logit, absolute values of all layers together:\n"
        "one backward pass that stops at every layer.",
        lambda net, x, target, o, progress: full_grad(net, x, target=target, progress=progress),
        passes(1, 1),
    ),
    Entry(
        "integrated-gradients",
        "path",
        "signed",
        "Sundararajan et al. 2017",
        "What each pixel adds along the line from the fill to the image; the sum is the score's difference:\n"
        "one backward pass a step, times the difference from the fill, summed over the channels.",
        _attribution(lambda o: IntegratedGradients(o.steps)),
        _steps_cost(1),
    ),
    Entry(
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
    Entry(
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
    Entry(
        "blur-ig",
        "path",
        "signed",
        "Xu et al. 2020",
        "What each pixel adds while the image comes into focus, out of a blur in place of a colour:\n"
        "one backward pass a step.",
        _attribution(lambda o: BlurIntegratedGradients(o.steps)),
        _steps_cost(1),
    ),
    Entry(
        "guided-ig",
        "path",
        "signed",
        "Kapishnikov et al. 2021",
        "Integrated gradients by a detour near the straight line, pixels first that the score answers to least:\n"
        "one backward pass a step, one step after another.",
        _attribution(lambda o: GuidedIntegratedGradients(o.steps)),
        _steps_cost(1),
    ),
    Entry(
        "xrai",
        "path",
        "signed",
        "Kapishnikov et al. 2019",
        "Integrated gradients from black and from white, given to whole regions of the image, best first:\n"
        "two backward passes a step, and six segmentations (extra segments).",
        lambda net, x, target, o, progress: xrai(
            net, x, steps=o.steps, scales=o.scales, score=o.score, target=target, progress=progress
        ),
        _steps_cost(2),
    ),
)
