"""Exact occlusion scores by recomputing only what a hidden window changes.

The untouched image goes through the network once. For each position the *change* of every layer is then computed
within that layer's pane (`plan`): it is zero outside, so a convolution needs no surroundings, and whatever is not
linear gives `f(clean + change) - f(clean)`. Nothing is approximated: the scores are the dense path's up to rounding.
Panes never stick out of their layers, so borders need no care beyond the padding of max-pools.

Changes are `[k, h, w, c]` for the k positions of a chunk; clean activations are `[h, w, c]`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from saliency._batches import balanced_size
from saliency._checks import Pair
from saliency.devices import on_cpu, precision
from saliency.models import winograd
from saliency.models.graph import Architecture, Node, Weights
from saliency.models.layers import (
    NO_PADDING,
    Add,
    AvgPool,
    Concat,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    LocalResponseNorm,
    MaxPool,
    Relu,
)
from saliency.occlusion.dense import Step
from saliency.occlusion.plan import WINDOW, Class, Layout, Plan, Range, column_layer, needed
from saliency.scores import Score, log_probabilities

CACHE = 3 * 2**19  # bytes of panes at once that a CPU core is fastest with ...
WINOGRAD = 32  # channels from which the algorithm pays where kernels are transformed once for all positions
MOST = 1024  # positions at once keep an accelerator busy; more are no faster ...
NUMBERS = 2**30  # ... and no activation needs more than a 32-bit index
LEAST = 4  # ... but so many positions at least, so that kernels are not read for one alone
LINEAR = Conv | Dense | AvgPool | GlobalAvgPool | Flatten | Concat | Add  # change without a look at clean activations


class Prepared(NamedTuple):
    """Weights, and what Winograd's algorithm makes of the 3x3 convolutions' kernels: separate arrays, since what is cut
    out of one is copied, and compiled, wherever it is used."""

    weights: Weights
    matrices: Mapping[str, winograd.Matrices]


def prepared(plan: Plan, weights: Weights) -> Prepared:
    """The weights, with the kernels of 3x3 convolutions made ready for Winograd's algorithm on a CPU."""
    kernels = {
        node.name: weights[node.name]["kernel"]
        for node in plan.architecture.ancestors(plan.to)
        if by_winograd(node, plan.shapes)
    }
    return Prepared(weights, _transformed(kernels))


@jax.jit
def _transformed(kernels: Mapping[str, Array]) -> dict[str, winograd.Matrices]:
    return {name: winograd.transformed(kernel) for name, kernel in kernels.items()}


def by_winograd(node: Node, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a layer is computed by Winograd's algorithm; an accelerator's own convolutions are better."""
    layer = node.layer
    if not isinstance(layer, Conv) or not on_cpu():
        return False
    return layer.square and min(shapes[node.inputs[0]][-1], layer.features) >= WINOGRAD


@partial(jax.jit, static_argnames=("architecture", "to", "score"))
def clean_activations(
    weights: Weights,
    image: Float[Array, "h w 3"],
    target: Array | int | None,
    *,
    architecture: Architecture,
    to: str,
    score: Score,
) -> dict[str, Array]:
    """Those activations of the untouched image that changes are computed from."""
    weights = _of_target(architecture, score, weights, target)
    activations = architecture.activations(weights, image[None], to)
    wanted = {to}
    for node in architecture.ancestors(to)[1:]:
        if isinstance(node.layer, Relu):
            wanted.update(node.inputs)
        elif not isinstance(node.layer, LINEAR):
            wanted.update((node.name, *node.inputs))
    return {name: activations[name][0] for name in {_rectified(architecture, name) for name in wanted}}


@partial(jax.jit, static_argnames=("architecture", "to", "score", "layout"))
def class_scores(
    ready: Prepared,
    clean: Mapping[str, Array],
    image: Float[Array, "h w 3"],
    fill: Float[Array, "h w 3"],
    template: Float[Array, "ph pw"],
    target: Array | int | None,
    starts: Mapping[str, Int[Array, "chunks k 2"]],
    *,
    architecture: Architecture,
    to: str,
    score: Score,
    layout: Layout,
) -> Float[Array, "p ..."]:
    """Scores of one image under windows of one class, a chunk after another; without a target every class's logit.

    Only maps are computed in chunks. What lies behind them is then done for all positions at once, because a fully
    connected layer takes longer to read than to multiply.
    """
    weights, kernels = ready
    weights = _of_target(architecture, score, weights, target)
    nodes = architecture.ancestors(to)
    shapes = architecture.shapes(image.shape[0], image.shape[1], to)
    maps = [node for node in nodes if node.name in layout.pane]
    behind = [node for node in nodes if node.name not in layout.pane]
    edge = [node for node in behind if any(name in layout.pane for name in node.inputs)]

    def changed(starts: Mapping[str, Array]) -> dict[str, Array]:
        panes = _Panes(architecture, shapes, weights, kernels, clean, layout, starts)
        offset = starts[WINDOW] - starts[maps[0].name]
        pane = layout.pane[maps[0].name]
        opacity = jnp.broadcast_to(template[..., None], (len(offset), *template.shape, 1))
        opacity = placed(opacity, offset, layout.move[maps[0].name, WINDOW], pane)
        changes = {maps[0].name: opacity * cut(fill - image, starts[maps[0].name], pane)}
        for node in maps[1:]:
            changes[node.name] = panes.change(node, changes)
        if not behind:
            return {to: changes[to].sum((1, 2, 3)) / float(np.prod(shapes[to]))}
        return {node.name: panes.change_behind(node, changes) for node in edge}

    changes = {name: x.reshape(-1, *x.shape[2:]) for name, x in lax.map(changed, starts).items()}
    panes = _Panes(architecture, shapes, weights, kernels, clean, layout, starts)
    for node in behind:
        if node not in edge:
            changes[node.name] = panes.change_behind(node, changes)
    before = panes.before(to)
    if score.kind == "gestalt":
        return before.mean() + changes[to]
    logits = before + changes[to]
    if target is None:
        return logits
    if score.kind == "log_probability":
        logits = log_probabilities(logits)
    return logits[:, 0] if logits.shape[-1] == 1 else logits[:, target]


@dataclass(frozen=True)
class _Panes:
    """The panes of a chunk of positions, and all that changes within them are computed from."""

    architecture: Architecture
    shapes: Mapping[str, tuple[int, ...]]
    weights: Weights
    kernels: Mapping[str, winograd.Matrices]
    clean: Mapping[str, Array]
    layout: Layout
    starts: Mapping[str, Int[Array, "k 2"]]

    def before(self, name: str) -> Array:
        """The clean activations of a layer."""
        source = _rectified(self.architecture, name)
        return self.clean[name] if source == name else jax.nn.relu(self.clean[source])

    def clean_pane(self, name: str) -> Float[Array, "k h w c"]:
        return cut(self.before(name), self.starts[name], self.layout.pane[name])

    def whole(self, name: str, change: Array) -> Array:
        """The change of all of a layer."""
        if name not in self.layout.pane:
            return change
        (height, width, _), pane = self.shapes[name], self.layout.pane[name]
        return placed(change, self.starts[name], ((0, height - pane[0]), (0, width - pane[1])), (height, width))

    def change(self, node: Node, changes: Mapping[str, Array]) -> Float[Array, "k h w c"]:
        """How a layer's map changes within its pane."""
        layer, start, pane = node.layer, self.starts[node.name], self.layout.pane[node.name]
        region, origin = needed(layer, pane, start)
        if node.name in self.kernels:
            region = winograd.whole_tiles(region)
        sources = [_rectified(self.architecture, name) if isinstance(layer, MaxPool) else name for name in node.inputs]
        inputs = [
            placed(changes[source], self.starts[name] - origin, self.layout.move[node.name, name], region)
            for name, source in zip(node.inputs, sources)
        ]
        match layer:
            case Conv() if node.name in self.kernels:
                return winograd.convolved(inputs[0], self.kernels[node.name])[:, : pane[0], : pane[1]]
            case Conv():
                return convolved(layer, inputs[0], self.weights[node.name]["kernel"])
            case Concat() | Add():
                return layer({}, *inputs)
            case Relu():
                clean = self.clean_pane(node.inputs[0])
                return jax.nn.relu(clean + inputs[0]) - jax.nn.relu(clean)
            case LocalResponseNorm():
                return layer({}, self.clean_pane(node.inputs[0]) + inputs[0]) - self.clean_pane(node.name)
            case AvgPool():
                counts = jnp.asarray(layer.counts(*self.shapes[node.inputs[0]][:2]), inputs[0].dtype)
                totals = _unpadded(layer)({}, inputs[0]) * float(np.prod(layer.window))
                return totals / cut(counts, start, pane)
            case MaxPool():
                framed = _framed(layer, self.before(sources[0]), self.shapes[node.name])
                clean = cut(framed, origin + np.array([before for before, _ in layer.padding], np.int32), region)
                maxima = _unpadded(layer)({}, clean + inputs[0])
                if sources != list(node.inputs):  # rectified after the pool: the same, for fewer values
                    maxima = jax.nn.relu(maxima)
                return maxima - self.clean_pane(node.name)
            case _:
                return self.anew(node, changes)

    def change_behind(self, node: Node, changes: Mapping[str, Array]) -> Float[Array, "k c"]:
        """How the activations of a layer without height and width change."""
        layer, name = node.layer, node.inputs[0]
        match layer:
            case GlobalAvgPool():
                return changes[name].sum((1, 2)) / float(np.prod(self.shapes[name][:2]))
            case GlobalMaxPool():
                inside = (self.clean_pane(name) + changes[name]).max((1, 2))
                outside = maximum_outside(self.before(name), self.starts[name], self.layout.pane[name])
                return jnp.maximum(inside, outside) - self.before(node.name)
            case Flatten():
                return layer({}, self.whole(name, changes[name]))
            case Dense():
                return jnp.matmul(changes[name], self.weights[node.name]["kernel"], precision=precision())
            case Concat() | Add():
                return layer({}, *(changes[name] for name in node.inputs))
            case _:
                return self.anew(node, changes)

    def anew(self, node: Node, changes: Mapping[str, Array]) -> Array:
        """The rule for any layer: all of it, computed again."""
        inputs = [self.before(name) + self.whole(name, changes[name]) for name in node.inputs]
        return node.layer(self.weights.get(node.name, {}), *inputs) - self.before(node.name)


def convolved(layer: Conv, x: Float[Array, "k h w c"], kernel: Float[Array, "kh kw c f"]) -> Float[Array, "k h' w' f"]:
    """A convolution of regions that hold the padding."""
    if layer.kernel == layer.stride == (1, 1) and layer.groups == 1:
        return jnp.matmul(x, kernel[0, 0], precision=precision())
    return replace(layer, padding=NO_PADDING).linear(kernel, x)


def cut(x: Float[Array, "h w c"], starts: Int[Array, "k 2"], pane: Pair) -> Float[Array, "k ph pw c"]:
    """A pane of one map at each start."""
    if x.shape[:2] == pane:
        return x[None]
    return jax.vmap(lambda start: _slice(x, start, pane))(starts)


def placed(
    x: Float[Array, "k ph pw c"], offsets: Int[Array, "k 2"], ranges: tuple[Range, Range], region: Pair
) -> Float[Array, "k h w c"]:
    """Each pane at its own offset in a region of zeros; what sticks out is cut off. `ranges` bound the offsets."""
    if all(least == most for least, most in ranges):
        if all(0 <= least <= size - pane for (least, _), size, pane in zip(ranges, region, x.shape[1:])):
            # XLA computes x right where it belongs; of `lax.pad` it asks for each value whether it is padding
            zeros = jnp.zeros((x.shape[0], *region, x.shape[3]), x.dtype)
            first = jnp.zeros((), offsets.dtype)
            return lax.dynamic_update_slice(zeros, x, (first, *offsets[0], first), allow_negative_indices=False)
        pads = [(least, size - least - pane) for (least, _), size, pane in zip(ranges, region, x.shape[1:])]
        return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *((*pad, 0) for pad in pads), (0, 0, 0)))
    before = np.array([max(0, most) for _, most in ranges])
    after = [max(0, size - least - pane) for (least, _), size, pane in zip(ranges, region, x.shape[1:])]
    x = jnp.pad(x, ((0, 0), *((int(b), a) for b, a in zip(before, after)), (0, 0)))
    return jax.vmap(lambda x, start: _slice(x, start, region))(x, jnp.asarray(before, offsets.dtype) - offsets)


def _slice(x: Float[Array, "h w c"], start: Int[Array, "2"], size: Pair) -> Array:
    first = jnp.zeros((), start.dtype)
    return lax.dynamic_slice(x, (start[0], start[1], first), (*size, x.shape[2]), allow_negative_indices=False)


def maximum_outside(x: Float[Array, "h w c"], starts: Int[Array, "k 2"], pane: Pair) -> Float[Array, "k c"]:
    """The maximum over all of a map but a pane, for each start; -inf where the pane is all there is."""
    maxima = []
    for axis in (0, 1):
        lines = jnp.pad(x.max(1 - axis), ((1, 1), (0, 0)), constant_values=-jnp.inf)
        up_to, from_on = lax.cummax(lines), lax.cummax(lines, reverse=True)
        maxima += [up_to[starts[:, axis]], from_on[starts[:, axis] + pane[axis] + 1]]
    return jnp.stack(maxima).max(0)


def _rectified(architecture: Architecture, name: str) -> str:
    """What a ReLU reads; other layers stand for themselves. Rectifying anew is cheaper than keeping both."""
    while isinstance(architecture.by_name[name].layer, Relu):
        name = architecture.by_name[name].inputs[0]
    return name


def _of_target(architecture: Architecture, score: Score, weights: Weights, target: Array | int | None) -> Weights:
    """Weights as the plan's architecture takes them: for a class logit, only the target's column of the last layer."""
    name = column_layer(architecture)
    if score.kind != "logit" or name is None or target is None:
        return weights
    index = jnp.asarray(target)
    column = {key: lax.dynamic_slice_in_dim(weights[name][key], index, 1, -1) for key in ("kernel", "bias")}
    return {**weights, name: column}


def _unpadded(layer: MaxPool | AvgPool) -> MaxPool | AvgPool:
    return replace(layer, padding=NO_PADDING, ceil=False)


def _framed(layer: MaxPool, x: Array, shape: tuple[int, ...]) -> Array:
    """A max-pool's input with -inf wherever its windows stick out."""
    pads = [
        (before, max(after, (count - 1) * stride + window - size - before))
        for size, count, window, stride, (before, after) in zip(
            x.shape, shape, layer.window, layer.stride, layer.padding
        )
    ]
    return jnp.pad(x, (*pads, (0, 0)), constant_values=-jnp.inf)


@dataclass(frozen=True, eq=False)
class Job:
    """Positions of one class that one call computes, and where their panes start, a chunk after another."""

    positions: Int[np.ndarray, " p"]
    starts: Mapping[str, Int[np.ndarray, "chunks k 2"]]
    layout: Layout


def chunk_for(plan: Plan, group: Class, budget: int) -> int:
    """Positions at once: on a CPU what stays in its cache, elsewhere what stays within the budget."""
    each = plan.position_bytes(group)
    if on_cpu():
        return max(1, min(budget, max(CACHE, LEAST * each)) // each)
    return max(1, min(budget // each, MOST, NUMBERS // (each // 8)))


def jobs(plan: Plan, budget: int, chunk: int | None = None) -> list[Job]:
    """A plan's positions, `chunk` at a time or what `chunk_for` says, in as few calls as stay below `budget` bytes.

    Chunks and calls are as even as it goes; what is missing from the last is filled up with its last position, so that
    a class compiles once.
    """
    made = []
    place = (lambda starts: starts) if on_cpu() else jax.device_put  # there once, for all images
    for group in plan.classes:
        total = len(group.positions)
        at_once = balanced_size(total, chunk or chunk_for(plan, group, budget))
        chunks = balanced_size(-(-total // at_once), max(1, budget // (at_once * plan.edge_bytes)))
        for first in range(0, total, chunks * at_once):
            index = np.arange(first, min(total, first + chunks * at_once))
            filled = np.pad(index, (0, chunks * at_once - len(index)), mode="edge").reshape(chunks, at_once)
            made.append(
                Job(group.positions[index], place({name: x[filled] for name, x in group.starts.items()}), group.layout)
            )
    return made


def incremental_scores(
    plan: Plan,
    ready: Prepared,
    image: Float[np.ndarray, "h w 3"],
    fill: Float[np.ndarray, "h w 3"],
    *,
    score: Score,
    target: int | None,
    work: Sequence[Job],
    step: Step,
    pool: ThreadPoolExecutor | None = None,
) -> Float[np.ndarray, "p ..."]:
    """The score of one image under every window, with what `prepared` gave; jobs go to `pool`'s threads.

    With `target=None` every class's logit; the plan is then one for log-probabilities, which need them all.
    """
    if pool is None and not on_cpu():  # all are under way before the first is read
        values: Iterable[Array] = launched(plan, ready, image, fill, score=score, target=target, work=work)
    else:
        call = _calls(plan, ready, image, fill, score, target)
        values = (pool.map if pool else map)(lambda job: call(job).block_until_ready(), work)
    return collected(plan, work, values, image.dtype, step)


Launched = list[Float[Array, "p ..."]]  # a job each


def launched(
    plan: Plan,
    ready: Prepared,
    image: Float[np.ndarray, "h w 3"],
    fill: Float[np.ndarray, "h w 3"],
    *,
    score: Score,
    target: int | None,
    work: Sequence[Job],
) -> Launched:
    """What `collected` makes scores of: all jobs under way, none of them waited for."""
    return list(map(_calls(plan, ready, image, fill, score, target), work))


def collected(
    plan: Plan,
    work: Sequence[Job],
    values: Iterable[Float[Array | np.ndarray, "p ..."]],
    dtype: np.dtype,
    step: Step = lambda count: None,
) -> Float[np.ndarray, "p ..."]:
    """The scores of all positions from those of each job."""
    scores = np.empty(0, dtype)
    for job, some in zip(work, map(np.asarray, values)):
        if not scores.size:
            scores = np.empty((len(plan.windows.positions), *some.shape[1:]), dtype)
        scores[job.positions] = some[: len(job.positions)]
        step(len(job.positions))
    return scores


def at_once(work: Sequence[Job]) -> int:
    """The most positions that a job computes at once."""
    return max(job.starts[WINDOW].shape[1] for job in work)


def _calls(
    plan: Plan, ready: Prepared, image: np.ndarray, fill: np.ndarray, score: Score, target: int | None
) -> Callable[[Job], Array]:
    """What starts a job, the untouched image's own pass done."""
    template = jnp.asarray(plan.windows.template, image.dtype)
    shown, hidden = jnp.asarray(image), jnp.asarray(fill)  # carried to the device once, for all jobs
    clean = clean_activations(ready.weights, shown, target, architecture=plan.architecture, to=plan.to, score=score)

    def call(job: Job) -> Array:
        return class_scores(
            ready,
            clean,
            shown,
            hidden,
            template,
            target,
            job.starts,
            architecture=plan.architecture,
            to=plan.to,
            score=score,
            layout=job.layout,
        )

    return call
