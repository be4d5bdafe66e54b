"""How images are hidden, and which augmentations there are, by name; what the names do is in `saliency.robustness`."""

from dataclasses import dataclass
from typing import Literal, get_args

from saliency._checks import number, one_of, whole
from saliency._fills import fill_text
from saliency.errors import InputError

FAMILIES = ("bernoulli", "life", "perlin", "triangles")
AUGMENTATIONS = (
    *("cutout", "random_erasing", "hide_and_seek", "grid_mask", "mixup", "cutmix"),
    *FAMILIES,
)
Motion = Literal["animated", "still"]


@dataclass(frozen=True)
class Options:
    """How images are hidden, and how often figures are resampled."""

    families: tuple[str, ...] = FAMILIES
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
            if isinstance(family, str) and family not in FAMILIES:
                raise InputError(f"unknown family {family!r}; choose one of {', '.join(FAMILIES)}")
        for coverage in self.coverages:
            number("coverages", coverage, above=0)
            if coverage > 1:
                raise InputError(f"coverages must lie in 0..1 without 0, not {coverage:g}")
        if len({fill_text(fill) for fill in self.fills}) < len(self.fills):
            raise InputError(f"fills must differ, not {', '.join(map(str, self.fills))}")
        one_of("motion", self.motion, get_args(Motion))
        whole("seed", self.seed)
        whole("draws", self.draws, least=2)
