"""The paper's recipe: stochastic gradient descent, batches of 2,048, rate 0.1 divided by 10 every 10,000 steps.

The loss is half the mean squared residual plus the closed form's ridge penalty, so that the two compare. Features
are centred and divided by one number, which leaves the minimum where it is and makes the rate of 0.1 as large as
stability allows.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from localization.regression.rows import FeatureBlocks
from localization.regression.solution import Solution
from saliency.devices import precision

if TYPE_CHECKING:
    import optax

BATCH = 2048
RATE = 0.1
DECAY_STEPS = 10_000
STEPS = 30_000
Batches = Iterator[tuple[Float[np.ndarray, "b d"], Float[np.ndarray, "b t"]]]
State = tuple[dict[str, Array], Any]  # parameters, and what optax remembers
Watch = Callable[[int, Solution], None]  # the step and the solution after it


def descend(
    batches: Batches,
    mean_x: Float[np.ndarray, " d"],
    mean_y: Float[np.ndarray, " t"],
    largest: float,
    *,
    alpha: float,
    penalty: float,
    steps: int = STEPS,
    watch: Watch | None = None,
    every: int = 1000,
) -> Solution:
    """Start at the mean target. `largest` is the largest eigenvalue of the features' covariance, `alpha` the ridge
    penalty per row; `watch` sees the solution `every` so many steps."""
    import optax

    scale = np.sqrt(RATE * largest)  # then rate * curvature <= 1
    optimizer = optax.sgd(optax.exponential_decay(RATE, DECAY_STEPS, 0.1, staircase=True))
    parameters = {"w": jnp.zeros((len(mean_x), len(mean_y))), "b": jnp.zeros(len(mean_y))}
    state: State = (parameters, optimizer.init(parameters))
    constants = jnp.asarray(mean_x, jnp.float32), jnp.asarray(mean_y, jnp.float32), jnp.float32(scale)
    decay = jnp.float32(alpha / scale**2)

    def solution() -> Solution:
        weights = np.asarray(state[0]["w"], np.float64) / scale
        return Solution(weights, mean_y + np.asarray(state[0]["b"], np.float64) - mean_x @ weights, penalty)

    for step in range(steps):
        x, y = next(batches)
        state = _step(state, x, y, constants, decay, optimizer=optimizer)
        if watch and (step + 1) % every == 0:
            watch(step + 1, solution())
    return solution()


@partial(jax.jit, static_argnames="optimizer", donate_argnums=0)
def _step(
    state: State,
    x: Array,
    y: Array,
    constants: tuple[Array, Array, Array],
    decay: Array,
    *,
    optimizer: "optax.GradientTransformation",
) -> State:
    import optax

    mean_x, mean_y, scale = constants
    parameters, inner = state

    product = partial(jnp.matmul, precision=precision())

    def loss(parameters: dict[str, Array]) -> Array:
        residual = product((x - mean_x) / scale, parameters["w"]) + parameters["b"] - (y - mean_y)
        return 0.5 * ((residual**2).sum(-1).mean() + decay * (parameters["w"] ** 2).sum())

    updates, inner = optimizer.update(jax.grad(loss)(parameters), inner, parameters)
    return optax.apply_updates(parameters, updates), inner


def shuffled(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n t"], seed: int, batch: int = BATCH) -> Batches:
    """Endless batches of rows in memory, every epoch in a new order; a batch holds no row twice."""
    rng = np.random.default_rng(seed)
    x, y = x.astype(np.float32), y.astype(np.float32)
    batch = min(batch, len(x))
    while True:
        order = rng.permutation(len(x))
        for i in range(0, len(x) - batch + 1, batch):
            yield x[order[i : i + batch]], y[order[i : i + batch]]


def streamed(rows: FeatureBlocks, seed: int, batch: int = BATCH) -> Batches:
    """Endless batches of rows that come in blocks: a pool of a few blocks is kept shuffled, and drawn from."""
    rng = np.random.default_rng(seed)
    batch = min(batch, len(rows))
    while True:
        pool: list[tuple[np.ndarray, np.ndarray]] = []
        held = 0
        for where, x in rows.sliced():
            pool.append((x, rows.targets[where]))
            held += len(x)
            if held >= 4 * batch or where.stop == len(rows):
                whole = (np.concatenate([part[i] for part in pool]).astype(np.float32) for i in (0, 1))
                xs, ys = whole
                order = rng.permutation(held)
                for i in range(0, held - batch + 1, batch):
                    yield xs[order[i : i + batch]], ys[order[i : i + batch]]
                rest = order[held - held % batch :] if held % batch else order[:0]
                pool, held = [(xs[rest], ys[rest])], len(rest)
