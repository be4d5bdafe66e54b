"""A mask slid over one photo: the class probabilities at every position, for masks of several sizes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from saliency import scores
from saliency.models.network import Network
from saliency.occlusion import Engine, Execution, Progress, Windows, occluded_logits
from saliency.occlusion.windows import Fill


@dataclass(frozen=True)
class Sweep:
    """One photo under a mask of one size at every position.

    `probability` is the target's, `top` the class predicted there and `confidence` that class's probability;
    `base` is the target's probability on the untouched photo.
    """

    windows: Windows
    target: int
    base: float
    probability: Float[np.ndarray, "rows cols"]
    top: Int[np.ndarray, "rows cols"]
    confidence: Float[np.ndarray, "rows cols"]

    @property
    def drop(self) -> Float[np.ndarray, "rows cols"]:
        """How far the target's probability falls: positive where the mask hurts."""
        return self.base - self.probability

    @property
    def drop_map(self) -> Float[np.ndarray, "h w"]:
        """The drop of every pixel: the mean over the windows that hide it."""
        return self.windows.pixel_maps(self.drop[None])[0]

    @property
    def mean(self) -> float:
        """The target's probability, averaged over positions."""
        return float(self.probability.mean())

    @property
    def spread(self) -> float:
        """Standard deviation of the probability over positions (not of its mean)."""
        return float(self.probability.std())

    @property
    def predicted_share(self) -> float:
        """Share of the positions at which the target is the predicted class, right or wrong."""
        return float((self.top == self.target).mean())

    @property
    def worst(self) -> int:
        """Index of the position with the smallest probability, counted left to right, top to bottom."""
        return int(self.probability.argmin())

    def box(self, index: int) -> Int[np.ndarray, " 4"]:
        """The part of the image that the window at one position hides, `x0 y0 x1 y1`."""
        (y, x), (height, width) = self.windows.positions[index], self.windows.patch
        return np.array([x, y, min(x + width, self.windows.image[1]), min(y + height, self.windows.image[0])])


def probabilities(net: Network, x: Float[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n classes"]:
    """Of every class, by the published logits, in double precision."""
    return scores.class_probabilities(net.architecture, scores.logits(net, x))


def ranked(probability: Float[np.ndarray, " classes"], count: int) -> Int[np.ndarray, " count"]:
    """The classes with the largest probabilities, the largest first; of equal ones the lower index first."""
    return np.argsort(-probability, kind="stable")[:count]


def sweep(
    net: Network,
    image: Float[np.ndarray, "h w c"],
    target: int,
    sizes: Sequence[Windows],
    *,
    fill: Fill = "grey",
    engine: Engine = "auto",
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Sweep]:
    """The class probabilities under each window of each size. Errors are those of `occluded_logits`."""
    base = float(probabilities(net, image[None])[0, target])
    every = occluded_logits(net, image, sizes, fill=fill, execution=Execution(engine), seed=seed, progress=progress)
    sweeps = []
    for windows, values in zip(sizes, every):
        every_p = scores.class_probabilities(net.architecture, values)
        sweeps.append(Sweep(windows, target, base, every_p[..., target], every_p.argmax(-1), every_p.max(-1)))
    return sweeps
