"""Images with boxes, one type whatever lies on disk: `load(name, root, split=...)`."""

from localization.datasets.dataset import Annotation, Dataset, Example, Note
from localization.datasets.loading import NAMES, load
from localization.datasets.scenes import Scenes, scenes

__all__ = ["NAMES", "Annotation", "Dataset", "Example", "Note", "Scenes", "load", "scenes"]
