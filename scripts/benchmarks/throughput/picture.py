"""The ratios to torch, with both ends, and the shares of the roof."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

ENGINES = {"dense": "tab:blue", "incremental": "tab:red", "gradient": "tab:green"}


def drawn(results: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(13, 4), layout="constrained")
    data_set, in_memory, roof = figure.subplots(1, 3)
    _ratios(
        data_set,
        [(f"{row['network']}\n{row['maps']}", row["ratio"], row["ratio_spread"]) for row in results["data_set"]],
        "data set, JPEG to map on disk",
    )
    rows = [
        (f"{row['network']}{what}".replace(", ", "\n"), row[f"ratio{what}"], row[f"ratio_spread{what}"])
        for row in results["in_memory"]
        for what in ("", ", one photo")
    ]
    _ratios(in_memory, rows, "class maps of images in memory")
    names = [row["network"] for row in results["roof"]]
    for i, (engine, colour) in enumerate(ENGINES.items()):
        shares = [row[engine]["share"] if engine in row else np.nan for row in results["roof"]]
        roof.barh(np.arange(len(names)) + (i - 1) * 0.27, shares, 0.27, color=colour, label=engine)
    roof.axvline(1, color="0.4", linewidth=1)
    roof.set_yticks(range(len(names)), names, fontsize=8)
    roof.invert_yaxis()
    roof.set_xlabel("share of one core's limit")
    roof.set_title("the physical limit", loc="left", fontsize=10)
    if names:
        roof.legend(fontsize=8)
    for axes in (data_set, in_memory, roof):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _ratios(axes: Any, rows: list[tuple[str, float, list[float]]], title: str) -> None:
    values = np.array([value for _, value, _ in rows])
    ends = np.array([spread for _, _, spread in rows]).reshape(-1, 2)
    axes.barh(range(len(rows)), values, color=["tab:red" if value > 1 else "tab:green" for value in values])
    axes.errorbar(
        values, range(len(rows)), xerr=[values - ends[:, 0], ends[:, 1] - values], fmt="none", color="0.2", capsize=2
    )
    for i, value in enumerate(values):
        axes.text(max(value, ends[i, 1]), i, f" {value:.2f}", va="center", fontsize=8)
    axes.axvline(1, color="0.4", linewidth=1)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15 * max([1, *ends.ravel()]))
    axes.set_xlabel("our time over torch's")
    axes.set_title(title, loc="left", fontsize=10)
