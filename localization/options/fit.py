"""How what leads from maps to boxes is fitted, chosen and scored."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from localization.features import Coding, Features
from saliency._checks import kind_of, number, one_of, whole
from saliency.errors import InputError

Method = Literal["coverage", "ridge", "lad", "iou", "sgd"]


@dataclass(frozen=True)
class FitOptions:
    """How the linear map is fitted, chosen and scored."""

    method: Method = "coverage"
    """coverage: one set of weights for all places of a map. The others give each feature weights of its own: ridge in
    closed form; least absolute deviations (lad) or an overlap loss (iou), started there; SGD as the paper has it."""
    features: Features = field(default_factory=Features)
    coding: Coding = "corners"
    lambdas: tuple[float, ...] | None = None
    """Penalties to choose from, relative to the mean eigenvalue of the features' covariance (default: the method's)."""
    choose: Literal["iou", "corloc"] = "iou"
    """Figure on the held-out images that chooses the penalty; coverage chooses in folds, by squared error."""
    shares: tuple[float, float, float] = (0.75, 0.15, 0.10)
    """Of the images, to fit, to choose and to score; coverage learns from the first two, and chooses in folds of
    them."""
    steps: int | None = None
    """Of lad, iou or sgd (default: each one's own)."""
    few_shot: tuple[int, ...] = ()
    """Also fit coverage, or ridge for the other methods, to so many boxes, and plot CorLoc against them."""
    repeats: int = 5
    """Draws of each few-shot size."""
    budget: int = 4096
    """MiB for matrices of features by features; where they do not fit, conjugate gradients do without."""
    cache: int = 2048
    """MiB of features kept in memory; more are made again at every sweep."""
    seed: int = 0

    def check(self) -> None:
        """InputError for a value that is none."""
        one_of("method", self.method, get_args(Method))
        one_of("coding", self.coding, get_args(Coding))
        one_of("choose", self.choose, ("iou", "corloc"))
        kind_of("features", self.features, Features, "what the linear map sees of a map")
        if len(self.shares) != 3 or min(self.shares) <= 0 or sum(self.shares) > 1 + 1e-9:
            raise InputError(f"shares must be three numbers above 0 that sum to at most 1, not {self.shares}")
        if self.lambdas is not None and not self.lambdas:
            raise InputError("lambdas must be one or more numbers above 0")
        for penalty in self.lambdas or ():
            number("lambdas", penalty, above=0)
        for n in self.few_shot:
            whole("few_shot", n, least=3)
        whole("steps", self.steps, least=1, optional=True)
        whole("repeats", self.repeats, least=1)
        for name in ("budget", "cache", "seed"):
            whole(name, getattr(self, name))

    @property
    def penalties(self) -> tuple[float, ...]:
        from localization.regression import cells, ridge

        return self.lambdas or (cells.LAMBDAS if self.method == "coverage" else ridge.LAMBDAS)
