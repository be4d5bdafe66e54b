"""How good a classifier's probabilities are, with bootstrap intervals.

Log-probabilities are float `[n, k]`, labels int `[n]`. NLL is the mean of -log p(label); Brier the mean squared
distance of the probabilities from the one-hot label (0..2); ECE the mean gap between confidence (the largest
probability) and accuracy over 15 equal bins of confidence, weighted by their counts. Bin b holds
b/15 <= confidence < (b+1)/15, and the last holds 1 as well.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from saliency.errors import InputError

BINS = 15
METRICS = ("accuracy", "nll", "brier", "ece")


@dataclass(frozen=True)
class Reliability:
    """Per bin of confidence: how many fell into it, their mean confidence and accuracy (NaN in empty bins)."""

    edges: Float[np.ndarray, " edges"]
    count: Int[np.ndarray, " bins"]
    confidence: Float[np.ndarray, " bins"]
    accuracy: Float[np.ndarray, " bins"]

    @property
    def ece(self) -> float:
        gaps = np.where(self.count > 0, np.abs(self.confidence - self.accuracy), 0)
        return float(gaps @ self.count / max(1, self.count.sum()))


@dataclass(frozen=True)
class Sampled:
    """A figure and its values on resampled data. Figures of the same items, resampled alike, can be subtracted."""

    value: float
    resamples: Float[np.ndarray, " draws"]

    @property
    def interval(self) -> tuple[float, float]:
        """At 95%: the resamples' percentiles, moved by as much as their mean lies off the value.

        For means that is nothing. ECE's resamples lie above it, since noise adds to the gap of every bin.
        """
        return self.interval_of(1)

    def interval_of(self, comparisons: int) -> tuple[float, float]:
        """The same for one of several comparisons: wide enough that all of them hold at 95% (Bonferroni)."""
        tail = 0.025 / comparisons
        low, high = np.quantile(self.resamples, (tail, 1 - tail)) - self._bias
        return float(low), float(high)

    @property
    def _bias(self) -> float:
        """By how much the resamples' mean lies off the value, where that is more than the draws' own noise.

        A share that no resample brings below 0 must not get an interval that reaches there.
        """
        bias = float(self.resamples.mean() - self.value)
        return bias if abs(bias) > 4 * self.resamples.std() / np.sqrt(len(self.resamples)) else 0.0

    def __sub__(self, other: "Sampled") -> "Sampled":
        return Sampled(self.value - other.value, self.resamples - other.resamples)


def mean(figures: list[Sampled]) -> Sampled:
    """The mean of figures of the same items, resampled alike."""
    return Sampled(float(np.mean([f.value for f in figures])), np.mean([f.resamples for f in figures], axis=0))


def resample_weights(groups: ArrayLike, draws: int = 1000, seed: int = 0) -> Float[np.ndarray, "draws n"]:
    """How often each item counts in each bootstrap draw; items of one group (the same digit, say) come together."""
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    count = index.max(initial=-1) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / max(1, count)), size=draws)
    return drawn[:, index].astype(float)


def figures(
    log_probabilities: ArrayLike, labels: ArrayLike, weights: Float[np.ndarray, "draws n"] | None = None
) -> dict[str, Sampled]:
    """Accuracy, NLL, Brier and ECE with their bootstrap values; `weights` are those of `resample_weights`.

    Raises InputError where there are no items, or labels and log-probabilities do not fit one another.
    """
    log_p, labels = _checked(log_probabilities, labels)
    weights = resample_weights(np.arange(len(labels))) if weights is None else weights
    weights = np.concatenate([np.ones((1, len(labels))), weights])  # the first draw is the sample itself
    right, confidence, bins = _judged(log_p, labels)
    one_hot = np.eye(log_p.shape[1])[labels]
    means = {
        "accuracy": right,
        "nll": -log_p[np.arange(len(labels)), labels],
        "brier": ((np.exp(log_p) - one_hot) ** 2).sum(-1),
    }
    total = weights.sum(1)
    drawn = {name: weights @ values / total for name, values in means.items()}
    drawn["ece"] = np.abs(weights @ ((confidence - right)[:, None] * np.eye(BINS)[bins])).sum(1) / total
    return {name: Sampled(float(drawn[name][0]), drawn[name][1:]) for name in METRICS}


def reliability(log_probabilities: ArrayLike, labels: ArrayLike) -> Reliability:
    """What a reliability diagram shows. Raises InputError as `figures` does."""
    right, confidence, bins = _judged(*_checked(log_probabilities, labels))
    count = np.bincount(bins, minlength=BINS)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(bins, values, BINS) / count for values in (confidence, right)]
    return Reliability(np.linspace(0, 1, BINS + 1), count, *means)


def video_log_probabilities(log_probabilities: ArrayLike) -> Float[np.ndarray, "n k"]:
    """One prediction per video `[n, t, k]`: log-probabilities averaged over its frames, and normalised again."""
    log_p = np.asarray(log_probabilities, float)
    if log_p.ndim != 3 or not log_p.shape[1]:
        raise InputError(f"log-probabilities of videos must be [n, t, k] with t >= 1, not {list(log_p.shape)}")
    averaged = log_p.mean(1)
    return averaged - np.logaddexp.reduce(averaged, axis=-1, keepdims=True)


def _checked(log_probabilities: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    log_p, labels = np.asarray(log_probabilities, float), np.asarray(labels)
    if log_p.ndim != 2 or not log_p.size or labels.shape != log_p.shape[:1]:
        raise InputError(
            "log-probabilities must be [n, k] and labels [n] with n >= 1,"
            f" not {list(log_p.shape)} and {list(labels.shape)}"
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= log_p.shape[1]:
        raise InputError(f"labels must be class indices 0..{log_p.shape[1] - 1}, not {labels.min()}..{labels.max()}")
    totals = np.logaddexp.reduce(log_p, axis=-1)
    if not np.allclose(totals, 0, atol=1e-3):
        raise InputError("log-probabilities must be of classes that sum to one: apply log_softmax to logits first")
    return log_p, labels


def _judged(log_p: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right or wrong (1, 0), the confidence and its bin, of each item."""
    confidence = np.minimum(np.exp(log_p.max(-1)), 1)
    bins = np.minimum(np.searchsorted(np.linspace(0, 1, BINS + 1), confidence, side="right") - 1, BINS - 1)
    return (log_p.argmax(-1) == labels).astype(float), confidence, bins
