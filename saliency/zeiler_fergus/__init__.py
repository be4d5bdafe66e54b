"""How one classifier depends on the parts of a photo: Zeiler & Fergus 2014, section 4 and figure 7 (seed 000).

One photo is a normalised float32 `[h, w, 3]`; probabilities are softmax values in 0..1; boxes are
`x0 y0 x1 y1` in pixels of the network's input; what fills a hidden part is an image of the same shape.
"""

from saliency.maps.ranks import rank_correlations
from saliency.zeiler_fergus.interactions import interactions, separate
from saliency.zeiler_fergus.regions import (
    Measure,
    RegionRow,
    correspondence,
    feature_layers,
    region_table,
    sign_change,
)
from saliency.zeiler_fergus.sweep import Sweep, probabilities, ranked, sweep

__all__ = [
    "Measure",
    "RegionRow",
    "Sweep",
    "correspondence",
    "feature_layers",
    "interactions",
    "probabilities",
    "rank_correlations",
    "ranked",
    "region_table",
    "separate",
    "sign_change",
    "sweep",
]
