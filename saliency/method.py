"""What a method of the menu is: its name, family, sign, source and summary, how it makes maps and what they cost."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
from jaxtyping import Float

from saliency._checks import ImagesLike, Pair
from saliency.maps.gradient import Aggregate, Progress
from saliency.models.black_box import Classifier
from saliency.options.methods import Options
from saliency.scores import Target

Sign = Literal["magnitude", "signed"]
Family = Literal["gradient", "path", "class activation", "attention", "relevance", "perturbation", "control"]
FAMILIES: tuple[Family, ...] = get_args(Family)


@dataclass(frozen=True)
class Cost:
    """Passes of a plain implementation for one image, its target given; and how many passes' multiplications are saved,
    as the incremental engine leaves out what a window cannot change.

    >>> import saliency
    >>> saliency.METHODS["rise"].cost(saliency.load_network("scenes_cnn"), (96, 96))
    Cost(forwards=512, backwards=0, saved=0.0)
    """

    forwards: int
    backwards: int
    saved: float = 0.0


DEFAULTS = Options()


class Maps(Protocol):
    """Maps float32 `[n, h, w]`.

    `target`: class indices or names, default the predicted class; Gestalt scores and controls have none. `net` is a
    network or, for some methods, any function from images `[k, h, w, c]` to scores `[k]`, or to `[k, classes]` of which
    `target` says the column.
    Raises InputError for a network, image, target or option that does not suit.
    """

    def __call__(
        self,
        net: Classifier,
        x: ImagesLike,
        *,
        target: Target = None,
        options: Options = DEFAULTS,
        progress: Progress | None = None,
    ) -> Float[np.ndarray, "n h w"]: ...


class CostFunction(Protocol):
    """What one image of (height, width) costs; InputError where the method does not suit the network."""

    def __call__(self, net: Classifier, size: Pair, options: Options = DEFAULTS) -> Cost: ...


@dataclass(frozen=True)
class Method:
    """One way to make maps. `summary` is two lines; `black_box`: whether a mere function from images to scores will do.

    `family`: one of FAMILIES, what a method builds on. `sign`: "magnitude" maps are at least 0; in "signed" ones a
    positive pixel supports the score. `source`: the paper. `random`: whether `Options.seed` matters whatever the other
    options; `layered`: whether `Options.layer` does; `by_image`: whether images are done one after another, so that
    their number changes nothing of what is compiled.
    `gradient(options)` says of which score a map is the gradient by the pixels, and how the channels were reduced,
    where it is just that (None: it is not): methods that differ in this alone can be made of one pass.
    `maps(net, x, target=, options=, progress=)` makes them, `cost(net, size, options)` says what one image costs.

    >>> import numpy as np, saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> method = saliency.METHODS["grad-cam"]
    >>> method.family, method.sign, method.maps(net, net.preprocess(np.zeros((1, 96, 96, 3), np.uint8))).shape
    ('class activation', 'magnitude', (1, 96, 96))
    """

    name: str
    family: Family
    sign: Sign
    source: str
    summary: str
    maps: Maps
    cost: CostFunction
    black_box: bool
    random: bool = False
    layered: bool = False
    by_image: bool = False
    gradient: Callable[[Options], tuple[str, Aggregate]] | None = None
