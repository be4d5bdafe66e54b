"""Less of what methods ask again and again, so that the whole menu fits into less time."""

from collections.abc import Iterator
from dataclasses import fields, replace

from saliency._checks import Pair
from saliency.options.methods import Options

STEP = 0.7  # of the numbers is kept from one setting to the next
# fewer say nothing any more
FLOORS = {"samples": 2, "steps": 3, "masks": 16, "iterations": 8, "segments": 9, "scales": 2}
CHANNELS, FEWEST = 128, 16  # of Score-CAM, once not all are taken
SIDE = 3  # windows of occlusion and cells of finite differences, at least so many a side


def thinner(settings: Options, size: Pair) -> Iterator[Options]:
    """The settings as they are, then with ever fewer samples, steps, masks and so on, down to FLOORS; none is raised.

    Windows and cells that are not stated are as much larger, on images of `size`.
    """
    yield settings
    share, last = STEP, settings
    while (found := _kept(settings, size, share)) != last:
        yield found
        share, last = share * STEP, found


def _kept(settings: Options, size: Pair, share: float) -> Options:
    own = {name: getattr(settings, name) for name in FLOORS}
    shares = {name: share**2 if name == "segments" else share for name in own}  # fewer than there are masks
    less = {name: min(value, max(FLOORS[name], round(shares[name] * value))) for name, value in own.items()}
    channels = max(FEWEST, round(share * CHANNELS))
    less["channels"] = channels if settings.channels is None else min(settings.channels, channels)
    if settings.patch is None and settings.stride is None:
        side = -(-min(size) // max(SIDE, round(share * 8)))
        less |= {"patch": side, "stride": side}
    if settings.cell is None:
        less["cell"] = -(-min(size) // max(SIDE, round(share * 6)))
    return replace(settings, **less)


def changed(given: Options, used: Options) -> str:
    """What was made less of, in words: "samples 3 (of 5), ..."; of what was not stated, what it is now."""
    parts = []
    for field in fields(Options):
        before, now = getattr(given, field.name), getattr(used, field.name)
        if isinstance(now, int) and now != before:
            parts.append(f"{field.name} {now}" + ("" if before is None else f" (of {before})"))
    return ", ".join(parts)
