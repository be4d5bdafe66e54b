"""How a photo is decoded so that its annotation fits: photos that EXIF turns, and those annotated at another size."""

from dataclasses import dataclass, replace

from localization.boxes import same_aspect
from localization.datasets.dataset import Outcome
from saliency.photos import Header

Size = tuple[float, float]  # height, width


@dataclass(frozen=True)
class View:
    """How a photo is decoded so that its boxes fit: (height, width) then, whether EXIF turns it, what corners are
    multiplied by (x, y), and what has to be said of it."""

    size: tuple[int, int]
    exif: bool
    scale: tuple[float, float] = (1.0, 1.0)
    problem: str = ""
    outcome: Outcome = "repaired"


def view(header: Header, stated: Size | None, exif: bool) -> View:
    """The view that annotations were made on, from what the file says and the (height, width) that they state.

    A stated size that is the photo's own, as stored or as EXIF turns it, decides between the two. One of the same
    aspect means that the photo was resized since: the boxes are scaled. Any other size is no size of this photo, and
    its outcome is "left out". Where no size is stated, or it fits both ways (square photos, turns by 180 degrees,
    mirrored ones), `exif` says what the layout does, and that is noted.
    """
    own = View(header.upright if exif else header.size, exif)
    if stated is None or min(stated) <= 0:
        if header.orientation == 1 or exif:  # the one layout that turns its photos says so
            return own
        return replace(own, problem="EXIF would turn the photo, no size says how it was annotated", outcome="kept")
    ways = [View(header.size, False), View(header.upright, True)] if header.orientation > 1 else [own]
    fitting = [way for way in ways if way.size == tuple(stated)]
    if not fitting:
        fitting = [_scaled(way, stated, len(ways) > 1) for way in ways if same_aspect(way.size, stated)]
    if not fitting:
        problem = f"the stated size differs from the photo's: {_wide(stated)}, not {_wide(own.size)}"
        return replace(own, problem=problem, outcome="left out")
    if len(fitting) > 1:
        chosen = next(way for way in fitting if way.exif == exif)
        way = "turns" if exif else "would turn"
        problem = f"EXIF {way} the photo, its size does not say how it was annotated"
        return replace(chosen, problem=f"{problem}: {chosen.problem}" if chosen.problem else problem, outcome="kept")
    if fitting[0].exif and not exif and not fitting[0].problem:
        return replace(fitting[0], problem="annotated on the photo as EXIF turns it")
    if exif and not fitting[0].exif and not fitting[0].problem:
        return replace(fitting[0], problem="annotated on the photo as it is stored, not as EXIF turns it")
    return fitting[0]


def _scaled(way: View, stated: Size, turned: bool) -> View:
    scale = (way.size[1] / stated[1], way.size[0] / stated[0])
    how = ", as EXIF turns it" if way.exif and turned else ""
    return replace(way, scale=scale, problem=f"annotated at another size: {_wide(stated)}{how}")


def _wide(size: Size) -> str:
    return f"{size[1]:g}x{size[0]:g}"
