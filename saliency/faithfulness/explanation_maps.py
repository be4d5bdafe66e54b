"""Average drop and increase in confidence: what the classifier says where only what the map shows is left."""

from dataclasses import dataclass

import numpy as np

from saliency._checks import ImagesLike, MapsLike, PerImage
from saliency.faithfulness.curves import class_scores, paired_maps
from saliency.maps.black_box import of_each
from saliency.maps.gradient import Progress
from saliency.maps.status import usable
from saliency.models.black_box import Classifier, classifier_input, entry
from saliency.models.preprocessing import Preprocessing
from saliency.occlusion.windows import Fill, fill_images
from saliency.scores import Target, last_layer


@dataclass(frozen=True)
class Confidence:
    """The class probability of the `whole` image `[n]`, and of what is `seen` through the map `[n]`.

    >>> import numpy as np
    >>> from saliency.faithfulness import Confidence
    >>> found = Confidence(np.array([0.8, 0.2]), np.array([0.6, 0.3]))
    >>> found.drop.round(3).tolist(), found.increase.tolist()
    ([0.25, 0.0], [0.0, 1.0])
    """

    whole: PerImage
    seen: PerImage

    @property
    def drop(self) -> PerImage:
        """The share of the probability that is lost, 0 where it rises; its mean is the average drop."""
        return np.maximum(self.whole - self.seen, 0) / self.whole

    @property
    def increase(self) -> PerImage:
        """1 where it rises, else 0; its mean is the increase in confidence."""
        return np.where(np.isnan(self.seen), np.nan, self.seen > self.whole)


def confidence(
    net: Classifier,
    x: ImagesLike,
    maps: MapsLike,
    *,
    target: Target = None,
    fill: Fill | np.ndarray = "grey",
    seed: int = 0,
    preprocess: Preprocessing | None = None,
    progress: Progress | None = None,
) -> Confidence:
    """The image times its map, and `fill` times the rest: the map's positive part, scaled to 0..1 in each image.

    Arguments and what is raised as for `deletion`. NaN for a map that says nothing or has no positive part that
    differs from place to place. Chattopadhay et al. 2018, section 4.1, where the fill is black.

    >>> import numpy as np
    >>> from saliency import faithfulness
    >>> maps = np.zeros((1, 4, 6)); maps[0, :2] = 3.0
    >>> brightness = lambda images: images.mean((1, 2, 3))
    >>> faithfulness.confidence(brightness, np.full((1, 4, 6, 3), 100.0), maps, fill=0).drop.tolist()
    [0.5]
    """
    x = classifier_input(net, x, last_layer(net, "log_probability"))
    positive = np.maximum(paired_maps(x, maps), 0)
    hidden = fill_images(x, fill, entry(net, preprocess), seed)
    score, ranked = class_scores(net, x, target), usable(positive)

    def both(i: int) -> np.ndarray:
        if not ranked[i]:
            return np.array([score(i, x[i : i + 1])[0], np.nan])
        low, high = float(positive[i].min()), float(positive[i].max())
        shown = ((positive[i] - low) / (high - low))[..., None]
        return score(i, np.stack([x[i], shown * x[i] + (1 - shown) * hidden[i]]).astype(x.dtype))

    found = np.reshape(of_each(net, both, len(x), progress), (len(x), 2))
    return Confidence(found[:, 0], found[:, 1])
