"""How occlusion is computed, as data: nothing here needs JAX before it runs."""

from dataclasses import dataclass
from typing import Literal, get_args

from saliency._checks import one_of, whole

Engine = Literal["auto", "dense", "incremental"]


@dataclass(frozen=True)
class Execution:
    """How occlusion is computed; what comes out is the same but for the last bits.

    `engine`: "dense" is a forward pass per position, "incremental" the same numbers from what each window changes, and
    "auto" whichever the plan finds cheaper. `budget` bounds the bytes of activations held at once (None: 256 MiB on a
    CPU, half of an accelerator's free memory; where even that is too much, a warning says so and fewer are held).
    `chunk` is the number of positions at once, set by hand (None: as many as suit the machine). Raises InputError for
    other values.

    >>> Execution("dense", chunk=8)
    Execution(engine='dense', budget=None, chunk=8)
    """

    engine: Engine = "auto"
    budget: int | None = None
    chunk: int | None = None

    def __post_init__(self) -> None:
        one_of("engine", self.engine, get_args(Engine))
        whole("budget", self.budget, least=1, optional=True)
        whole("chunk", self.chunk, least=1, optional=True)

    @property
    def bytes(self) -> int:
        """The budget, settled."""
        from saliency.devices import default_budget

        return default_budget() if self.budget is None else self.budget
