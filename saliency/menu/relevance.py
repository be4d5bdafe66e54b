"""What a layer's outputs owe to its inputs, handed back layer by layer: DeepLIFT and LRP."""

from saliency._checks import Pair
from saliency.maps.relevance import LrpRule, check_relevance, deep_lift, lrp
from saliency.menu.entry import Count, Entry, Run, passes
from saliency.method import Cost
from saliency.models.network import Network
from saliency.options.methods import Options


def _lrp(rule: LrpRule) -> Run:
    return lambda net, x, target, o, progress: lrp(net, x, rule=rule, target=target, progress=progress)


def _lrp_cost(parts: int) -> Count:
    """Of layers in so many parts, besides the pass that finds the activations."""

    def cost(net: Network, size: Pair, o: Options) -> Cost:
        check_relevance(net.architecture)
        return Cost(1 if parts == 1 else 1 + parts, parts)

    return cost


METHODS = (
    Entry(
        "deep-lift",
        "relevance",
        "signed",
        "Shrikumar et al. 2017 (rescale rule)",
        "What each pixel's difference from the fill adds to the score, layer by layer; the sum is the score's\n"
        "difference: a pass of the image, one of the fill, and one back by differences in place of derivatives.",
        lambda net, x, target, o, progress: deep_lift(
            net, x, score=o.score, target=target, fill=o.fill, progress=progress
        ),
        passes(2, 1),
    ),
    Entry(
        "lrp-epsilon",
        "relevance",
        "signed",
        "Bach et al. 2015, Eq. 58",
        "The class logit shared out layer by layer, to each input what it contributes to its outputs:\n"
        "one backward pass; of a network of ReLUs it is input times gradient, less what biases take.",
        _lrp("epsilon"),
        _lrp_cost(1),
    ),
    Entry(
        "lrp-gamma",
        "relevance",
        "signed",
        "Montavon et al. 2019",
        "LRP that favours, in every layer, what agrees with an output's sign: less noise than lrp-epsilon;\n"
        "a backward pass with each layer split by the signs of inputs and outputs.",
        _lrp("gamma"),
        _lrp_cost(4),
    ),
    Entry(
        "lrp-composite",
        "relevance",
        "signed",
        "Montavon et al. 2019; zennit's EpsilonGammaBox",
        "LRP by the usual rules: epsilon for dense layers, gamma for convolutions, z-box for the first layer:\n"
        "a backward pass with convolutions split by the signs of inputs and outputs.",
        _lrp("epsilon-gamma-box"),
        _lrp_cost(4),
    ),
)
