"""What a map explains: one number per image. Gradient and occlusion take the same score, so they explain the same.

- logit: the target class's pre-softmax value (Simonyan et al. 2013), `net(x)`'s own.
- logit_before_relu: the same before the network's last ReLU, after which gradients can vanish: SqueezeNet's.
- log_probability: its log-softmax; of classes that do not exclude one another, and of one output, its log-sigmoid.
- probability: the softmax, or the sigmoid, itself.
- contrast: the target class's logit minus that of another class: why this one and not that one.
- finer: the target class's logit less 0.6 times the mean of the three logits nearest to it: what tells the class from
  those it is taken for (Finer-CAM, Zhang et al. 2025, Eq. 7).
- gestalt: the mean over height, width and channels of one layer's activations, by default the last
  convolution's (Fast Object Localization via Sensitivity Analysis, Eq. 3); it knows of no class.
- function: any function of the logits, `Score(function=f)`.

A network with one output and a sigmoid has two classes: 1, whose logit is the output, and 0, whose logit is minus that.
A target is a class index per image; -1 stands for the class the network predicts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from saliency._batches import default_batch, map_batches, shard_batch
from saliency._checks import ImagesLike, as_array, described, one_of, whole
from saliency._names import near_names
from saliency._programs import kept
from saliency.errors import InputError
from saliency.models.classes import match_labels
from saliency.models.graph import Architecture, Weights
from saliency.models.network import Network, after, check_input, upto

Kind = Literal[
    "logit", "logit_before_relu", "log_probability", "probability", "contrast", "finer", "gestalt", "function"
]
Function = Callable[[Float[Array, "n classes"]], Float[Array, " n"]]
Target = int | str | Sequence[int | str] | np.ndarray | Array | None
PREDICTED = -1
NEAREST, SHARE = 3, 0.6  # of a finer score: how many other classes, and how much of their mean logit is taken off


@dataclass(frozen=True)
class Score:
    """What a map explains, one number per image: a kind, and what belongs to it.

    `kind` is one of those the module lists. `layer` is the one whose mean a Gestalt total takes (None: the last
    convolution's), `against` the class index that a contrast sets the target against, `function` any JAX function from
    logits `[n, classes]` to numbers `[n]`, each of its own row (its kind is "function", stated or not). Called with an
    architecture, its weights, images and targets it gives the scores. Raises InputError for other values.

    >>> import saliency
    >>> str(saliency.Score("gestalt", "relu2_1")), str(saliency.Score("contrast", against=3))
    ('gestalt:relu2_1', 'contrast:3')
    """

    kind: Kind = "logit"
    layer: str | None = None
    against: int | None = None
    function: Function | None = None

    def __post_init__(self) -> None:
        if self.function is not None and self.kind == "logit":
            object.__setattr__(self, "kind", "function")
        one_of("kind", self.kind, get_args(Kind))
        if self.layer is not None and (self.kind != "gestalt" or not isinstance(self.layer, str)):
            raise InputError(f"layer must be the name of a layer, and of a gestalt score only, not {self.layer!r}")
        if (self.kind == "contrast") != (self.against is not None):
            raise InputError(f"against must be a class index, and of a contrast only, not {self.against!r}")
        if self.against is not None:
            whole("against", self.against)
        if (self.kind == "function") != callable(self.function):
            raise InputError(f"function must be a function of logits, and of that kind of score, not {self.function!r}")

    def __str__(self) -> str:
        if self.function is not None:
            return f"function:{getattr(self.function, '__name__', type(self.function).__name__)}"
        detail = self.layer if self.against is None else self.against
        return self.kind if detail is None else f"{self.kind}:{detail}"

    @property
    def of_one_logit(self) -> bool:
        """Whether it is the target's logit alone: then no other has to be computed."""
        return self.kind in ("logit", "logit_before_relu")

    def layer_in(self, architecture: Architecture) -> str:
        """The last layer that has to be computed for this score."""
        if self.kind == "gestalt":
            return architecture.require(self.layer or architecture.gestalt_layer)
        architecture.require_logits()
        return architecture.last

    def explained(self, architecture: Architecture) -> Architecture:
        """The network whose logits are scored."""
        if self.kind != "logit_before_relu":
            return architecture
        if not architecture.logit_bypass:
            raise InputError(f"{architecture.name} has no ReLU after its last convolution: its score is logit")
        return architecture.without(*architecture.logit_bypass)

    def __call__(
        self,
        architecture: Architecture,
        weights: Weights,
        x: Float[Array, "n h w c"],
        targets: Int[Array | np.ndarray, " n"],
    ) -> Float[Array, " n"]:
        """Scores of normalised images. Pure, and differentiable in `x` and `weights`."""
        if self.kind == "gestalt":
            activation = architecture.upto(weights, x, self.layer_in(architecture))
            return activation.mean(range(1, activation.ndim))
        return self.of_activations(architecture, weights, architecture.activations(weights, x), targets)

    def of_activations(
        self,
        architecture: Architecture,
        weights: Weights,
        activations: Mapping[str, Array],
        targets: Int[Array | np.ndarray, " n"],
    ) -> Float[Array, " n"]:
        """The score, from all activations of the network up to its logits; of a Gestalt total there is none."""
        logits = activations[architecture.last]
        targets = settled_targets(architecture, logits, targets)
        explained = self.explained(architecture)
        if explained is not architecture:
            before = architecture.by_name[architecture.logit_bypass[0]].inputs[0]
            logits = explained.after(weights, activations[before], before)
        return self.of_logits(architecture, logits, targets)

    def of_logits(
        self, architecture: Architecture, logits: Float[Array, "n classes"], targets: Int[Array, " n"]
    ) -> Float[Array, " n"]:
        """The score, from the logits that `explained` gives; of a Gestalt total there is none."""
        if self.function is not None:
            scores = self.function(logits)
            if scores.shape != logits.shape[:1]:
                raise InputError(
                    f"function must give one number for each row of logits, [n], not {list(scores.shape)} for"
                    f" {list(logits.shape)}"
                )
            return scores
        logits = class_logits(architecture, logits)
        if self.kind in ("log_probability", "probability"):
            logits = log_probabilities(logits, architecture.probabilities)
        score = jnp.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
        if self.kind == "contrast":
            if not self.against < logits.shape[-1]:  # type: ignore[operator]
                raise InputError(f"against must lie in 0..{logits.shape[-1] - 1}, not {self.against}")
            return score - logits[:, self.against]
        if self.kind == "finer":
            return score - SHARE * _nearest(logits, targets).mean(-1)
        return jnp.exp(score) if self.kind == "probability" else score


def _nearest(logits: Float[Array, "n classes"], targets: Int[Array, " n"]) -> Float[Array, "n k"]:
    """The other classes' logits that are nearest to each target's."""
    if logits.shape[-1] < 2:
        raise InputError("a finer score sets a class against others: it takes a network of two classes at least")
    own = jnp.take_along_axis(logits, targets[:, None], axis=-1)
    away = jnp.where(jnp.arange(logits.shape[-1])[None] == targets[:, None], jnp.inf, jnp.abs(logits - own))
    nearest = jnp.argsort(jax.lax.stop_gradient(away), axis=-1)[:, : min(NEAREST, logits.shape[-1] - 1)]
    return jnp.take_along_axis(logits, nearest, axis=-1)


def class_logits(architecture: Architecture, logits: Float[Array, "*n outputs"]) -> Float[Array, "*n classes"]:
    """A logit for each class: one output with a sigmoid tells two apart."""
    if architecture.probabilities == "sigmoid" and logits.shape[-1] == 1:
        return jnp.concatenate([-logits, logits], -1)
    return logits


def log_probabilities(
    logits: Float[Array, "*n classes"], by: Literal["softmax", "sigmoid"] = "softmax"
) -> Float[Array, "*n classes"]:
    """Log-softmax, or the log of each logit's own sigmoid; of a single output always that, its softmax would be 1."""
    if by == "sigmoid" or logits.shape[-1] == 1:
        return jax.nn.log_sigmoid(logits)
    return jax.nn.log_softmax(logits)


def probabilities(logits: ArrayLike) -> Float[np.ndarray, "*n classes"]:
    """Class probabilities of logits `[..., classes]`, in float64: their softmax; of a single output its sigmoid.

    >>> import saliency
    >>> saliency.probabilities([[0.0, 0.0], [-1000.0, 1000.0]]).tolist(), saliency.probabilities([[0.0]]).tolist()
    ([[0.5, 0.5], [0.0, 1.0]], [[0.5]])
    """
    values = as_array("logits", logits, "numbers [..., classes]").astype(float)
    if not values.ndim or not values.shape[-1]:
        raise InputError(f"logits must be numbers [..., classes], not {list(values.shape)}")
    if values.shape[-1] == 1:
        return np.exp(-np.logaddexp(0, -values))
    powers = np.exp(values - values.max(-1, keepdims=True, initial=-np.inf))
    return powers / powers.sum(-1, keepdims=True)


def class_probabilities(
    architecture: Architecture, logits: Float[np.ndarray, "*n outputs"]
) -> Float[np.ndarray, "*n classes"]:
    """The network's own probabilities of its classes, in float64: the softmax of its logits, or of a network that ends
    in sigmoids each logit's own; its one output's tells two classes apart, 0 and 1."""
    if architecture.probabilities != "sigmoid":
        return probabilities(logits)
    values = np.asarray(logits, float)[..., None]
    own = probabilities(values)[..., 0]
    return np.concatenate([probabilities(-values)[..., 0], own], -1) if own.shape[-1] == 1 else own


def as_score(score: str | Score) -> Score:
    """A kind as a Score; "gestalt:LAYER" and "contrast:CLASS" too. InputError for anything else."""
    if isinstance(score, Score):
        return score
    kind, _, detail = score.partition(":") if isinstance(score, str) else ("", "", "")
    if kind == "contrast" and detail.isdecimal():
        return Score("contrast", against=int(detail))
    allowed = [each for each in get_args(Kind) if each not in ("contrast", "function")]
    if kind not in allowed or (detail and kind != "gestalt"):
        raise InputError(
            f"score must be one of {', '.join(allowed)}, gestalt:LAYER or contrast:CLASS (an index), not {score!r}"
        )
    return Score(kind, detail or None)  # type: ignore[arg-type]


def last_layer(net: object, score: str | Score) -> str | None:
    """The last layer of a network that a score needs; None for a black box."""
    return as_score(score).layer_in(net.architecture) if isinstance(net, Network) else None


def as_targets(target: Target, n: int, classes: int, names: Sequence[str] = ()) -> Int[np.ndarray, " n"]:
    """One class index per image; None becomes -1, the predicted class. InputError for a wrong count or range.

    Where the classes have `names`, these do as well as indices: "dingo", or one for each image.
    """
    said = f"target must be one class index or one for each of the {n} images, not {described(target)}"
    if names and isinstance(target, list | tuple | np.ndarray) and any(isinstance(one, str) for one in target):
        target = [_class_index(one, names) if isinstance(one, str) else one for one in target]
    if isinstance(target, str):
        if not names:
            raise InputError(f"{said}; the network's classes have no names: load_network(..., classes=FILE)")
        target = _class_index(target, names)
    try:
        targets = np.full(n, PREDICTED) if target is None else as_array("target", target)
    except InputError:
        raise InputError(said) from None
    if not targets.size and not n:
        return np.empty(0, np.int32)
    if not np.issubdtype(targets.dtype, np.integer) or targets.ndim > 1 or targets.size not in (1, n):
        raise InputError(said)
    if targets.size and not (-1 <= targets.min() and targets.max() < classes):
        low, high = targets.min(), targets.max()
        raise InputError(f"target must lie in 0..{classes - 1} (-1: the predicted class), not {low}..{high}")
    return np.broadcast_to(targets.reshape(-1), (n,)).astype(np.int32)


def _class_index(name: str, names: Sequence[str]) -> int:
    """The class that is called so (`saliency.models.classes.match_labels`), or InputError with those nearest to it."""
    match = match_labels([name], names)
    if name in match.ambiguous:
        several = ", ".join(map(str, match.ambiguous[name]))
        raise InputError(f"target {name!r} is the name of classes {several}: give the index")
    if match.unknown:
        raise InputError(f"target {name!r} is no class of the network{near_names(name, names)}")
    return int(match.indices[0])


def require_classes(net: Network) -> None:
    """InputError for a network with one output: no label could be wrong, and every accuracy would be 1."""
    if class_count(net.architecture) < 2:
        raise InputError(f"{net.name} has one output; to be right or wrong takes two classes at least")


def class_count(architecture: Architecture) -> int:
    return architecture.class_count


def targets_for(net: Network, n: int, score: Score, target: Target) -> Int[np.ndarray, " n"]:
    """`as_targets` of a network's classes; a Gestalt total asks for none, so features alone will do."""
    alone = score.kind == "gestalt" and net.architecture.headless
    return as_targets(target, n, np.iinfo(np.int32).max if alone else class_count(net.architecture), net.classes)


def logits(net: Network, x: ImagesLike, batch: int | None = None) -> Float[np.ndarray, "n classes"]:
    """The published logits of normalised images, float `[n, classes]`, `batch` images at a time (default: as many as
    suit the machine); the last batch is padded.

    >>> import numpy as np, saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> x = net.preprocess(np.zeros((1, 96, 96, 3), np.uint8))
    >>> saliency.logits(net, x).shape
    (1, 10)
    """
    x = check_input(net, x)
    net.architecture.require_logits()
    whole("batch", batch, least=1, optional=True)
    batch = batch or default_batch(net.architecture, x.shape, net.architecture.last)
    architecture, weights = net.architecture, net.weights
    classes = architecture.shapes(*architecture.size)[architecture.last][-1]
    layer = architecture.gestalt_layer

    def batch_logits(i: np.ndarray) -> Array:
        """In two programs, of which Grad-CAM takes the first, and the long one, too."""
        if layer not in architecture.passages:
            return upto(weights, shard_batch(x, i), architecture=architecture)
        features = upto(weights, shard_batch(x, i), layer=layer, architecture=architecture)
        return after(weights, features, layer=layer, architecture=architecture)

    return map_batches(batch_logits, len(x), batch, (classes,))


def predicted(net: Network, x: ImagesLike) -> Int[np.ndarray, " n"]:
    """The class with the largest published logit, per image."""
    return _largest(net, logits(net, x))


def _largest(net: Network, found: Float[np.ndarray, "n outputs"]) -> Int[np.ndarray, " n"]:
    return np.asarray(class_logits(net.architecture, jnp.asarray(found))).argmax(-1).astype(np.int32)


def resolve_targets(
    net: Network, x: Float[np.ndarray, "n h w c"], score: Score, target: Target
) -> Int[np.ndarray, " n"]:
    """`as_targets` with the predicted class of the images themselves for -1, for methods that go on to change them."""
    targets = targets_for(net, len(x), score, target)
    if score.kind != "gestalt" and (targets < 0).any():
        targets = np.where(targets < 0, predicted(net, x), targets)
    return targets


def score_values(
    net: Network, x: Float[np.ndarray, "n h w c"], score: Score, targets: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """The score of each image, in batches of one compiled shape: that of `logits`, where these are all it needs."""
    weights, architecture = net.weights, net.architecture
    if _of_logits_alone(net, score):
        return _of_all_logits(net, logits(net, x), score, targets)

    def values(i: np.ndarray) -> Array:
        inputs = shard_batch(x, i), shard_batch(targets, i)
        return score_of_batch(weights, *inputs, architecture=architecture, score=score)

    return map_batches(values, len(x), default_batch(architecture, x.shape, score.layer_in(architecture)), ())


def _of_logits_alone(net: Network, score: Score) -> bool:
    return score.kind != "gestalt" and score.explained(net.architecture) is net.architecture


def _of_all_logits(
    net: Network, found: Float[np.ndarray, "n outputs"], score: Score, targets: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    if not len(found):
        return found[:, 0]
    return np.asarray(_of_logits(found, targets, architecture=net.architecture, score=score))


@kept("architecture", "score")
def _of_logits(logits: Array, targets: Array, *, architecture: Architecture, score: Score) -> Array:
    return score.of_logits(architecture, logits, settled_targets(architecture, logits, targets))


def settled_targets(
    architecture: Architecture, logits: Array, targets: Int[Array | np.ndarray, " n"]
) -> Int[Array, " n"]:
    """The predicted class for a target below 0."""
    return jnp.where(targets < 0, class_logits(architecture, logits).argmax(-1).astype(targets.dtype), targets)


@kept("architecture", "score")
def score_of_batch(weights: Weights, x: Array, targets: Array, *, architecture: Architecture, score: Score) -> Array:
    return score(architecture, weights, x, targets)
