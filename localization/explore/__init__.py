"""A live page: a photo, its maps as they are made, the photo under a hidden window, and a box drawn by hand."""

from localization.explore.serving import only_inside, serve
from localization.explore.session import Session

__all__ = ["Session", "only_inside", "serve"]
