"""What an evaluation asks, and whom: its options, the images as the networks get them, the masks and what fills them.

Videos are float32 `[n, t, h, w, 3]` in the networks' normalised space (a photo is a video of one frame).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from saliency._checks import number, one_of, whole
from saliency._fills import fill_text, parse_fill
from saliency.errors import InputError
from saliency.models.network import Network
from saliency.occlusion import fill_images
from saliency.robustness.masks import FAMILIES, as_family, draw_fields, hide

Motion = Literal["animated", "still"]


@dataclass(frozen=True)
class Options:
    """How images are hidden, and how often figures are resampled."""

    families: tuple[str, ...] = tuple(FAMILIES)
    """Shapes of masks."""
    coverages: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    """Hidden shares of the image, besides 0."""
    fills: tuple[str, ...] = ("0", "grey")
    """What shows where an image is hidden: grey, mean, blur, noise, a level 0..255 or r,g,b; all side by side."""
    motion: Motion = "animated"
    """Whether masks move from frame to frame, each family in its own way, or stay as in the first."""
    seed: int = 0
    draws: int = 1000
    """Resamples of the bootstrap."""

    def __post_init__(self) -> None:
        for name in ("families", "coverages", "fills"):
            value = getattr(self, name)
            if isinstance(value, str | int | float) or not len(value):
                raise InputError(f"{name} must name at least one, in a tuple, not {value!r}")
        for family in self.families:
            as_family(family)
        for coverage in self.coverages:
            number("coverages", coverage, above=0)
            if coverage > 1:
                raise InputError(f"coverages must lie in 0..1 without 0, not {coverage:g}")
        if len({fill_text(fill) for fill in self.fills}) < len(self.fills):
            raise InputError(f"fills must differ, not {', '.join(map(str, self.fills))}")
        one_of("motion", self.motion, get_args(Motion))
        whole("seed", self.seed)
        whole("draws", self.draws, least=2)


@dataclass(frozen=True, eq=False)
class Subject:
    """Whom and what is asked: networks by name, the plain one first; `x`, and each video's label, its group (digit
    instance, photo) and, where it is known, the object's box in the first frame, in pixels of the input."""

    nets: Mapping[str, Network]
    x: Float[np.ndarray, "n t h w c"]
    labels: Int[np.ndarray, " n"]
    groups: Int[np.ndarray, " n"]
    boxes: Float[np.ndarray, "n 4"] | None = None

    @property
    def plain(self) -> str:
        """The name of the network that the others are compared with."""
        return next(iter(self.nets))

    @property
    def net(self) -> Network:
        return self.nets[self.plain]

    @property
    def units(self) -> str:
        return "videos" if self.x.shape[1] > 1 else "images"

    def filled(self, fill: str, seed: int) -> Float[np.ndarray, "n t h w c"]:
        """What shows, for every frame. Raises InputError for an unknown fill."""
        frames = self.x.reshape(-1, *self.x.shape[2:])
        return fill_images(frames, parse_fill(fill), self.net.preprocess, seed).reshape(self.x.shape)

    def masks(self, options: Options, family: str, n: int | None = None) -> Callable[[float], Bool[np.ndarray, "..."]]:
        """The masks `[n, t, h, w]` of a family at any coverage, for the first `n` videos; the same for all networks."""
        count, t, height, width, _ = self.x.shape
        n = count if n is None else n
        frames = t if options.motion == "animated" else 1
        fields = draw_fields(family, n, (height, width), frames=frames, seed=options.seed)
        return lambda coverage: np.broadcast_to(hide(fields, coverage), (n, t, height, width))
