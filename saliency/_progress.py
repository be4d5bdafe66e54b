"""How far a run is, where its parts know only how much more they have done."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class ProgressCounter:
    """`advance(more)` calls `report(done, total)`, where there is one."""

    report: Callable[[int, int], None] | None
    total: int
    done: int = 0

    def advance(self, more: int) -> None:
        self.done += more
        if self.report:
            self.report(self.done, self.total)
