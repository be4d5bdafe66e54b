"""What the methods of the menu share."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from saliency._checks import Pair, described, kind_of, number, one_of, pair, whole
from saliency.errors import InputError
from saliency.maps.segments import Segmentation, check_segmentation, grid
from saliency.models.preprocessing import Preprocessing
from saliency.occlusion.execution import Engine, Execution
from saliency.occlusion.windows import Fill, Windows, check_fill


@dataclass(frozen=True)
class Options:
    """What the methods share; each reads what concerns it. Raises InputError for values out of range.

    >>> Options(patch=24, stride=8, fill="mean").windows((96, 96)).grid
    (10, 10)

    `score` is what the class methods explain; `layer` is where Gestalt totals and Grad-CAM look (None: the network's
    Gestalt layer). `fill`, in pixels, is what occlusion and RISE hide with and where integrated gradients start.
    """

    score: Literal["logit", "log_probability"] = "logit"
    layer: str | None = None
    fill: Fill = "grey"
    patch: int | Pair | None = None
    """Occlusion's window in pixels, one number or (height, width) (default: a sixth of the image's shorter side)."""
    stride: int | Pair | None = None
    """From window to window (default: three quarters of the patch)."""
    engine: Engine = "auto"
    """How occlusion is computed."""
    expected: int | None = None
    """How many images there are in all, where they come in several calls: what the engine "auto" is chosen by (default:
    as many as one call has)."""
    samples: int = 25
    """Noisy copies of SmoothGrad and VarGrad; orders in which Shapley sampling shows segments."""
    noise: float = 0.15
    """Their noise's deviation, as a share of the image's range."""
    steps: int = 100
    """Points on integrated gradients' way; so many bring the sum within 1% of the score's difference."""
    segmentation: Segmentation | np.ndarray = "grid"
    """What methods of segments hide: a "grid", superpixels ("slic", "felzenszwalb"), or which segment each pixel
    belongs to, whole numbers [h, w] for all images or [n, h, w]."""
    segments: int = 50
    """How many cells or superpixels, about."""
    masks: int = 512
    """Masks of RISE, LIME, KernelSHAP and HSIC; Sobol indices take about as many."""
    iterations: int = 200
    """Steps in which extremal perturbations are found."""
    scales: int = 6
    """XRAI: segmentations, so many of its six scales from the finest to the coarsest."""
    channels: int | None = None
    """Score-CAM: the channels that vary most from place to place, so many of them (default: all)."""
    cell: int | None = None
    """Finite differences: side of a square, in pixels (default: a sixth of the image's shorter side)."""
    step: float = 0.02
    """Finite differences: how far a square is moved, as a share of the image's range."""
    seed: int = 0
    """What is random is drawn from it."""
    preprocess: Preprocessing | None = None
    """How pixels 0..255 become the images of a black box (None: they are pixels); a network knows its own."""

    def __post_init__(self) -> None:
        one_of("score", self.score, ("logit", "log_probability"))
        one_of("engine", self.engine, get_args(Engine))
        if self.layer is not None and not isinstance(self.layer, str):
            raise InputError(f"layer must be the name of a layer, or None, not {described(self.layer)}")
        for name in ("patch", "stride"):
            if getattr(self, name) is not None:
                pair(name, getattr(self, name))
        check_fill(self.fill)
        check_segmentation(self.segmentation)
        for name, least in {"samples": 1, "steps": 1, "segments": 1, "masks": 2, "iterations": 1, "seed": 0}.items():
            whole(name, getattr(self, name), least)
        whole("scales", self.scales, least=1, most=6)
        for name in ("expected", "channels", "cell"):
            whole(name, getattr(self, name), least=1, optional=True)
        number("noise", self.noise, least=0)
        number("step", self.step, above=0)
        if self.preprocess is not None:
            kind_of("preprocess", self.preprocess, Preprocessing, "how pixels become the images of a black box")

    @property
    def gestalt(self) -> str:
        """The Gestalt score in the words of `scores.as_score`."""
        return f"gestalt:{self.layer}" if self.layer else "gestalt"

    @property
    def execution(self) -> Execution:
        """How what the incremental engine can do is computed: in the same last bits at any time, so that a run that was
        killed goes on as it began."""
        return Execution(self.engine, images=self.expected, steady=True)

    def expecting(self, images: int) -> "Options":
        """For so many images in all, where nothing else is stated: the same way to compute for every call, the last and
        smaller one too."""
        return self if self.expected or not images else replace(self, expected=images)

    def windows(self, size: Pair) -> Windows:
        """Occlusion's windows on an image of (height, width)."""
        patch = pair("patch", _part(size, 6) if self.patch is None else self.patch)
        height, width = (max(1, 3 * side // 4) for side in patch)
        return Windows(size, patch, pair("stride", (height, width) if self.stride is None else self.stride))

    def segment_count(self, size: Pair) -> int:
        """How many segments an image of (height, width) has; of superpixels about as many, as the image decides."""
        if isinstance(self.segmentation, str):
            return int(grid(*size, self.segments).max()) + 1
        given = np.asarray(self.segmentation)
        return max(len(np.unique(one)) for one in given.reshape(-1, *given.shape[-2:]))

    def square(self, size: Pair) -> int:
        """The side of finite differences' squares on an image of (height, width)."""
        return _part(size, 6) if self.cell is None else self.cell


def _part(size: Pair, parts: int) -> int:
    return -(-min(size) // parts)
