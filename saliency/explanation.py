"""One photo, one classifier: what it says, where it looked by several methods, and what each look cost.

Maps and pictures are of what the network sees: the whole photo, or the part that its preprocessing leaves of it.
"""

import io
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from saliency import report
from saliency._batches import default_batch, workers
from saliency._checks import as_array, check_forwards, function, kind_of, texts
from saliency._cores import cores
from saliency._files import check_writable, require_all, write_arrays
from saliency._names import unknown
from saliency._progress import ProgressCounter
from saliency.devices import on_cpu
from saliency.errors import InputError
from saliency.maps.gradient import Progress
from saliency.maps.status import status
from saliency.methods import METHODS, Cost, Options
from saliency.models.network import Network
from saliency.models.preprocessing import Placement
from saliency.photos import as_photo
from saliency.report.entry import entry_words
from saliency.report.page import COMPRESSION
from saliency.scores import Target, as_score, class_probabilities, logits, resolve_targets
from saliency.strip import Panel, panel_row
from saliency.zeiler_fergus.subjects import Photo, unique_names

METHODS_SHOWN = ("gradient-max", "grad-cam", "occlusion")
TOP = 5
MOST = 4  # methods side by side: each has a budget of memory to itself
SHOWN = 480  # pixels of the longer side, on the page
Boxes = Callable[[Float[np.ndarray, "n h w"]], Float[np.ndarray, "n 4"]]


@dataclass(frozen=True, eq=False)
class Look:
    """One method's look at one photo: its map float32 `[h, w]` over what the network sees, the map's `status` ("ok" or
    why it says nothing), a box in pixels of the network's input (NaN where there is none), passes, and seconds."""

    method: str
    map: Float[np.ndarray, "h w"]
    status: str
    box: Float[np.ndarray, " 4"]
    cost: Cost
    seconds: float

    @property
    def words(self) -> str:
        """The cost in a few words."""
        passes = f"{self.cost.forwards} forward" + (f", {self.cost.backwards} backward" if self.cost.backwards else "")
        saved = f", {self.cost.saved:.0f} of them saved" if self.cost.saved >= 0.5 else ""
        return f"{passes}{saved}; {self.seconds:.2f} s"


@dataclass(frozen=True, eq=False)
class Explained:
    """One photo: `seen` uint8 `[h, w, 3]`, what the network gets of it; `top` (class index, name, probability) from the
    likeliest on; the explained class, its name and probability; the looks."""

    name: str
    seen: np.ndarray
    placement: Placement
    top: Sequence[tuple[int, str, float]]
    target: int
    target_name: str
    probability: float
    looks: Sequence[Look]

    def in_photo(self, box: Float[np.ndarray, " 4"]) -> Float[np.ndarray, " 4"]:
        """A box of the input in pixels of the photo, cut at its border."""
        height, width = self.placement.photo
        placed = (box - np.array(self.placement.offset * 2)) / np.array(self.placement.scale * 2)
        return np.clip(placed, 0, [width, height, width, height])

    @property
    def panels(self) -> list[Panel]:
        """The photo with its likeliest classes, then each map over it with its box and its cost."""
        said = [f"{probability:6.1%}  {name}" for _, name, probability in self.top]
        looks = [
            Panel(
                self.seen,
                look.map if look.status == "ok" else None,
                look.box if np.isfinite(look.box).all() else None,
                look.method,
                look.words.split("; ") if look.status == "ok" else [look.status],
            )
            for look in self.looks
        ]
        return [Panel(self.seen, None, None, self.name, said), *looks]

    @property
    def aspect(self) -> float:
        """Width over height of what is shown, in the photo's own proportions."""
        sx, sy = self.placement.scale
        return self.seen.shape[1] / sx * sy / self.seen.shape[0]

    @cached_property
    def picture(self) -> Image.Image:
        """The panels in a row."""
        foot = f"explained: {self.target_name} ({self.probability:.1%}); seconds count compilation, if any was needed"
        return panel_row(self.panels, self.aspect, foot)


@dataclass(frozen=True, eq=False)
class Explanation:
    """What `explain` found: `photos`, one `Explained` each, and `results`, all that is written as JSON.

    >>> import saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> found = saliency.explain(net, [np.zeros((60, 80, 3), np.uint8)], methods=["edges"])
    >>> found, found.notes
    (Explanation(1 photos, edges), ['photo-1: edges says nothing (constant)'])
    """

    photos: Sequence[Explained]
    results: Mapping[str, Any] = field(repr=False)

    def __repr__(self) -> str:
        return f"Explanation({len(self.photos)} photos, {', '.join(look.method for look in self.photos[0].looks)})"

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row for each photo and method: the explained class, its probability, the box in pixels of the photo (None:
        none), passes and seconds."""
        return list(self.results["rows"])

    @property
    def notes(self) -> list[str]:
        """What was left out, or what a map does not say."""
        return list(self.results["notes"])

    def table(self) -> str:
        """For a terminal: each photo's likeliest classes, then its maps with boxes and costs."""
        lines = []
        for one in self.photos:
            lines.append(f"{one.name}: " + ", ".join(f"{name} {p:.1%}" for _, name, p in one.top))
            for look in one.looks:
                box = one.in_photo(look.box)
                found = ",".join(f"{x:.0f}" for x in box) if np.isfinite(box).all() else "no box"
                lines.append(f"    {look.method:<22}{found:<22}{look.words if look.status == 'ok' else look.status}")
        return "\n".join([*lines, *self.notes])

    def save(self, folder: Path | str, *, command: str = "") -> Path:
        """Write NAME.png for each photo, maps.npz, rows.csv, results.json and report.html, whose path it gives.

        Raises InputError where nothing can be written.
        """
        folder = Path(folder)
        check_writable(folder)
        with require_all():
            sections = []
            for one in self.photos:
                report.write_bytes(folder / f"{one.name}.png", _png(one.picture))
                sections += _sections(one)
            sections.append(_said(self.photos[0].looks))
            report.write_csv(folder / "rows.csv", self.rows, list(self.rows[0]))
            maps = {f"{one.name}/{look.method}": look.map for one in self.photos for look in one.looks}
            write_arrays(folder / "maps.npz", maps)
            results = {**self.results, "command": command}
            page = folder / "report.html"
            report.write_page(page, self._title, self.results["entry"], sections, results)
            report.write_json(folder / "results.json", results)
        return page

    @property
    def _title(self) -> str:
        return f"Where did {self.results['network']['name']} look?"

    def _repr_html_(self) -> str:
        sections = [section for one in self.photos for section in _sections(one)]
        return report.fragment([*sections, _said(self.photos[0].looks)])


def explain(
    net: Network,
    photos: Photo | Sequence[Photo],
    *,
    methods: Sequence[str] = METHODS_SHOWN,
    target: Target = None,
    names: Sequence[str] | None = None,
    boxes: Boxes | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Explanation:
    """What a classifier says of each photo, and where it looked, by several methods side by side.

    Args:
        net: a network, as `load_network` and its like give it.
        photos: one photo or several: paths, Pillow images, or uint8 arrays `[h, w, 3]`.
        methods: names of `saliency.METHODS`.
        target: the explained class, by index or name, one for all photos or one for each (default: the predicted one).
        names: what the photos are called (default: their files' names).
        boxes: what makes boxes `[n, 4]`, in pixels of the map, of maps `[n, h, w]`, such as
            `localization.heuristics.Heuristic(4, 0.15, component=True).predict` (default: no boxes).
        options: what the methods share.
        progress: called with (done, total) maps.

    Returns:
        Explanation, with `.rows`, `.table()`, `.save(folder)`; it shows itself in a notebook.

    Photos enter as `net.preprocess` says, and a checkpoint's own entry may cut off their border; with
    `net.preprocess = net.preprocess.changed("stretch")` the network sees all of them, as `python -m scripts.explain`
    has it. A photo's seconds hold compilation, where a method's first map had to be compiled; on a CPU methods run side
    by side, as many as it has cores and at most four, and so wait for one another in these seconds.

    Raises InputError for photos that cannot be read, unknown methods or classes, and whatever a method does not suit.

    >>> import saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> photo = np.zeros((60, 80, 3), np.uint8)
    >>> found = explain(net, [photo], methods=["gradient-max"], names=["night"])
    >>> found.rows[0]["photo"], found.rows[0]["forwards"], found.photos[0].picture.size
    ('night', 1, (676, 402))
    """
    kind_of("net", net, Network, "as load_network gives it")
    function("progress", progress, "(done, total)")
    function("boxes", boxes, "maps [n, h, w], giving boxes [n, 4]")
    given = options or Options()
    kind_of("options", given, Options, "what the methods share")
    texts("methods", methods if isinstance(methods, str) else list(methods))
    for name in methods:
        if name not in METHODS:
            raise InputError(unknown("method", name, METHODS))
    if not len(methods):
        raise InputError("methods must name at least one method")
    one = isinstance(photos, str | bytes) or not isinstance(photos, Sequence)
    several: Any = [photos] if one and getattr(photos, "ndim", 0) != 4 else photos
    if not len(several):
        raise InputError("photos must hold at least one photo")
    pixels = [as_photo(photo) for photo in several]
    called = unique_names(_names(several, names))
    x = net.preprocess(pixels)
    with workers(min(len(methods), cores(), MOST) if on_cpu() else 1) as pool:
        ahead = _compiled_ahead(net, x, methods, given, pool)
        said = class_probabilities(net.architecture, logits(net, x))
        targets = resolve_targets(net, x, as_score("logit"), said.argmax(-1) if target is None else target)
        counter = ProgressCounter(progress, len(x) * len(methods))
        looks = _looks(net, x, targets, methods, boxes, given, counter, pool, ahead)
    top = [np.argsort(-one, kind="stable")[:TOP] for one in said]
    explained = [
        Explained(
            called[i],
            net.preprocess.place(pixels[i]),
            net.preprocess.placement(pixels[i].shape[:2]),
            [(int(k), net.class_name(int(k)), float(said[i, k])) for k in top[i]],
            int(targets[i]),
            net.class_name(int(targets[i])),
            float(said[i, targets[i]]),
            looks[i],
        )
        for i in range(len(x))
    ]
    results = {
        **report.record({"methods": list(methods), "options": given}, given.seed, report.content_hash(net.digest, x)),
        "network": {"name": net.name, "digest": net.digest, **net.provenance},
        "entry": entry_words(net.preprocess, [one.shape[:2] for one in pixels]),
        "rows": [_row(one, look) for one in explained for look in one.looks],
        "top": {one.name: one.top for one in explained},
        "notes": [
            f"{one.name}: {look.method} says nothing ({look.status})"
            for one in explained
            for look in one.looks
            if look.status != "ok"
        ],
    }
    return Explanation(explained, results)


def _looks(
    net: Network,
    x: Float[np.ndarray, "n h w c"],
    targets: Int[np.ndarray, " n"],
    methods: Sequence[str],
    boxes: Boxes | None,
    options: Options,
    counter: ProgressCounter,
    pool: ThreadPoolExecutor,
    ahead: Mapping[str, Future[float]],
) -> list[list[Look]]:
    """Every method on every photo; all photos of a method together, as it then plans and compiles once. A CPU's cores
    take a method each: most of a first map is compilation, which keeps one core busy."""

    def made(name: str) -> tuple[np.ndarray, float]:
        compiling = ahead[name].result() if name in ahead else 0.0
        start = time.perf_counter()
        maps = METHODS[name].maps(net, x, target=targets, options=options)
        return maps, compiling + time.perf_counter() - start

    by_method = []
    for name, (maps, seconds) in zip(methods, pool.map(made, methods)):
        cost = METHODS[name].cost(net, x.shape[1:3], options)
        found = np.full((len(x), 4), np.nan) if boxes is None else _one_each(boxes(maps), len(x))
        by_method.append(
            [Look(name, *one, cost, seconds / len(x)) for one in zip(maps, map(str, status(maps)), found, strict=True)]
        )
        counter.advance(len(x))
    return [list(looks) for looks in zip(*by_method)]


def _compiled_ahead(
    net: Network, x: Float[np.ndarray, "n h w c"], methods: Sequence[str], options: Options, pool: ThreadPoolExecutor
) -> dict[str, Future[float]]:
    """The method of one pass forwards and back, whose program is the longest to compile, makes maps of any class while
    the classifier's own program is compiled: seconds, by its name. Nothing where there is no other core."""
    size = x.shape[1], x.shape[2]
    batch = default_batch(net.architecture, x.shape, net.architecture.last)

    def compiled(name: str) -> float:
        start = time.perf_counter()
        with suppress(InputError):  # which the method itself raises again
            METHODS[name].maps(net, x[:batch], target=0, options=options)
        return time.perf_counter() - start

    for name in dict.fromkeys(methods) if on_cpu() and cores() > 1 else ():
        with suppress(InputError):
            if METHODS[name].family == "gradient" and METHODS[name].cost(net, size, options) == Cost(1, 1):
                return {name: pool.submit(compiled, name)}
    return {}


def _one_each(boxes: object, count: int) -> Float[np.ndarray, "n 4"]:
    """What a function has made of maps, one box for each."""
    found = as_array("boxes", boxes, "a function that gives one box [4] for each map").astype(float)
    if found.shape != (count, 4):
        raise InputError(f"boxes must give one box for each map, [{count}, 4], not {list(found.shape)}")
    check_forwards("boxes", found)
    return found


def _names(photos: Sequence[Photo], names: Sequence[str] | None) -> list[str]:
    if names is not None:
        texts("names", names if isinstance(names, str) else list(names))
        if len(names) != len(photos):
            raise InputError(f"names must be one for each of the {len(photos)} photos, not {len(names)}")
        return list(names)
    files = [one if isinstance(one, Path | str) else getattr(one, "filename", "") for one in photos]
    return [Path(file).name or f"photo-{i}" for i, file in enumerate(files, 1)]


def _png(picture: Image.Image, level: int = COMPRESSION) -> bytes:
    """`level` 0 is not compressed."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=level)
    return buffer.getvalue()


def _row(one: Explained, look: Look) -> dict[str, Any]:
    box = one.in_photo(look.box)
    corners = [round(float(value), 1) for value in box] if np.isfinite(box).all() else [None] * 4
    return {
        "photo": one.name,
        "method": look.method,
        "target": one.target,
        "class": one.target_name,
        "probability": one.probability,
        **dict(zip(("x0", "y0", "x1", "y1"), corners)),
        "forwards": look.cost.forwards,
        "backwards": look.cost.backwards,
        "saved": look.cost.saved,
        "seconds": look.seconds,
        "status": look.status,
    }


def _sections(one: Explained) -> list[report.Section]:
    """The pictures, each its own, so that a narrow screen has them below one another; then the figures."""
    said = report.Table(("class", "probability"), [(n, f"{p:.1%}") for _, n, p in one.top], "what the classifier says")
    costs = report.Table(
        ("method", "forward", "backward", "saved", "s"),
        [(look.method, look.cost.forwards, look.cost.backwards, look.cost.saved, look.seconds) for look in one.looks],
        "what each look cost: passes of a plain implementation, how many of them were saved, seconds here, those of"
        " compilation counted, if any was needed; on a CPU methods run side by side",
        decimals=(None, None, None, 1, 2),
    )
    width = round(SHOWN * min(1.0, one.aspect))
    drawn = [(panel, panel.drawn(width, round(width / one.aspect))) for panel in one.panels]
    figures = [
        report.Figure(
            report.lossy(_png(picture, 0)), f"{panel.title}: {', '.join(words)}", f"{one.name}: {panel.title}"
        )
        for (panel, picture), words in zip(drawn, [["what the network sees"], *(panel.lines for panel, _ in drawn[1:])])
    ]
    explained = f"Explained: {one.target_name}, probability {one.probability:.1%}."
    return [
        report.Section(one.name, explained, (), figures, wide=False),
        report.Section(f"{one.name}: in figures", "", [said, costs]),
    ]


def _said(looks: Sequence[Look]) -> report.Section:
    """What the methods do, which is the same for all photos."""
    how = [f"{look.method}: {METHODS[look.method].summary.replace(chr(10), ' ')}" for look in looks]
    return report.Section("What the methods do", "\n".join(how))
