"""Learned readers of a network's features: its channels, from which coverage tells boxes with no map in between.

They say what the network knows, not why it decided: no explanation, but the strongest boxes and the cheapest. A reader
has no map to look at; what coverage makes of it has (`CoverageMap.coverage`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import groupby

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from localization.transforms import areas
from saliency._batches import default_batch, in_batches, shard_batch
from saliency._checks import kind_of
from saliency.errors import InputError
from saliency.methods import Cost
from saliency.models.graph import Architecture, Weights
from saliency.models.network import Network, check_input
from saliency.scores import class_logits, settled_targets

SIDE = 28  # cells a side, to which finer layers are averaged
LEAST_SIDE = 4  # of a layer that can tell places apart
WIDE = 512  # channels, above which a narrower layer of the same size is preferred


@dataclass(frozen=True)
class Reader:
    """`summary` is two lines. `by_class`: whether what is read is of the target class; `maps`: whether the maps of the
    methods that are compared are read as well."""

    name: str
    source: str
    summary: str
    cost: Cost
    by_class: bool = False
    maps: bool = False


READERS: Mapping[str, Reader] = {
    reader.name: reader
    for reader in (
        Reader(
            "channels",
            "no paper of its own",
            "Learned reader, no explanation: activations of chosen layers, whatever the class;\n"
            "one forward pass, boxes by the linear map shared by all places.",
            Cost(1, 0),
        ),
        Reader(
            "class channels",
            "gradient times activation: Draelos & Carin 2020",
            "Learned reader, no explanation: the channels, the last layer's times the class logit's gradient too,\n"
            "so that the box is that of the class; one forward and one backward pass.",
            Cost(1, 1),
            by_class=True,
        ),
        Reader(
            "channels + maps",
            "no paper of its own",
            "Learned reader, no explanation: the channels beside the maps of all methods that are compared;\n"
            "of the maps' class where these are of one.",
            Cost(1, 0),
            maps=True,
        ),
    )
}


def layers_of(net: Network) -> tuple[str, ...]:
    """The layers that are read unless others are named: of the last two sizes of activations up to the Gestalt layer
    the last layer each, where there is one of at most WIDE channels the last of those; of a network with one size the
    middle layer and the last.

    Raises InputError for a network without a layer that has height and width.

    >>> import saliency
    >>> layers_of(saliency.load_network("scenes_cnn"))
    ('relu3_2', 'relu4_2')
    """
    kind_of("net", net, Network, "as load_network gives it")
    return _layers(net.architecture, net.preprocess.size)


@cache
def _layers(architecture: Architecture, size: tuple[int, int]) -> tuple[str, ...]:
    shapes = architecture.shapes(*size, architecture.gestalt_layer)
    maps = [(name, architecture.map_shape(name, shapes)) for name in shapes]
    maps = [(name, shape) for name, shape in maps[1:] if len(shape) == 3 and min(shape[:2]) >= LEAST_SIDE]
    stages = [list(stage) for _, stage in groupby(maps, key=lambda one: one[1][:2])]
    if not stages:
        raise InputError(f"{architecture.name} has no layer of at least {LEAST_SIDE} x {LEAST_SIDE} places to read")
    if len(stages) == 1:
        stages = [stages[0][: -(-len(stages[0]) // 2)], stages[0]]
    chosen = []
    for stage in stages[-2:]:
        narrow = [name for name, shape in stage if shape[2] <= WIDE]
        chosen.append(narrow[-1] if narrow else stage[-1][0])
    return tuple(dict.fromkeys(chosen))


def read_channels(
    net: Network,
    x: Float[np.ndarray, "n h w 3"],
    layers: Sequence[str] = (),
    *,
    target: Int[np.ndarray, " n"] | None = None,
) -> list[Float[np.ndarray, "n rows columns c"]]:
    """Activations float16 of `layers` (default: `layers_of`), each divided by its root mean square, of one forward
    pass; finer ones than SIDE places are averaged.

    `x` is float `[n, h, w, 3]` as `net.preprocess` gives it. With a `target` class each, -1 the predicted one, one more
    array: the last of the layers times the gradient of the class logit by it (one backward pass). Raises InputError for
    a layer that there is none of, or that has no height and width.

    >>> import numpy as np, saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> x = net.preprocess(np.zeros((2, 96, 96, 3), np.uint8))
    >>> [one.shape for one in read_channels(net, x, target=np.array([3, -1]))]
    [(2, 24, 24, 48), (2, 12, 12, 96), (2, 12, 12, 96)]
    """
    kind_of("net", net, Network, "as load_network gives it")
    architecture, weights = net.architecture, net.weights
    names = tuple(architecture.require(layer) for layer in layers) or layers_of(net)
    order = [node.name for node in architecture.nodes]
    names = tuple(sorted(set(names), key=order.index))
    last = names[-1] if target is None else architecture.last
    x = check_input(net, x, last)
    shapes = architecture.shapes(x.shape[1], x.shape[2], last)
    sizes = [architecture.map_shape(name, shapes) for name in names]
    for name, size in zip(names, sizes):
        if len(size) != 3:
            raise InputError(f"channels are of layers with height and width, which {name} of {net.name} has not")
    sizes = [(min(rows, SIDE), min(columns, SIDE), c) for rows, columns, c in sizes]
    sizes += [sizes[-1]] if target is not None else []

    def flat(i: np.ndarray) -> Array:
        batch = shard_batch(x, i)
        if target is None:
            return _channels(weights, batch, architecture=architecture, layers=names)
        return _class_channels(weights, batch, jnp.asarray(target[i]), architecture=architecture, layers=names)

    parts = in_batches(lambda i: np.asarray(flat(i)), len(x), default_batch(architecture, x.shape, last))
    ends = np.cumsum([int(np.prod(size)) for size in sizes])
    both = np.concatenate(parts)[: len(x)] if parts else np.empty((0, ends[-1]), np.float16)
    return [part.reshape(len(x), *size) for part, size in zip(np.split(both, ends[:-1], axis=1), sizes)]


@partial(jax.jit, static_argnames=("architecture", "layers"))
def _channels(weights: Weights, x: Array, *, architecture: Architecture, layers: tuple[str, ...]) -> Array:
    found = architecture.activations(weights, x, layers[-1])
    return _flat([architecture.as_map(name, found[name]) for name in layers])


@partial(jax.jit, static_argnames=("architecture", "layers"))
def _class_channels(
    weights: Weights, x: Array, targets: Array, *, architecture: Architecture, layers: tuple[str, ...]
) -> Array:
    """The gradient by a layer is that by what is added to it, in networks that branch too."""
    last = layers[-1]

    def total(added: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        found = architecture.activations(weights, x, added=added)
        logits = class_logits(architecture, found[architecture.last])
        chosen = settled_targets(architecture, found[architecture.last], targets)
        return jnp.take_along_axis(logits, chosen[:, None], -1).sum(), {name: found[name] for name in layers}

    gradient, found = jax.grad(total, has_aux=True)(architecture.unmoved(x, [last]))
    maps = [architecture.as_map(name, found[name]) for name in layers]
    return _flat([*maps, architecture.as_map(last, gradient[last] * found[last])])


def _flat(maps: Sequence[Array]) -> Array:
    """Side by side float16 `[n, d]`; a gradient's unit is arbitrary, and float16 has no room for small ones."""
    product = partial(jnp.einsum, "ih,nhwc,jw->nijc", precision=jax.lax.Precision.HIGHEST)
    parts = []
    for own in maps:
        own = own.astype(jnp.float32)
        rows, columns = (jnp.asarray(areas(side, min(side, SIDE)), jnp.float32) for side in own.shape[1:3])
        own = product(rows, own, columns)
        own = own / jnp.sqrt(jnp.maximum((own**2).mean((1, 2, 3), keepdims=True), 1e-30))
        parts.append(own.astype(jnp.float16).reshape(len(own), -1))
    return jnp.concatenate(parts, 1)
