"""Scores of an image some of whose segments are hidden, by full passes or from what the segments change alone.

Segments have any shape: connected or not, at the border or not. For the incremental engine the changed window is a
frame around all that a set hides, and what enters is the difference of fill and image where the set's segments are, 0
elsewhere. Frames have a few fixed sizes, and calls a fixed number of positions, so that another image's segments
compile nothing anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from saliency._batches import balanced_size, workers
from saliency._checks import Pair
from saliency.devices import on_cpu
from saliency.models.graph import Architecture, Weights
from saliency.models.network import Network
from saliency.occlusion.choice import PAST, WORTHWHILE, Choice, set_choices, soonest
from saliency.occlusion.dense import Step, chunked, positions_for
from saliency.occlusion.execution import Engine, Execution
from saliency.occlusion.incremental import (
    MEMBERS,
    Job,
    Masked,
    Prepared,
    chunk_for,
    incremental_scores,
    prepared,
)
from saliency.occlusion.plan import Layout, Plan, PositionGroup, asked, intervals_of, laid_out
from saliency.scores import Score

FRAMES = (1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 1)  # shares of the image's height and width
NONE = -1  # pads a set's members


@dataclass(frozen=True, eq=False)
class HiddenSets:
    """Which segments each position hides: `labels` says for each pixel which segment it belongs to, `members` int32
    `[p, m]` which segments a position hides, each row filled up with -1. A set hides one pixel at least."""

    labels: Int[np.ndarray, "h w"]
    members: Int[np.ndarray, "p m"]

    @property
    def image(self) -> Pair:
        height, width = self.labels.shape
        return height, width

    @property
    def template(self) -> Int[np.ndarray, "h w"]:
        """What the engine compares a position's members with."""
        return self.labels

    @cached_property
    def bounds(self) -> tuple[Int[np.ndarray, "p 2"], Int[np.ndarray, "p 2"]]:
        """First (row, column) of what each position hides, and one past the last."""
        count = int(self.labels.max()) + 2  # the last one is nothing, for those that fill up
        first, past = np.full((count, 2), max(self.image)), np.zeros((count, 2), int)
        for axis, lines in enumerate(np.indices(self.labels.shape)):
            np.minimum.at(first[:, axis], self.labels.ravel(), lines.ravel())
            np.maximum.at(past[:, axis], self.labels.ravel(), lines.ravel() + 1)
        return first[self.members].min(1), past[self.members].max(1)

    @property
    def positions(self) -> Int[np.ndarray, "p 2"]:
        return self.bounds[0]

    @property
    def visible(self) -> Bool[np.ndarray, "p k"]:
        """Which segments each position shows."""
        shown = np.ones((len(self.members), int(self.labels.max()) + 2), bool)
        np.put_along_axis(shown, self.members, False, 1)
        return shown[:, :-1]


def atoms(masks: Bool[np.ndarray, "k h w"]) -> tuple[Int[np.ndarray, "h w"], Int[np.ndarray, "k m"]]:
    """Segments that masks which may overlap are made of: labels, and which of them each mask has, filled up with -1."""
    columns, labels = np.unique(masks.reshape(len(masks), -1), axis=1, return_inverse=True)
    has = [np.flatnonzero(row) for row in columns]
    return labels.reshape(masks.shape[1:]).astype(np.int32), filled_up(has)


def filled_up(rows: Sequence[Int[np.ndarray, " _"]]) -> Int[np.ndarray, "p m"]:
    """Rows of unequal length as an array, filled up with -1."""
    most = max(map(len, rows), default=1)
    return np.array([[*row, *[NONE] * (most - len(row))] for row in rows], np.int32).reshape(len(rows), most)


def frame_sizes(image: Pair) -> list[Pair]:
    """The frames, smallest first."""
    height, width = image
    return sorted({(int(np.ceil(share * height)), int(np.ceil(share * width))) for share in FRAMES})


@lru_cache(maxsize=64)
def _frame(
    architecture: Architecture, image: Pair, frame: Pair, score: Score
) -> tuple[Layout, dict[str, Int[np.ndarray, "lines 2"]]]:
    """The layout of a frame wherever it lies, and for each layer where its region starts when the frame starts at each
    line; the shorter axis's last line is repeated."""
    *_, shapes, nodes = asked(architecture, image, score)
    lines = [np.arange(size - side + 1) for size, side in zip(image, frame)]
    intervals = [intervals_of(nodes, shapes, lines[axis], frame[axis], axis) for axis in (0, 1)]
    i, j = (np.minimum(np.arange(max(map(len, lines))), len(own) - 1) for own in lines)
    return laid_out(nodes, shapes, intervals, (lines[0], lines[1]), (i, j), np.stack([i, j], -1))


def sets_plan(architecture: Architecture, sets: HiddenSets, score: Score) -> Plan:
    """How the incremental engine computes an image's sets: each in the smallest frame around it."""
    run, dense, to, *_ = asked(architecture, sets.image, score)
    first, past = sets.bounds
    frames, left = frame_sizes(sets.image), np.ones(len(first), bool)
    groups = []
    for frame in frames:
        fits = left & (past - first <= frame).all(1)
        left &= ~fits
        if not fits.any():
            continue
        layout, tables = _frame(architecture, sets.image, frame, score)
        at = np.minimum(first[fits], np.subtract(sets.image, frame))
        starts = {name: np.stack([table[at[:, 0], 0], table[at[:, 1], 1]], -1) for name, table in tables.items()}
        groups.append(PositionGroup(np.flatnonzero(fits), layout, {**starts, MEMBERS: sets.members[fits]}))
    return Plan(run, to, sets, tuple(groups), dense)


def set_jobs(plan: Plan, budget: int, chunk: int | None = None) -> list[Job]:
    """A plan's positions in calls of one size for each frame, however many there are."""
    made = []
    for group in plan.groups:
        size = chunk or chunk_for(plan, group, budget)
        for start in range(0, len(group.positions), size):
            index = np.minimum(np.arange(start, start + size), len(group.positions) - 1)
            kept = group.positions[start : start + size]
            made.append(Job(kept, {name: x[index][None] for name, x in group.starts.items()}, group.layout))
    return made


def scores_of_sets(
    net: Network,
    x: Float[np.ndarray, "n h w c"],
    fills: Float[np.ndarray, "n h w c"],
    sets: Sequence[HiddenSets],
    *,
    score: Score,
    targets: Int[np.ndarray, " n"],
    execution: Execution,
    step: Step,
) -> tuple[list[Float[np.ndarray, " p"]], Engine]:
    """The score of each image under each of its sets, the pixels of a set's segments taken from `fills`; and the engine
    that ran."""
    architecture, weights = net.architecture, net.weights
    if not len(x) or not any(len(one.members) for one in sets):
        return [np.empty(0, x.dtype) for _ in sets], "dense"
    plans = [sets_plan(architecture, one, score) for one in sets]
    choice = _choice(plans, execution)
    if choice.plan is not None:
        own = [replace(plan, transforms=choice.plan.transforms) for plan in plans]
        scores = _incremental(own, weights, x, fills, score, targets, execution, step)
    else:
        chunk = execution.chunk or positions_for(
            architecture, *sets[0].image, score.layer_in(architecture), execution.bytes
        )
        chunk = balanced_size(max(len(one.members) for one in sets), chunk)
        scores = [
            _dense(architecture, weights, *of_image, score=score, chunk=chunk, step=step)
            for of_image in zip(x, fills, sets, targets)
        ]
    if not execution.steady:
        PAST.note(choice, len(x))
    return scores, choice.engine


def _choice(plans: Sequence[Plan], execution: Execution) -> Choice:
    """The engine for all images, judged by the one that has most to compute."""
    most = max(plans, key=lambda plan: len(plan.windows.positions))
    found = set_choices(most)
    past = None if execution.steady else PAST
    expected = execution.images or len(plans) + (past.images(found) if past else 0)
    return soonest(found, max(1, expected), execution.engine, past)


def set_passes_saved(net: Network, sets: HiddenSets, *, score: Score, engine: Engine = "auto") -> float:
    """How many forward passes' multiplications the incremental engine leaves out of an image's sets, by its plan; 0
    where the dense engine runs."""
    plan = sets_plan(net.architecture, sets, score)
    runs = engine == "incremental" or (engine == "auto" and plan.speedup >= WORTHWHILE)
    return (1 - 1 / plan.speedup) * len(sets.members) if runs else 0.0


def _incremental(
    plans: Sequence[Plan],
    weights: Weights,
    x: Float[np.ndarray, "n h w c"],
    fills: Float[np.ndarray, "n h w c"],
    score: Score,
    targets: Int[np.ndarray, " n"],
    execution: Execution,
    step: Step,
) -> list[Float[np.ndarray, " p"]]:
    ready: Prepared = prepared(plans[0], weights)
    with workers(2 if on_cpu() else 1) as pool:
        return [
            incremental_scores(
                plan, ready, Masked(image, fill, int(target)), score=score,
                work=set_jobs(plan, execution.bytes, execution.chunk), step=step, pool=pool if on_cpu() else None,
            )[0]
            for plan, image, fill, target in zip(plans, x, fills, targets)
        ]  # fmt: skip


def _dense(
    architecture: Architecture,
    weights: Weights,
    image: Float[np.ndarray, "h w c"],
    fill: Float[np.ndarray, "h w c"],
    sets: HiddenSets,
    target: int,
    *,
    score: Score,
    chunk: int,
    step: Step,
) -> Float[np.ndarray, " p"]:
    labels, count = jnp.asarray(sets.labels), len(sets.members)
    index = np.minimum(np.arange(-(-count // chunk) * chunk), count - 1)  # every call has `chunk` of them
    scores = chunked(
        lambda i: set_scores(
            weights, image, fill, labels, sets.members[index[i]], target, architecture=architecture, score=score
        ),
        len(index),
        chunk,
        lambda done: None,
    )
    step(count)
    return scores[:count]


@partial(jax.jit, static_argnames=("architecture", "score"))
def set_scores(
    weights: Weights,
    image: Array,
    fill: Array,
    labels: Array,
    members: Int[Array, "k m"],
    target: Array,
    *,
    architecture: Architecture,
    score: Score,
) -> Float[Array, " k"]:
    """Scores of one image with each set of segments filled."""
    hidden = (labels[None, ..., None] == members[:, None, None]).any(-1, keepdims=True)
    return score(architecture, weights, jnp.where(hidden, fill, image), jnp.full(len(members), target))
