"""The trainings on moving digits."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Training:
    """How classifiers of moving digits are trained and tested."""

    augmentations: tuple[str, ...] = ()
    videos: int = 300
    frames: int = 4
    train_frames: int = 4000
    epochs: int = 4
