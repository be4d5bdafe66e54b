"""Which engine is done first: what is left to compile, and what then is computed for each image.

Dense, and incremental in up to six ways: with one, a few or many groups of positions, each group compiled on its own,
and with Winograd's convolutions or plain ones, which compute a little longer and compile several times faster. Seconds
are those of one core of the machine in `data/benchmarks/start.json`; on another all of them change alike.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from threading import Lock

from saliency import cache
from saliency.devices import on_cpu
from saliency.models.graph import Architecture
from saliency.models.operators import Operator, is_map
from saliency.occlusion.execution import Engine
from saliency.occlusion.plan import GROUPS, TUNING, Plan, plan_with
from saliency.occlusion.windows import Windows
from saliency.scores import Score

RATE = 2.4e10  # multiplications a second, of a dense pass
INCREMENTAL = 0.55  # of a dense multiplication's time, for one within a window, which stays in the cache
TRANSFORMED = 0.7  # of a 3x3 convolution's time is left where Winograd's algorithm does it
UNROLLED = 6.0  # times as long takes a multiplication of a depthwise convolution, which waits for memory
OVERHEAD = 0.0002  # s for each layer of each group, however little there is to multiply
# s to compile, fitted to data/benchmarks/compiling.json: five networks, each plan's programs from nothing
FIRST = 1.7  # whatever the engine: the score's own program, what is traced for the first time
CONVOLUTION, TRANSFORM, DEPTHWISE, MAXIMUM = 0.092, 0.88, 0.053, 0.24  # of a layer's change within a group's windows
TRANSFORM_WHOLE, DEPTHWISE_WHOLE = 0.53, 0.06  # of a layer of one whole image, where it is no library's call
DEPTHWISE_DENSE = 0.12  # of a depthwise layer of a batch
WORTHWHILE = 1.2  # times fewer multiplications; with less to save the simpler way is taken
WARM = 0.1  # of compilation is left where the programs lie in the cache, from where they are loaded


@dataclass(frozen=True, eq=False)
class Choice:
    """A way to compute: `plan` of the incremental engine, None for the dense one; seconds to compile, and for each
    image."""

    key: str
    plan: Plan | None
    compiling: float
    each: float

    @property
    def engine(self) -> Engine:
        return "dense" if self.plan is None else "incremental"

    @property
    def name(self) -> str:
        if self.plan is None:
            return "dense"
        groups = len(self.plan.groups)
        how = "Winograd's" if self.plan.transforms else "plain"
        return f"incremental, {how} convolutions, {groups} group{'s' * (groups > 1)}"

    @property
    def worthwhile(self) -> bool:
        """Whether it is dense, or leaves out enough multiplications for `auto` to take it."""
        return self.plan is None or self.plan.speedup >= WORTHWHILE

    def seconds(self, images: int, left: float = 1.0) -> float:
        """For so many images, the share `left` of compilation still to be done."""
        return left * self.compiling + images * self.each


@lru_cache(maxsize=64)
def choices(architecture: Architecture, windows: Windows, score: Score) -> tuple[Choice, ...]:
    """Every way to compute this map, the dense one first."""
    positions = len(windows.positions)
    first = plan_with(architecture, windows, score, 1)
    problem = (architecture, windows.image, windows.patch, windows.stride, windows.shape, score)
    forward = sum(_slowed(first, first.macs_dense).values())
    compiling = _compiling_dense(first)
    found = [Choice(_key(problem, "dense"), None, compiling, (positions + 1) * forward / RATE)]
    for most in range(1, GROUPS + 1):
        plan = first if most == 1 else plan_with(architecture, windows, score, most)
        if found[1:] and len(plan.groups) == len(found[-1].plan.groups):  # type: ignore[union-attr]
            continue
        for transforms in (False, True):
            made = replace(plan, transforms=transforms)
            if transforms and not made.transformed:
                continue
            key = _key(problem, f"incremental {len(plan.groups)} {transforms}")
            found.append(Choice(key, made, _compiling(made), _each(made, positions, forward)))
    return tuple(found)


def set_choices(plan: Plan) -> tuple[Choice, ...]:
    """Every way to compute what a plan of hidden segments does, the dense one first; what is compiled knows frames, and
    nothing of the image's segments."""
    positions, forward = len(plan.windows.positions), sum(_slowed(plan, plan.macs_dense).values())
    problem = ("sets", plan.architecture, plan.to, plan.windows.image, sorted(map(repr, _layouts(plan))))
    compiling = _compiling_dense(plan)
    found = [Choice(_key(problem[:-1], "dense"), None, compiling, (positions + 1) * forward / RATE)]
    for transforms in (False, True):
        made = replace(plan, transforms=transforms)
        if not transforms or made.transformed:
            key = _key(problem, f"incremental {transforms}")
            found.append(Choice(key, made, _compiling(made), _each(made, positions, forward)))
    return tuple(found)


def _layouts(plan: Plan) -> list[tuple[tuple[str, tuple[int, int]], ...]]:
    return [group.layout.regions for group in plan.groups]


def soonest(found: Iterable[Choice], images: int, engine: str = "auto", past: "Past | None" = None) -> Choice:
    """The choice that is done first with so many images; `engine` leaves out the others, `past` knows what is
    compiled."""
    able = [choice for choice in found if engine == choice.engine or (engine == "auto" and choice.worthwhile)]
    return min(able, key=lambda choice: choice.seconds(images, past.left(choice) if past else 1.0))


class Past:
    """What this process has compiled, and for how many images; and what others did that share its cache of compiled
    programs."""

    def __init__(self) -> None:
        self._done: dict[str, int] = {}
        self._turn = Lock()

    def left(self, choice: Choice) -> float:
        """The share of a choice's compilation that is still to be done."""
        if choice.key in self._done:
            return 0.0
        return WARM if cache.counted(choice.key) else 1.0

    def images(self, found: Sequence[Choice]) -> int:
        """How many images of this problem were computed so far: as many more are expected, so that calls, and
        processes, for one image each come to the engine that suits them all."""
        return sum(max(self._done.get(choice.key, 0), cache.counted(choice.key)) for choice in found)

    def note(self, choice: Choice, images: int) -> None:
        with self._turn:
            cache.count(choice.key, images)
            self._done[choice.key] = self._done.get(choice.key, 0) + images


PAST = Past()


def told(found: Sequence[Choice], counts: Sequence[int] = (1, 3, 10, 30, 1000)) -> str:
    """A table of what each choice takes for so many images, nothing compiled yet; the least in brackets."""
    lines = [f"{'s of a core, first start, images:':<56}" + "".join(f"{count:>10}" for count in counts)]
    best = [soonest(found, count) for count in counts]
    for choice in found:
        cells = [
            f"[{choice.seconds(count):.1f}]" if choice is least else f"{choice.seconds(count):.1f}"
            for count, least in zip(counts, best)
        ]
        lines.append(f"{choice.name:<56}" + "".join(f"{cell:>10}" for cell in cells))
    return "\n".join(lines)


def _compiling(plan: Plan) -> float:
    """Seconds until all groups are compiled, and the untouched image's own pass."""
    inside = [node for node in plan.architecture.ancestors(plan.to) if is_map(plan.shapes[node.name])]
    if not on_cpu():
        return len(plan.groups) * _tuning(node.layer for node in inside)
    group = sum(_kernel(node.layer, node.name in plan.transformed) for node in inside)
    return FIRST + len(plan.groups) * group + 2 * _whole(plan)  # the score of the untouched image, and its activations


def _compiling_dense(plan: Plan) -> float:
    """Seconds until batches of hidden images are compiled, and the untouched image's score."""
    layers = [plan.dense.by_name[name].layer for name in plan.macs_dense]
    if not on_cpu():
        return _tuning(layers)
    return FIRST + _whole(plan) + DEPTHWISE_DENSE * sum(layer.unrolled for layer in layers)


def _whole(plan: Plan) -> float:
    """Seconds that one whole image's pass takes longer than if all its layers were a library's calls."""
    nodes = [node for node in plan.architecture.ancestors(plan.to) if node.inputs]
    transformed = sum(node.layer.transforms([plan.shapes[name] for name in node.inputs]) for node in nodes)
    return TRANSFORM_WHOLE * transformed + DEPTHWISE_WHOLE * sum(node.layer.unrolled for node in nodes)


def _kernel(layer: Operator, transformed: bool) -> float:
    """Seconds to compile a layer's change within windows; what is computed point by point joins another's loop."""
    if layer.takes_maximum:
        return MAXIMUM
    if not layer.weighted:
        return 0.0
    return TRANSFORM if transformed else DEPTHWISE if layer.unrolled else CONVOLUTION


def _tuning(layers: Iterable[Operator]) -> float:
    """Seconds of an accelerator, which tries several algorithms for each layer with weights."""
    return sum(layer.weighted for layer in layers) * TUNING / RATE


def _slowed(plan: Plan, macs: Mapping[str, float]) -> dict[str, float]:
    """Multiplications of layers as so many of a library's call."""
    layer = plan.architecture.by_name
    return {name: value * (UNROLLED if on_cpu() and layer[name].layer.unrolled else 1) for name, value in macs.items()}


def _each(plan: Plan, positions: int, forward: float) -> float:
    """Seconds an image."""
    changed = sum(
        value * (TRANSFORMED if name in plan.transformed else 1) for name, value in _slowed(plan, plan.macs).items()
    )
    overhead = OVERHEAD * len(plan.groups) * len(plan.macs) if on_cpu() else 0.0
    factor = INCREMENTAL if on_cpu() else 1.0
    return (positions * changed * factor + forward) / RATE + overhead


def _key(*parts: object) -> str:
    return "plan-" + hashlib.sha256(repr(parts).encode()).hexdigest()[:40]
