"""What a map owes to the network's weights, and to the class: maps with both taken away."""

from typing import Literal, get_args

import numpy as np

from saliency._checks import ImagesLike, MapsLike, PerImage, kind_of, one_of, whole
from saliency.errors import InputError
from saliency.faithfulness.complexity import entropy
from saliency.faithfulness.pairs import rank_correlation
from saliency.maps.controls import cascade, one_by_one, randomised
from saliency.method import DEFAULTS, Method
from saliency.models.network import Network, check_input
from saliency.options.methods import Options
from saliency.scores import Target, class_count
from saliency.wrappers import settled

Order = Literal["cascade", "single"]


def sanity(
    method: Method,
    net: Network,
    x: ImagesLike,
    maps: MapsLike,
    *,
    target: Target = None,
    options: Options = DEFAULTS,
    seed: int = 0,
    order: Order = "cascade",
    points: int | None = None,
) -> dict[str, PerImage]:
    """Rank correlation of a method's `maps` with those of the network randomised from the logits down to each layer.

    A curve, by layer: a map that survives does not show what the network learned. `order` "single" randomises each
    layer alone; `points` takes so many layers, evenly spread, the logits and the first one among them (default: all).
    The class explained stays the trained network's. Of a noisy method `METHODS["smooth(...)"]` gives what Hedström et
    al. 2024 call smooth MPRT. Adebayo et al. 2018.

    >>> import numpy as np, saliency
    >>> net, method = saliency.load_network("scenes_cnn"), saliency.METHODS["edges"]
    >>> photo = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    >>> x = net.preprocess([photo])
    >>> found = saliency.faithfulness.sanity(method, net, x, method.maps(net, x))
    >>> list(found)[:2], found["logits"].round(6).tolist()  # edges do not look at the network
    (['logits', 'conv4_2'], [1.0])
    """
    kind_of("method", method, Method, "as saliency.METHODS has it")
    kind_of("net", net, Network, "as load_network gives it: a black box has no weights to randomise")
    x = check_input(net, x)
    target = settled(net, x, target)
    one_of("order", order, get_args(Order))
    whole("points", points, least=1, optional=True)
    count = sum(layer in net.weights for layer in net.layers)
    chosen = set(np.round(np.linspace(0, count - 1, min(points or count, count))).astype(int).tolist())
    return {
        layer: rank_correlation(maps, method.maps(broken, x, target=target, options=options))
        for k, (layer, broken) in enumerate((cascade if order == "cascade" else one_by_one)(net, seed))
        if k in chosen
    }


def random_logit(
    method: Method,
    net: Network,
    x: ImagesLike,
    maps: MapsLike,
    *,
    target: Target = None,
    options: Options = DEFAULTS,
    seed: int = 0,
) -> PerImage:
    """Rank correlation of a method's `maps` with those of another class, drawn from `seed` for each image.

    A map that stays the same does not show the class. `target` is what `maps` explain (default: the predicted class).
    Raises InputError for a network of one class. Sixt et al. 2020.

    >>> import numpy as np, saliency
    >>> net, method = saliency.load_network("scenes_cnn"), saliency.METHODS["edges"]
    >>> x = net.preprocess(np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3), np.uint8))
    >>> saliency.faithfulness.random_logit(method, net, x, method.maps(net, x)).round(6).tolist()
    [1.0]
    """
    kind_of("method", method, Method, "as saliency.METHODS has it")
    kind_of("net", net, Network, "as load_network gives it: a black box has no classes to choose from")
    whole("seed", seed)
    classes = class_count(net.architecture)
    if classes < 2:
        raise InputError(f"{net.name} has one class: there is no other to explain")
    x = check_input(net, x)
    own = np.asarray(settled(net, x, target))
    other = (own + np.random.default_rng(seed).integers(1, classes, len(x))) % classes
    return rank_correlation(maps, method.maps(net, x, target=other, options=options))


def entropy_rise(
    method: Method,
    net: Network,
    x: ImagesLike,
    maps: MapsLike,
    *,
    target: Target = None,
    options: Options = DEFAULTS,
    seed: int = 0,
) -> PerImage:
    """By what share the entropy of a method's `maps` rises when all weights are drawn anew: higher is better.

    One more map in place of one a layer. Hedström et al. 2024, "efficient MPRT", with `entropy` for the complexity.

    >>> import numpy as np, saliency
    >>> net, method = saliency.load_network("scenes_cnn"), saliency.METHODS["edges"]
    >>> x = net.preprocess(np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3), np.uint8))
    >>> saliency.faithfulness.entropy_rise(method, net, x, method.maps(net, x)).tolist()
    [0.0]
    """
    kind_of("method", method, Method, "as saliency.METHODS has it")
    kind_of("net", net, Network, "as load_network gives it: a black box has no weights to randomise")
    x = check_input(net, x)
    target = settled(net, x, target)
    before = entropy(maps)
    return (entropy(method.maps(randomised(net, seed=seed), x, target=target, options=options)) - before) / before
