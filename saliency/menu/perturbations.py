"""Scores of images of which parts are hidden or changed; all but one will do with a black box."""

from collections.abc import Callable
from typing import Any

import numpy as np

from saliency._checks import Pair
from saliency.maps.extremal import extremal_maps
from saliency.maps.global_sensitivity import designs, hsic_maps, sobol_maps
from saliency.maps.gradient import Progress
from saliency.maps.perturbation import finite_difference_maps, rise_maps
from saliency.maps.segment_occlusion import channel_occlusion, segment_occlusion, segment_passes_saved
from saliency.maps.shapley import shapley_count, shapley_maps
from saliency.maps.surrogates import kernel_shap_count, kernel_shap_maps, lime_maps
from saliency.menu.entry import PAPER, Count, Entry, Run
from saliency.method import Cost
from saliency.models.black_box import Classifier
from saliency.models.network import Network
from saliency.occlusion import occlusion_maps, passes_saved
from saliency.occlusion.windows import Windows
from saliency.options.methods import Options
from saliency.scores import Target


def _occlusion(score: Callable[[Options], str]) -> Run:
    def run(net: Classifier, x: np.ndarray, target: Target, o: Options, progress: Progress | None) -> np.ndarray:
        windows = o.windows(x.shape[1:3])
        return occlusion_maps(
            net,
            x,
            windows,
            fill=o.fill,
            execution=o.execution,
            score=score(o),
            target=target,
            seed=o.seed,
            preprocess=o.preprocess,
            progress=progress,
        ).maps

    return run


def _occlusion_cost(score: Callable[[Options], str]) -> Count:
    def cost(net: Classifier, size: Pair, o: Options) -> Cost:
        windows = o.windows(size)
        saved = passes_saved(net, windows, score=score(o), engine=o.engine) if isinstance(net, Network) else 0.0
        return Cost(1 + len(windows.positions), 0, saved)

    return cost


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


def _coalitions(maps: Callable[..., np.ndarray]) -> Run:
    """A method that scores `Options.masks` composites of segments."""
    return lambda net, x, target, o, progress: maps(net, x, masks=o.masks, progress=progress, **_by_segments(target, o))


def _segment_cost(net: Classifier, size: Pair, o: Options) -> Cost:
    """Of superpixels, which each image has in a number of its own, as of a grid of about as many cells."""
    saved = segment_passes_saved(net, size, o.segments, o.score, o.engine) if isinstance(net, Network) else 0.0
    return Cost(1 + o.segment_count(size), 0, saved)


def _channel_occlusion(
    net: Classifier, x: np.ndarray, target: Target, o: Options, progress: Progress | None
) -> np.ndarray:
    return channel_occlusion(
        net, x, o.windows(x.shape[1:3]), fill=o.fill, score=o.score, target=target, preprocess=o.preprocess,
        seed=o.seed, execution=o.execution, progress=progress,
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
    channels = len(net.preprocess.mean) if isinstance(net, Network) else 3
    cell = min(side, size[0]), min(side, size[1])
    cells = Windows(size, cell, cell)
    saved = passes_saved(net, cells, score=o.score, engine=o.engine) if isinstance(net, Network) else 0.0
    return Cost(2 * channels * len(cells.positions), 0, 2 * channels * saved)


METHODS = (
    Entry(
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
    Entry(
        "occlusion-gestalt",
        "perturbation",
        "signed",
        f"Zeiler & Fergus 2014; {PAPER}, Eq. 3",
        "How far a layer's mean activation falls when a window is hidden, whatever the class:\n"
        "one forward pass a window, the mean over the windows on a pixel.",
        _occlusion(lambda o: o.gestalt),
        _occlusion_cost(lambda o: o.gestalt),
        layered=True,
    ),
    Entry(
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
    Entry(
        "finite-differences",
        "perturbation",
        "magnitude",
        f"{PAPER}, section 4",
        "The gradient of a black box: a square's brightness goes a little up and a little down:\n"
        "two forward passes a square and channel, the largest absolute derivative.",
        lambda net, x, target, o, progress: finite_difference_maps(
            net,
            x,
            cell=o.square(x.shape[1:3]),
            step=o.step,
            score=o.score,
            target=target,
            execution=o.execution,
            progress=progress,
        ),
        _finite_difference_cost,
        black_box=True,
    ),
    Entry(
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
                execution=o.execution,
                progress=progress,
                **_by_segments(target, o),
            ).maps
        ),
        _segment_cost,
        black_box=True,
    ),
    Entry(
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
    Entry(
        "lime",
        "perturbation",
        "signed",
        "Ribeiro et al. 2016",
        "A linear model of the score near the image, whose inputs are which segments are shown:\n"
        "one forward pass a composite, weighed by its likeness to the image; each segment's coefficient.",
        _coalitions(lime_maps),
        lambda net, size, o: Cost(o.masks, 0),
        black_box=True,
        random=True,
    ),
    Entry(
        "kernel-shap",
        "perturbation",
        "signed",
        "Lundberg & Lee 2017",
        "Shapley values of the segments by weighted least squares; they add up to the score less the fill's:\n"
        "one forward pass a coalition of segments, exact where all of them are taken.",
        _coalitions(kernel_shap_maps),
        lambda net, size, o: Cost(kernel_shap_count(o.masks, o.segment_count(size)), 0),
        black_box=True,
        random=True,
    ),
    Entry(
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
    Entry(
        "sobol",
        "perturbation",
        "magnitude",
        "Fel et al. 2021",
        "The share of the score's variance that a segment takes part in as all of them fade at random:\n"
        "one forward pass a composite of a quasi-random design; says how much, not which way.",
        _coalitions(sobol_maps),
        _sobol_cost,
        black_box=True,
        random=True,
    ),
    Entry(
        "hsic",
        "perturbation",
        "magnitude",
        "Novello et al. 2022",
        "How far the score's distribution depends on whether a segment is shown, by kernels:\n"
        "one forward pass a composite; says how much, not which way.",
        _coalitions(hsic_maps),
        lambda net, size, o: Cost(o.masks, 0),
        black_box=True,
        random=True,
    ),
    Entry(
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
)
