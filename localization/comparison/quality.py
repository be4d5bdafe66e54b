"""What a comparison says of maps without drawing boxes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from localization.boxes import to_input
from localization.comparison.maps import Made
from localization.comparison.options import ABLE, CompareOptions
from localization.comparison.samples import Samples
from saliency import faithfulness
from saliency.methods import METHODS, Method, Options
from saliency.models.network import Network
from saliency.occlusion import fill_images

STEPS = 10  # of insertion and deletion
LAYERS = 3  # of the network's that are randomised in turn


@dataclass(frozen=True, eq=False)
class _Looked:
    """The images that are looked at, and what the measures ask of them."""

    net: Network
    x: np.ndarray
    target: np.ndarray
    true: list[np.ndarray] | None
    settings: Options

    @cached_property
    def blurred(self) -> np.ndarray:
        return fill_images(self.x, "blur", self.net.preprocess)  # once for all methods

    @cached_property
    def masks(self) -> np.ndarray:
        assert self.true is not None
        return faithfulness.box_masks(self.true, (self.x.shape[1], self.x.shape[2]))


def quality(
    samples: Samples, made: Mapping[str, Made], targets: np.ndarray, options: CompareOptions
) -> dict[str, Any] | None:
    """Means over a draw of test images for each method, and the agreement of all pairs of methods."""
    chosen, seed = samples.test, options.settings.seed
    if len(chosen) > options.quality:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, options.quality, replace=False))
    if not len(chosen):
        return None
    net = samples.net
    placements = [net.preprocess.placement(samples.sizes[i]) for i in chosen.tolist()]
    true = [to_input(samples.true[i], at) for i, at in zip(chosen.tolist(), placements)] if samples.true else None
    looked = _Looked(net, samples.input(chosen), targets[chosen], true, options.settings)
    maps = {name: one.over(net.preprocess, chosen, samples) for name, one in made.items()}
    wanted = [name for name in ABLE if name in options.measures or "all" in options.measures]
    wanted = [name for name in wanted if true is not None or name not in REGIONS]
    rows = []
    for name, own in maps.items():
        method = METHODS.get(made[name].base or "")
        rows.append({"method": name, **{key: _mean(value) for key, value in _figures(looked, own, method, wanted)}})
    pairs = faithfulness.agreement(maps)
    return {
        "images": len(chosen),
        "rows": rows,
        "methods": pairs.names,
        "rank_correlation": pairs.correlation,
        "top_overlap": pairs.overlap,
    }


def _figures(
    looked: _Looked, maps: np.ndarray, method: Method | None, wanted: list[str]
) -> list[tuple[str, np.ndarray]]:
    """The figures of each image by measure, in the order of the table; None of one that asks for a method of ours."""
    found: dict[str, np.ndarray] = {}
    unknown = np.full(len(maps), np.nan)
    if {"drop", "increase"} & set(wanted):
        seen = faithfulness.confidence(looked.net, looked.x, maps, target=looked.target)
        found |= {"drop": seen.drop, "increase": seen.increase}
    for name in wanted:
        if name in OF_MAPS:
            found[name] = OF_MAPS[name](looked, maps)
        elif name in OF_METHODS:
            found[name] = unknown if method is None else OF_METHODS[name](looked, maps, method)
    return [(name, found[name]) for name in wanted]


def _curve(kind: Any) -> Callable[[_Looked, np.ndarray], np.ndarray]:
    return lambda one, maps: faithfulness.information_curve(one.net, one.x, maps, kind=kind, target=one.target).auc


OF_MAPS: Mapping[str, Callable[[_Looked, np.ndarray], np.ndarray]] = {
    "insertion": lambda one, maps: (
        faithfulness.insertion(one.net, one.x, maps, target=one.target, steps=STEPS, fill=one.blurred).auc
    ),
    "deletion": lambda one, maps: faithfulness.deletion(one.net, one.x, maps, target=one.target, steps=STEPS).auc,
    "pointing": lambda one, maps: faithfulness.pointing_game(maps, one.true or []),
    "energy": lambda one, maps: faithfulness.energy_pointing_game(maps, one.true or []),
    "rank": lambda one, maps: faithfulness.relevance_rank(maps, one.masks),
    "auc": lambda one, maps: faithfulness.roc_auc(maps, one.masks),
    "sparsity": lambda one, maps: faithfulness.sparsity(maps),
    "entropy": lambda one, maps: faithfulness.entropy(maps),
    "road": lambda one, maps: faithfulness.road(one.net, one.x, maps, target=one.target).score,
    "infidelity": lambda one, maps: faithfulness.infidelity(one.net, one.x, maps, target=one.target),
    "correlation": lambda one, maps: faithfulness.faithfulness_correlation(one.net, one.x, maps, target=one.target),
    "completeness": lambda one, maps: faithfulness.completeness(
        one.net, one.x, maps, target=one.target, fill=one.settings.fill
    ),
    "sic": _curve("sic"),
    "aic": _curve("aic"),
}
OF_METHODS: Mapping[str, Callable[[_Looked, np.ndarray, Method], np.ndarray]] = {
    "stability": lambda one, maps, method: faithfulness.stability(
        method, one.net, one.x, maps, target=one.target, options=one.settings
    ),
    "sensitivity": lambda one, maps, method: (
        faithfulness.sensitivity(method, one.net, one.x, maps, target=one.target, options=one.settings).max
    ),
    "sanity": lambda one, maps, method: np.nanmean(
        list(
            faithfulness.sanity(
                method, one.net, one.x, maps, target=one.target, options=one.settings, points=LAYERS
            ).values()
        ),
        axis=0,
    ),
    "random logit": lambda one, maps, method: faithfulness.random_logit(
        method, one.net, one.x, maps, target=one.target, options=one.settings
    ),
}
REGIONS = ("pointing", "energy", "rank", "auc")


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
