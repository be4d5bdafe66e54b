"""What the live page asks for, without the web: photos, runs of methods on one of them, hidden windows, drawn boxes.

Photos are known by number, never by path. Boxes and windows are `x0 y0 x1 y1` in pixels of the photo, as it is shown;
patch, stride and maps are in pixels of the network's input. One run is computed at a time, in a thread of its own; a
new one ends the one before.
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from localization.boxes import iou, to_photo
from localization.datasets import Dataset
from localization.heuristics import Heuristic
from saliency._checks import as_array
from saliency.errors import InputError
from saliency.faithfulness import energy_pointing_game
from saliency.maps.placement import map_to_photo
from saliency.maps.status import status
from saliency.methods import METHODS, Method, Options
from saliency.models.network import Network
from saliency.models.preprocessing import Placement
from saliency.occlusion.windows import Windows, fill_images
from saliency.photos import decode_photo
from saliency.pictures import overlay
from saliency.scores import as_score, class_probabilities, logits, score_values
from saliency.zeiler_fergus.subjects import chosen_class
from saliency.zeiler_fergus.sweep import ranked

SHARE, SMOOTHED = 0.08, 0.04  # of the pixels, and of the map's shorter side: how a box is drawn round a map
UPLOADS = 20  # photos that are kept at once
RUNS = 20  # whose maps are kept at once
TOP = 5  # classes that are listed


class Stopped(Exception):
    """The run was ended by a newer one."""


@dataclass(frozen=True, eq=False)
class Opened:
    """One photo as it is shown and as the network sees it."""

    name: str
    pixels: np.ndarray
    x: Float[np.ndarray, "1 h w c"]
    placement: Placement
    probability: Float[np.ndarray, " classes"]
    true: Float[np.ndarray, "k 4"]


@dataclass(eq=False)
class Made:
    """One method's map, over the input and over the photo, or why there is none."""

    method: str
    seconds: float
    map: Float[np.ndarray, "h w"] | None = None
    on_photo: Float[np.ndarray, "h w"] | None = None
    box: Float[np.ndarray, " 4"] | None = None
    problem: str = ""


@dataclass(eq=False)
class Run:
    """Methods on one photo for one class; `made` grows while it runs."""

    number: int
    photo: int
    target: int
    methods: tuple[str, ...]
    options: Options
    windows: Windows
    made: list[Made] = field(default_factory=list)
    at: tuple[str, int, int] = ("", 0, 1)  # method, done, total
    stopped: bool = False


class Session:
    """One network, one folder of photos, and what was asked for. Every method raises InputError in one sentence."""

    def __init__(self, net: Network, data: Dataset, methods: Sequence[Method] | None = None):
        self.net = net
        self.methods = {one.name: one for one in (METHODS.values() if methods is None else methods)}
        self._data = data
        self._uploads: dict[int, tuple[str, np.ndarray]] = {}
        self._opened: dict[int, Opened] = {}
        self._runs: dict[int, Run] = {}
        self._next_upload, self._next_run = len(data), 0
        self._lock = threading.RLock()
        self._worker = ThreadPoolExecutor(1)

    def photos(self) -> list[tuple[int, str]]:
        """Number and name of every photo, those of the folder first."""
        named = [(i, annotation.source) for i, annotation in enumerate(self._data.annotations)]
        with self._lock:
            return named + [(number, name) for number, (name, _) in self._uploads.items()]

    def upload(self, data: bytes, name: str) -> int:
        """A photo by its bytes; its number. It is held in memory, and the oldest one goes when there are too many."""
        pixels = decode_photo(data, name)
        with self._lock:
            number, self._next_upload = self._next_upload, self._next_upload + 1
            self._uploads[number] = name, pixels
            while len(self._uploads) > UPLOADS:
                oldest = next(iter(self._uploads))
                del self._uploads[oldest]
                self._opened.pop(oldest, None)
        return number

    def opened(self, number: int) -> Opened:
        """A photo decoded, with what the network says of it."""
        with self._lock:
            if number in self._opened:
                return self._opened[number]
            if number in self._uploads:
                name, pixels = self._uploads[number]
                true = np.empty((0, 4))
            elif 0 <= number < len(self._data):
                try:
                    pixels = self._data.images[number]
                except InputError:  # which may name the folder
                    name = self._data.annotations[number].source
                    raise InputError(f"{name}: this photo cannot be read; choose another") from None
                name, true = self._data.annotations[number].source, self._data.annotations[number].boxes
            else:
                raise InputError(f"there is no photo {number}")
        x = self.net.preprocess([pixels])
        probability = self._probability(x)
        placement = self.net.preprocess.placement((pixels.shape[0], pixels.shape[1]))
        opened = Opened(name, pixels, x, placement, probability, true)
        with self._lock:
            self._opened[number] = opened
            for old in list(self._opened)[:-UPLOADS]:
                del self._opened[old]
        return opened

    def _probability(self, x: Float[np.ndarray, "1 h w c"]) -> Float[np.ndarray, " classes"]:
        return class_probabilities(self.net.architecture, logits(self.net, x))[0]

    def top(self, probability: Float[np.ndarray, " classes"]) -> list[tuple[int, str, float]]:
        """Index, name and probability of the likeliest classes."""
        best = ranked(probability, min(TOP, len(probability)))
        return [(int(k), self.net.class_name(int(k)), float(probability[k])) for k in best]

    def start(self, photo: int, target: str, methods: Sequence[str], options: Options) -> Run:
        """Begin a run, and end the one before."""
        opened = self.opened(photo)
        unknown = [name for name in methods if name not in self.methods]
        if unknown or not methods:
            raise InputError(f"choose one or more methods, not {', '.join(unknown) or 'none'}")
        goal = chosen_class(target.strip() or "rank:1", opened.probability, self.net.classes)
        windows = options.windows((opened.x.shape[1], opened.x.shape[2]))
        with self._lock:
            for one in self._runs.values():
                one.stopped = True
            number, self._next_run = self._next_run, self._next_run + 1
            run = Run(number, photo, goal, tuple(dict.fromkeys(methods)), options, windows)
            self._runs[number] = run
            for old in list(self._runs)[:-RUNS]:
                del self._runs[old]
        self._worker.submit(self._compute, run, opened)
        return run

    def run(self, number: int) -> Run:
        with self._lock:
            if number not in self._runs:
                raise InputError(f"there is no run {number} any more: make the maps again")
            return self._runs[number]

    def made(self, number: int, method: str) -> Made:
        """A finished map of a run; InputError where there is none."""
        for one in self.run(number).made:
            if one.method == method and one.on_photo is not None:
                return one
        raise InputError(f"there is no map of {method!r} in run {number}")

    def close(self) -> None:
        """End what runs."""
        with self._lock:
            for one in self._runs.values():
                one.stopped = True
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _compute(self, run: Run, opened: Opened) -> None:
        for name in run.methods:
            if run.stopped:
                return
            begun = time.perf_counter()
            try:
                made = self._make(run, opened, name)
            except Stopped:
                return
            except InputError as error:
                made = Made(name, 0.0, problem=str(error))
            except Exception as error:  # a method that fails leaves the others theirs
                made = Made(name, 0.0, problem=f"{name} failed: {type(error).__name__}")
            made.seconds = time.perf_counter() - begun
            run.made.append(made)

    def _make(self, run: Run, opened: Opened, name: str) -> Made:
        run.at = (name, 0, 1)

        def progress(done: int, total: int) -> None:
            if run.stopped:
                raise Stopped
            run.at = (name, done, total)

        (own,) = self.methods[name].maps(
            self.net, opened.x, target=[run.target], options=run.options, progress=progress
        )
        (said,) = status(own[None])
        if said != "ok":
            return Made(name, 0.0, problem=f"no map: it is {said}")
        return Made(name, 0.0, own, map_to_photo(own, opened.placement), box_of(own, opened.placement))

    def hidden(self, number: int, row: int, column: int) -> dict[str, Any]:
        """What becomes of the photo with one of the run's windows hidden: the input in pixels, the window, the class
        that it takes, the followed class's logit and probability, before and after."""
        run = self.run(number)
        opened, (rows, columns) = self.opened(run.photo), run.windows.grid
        if not (0 <= row < rows and 0 <= column < columns):
            raise InputError(f"the window must lie in 0..{rows - 1} and 0..{columns - 1}, not {row}, {column}")
        y, x = run.windows.starts[0][row], run.windows.starts[1][column]
        height, width = run.windows.patch
        filled = fill_images(opened.x, run.options.fill, self.net.preprocess, run.options.seed)
        image = opened.x.copy()
        image[:, y : y + height, x : x + width] = filled[:, y : y + height, x : x + width]
        targets = np.array([run.target])
        before, after = (score_values(self.net, one, as_score("logit"), targets)[0] for one in (opened.x, image))
        probability = self._probability(image)
        window = to_photo([[x, y, min(x + width, run.windows.image[1]), min(y + height, run.windows.image[0])]],
                          opened.placement)[0]  # fmt: skip
        return {
            "image": np.clip(np.round(self.net.preprocess.pixels(image[0])), 0, 255).astype(np.uint8),
            "window": window,
            "top": self.top(probability),
            "before": self.top(opened.probability)[0],
            "probability": (float(opened.probability[run.target]), float(probability[run.target])),
            "drop": float(before - after),
        }

    def drawn(self, number: int, box: Sequence[float]) -> list[dict[str, Any]]:
        """For a box drawn on the photo: of each map the share of its positive values in it, and the IoU of the box
        with the map's own; and its IoU with the nearest true box, where there is one."""
        run = self.run(number)
        corners = as_array("box", box, "x0 y0 x1 y1").astype(float)
        if corners.shape != (4,) or not np.isfinite(corners).all():
            raise InputError("box must be x0 y0 x1 y1, four numbers in pixels of the photo")
        corners = np.concatenate([np.minimum(corners[:2], corners[2:]), np.maximum(corners[:2], corners[2:])])
        true = self.opened(run.photo).true
        nearest = float(iou(corners, true).max()) if len(true) else None
        return [
            {
                "method": one.method,
                "energy": _number(energy_pointing_game(one.on_photo[None], corners[None])[0]),
                "iou": float(iou(corners, one.box)) if one.box is not None else None,
                "true": nearest,
            }
            for one in run.made
            if one.on_photo is not None
        ]

    def picture(self, number: int, method: str, side: int | None = None) -> np.ndarray:
        """One map over its photo, uint8 `[h, w, 3]`: of the photo's own size with the map's box, or, for a page that
        draws boxes itself, with the longer side at most `side` pixels and without it."""
        one = self.made(number, method)
        pixels = self.opened(self.run(number).photo).pixels
        entry = self.net.preprocess
        if side is None:
            return overlay(pixels, one.map, preprocess=entry, boxes=() if one.box is None else one.box)  # type: ignore[arg-type]
        small = Image.fromarray(pixels)
        small.thumbnail((side, side))
        return overlay(small, one.map, preprocess=entry)  # type: ignore[arg-type]

    def arrays(self, number: int) -> dict[str, np.ndarray]:
        """All maps of a run over the network's input, with what they are of, for a file."""
        run = self.run(number)
        found = {one.method: one.map for one in run.made if one.map is not None}
        if not found:
            raise InputError("there is no map yet: wait for the first one")
        boxes = {one.method: one.box for one in run.made if one.box is not None}
        return {
            **found,
            "photo": np.array(self.opened(run.photo).name),
            "network": np.array(self.net.name),
            "target": np.array(run.target),
            "target_name": np.array(self.net.class_name(run.target)),
            "patch": np.array(run.windows.patch),
            "stride": np.array(run.windows.stride),
            "boxes": np.array(list(boxes.values())).reshape(-1, 4),
            "boxes_of": np.array(list(boxes)),
        }


def box_of(own: Float[np.ndarray, "h w"], placement: Placement) -> Float[np.ndarray, " 4"] | None:
    """The tight box round the largest of a smoothed map's brightest parts, on the photo; no weights are learned."""
    found = Heuristic(SMOOTHED * min(own.shape), SHARE, component=True).predict(own[None])
    if not np.isfinite(found).all():
        return None
    scale = np.tile(np.array(placement.input[::-1]) / own.shape[::-1], 2)  # a map may be coarser than the input
    box = to_photo(found * scale, placement)[0]
    height, width = placement.photo
    return np.clip(box, 0, [width, height, width, height])


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


__all__ = ["Made", "Opened", "Run", "Session", "box_of"]
