"""Which methods of the menu fit into a number of seconds an image: the cheapest first, by a forecast of their time."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from saliency._reading import read_json
from saliency.errors import InputError
from saliency.maps.gradient import gradient_maps
from saliency.methods import METHODS, Options
from saliency.models.network import Network
from saliency.report import content_hash, write_json
from saliency.scores import logits

FILE = "budget.json"
IMAGES, TRIES = 8, 3  # timed at once, and how often: the quickest counts


@dataclass(frozen=True)
class Choice:
    """`seconds` an image are foretold for every method that suits the network, the cheapest first; the first ones that
    together stay within the `budget` are `taken`. `forward` and `both` are the seconds an image of one forward pass,
    and of a forward and a backward pass, as measured here; `key` says of what."""

    budget: float
    forward: float
    both: float
    seconds: Mapping[str, float]
    key: str

    @property
    def taken(self) -> list[str]:
        """In the order of the menu."""
        total, names = 0.0, set()
        for name, own in self.seconds.items():
            total += own
            if total > self.budget:
                break
            names.add(name)
        return [name for name in METHODS if name in names]

    @property
    def left_out(self) -> dict[str, float]:
        taken = set(self.taken)
        return {name: own for name, own in self.seconds.items() if name not in taken}

    def sentence(self) -> str:
        """What was taken and what was not, and why."""
        taken, total = self.taken, sum(self.seconds[name] for name in self.taken)
        said = (
            f"a budget of {self.budget:g} s an image takes the {len(taken)} cheapest methods, foretold to take"
            f" {total:.2g} s together, at {1000 * self.forward:.1f} ms a forward and"
            f" {1000 * max(self.both - self.forward, 0):.1f} ms a backward pass of this machine"
        )
        if not self.left_out:
            return f"{said}; none is left out"
        rest = ", ".join(f"{name} ({own:.2g} s)" for name, own in self.left_out.items())
        return f"{said}; left out, for they would exceed it: {rest}"

    def save(self, folder: Path) -> None:
        """So that a run that was killed goes on with the same methods."""
        write_json(folder / FILE, {"key": self.key, "forward": self.forward, "both": self.both})


def choose(net: Network, settings: Options, budget: float, folder: Path | None = None) -> Choice:
    """The methods that suit the network, by what one image is foretold to take, with what `folder` has of an earlier
    run's measured seconds. Raises InputError where not even the cheapest method fits."""
    key = content_hash(net.digest, net.preprocess.record(), settings, budget, list(METHODS))
    forward, both = remembered(folder, key) or measured(net)
    found = Choice(budget, forward, both, predicted(net, settings, forward, both), key)
    if not found.taken:
        raise InputError(f"budget of {budget:g} s an image is less than the cheapest method takes; give more")
    return found


def predicted(net: Network, settings: Options, forward: float, both: float) -> dict[str, float]:
    """Seconds an image of every method that suits, the cheapest first: its passes, less what the incremental engine
    spares, at the price of one."""
    found = {}
    for name, method in METHODS.items():
        try:
            cost = method.cost(net, net.preprocess.size, settings)
        except InputError:
            continue
        found[name] = (cost.forwards - cost.saved) * forward + cost.backwards * max(both - forward, 0.0)
    return dict(sorted(found.items(), key=lambda item: item[1]))


def measured(net: Network) -> tuple[float, float]:
    """Seconds an image of a forward pass, and of both; compilation not counted."""
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, *net.preprocess.size, net.architecture.channels))
    x = net.preprocess.normalise(pixels.astype(np.float32)).astype(np.float32)
    target = np.zeros(len(x), np.int32)

    def seconds(run) -> float:  # type: ignore[no-untyped-def]
        run()
        spent = []
        for _ in range(TRIES):
            start = perf_counter()
            run()
            spent.append(perf_counter() - start)
        return min(spent) / len(x)

    return seconds(lambda: logits(net, x)), seconds(lambda: gradient_maps(net, x, target=target))


def remembered(folder: Path | None, key: str) -> tuple[float, float] | None:
    """The seconds of both passes that a run by the same `key` has left in `folder`; None where there are none."""
    if folder is None:
        return None
    try:
        found = read_json(folder / FILE)
        if found["key"] != key:
            return None
        forward, both = float(found["forward"]), float(found["both"])
    except (OSError, ValueError, LookupError, TypeError, InputError):
        return None
    return (forward, both) if 0 < forward < np.inf and 0 < both < np.inf else None
