"""Which methods cannot be told apart on these images, and which cost more for nothing: paired tests, corrected."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from localization.comparison.boxes import NONE, Fit
from localization.comparison.samples import Samples
from localization.metrics import best_iou, hits
from localization.routes import HEURISTIC, LINEAR
from localization.statistics import holm, mcnemar_exact, paired_difference
from saliency.methods import METHODS

LEVEL = 0.05
SHOWN = 12  # names in the sentence


def verdict(rows: Sequence[Mapping[str, Any]], fits: Mapping[str, Fit], samples: Samples) -> dict[str, Any] | None:
    """Each method through its best route: which of them are not told apart from the best one, the cheapest of these,
    and which cost more than that without being better. None where fewer than two were learned here.

    Tests are McNemar's, exact and two-sided, with Holm's correction over all methods that are compared with the same
    one. Not told apart does not say equal: `resolution` is half of the median width of the differences' intervals.
    """
    learned: dict[str, Mapping[str, Any]] = {}
    for row in sorted(rows, key=lambda row: -row["corloc"]):
        if row["route"] != NONE and row["base"] in METHODS:
            learned.setdefault(row["method"], row)
    if len(learned) < 2:
        return None
    true, images = [samples.true[i] for i in samples.test], samples.images[samples.test]
    labelled = {label: boxes for fit in fits.values() for label, boxes in fit.boxes.items()}
    right = {name: hits(best_iou(labelled[name, row["route"]], true)) for name, row in learned.items()}
    best = next(iter(learned))
    against_best = _tested(learned, right, images, best)
    same = [best, *(one["method"] for one in against_best if one["holm"] > LEVEL)]
    known = [name for name in same if learned[name]["ms_per_image"] is not None]
    cheapest = min(known, key=lambda name: learned[name]["ms_per_image"], default=best)
    against_cheapest = _tested(learned, right, images, cheapest)
    price = _ms(learned[cheapest])
    for_nothing = [
        one
        for one in against_cheapest
        if _ms(learned[one["method"]]) > 1.5 * price and not (one["holm"] <= LEVEL and one["difference"] > 0)
    ]
    return {
        "level": LEVEL,
        "best": best,
        "compared": len(learned),
        "same": same,
        "cheapest": cheapest,
        "for_nothing": [one["method"] for one in sorted(for_nothing, key=lambda one: -_ms(learned[one["method"]]))],
        "resolution": float(np.median([(one["high"] - one["low"]) / 2 for one in against_best])),
        "against_best": against_best,
        "against_cheapest": against_cheapest,
        "controls": [name for name in same if METHODS[learned[name]["base"]].family == "control"],
        "ms_per_image": {name: row["ms_per_image"] for name, row in learned.items()},
        "corloc": {name: row["corloc"] for name, row in learned.items()},
        "routes": {name: row["route"] for name, row in learned.items()},
    }


def by_route(fits: Mapping[str, Fit], samples: Samples) -> list[dict[str, Any]]:
    """Of each method that has both, the linear map's hits against the heuristic's on the same images: difference, its
    interval, McNemar's exact p, and with Holm's correction over the methods."""
    true, images = [samples.true[i] for i in samples.test], samples.images[samples.test]
    labelled = {label: boxes for fit in fits.values() for label, boxes in fit.boxes.items()}
    methods = [name for name, route in labelled if route == LINEAR and (name, HEURISTIC) in labelled]
    pairs = {
        name: (hits(best_iou(labelled[name, LINEAR], true)), hits(best_iou(labelled[name, HEURISTIC], true)))
        for name in methods
    }
    return sorted(_differences(pairs, images), key=lambda one: one["difference"])


def routes_paragraph(found: Sequence[Mapping[str, Any]]) -> str:
    """Where the linear map is not as good as the heuristic of the same map."""
    worse = [one for one in found if one["holm"] <= LEVEL and one["difference"] < 0]
    behind = [one for one in found if one["holm"] > LEVEL and one["difference"] < 0]
    better = [one["method"] for one in found if one["holm"] <= LEVEL and one["difference"] > 0]

    def named(some: Sequence[Mapping[str, Any]]) -> str:
        points = ", ".join(
            f"{one['method']} {100 * one['difference']:+.1f} [{100 * one['low']:+.1f}, {100 * one['high']:+.1f}]"
            for one in some[:SHOWN]
        )
        return points + (f" and {len(some) - SHOWN} more" if len(some) > SHOWN else "")

    said = (
        f"The linear map beside the heuristic of the same map, {len(found)} methods, tested alike: better for certain"
    )
    said += f" of {len(better)}. Worse for certain: {named(worse) if worse else 'none'}."
    return said + (f" Behind, which may be chance: {named(behind)}." if behind else "")


def _ms(row: Mapping[str, Any]) -> float:
    return row["ms_per_image"] or 0.0


def _tested(
    learned: Mapping[str, Mapping[str, Any]], right: Mapping[str, np.ndarray], images: np.ndarray, against: str
) -> list[dict[str, Any]]:
    """Every other method against one, on the same images; `holm` is the corrected p."""
    names = [name for name in learned if name != against]
    return _differences({name: (right[name], right[against]) for name in names}, images)


def _differences(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]], images: np.ndarray) -> list[dict[str, Any]]:
    """By name whose hits are set against whose: the difference, its interval, McNemar's exact p, and with Holm's
    correction over all of them."""
    p = [mcnemar_exact(*pair).p for pair in pairs.values()]
    found = []
    for (name, pair), own, corrected in zip(pairs.items(), p, holm(p)):
        difference = paired_difference(*pair, clusters=images)
        found.append(
            {
                "method": name,
                "difference": difference.value,
                "low": difference.low,
                "high": difference.high,
                "p": own,
                "holm": float(corrected),
            }
        )
    return found


def paragraph(found: Mapping[str, Any], test: int) -> str:
    """The verdict in one paragraph."""
    best, same, cheapest = found["best"], found["same"], found["cheapest"]
    level, ms = f"{100 * found['level']:g}%", found["ms_per_image"]

    def named(names: Sequence[str]) -> str:
        rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        return ", ".join(f"{name} ({100 * found['corloc'][name]:.1f}%)" for name in names[:SHOWN]) + rest

    others = same[1:]
    said = (
        f"Each of the {found['compared']} methods through its best box route, paired on the same {test} images,"
        f" McNemar's exact test with Holm's correction at {level}. "
    )
    if others:
        said += f"Not told apart from the best, {named([best])}: {named(others)}."
    else:
        said += f"The best, {named([best])}, is told apart from all others."
    worse = found["compared"] - len(same)
    said += f" Worse for certain: {worse}." if worse else " None is worse for certain."
    said += (
        f" With so many images a difference below about {100 * found['resolution']:.1f} points cannot be told, so not"
        " told apart does not say equal."
    )
    if found["controls"]:
        said += (
            " Among these are controls, which know nothing of what this classifier has learned:"
            f" {', '.join(found['controls'])}."
        )
    if ms[cheapest] is not None and len(same) > 1:
        said += f" The cheapest of them is {cheapest}, {_said(ms[cheapest])} an image."
    if found["for_nothing"]:
        said += (
            f" Cost more than 1.5 times as much and are not better than {cheapest} for certain:"
            f" {_priced(found['for_nothing'], ms)}."
        )
    return said


def _priced(names: Sequence[str], ms: Mapping[str, float | None]) -> str:
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(f"{name} ({_said(ms[name])})" for name in names[:SHOWN]) + rest


def _said(ms: float | None) -> str:
    """Three digits that count, whole milliseconds from a hundred on."""
    return f"{ms:.3g} ms" if (ms or 0) < 100 else f"{ms:,.0f} ms"
