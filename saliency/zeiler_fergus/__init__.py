"""How one classifier depends on the parts of a photo: Zeiler & Fergus 2014, section 4 and figure 7.

One photo is a normalised float32 `[h, w, 3]`; probabilities are softmax values in 0..1; boxes are
`x0 y0 x1 y1` in pixels of the network's input; what fills a hidden part is an image of the same shape.
"""

from saliency.maps.ranks import rank_correlations
from saliency.zeiler_fergus.analysis import OcclusionAnalysis, analyze_occlusion
from saliency.zeiler_fergus.interactions import interactions, separate
from saliency.zeiler_fergus.measuring import Options, PhotoAnalysis
from saliency.zeiler_fergus.regions import (
    Measure,
    RegionRow,
    correspondence,
    feature_layers,
    region_table,
    sign_change,
)
from saliency.zeiler_fergus.subjects import Region, parse_region, read_regions
from saliency.zeiler_fergus.sweep import Sweep, probabilities, ranked, sweep

__all__ = [
    "Measure",
    "OcclusionAnalysis",
    "Options",
    "PhotoAnalysis",
    "Region",
    "RegionRow",
    "Sweep",
    "analyze_occlusion",
    "correspondence",
    "feature_layers",
    "interactions",
    "parse_region",
    "probabilities",
    "rank_correlations",
    "ranked",
    "read_regions",
    "region_table",
    "separate",
    "sign_change",
    "sweep",
]
