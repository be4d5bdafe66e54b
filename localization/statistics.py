"""How sure a figure is: bootstrap and Wilson intervals, paired differences, McNemar's exact test.

Values are float `[n]`, one per sample. `clusters` int `[n]` names the image a sample comes from: objects of one image
are not independent, so whole images are drawn. `classes` int `[n]` asks for the mean over classes of each class's
mean, as the VOC tables give it, in place of the mean over samples.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.stats import binomtest, norm

from saliency._checks import as_array, number, whole
from saliency.errors import InputError


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% interval; `n` samples, of which `missing` had no prediction and count as misses."""

    value: float
    low: float
    high: float
    n: int
    missing: int = 0

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}]"


@dataclass(frozen=True)
class McNemar:
    """`p`, two-sided, of the exact test on the samples where just one of two methods is right."""

    p: float
    only_first: int
    only_second: int


def bootstrap(
    values: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    classes: ArrayLike | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Estimate:
    """The mean of the values and the percentile interval of `draws` resamples of whole clusters.

    NaN where there are no values; one value is its own interval, which then says nothing.
    """
    values = _numbers("values", values)
    number("level", level, above=0, below=1)
    whole("draws", draws, least=1)
    whole("seed", seed)
    sums, counts = _totals(values, _index(clusters, "clusters", len(values)), _index(classes, "classes", len(values)))
    if not len(values):
        return Estimate(np.nan, np.nan, np.nan, 0)

    # Clusters that contribute alike are exchangeable: drawing how often each *kind* comes up gives the same
    # distribution as drawing clusters one by one, and hits and misses have only a few kinds.
    kinds, sizes = np.unique(np.concatenate([sums, counts], axis=1), axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    chunk = max(1, 10_000_000 // len(kinds))  # 80 MB of drawn counts
    means = []
    for done in range(0, draws, chunk):
        drawn = rng.multinomial(len(sums), sizes / len(sums), size=min(chunk, draws - done)) @ kinds
        means.append(_mean(drawn[:, : sums.shape[1]], drawn[:, sums.shape[1] :]))
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return Estimate(float(_mean(sums.sum(0), counts.sum(0))), float(low), float(high), len(values))


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    classes: ArrayLike | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Estimate:
    """First minus second on the same samples: a much tighter interval than two figures beside each other allow."""
    first, second = _numbers("first", first), _numbers("second", second)
    if first.shape != second.shape:
        raise InputError(f"first and second must be of the same samples, not {len(first)} and {len(second)}")
    return bootstrap(first - second, clusters=clusters, classes=classes, level=level, draws=draws, seed=seed)


def wilson(hits: int, n: int, level: float = 0.95) -> Estimate:
    """A share of independent samples with Wilson's score interval, good near 0 and 1 and for few samples."""
    whole("n", n)
    whole("hits", hits)
    number("level", level, above=0, below=1)
    if hits > n:
        raise InputError(f"hits must lie in 0..n, not {hits} of {n}")
    if n == 0:
        return Estimate(np.nan, np.nan, np.nan, 0)
    z = float(norm.ppf((1 + level) / 2))
    share = hits / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return Estimate(share, max(0.0, float(centre - half)), min(1.0, float(centre + half)), n)


def mcnemar_exact(first: ArrayLike, second: ArrayLike) -> McNemar:
    """Do two methods hit equally often? `first` and `second` are hits (bool) on the same samples."""
    first, second = _numbers("first", first), _numbers("second", second)
    for name, values in (("first", first), ("second", second)):
        if np.isnan(values).any():
            raise InputError(f"{name} holds NaN, which is neither right nor wrong: leave those samples out of both")
    first, second = first > 0, second > 0
    if first.shape != second.shape:
        raise InputError(f"first and second must be of the same samples, not {len(first)} and {len(second)}")
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    p = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return McNemar(p, only_first, only_second)


def holm(p: ArrayLike) -> Float[np.ndarray, " n"]:
    """Holm's step-down correction of p values `[n]`: of several tests each at its corrected p, the chance of one false
    alarm among all stays below the level. Holm 1979; 0..1, in the given order."""
    values = _numbers("p", p)
    if not ((values >= 0) & (values <= 1)).all():
        raise InputError("p must lie in 0..1")
    order = np.argsort(values, kind="stable")
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    return corrected


def in_percent(value: float, low: float, high: float, width: int = 0) -> str:
    """A share of 1 with its interval as text, in percent; numbers are padded to `width` where they stand in columns."""
    inner = max(0, width - 1)
    return f"{100 * value:{width}.1f} [{100 * low:{inner}.1f}, {100 * high:{inner}.1f}]"


def one_each(name: str, labels: ArrayLike, n: int) -> np.ndarray:
    """Labels `[n]` of any kind, or InputError."""
    array = np.asarray(labels)
    if array.shape != (n,):
        raise InputError(f"{name} must name one for each of the {n} samples, not {list(array.shape)}")
    return array


def _numbers(name: str, values: ArrayLike) -> Float[np.ndarray, " n"]:
    array = as_array(name, values, "numbers [n], one for each sample").astype(float)
    if array.ndim != 1:
        raise InputError(f"{name} must be numbers [n], one for each sample, not {list(array.shape)}")
    return array


def _index(labels: ArrayLike | None, name: str, n: int) -> Int[np.ndarray, " n"] | None:
    """Labels of any kind as 0, 1, ... in sorted order."""
    if labels is None:
        return None
    return np.unique(one_each(name, labels, n), return_inverse=True)[1]


def _totals(
    values: np.ndarray, clusters: np.ndarray | None, classes: np.ndarray | None
) -> tuple[Float[np.ndarray, "clusters classes"], Float[np.ndarray, "clusters classes"]]:
    """Sum and number of the values of each cluster and class."""
    clusters = np.arange(len(values)) if clusters is None else clusters
    classes = np.zeros(len(values), int) if classes is None else classes
    shape = (clusters.max(initial=-1) + 1, classes.max(initial=-1) + 1)
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (clusters, classes), values)
    np.add.at(counts, (clusters, classes), 1)
    return sums, counts


def _mean(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over the classes (last axis) that occur of each one's mean."""
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    return means.sum(-1) / (counts > 0).sum(-1)
