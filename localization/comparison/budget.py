"""Which methods of the menu fit into a number of seconds an image: the cheapest first, by a forecast of their time.

A forecast is of a method's passes at the price that a pass has here. For the methods that may fit, which have to be
compiled anyhow, a few of the photos are then timed: what beside its passes a method takes, no count of passes knows.
What follows the maps (boxes and measures) is timed with maps of noise, and is the same for every method.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from localization.comparison.boxes import AT_ONCE, localize
from localization.comparison.maps import Noise, task_of, trials, warmed
from localization.comparison.options import CompareOptions
from localization.comparison.quality import quality
from localization.comparison.samples import Samples
from localization.comparison.thrift import changed, thinner
from saliency._reading import read_json
from saliency.errors import InputError
from saliency.maps.gradient import gradient_maps
from saliency.methods import METHODS, Options
from saliency.models.network import Network
from saliency.report import content_hash, write_json
from saliency.scores import logits

FILE = "budget.json"
IMAGES, TRIES = 8, 3  # of noise whose passes are timed, and how often anything is: the middle one counts
LONG = 0.5  # s from which once is enough
SLACK = 1.5  # times the budget: so far the forecasts by passes alone are not trusted
LIKELY = 1.05  # times the budget: so far a forecast that what was timed has set right is


@dataclass(frozen=True)
class Choice:
    """`seconds` an image are foretold for every method that suits the network, its maps and what follows them, the
    cheapest first; the first ones that together stay within the `budget` are `taken`.

    `timed` are the methods of which some photos were timed, the others are known by their passes: `forward` and `both`
    are the seconds an image of one forward pass, and of a forward and a backward pass. `after` are those of the boxes
    and measures of one method. `passes` are, by method, the passes that it shares with others: they are made once, so
    that of these methods all but the first cost what follows their maps and no more. `settings` are the methods',
    thinned `level` times; `thinned` says what there is less of than was asked for. `key` says of what all this is;
    `compiled` are the methods that are compiled already.
    """

    budget: float
    forward: float
    both: float
    after: float
    level: int
    seconds: Mapping[str, float]
    passes: Mapping[str, str]
    timed: tuple[str, ...]
    settings: Options
    thinned: str
    key: str
    compiled: frozenset[str] = frozenset()

    @property
    def taken(self) -> list[str]:
        """In the order of the menu."""
        names = set(_within(self.seconds, self.passes, self.after, self.budget))
        return [name for name in METHODS if name in names]

    @property
    def left_out(self) -> dict[str, float]:
        taken = set(self.taken)
        return {name: own for name, own in self.seconds.items() if name not in taken}

    def sentence(self) -> str:
        """What was taken and what was not, and why."""
        taken = self.taken
        total = together({name: own for name, own in self.seconds.items() if name in taken}, self.passes, self.after)
        said = (
            f"a budget of {self.budget:g} s an image takes the {len(taken)} cheapest methods, foretold to take"
            f" {total:.2g} s together with their boxes and measures ({1000 * self.after:.0f} ms a method), at"
            f" {1000 * self.forward:.1f} ms a forward and {1000 * max(self.both - self.forward, 0):.1f} ms a backward"
            " pass of this machine"
        )
        if self.thinned:
            said += (
                f"; for more of the menu to fit, the methods have {self.thinned}: fewer than people use, so that their"
                " figures are what they give for this time, and not for theirs"
            )
        if not self.left_out:
            return f"{said}; none is left out"
        rest = ", ".join(f"{name} ({own:.2g} s)" for name, own in self.left_out.items())
        return f"{said}; left out, for they would exceed it: {rest}"

    def record(self) -> dict[str, Any]:
        """As the results hold it, and what a run that was killed goes on with."""
        kept = ("budget", "forward", "both", "after", "level", "thinned", "seconds", "passes", "timed", "key")
        return {name: getattr(self, name) for name in kept}


def choose(samples: Samples, options: CompareOptions, folder: Path | None = None) -> Choice:
    """The methods that suit the samples' network, by what one image is foretold to take, or what an earlier run in
    `folder` has found. With `options.thin`, at the first of the settings of `thinner` at which all of them fit. Raises
    InputError where not even the cheapest method fits."""
    net, budget = samples.net, options.budget
    assert budget is not None  # the caller's
    key = content_hash(
        net.digest, net.preprocess.record(), options.settings, budget, options.thin, options.fit, options.routes,
        options.quality, options.measures, samples.digest, samples.folds, list(METHODS),
    )  # fmt: skip
    ways = list(thinner(options.settings, net.preprocess.size)) if options.thin else [options.settings]
    if (found := remembered(folder, key, budget, ways)) is None:
        forward, both = measured(net)
        after = after_maps(samples, options)
        found = _found(samples, ways, Choice(budget, forward, both, after, 0, {}, {}, (), ways[0], "", key))
    if not found.taken:
        least = next(iter(found.seconds.values()))
        raise InputError(
            f"budget of {budget:g} s an image is less than the cheapest method takes, {least:.2g} s with its boxes and"
            " measures; give more"
        )
    return found


def _found(samples: Samples, ways: Sequence[Options], start: Choice) -> Choice:
    """The first way at which all methods fit, or the last."""
    found, last, slack = start, len(ways) - 1, SLACK
    for level, settings in enumerate(ways):
        rough = {
            name: own + start.after for name, own in predicted(samples.net, settings, start.forward, start.both).items()
        }
        passes = shared_passes(rough, settings)
        foretold = together(rough, passes, start.after)
        if level < last and foretold > slack * start.budget:
            continue
        able = _within(rough, passes, start.after, SLACK * start.budget) or list(rough)[:1]
        seconds = rough | {name: own + start.after for name, own in timed(samples, able, settings).items()}
        found = replace(
            start, level=level, seconds=dict(sorted(seconds.items(), key=lambda item: item[1])), passes=passes,
            timed=tuple(able), settings=settings, thinned=changed(ways[0], settings), compiled=frozenset(able),
        )  # fmt: skip
        if not found.left_out:
            break
        slack = LIKELY * foretold / together(seconds, passes, start.after)  # what is timed has to be compiled first
    return found


def _within(seconds: Mapping[str, float], passes: Mapping[str, str], after: float, budget: float) -> list[str]:
    """The cheapest that together stay within it."""
    totals = np.cumsum(_marginal(seconds, passes, after))
    return list(seconds)[: int((totals <= budget).sum())]


def together(seconds: Mapping[str, float], passes: Mapping[str, str], after: float) -> float:
    """Seconds an image of all of them, what they share once."""
    return sum(_marginal(seconds, passes, after))


def _marginal(seconds: Mapping[str, float], passes: Mapping[str, str], after: float) -> list[float]:
    """What each adds to those before it: of passes that one of them has made already, what follows its maps alone."""
    found, made = [], set()
    for name, own in seconds.items():
        found.append(min(own, after) if passes.get(name) in made else own)
        made.add(passes.get(name, name))
    return found


def shared_passes(names: Iterable[str], settings: Options) -> dict[str, str]:
    """The passes that each of them has in common with others, in words."""
    made = {name: METHODS[name].shared for name in names}
    return {name: shared(settings).passes for name, shared in made.items() if shared}


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


def timed(samples: Samples, names: Iterable[str], settings: Options) -> dict[str, float]:
    """Seconds an image of these methods' maps on a few of the photos, compilation not counted."""
    net = samples.net
    settings = settings.expecting(len(samples))
    made = {name: task_of(METHODS[name], net, settings) for name in names}
    warmed(made, samples)
    images = trials(made, samples)
    runs = {name: partial(made[name].run, net, x, np.zeros(len(x), int)) for name, x in images.items()}
    return {name: own / len(images[name]) for name, own in typical(runs).items()}


def after_maps(samples: Samples, options: CompareOptions) -> float:
    """Seconds an image of what follows one method's maps: its boxes by every route, and the measures. With maps of
    noise, of as many methods at once as are fitted at once."""
    made = {f"noise {seed}": Noise((), samples.net.preprocess, seed=seed) for seed in range(AT_ONCE)}
    targets = np.zeros(len(samples), int)

    def boxes(name: str) -> None:
        localize((name,), made, samples, options.fit, options.routes)

    def everything(names: Sequence[str]) -> None:
        if samples.true:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(boxes, names))
        quality(samples, {name: made[name] for name in names}, targets, options)

    everything(list(made)[:1])  # compiles
    start = perf_counter()
    everything(list(made))
    return (perf_counter() - start) / AT_ONCE / len(np.unique(samples.images))


def measured(net: Network) -> tuple[float, float]:
    """Seconds an image of a forward pass, and of both; compilation not counted."""
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, *net.preprocess.size, net.architecture.channels))
    x = net.preprocess.normalise(pixels.astype(np.float32)).astype(np.float32)
    target = np.zeros(len(x), np.int32)

    runs = {"forward": lambda: logits(net, x), "both": lambda: gradient_maps(net, x, target=target)}
    for run in runs.values():
        run()  # compiles
    found = typical(runs)
    return found["forward"] / len(x), found["both"] / len(x)


def typical(runs: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """The middle one of a few tries of each, in seconds. They are made in turn, so that what slows the machine down
    for a while decides nothing, and the quickest does not count, for what else runs here goes on running. Of something
    long, that of one."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(TRIES):
        for name, run in runs.items():
            if not found[name] or found[name][-1] < LONG:
                start = perf_counter()
                run()
                found[name].append(perf_counter() - start)
    return {name: float(np.median(own)) for name, own in found.items()}


def remembered(folder: Path | None, key: str, budget: float, ways: Sequence[Options]) -> Choice | None:
    """What a run by the same `key` has left in `folder`; None where there is nothing, or nothing that can be read."""
    if folder is None:
        return None
    try:
        found = read_json(folder / FILE)
        if found["key"] != key:
            return None
        level, settings = int(found["level"]), ways[int(found["level"])]
        forward, both, after = (float(found[name]) for name in ("forward", "both", "after"))
        seconds = {name: float(own) for name, own in found["seconds"].items() if name in METHODS}
        passes = {name: str(own) for name, own in found["passes"].items() if name in METHODS}
        timed = tuple(name for name in found["timed"] if name in seconds)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, InputError):
        return None
    if not seconds or not all(0 <= own < np.inf for own in (forward, both, after, *seconds.values())):
        return None
    seconds = dict(sorted(seconds.items(), key=lambda item: item[1]))
    said = changed(ways[0], settings)
    return Choice(budget, forward, both, after, level, seconds, passes, timed, settings, said, key)


def save(choice: Choice, folder: Path) -> None:
    """So that a run that was killed goes on with the same methods."""
    write_json(folder / FILE, choice.record())
