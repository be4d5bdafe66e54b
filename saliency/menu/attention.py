"""How transformers' tokens look at one another."""

from saliency._checks import Pair
from saliency.maps.attention import Rule, attention_maps, attentions, block_ends, class_attention_maps
from saliency.menu.entry import Count, Entry, Run
from saliency.method import Cost
from saliency.models.network import Network
from saliency.options.methods import Options


def _attention(rule: Rule) -> Run:
    return lambda net, x, target, o, progress: attention_maps(net, x, rule, target=target, progress=progress)


def _attention_cost(backwards: int) -> Count:
    def cost(net: Network, size: Pair, o: Options) -> Cost:
        attentions(net.architecture)
        return Cost(1, backwards)

    return cost


def _legrad_cost(net: Network, size: Pair, o: Options) -> Cost:
    block_ends(net.architecture)
    return Cost(1, 1)


METHODS = (
    Entry(
        "attention-rollout",
        "attention",
        "magnitude",
        "Abnar & Zuidema 2020",
        "How much of each patch reaches a transformer's class token through all blocks, whatever the class:\n"
        "one forward pass, enlarged to the image.",
        _attention("rollout"),
        _attention_cost(0),
    ),
    Entry(
        "gradient-rollout",
        "attention",
        "magnitude",
        "Gildenblat 2020, after Abnar & Zuidema 2020",
        "Attention rollout of attention times the class logit's derivative to it, negative ones left out:\n"
        "one backward pass, enlarged to the image.",
        _attention("gradient-rollout"),
        _attention_cost(1),
    ),
    Entry(
        "chefer",
        "attention",
        "magnitude",
        "Chefer et al. 2021",
        "What each block's attention, times the class logit's derivative to it, adds to earlier blocks':\n"
        "one backward pass, enlarged to the image.",
        _attention("chefer"),
        _attention_cost(1),
    ),
    Entry(
        "legrad",
        "attention",
        "magnitude",
        "Bousselham et al. 2025",
        "How the class logit, read off each block's tokens, rises with that block's attention to a patch:\n"
        "one backward pass, the mean over heads, tokens that look and blocks, enlarged to the image.",
        _attention("legrad"),
        _legrad_cost,
    ),
    Entry(
        "class-attention",
        "attention",
        "magnitude",
        "Caron et al. 2021",
        "How far a transformer's class token looks at each patch in its last block, the mean of the heads:\n"
        "one forward pass, enlarged to the image.",
        lambda net, x, target, o, progress: class_attention_maps(net, x, layer=o.layer, progress=progress).mean(1),
        _attention_cost(0),
    ),
)
