"""The training of the embedded classifier."""

from dataclasses import dataclass

from saliency._checks import number, whole


@dataclass(frozen=True)
class Training:
    """How the classifier is trained."""

    epochs: int = 10
    """Passes over as many scenes, drawn anew each time."""
    scenes: int = 12_000
    """Scenes an epoch."""
    batch: int = 64
    rate: float = 3e-3
    """Peak learning rate of AdamW."""
    seed: int = 0

    def __post_init__(self) -> None:
        whole("epochs", self.epochs, least=1)
        whole("batch", self.batch, least=1)
        whole("scenes", self.scenes, least=self.batch)
        number("rate", self.rate, above=0)
        whole("seed", self.seed)
