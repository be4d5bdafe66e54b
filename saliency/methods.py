"""The menu: every way to make a map, under one name and one signature.

    METHODS["occlusion"].maps(net, x, target=labels, options=Options(patch=24, stride=8))
    METHODS["smooth(flip(grad-cam))"]    # a method in wrappers, `saliency.wrappers`; iterating gives the plain ones

Images are float `[n, h, w, 3]` as `net.preprocess` gives them, maps float32 `[n, h, w]`. A map depends on its image,
the target and the options alone, not on the other images of the call: what is random comes from `Options.seed`.
"""

from collections.abc import Iterable
from itertools import chain

import numpy as np

from saliency._checks import ImagesLike, Pair, function, kind_of
from saliency.errors import InputError
from saliency.maps.gradient import Progress
from saliency.menu import attention, class_activation, controls, gradients, perturbations, relevance
from saliency.menu.entry import Entry
from saliency.method import DEFAULTS, FAMILIES, Cost, Family, Method
from saliency.models.black_box import Classifier, classifier_input
from saliency.models.network import Network
from saliency.options.methods import Options
from saliency.scores import Target
from saliency.wrappers import Menu

_ENTRIES = tuple(
    chain.from_iterable(
        family.METHODS for family in (gradients, relevance, class_activation, attention, perturbations, controls)
    )
)
_ABLE = ", ".join(entry.name for entry in _ENTRIES if entry.black_box)


def _method(entry: Entry) -> Method:
    """A method with its door: black boxes are refused up front where it is not for them."""

    def check(net: Classifier) -> None:
        if not entry.black_box and not isinstance(net, Network):
            raise InputError(f"{entry.name} needs a network's layers and gradients; for a black box there are {_ABLE}")

    def maps(
        net: Classifier,
        x: ImagesLike,
        *,
        target: Target = None,
        options: Options = DEFAULTS,
        progress: Progress | None = None,
    ) -> np.ndarray:
        check(net)
        kind_of("options", options, Options, "what the methods share")
        function("progress", progress, "(done, total)")
        first = net.architecture.nodes[0].name if isinstance(net, Network) else None
        return entry.run(net, classifier_input(net, x, first), target, options, progress)

    def cost(net: Classifier, size: Pair, options: Options = DEFAULTS) -> Cost:
        check(net)
        return entry.cost(net, size, options)

    return Method(
        entry.name, entry.family, entry.sign, entry.source, entry.summary, maps, cost, entry.black_box,
        entry.random, entry.layered, entry.by_image or entry.family == "perturbation", entry.shared,
    )  # fmt: skip


METHODS = Menu({entry.name: _method(entry) for entry in _ENTRIES})
ATTENTION = tuple(entry.name for entry in attention.METHODS)
CONTROLS = tuple(entry.name for entry in controls.METHODS)


def by_family(names: Iterable[str] | None = None) -> dict[Family, list[Method]]:
    """The methods of these names (default: all), family by family in the order of FAMILIES; none that is empty.

    >>> from saliency.methods import by_family
    >>> {family: len(own) for family, own in by_family(["edges", "occlusion", "rise"]).items()}
    {'perturbation': 2, 'control': 1}
    """
    own = [METHODS[name] for name in (METHODS if names is None else names)]
    found = {family: [method for method in own if method.family == family] for family in FAMILIES}
    return {family: some for family, some in found.items() if some}
