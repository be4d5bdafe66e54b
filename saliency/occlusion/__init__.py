"""Occlusion maps: how far a score falls when a window of the image is hidden (seeds 000 and 001).

The sign is base - occluded everywhere: positive where hiding a pixel hurts the score.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jax.errors import JaxRuntimeError
from jaxtyping import Float, Int

from saliency._checks import function, one_of, pair, whole
from saliency.devices import default_budget, halved, on_cpu, under_way
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
from saliency.models.graph import Weights
from saliency.models.network import Network, check_input
from saliency.models.preprocessing import Preprocessing
from saliency.occlusion.dense import (
    CPU_CHUNK,
    Step,
    black_box_scores,
    dense_logits,
    dense_scores,
    positions_for,
)
from saliency.occlusion.incremental import (
    Job,
    Launched,
    Prepared,
    at_once,
    chunk_for,
    collected,
    incremental_scores,
    jobs,
    launched,
    prepared,
)
from saliency.occlusion.plan import Plan, plan_for
from saliency.occlusion.tuning import tuned_chunk
from saliency.occlusion.windows import Convention, Fill, Shape, Windows, fill_images
from saliency.scores import Score, Target, as_score, batches, evenly, last_layer, score_values, settled_targets, workers

Engine = Literal["auto", "dense", "incremental"]
Chunk = int | Literal["tuned"] | None
Progress = Callable[[int, int], None]  # done, total
WORTHWHILE = 1.2  # the incremental engine's predicted speed-up from which "auto" takes it

__all__ = ["OcclusionMaps", "Windows", "fill_images", "occluded_logits", "occlusion_maps", "passes_saved"]


@dataclass(frozen=True)
class OcclusionMaps:
    """`maps` float32 `[n, h, w]`; `scores` float32 `[n, rows, cols]`, the score itself under each window; `base`
    float32 `[n]`, the untouched image's; `coverage` `[h, w]`, how many windows hide each pixel; `engine`, what ran."""

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
        return self.base[:, None, None] - self.scores


def occlusion_maps(
    net: Classifier,
    x: Float[np.ndarray, "n h w 3"],
    *,
    patch: int | tuple[int, int] = 32,
    stride: int | tuple[int, int] = 16,
    fill: Fill = "grey",
    shape: Shape = "rectangle",
    score: str | Score = "logit",
    target: Target = None,
    convention: Convention = "captum",
    engine: Engine = "auto",
    budget: int | None = None,
    chunk: Chunk = None,
    seed: int = 0,
    preprocess: Preprocessing | None = None,
    progress: Progress | None = None,
) -> OcclusionMaps:
    """Slide a window over normalised images `[n, h, w, 3]` and see how far the score falls.

    `engine`: "dense" is a forward pass per position, "incremental" the same numbers from what each window changes, and
    "auto" whichever the plan finds cheaper; the result says which ran.
    `patch` and `stride` in pixels, one number or (height, width). `fill` is stated in pixels 0..255 and goes
    through the network's preprocessing: "grey", a level, (r, g, b), "mean", "blur" or "noise" (from `seed`).
    `target`: class indices, default the predicted class of the untouched image. `budget` bounds the bytes of
    activations held at once (default: 256 MiB on a CPU, half of an accelerator's free memory; where even that is too
    much, a warning says so and fewer are held); `chunk` sets the number of positions at once by hand, and "tuned" has
    the incremental engine find it by timing, once for a plan in each process (last bits may then differ between runs).
    Scores are computed in float32 throughout, on an accelerator too, where `jax.default_matmul_precision` buys speed
    for precision (`devices.precision`).
    `progress(done, total)` counts positions.

    Instead of a network any function from images `[k, h, w, c]` to scores `[k]` will do (a black box), or to
    `[k, classes]` where `target` says which column. `score` is then its own affair, and `preprocess` says how a fill
    enters (default: `x` holds pixels 0..255).

    Raises InputError for windows that do not fit, an unknown option, a target out of range, or NaN in `x`.
    """
    one_of("engine", engine, get_args(Engine))
    whole("budget", budget, least=1, optional=True)
    if chunk != "tuned":
        whole("chunk", chunk, least=1, optional=True)
    whole("seed", seed)
    function("progress", progress, "(done, total)")
    score, preprocess = as_score(score), entry(net, preprocess)
    x = classifier_input(net, x, last_layer(net, score))
    windows = Windows((x.shape[1], x.shape[2]), pair("patch", patch), pair("stride", stride), shape, convention)
    fills = fill_images(x, fill, preprocess, seed)
    step = counter(len(x) * len(windows.positions), progress)
    if isinstance(net, Network):
        targets = settled_targets(net, x, score, target)
        base = score_values(net, x, score, targets)
        hidden, engine = scores_under(
            net, x, fills, windows, score=score, targets=targets, engine=engine, budget=budget, chunk=chunk, step=step
        )
    else:
        if engine == "incremental":
            raise InputError("the incremental engine needs a network whose layers it can see; a function takes dense")
        engine = "dense"
        chunk = evenly(len(windows.positions), _by_hand(chunk) or CPU_CHUNK)
        base = _base(net, x, columns_of(target, len(x)), chunk)
        functions = score_functions(net, len(x), target)
        hidden = [
            black_box_scores(function, image, filled, windows, chunk=chunk, step=step)
            for function, image, filled in zip(functions, x, fills)
        ]
    scores = np.reshape(hidden, (len(x), *windows.grid)).astype(np.float32)
    maps = windows.pixel_maps(base[:, None, None] - scores)
    return OcclusionMaps(maps, scores, base.astype(np.float32), windows.coverage, windows, engine)


def _base(
    net: ScoreFunction, x: Float[np.ndarray, "n h w c"], columns: Int[np.ndarray, " n"], chunk: int
) -> Float[np.ndarray, " n"]:
    """A black box's scores of the untouched images, in the batches in which their windows are asked for."""
    parts = [scores_of(net, jnp.asarray(x[i]), columns[i]) for i in batches(len(x), chunk)]
    return np.concatenate(parts)[: len(x)] if parts else np.empty(0, np.float32)


def scores_under(
    net: Network,
    x: Float[np.ndarray, "n h w 3"],
    fills: Float[np.ndarray, "n h w 3"],
    windows: Windows,
    *,
    score: Score,
    targets: Int[np.ndarray, " n"],
    engine: Engine = "auto",
    budget: int | None = None,
    chunk: Chunk = None,
    step: Step,
) -> tuple[list[np.ndarray], Engine]:
    """The score of each image with each window's pixels taken from `fills`, `[p]` an image; and the engine that ran."""
    architecture, weights = net.architecture, net.weights
    budget = default_budget() if budget is None else budget
    course = plan_for(architecture, windows, score, len(x))
    engine = _chosen(engine, course)
    if engine == "incremental":
        return _incremental(course, weights, x, fills, score, targets, budget=budget, chunk=chunk, step=step), engine
    chunk = _by_hand(chunk) or positions_for(architecture, *windows.image, score.layer_in(architecture), budget)
    scores = [
        dense_scores(
            architecture, weights, image, filled, windows, score=score, target=int(goal), chunk=chunk, step=step
        )
        for image, filled, goal in zip(x, fills, targets)
    ]
    return scores, engine


def passes_saved(net: Network, windows: Windows, *, score: str | Score = "logit", engine: Engine = "auto") -> float:
    """How many forward passes' multiplications the incremental engine leaves out of an image's map, by the plan for one
    image; 0 where the dense engine runs."""
    course = plan_for(net.architecture, windows, as_score(score))
    left_out = 1 - 1 / course.speedup if _chosen(engine, course) == "incremental" else 0.0
    return left_out * len(windows.positions)


def _chosen(engine: Engine, *plans: Plan) -> Engine:
    """ "auto" settled."""
    if engine != "auto":
        return engine
    return "incremental" if all(plan.speedup >= WORTHWHILE for plan in plans) else "dense"


def _incremental(
    course: Plan,
    weights: Weights,
    x: Float[np.ndarray, "n h w 3"],
    fills: Float[np.ndarray, "n h w 3"],
    score: Score,
    targets: np.ndarray,
    *,
    budget: int,
    chunk: Chunk,
    step: Step,
) -> list[np.ndarray]:
    """The first image's classes of positions side by side, as each has to be compiled; then whole images. An
    accelerator is sent one image's classes after another's, and the next image's before the last one's are read."""
    ready = prepared(course, weights)
    choose = tuned_chunk if chunk == "tuned" else chunk_for
    work = jobs(course, budget, _by_hand(chunk), choose)
    if not on_cpu():
        return _in_flight(course, ready, x, fills, score, targets.tolist(), budget=budget, work=work, step=step)
    with workers(_threads()) as pool:

        def scores(i: int, inner: ThreadPoolExecutor | None = None) -> np.ndarray:
            return incremental_scores(
                course, ready, x[i], fills[i], score=score, target=int(targets[i]), work=work, step=step, pool=inner
            )

        return [scores(i, pool) for i in range(len(x[:1]))] + list(pool.map(scores, range(1, len(x))))


def _in_flight(
    course: Plan,
    ready: Prepared,
    x: Float[np.ndarray, "n h w 3"],
    fills: Float[np.ndarray, "n h w 3"],
    score: Score,
    targets: Sequence[int | None],
    *,
    budget: int,
    work: Sequence[Job],
    step: Step,
) -> list[np.ndarray]:
    """Nothing waits for what an accelerator has under way; where its memory is too small, fewer positions at once."""
    scores: list[np.ndarray] = []
    while len(scores) < len(x):

        def launch(i: int, work: Sequence[Job] = work) -> Launched:
            return launched(course, ready, x[i], fills[i], score=score, target=targets[i], work=work)

        try:
            for values in under_way(launch, range(len(scores), len(x))):
                scores.append(collected(course, work, values, x.dtype))
                step(len(course.windows.positions))
        except JaxRuntimeError as error:
            most = halved(at_once(work), error, "positions")
            budget = min(budget, most * max(course.edge_bytes, *map(course.position_bytes, course.classes)))
            work = jobs(course, budget, most)
    return scores


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


def _by_hand(chunk: Chunk) -> int | None:
    """Only the incremental engine tunes; the dense path keeps to its rule."""
    return None if chunk == "tuned" else chunk


def _threads() -> int:
    """The cores that this process may use; an accelerator wants one thread to feed it."""
    return len(os.sched_getaffinity(0)) if on_cpu() else 1


def occluded_logits(
    net: Network,
    image: Float[np.ndarray, "h w 3"],
    sizes: Sequence[Windows],
    *,
    fill: Fill = "grey",
    engine: Engine = "auto",
    budget: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Float[np.ndarray, "rows cols classes"]]:
    """Every class's published logit of one normalised image under every window, for windows of several sizes.

    What a score throws away: which class wins where. Arguments and errors are those of `occlusion_maps`. The dense
    engine compiles once for all sizes, the incremental one once for each.
    """
    one_of("engine", engine, get_args(Engine))
    whole("budget", budget, least=1, optional=True)
    budget = default_budget() if budget is None else budget
    image = check_input(net, np.asarray(image)[None])[0]
    architecture, weights = net.architecture, net.weights
    filled = fill_images(image[None], fill, net.preprocess, seed)[0]
    step = counter(sum(len(windows.positions) for windows in sizes), progress)
    score = Score("log_probability")  # needs every logit, as this does
    plans = [plan_for(architecture, windows, score) for windows in sizes]
    engine = _chosen(engine, *plans)
    if engine == "incremental" and not on_cpu():
        logits = [
            _in_flight(
                plan, prepared(plan, weights), image[None], filled[None], score, [None],
                budget=budget, work=jobs(plan, budget), step=step,
            )[0]
            for plan in plans
        ]  # fmt: skip
    elif engine == "incremental":
        with workers(_threads()) as pool:
            logits = list(
                pool.map(
                    lambda plan: incremental_scores(
                        plan, prepared(plan, weights), image, filled, score=score, target=None,
                        work=jobs(plan, budget), step=step,
                    ),
                    plans,
                )
            )  # fmt: skip
    else:
        chunk = positions_for(architecture, image.shape[0], image.shape[1], architecture.last, budget)
        logits = dense_logits(architecture, weights, image, filled, sizes, chunk=chunk, step=step)
    return [part.reshape(*windows.grid, -1) for part, windows in zip(logits, sizes)]
