"""The menu: every way to make a map, under one name and one signature.

    METHODS["occlusion"].maps(net, x, target=labels, options=Options(patch=24, stride=8))

Images are float `[n, h, w, 3]` as `net.preprocess` gives them, maps float32 `[n, h, w]`. A map depends on its image,
the target and the options alone, not on the other images of the call: what is random comes from `Options.seed`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Float

from saliency.cam import grad_cam
from saliency.errors import InputError
from saliency.gradient import Aggregate, Progress, gradient_maps
from saliency.networks.network import Network
from saliency.occlusion import Engine, occlusion_maps
from saliency.occlusion.dense import ScoreFunction
from saliency.occlusion.windows import Fill, Pair, Windows, pair

Sign = Literal["magnitude", "signed"]
Target = int | Sequence[int] | np.ndarray | None
Classifier = Network | ScoreFunction  # a black box is any function from images [k, h, w, 3] to scores [k]


@dataclass(frozen=True)
class Options:
    """What the methods share; each reads what concerns it.

    `score` is what the class methods explain; `layer` is where Gestalt totals and Grad-CAM look (None: the network's
    Gestalt layer). `patch`, `stride` (pixels, or (height, width)), `fill` and `engine` are occlusion's.
    """

    score: Literal["logit", "log_probability"] = "logit"
    layer: str | None = None
    patch: int | Pair = 32
    stride: int | Pair = 16
    fill: Fill = "grey"
    engine: Engine = "auto"
    seed: int = 0

    @property
    def gestalt(self) -> str:
        """The Gestalt score in the words of `scores.as_score`."""
        return f"gestalt:{self.layer}" if self.layer else "gestalt"


@dataclass(frozen=True)
class Cost:
    """Passes for one image, its target given. How long one takes is the network's and the engine's affair."""

    forwards: int
    backwards: int


class Maps(Protocol):
    """Maps float32 `[n, h, w]`. `target`: class indices, default the predicted class; Gestalt scores and controls
    ignore it, and for a black box it is the function's own affair. Raises InputError for what does not fit."""

    def __call__(
        self,
        net: Classifier,
        x: Float[np.ndarray, "n h w 3"],
        *,
        target: Target = None,
        options: Options = Options(),
        progress: Progress | None = None,
    ) -> Float[np.ndarray, "n h w"]: ...


@dataclass(frozen=True)
class Method:
    """One way to make maps.

    `summary` is two lines. `sign`: "magnitude" maps are at least 0, in "signed" ones a positive pixel supports the
    score. `cost(net, (height, width), options)` counts passes, and raises InputError where `net` does not suit.
    """

    name: str
    summary: str
    source: str
    sign: Sign
    maps: Maps
    cost: Callable[[Classifier, Pair, Options], Cost]


def white_box(net: Classifier, method: str) -> Network:
    """`net` where it is a network, or InputError: its layers or gradients are needed."""
    if not isinstance(net, Network):
        raise InputError(f"{method} needs a network's layers and gradients; a black box can be occluded instead")
    return net


def _gradient(name: str, aggregate: Aggregate, gestalt: bool, summary: str, source: str) -> Method:
    def maps(net, x, *, target=None, options=Options(), progress=None):
        score = options.gestalt if gestalt else options.score
        net = white_box(net, name)
        return gradient_maps(net, x, score=score, target=target, aggregate=aggregate, progress=progress)

    def cost(net: Classifier, size: Pair, options: Options) -> Cost:
        white_box(net, name)
        return Cost(1, 1)

    return Method(name, summary, source, "magnitude", maps, cost)


def _occlusion(name: str, gestalt: bool, summary: str, source: str) -> Method:
    def maps(net, x, *, target=None, options=Options(), progress=None):
        return occlusion_maps(
            net,
            x,
            patch=options.patch,
            stride=options.stride,
            fill=options.fill,
            engine=options.engine,
            score=options.gestalt if gestalt else options.score,
            target=target,
            seed=options.seed,
            progress=progress,
        ).maps

    def cost(net: Classifier, size: Pair, options: Options) -> Cost:
        windows = Windows(size, pair(options.patch, "patch"), pair(options.stride, "stride"))
        return Cost(1 + len(windows.positions), 0)

    return Method(name, summary, source, "signed", maps, cost)


def _grad_cam(net, x, *, target=None, options=Options(), progress=None):
    return grad_cam(white_box(net, "grad-cam"), x, layer=options.layer, target=target, progress=progress)


def _grad_cam_cost(net: Classifier, size: Pair, options: Options) -> Cost:
    white_box(net, "grad-cam")
    return Cost(1, 1)


_MENU = (
    _gradient(
        "gradient-max",
        "max",
        False,
        "How much the class score answers to the smallest change of each pixel:\n"
        "one backward pass, the largest of the three channels' absolute derivatives.",
        "Simonyan et al. 2013",
    ),
    _gradient(
        "gradient-mean",
        "mean",
        False,
        "How much the class score answers to the smallest change of each pixel:\n"
        "one backward pass, the mean of the three channels' absolute derivatives.",
        "Simonyan et al. 2013",
    ),
    _gradient(
        "gestalt-max",
        "max",
        True,
        "The derivative of a layer's mean activation, which knows of no class:\n"
        "one backward pass from the last convolution, the largest of the three channels.",
        "seed 003, Eq. 3",
    ),
    _gradient(
        "gestalt-mean",
        "mean",
        True,
        "The derivative of a layer's mean activation, which knows of no class:\n"
        "one backward pass from the last convolution, the mean of the three channels.",
        "seed 003, Eq. 3",
    ),
    Method(
        "grad-cam",
        "A layer's channels, weighted by how the class score answers to each, and rectified:\n"
        "one backward pass to the last convolution, enlarged to the image.",
        "Selvaraju et al. 2017",
        "magnitude",
        _grad_cam,
        _grad_cam_cost,
    ),
    _occlusion(
        "occlusion",
        False,
        "How far the class score falls when a window that covers the pixel is hidden:\n"
        "one forward pass for each window position, the mean over the windows on a pixel.",
        "Zeiler & Fergus 2014",
    ),
    _occlusion(
        "occlusion-gestalt",
        True,
        "How far a layer's mean activation falls when a window is hidden, whatever the class:\n"
        "one forward pass for each window position, the mean over the windows on a pixel.",
        "seed 003, Eq. 3, with Zeiler & Fergus 2014",
    ),
)

METHODS: dict[str, Method] = {method.name: method for method in _MENU}
