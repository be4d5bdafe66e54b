"""How boxes are scored."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from localization.protocols import MAP_PROTOCOLS, PROTOCOLS
from localization.routes import HEURISTIC, Route
from saliency._checks import kind_of, one_of, whole
from saliency.errors import InputError
from saliency.options.methods import Options as MethodOptions


@dataclass(frozen=True)
class EvaluationOptions:
    """How boxes are scored, and how they are made from maps."""

    protocol: str = "corloc"
    """corloc, paper-voc07, paper-imagenet, gt-known, top1-loc, maxboxacc, maxboxacc-v2 or wsol."""
    difficult: bool = False
    """Objects marked difficult count as targets too."""
    truncated: bool = True
    """Objects marked truncated count as targets."""
    folds: int = 0
    """Learn in so many folds of the photos that are scored, each scored by what the others taught; 0 does not."""
    method: str | None = None
    """How a network's maps are made, a name of `saliency.METHODS`; A+B stacks two (default: the protocol's). Or what is
    read without a map, "channels" or "class channels", by itself or beside maps: channels+A."""
    route: Route | None = None
    """What is learned on the training photos, where no saved map to boxes is given: the linear map, Eq. 4 (each pixel
    its own weights, as in the paper) or the heuristic (default: the protocol's)."""
    target: Literal["predicted", "label"] | None = None
    """Class that maps and class channels are of: the predicted one, or each sample's label, so that the box is that of
    the class asked for (default: the protocol's)."""
    layers: tuple[str, ...] = ()
    """Layers whose channels are read, where `method` has channels (default: `localization.channels.layers_of`)."""
    several: int = 0
    """Also find so many boxes a sample, scored by recall and average precision; 0 does not."""
    map_size: tuple[int, int] = (56, 56)
    """Rows and columns that maps are pooled to before anything is learned from them."""
    settings: MethodOptions = field(default_factory=MethodOptions)
    """What the methods share; its seed is every seed here."""

    @property
    def seed(self) -> int:
        return self.settings.seed

    def check(self) -> None:
        """InputError for a value that is none."""
        from localization.channels import READERS
        from localization.map_sources import known_methods

        one_of("protocol", self.protocol, PROTOCOLS)
        if self.route is not None:
            one_of("route", self.route, get_args(Route))
        if self.target is not None:
            one_of("target", self.target, ("predicted", "label"))
        for name in ("difficult", "truncated"):
            kind_of(name, getattr(self, name), bool, "whether such objects count")
        whole("folds", self.folds)
        if self.folds == 1:
            raise InputError("folds must be 0 or at least 2, not 1: with one there is nothing left to learn from")
        kind_of("map_size", self.map_size, tuple, "(rows, columns)")
        if len(self.map_size) != 2:
            raise InputError(f"map_size must be (rows, columns), not {self.map_size}")
        for side in self.map_size:
            whole("map_size", side, least=1)
        kind_of("settings", self.settings, MethodOptions, "the options of the methods")
        several = len(known_methods(self.method)) > 1 if self.method else False
        if several and (self.protocol in MAP_PROTOCOLS or self.route == HEURISTIC):
            raise InputError(f"`method` {self.method}: only a linear map takes several methods at once; give one")
        kind_of("layers", self.layers, tuple, "names of layers")
        whole("several", self.several)
        if self.method and self.protocol in MAP_PROTOCOLS and set(known_methods(self.method)) & set(READERS):
            raise InputError(f"`protocol` {self.protocol} scores maps, and `method` {self.method} has channels, no map")
        if self.several and PROTOCOLS[self.protocol].each != "class":
            raise InputError("`several` boxes are for protocols whose samples are a photo and a class")
