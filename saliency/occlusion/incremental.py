"""Exact occlusion scores by recomputing only what a hidden window changes.

The untouched image goes through the network once. For each position the *change* of every layer is then computed
within that layer's region (`plan`): it is zero outside, so a convolution needs no surroundings, and whatever is not
linear gives `f(clean + change) - f(clean)`. Nothing is approximated: the scores are the dense path's up to rounding.
Regions never stick out of their layers, so borders need no care beyond the padding of max-pools.

Changes are `[k, h, w, c]` for the k positions of a chunk; clean activations are `[h, w, c]`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from saliency._batches import ONE_CORE, balanced_size
from saliency._programs import Kept, kept
from saliency.devices import on_cpu
from saliency.models.graph import Architecture, Node, Weights
from saliency.models.operators import Region, is_map
from saliency.models.operators.regions import cut, placed
from saliency.occlusion.dense import Step
from saliency.occlusion.plan import WINDOW, Layout, Plan, PositionGroup, column_layer, is_local
from saliency.scores import Score

CACHE = 3 * 2**19  # bytes of regions at once that a CPU core is fastest with ...
MAX_POSITIONS = 1024  # positions at once keep an accelerator busy; more are no faster ...
NUMBERS = 2**30  # ... and no activation needs more than a 32-bit index
MEMBERS = "members"  # stands for the segments that a position hides among layers' names
MIN_POSITIONS = 4  # ... but so many positions at least, so that kernels are not read for one alone


class Prepared(NamedTuple):
    """Weights, and what operators prepare of theirs (Winograd's matrices of 3x3 kernels), as separate arrays: slices of
    one would be copied, and compiled, wherever they are used."""

    weights: Weights
    made: Mapping[str, Any]


def prepared(plan: Plan, weights: Weights) -> Prepared:
    """The weights, and what is made of them once for all positions."""
    made = {}
    for node in plan.architecture.ancestors(plan.to):
        if node.name in plan.transformed:
            inputs = [plan.shapes[name] for name in node.inputs]
            made[node.name] = node.layer.prepare(weights[node.name], inputs)
    return Prepared(weights, made)


class Asked(NamedTuple):
    """What every image is asked for, and programs are compiled by: the `score` of what `architecture` gives `to`."""

    architecture: Architecture
    to: str
    score: Score


class Seen(NamedTuple):
    """One image on the device: its pixels, those that windows show, how opaque a window is (or each pixel's segment,
    where segments are hidden), the class that is asked for, and the clean activations."""

    image: Float[Array, "h w c"]
    fill: Float[Array, "h w c"]
    template: Float[Array, "ph pw"]
    target: Array | int | None
    clean: Mapping[str, Array]


def _clean_activations(
    weights: Weights, image: Float[Array, "h w c"], target: Array | int | None, *, asked: Asked
) -> tuple[dict[str, Array], Array]:
    """Those activations of the untouched image that changes are computed from; and its score, or its logits where
    there is no target."""
    architecture, to, score = asked
    weights = _of_target(architecture, score, weights, target)
    activations = architecture.activations(weights, image[None], to)
    wanted = [to]  # in an order: that of a set differs from one process to the next, and so would the program
    for node in architecture.ancestors(to)[1:]:
        if not node.layer.linear:
            wanted += node.inputs if node.layer.recomputed else (node.name, *node.inputs)
    found = {name: activations[name][0] for name in dict.fromkeys(_kept(architecture, name) for name in wanted)}
    return found, _scored(asked, activations[to], target)[0]


def _class_scores(
    ready: Prepared, seen: Seen, starts: Mapping[str, Int[Array, "chunks k 2"]], *, asked: Asked, layout: Layout
) -> Float[Array, "p ..."]:
    """Scores of one image under windows of one group, a chunk after another; without a target every class's logit.

    Only maps are computed in chunks. What comes after the last of them is then done for all positions at once, because
    a fully connected layer takes longer to read than to multiply.
    """
    (weights, made), (architecture, to, score) = ready, asked
    image, fill, template, target, clean = seen
    weights = _of_target(architecture, score, weights, target)
    nodes = architecture.ancestors(to)
    shapes = architecture.shapes(image.shape[0], image.shape[1], to)
    inside = _inside(nodes, shapes)
    after = [node for node in nodes if node.name not in inside]
    edge = [node for node in after if any(name in inside for name in node.inputs)]

    def opacity(starts: Mapping[str, Array], first: str) -> Float[Array, "k h w 1"]:
        """Within the region of the image that each position may change: how opaque its window is there, or where the
        segments lie that it hides."""
        region = layout.region[first]
        if MEMBERS in starts:
            labels = cut(template[..., None], starts[first], region)
            members = starts[MEMBERS][:, None, None].astype(template.dtype)
            return (labels == members).any(-1, keepdims=True).astype(template.dtype)
        offset = starts[WINDOW] - starts[first]
        windows = jnp.broadcast_to(template[..., None], (len(offset), *template.shape, 1))
        return placed(windows, offset, layout.offset[first, WINDOW], region)

    def changed(starts: Mapping[str, Array]) -> dict[str, Array]:
        regions = _Regions(architecture, shapes, weights, made, clean, layout, starts)
        first = nodes[0].name
        region = layout.region[first]
        changes = {first: opacity(starts, first) * cut(fill - image, starts[first], region)}
        for node in nodes[1:]:
            if node.name in inside:
                changes[node.name] = regions.change(node, changes)
        if not after:
            return {to: changes[to].sum((1, 2, 3)) / float(np.prod(shapes[to]))}
        return {node.name: regions.change(node, changes) for node in edge}

    changes = {name: x.reshape(-1, *x.shape[2:]) for name, x in lax.map(changed, starts).items()}
    regions = _Regions(architecture, shapes, weights, made, clean, layout, starts)
    for node in after:
        if node not in edge:
            changes[node.name] = regions.change(node, changes)
    before = regions.before(to)
    if score.kind == "gestalt":
        return before.mean() + changes[to]
    return _scored(asked, before[None] + changes[to], target)


class Programs(NamedTuple):
    """`clean` are the untouched image's activations, `scores` those of one group of positions."""

    clean: Kept
    scores: Kept


class_scores = kept("asked", "layout")(_class_scores)
ALL_CORES = Programs(kept("asked")(_clean_activations), class_scores)
EACH_CORE = Programs(  # several images at a time, one on each
    kept("asked", compiled=ONE_CORE)(_clean_activations), kept("asked", "layout", compiled=ONE_CORE)(_class_scores)
)


def _scored(asked: Asked, outputs: Float[Array, "k ..."], target: Array | int | None) -> Float[Array, "k ..."]:
    """The scores, from what the network gives; without a target its logits."""
    architecture, _, score = asked
    if score.kind == "gestalt":
        return outputs.mean(range(1, outputs.ndim))
    if target is None:
        return outputs
    if column_layer(architecture, score):
        return outputs[:, 0]
    return score.of_logits(architecture, outputs, jnp.full(len(outputs), target))


def _inside(nodes: Sequence[Node], shapes: Mapping[str, tuple[int, ...]]) -> set[str]:
    """The maps, and the vectors that some map depends on: what is computed in chunks of positions."""
    inside: set[str] = set()
    for node in reversed(nodes):
        if is_map(shapes[node.name]) or node.name in inside:
            inside.update((node.name, *node.inputs))
    return inside


@dataclass(frozen=True)
class _Regions:
    """The regions of a chunk of positions, and all that changes within them are computed from."""

    architecture: Architecture
    shapes: Mapping[str, tuple[int, ...]]
    weights: Weights
    made: Mapping[str, Any]
    clean: Mapping[str, Array]
    layout: Layout
    starts: Mapping[str, Int[Array, "*chunks k 2"]]

    def before(self, name: str) -> Array:
        """The clean activations of a layer."""
        if name in self.clean:
            return self.clean[name]
        node = self.architecture.by_name[name]
        assert node.layer.monotone, f"{name} was not kept"
        return node.layer({}, self.before(node.inputs[0]))

    def whole(self, name: str, change: Array) -> Array:
        """The change of all of a layer."""
        if name not in self.layout.region:
            return change
        (height, width, _), region = self.shapes[name], self.layout.region[name]
        return placed(change, self.starts[name], ((0, height - region[0]), (0, width - region[1])), (height, width))

    def change(self, node: Node, changes: Mapping[str, Array]) -> Array:
        """How a layer changes: its region of a map, a vector as a whole."""
        layer = node.layer
        if is_local(node, self.shapes):
            region = self.region(node, node.name)
            sources = [self._source(name) if layer.takes_maximum else name for name in node.inputs]
            inputs = [
                placed(
                    changes[source],
                    self.starts[name] - region.origin,
                    self.layout.offset[node.name, name],
                    region.receptive_size,
                )
                for name, source in zip(node.inputs, sources)
            ]
            return layer.change(region, *inputs)
        region = self.region(node, node.inputs[0])
        if len(node.inputs) == 1 and node.inputs[0] in self.layout.region:
            collapsed = layer.collapsed_change(region, changes[node.inputs[0]])
            if collapsed is not None:
                return collapsed
        return layer.whole_change(region, *(self.whole(name, changes[name]) for name in node.inputs))

    def region(self, node: Node, at: str) -> Region:
        """What a layer's change depends on, its window being that of layer `at`."""
        layer, ready = node.layer, self.made.get(node.name)
        size, start = self.layout.region.get(at, (0, 0)), self.starts.get(at, jnp.zeros((1, 2), jnp.int32))
        sources = [self._source(name) if layer.takes_maximum else name for name in node.inputs]

        def then(x: Array) -> Array:
            """The monotone layers between source and input, in their order."""
            name, skipped = node.inputs[0], []
            while name != sources[0]:
                skipped.append(self.architecture.by_name[name].layer)
                name = self.architecture.by_name[name].inputs[0]
            for layer in reversed(skipped):
                x = layer({}, x)
            return x

        return Region(
            self.weights.get(node.name, {}),
            ready,
            tuple(self.shapes[name] for name in node.inputs),
            self.shapes[node.name],
            size,
            start,
            layer.receptive_size(size, ready),
            layer.origin(start),
            lambda i: self.before(sources[i]),
            lambda: self.before(node.name),
            then,
        )

    def _source(self, name: str) -> str:
        """The layer before the monotone ones that end in `name`: rectified after a maximum, fewer values are."""
        return _kept(self.architecture, name)


def _kept(architecture: Architecture, name: str) -> str:
    """What a ReLU reads; other layers stand for themselves. Rectifying anew is cheaper than keeping both."""
    while architecture.by_name[name].layer.monotone:
        name = architecture.by_name[name].inputs[0]
    return name


def _of_target(architecture: Architecture, score: Score, weights: Weights, target: Array | int | None) -> Weights:
    """Weights as the plan's architecture takes them: for a class logit, only the target's column of the last layer."""
    name = column_layer(architecture, score)
    if name is None or target is None:
        return weights
    index = jnp.asarray(target)
    column = {key: lax.dynamic_slice_in_dim(weights[name][key], index, 1, -1) for key in weights[name]}
    return {**weights, name: column}


@dataclass(frozen=True, eq=False)
class Job:
    """Positions of one group that one call computes, and where their regions start, a chunk after another."""

    positions: Int[np.ndarray, " p"]
    starts: Mapping[str, Int[Array | np.ndarray, "chunks k 2"]]  # on an accelerator there already
    layout: Layout


def chunk_for(plan: Plan, group: PositionGroup, budget: int) -> int:
    """Positions at once: on a CPU what stays in its cache, elsewhere what stays within the budget."""
    each = plan.position_bytes(group)
    if on_cpu():
        return max(1, min(budget, max(CACHE, MIN_POSITIONS * each)) // each)
    return max(1, min(budget // each, MAX_POSITIONS, NUMBERS // (each // 8)))


def jobs(plan: Plan, budget: int, chunk: int | None = None) -> list[Job]:
    """A plan's positions, `chunk` at a time or what `chunk_for` says, in as few calls as stay below `budget` bytes.

    Chunks and calls are balanced and the last one is padded with its last position, so that a group compiles once.
    """
    made = []
    place = (lambda starts: starts) if on_cpu() else jax.device_put  # there once, for all images
    for group in plan.groups:
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


@dataclass(frozen=True, eq=False)
class Masked:
    """One image and what its windows show, `fill`; `target` is the class whose score is asked for.

    With `target=None` every class's logit; the plan is then one for log-probabilities, which need them all.
    """

    image: Float[np.ndarray, "h w c"]
    fill: Float[np.ndarray, "h w c"]
    target: int | None


def incremental_scores(
    plan: Plan,
    ready: Prepared,
    masked: Masked,
    *,
    score: Score,
    work: Sequence[Job],
    step: Step,
    pool: ThreadPoolExecutor | None = None,
    programs: Programs = ALL_CORES,
) -> tuple[Float[np.ndarray, "p ..."], Array]:
    """The score of one image under every window, with what `prepared` gave, and the untouched image's; without a
    target all logits. Jobs go to `pool`'s threads."""
    call, base = launcher(plan, ready, masked, score, programs)
    if pool is None and not on_cpu():  # all are under way before the first is read
        values: Iterable[Array] = list(map(call, work))
    else:
        values = (pool.map if pool else map)(lambda job: call(job).block_until_ready(), work)
    return collected(plan, work, values, masked.image.dtype, step), base


Launched = list[Float[Array, "..."]]  # a job each: what `collected` makes scores of; and last the base


def collected(
    plan: Plan,
    work: Sequence[Job],
    values: Iterable[Float[Array | np.ndarray, "_ ..."]],
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


def launcher(
    plan: Plan, ready: Prepared, masked: Masked, score: Score, programs: Programs = ALL_CORES
) -> tuple[Callable[[Job], Float[Array, "p ..."]], Array]:
    """What starts a job and does not wait for it, the untouched image's own pass done; and the score that this gave."""
    image, fill, target = jnp.asarray(masked.image), jnp.asarray(masked.fill), masked.target  # on the device once
    asked = Asked(plan.architecture, plan.to, score)
    clean, base = programs.clean(ready.weights, image, target, asked=asked)
    seen = Seen(image, fill, jnp.asarray(plan.windows.template, image.dtype), target, clean)
    return lambda job: programs.scores(ready, seen, job.starts, asked=asked, layout=job.layout), base
