"""The figures as tables of Markdown, as docs/boxes.md shows them: percent, with 95% intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

NETWORKS = {
    "scenes_cnn": "scenes_cnn",
    "squeezenet1_1": "SqueezeNet",
    "squeezenet1_1-asked": "SqueezeNet, asked class",
    "efficientnet_lite0": "EfficientNet-Lite0",
    "efficientnet_lite0-asked": "EfficientNet-Lite0, asked class",
    "vgg16_features": "VGG16",
}


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """A table for each set that has one."""
    found = {name: table(one["rows"]) for name, one in results.items() if "rows" in one}
    drawn = {"few": few_table, "ilsvrc_dogs": protocols_table}
    return found | {name: draw(results[name]) for name, draw in drawn.items() if name in results}


def few_table(few: Mapping[str, Any]) -> str:
    """The mean of the draws, and the lowest and highest of them."""
    lines = [["boxes", "coverage", "median box"], ["---"] * 3]
    for count, shares in few["boxes"].items():
        drawn = [[100 * value for value in shares[name]] for name in ("coverage", "median box")]
        lines.append([count, *(f"{sum(one) / len(one):.1f} ({min(one):.1f} to {max(one):.1f})" for one in drawn)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def protocols_table(dogs: Mapping[str, Any]) -> str:
    """A row for each method and way to a box, a column for each protocol; of thresholded maps the oracle's threshold
    and the other folds'."""
    figures = dogs["figures"]
    protocols = list(dict.fromkeys(row["protocol"] for row in figures))
    named = {(row["method"], row["route"], row["protocol"]): row for row in figures}
    lines = [["method", "box by", *protocols, "gt-known against"], ["---"] * (3 + len(protocols))]
    for method, route in dict.fromkeys((row["method"], row["route"]) for row in figures):
        own = [named.get((method, route, protocol)) for protocol in protocols]
        paired = next((row["paired"] for row in own if row and "paired" in row), None)
        said = against({"features": method}, {**paired, "against": f"{method}, {paired['against']}"}) if paired else ""
        lines.append([method, route, *(interval(row, "value") if row else "" for row in own), said])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    small, classes, anyone = ("small" in rows[-1], "class_mean" in rows[-1], "any" in rows[-1])
    head = ["features", "route", "CorLoc", *["small boxes"] * small, *["mean of classes"] * classes]
    head += [*["any of the class"] * anyone, "against"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        cells = [title(row["features"]), row["route"], interval(row, "corloc")]
        cells += [interval(row["small"], "value")] if small else []
        cells += [interval(row["class_mean"], "corloc")] if classes else []
        cells += [interval(row["any"]["class_mean"], "corloc")] if anyone else []
        lines.append([*cells, "; ".join(against(row, one) for one in row.get("paired", []))])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def interval(row: Mapping[str, Any], key: str) -> str:
    return f"{100 * row[key]:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def against(row: Mapping[str, Any], paired: Mapping[str, Any]) -> str:
    """The paired difference; the map is named where it is another one's."""
    feature, _, route = paired["against"].rpartition(", ")
    name = route if feature == row["features"] else f"{title(feature)}, {route}"
    low, high = 100 * paired["low"], 100 * paired["high"]
    return f"{name} {100 * paired['difference']:+.1f} [{low:+.1f}, {high:+.1f}]"


def title(features: str) -> str:
    """Arrays in words, those of a network together."""
    of: dict[str, list[str]] = {}
    for feature in features.split(", "):
        network, _, array = feature.rpartition(":")
        of.setdefault(network, []).append(array.removeprefix("asked-"))
    return "; ".join(f"{NETWORKS.get(name, _scaled(name))} {', '.join(arrays)}".strip() for name, arrays in of.items())


def _scaled(network: str) -> str:
    name, _, side = network.rpartition("-")
    return f"{NETWORKS[name]} at {side} px" if name in NETWORKS else network
