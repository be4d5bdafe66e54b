"""Extremal perturbations: the smooth mask of a given area that keeps the score highest, found by gradients.

Maps are float32 `[n, h, w]` in 0..1: how far a pixel is shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from saliency._batches import in_batches
from saliency._checks import ImagesLike, Pair, function, kind_of, number, whole
from saliency.errors import InputError
from saliency.maps.gradient import Progress
from saliency.models.graph import Architecture, Weights
from saliency.models.network import Network, check_input
from saliency.occlusion.windows import Fill, fill_images
from saliency.scores import Score, Target, as_score, resolve_targets

CELLS = 32  # parameters along the image's shorter side: 7 px of 224
SMOOTH = 3  # sigma of the bumps, in those
REACH = 1 + SMOOTH  # cells away, so far a parameter is felt
COLDNESS = 20  # of the softmax that stands for a maximum
AREA_WEIGHT, GROWTH = 300.0, 1.0035**800  # of the area's part in the energy, and how far it grows until the end
MOMENTUM, MAX_RATE = 0.9, 0.1
WAY = 8.0  # the rate times the number of steps: 0.01 in 800
TIE, SHARP = 0.1, 1e-4  # values of a mask that are less apart are as good as equal; what is left of that at the end


def extremal_maps(
    net: Network,
    x: ImagesLike,
    *,
    areas: float | Sequence[float] = 0.1,
    iterations: int = 200,
    fill: Fill = "grey",
    seed: int = 0,
    score: str | Score = "logit",
    target: Target = None,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n h w"]:
    """Extremal perturbations (Fong et al. 2019, the preservation game): the smooth mask that shows about `areas` of the
    image, the fill elsewhere, and keeps the score highest.

    The mask is a maximum of bumps on a coarse grid, made smooth by a softmax; its sorted values are drawn towards those
    of a mask of 0 and 1 of that area, more and more strongly. Every second composite is mirrored. Formulas and weights
    are TorchRay's, which blurs, counts a margin around the image in the area, and takes 800 steps of gradient descent
    with momentum: here the fill is any, the area the image's, and fewer steps are as much longer.

    Args:
        net, x, fill, seed, score, target: as of `occlusion_maps`; it takes a network's gradients.
        areas: shares of the image, above 0 and below 1; of several the map is the mean of their masks.
        iterations: forward and backward passes for each area.
        progress: called with (done, total) images.

    Returns maps float32 `[n, h, w]` in 0..1. Raises InputError as `occlusion_maps` does, and for areas out of range.

    >>> import numpy as np, saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> x = net.preprocess(np.zeros((1, 96, 96, 3), np.uint8))
    >>> found = saliency.extremal_maps(net, x, iterations=2, target=3)
    >>> found.shape, bool(0 <= found.min() and found.max() <= 1)
    ((1, 96, 96), True)
    """
    kind_of("net", net, Network, "as load_network gives it")
    function("progress", progress, "(done, total)")
    whole("iterations", iterations, least=1)
    whole("seed", seed)
    shares = _areas(areas)
    score = as_score(score)
    x = check_input(net, x, score.layer_in(net.architecture))
    fills = fill_images(x, fill, net.preprocess, seed)
    targets = resolve_targets(net, x, score, target)
    masks = Masks((x.shape[1], x.shape[2]))

    def found(i: np.ndarray) -> np.ndarray:
        one = int(i[0])
        parts = [
            optimised(
                net.weights, x[one], fills[one], targets[one], np.promote_types(x.dtype, np.float32).type(share),
                architecture=net.architecture, score=score, masks=masks, iterations=iterations,
            )
            for share in shares
        ]  # fmt: skip
        return np.asarray(parts, np.float32).mean(0, keepdims=True)

    maps = in_batches(found, len(x), 1, progress)
    return np.concatenate(maps) if maps else np.empty(x.shape[:3], np.float32)


def _areas(areas: float | Sequence[float]) -> list[float]:
    several: list[float] = list(areas) if isinstance(areas, list | tuple | np.ndarray) else [areas]  # type: ignore[list-item]
    if not several:
        raise InputError("areas must be a share of the image, or several, not none")
    for area in several:
        number("areas", area, above=0, below=1)
    return [float(area) for area in several]


@dataclass(frozen=True)
class Masks:
    """Smooth masks of images of `size`, from parameters 0..1 on a grid of cells."""

    size: Pair

    @property
    def step(self) -> int:
        """The side of a cell, in pixels."""
        return max(1, round(min(self.size) / CELLS))

    @property
    def grid(self) -> Pair:
        height, width = (-(-side // self.step) for side in self.size)
        return height, width

    def __call__(self, parameters: Float[Array, "i j"]) -> Float[Array, "h w"]:
        """The maximum, made smooth, of the bumps of all cells around a pixel, each as high as its parameter."""
        (height, width), reach = self.grid, np.arange(2 * REACH + 1)
        rows, cols = (reach[:, None] + np.arange(side) for side in (height, width))
        around = jnp.pad(parameters, REACH)[rows[:, None, :, None], cols[None, :, None, :]]
        heights = around.reshape(-1, height, 1, width, 1)
        values = bumps(self.step).astype(parameters.dtype).reshape(-1, 1, self.step, 1, self.step) * heights
        powers = jnp.exp(COLDNESS * values)  # of 0..1, so that none is too large
        total = partial(jnp.einsum, "k...,k->...", precision=lax.Precision.HIGHEST)  # sums compute exp twice
        ones = jnp.ones(len(values), parameters.dtype)
        mask = (total(values * powers, ones) / total(powers, ones)).reshape(height * self.step, width * self.step)
        return jnp.clip(mask[: self.size[0], : self.size[1]], 0, 1)


@lru_cache(maxsize=8)
def bumps(step: int) -> Float[np.ndarray, "k k step step"]:
    """How much each cell around a pixel weighs there, for the pixels of one cell: exp(-2 (d / sigma - 1/2)^2), d the
    distance to the cell's first pixel, and 1 where d is below sigma / 2."""
    apart = np.arange(step) - step * np.arange(-REACH, REACH + 1)[:, None]
    distance = np.hypot(apart[:, None, :, None], apart[None, :, None, :]) / (SMOOTH * step)
    return np.exp(-2 * np.maximum(distance - 0.5, 0) ** 2).astype(np.float32)


def off_area(mask: Float[Array, "h w"], area: Float[Array, ""], tie: Array | float) -> Float[Array, ""]:
    """Mean squared difference of the sorted mask to one of 0 and 1 of that area. Where values are less than `tie`
    apart, which of them should be 1 is for the score to say: they are all drawn to the mean of what they would be."""
    ordered = jnp.sort(mask.ravel())
    first = jnp.searchsorted(ordered, ordered - tie).astype(mask.dtype)
    past = jnp.searchsorted(ordered, ordered + tie, side="right").astype(mask.dtype)
    zeros = mask.size * (1 - area)
    wanted = jnp.clip((past - zeros) / (past - first), 0, 1)
    return ((ordered - lax.stop_gradient(wanted)) ** 2).mean()


@partial(jax.jit, static_argnames=("architecture", "score", "masks", "iterations"))
def optimised(
    weights: Weights,
    image: Float[Array, "h w c"],
    fill: Float[Array, "h w c"],
    target: Array,
    area: Float[Array, ""],
    *,
    architecture: Architecture,
    score: Score,
    masks: Masks,
    iterations: int,
) -> Float[Array, "h w"]:
    """The mask after so many steps from one that shows everything; the one before the last step, as TorchRay has it."""
    import optax  # slow to load, and nothing else needs it

    image, fill = jnp.asarray(image), jnp.asarray(fill)
    precision = jnp.promote_types(image.dtype, jnp.float32)  # of the mask, whose powers float16 cannot hold
    optimiser = optax.chain(optax.ema(MOMENTUM, debias=False), optax.scale(-min(MAX_RATE, WAY / iterations)))

    def energy(parameters: Array, turn: Array) -> tuple[Array, Array]:
        mask = masks(parameters)
        shown = mask[..., None].astype(image.dtype)
        composite = shown * image + (1 - shown) * fill
        composite = jnp.where(turn % 2 == 0, composite[:, ::-1], composite)
        kept = score(architecture, weights, composite[None], jnp.reshape(target, 1))[0].astype(precision)
        done = turn.astype(mask.dtype) / iterations
        off = off_area(mask, area, TIE * jnp.exp(np.log(SHARP).item() * done))
        return AREA_WEIGHT * jnp.exp(np.log(GROWTH).item() * done) * off - kept, mask

    def step(state: tuple, turn: Array) -> tuple[tuple, None]:
        parameters, memory, _ = state
        slope, mask = jax.grad(energy, has_aux=True)(parameters, turn)
        change, memory = optimiser.update(slope, memory)
        return (jnp.clip(optax.apply_updates(parameters, change), 0, 1), memory, mask), None

    start = jnp.ones(masks.grid, precision)
    first = (start, optimiser.init(start), jnp.ones(masks.size, precision))
    (_, _, mask), _ = lax.scan(step, first, jnp.arange(iterations))
    return mask
