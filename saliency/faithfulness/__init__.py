"""How good a map is without a box fitted to it, and how much maps agree.

Maps are float `[n, h, w]`, images as for `methods`. A measure gives one float per image, NaN for a map that cannot be
ranked: one with NaN in it, or constant. `MEASURES` says of each which direction is better, what it costs, and where it
is known to mislead.
"""

from typing import TYPE_CHECKING

from saliency._lazy import attached

if TYPE_CHECKING:
    from saliency.faithfulness.complexity import effective_complexity, entropy, sparsity
    from saliency.faithfulness.curves import Curves, deletion, insertion
    from saliency.faithfulness.explanation_maps import Confidence, confidence
    from saliency.faithfulness.imputation import Road, noisy_linear_imputation, road
    from saliency.faithfulness.information import Information, information_curve
    from saliency.faithfulness.measures import MEASURES, Measure
    from saliency.faithfulness.nearby import Sensitivity, sensitivity, stability
    from saliency.faithfulness.pairs import Agreement, agreement, rank_correlation, top_overlap
    from saliency.faithfulness.perturbations import completeness, faithfulness_correlation, infidelity
    from saliency.faithfulness.quantus import to_quantus
    from saliency.faithfulness.randomisation import entropy_rise, random_logit, sanity
    from saliency.faithfulness.regions import (
        box_masks,
        energy_pointing_game,
        pointing_game,
        pxap,
        relevance_mass,
        relevance_rank,
        roc_auc,
        top_in_mask,
    )

__getattr__, __dir__ = attached(__name__)

__all__ = [
    "MEASURES",
    "Agreement",
    "Confidence",
    "Curves",
    "Information",
    "Measure",
    "Road",
    "Sensitivity",
    "agreement",
    "box_masks",
    "completeness",
    "confidence",
    "deletion",
    "effective_complexity",
    "energy_pointing_game",
    "entropy",
    "entropy_rise",
    "faithfulness_correlation",
    "infidelity",
    "information_curve",
    "insertion",
    "noisy_linear_imputation",
    "pointing_game",
    "pxap",
    "random_logit",
    "rank_correlation",
    "relevance_mass",
    "relevance_rank",
    "road",
    "roc_auc",
    "sanity",
    "sensitivity",
    "sparsity",
    "stability",
    "to_quantus",
    "top_in_mask",
    "top_overlap",
]
