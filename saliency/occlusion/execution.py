"""How occlusion is computed, as data: nothing here needs JAX before it runs."""

from dataclasses import dataclass
from typing import Literal, get_args

from saliency._checks import kind_of, one_of, whole

Engine = Literal["auto", "dense", "incremental"]


@dataclass(frozen=True)
class Execution:
    """How occlusion is computed; what comes out is the same but for the last bits.

    `engine`: "dense" is a forward pass per position, "incremental" the same numbers from what each window changes, and
    "auto" whichever is done first, compilation counted (`saliency.occlusion.choice`). For that `images` are how many
    maps are wanted in all (None: this call's, and as many more as there were before it); `steady` leaves out of account
    what is compiled already, so that a call gives the same last bits at any time.

    `budget` bounds the bytes of activations held at once (None: 256 MiB on a CPU, half of an accelerator's free memory;
    where even that is too much, a warning says so and fewer are held). `chunk` is the number of positions at once, set
    by hand (None: as many as suit the machine). Raises InputError for other values.

    >>> Execution("dense", chunk=8)
    Execution(engine='dense', budget=None, chunk=8, images=None, steady=False)
    """

    engine: Engine = "auto"
    budget: int | None = None
    chunk: int | None = None
    images: int | None = None
    steady: bool = False

    def __post_init__(self) -> None:
        one_of("engine", self.engine, get_args(Engine))
        whole("budget", self.budget, least=1, optional=True)
        whole("chunk", self.chunk, least=1, optional=True)
        whole("images", self.images, least=1, optional=True)
        kind_of("steady", self.steady, bool, "whether only the call itself decides")

    @property
    def bytes(self) -> int:
        """The budget, settled."""
        from saliency.devices import default_budget

        return default_budget() if self.budget is None else self.budget
