"""What an evaluation asks, and whom: its options, the images as the networks get them, the masks and what fills them.

Videos are float32 `[n, t, h, w, 3]` in the networks' normalised space (a photo is a video of one frame).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from saliency._fills import parse_fill
from saliency.models.network import Network
from saliency.occlusion import fill_images
from saliency.options.robustness import Options
from saliency.robustness.masks import draw_fields, hide


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
