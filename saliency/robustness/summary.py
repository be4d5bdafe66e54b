"""What the answers under masks say: rows of figures with intervals, verdicts on published claims, and a conclusion.

Answers are log-probabilities `[coverages, n, t, k]` by (fill, family) and network; nothing hidden is the family "".
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from saliency._fills import fill_text, fill_words
from saliency.robustness.augment import visible_share
from saliency.robustness.calibration import (
    METRICS,
    Sampled,
    figures,
    mean,
    reliability,
    resample_weights,
    video_log_probabilities,
)
from saliency.robustness.masks import describe
from saliency.robustness.subject import Options, Subject

POST = "How occlusion structure breaks CNN digit recognition"
ORDERING = (("bernoulli", "life"), ("life", "perlin"), ("life", "triangles"))  # gentler, worse: as POST found them
BANDS = ((0.0, 1.0), (0.0, 0.3), (0.3, 0.6), (0.6, 1.0))  # of coverage, above the first and up to the second
NONE = "none"
LABELS = {"accuracy": "accuracy", "nll": "NLL", "brier": "Brier score", "ece": "ECE"}

Key = tuple[str, str, str, str]  # level, fill, family ("" for nothing hidden), network
Answers = Mapping[tuple[str, str], Mapping[str, np.ndarray]]
Averages = Mapping[Key, Mapping[str, Sampled]]


def summary(options: Options, subject: Subject, answers: Answers) -> dict[str, Any]:
    """Everything that the report says of the answers, as plain rows."""
    weights = resample_weights(subject.groups, options.draws, options.seed)
    frames = subject.x.shape[1]
    fills = [fill_text(fill) for fill in options.fills]

    def judged(log_p: np.ndarray, level: str) -> dict[str, Sampled]:
        if level == "video":
            return figures(video_log_probabilities(log_p), subject.labels, weights)
        return figures(log_p.reshape(-1, log_p.shape[-1]), np.repeat(subject.labels, frames), weights.repeat(frames, 1))

    levels = ("video", "frame") if frames > 1 else ("video",)
    figured = {
        (level, fill, family, name): [judged(one, level) for one in log_p]
        for (fill, family), nets in answers.items()
        for name, log_p in nets.items()
        for level in levels
        if level == "video" or name == subject.plain
    }
    averages = {key: average(sampled) for key, sampled in figured.items()}
    order = _order(options, subject, fills, figured, levels)
    return {
        "curves": _curves(options, figured),
        "ordering": order,
        "reliability": [
            {
                "fill": fill,
                "family": family or NONE,
                "coverage": coverage,
                **{k: v.tolist() for k, v in vars(reliability(video_log_probabilities(log_p), subject.labels)).items()},
            }
            for (fill, family), nets in answers.items()
            for coverage, log_p in zip(options.coverages if family else (0.0,), nets[subject.plain])
        ],
        "regression": _regressions(options, subject, fills, answers, weights),
        "table": _trained_table(subject, fills, averages),
        "findings": [
            f"With {fill_words(fill)}: {sentence}" for fill in fills for sentence in findings(order, fill)
        ],
        "conclusion": [
            *shape_and_fill(options, subject, fills, averages),
            _training(subject, fills, averages) if len(subject.nets) > 1 else _confidence(options, subject, answers),
        ],
    }  # fmt: skip


def average(sampled: Sequence[Mapping[str, Sampled]]) -> dict[str, Sampled]:
    """Every metric, averaged over coverages."""
    return {metric: mean([one[metric] for one in sampled]) for metric in METRICS}


def bands(coverages: Sequence[float]) -> dict[str, list[int]]:
    """Which coverages lie in each of `BANDS`, by its name: "10–90%" for all, "10–30%" for the light ones, ..."""
    named = {}
    for above, upto in BANDS:
        at = [i for i, coverage in enumerate(coverages) if above < coverage <= upto]
        if at:
            low, high = (100 * pick(coverages[i] for i in at) for pick in (min, max))
            named[f"{low:g}%" if low == high else f"{low:g}–{high:g}%"] = at
    return named


def verdict(metric: str, gentle: Sampled, worse: Sampled) -> dict[str, Any]:
    """A claim that the second family is the worse, judged by one metric: by how much it is."""
    gap = gentle - worse if metric == "accuracy" else worse - gentle
    low, high = gap.interval
    said = "held" if low > 0 else "contradicted" if high < 0 else "undecided"
    return {"by": gap.value, "low": low, "high": high, "verdict": said}


def findings(order: Sequence[Mapping[str, Any]], fill: str) -> list[str]:
    """A sentence for each published claim: the verdicts by band of coverage (of all, where there is but one)."""
    sentences = []
    for gentle, worse in ORDERING:
        rows = [
            row
            for row in order
            if (row["level"], row["fill"], row["gentler"], row["worse"]) == ("video", fill, gentle, worse)
        ]
        names = list(dict.fromkeys(row["coverages"] for row in rows))
        parts = []
        for band in names[1:] or names:
            by_verdict: dict[str, list[str]] = {}
            for row in rows:
                if row["coverages"] == band:
                    by_verdict.setdefault(row["verdict"], []).append(LABELS[row["metric"]])
            parts.append(f"at {band} " + ", ".join(f"{said} in {listed(of)}" for said, of in by_verdict.items()))
        if parts:
            sentences.append(f"{gentle} gentler than {worse}: {'; '.join(parts)}.")
    return sentences


def shape_and_fill(options: Options, subject: Subject, fills: Sequence[str], averages: Averages) -> list[str]:
    """Two sentences: how much the shape matters, and whether that holds whatever fills the hidden pixels."""
    clean = averages["video", fills[0], "", subject.plain]["accuracy"].value
    right = {
        fill: {family: averages["video", fill, family, subject.plain]["accuracy"] for family in options.families}
        for fill in fills
    }
    gentlest_first = {fill: sorted(of, key=lambda name, of=of: -of[name].value) for fill, of in right.items()}  # type: ignore[misc]
    said = []
    for fill, order in gentlest_first.items():
        best, worst = right[fill][order[0]].value, right[fill][order[-1]].value
        where = f"where {fill_words(fill)} shows"
        one = f"{best:.1%} ({order[0]})"
        said.append(f"{one} {where}" if len(order) == 1 else f"{one} to {worst:.1%} ({order[-1]}) {where}")
    shape = (
        f"Shape: of {len(subject.labels)} {subject.units} {clean:.1%} are classified right with nothing hidden;"
        f" averaged over {next(iter(bands(options.coverages)))} hidden, {listed(said)}"
    )
    pairs = list(combinations(options.families, 2))
    settled = {fill: _settled(of, pairs) for fill, of in right.items()}
    if pairs:
        matters = [fill for fill in fills if any(settled[fill].values())]
        shape += ": at equal area " + (
            "no pair of shapes differs clearly"
            if not matters
            else "some shapes are clearly worse than others"
            if len(fills) == 1
            else "some shapes are clearly worse than others whatever the fill"
            if len(matters) == len(fills)
            else f"shapes differ clearly only where {listed([fill_words(fill) for fill in matters])} shows"
        )
    return [f"{shape}.", _fill_sentence(gentlest_first, settled, pairs)]


def listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]


def _settled(right: Mapping[str, Sampled], pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """For each pair 1 where the first is clearly gentler, -1 where the second is, 0 where that is not settled."""
    found = {}
    for first, second in pairs:
        low, high = (right[first] - right[second]).interval_of(len(pairs))
        found[first, second] = int(low > 0) - int(high < 0)
    return found


def _fill_sentence(
    orders: Mapping[str, Sequence[str]], settled: Mapping[str, Mapping[tuple[str, str], int]], pairs: Sequence
) -> str:
    fills = list(orders)
    if not pairs:
        return "Fill: one shape of mask only was asked for, so there is no order of shapes to compare."
    ordered = [f"{', '.join(order)} with {fill_words(fill)}" for fill, order in orders.items()]
    text = f"Fill: from the gentlest to the most harmful shape the order is {listed(ordered)}"
    if len(fills) == 1:
        return f"{text}; other fills were not tried, and may order them otherwise."
    signs = {pair: [settled[fill][pair] for fill in fills] for pair in pairs}
    alike = [pair for pair, of in signs.items() if 0 not in of and len(set(of)) == 1]
    reversed_ = [pair for pair, of in signs.items() if {1, -1} <= set(of)]
    named = f" ({listed([f'{a} against {b}' for a, b in reversed_])})" if reversed_ else ""
    rest = len(pairs) - len(alike) - len(reversed_)
    return (
        f"{text}; of {len(pairs)} pair{'s' * (len(pairs) > 1)} of shapes {len(alike)}"
        f" {'is' if len(alike) == 1 else 'are'} clearly ordered alike with {'both' if len(fills) == 2 else 'all'}"
        f" fills, {len(reversed_)} clearly the other way round{named}, and {rest} not settled with at least one."
    )


def _training(subject: Subject, fills: Sequence[str], averages: Averages) -> str:
    plain = subject.plain
    others = [name for name in subject.nets if name != plain]
    families = list(dict.fromkeys(family for _, _, family, _ in averages if family))

    def gains(fill: str, family: str) -> list[Sampled]:
        base = averages["video", fill, family, plain]["accuracy"]
        return [averages["video", fill, family, name]["accuracy"] - base for name in others]

    said = []
    for i, fill in enumerate(fills):
        every = [gain for family in families for gain in gains(fill, family)]
        up, down = (sum(clear(gain) for gain in every) for clear in (_above, _below))
        first = f"{up} of {len(every)} pairs of training and mask shape gain accuracy and {down} lose some"
        said.append(f"with {fill_words(fill)} {first if not i else f'{up} gain and {down} lose'}")
    cost = gains(fills[0], "")
    low, high = (100 * pick(gain.value for gain in cost) for pick in (min, max))
    spread = f"{low:+.1f}" if len(cost) == 1 else f"{low:+.1f} to {high:+.1f}"
    return (
        f"Training with augmentations, of which those that hide show {fill_words(fills[0])}: {listed(said)} (95%"
        f" interval clear of 0); with nothing hidden they change accuracy by {spread} points, and"
        f" {sum(map(_below, cost))} of {len(cost)} lose some."
    ).replace("-", "−")


def _confidence(options: Options, subject: Subject, answers: Answers) -> str:
    middle = int(np.abs(np.array(options.coverages) - 0.5).argmin())

    def gap(log_p: np.ndarray) -> float:
        """Mean confidence minus accuracy, in points."""
        log_p = video_log_probabilities(log_p)
        return 100 * float(np.exp(log_p.max(-1)).mean() - (log_p.argmax(-1) == subject.labels).mean())

    (_, clean), *_ = answers.items()
    hidden = {
        f"{family}, {fill_words(fill)}": gap(nets[subject.plain][middle])
        for (fill, family), nets in answers.items()
        if family
    }
    least, most = (pick(hidden, key=lambda name: hidden[name]) for pick in (min, max))
    text = (
        f"Confidence: the classifier's mean confidence minus its accuracy is {gap(clean[subject.plain][0]):+.1f} points"
        f" with nothing hidden, and with {options.coverages[middle]:.0%} hidden {hidden[most]:+.1f} points ({most})"
    )
    if len(hidden) > 1:
        text += f" at most and {hidden[least]:+.1f} points ({least}) at least"
    return f"{text}; above 0 it is surer than it is right.".replace("-", "−")


def _above(gain: Sampled) -> bool:
    return gain.interval[0] > 0


def _below(gain: Sampled) -> bool:
    return gain.interval[1] < 0


def _curves(options: Options, figured: Mapping[Key, Sequence[Mapping[str, Sampled]]]) -> list[dict[str, Any]]:
    return [
        {
            **{"network": name, "fill": fill, "family": family or NONE, "level": level, "coverage": coverage},
            **{"metric": metric, "value": one.value, "low": one.interval[0], "high": one.interval[1]},
        }
        for (level, fill, family, name), sampled in figured.items()
        for coverage, by_metric in zip(options.coverages if family else (0.0,), sampled)
        for metric, one in by_metric.items()
    ]


def _order(
    options: Options,
    subject: Subject,
    fills: Sequence[str],
    figured: Mapping[Key, Sequence[Mapping[str, Sampled]]],
    levels: Sequence[str],
) -> list[dict[str, Any]]:
    return [
        {
            **{"level": level, "fill": fill, "coverages": band, "gentler": gentle, "worse": worse, "metric": metric},
            **verdict(
                metric,
                *(
                    average([figured[level, fill, one, subject.plain][i] for i in at])[metric]
                    for one in (gentle, worse)
                ),
            ),
        }
        for level in levels
        for fill in fills
        for gentle, worse in ORDERING
        if {gentle, worse} <= set(options.families)
        for band, at in bands(options.coverages).items()
        for metric in METRICS
    ]


def _trained_table(subject: Subject, fills: Sequence[str], averages: Averages) -> list[dict[str, Any]]:
    """Augmentation x family: figures averaged over the coverages, and their difference from the plain classifier's."""
    rows = []
    for level, fill, family, name in averages:
        if level == "video":
            for metric, one in averages[level, fill, family, name].items():
                gain = one - averages[level, fill, family, subject.plain][metric]
                rows.append(
                    {
                        **{"augmentation": name, "fill": fill, "family": family or NONE, "metric": metric},
                        **{"value": one.value, "low": one.interval[0], "high": one.interval[1]},
                        **{"gain": gain.value, "gain_low": gain.interval[0], "gain_high": gain.interval[1]},
                    }
                )
    return rows


def _regressions(
    options: Options, subject: Subject, fills: Sequence[str], answers: Answers, weights: np.ndarray
) -> list[dict[str, Any]]:
    """At each of three coverages: how being right in the first frame hangs on the shape of that frame's mask."""
    chosen = sorted({min(options.coverages, key=lambda c: abs(c - wanted)) for wanted in (0.3, 0.5, 0.7)})
    masks = {family: subject.masks(options, family) for family in options.families}
    rows = []
    for coverage in chosen:
        at = options.coverages.index(coverage)
        first = {family: masks[family](coverage)[:, 0] for family in options.families}
        shapes = {family: describe(hidden) for family, hidden in first.items()}
        columns = {
            "largest component": np.concatenate([shape.largest for shape in shapes.values()]),
            "log2 components": np.log2(np.maximum(1, np.concatenate([shape.components for shape in shapes.values()]))),
        }
        if subject.boxes is not None:
            columns["hidden share of the object"] = np.concatenate(
                [
                    1 - np.asarray(visible_share(jnp.asarray(hidden, float), jnp.asarray(subject.boxes)))
                    for hidden in first.values()
                ]
            )
        labels = np.tile(subject.labels, len(first))
        for fill in fills:
            log_p = np.concatenate([answers[fill, family][subject.plain][at][:, 0] for family in first])
            right = (log_p.argmax(-1) == labels).astype(float)
            found = slopes(right, columns, np.tile(weights, (1, len(first))))
            rows.append(
                {
                    "fill": fill,
                    "coverage": coverage,
                    "connectivity": 8,
                    "slopes": {
                        name: {"value": one.value, "low": one.interval[0], "high": one.interval[1]}
                        for name, one in found.items()
                    },
                    "families": {
                        family: {
                            "coverage": float(np.mean(shape.coverage)),
                            "error": float(np.abs(shape.coverage - coverage).max()),
                            "largest": float(np.mean(shape.largest)),
                            "components": float(np.mean(shape.components)),
                            "accuracy": float(one.mean()),
                        }
                        for (family, shape), one in zip(shapes.items(), np.split(right, len(first)))
                    },
                }
            )
    return rows


def slopes(
    values: Float[np.ndarray, " n"],
    descriptors: Mapping[str, Float[np.ndarray, " n"]],
    weights: Float[np.ndarray, "draws n"],
) -> dict[str, Sampled]:
    """Least squares: how `values` change with one standard deviation of each descriptor while the others stay.

    `weights` are those of `calibration.resample_weights`. A descriptor that does not vary has slope 0.
    """
    columns = np.stack([np.asarray(column, float) for column in descriptors.values()], 1)
    deviation = columns.std(0)
    columns = np.divide(columns - columns.mean(0), deviation, out=np.zeros_like(columns), where=deviation > 1e-12)
    design = np.concatenate([np.ones((len(columns), 1)), columns], 1)
    weights = np.concatenate([np.ones((1, len(values))), weights])  # the first draw is the sample itself
    products = np.einsum("ni,nj->nij", design, design).reshape(len(design), -1)
    normal = (weights @ products).reshape(len(weights), *[design.shape[1]] * 2)
    moments = weights @ (design * np.asarray(values, float)[:, None])
    solved = np.einsum("dij,dj->di", np.linalg.pinv(normal, hermitian=True), moments)
    return {name: Sampled(float(solved[0, i]), solved[1:, i]) for i, name in enumerate(descriptors, 1)}
