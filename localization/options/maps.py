"""What maps are, and how they are kept."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from localization.store import Precision
from saliency._checks import kind_of, one_of, whole
from saliency._names import unknown
from saliency.errors import InputError
from saliency.options.methods import Options

Target = Literal["predicted", "label"]


@dataclass(frozen=True)
class MapOptions:
    """What the maps are, and how they are kept."""

    method: str = "gradient-max"
    """A name of `saliency.METHODS`."""
    target: Target = "predicted"
    """Class whose score is explained; "label" needs a network that knows the data set's labels."""
    settings: Options = field(default_factory=Options)
    """What the methods share."""
    size: tuple[int, int] | None = None
    """Rows and columns that maps are pooled to by area (default: the network's input)."""
    precision: Precision = "float16"
    shard_size: int = 256
    """Images in one file: what a kill can cost."""

    def check(self) -> None:
        """InputError for a value that is none."""
        from saliency.methods import METHODS

        if self.method not in METHODS:
            raise InputError(unknown("method", self.method, METHODS))
        one_of("target", self.target, get_args(Target))
        one_of("precision", self.precision, get_args(Precision))
        kind_of("settings", self.settings, Options, "the options of the methods")
        whole("shard_size", self.shard_size, least=1)
        if self.size is not None and (not isinstance(self.size, tuple) or len(self.size) != 2):
            raise InputError(f"size must be (rows, columns), or None for the input's, not {self.size!r}")
        for side in self.size or ():
            whole("size", side, least=1)
