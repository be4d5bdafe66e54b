"""What a figure is worth: maps that look at no class, or at no image."""

from saliency.maps.controls import centre_gaussian, edge_maps, random_maps, random_weight_maps
from saliency.menu.entry import Entry, passes

METHODS = (
    Entry(
        "random-weights",
        "control",
        "magnitude",
        "Adebayo et al. 2018",
        "Control: gradient-max of the same network with all its weights drawn anew.\n"
        "What is left is the architecture's doing, not what was learned.",
        lambda net, x, target, o, progress: random_weight_maps(
            net, x, seed=o.seed, score=o.score, target=target, progress=progress
        ),
        passes(1, 1),
        random=True,
    ),
    Entry(
        "random",
        "control",
        "magnitude",
        "control",
        "Control: uniform noise.\nNothing is looked at.",
        lambda net, x, target, o, progress: random_maps(x, o.seed),
        passes(0, 0),
        black_box=True,
        random=True,
    ),
    Entry(
        "centre-gaussian",
        "control",
        "magnitude",
        "control",
        "Control: a bump in the middle of the image, where photographers put things.\nNothing is looked at.",
        lambda net, x, target, o, progress: centre_gaussian(x),
        passes(0, 0),
        black_box=True,
    ),
    Entry(
        "edges",
        "control",
        "magnitude",
        "Adebayo et al. 2018; control",
        "Control: the image's own edges, Sobel's gradient magnitude.\nThe network is not looked at.",
        lambda net, x, target, o, progress: edge_maps(x),
        passes(0, 0),
        black_box=True,
    ),
)
