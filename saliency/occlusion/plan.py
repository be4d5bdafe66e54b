"""Which part of each layer a hidden window can change: worked out on the host, before anything is compiled.

A change spreads along each axis on its own, so an interval of rows and an interval of columns per layer and position
say all. Positions are sorted into groups of similar intervals; within a group a layer's region has one static size, the
widest interval, and starts where the interval does, or further in where the region would stick out of the layer. A
region as large as its layer is the full map: nothing is special about it, and every layer from there on is full too.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np
from jaxtyping import Int

from saliency._checks import Pair
from saliency.devices import on_cpu
from saliency.models.graph import Architecture, Node
from saliency.models.operators import Interval, Range, is_map, stays_local
from saliency.occlusion.windows import Windows
from saliency.scores import Score

GROUPS = 3  # along each axis, at most
COMPILATION = 1.5e10  # multiplications that a CPU could do while one more group is compiled, for each convolution
TUNING = 5e12  # ... and an accelerator, which tries several algorithms for each
WORTHWHILE = 0.05  # a further group has to save this share of the work
WINDOW = "window"  # stands for the hidden window among layers' names


class Positions(Protocol):
    """What is hidden: on images of which size, where, and how opaque."""

    @property
    def image(self) -> Pair: ...
    @property
    def positions(self) -> Int[np.ndarray, "p 2"]: ...
    @property
    def template(self) -> np.ndarray: ...


@dataclass(frozen=True)
class Layout:
    """The static shapes of one group of positions: what a compiled function depends on.

    `offsets`: (reader, input) -> how far inside the receptive field of the reader's region the input's region starts,
    as the range (min, max) over positions, for rows and for columns. For the image's input read the windows.
    """

    regions: tuple[tuple[str, Pair], ...]
    offsets: tuple[tuple[tuple[str, str], tuple[Range, Range]], ...]

    @cached_property
    def region(self) -> dict[str, Pair]:
        return dict(self.regions)

    @cached_property
    def offset(self) -> dict[tuple[str, str], tuple[Range, Range]]:
        return dict(self.offsets)


@dataclass(frozen=True, eq=False)
class PositionGroup:
    """Positions of one layout: their indices, and where the region of each layer starts, int32 `[p, 2]`."""

    positions: Int[np.ndarray, " p"]
    layout: Layout
    starts: Mapping[str, Int[np.ndarray, "p 2"]]


@dataclass(frozen=True, eq=False)
class Plan:
    """The work of an occlusion map, as data; `str(plan)` prints it as a table."""

    architecture: Architecture  # as run: without the logits that are not asked for
    to: str
    windows: Positions
    groups: tuple[PositionGroup, ...]
    dense: Architecture  # as the dense path runs it
    transforms: bool = True  # whether Winograd's algorithm is used where it can be: fast, and long to compile

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.architecture.shapes(*self.windows.image, self.to)

    @cached_property
    def transformed(self) -> frozenset[str]:
        """Layers whose changes are computed by what is prepared of their weights."""
        nodes = self.architecture.ancestors(self.to) if self.transforms else ()
        return frozenset(n.name for n in nodes if n.layer.prepares([self.shapes[name] for name in n.inputs]))

    @cached_property
    def macs_dense(self) -> dict[str, int]:
        """Multiplications of one forward pass, per layer."""
        shapes = self.dense.shapes(*self.windows.image, self.to)
        return {node.name: macs(node, shapes, None) for node in self.dense.ancestors(self.to)}

    @cached_property
    def macs(self) -> dict[str, float]:
        """Multiplications of one position, the mean over positions, per layer."""
        total = len(self.windows.positions)
        return {
            node.name: sum(
                len(group.positions) / total * macs(node, self.shapes, group.layout.region.get(node.name))
                for group in self.groups
            )
            for node in self.architecture.ancestors(self.to)
        }

    @property
    def speedup(self) -> float:
        """Dense over incremental multiplications, the clean forward pass counted: what the plan predicts."""
        positions = len(self.windows.positions)
        dense = sum(self.macs_dense.values())
        return positions * dense / (positions * sum(self.macs.values()) + dense)

    def position_bytes(self, group: PositionGroup) -> int:
        """Float32 bytes that a position holds at its largest layer: inputs, output, and a copy of each."""
        region = group.layout.region

        def numbers(name: str) -> int:
            shape = self.shapes[name]
            return int(np.prod(region.get(name, shape[:-1]))) * shape[-1]

        return max(
            8 * (sum(map(numbers, (*n.inputs, n.name))) + n.layer.scratch())
            for n in self.architecture.ancestors(self.to)
            if n.name in region
        )

    @property
    def edge_bytes(self) -> int:
        """Float32 bytes that a position holds after the last map, where all of a call's positions are held at once."""
        return 8 * max(
            [
                int(np.prod(shape)) + self.architecture.by_name[name].layer.scratch()
                for name, shape in self.shapes.items()
                if not is_map(shape)
            ],
            default=1,
        )

    @property
    def full_from(self) -> str | None:
        """The first layer whose map has to be computed whole, at least for some positions."""
        for name, shape in self.shapes.items():
            if is_map(shape) and any(group.layout.region[name] == shape[:2] for group in self.groups):
                return name
        return None

    def rows(self) -> list[tuple[str, str, str, float, float]]:
        """Layer, full size, regions, dense and incremental multiplications: one row for each layer that multiplies."""
        rows = []
        for name, dense in self.macs_dense.items():
            if dense:
                shape = self.shapes[name]
                regions = sorted({group.layout.region[name] for group in self.groups} if is_map(shape) else ())
                rows.append(
                    (name, _size(shape[:-1]), " ".join(map(_size, regions)) or "-", float(dense), self.macs[name])
                )
        return rows

    def __str__(self) -> str:
        lines = [f"{'layer':<24}{'map':>9}  {'dense MMAC':>11}{'incremental':>12}  regions"]
        lines += [
            f"{name:<24}{size:>9}  {dense / 1e6:>11.2f}{mine / 1e6:>12.2f}  {regions}"
            for name, size, regions, dense, mine in self.rows()
        ]
        dense, mine = sum(self.macs_dense.values()), sum(self.macs.values())
        lines += [
            f"{'total a position':<24}{'':>9}  {dense / 1e6:>11.1f}{mine / 1e6:>12.1f}",
            f"{len(self.windows.positions)} positions in {len(self.groups)} groups of"
            f" {', '.join(str(len(group.positions)) for group in self.groups)};"
            f" full maps from {self.full_from or 'nowhere on'}",
            f"predicted speed-up {self.speedup:.2f};"
            f" {max(map(self.position_bytes, self.groups)) / 2**20:.2f} MiB a position",
        ]
        return "\n".join(lines)


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "-"


@lru_cache(maxsize=64)
def plan_for(architecture: Architecture, windows: Windows, score: Score, images: int = 1) -> Plan:
    """How to compute `score` under every window of so many images: the more work, the more groups pay."""
    plans = [plan_with(architecture, windows, score, max_groups) for max_groups in range(1, GROUPS + 1)]
    work = images * len(windows.positions)
    shapes = architecture.shapes(*windows.image, score.layer_in(architecture))
    convolutions = sum(is_map(shape) and architecture.by_name[name].layer.weighted for name, shape in shapes.items())
    group_cost = convolutions * (COMPILATION if on_cpu() else TUNING)
    return min(plans, key=lambda plan: work * sum(plan.macs.values()) + group_cost * len(plan.groups))


def asked(
    architecture: Architecture, size: Pair, score: Score
) -> tuple[Architecture, Architecture, str, Mapping[str, tuple[int, ...]], list[Node]]:
    """For images of `size`: the network as it is run, and as the dense path runs it; the layer that is scored, shapes
    up to there, and the nodes that are maps."""
    run = dense = score.explained(architecture)
    if column := column_layer(run, score):
        run = with_features(run, column, 1)
    to = score.layer_in(run)
    shapes = run.shapes(*size, to)
    return run, dense, to, shapes, [node for node in run.ancestors(to) if is_map(shapes[node.name])]


def plan_with(architecture: Architecture, windows: Windows, score: Score, max_groups: int) -> Plan:
    """With at most so many groups of rows, and of columns."""
    run, dense, to, shapes, nodes = asked(architecture, windows.image, score)
    intervals = [intervals_of(nodes, shapes, windows.starts[axis], windows.patch[axis], axis) for axis in (0, 1)]
    # a feature computed, but for its products, takes about as long as 20 of them
    per_pixel = {node.name: macs(node, shapes, (1, 1)) + 20 * shapes[node.name][-1] for node in nodes}
    rows, cols = (_groups(interval, per_pixel, max_groups) for interval in intervals)
    groups = tuple(_group(nodes, shapes, intervals, row, col, windows) for row in rows for col in cols)
    return Plan(run, to, windows, groups, dense)


def column_layer(architecture: Architecture, score: Score) -> str | None:
    """The layer whose features are the logits, where one alone is scored: everything after it keeps channels apart."""
    if not score.of_one_logit or architecture.probabilities == "sigmoid":
        return None
    readers = Counter(name for node in architecture.nodes for name in node.inputs)
    node = architecture.by_name[architecture.last]
    while node.layer.channelwise and readers[node.inputs[0]] == 1:
        node = architecture.by_name[node.inputs[0]]
    return node.name if node.layer.selectable else None


def with_features(architecture: Architecture, name: str, features: int) -> Architecture:
    """The same network, one of whose layers has another number of features."""
    nodes = tuple(
        replace(node, layer=replace(node.layer, features=features)) if node.name == name else node  # type: ignore[type-var]
        for node in architecture.nodes
    )
    return replace(architecture, nodes=nodes)


def macs(node: Node, shapes: Mapping[str, tuple[int, ...]], region: Pair | tuple[int, ...] | None) -> int:
    """Multiplications of a layer over a region of its output (None: over all of it)."""
    places = shapes[node.name][:-1] if region is None else region
    return node.layer.macs([shapes[name] for name in node.inputs], places)


def intervals_of(
    nodes: list[Node], shapes: Mapping[str, tuple[int, ...]], starts: np.ndarray, patch: int, axis: int
) -> dict[str, Interval]:
    """For each layer the first and the last line that each window of this axis can change."""
    intervals: dict[str, Interval] = {}
    for node in nodes:
        lines = shapes[node.name][axis]
        if not node.inputs:
            low, high = starts, starts + patch - 1
        elif is_local(node, shapes):
            low, high = node.layer.reach(axis, lines, *(intervals[name] for name in node.inputs))
        else:  # anything may change
            low, high = np.zeros_like(starts), np.full_like(starts, lines - 1)
        low = np.clip(low, 0, lines - 1)
        intervals[node.name] = low, np.clip(high, low, lines - 1)  # a line even where nothing changes
    return intervals


def is_local(node: Node, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a layer's changed windows are windows still."""
    return stays_local(node.layer, [shapes[name] for name in node.inputs], shapes[node.name])


def _groups(intervals: Mapping[str, Interval], per_pixel: Mapping[str, int], max_groups: int) -> list[np.ndarray]:
    """Lines of windows sorted by work and cut into at most `max_groups` runs, so that the widest regions cost least.

    The work of a run is its length times the sum over layers of squared region sizes: the other axis is like this one.
    """
    widths = np.stack([high - low + 1 for low, high in intervals.values()])
    weights = np.array([per_pixel[name] for name in intervals], float)
    order = np.argsort(weights @ widths**2, kind="stable")
    widths = widths[:, order]
    count = len(order)
    cost = np.full((count + 1, count + 1), np.inf)
    for first in range(count):
        widest = np.maximum.accumulate(widths[:, first:], 1)
        cost[first, first + 1 :] = (weights @ widest**2) * np.arange(1, count - first + 1)
    best, cuts = cost[0], np.zeros((count + 1, 0), int)  # of the first i lines in so many runs
    for _ in range(1, max_groups):
        total = best[:, None] + cost
        before = total.argmin(0)
        if total[before[count], count] > (1 - WORTHWHILE) * best[count]:
            break
        best = total[before, np.arange(count + 1)]
        cuts = np.concatenate([cuts[before], before[:, None]], 1)
    return [np.sort(lines) for lines in np.split(order, cuts[count])]


def _group(
    nodes: list[Node],
    shapes: Mapping[str, tuple[int, ...]],
    intervals: list[dict[str, Interval]],
    rows: np.ndarray,
    cols: np.ndarray,
    windows: Windows,
) -> PositionGroup:
    """The group of the windows in some rows and some columns."""
    i, j = np.repeat(rows, len(cols)), np.tile(cols, len(rows))
    at = np.stack([axis[every] for axis, every in zip(windows.starts, (i, j))], -1)
    layout, starts = laid_out(nodes, shapes, intervals, (rows, cols), (i, j), at)
    return PositionGroup(i * windows.grid[1] + j, layout, starts)


def laid_out(
    nodes: list[Node],
    shapes: Mapping[str, tuple[int, ...]],
    intervals: Sequence[Mapping[str, Interval]],
    lines: tuple[np.ndarray, np.ndarray],
    every: tuple[np.ndarray, np.ndarray],
    at: Int[np.ndarray, "p 2"],
) -> tuple[Layout, dict[str, Int[np.ndarray, "p 2"]]]:
    """One layout for some lines of each axis's intervals, and where the regions of each position start: `every` is the
    position's line on each axis, `at` where its window starts."""
    regions: dict[str, Pair] = {}
    starts = {}
    for node in nodes:
        sizes, firsts = [], []
        for interval, some, each, size in zip(intervals, lines, every, shapes[node.name]):
            low, high = interval[node.name]
            widest = int((high - low)[some].max()) + 1
            sizes.append(widest)
            firsts.append(np.minimum(low[each], size - widest))
        regions[node.name] = sizes[0], sizes[1]
        starts[node.name] = np.stack(firsts, -1).astype(np.int32)
    starts[WINDOW] = at.astype(np.int32)
    offsets = {}
    for node in nodes:
        origin = node.layer.origin(starts[node.name]) if is_local(node, shapes) else np.zeros((1, 2), int)
        for name in node.inputs or (WINDOW,):
            if name not in starts:  # a vector: it changes as a whole
                continue
            offset = starts[name] - origin
            (top, left), (bottom, right) = offset.min(0).tolist(), offset.max(0).tolist()
            offsets[node.name, name] = (top, bottom), (left, right)
    return Layout(tuple(regions.items()), tuple(offsets.items())), starts
