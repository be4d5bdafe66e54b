"""A classifier of which nothing is known but what it answers: any function from images to scores.

A `ScoreFunction` takes images `[k, h, w, c]` as JAX arrays and gives one score each, `[k]`, as an array of any library.
One that gives `[k, classes]` will do where a target says which column is the score.
"""

from collections.abc import Callable
from functools import partial

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from saliency._checks import as_array, as_images, described, kind_of
from saliency.errors import InputError
from saliency.models.network import Network, check_input
from saliency.models.preprocessing import Preprocessing

ScoreFunction = Callable[[Float[jax.Array, "k h w c"]], ArrayLike]
Classifier = Network | ScoreFunction


def classifier_input(net: Classifier, x: object, to: str | None = None) -> Float[np.ndarray, "n h w c"]:
    """The door of what takes black boxes as well as networks: for a network `check_input`, for any other function
    images of numbers `[n, h, w, c]` as float32 (float64 where JAX has it enabled). Raises InputError."""
    if isinstance(net, Network):
        return check_input(net, x, to)
    if not callable(net):
        raise InputError(f"net must be a Network, as load_network gives it, or a function, not {described(net)}")
    return as_images("x", x)


def entry(net: Classifier, preprocess: Preprocessing | None) -> Preprocessing | None:
    """How pixels 0..255 become input: a network knows, of a black box it is stated, or not known (None)."""
    if preprocess is not None:
        kind_of("preprocess", preprocess, Preprocessing, "how pixels become the images of a black box")
    if not isinstance(net, Network):
        return preprocess
    if preprocess not in (None, net.preprocess):
        raise InputError("preprocess is for a black box; a network has its own, net.preprocess")
    return net.preprocess


def columns_of(target: object, n: int) -> Int[np.ndarray, " n"]:
    """Which column of a black box's answer is each image's score; -1 where no target says so."""
    targets = np.asarray(-1) if target is None else np.asarray(target)
    if not targets.size and not n:
        return np.empty(0, int)
    if targets.dtype.kind not in "iu" or targets.ndim > 1 or targets.size not in (1, n):
        raise InputError(
            f"target must be one column of what net gives or one for each of the {n} images, not {described(target)}"
        )
    return np.broadcast_to(targets.reshape(-1), (n,)).astype(int)


def scores_of(
    net: ScoreFunction, images: Float[jax.Array, "k h w c"], columns: Int[np.ndarray, " k"] | int
) -> Float[np.ndarray, " k"]:
    """One score each, from the columns of the answer where it has any. Raises InputError for an answer of another
    shape: a mean over the images, or every class's score while no target says which."""
    k = len(images)
    answer = as_array("what net gives", net(images), "one score for each image")
    if answer.shape in ((k,), (k, 1)):
        return answer.reshape(k)
    if answer.ndim != 2 or len(answer) != k:
        raise InputError(f"net must give one score for each image: [{k}] for {k} images, not {list(answer.shape)}")
    columns = np.broadcast_to(columns, k)
    if (columns == -1).any():
        raise InputError(
            f"net gives {answer.shape[1]} numbers for each image: say by target which is the score, or give one alone"
        )
    if not (0 <= columns.min() and columns.max() < answer.shape[1]):
        raise InputError(
            f"target must lie in 0..{answer.shape[1] - 1}, the columns of what net gives,"
            f" not {columns.min()}..{columns.max()}"
        )
    return answer[np.arange(k), columns]


def score_functions(
    net: ScoreFunction, n: int, target: object
) -> list[Callable[[Float[jax.Array, "k h w c"]], Float[np.ndarray, " k"]]]:
    """For each of n images the function from its changed copies to their scores."""
    return [partial(scores_of, net, columns=column) for column in columns_of(target, n).tolist()]
