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
INCREMENTAL = 0.46  # of a dense multiplication's time, for one within a window, which stays in the cache
TRANSFORMED = 0.6  # of a 3x3 convolution's time is left where Winograd's algorithm does it
UNROLLED = 8.0  # times as long takes a multiplication of a depthwise convolution, which waits for memory
OVERHEAD = 0.0008  # s for each layer of each group, however little there is to multiply
DENSE_KERNEL, PLAIN_KERNEL, WINOGRAD_KERNEL = 0.042, 0.123, 1.05  # s to compile a layer with weights, for each group
UNROLLED_KERNEL = 0.17  # ... where it is a long loop of its own
WORTHWHILE = 1.2  # times fewer multiplications; with less to save the simpler way is taken
WARM = 0.2  # of compilation is left where the programs lie in the cache: they are traced and loaded all the same


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
    layers = [architecture.by_name[name].layer for name in first.macs_dense]
    compiling = _kernels(layers, DENSE_KERNEL)
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
    compiling = _kernels([plan.dense.by_name[name].layer for name in plan.macs_dense], DENSE_KERNEL)
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
    nodes = plan.architecture.ancestors(plan.to)
    plain = [n.layer for n in nodes if is_map(plan.shapes[n.name]) and n.name not in plan.transformed]
    one = _kernels(plain, PLAIN_KERNEL) + len(plan.transformed) * WINOGRAD_KERNEL
    untouched = _kernels([node.layer for node in nodes], DENSE_KERNEL) if on_cpu() else 0.0
    return len(plan.groups) * one + untouched


def _kernels(layers: Iterable[Operator], each: float) -> float:
    """Seconds to compile the layers with weights once, `each` for one that is a library's call."""
    weighted = [layer for layer in layers if layer.weighted]
    if not on_cpu():
        return len(weighted) * TUNING / RATE
    return sum(UNROLLED_KERNEL if layer.unrolled else each for layer in weighted)


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
