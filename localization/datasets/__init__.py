"""Images with boxes, one type whatever lies on disk."""

from localization.datasets.scenes import Scenes, scenes

__all__ = ["Scenes", "scenes"]
