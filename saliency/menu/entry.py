"""How an entry of the menu is written, and what several families say in theirs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from saliency._checks import Pair
from saliency.maps.gradient import Progress
from saliency.method import Cost, Family, Shared, Sign
from saliency.options.methods import Options
from saliency.scores import Target

PAPER = "Fast Object Localization via Sensitivity Analysis"
# `Any`: a network, or for a method that takes one a black box; the menu sees to it.
Run = Callable[[Any, np.ndarray, Target, Options, Progress | None], np.ndarray]
Count = Callable[[Any, Pair, Options], Cost]


@dataclass(frozen=True)
class Entry:
    """A method of the menu (`saliency.method.Method`) without its door: `run` and `cost` get what has been checked."""

    name: str
    family: Family
    sign: Sign
    source: str
    summary: str
    run: Run
    cost: Count
    shared: Callable[[Options], Shared] | None = None
    black_box: bool = False
    random: bool = False
    layered: bool = False
    by_image: bool = False


def passes(forwards: int, backwards: int) -> Count:
    return lambda net, size, o: Cost(forwards, backwards)
