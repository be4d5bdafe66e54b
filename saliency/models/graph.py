"""A classifier as data: an ordered graph of named layers, and the three ways to run it.

`after(upto(x, layer), layer) == run(x)` for every layer through which all of the computation passes.
Only the layers that a result needs are computed, so a score that stops at a convolution skips the head.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Literal

import jax.numpy as jnp
from jax import Array

from saliency.errors import InputError
from saliency.models.operators import Conv, Image, Operator, Parameters, Relu
from saliency.models.operators.base import QUIET, described

Weights = Mapping[str, Parameters]
Probabilities = Literal["softmax", "sigmoid"]
Grid = tuple[str, int, int, int]  # a layer of tokens: its name, tokens before the grid, rows, columns


@dataclass(frozen=True)
class Node:
    """One named layer and the names of the layers that it reads."""

    name: str
    layer: Operator
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Architecture:
    """Nodes in an order in which they can be computed; the first is the image, the last the logits.

    `gestalt_layer` is the last convolution's activations, whose mean is the Gestalt total (Eq. 3 of Fast Object
    Localization via Sensitivity Analysis).
    `probabilities` says what turns logits into probabilities: "sigmoid" for classes that do not exclude one another, or
    for one logit, which tells two classes apart. `grids` says which layers' tokens lie in rows and columns,
    `attentions` which layers are attention, flat `[n, heads * t * t]`, and of how many heads. `headless`: the last
    layer is no logits, but features.
    `logit_bypass` names layers that a class logit leaves out: SqueezeNet has a ReLU after its last convolution,
    after which gradients can vanish. `size` is the input (height, width) the network was trained at.
    """

    name: str
    nodes: tuple[Node, ...]
    gestalt_layer: str
    size: tuple[int, int]
    logit_bypass: tuple[str, ...] = ()
    channels: int = field(default=3, metadata=QUIET)
    probabilities: Probabilities = field(default="softmax", metadata=QUIET)
    grids: tuple[Grid, ...] = field(default=(), metadata=QUIET)
    attentions: tuple[tuple[str, int], ...] = field(default=(), metadata=QUIET)
    headless: bool = field(default=False, metadata=QUIET)

    def __repr__(self) -> str:
        return described(self)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(tuple(getattr(self, each.name) for each in fields(self)))

    @cached_property
    def by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @property
    def layers(self) -> dict[str, Operator]:
        """Name -> layer, in order of computation, without the image."""
        return {node.name: node.layer for node in self.nodes[1:]}

    @property
    def class_count(self) -> int:
        """Of one output with a sigmoid there are two classes. InputError for features alone."""
        self.require_logits()
        outputs = self.shapes(*self.size)[self.last][-1]
        return 2 if outputs == 1 and self.probabilities == "sigmoid" else outputs

    @property
    def last(self) -> str:
        return self.nodes[-1].name

    @property
    def fixed_size(self) -> bool:
        """Whether a fully connected layer ties the network to one input size."""
        return any(node.layer.one_size for node in self.nodes)

    def require(self, layer: str) -> str:
        """The layer's own name, or InputError naming those that there are. The name of a scope, which holds layers
        named scope/layer, stands for the last of them."""
        if isinstance(layer, str) and layer not in self.by_name:
            layer = next((node.name for node in reversed(self.nodes) if node.name.startswith(f"{layer}/")), layer)
        if not isinstance(layer, str) or layer not in self.by_name:
            raise InputError(f"{self.name} has no layer {layer!r}; its layers are {', '.join(self.layers)}")
        return layer

    def require_logits(self) -> None:
        """InputError for a network of features alone."""
        if self.headless:
            raise InputError(
                f"{self.name} holds features alone, without a classifier: there is no class score; Gestalt scores,"
                " activation maps and net.upto(x, layer) need none"
            )

    def features(self, head: Collection[str]) -> "Architecture":
        """The network without the layers of `head`, those after them, and vectors that nothing reads any more."""
        shapes = self.shapes(*self.size)
        kept: list[Node] = []
        for node in self.nodes:
            if node.name not in head and all(any(name == one.name for one in kept) for name in node.inputs):
                kept.append(node)
        while len(shapes[kept[-1].name]) == 1:
            kept.pop()
        return replace(self, nodes=tuple(kept), headless=True, logit_bypass=())

    def shapes(self, height: int, width: int, to: str | None = None) -> dict[str, tuple[int, ...]]:
        """Activation shape of each layer that `to` needs, without the batch axis.

        Raises InputError where the image is too small, or not of the one size that a dense layer was trained for.
        """
        to = to or self.last
        if (height, width) != self.size and any(n.layer.one_size for n in self.ancestors(to)):
            why = next(n.layer.ties for n in self.nodes if n.layer.one_size)
            raise InputError(
                f"{self.name} {why} and takes images of {self.size[0]}x{self.size[1]} only,"
                f" not {height}x{width}; resize them, or use a score of a layer before it"
            )
        shapes: dict[str, tuple[int, ...]] = {}
        for node in self.ancestors(to):
            inputs = [shapes[name] for name in node.inputs] or [(height, width, self.channels)]
            shapes[node.name] = node.layer.shape(*inputs)
            if min(shapes[node.name], default=1) < 1:
                raise InputError(
                    f"an image of {height}x{width} is too small for {self.name}: nothing is left at {node.name}"
                )
        return shapes

    def as_map(self, layer: str, activation: Array) -> Array:
        """A layer's activations with height and width `[n, h, w, c]`: tokens `[n, t, d]` in their rows and columns."""
        for name, before, rows, columns in self.grids:
            if name == layer and activation.ndim == 3:
                grid = activation[:, before : before + rows * columns]
                return grid.reshape(len(activation), rows, columns, -1)
        return activation

    def map_shape(self, layer: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        """The shape of `as_map`, without the batch axis."""
        grid = next((grid for grid in self.grids if grid[0] == layer), None)
        return (*grid[2:], shapes[layer][-1]) if grid else shapes[layer]

    def parameter_shapes(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """Layer -> parameter name -> shape, of the layers that have any."""
        shapes = self.shapes(*self.size)
        found = {node.name: node.layer.parameter_shapes(*(shapes[name] for name in node.inputs)) for node in self.nodes}
        return {name: parameters for name, parameters in found.items() if parameters}

    def ancestors(self, to: str) -> list[Node]:
        """The nodes that the layer `to` needs, itself included, in order."""
        wanted = {self.require(to)}
        for node in reversed(self.nodes):
            if node.name in wanted:
                wanted.update(node.inputs)
        return [node for node in self.nodes if node.name in wanted]

    @cached_property
    def passages(self) -> tuple[str, ...]:
        """The layers through which the whole computation passes, in order: those that nothing goes round."""
        path = self.ancestors(self.last)
        place = {node.name: i for i, node in enumerate(path)}
        found, earliest = [], len(path)  # the earliest that a later layer reads
        for i in range(len(path) - 1, 0, -1):
            if earliest >= i:
                found.append(path[i].name)
            earliest = min([earliest, *(place[name] for name in path[i].inputs)])
        return tuple(reversed(found))

    def unmoved(self, x: Array, layers: Iterable[str]) -> dict[str, Array]:
        """Zeros to be `added` in `activations` of images `[n, h, w, c]`: derivatives by them are the layers'."""
        shapes = self.shapes(x.shape[1], x.shape[2])
        return {name: jnp.zeros((len(x), *shapes[name]), x.dtype) for name in layers}

    def activations(
        self, weights: Weights, x: Array, to: str | None = None, added: Mapping[str, Array] | None = None
    ) -> dict[str, Array]:
        """Every activation on the way from an image `[n, h, w, 3]` to the layer `to` (default: the logits); `added` is
        what some of them get on top, which makes derivatives to inner layers plain `jax.grad`."""
        done: dict[str, Array] = {}
        for node in self.ancestors(to or self.last):
            done[node.name] = node.layer(weights.get(node.name, {}), *([done[i] for i in node.inputs] or [x]))
            if added and node.name in added:
                done[node.name] = done[node.name] + added[node.name]
        return done

    def upto(self, weights: Weights, x: Array, to: str | None = None) -> Array:
        """Activations of one layer (default: the logits) for images `[n, h, w, 3]`."""
        return self.activations(weights, x, to)[to or self.last]

    def after(self, weights: Weights, activation: Array, layer: str, to: str | None = None) -> Array:
        """What `to` (default: the logits) makes of the activations of an earlier layer.

        Raises InputError where part of the computation goes round that layer.
        """
        path = self.ancestors(to or self.last)
        names = [node.name for node in path]
        if self.require(layer) not in names:
            raise InputError(f"{self.name}: layer {layer} is not on the way to {to or self.last}")
        done = {layer: activation}
        for node in path[names.index(layer) + 1 :]:
            if any(name not in done for name in node.inputs):
                raise InputError(
                    f"{self.name}: {node.name} also reads layers before {layer}, so {layer} cannot stand for them"
                )
            done[node.name] = node.layer(weights.get(node.name, {}), *(done[name] for name in node.inputs))
        return done[to or self.last]

    def without(self, *names: str) -> "Architecture":
        """The same network with some one-input layers taken out."""
        bridges = {name: self.by_name[self.require(name)].inputs[0] for name in names}
        return replace(
            self,
            nodes=tuple(
                replace(node, inputs=tuple(bridges.get(name, name) for name in node.inputs))
                for node in self.nodes
                if node.name not in bridges
            ),
            logit_bypass=tuple(name for name in self.logit_bypass if name not in bridges),
        )


class Builder:
    """Collects nodes one after another; a layer reads the one before it unless told otherwise."""

    def __init__(self) -> None:
        self.nodes = [Node("image", Image())]

    def add(self, name: str, layer: Operator, *inputs: str) -> str:
        self.nodes.append(Node(name, layer, inputs or (self.nodes[-1].name,)))
        return name

    def conv_relu(self, name: str, relu: str, conv: Conv, *inputs: str) -> str:
        self.add(name, conv, *inputs)
        return self.add(relu, Relu())
