"""The ratios to torch, with both ends, and the shares of the roof."""

from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

ENGINES = {"dense": "tab:blue", "incremental": "tab:orange", "gradient": "tab:purple"}


def drawn(results: dict[str, Any]) -> Figure:
    """A panel for each part that has rows."""
    rows = [
        (f"{row['network']}{what}".replace(", ", "\n"), row[f"ratio{what}"], row[f"ratio_spread{what}"])
        for row in results["in_memory"]
        for what in ("", ", one photo")
    ]
    sets = [(f"{row['network']}\n{row['maps']}", row["ratio"], row["ratio_spread"]) for row in results["data_set"]]
    panels = [
        partial(_ratios, rows=some, title=title)
        for some, title in ((sets, "data set, JPEG to map on disk"), (rows, "class maps of images in memory"))
        if some
    ]
    if results["roof"]:
        panels.append(partial(_roof, rows=results["roof"]))
    figure = Figure(figsize=(4.4 * max(1, len(panels)), 4), layout="constrained")
    for axes, panel in zip(figure.subplots(1, max(1, len(panels)), squeeze=False)[0], panels):
        panel(axes)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _roof(axes: Any, rows: list[dict[str, Any]]) -> None:
    for i, (engine, colour) in enumerate(ENGINES.items()):
        shares = [row[engine]["share"] if engine in row else np.nan for row in rows]
        axes.barh(np.arange(len(rows)) + (i - 1) * 0.27, shares, 0.27, color=colour, label=engine)
    axes.axvline(1, color="0.4", linewidth=1)
    axes.set_yticks(range(len(rows)), [row["network"] for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("share of one core's limit")
    axes.set_title("the physical limit", loc="left", fontsize=10)
    axes.legend(fontsize=8)


def _ratios(axes: Any, rows: list[tuple[str, float, list[float]]], title: str) -> None:
    values = np.array([value for _, value, _ in rows])
    ends = np.array([spread for _, _, spread in rows]).reshape(-1, 2)
    axes.barh(range(len(rows)), values, color=["tab:orange" if value > 1 else "tab:blue" for value in values])
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
