"""What each measure says, which way is better, what it costs, and where it is known to mislead."""

from dataclasses import dataclass
from typing import Literal

from saliency._names import Named


@dataclass(frozen=True)
class Measure:
    """What a figure says, and which way is better; "neither" where it describes and does not judge.

    `function` is the name in `saliency.faithfulness`; `cost` what one image takes beside its map, in words; `caution`
    where the figure is known to mislead.

    >>> from saliency.faithfulness import MEASURES
    >>> MEASURES["road"].better, MEASURES["road"].function
    ('higher', 'road')
    """

    better: Literal["higher", "lower", "neither"]
    summary: str
    source: str
    function: str
    cost: str
    caution: str


_MEASURES = {
    "insertion": Measure(
        "higher",
        "Area under the class probability while the map's pixels come back into a blurred image, highest first.",
        "Petsiuk et al. 2018",
        "insertion",
        "steps + 1 forward passes",
        "Images of half their pixels are like none that the network was trained on, and one that is sure of few pixels"
        " gains by that; smooth maps do better than scattered ones of the same pixels' worth.",
    ),
    "deletion": Measure(
        "lower",
        "Area under the class probability while the map's pixels are greyed out, highest first.",
        "Petsiuk et al. 2018",
        "deletion",
        "steps + 1 forward passes",
        "Scattered pixels, as an adversary would pick them, score best whether or not they are what was looked at; the"
        " figure follows the fill.",
    ),
    "road": Measure(
        "higher",
        "Class probability with the map's lowest pixels replaced by what their neighbours foretell, less that with its"
        " highest replaced; half of it, the mean over shares.",
        "Rong et al. 2022",
        "road",
        "2 forward passes a share, and as many sparse systems of up to all pixels to solve (seconds)",
        "A coarse map's ties are broken in reading order; what the shape of the removed region gives away is less than"
        " with grey, and not nothing.",
    ),
    "drop": Measure(
        "lower",
        "Share of the class probability that is lost where only what the map shows is left of the image.",
        "Chattopadhay et al. 2018",
        "confidence",
        "2 forward passes",
        "A map that shows the whole image wins; read it beside entropy. Negative values are taken for 0.",
    ),
    "increase": Measure(
        "higher",
        "Share of images whose class probability rises where only what the map shows is left.",
        "Chattopadhay et al. 2018",
        "confidence",
        "2 forward passes, the same as for drop",
        "Of a few images it moves in large steps, and how far the probability rises does not count.",
    ),
    "infidelity": Measure(
        "lower",
        "Mean square by which the map's sum over a hidden square misses the drop of the score, the map scaled at best.",
        "Yeh et al. 2019",
        "infidelity",
        "1 + masks forward passes",
        "In squared units of the score, so images with large logits dominate a mean; a map of zeros is not far from the"
        " best where most squares change nothing.",
    ),
    "correlation": Measure(
        "higher",
        "Rank correlation, over random sets of cells, of the map's sum there and the score's drop without them"
        " (muFidelity).",
        "Bhatt et al. 2020; Fel et al. 2021",
        "faithfulness_correlation",
        "1 + masks forward passes",
        "Noise for few sets; the order of methods can change with the fill and with the size of the sets.",
    ),
    "completeness": Measure(
        "lower",
        "How far the map's sum misses the score's difference from the fill, as a share of that difference.",
        "Sundararajan et al. 2017",
        "completeness",
        "2 forward passes",
        "Only signed maps in the score's units claim it; of no other is it a fault to miss it.",
    ),
    "sic": Measure(
        "higher",
        "Area under the class probability against the information shown, as the map's pixels sharpen a blurred image.",
        "Kapishnikov et al. 2019",
        "information_curve",
        "15 forward passes, and as many triangulations of the image's pixels (seconds)",
        "Images of a class the network is not sure of are left out: the mean is over the others. Information is the"
        " size of a lossless file.",
    ),
    "aic": Measure(
        "higher",
        "The same with whether the class is still the predicted one in place of its probability.",
        "Kapishnikov et al. 2019",
        "information_curve",
        "as for sic",
        "All or nothing for each image; the mean over few images moves in steps.",
    ),
    "pointing": Measure(
        "higher",
        "Share of images whose map peaks within 15 px of a true box.",
        "Zhang et al. 2016",
        "pointing_game",
        "nothing",
        "Looks at one pixel; the middle of the photo does well wherever photographers centre their objects.",
    ),
    "energy": Measure(
        "higher",
        "Share of the map's positive mass inside the true boxes.",
        "Wang et al. 2020",
        "energy_pointing_game",
        "nothing",
        "Large boxes are easy: compare with the controls. A classifier may rightly look outside of the box.",
    ),
    "rank": Measure(
        "higher",
        "Share of the map's highest pixels, as many as the true region has, that lie in it.",
        "Arras et al. 2022",
        "relevance_rank",
        "nothing",
        "As for energy: what a map without any knowledge gets is the region's share of the photo.",
    ),
    "auc": Measure(
        "higher",
        "How surely a pixel of the true region is above one outside of it: area under the ROC curve.",
        "Fawcett 2006; Quantus",
        "roc_auc",
        "nothing",
        "One half is chance, whatever the region's size; says nothing of how much higher.",
    ),
    "pxap": Measure(
        "higher",
        "Average precision of the pixels of all images against masks, each map scaled to 0..1.",
        "Choe et al. 2020",
        "pxap",
        "nothing",
        "One figure for all images, so a map's scale within its image counts; needs masks.",
    ),
    "sparsity": Measure(
        "neither",
        "Gini index of the absolute map: 0 even, 1 one pixel.",
        "Chalasani et al. 2020",
        "sparsity",
        "nothing",
        "Sparse is not right: one arbitrary pixel is the sparsest map.",
    ),
    "entropy": Measure(
        "neither",
        "Entropy of the absolute map as a distribution over pixels, in nats; large where it is spread.",
        "Bhatt et al. 2020",
        "entropy",
        "nothing",
        "As for sparsity; its largest value is the logarithm of the number of pixels.",
    ),
    "stability": Measure(
        "higher",
        "Spearman correlation with the map of the image under faint noise.",
        "after Yeh et al. 2019",
        "stability",
        "one more map",
        "A map that does not look at the image is the most stable of all.",
    ),
    "sensitivity": Measure(
        "lower",
        "Largest change of the map, as a share of its norm, for images within 2% of the image's range.",
        "Yeh et al. 2019",
        "sensitivity",
        "8 more maps",
        "As for stability: a constant map has none. The largest of more draws is larger.",
    ),
    "sanity": Measure(
        "lower",
        "Spearman correlation with the map of the network with randomised weights.",
        "Adebayo et al. 2018",
        "sanity",
        "one more map for each layer that is randomised",
        "Edges of the image survive in any network's map and raise it; noise in a map lowers it, which is no merit.",
    ),
    "random logit": Measure(
        "lower",
        "Spearman correlation with the map of another class, drawn at random.",
        "Sixt et al. 2020",
        "random_logit",
        "one more map",
        "Two classes may rightly rest on the same pixels, of one object in the photo most of all.",
    ),
    "agreement": Measure(
        "neither",
        "Spearman correlation, and overlap of the top pixels, of two methods.",
        "-",
        "agreement",
        "nothing",
        "Methods that share a fault agree too.",
    ),
}
MEASURES = Named("measure", _MEASURES)
