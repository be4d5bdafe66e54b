"""What a comparison may be told."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from localization.routes import DEFAULT_ROUTES, LINEAR, Fitting, Route
from saliency._checks import kind_of, number, one_of, whole
from saliency.errors import InputError
from saliency.options.methods import Options as MethodOptions

Each = Literal["class", "object"]
Target = Literal["predicted", "label"]
DEFAULT_MEASURES = ("insertion", "deletion", "drop", "increase", "pointing", "energy", "rank", "sparsity", "entropy")
ABLE = (
    *(*DEFAULT_MEASURES, "auc", "road", "infidelity", "correlation", "completeness", "sic", "aic"),
    *("stability", "sensitivity", "sanity", "random logit"),
)  # PxAP wants masks, agreement is there anyhow
DEFAULT_METHODS = ("gradient-max", "gradient-mean", "gestalt-max", "gestalt-mean", "grad-cam", "occlusion")


@dataclass(frozen=True)
class CompareOptions:
    """How methods are compared. Raises InputError for a value out of its range."""

    target: Target = "predicted"
    """Class whose score is explained; a photo whose label is no class of the network: its predicted one."""
    each: Each = "class"
    """A sample is a class on a photo (any instance may be hit), or an object (the protocol of the paper Fast Object
    Localization via Sensitivity Analysis)."""
    folds: int | None = None
    """Cross-fitting: the data in so many folds, each scored by what everything outside of it taught (default: 10, where
    there are no training data)."""
    n_test: int | None = None
    """So many photos are scored, drawn with the seed (default: all)."""
    fit: Fitting = "coverage"
    """The linear map: one set of weights for all places ("coverage"), least absolute deviations on profiles ("lad"), or
    a ridge on pixels that treats left and right alike ("flip-equivariant")."""
    routes: tuple[Route, ...] = DEFAULT_ROUTES
    """How maps become boxes: the linear map; Eq. 4, the paper's, in which each pixel has its own weights; the
    heuristic."""
    layers: tuple[str, ...] = ()
    """Layers whose channels are read (default: the last of the last two sizes of activations)."""
    stack: tuple[str, ...] = ("gradient-max", "gestalt-max", "grad-cam")
    """Methods whose maps one more linear map sees together, where all of them are compared."""
    occlusion_strides: tuple[int, ...] = ()
    """Occlusion at these strides too, in pixels: its curve in the picture of CorLoc against cost."""
    quality: int = 10
    """Scored samples for the figures that need no box: insertion, deletion, agreement and so on."""
    measures: tuple[str, ...] = DEFAULT_MEASURES
    """Which of these: names of `saliency.faithfulness.MEASURES`, or all; those that make maps again, impute pixels or
    hide squares take long."""
    budget: float | None = None
    """Seconds an image for the methods of "all", their boxes and measures with them: the cheapest are taken, as many as
    are foretold to fit (default: all)."""
    thin: bool = False
    """Where the budget does not hold the whole menu: ever fewer samples, steps, masks and so on for all methods alike,
    before any is left out; the page says how many."""
    repeats: int = 1
    """So many seeds of each method with chance in it, to tell what of a figure is noise."""
    settings: MethodOptions = field(default_factory=lambda: MethodOptions(samples=5, steps=10, masks=48, iterations=40))
    """What the methods share."""
    keep_maps: bool = False
    """Keep every map, FOLDER/maps/METHOD/IMAGE.npy, with the placement beside them."""
    keep_bundles: bool = False
    """Keep what each linear map has learned, FOLDER/bundles/METHOD.safetensors: of folds, from all of them."""
    strict: bool = False
    """A photo that cannot be decoded is an error; otherwise it is left out and noted."""

    def __post_init__(self) -> None:
        one_of("target", self.target, get_args(Target))
        one_of("each", self.each, get_args(Each))
        one_of("fit", self.fit, get_args(Fitting))
        whole("folds", self.folds, least=2, optional=True)
        whole("n_test", self.n_test, least=1, optional=True)
        whole("quality", self.quality)
        kind_of("measures", self.measures, tuple, "names of measures")
        for measure in self.measures:
            one_of("measures", measure, ("all", *ABLE))
        if self.quality == 0 and self.measures != DEFAULT_MEASURES:
            raise InputError("quality must be a whole number of at least 1 where measures are named, not 0")
        whole("repeats", self.repeats, least=1)
        if self.budget is not None:
            number("budget", self.budget, above=0)
        kind_of("thin", self.thin, bool, "whether methods are thinned")
        if self.thin and self.budget is None:
            raise InputError("thin takes less of each method where a budget does not hold the menu: give a budget")
        kind_of("settings", self.settings, MethodOptions, "the methods' options")
        kind_of("keep_maps", self.keep_maps, bool, "whether maps are kept")
        kind_of("keep_bundles", self.keep_bundles, bool, "whether what is learned is kept")
        if self.keep_bundles and (self.fit != "coverage" or LINEAR not in self.routes):
            raise InputError(f"keep_bundles keeps what coverage has learned: keep routes {LINEAR!r} and fit 'coverage'")
        kind_of("strict", self.strict, bool, "whether nothing may be left out")
        kind_of("routes", self.routes, tuple, "names of routes")
        for route in self.routes:
            one_of("routes", route, get_args(Route))
        if not self.routes or len(set(self.routes)) < len(self.routes):
            raise InputError(f"routes must be one or more, each once, not {self.routes}")
        kind_of("layers", self.layers, tuple, "names of layers")
        kind_of("stack", self.stack, tuple, "names of methods")
        kind_of("occlusion_strides", self.occlusion_strides, tuple, "strides in pixels")
        for stride in self.occlusion_strides:
            whole("occlusion_strides", stride, least=1)
