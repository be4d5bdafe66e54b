"""Masks of an occlusion analysis, what fills them, and what is measured with them."""

from dataclasses import dataclass
from typing import get_args

from saliency._checks import one_of, whole
from saliency._fills import fill_text
from saliency.errors import InputError
from saliency.occlusion.execution import Engine


@dataclass(frozen=True)
class Options:
    """Masks, what fills them, and what is measured with them."""

    sizes: tuple[int, ...] = ()
    """Sides of the mask in input pixels; default: 2 to 6 strides (20 to 60 px for a 224 px input)."""
    stride: int | None = None
    """Default: a 22nd of the input's shorter side (10 px for 224)."""
    fills: tuple[str, ...] = ("grey", "0", "mean", "blur", "noise")
    """What hides: grey, mean, blur, noise, a level 0..255, or r,g,b. Figures show the first two side by side; regions,
    interactions and the film are made with the first."""
    engine: Engine = "auto"
    """How hidden photos are computed: dense, incremental (the same numbers), or whichever is expected to be cheaper."""
    layers: tuple[str, ...] = ()
    """Layers whose features are compared; default: the nearest to AlexNet's fifth and seventh."""
    draws: int = 50
    """Moved and random boxes for each region; 0 leaves the regions out."""
    windows: int = 8
    """Windows whose interactions are measured; below 2 leaves them out."""
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.fills, str) or not len(self.fills):
            raise InputError("fills must name at least one fill, such as grey, in a tuple")
        if len({fill_text(fill) for fill in self.fills}) < len(self.fills):
            raise InputError(f"fills must differ, not {', '.join(map(str, self.fills))}")
        if isinstance(self.layers, str):
            raise InputError(f"layers must be a tuple of layers' names, not {self.layers!r}")
        one_of("engine", self.engine, get_args(Engine))
        for size in self.sizes:
            whole("sizes", size, least=1)
        whole("stride", self.stride, least=1, optional=True)
        for name in ("draws", "windows", "seed"):
            whole(name, getattr(self, name))
        if self.draws == 1:
            raise InputError("draws must be at least 2, not 1: a spread needs repetition (0 leaves the regions out)")
