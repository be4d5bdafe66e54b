"""Named parts of photos: how far hiding one moves a layer's features, and whether it does so alike in every photo.

For photo i, let x_i be the features of a layer and y_i those with a box hidden. Both measures lie in 0..1:

- sign change ("mean feature sign change"): the share of features f with sign(x_i[f]) != sign(y_i[f]),
  averaged over the photos. Behind a ReLU a sign is 1 (on) or 0 (off).
- correspondence (Zeiler & Fergus 2014, section 4.4): with e_i = x_i - y_i, the Hamming distance between sign(e_i) and
  sign(e_j), as a share of the features, averaged over all pairs of photos i < j. Small: hiding this part moves
  the features of all photos alike, so the network knows it as the same part. A change below `NOISE` of the layer's
  largest activation counts as none. Features are compared place by place: where a layer still has a height and a
  width, boxes at the same place of every photo come out small for that reason alone, and random ones do not.

Every figure is repeated. The region's own box is moved by up to `JITTER` of its sides, for a box drawn by hand is no
more exact, and boxes of the same size are put anywhere in each photo ("random"). The p-value is a permutation test's:
under the hypothesis that the named box is no different from the random ones, each photo's box may be swapped for any
of its random ones; p is the share of such swaps (the box itself always counted) whose measure is at least as extreme:
as large for the sign change, as small for the correspondence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from saliency._batches import batches
from saliency.errors import InputError
from saliency.maps.gradient import Progress
from saliency.models.graph import Architecture, Weights
from saliency.models.network import Network

NOISE = 1e-5
JITTER = 0.1
SWAPS = 4999
DEPTHS = (5 / 8, 7 / 8)  # AlexNet has eight layers with weights; its fifth and seventh are looked at
BATCH = 8
Box = Int[np.ndarray, " 4"]


@dataclass(frozen=True)
class Measure:
    """`value` of the box as given; mean and standard deviation over draws, of the moved box and of random boxes."""

    value: float
    mean: float
    deviation: float
    random_mean: float
    random_deviation: float
    p: float


@dataclass(frozen=True)
class RegionRow:
    """One region at one layer; `correspondence` is None where only one photo has the region."""

    region: str
    layer: str
    photos: tuple[str, ...]
    sign_change: Measure
    correspondence: Measure | None


def feature_layers(architecture: Architecture) -> tuple[str, str]:
    """The network's nearest to AlexNet's fifth convolution and seventh layer: as deep, in proportion.

    Depth counts layers with weights along the longest way; of equally deep ones the last ReLU or convolution is taken.
    """
    depth = {node.name: 0 for node in architecture.nodes}
    for node in architecture.nodes[1:]:
        depth[node.name] = max(depth[name] for name in node.inputs) + node.layer.weighted
    inner = [n.name for n in architecture.nodes if n.layer.feature and n.name != architecture.last]
    if not inner:
        raise InputError(f"{architecture.name} has no inner features to compare; leave the regions out (draws 0)")
    first, second = (
        max(reversed([name for name in inner if depth[name] <= limit] or inner[:1]), key=depth.__getitem__)
        for limit in (int(share * depth[architecture.last]) for share in DEPTHS)
    )
    return first, second


def hidden(
    image: Float[np.ndarray, "h w c"], fill: Float[np.ndarray, "h w c"], boxes: Int[np.ndarray, "m 4"]
) -> Float[np.ndarray, "h w c"]:
    """The image with some boxes filled from `fill`."""
    image = image.copy()
    for x0, y0, x1, y1 in boxes:
        image[y0:y1, x0:x1] = fill[y0:y1, x0:x1]
    return image


def sign_change(before: np.ndarray, after: np.ndarray) -> float:
    """Share of the features whose sign differs."""
    return float((np.sign(before) != np.sign(after)).mean())


def correspondence(directions: Int[np.ndarray, "n features"]) -> float:
    """Mean share of differing signs over all pairs of photos' feature changes."""
    return float(np.mean([(a != b).mean() for a, b in combinations(directions, 2)]))


def region_table(
    net: Network,
    images: Mapping[str, Float[np.ndarray, "h w c"]],
    fills: Mapping[str, Float[np.ndarray, "h w c"]],
    regions: Mapping[str, Mapping[str, Sequence[int]]],
    layers: Sequence[str],
    *,
    draws: int = 50,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[RegionRow]:
    """Both measures of every region at every layer.

    `images` and `fills` by photo; `regions` by name, each a box for some of the photos. Raises InputError for an
    unknown layer, a box outside its image, and fewer than two draws.
    """
    if draws < 2:
        raise InputError(f"draws must be at least 2, not {draws}: a spread needs repetition")
    for layer in layers:
        net.architecture.require(layer)
    responses = _Responses(net, images, fills, tuple(layers))
    rows, total = [], sum(len(boxes) for boxes in regions.values())
    done = 0
    for name, boxes in regions.items():
        moved, anywhere = [], []
        for photo, given in boxes.items():
            box = _checked(np.asarray(given), images[photo].shape[:2], name, photo)
            # A region's draws depend on its own name and photo, not on which others were asked for.
            rng = np.random.default_rng([seed, *name.encode(), *photo.encode()])
            size = images[photo].shape[:2]
            moved.append(responses(photo, np.stack([box, *_moved(box, size, draws, rng)])))
            random = np.random.default_rng([seed, *photo.encode()])  # the same for regions of one size
            anywhere.append(responses(photo, _anywhere(box, size, draws, random)))
            done += 1
            if progress:
                progress(done, total)
        rng = np.random.default_rng([seed, *name.encode()])
        for layer in layers:
            own, other = ([one[layer] for one in group] for group in (moved, anywhere))
            rows.append(
                RegionRow(
                    name,
                    layer,
                    tuple(boxes),
                    _sign_changes([one.changed for one in own], [one.changed for one in other], rng),
                    _correspondences([one.direction for one in own], [one.direction for one in other], rng)
                    if len(boxes) > 1
                    else None,
                )
            )
    return rows


@dataclass(frozen=True)
class _Response:
    changed: Float[np.ndarray, " k"]  # share of features whose sign changed, per box
    direction: Int[np.ndarray, "k features"]  # sign of each feature's change


class _Responses:
    """Features under hidden boxes, each computed once: regions of one size share their random boxes."""

    def __init__(self, net: Network, images: Mapping, fills: Mapping, layers: tuple[str, ...]):
        self.architecture, self.weights = net.architecture, net.weights
        self.images, self.fills, self.layers = images, fills, layers
        self.known: dict[tuple[str, bytes], dict[str, _Response]] = {}

    def __call__(self, photo: str, boxes: Int[np.ndarray, "k 4"]) -> dict[str, _Response]:
        key = photo, boxes.tobytes()
        if key not in self.known:
            self.known[key] = self._computed(self.images[photo], self.fills[photo], boxes)
        return self.known[key]

    def _computed(self, image: np.ndarray, fill: np.ndarray, boxes: np.ndarray) -> dict[str, _Response]:
        parts = []
        for index in batches(len(boxes), BATCH):
            x = np.stack([image, *(hidden(image, fill, boxes[i : i + 1]) for i in index)])
            parts.append(_responses(self.weights, x, architecture=self.architecture, layers=self.layers))
        return {
            layer: _Response(*(np.concatenate([part[layer][i] for part in parts])[: len(boxes)] for i in (0, 1)))
            for layer in self.layers
        }


@partial(jax.jit, static_argnames=("architecture", "layers"))
def _responses(
    weights: Weights, x: Array, *, architecture: Architecture, layers: tuple[str, ...]
) -> dict[str, tuple[Array, Array]]:
    """Per layer the share of signs changed `[k]` and the changes' signs int8 `[k, features]`; `x[0]` is the whole."""
    activations = architecture.activations(weights, x)

    def response(features: Array) -> tuple[Array, Array]:
        features = features.reshape(len(features), -1)
        before, after = features[:1], features[1:]
        change = before - after
        moved = jnp.abs(change) > NOISE * jnp.abs(before).max()
        return (jnp.sign(before) != jnp.sign(after)).mean(1), (jnp.sign(change) * moved).astype(jnp.int8)

    return {layer: response(activations[layer]) for layer in layers}


def _sign_changes(own: list[np.ndarray], other: list[np.ndarray], rng: np.random.Generator) -> Measure:
    """`own[i]`: photo i's value for the given box, then for the moved ones; `other[i]`: for the random ones."""
    given, moved, random = np.array(own)[:, 0].mean(), np.array(own)[:, 1:].mean(0), np.array(other).mean(0)
    pools = np.concatenate([np.array(own)[:, :1], other], 1)
    swapped = np.take_along_axis(pools, _swaps(pools.shape, rng), 1).mean(0)
    return _measure(given, moved, random, swapped >= given - 1e-12)


def _correspondences(own: list[np.ndarray], other: list[np.ndarray], rng: np.random.Generator) -> Measure:
    photos, draws = len(own), len(other[0])
    moved = np.array([correspondence(np.stack([one[1 + k] for one in own])) for k in range(draws)])
    random = np.array([correspondence(np.stack([one[k] for one in other])) for k in range(draws)])
    pools = [np.concatenate([mine[:1], others]) for mine, others in zip(own, other)]
    swaps = _swaps((photos, draws + 1), rng)
    pairs = list(combinations(range(photos), 2))
    distances = {(i, j): _distances(pools[i], pools[j]) for i, j in pairs}
    given = np.mean([distances[pair][0, 0] for pair in pairs])
    swapped = np.mean([distances[i, j][swaps[i], swaps[j]] for i, j in pairs], 0)
    return _measure(given, moved, random, swapped <= given + 1e-12)


def _measure(given: float, moved: np.ndarray, random: np.ndarray, extreme: np.ndarray) -> Measure:
    p = (1 + extreme.sum()) / (1 + len(extreme))
    return Measure(*map(float, (given, moved.mean(), moved.std(ddof=1), random.mean(), random.std(ddof=1), p)))


def _swaps(pools: tuple[int, ...], rng: np.random.Generator) -> Int[np.ndarray, "photos swaps"]:
    """Which box of each photo's pool (0: the named one) every permutation takes."""
    return rng.integers(pools[1], size=(pools[0], SWAPS))


def _distances(a: Int[np.ndarray, "k features"], b: Int[np.ndarray, "m features"]) -> Float[np.ndarray, "k m"]:
    """Share of differing signs between all rows: signs agree where both are +, both are -, or both are 0."""
    agree = sum((a == sign).astype(np.float32) @ (b == sign).astype(np.float32).T for sign in (-1, 0, 1))
    return 1 - agree.astype(float) / a.shape[1]


def _checked(box: Box, image: tuple[int, int], name: str, photo: str) -> Box:
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= image[1] and 0 <= y0 < y1 <= image[0]):
        raise InputError(
            f"region {name!r} of {photo} is {box.tolist()}, which does not lie in the"
            f" {image[1]}x{image[0]} (width x height) image that the network sees"
        )
    return box


def _moved(box: Box, image: tuple[int, int], draws: int, rng: np.random.Generator) -> list[Box]:
    """The box, moved by up to `JITTER` of its sides, at least a pixel, and kept inside the image."""
    x0, y0, x1, y1 = box
    limits = [max(1, round(JITTER * side)) for side in (x1 - x0, y1 - y0)]
    steps = np.stack([rng.integers(-limit, limit + 1, draws) for limit in limits], -1)
    low, high = np.array([-x0, -y0]), np.array([image[1] - x1, image[0] - y1])
    return [box + np.tile(step, 2) for step in np.clip(steps, low, high)]


def _anywhere(box: Box, image: tuple[int, int], draws: int, rng: np.random.Generator) -> Int[np.ndarray, "draws 4"]:
    """Boxes of the same size, anywhere in the image."""
    width, height = box[2] - box[0], box[3] - box[1]
    x0 = np.floor(rng.random(draws) * (image[1] - width + 1)).astype(int)
    y0 = np.floor(rng.random(draws) * (image[0] - height + 1)).astype(int)
    return np.stack([x0, y0, x0 + width, y0 + height], -1)
