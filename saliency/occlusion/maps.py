"""Occlusion maps: how far a score falls when a window of the image is hidden (Zeiler & Fergus 2014).

The sign is base - occluded everywhere: positive where hiding a pixel hurts the score.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from jax.errors import JaxRuntimeError
from jaxtyping import Float, Int

from saliency._batches import balanced_size, batches, cores, side_by_side, workers
from saliency._checks import ImagesLike, Pair, function, kind_of, pair, whole
from saliency.devices import halved, on_cpu, under_way
from saliency.errors import InputError
from saliency.models.black_box import (
    Classifier,
    ScoreFunction,
    classifier_input,
    columns_of,
    entry,
    score_functions,
    scores_of,
)
from saliency.models.graph import Architecture, Weights
from saliency.models.network import Network, check_input
from saliency.models.preprocessing import Preprocessing
from saliency.occlusion.choice import PAST, WORTHWHILE, Choice, choices, soonest
from saliency.occlusion.dense import (
    CPU_CHUNK,
    Step,
    black_box_scores,
    dense_logits,
    dense_scores,
    positions_for,
)
from saliency.occlusion.execution import Engine, Execution
from saliency.occlusion.incremental import (
    ALL_CORES,
    EACH_CORE,
    Job,
    Launched,
    Masked,
    Prepared,
    at_once,
    collected,
    incremental_scores,
    jobs,
    launcher,
    prepared,
)
from saliency.occlusion.plan import Plan, plan_for
from saliency.occlusion.windows import Fill, Windows, fill_images
from saliency.scores import Score, Target, as_score, last_layer, resolve_targets

Progress = Callable[[int, int], None]  # done, total
PATCH, STRIDE = 32, 16  # pixels
Found = TypeVar("Found")


DEFAULT = Execution()


@dataclass(frozen=True)
class OcclusionMaps:
    """What `occlusion_maps` found.

    `maps` float32 `[n, h, w]`; `scores` float32 `[n, rows, cols]`, the score itself under each window; `base` float32
    `[n]`, the untouched image's; `coverage` `[h, w]`, how many windows hide each pixel; `windows`, where they lie;
    `engine`, "dense" or "incremental", what ran.

    >>> import numpy as np, saliency
    >>> found = saliency.occlusion_maps(lambda x: x.mean((1, 2, 3)), np.ones((1, 4, 6, 3)), patch=2, stride=2, fill=0)
    >>> found
    OcclusionMaps(1 maps [4, 6] from 2x3 windows, dense engine)
    >>> found.drops.sum().round(4).item()
    1.0
    """

    maps: Float[np.ndarray, "n h w"]
    scores: Float[np.ndarray, "n rows cols"]
    base: Float[np.ndarray, " n"]
    coverage: Float[np.ndarray, "h w"]
    windows: Windows
    engine: str

    def __repr__(self) -> str:
        n, rows, cols = self.scores.shape
        return f"OcclusionMaps({n} maps {list(self.maps.shape[1:])} from {rows}x{cols} windows, {self.engine} engine)"

    @property
    def drops(self) -> Float[np.ndarray, "n rows cols"]:
        """How far the score falls under each window: base - scores."""
        return self.base[:, None, None] - self.scores


def occlusion_maps(
    net: Classifier,
    x: ImagesLike,
    windows: Windows | None = None,
    *,
    patch: int | Pair | None = None,
    stride: int | Pair | None = None,
    fill: Fill | np.ndarray = "grey",
    score: str | Score = "logit",
    target: Target = None,
    preprocess: Preprocessing | None = None,
    seed: int = 0,
    execution: Execution = DEFAULT,
    progress: Progress | None = None,
) -> OcclusionMaps:
    """Slide a window over the images and see how far the score falls (Zeiler & Fergus 2014).

    Args:
        net: a network; or a black box, any function from images `[k, h, w, c]` to scores `[k]`, or to `[k, classes]`
            where `target` says which column is the score.
        x: float `[n, h, w, 3]` as `net.preprocess` gives it; of a black box any number of channels.
        windows: where windows lie, their shape, and the convention by which a pixel's value is made of theirs: see
            `Windows`. Without it rectangles of `patch` every `stride`, under captum's convention.
        patch: the window in pixels, one number or (height, width) (default: 32).
        stride: from window to window in pixels (default: 16).
        fill: what hides, stated in pixels 0..255 and taken through the preprocessing: "grey" (127.5), a level,
            (r, g, b), "mean" (each image's own mean colour), "blur" (of a tenth of its shorter side), "noise" (from
            `seed`); or images `[n, h, w, c]` in the space of `x`.
        score: what falls, see `Score`; a black box has its own.
        target: class indices or names, one or one for each image; default: the class predicted for the whole image.
        preprocess: how pixels become the images of a black box (default: they are pixels); a network knows its own.
        execution: engine, memory and positions at once, see `Execution`; the result says which engine ran.
        progress: called with (done, total) positions.

    Returns:
        OcclusionMaps, whose `maps` float32 `[n, h, w]` are positive where hiding a pixel hurts the score.

    Scores are computed in float32, on an accelerator too, where `jax.default_matmul_precision` trades precision for
    speed. Raises InputError for windows that do not fit, an unknown option, a target out of range, NaN in `x`, and a
    fill far outside of a black box's images.

    >>> import saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> photo = np.zeros((96, 96, 3), np.uint8)
    >>> photo[20:50, 30:60] = 255
    >>> occlusion_maps(net, net.preprocess([photo]), patch=32, stride=32, fill="mean").scores.shape
    (1, 3, 3)
    >>> brightness = lambda images: images.mean((1, 2, 3))
    >>> found = occlusion_maps(brightness, photo[None], patch=48, stride=48, fill=0)
    >>> found.drops.astype(float).round(1).tolist()
    [[[13.9, 9.3], [1.0, 0.7]]]
    """
    function("progress", progress, "(done, total)")
    whole("seed", seed)
    kind_of("execution", execution, Execution, "how occlusion is computed")
    score, preprocess = as_score(score), entry(net, preprocess)
    x = classifier_input(net, x, last_layer(net, score))
    windows = _windows(windows, patch, stride, (x.shape[1], x.shape[2]))
    fills = fill_images(x, fill, preprocess, seed)
    step = counter(len(x) * len(windows.positions), progress)
    if isinstance(net, Network):
        targets = resolve_targets(net, x, score, target)
        hidden, base, engine = scores_under(
            net, x, fills, windows, score=score, targets=targets, execution=execution, step=step
        )
    else:
        if execution.engine == "incremental":
            raise InputError("the incremental engine needs a network whose layers it can see; a function takes dense")
        engine = "dense"
        chunk = balanced_size(len(windows.positions), execution.chunk or CPU_CHUNK)
        base = _base(net, x, columns_of(target, len(x)), chunk)
        functions = score_functions(net, len(x), target)
        hidden = [
            black_box_scores(function, image, filled, windows, chunk=chunk, step=step)
            for function, image, filled in zip(functions, x, fills)
        ]
    scores = np.reshape(hidden, (len(x), *windows.grid)).astype(np.float32)
    maps = windows.pixel_maps(base[:, None, None] - scores)
    return OcclusionMaps(maps, scores, base.astype(np.float32), windows.coverage, windows, engine)


def _windows(windows: Windows | None, patch: int | Pair | None, stride: int | Pair | None, size: Pair) -> Windows:
    """The windows that are given, checked against the images, or rectangles of patch and stride."""
    if windows is None:
        given = pair("patch", PATCH if patch is None else patch), pair("stride", STRIDE if stride is None else stride)
        return Windows(size, *given)
    check_windows(windows, size, "of the images' size; or leave it out and give patch and stride")
    if patch is not None or stride is not None:
        raise InputError("windows have their own patch and stride: leave patch and stride out, or windows")
    return windows


def check_windows(windows: Windows, size: Pair, said: str = "of the images' size") -> None:
    """InputError for windows of images of another size."""
    kind_of("windows", windows, Windows, said)
    if windows.image != size:
        raise InputError(f"windows are of images {list(windows.image)}, and x is of {list(size)}")


def _base(
    net: ScoreFunction, x: Float[np.ndarray, "n h w c"], columns: Int[np.ndarray, " n"], chunk: int
) -> Float[np.ndarray, " n"]:
    """A black box's scores of the untouched images, in the batches in which their windows are asked for."""
    parts = [scores_of(net, jnp.asarray(x[i]), columns[i]) for i in batches(len(x), chunk)]
    return np.concatenate(parts)[: len(x)] if parts else np.empty(0, np.float32)


def scores_under(
    net: Network,
    x: Float[np.ndarray, "n h w c"],
    fills: Float[np.ndarray, "n h w c"],
    windows: Windows,
    *,
    score: Score,
    targets: Int[np.ndarray, " n"],
    execution: Execution,
    step: Step,
) -> tuple[list[np.ndarray], Float[np.ndarray, " n"], Engine]:
    """The score of each image with each window's pixels taken from `fills`, `[p]` an image; that of each untouched
    image; and the engine that ran."""
    architecture, weights, budget = net.architecture, net.weights, execution.bytes
    choice = _choice(architecture, windows, score, execution, len(x))
    plan = choice.plan
    if plan is not None:
        work = jobs(plan, budget, execution.chunk)
        scores, bases = _incremental(plan, weights, x, fills, score, targets, budget=budget, work=work, step=step)
        PAST.note(choice, len(x))
        return scores, np.array(bases, x.dtype), "incremental"
    chunk = execution.chunk or positions_for(architecture, *windows.image, score.layer_in(architecture), budget)

    def dense(i: int) -> tuple[np.ndarray, float]:
        own = x[i], fills[i], windows
        return dense_scores(architecture, weights, *own, score=score, target=int(targets[i]), chunk=chunk, step=step)

    with workers(_threads()) as pool:  # what a program leaves idle of the cores another one takes
        found = _after_the_first(pool, dense, len(x))
    PAST.note(choice, len(x))
    return [scores for scores, _ in found], np.array([base for _, base in found], x.dtype), "dense"


def _choice(architecture: Architecture, windows: Windows, score: Score, execution: Execution, images: int) -> Choice:
    """The engine, and the plan for it."""
    found = choices(architecture, windows, score)
    past = None if execution.steady else PAST
    expected = execution.images or images + (past.images(found) if past else 0)
    return soonest(found, max(1, expected), execution.engine, past)


def passes_saved(net: Network, windows: Windows, *, score: str | Score = "logit", engine: Engine = "auto") -> float:
    """How many forward passes' multiplications the incremental engine leaves out of an image's map, by the plan for one
    image; 0 where the dense engine runs."""
    plan = plan_for(net.architecture, windows, as_score(score))
    left_out = 1 - 1 / plan.speedup if _chosen(engine, plan) == "incremental" else 0.0
    return left_out * len(windows.positions)


def _chosen(engine: Engine, *plans: Plan) -> Engine:
    """ "auto" settled."""
    if engine != "auto":
        return engine
    return "incremental" if all(plan.speedup >= WORTHWHILE for plan in plans) else "dense"


def _incremental(
    plan: Plan,
    weights: Weights,
    x: Float[np.ndarray, "n h w c"],
    fills: Float[np.ndarray, "n h w c"],
    score: Score,
    targets: Int[np.ndarray, " n"],
    *,
    budget: int,
    work: Sequence[Job],
    step: Step,
) -> tuple[list[np.ndarray], list[Any]]:
    """Scores, and the untouched images'. The first image's groups of positions go side by side, as each has to be
    compiled; then whole images. An accelerator is sent one image's groups after another's, and the next image's before
    the last one's are read."""
    ready, programs = prepared(plan, weights), EACH_CORE if side_by_side(len(x), 1) else ALL_CORES
    if not on_cpu():
        return _in_flight(plan, ready, x, fills, score, targets.tolist(), budget=budget, work=work, step=step)
    with workers(_threads()) as pool:

        def scores(i: int, inner: ThreadPoolExecutor | None = None) -> tuple[np.ndarray, float]:
            masked = Masked(x[i], fills[i], int(targets[i]))
            found, base = incremental_scores(
                plan, ready, masked, score=score, work=work, step=step, pool=inner, programs=programs
            )
            return found, float(base)

        found = _after_the_first(pool, scores, len(x), partial(scores, inner=pool))
    return [one for one, _ in found], [base for _, base in found]


def _in_flight(
    plan: Plan,
    ready: Prepared,
    x: Float[np.ndarray, "n h w c"],
    fills: Float[np.ndarray, "n h w c"],
    score: Score,
    targets: Sequence[int | None],
    *,
    budget: int,
    work: Sequence[Job],
    step: Step,
) -> tuple[list[np.ndarray], list[Any]]:
    """Nothing waits for what an accelerator has under way; where its memory is too small, fewer positions at once."""
    scores: list[np.ndarray] = []
    bases: list[Any] = []
    while len(scores) < len(x):

        def launch(i: int, work: Sequence[Job] = work) -> Launched:
            call, base = launcher(plan, ready, Masked(x[i], fills[i], targets[i]), score)
            return [*map(call, work), base]

        try:
            for *values, base in under_way(launch, range(len(scores), len(x))):
                scores.append(collected(plan, work, values, x.dtype))
                bases.append(np.asarray(base))
                step(len(plan.windows.positions))
        except JaxRuntimeError as error:
            chunk = halved(at_once(work), error, "positions")
            budget = min(budget, chunk * max(plan.edge_bytes, *map(plan.position_bytes, plan.groups)))
            work = jobs(plan, budget, chunk)
    return scores, bases


def counter(total: int, progress: Progress | None) -> Step:
    """Counts positions that several threads have done."""
    done, turn = 0, Lock()

    def step(count: int) -> None:
        nonlocal done
        with turn:
            done += count
            if progress:
                progress(done, total)

    return step


def _after_the_first(
    pool: ThreadPoolExecutor, scores: Callable[[int], Found], n: int, first: Callable[[int], Found] | None = None
) -> list[Found]:
    """Of n images the first alone (by `first`, where it is computed otherwise), for it compiles, then the others side
    by side."""
    return [*map(first or scores, range(min(n, 1))), *pool.map(scores, range(1, n))]


def _threads() -> int:
    """The cores that this process may use; an accelerator wants one thread to feed it."""
    return cores() if on_cpu() else 1


def occluded_logits(
    net: Network,
    image: Float[np.ndarray, "h w c"],
    sizes: Sequence[Windows],
    *,
    fill: Fill = "grey",
    execution: Execution = DEFAULT,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Float[np.ndarray, "rows cols classes"]]:
    """Every class's published logit of one normalised image under every window, for windows of several sizes.

    What a score throws away: which class wins where. Arguments and errors are those of `occlusion_maps`. The dense
    engine compiles once for all sizes, the incremental one once for each.
    """
    kind_of("execution", execution, Execution, "how occlusion is computed")
    budget = execution.bytes
    image = check_input(net, np.asarray(image)[None])[0]
    architecture, weights = net.architecture, net.weights
    filled = fill_images(image[None], fill, net.preprocess, seed)[0]
    step = counter(sum(len(windows.positions) for windows in sizes), progress)
    score = Score("log_probability")  # needs every logit, as this does
    plans = [plan_for(architecture, windows, score) for windows in sizes]
    engine = _chosen(execution.engine, *plans)
    if engine == "incremental" and not on_cpu():
        logits = [
            _in_flight(
                plan, prepared(plan, weights), image[None], filled[None], score, [None],
                budget=budget, work=jobs(plan, budget, execution.chunk), step=step,
            )[0][0]
            for plan in plans
        ]  # fmt: skip
    elif engine == "incremental":
        with workers(_threads()) as pool:
            logits = list(
                pool.map(
                    lambda plan: incremental_scores(
                        plan, prepared(plan, weights), Masked(image, filled, None), score=score,
                        work=jobs(plan, budget, execution.chunk), step=step,
                    )[0],
                    plans,
                )
            )  # fmt: skip
    else:
        fit = positions_for(architecture, image.shape[0], image.shape[1], architecture.last, budget)
        chunk = execution.chunk or fit
        logits = dense_logits(architecture, weights, image, filled, sizes, chunk=chunk, step=step)
    return [part.reshape(*windows.grid, -1) for part, windows in zip(logits, sizes)]
