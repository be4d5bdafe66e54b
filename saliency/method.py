"""What a method of the menu is: its name, family, sign, source and summary, how it makes maps and what they cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
from jaxtyping import Float

from saliency._checks import ImagesLike, Pair
from saliency.maps.gradient import Progress
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
class Shared:
    """Passes that several methods have in common.

    `passes` says in words which they are: methods whose words are the same can be made together. `kind` is what this
    one makes of them, and `run(net, x, kinds, target)` makes several at once, float32 `[n, kinds, h, w]`, each as the
    method alone would.
    """

    passes: str
    kind: str
    run: Callable[[Any, np.ndarray, Sequence[Any], Target], np.ndarray]


@dataclass(frozen=True)
class Method:
    """One way to make maps. `summary` is two lines; `black_box`: whether a mere function from images to scores will do.

    `family`: one of FAMILIES, what a method builds on. `sign`: "magnitude" maps are at least 0; in "signed" ones a
    positive pixel supports the score. `source`: the paper. `random`: whether `Options.seed` matters whatever the other
    options; `layered`: whether `Options.layer` does; `by_image`: whether images are done one after another, so that
    their number changes nothing of what is compiled.
    `shared(options)` says which passes it has in common with others (None: none): methods of the same ones can be made
    together, at about the cost of one.
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
    shared: Callable[[Options], Shared] | None = None
