"""Recipes that add gradients up along a way to the image: from random backgrounds, out of a blur, and by the detour on
which the score answers least.

All are signed, and summed over the channels. Recipes are of `maps.attribution`.
"""

from dataclasses import dataclass
from math import isclose

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from saliency._checks import ImagesLike, function, number, whole
from saliency.errors import InputError
from saliency.maps.attribution import Gradient, attribution_maps
from saliency.maps.gradient import Progress
from saliency.models.network import Network, check_input
from saliency.models.preprocessing import Preprocessing
from saliency.scores import Score, Target, as_score

TRUNCATE = 4.0  # deviations at which a Gaussian ends, as scipy's does
CLOSE = 1e-9  # distances that count as equal


@dataclass(frozen=True, eq=False)
class ExpectedGradients:
    """The mean over random backgrounds b and places a in 0..1 of (x - b) * gradient(b + a (x - b)).

    Expected gradients (Erion et al. 2021, Eq. 3); with noise on x, GradientSHAP (Lundberg & Lee 2017, as in captum).

    `backgrounds` are normalised images `[m, h, w, c]`, or `[m, 1, 1, c]` of one colour each, used in a random order
    again and again; None: the fill. `noise` is a Gaussian's deviation as a share of the image's range. All images get
    the same draws. On average a map sums to the score less the backgrounds' mean score.
    """

    samples: int
    noise: float = 0.0
    seed: int = 0
    backgrounds: np.ndarray | None = None

    def __post_init__(self) -> None:
        whole("samples", self.samples, least=1)
        number("noise", self.noise, least=0)
        whole("seed", self.seed)

    def __call__(self, gradient: Gradient, x: Array, baseline: Array) -> Array:
        places, order, draws = self.draws(x.shape[1:])
        deviation = self.noise * (x.max((1, 2, 3), keepdims=True) - x.min((1, 2, 3), keepdims=True))
        total = jnp.zeros_like(x)
        for place, number_, draw in zip(places, order, draws):
            noisy = x + deviation * jnp.asarray(draw, x.dtype)[None]
            start = baseline if self.backgrounds is None else jnp.asarray(self.backgrounds[number_], x.dtype)[None]
            total += (noisy - start) * gradient(start + float(place) * (noisy - start))
        return total.sum(-1) / self.samples

    def draws(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each sample its place on the line, the number of its background, and its noise `shape`."""
        rng = np.random.default_rng(self.seed)
        count = 1 if self.backgrounds is None else len(self.backgrounds)
        places = rng.random(self.samples)
        order = np.concatenate([rng.permutation(count) for _ in range(-(-self.samples // count))])[: self.samples]
        draws = (
            rng.standard_normal((self.samples, *shape), np.float32) if self.noise else np.zeros((self.samples, 1, 1, 1))
        )
        return places, order, draws


def flat_colours(preprocess: Preprocessing, count: int, seed: int) -> Float[np.ndarray, "count 1 1 c"]:
    """Backgrounds of one random colour each, as the network sees them."""
    levels = np.random.default_rng(seed).uniform(0, 255, (count, 1, 1, preprocess.channels))
    return np.asarray(preprocess.normalise(levels), np.float32)


def expected_gradients(
    net: Network,
    x: ImagesLike,
    backgrounds: ImagesLike,
    *,
    samples: int = 25,
    noise: float = 0.0,
    seed: int = 0,
    score: str | Score = "logit",
    target: Target = None,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n h w"]:
    """What each pixel adds to the score, on the way from images of a data set: integrated gradients with a random image
    of them and a random place for each gradient (Erion et al. 2021, Eq. 3).

    Args:
        net: a network.
        x: float `[n, h, w, c]` as `net.preprocess` gives it.
        backgrounds: normalised images `[m, h, w, c]` of the same size; the more, the less the map owes to one.
        samples: gradients an image.
        noise: deviation of a Gaussian on the image, as a share of its range (GradientSHAP's).
        seed: what is random is drawn from it, the same for all images.
        score, target, progress: as for `gradient_maps`.

    Returns:
        float32 `[n, h, w]`, signed, the channels summed. On average a map sums to the score less the backgrounds' mean.

    Raises InputError as `gradient_maps` does, and for backgrounds of another size.

    >>> import numpy as np, saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> x = net.preprocess(np.full((1, 96, 96, 3), 90, np.uint8))
    >>> backgrounds = net.preprocess(np.random.default_rng(0).integers(0, 256, (4, 96, 96, 3)).astype(np.uint8))
    >>> saliency.expected_gradients(net, x, backgrounds, samples=4, target=3).shape
    (1, 96, 96)
    """
    function("progress", progress, "(done, total)")
    last = as_score(score).layer_in(net.architecture) if isinstance(net, Network) else None
    x, backgrounds = check_input(net, x, last), check_input(net, backgrounds, last)
    if backgrounds.shape[1:] != x.shape[1:] or not len(backgrounds):
        raise InputError(f"backgrounds must be images of x's size, [m, {', '.join(map(str, x.shape[1:]))}]")
    recipe = ExpectedGradients(samples, noise, seed, backgrounds)
    return attribution_maps(net, x, recipe, score=score, target=target, progress=progress)


@dataclass(frozen=True)
class BlurIntegratedGradients:
    """Minus the integral of gradient times the image's change as it is blurred, from sharp to `sigma` pixels.

    Xu et al. 2020, summed as PAIR's `BlurIG` does: `steps` equal steps of sigma, the gradient at the start of each, the
    change by a difference of `nudge` pixels (none at sigma 0); beyond the border there is 0, the mean colour for most
    networks. `sigma` None is a sixth of the shorter side, PAIR's 50 pixels for images of 299.
    """

    steps: int
    sigma: float | None = None
    nudge: float = 0.01

    def __post_init__(self) -> None:
        whole("steps", self.steps, least=1)
        number("sigma", 1 if self.sigma is None else self.sigma, above=0)
        number("nudge", self.nudge, above=0)

    def __call__(self, gradient: Gradient, x: Array, baseline: Array) -> Array:
        height, width = x.shape[1:3]
        largest = self.sigma or min(height, width) / 6
        total = jnp.zeros_like(x)
        for i in range(self.steps):
            sigma = i * largest / self.steps
            rows, columns = (gaussian(size, sigma) for size in (height, width))
            later, across = (gaussian(size, sigma + self.nudge) for size in (height, width))
            change = _applied((later - rows) / self.nudge, across, x) + _applied(
                rows, (across - columns) / self.nudge, x
            )
            total += change * gradient(_applied(rows, columns, x))
        return -total.sum(-1) * (largest / self.steps)


def gaussian(size: int, sigma: float) -> Float[np.ndarray, "size size"]:
    """The matrix that blurs an axis as `scipy.ndimage.gaussian_filter1d` does with zeros beyond the border."""
    if sigma == 0:
        return np.eye(size)
    radius = int(TRUNCATE * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * offsets**2 / sigma**2)
    weights /= weights.sum()
    apart = np.arange(size)[None] - np.arange(size)[:, None]
    return np.where(np.abs(apart) <= radius, weights[np.clip(apart + radius, 0, 2 * radius)], 0.0)


def _applied(rows: np.ndarray, columns: np.ndarray, x: Array) -> Array:
    return jnp.einsum(
        "ij,njkc,lk->nilc", jnp.asarray(rows, x.dtype), x, jnp.asarray(columns, x.dtype), precision="highest"
    )


@dataclass(frozen=True)
class GuidedIntegratedGradients:
    """Integrated gradients along a path of its own for each image: at every step those pixels move to which the score
    answers least (Kapishnikov et al. 2021, Algorithm 1), as PAIR's `GuidedIG` does.

    Of the values of an image, the share `fraction` with the least absolute gradient moves first; none is further than
    `away`, a share of the whole way, from where it would be on the straight line. One gradient a step.
    """

    steps: int
    fraction: float = 0.25
    away: float = 0.02

    def __post_init__(self) -> None:
        whole("steps", self.steps, least=1)
        number("fraction", self.fraction, above=0, below=np.nextafter(1, 2))
        number("away", self.away, least=0, below=np.nextafter(1, 2))

    def __call__(self, gradient: Gradient, x: Array, baseline: Array) -> Array:
        ends, starts = np.asarray(x, float), np.asarray(baseline, float)
        now, total = starts.copy(), np.zeros_like(ends)
        for step in range(self.steps):
            slopes = np.asarray(gradient(jnp.asarray(now, x.dtype)), float)
            for n in range(len(ends)):
                if not np.array_equal(ends[n], starts[n]):
                    self._advance(step, ends[n], starts[n], slopes[n], now[n], total[n])
        return jnp.asarray(total.sum(-1), x.dtype)

    def _advance(
        self, step: int, end: np.ndarray, start: np.ndarray, slope: np.ndarray, now: np.ndarray, total: np.ndarray
    ) -> None:
        """Moves `now` on by one step's share of the distance, and adds to `total` what that brings; both in place."""
        whole_way = end - start
        share = (step + 1) / self.steps
        low, high = max(share - self.away, 0.0), min(share + self.away, 1.0)
        least, most = start + whole_way * low, start + whole_way * high
        goal = np.abs(end - start).sum() * (1 - share)
        wanted = np.abs(slope)
        part = np.inf
        while part > 1.0:
            before = now.copy()
            with np.errstate(divide="ignore", invalid="ignore"):
                place = np.where(whole_way != 0, (now - start) / whole_way, high)
            behind = place < low
            now[behind] = least[behind]
            left = np.abs(now - end).sum()
            if isclose(goal, left, rel_tol=CLOSE, abs_tol=CLOSE):
                total += (now - before) * slope
                return
            wanted[now == most] = np.inf
            chosen = (wanted <= np.quantile(wanted, self.fraction, method="lower")) & (wanted != np.inf)
            reach = (np.abs(now - most) * chosen).sum()
            part = (left - goal) / reach if reach > 0 else np.inf
            now[chosen] = most[chosen] if part > 1.0 else (now + (most - now) * part)[chosen]
            total += (now - before) * slope
            if not reach and not np.isfinite(wanted).any():
                return  # all are as far as they may be
