"""Classifiers under masks: the same share of an image hidden in different shapes, and what that does to the answers.

Videos are float `[n, t, h, w, 3]` in the networks' normalised space (a photo is a video of one frame), masks bool
`[n, t, h, w]`, True where the fill shows, log-probabilities float32 `[n, t, k]`.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, UInt8

from saliency import _checks
from saliency._batches import batches, default_batch, shard_batch
from saliency._checks import function, kind_of
from saliency._fills import fill_text, parse_fill
from saliency._progress import ProgressCounter
from saliency.errors import InputError
from saliency.maps.gradient import Progress
from saliency.models.graph import Architecture, Weights
from saliency.models.network import Network
from saliency.models.preprocessing import Preprocessing
from saliency.occlusion import fill_images
from saliency.report import Section, content_hash, fragment, record, write_csv, write_json
from saliency.robustness.augment import AUGMENTATIONS
from saliency.robustness.masks import FAMILIES, as_family
from saliency.robustness.parts import SCHEMA, Parts
from saliency.robustness.report import COLUMNS, Strips, first_sections, table_text, write_report
from saliency.robustness.subject import Options, Subject
from saliency.robustness.summary import Answers, summary
from saliency.robustness.training import PLAIN
from saliency.scores import class_count, class_logits, log_probabilities, require_classes

_HIDDEN = np.array([52, 92, 168], np.uint8)  # how a hidden pixel is drawn


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate` found: `results` as results.json holds it, and example frames for the page."""

    results: Mapping[str, Any]
    strips: Strips

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row for each network, fill, family, level (video or frame), coverage and metric: `value`, `low`, `high`
        (95% bootstrap interval)."""
        return list(self.results["curves"])

    @property
    def conclusion(self) -> list[str]:
        """Three sentences, as the page begins with them."""
        return list(self.results["conclusion"])

    def table(self) -> str:
        """Accuracy by family and coverage, a column for each fill, as text."""
        return table_text(self.results)

    def save(
        self,
        folder: Path | str,
        *,
        command: str = "",
        config: object = None,
        extra: Mapping[str, Any] | None = None,
        sections: Sequence[Section] = (),
    ) -> None:
        """Write results.csv, pictures/*.png, report.html and, last, results.json.

        `command` and `config` say where the figures come from (default: the options alone); `extra` is added to
        results.json, and `sections` to the page.
        """
        folder = Path(folder)
        options = self.results["config"]
        results = {
            **record(options if config is None else config, options["seed"], self.results["inputs"], command),
            **{key: value for key, value in self.results.items() if key != "config"},
            **(extra or {}),
        }
        write_csv(folder / "results.csv", results["curves"], COLUMNS)
        write_report(folder, {**results, "options": options}, self.strips, sections)
        write_json(folder / "results.json", results)

    def _repr_html_(self) -> str:
        return fragment(first_sections(self.results, self.strips))


def evaluate(
    nets: Network | Mapping[str, Network],
    images: Sequence[UInt8[np.ndarray, "h w 3"]] | UInt8[np.ndarray, "n t h w 3"] | UInt8[np.ndarray, "n h w 3"],
    labels: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    boxes: Float[np.ndarray, "n 4"] | None = None,
    options: Options | None = None,
    data: str = "",
    notes: Sequence[str] = (),
    folder: Path | str | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Hide the same share of every image in masks of several shapes, and judge each network's answers.

    `nets` is one network, or several by name, the plain one first, with which the others are compared; all must take
    the same input. `images` are photos uint8 `[h, w, 3]` of any sizes, or videos uint8 `[n, t, h, w, 3]`; `labels` the
    index of each one's class. `groups` int `[n]` are resampled together by the bootstrap (default: equal images).
    `boxes` are the objects' in the first frame, `x0 y0 x1 y1` in its pixels: with them the page says how far the hidden
    share of the object counts. `data` says for the page what the images are ("name: more about
    them"), `notes` what was left out of them.

    With a `folder`, answers are kept there and found again by the content of all that entered them, so that a run that
    was stopped goes on. `progress(done, total)` counts frames. Raises InputError for unknown names, counts that do not
    fit one another, labels outside the classes, and networks of different inputs.

    Source: "How occlusion structure breaks CNN digit recognition" (masks of matched coverage); DeVries & Taylor 2017
    and others for the augmentations (`AUGMENTATIONS`).
    """
    start = time.perf_counter()
    options = options or Options()
    kind_of("options", options, Options, "how images are hidden")
    function("progress", progress, "(done, total)")
    _checks.text("data", data)
    _checks.texts("notes", notes)
    parts = Parts(_checks.folder("folder", folder))
    subject, sizes = _subject(nets, images, labels, groups, boxes)
    for fill in options.fills:  # an unknown one is refused before anything is computed
        fill_images(subject.x[:1, 0], parse_fill(fill), subject.net.preprocess, options.seed)
    answers = _answers(options, subject, parts, progress)
    net = subject.net
    results = {
        "config": vars(options),
        "inputs": content_hash(subject.x, subject.labels),
        "subject": f"{net.name} on {data.partition(':')[0] or subject.units}",
        "data": data,
        "networks": {name: one.digest for name, one in subject.nets.items()},
        "classes": class_count(net.architecture),
        "entry": net.preprocess.summary(sizes),
        "notes": list(notes),
        "videos": len(subject.labels),
        "groups": len(np.unique(subject.groups)),
        "frames": subject.x.shape[1],
        "fills": [fill_text(fill) for fill in options.fills],
        "families": {name: repr(FAMILIES[name]) for name in options.families},
        "augmentations": {name: repr(AUGMENTATIONS.get(name)) for name in subject.nets if name != subject.plain},
        "plain": subject.plain,
        **summary(options, subject, answers),
        "seconds": time.perf_counter() - start,
    }
    return Evaluation(results, _examples(options, subject))


def masked_log_probabilities(
    net: Network,
    x: Float[np.ndarray, "n t h w c"],
    hidden: Bool[np.ndarray, "n t h w"],
    fill: Float[np.ndarray, "n t h w c"] | float = 0.0,
    batch: int | None = None,
) -> Float[np.ndarray, "n t k"]:
    """Log-probabilities of every frame with the fill, in normalised units, where it is hidden.

    Raises InputError where the masks are not of the frames' shape.
    """
    require_classes(net)
    if x.ndim != 5 or hidden.shape != x.shape[:4]:
        raise InputError(f"videos must be [n, t, h, w, 3] and masks [n, t, h, w], not {x.shape} and {hidden.shape}")
    n, t, height, width, channels = x.shape
    frames, masks = x.reshape(n * t, height, width, channels), np.asarray(hidden).reshape(n * t, height, width)
    fills = np.broadcast_to(fill, x.shape).reshape(frames.shape)
    weights = net.weights
    parts = [
        np.asarray(
            _masked(weights, *(shard_batch(part, i) for part in (frames, masks, fills)), architecture=net.architecture)
        )
        for i in batches(n * t, batch or default_batch(net.architecture, frames.shape, net.architecture.last))
    ]
    return np.concatenate(parts)[: n * t].reshape(n, t, -1)


@partial(jax.jit, static_argnames="architecture")
def _masked(weights: Weights, x: Array, hidden: Array, fill: Array, *, architecture: Architecture) -> Array:
    logits = class_logits(architecture, architecture.upto(weights, jnp.where(hidden[..., None], fill, x)))
    return log_probabilities(logits, architecture.probabilities)


def _subject(
    nets: Network | Mapping[str, Network], images: Any, labels: ArrayLike, groups: ArrayLike | None, boxes: Any
) -> tuple[Subject, list[tuple[int, int]]]:
    """What is asked, checked; and the images' (height, width)."""
    named = dict(nets) if isinstance(nets, Mapping) else {PLAIN: nets}
    if not named:
        raise InputError("nets must be a Network, or at least one by name")
    for net in named.values():
        kind_of("nets", net, Network, "as load_network gives it, or several by name")
        architecture = net.architecture
        outputs = architecture.shapes(*architecture.size)[architecture.last][-1]
        if architecture.class_count < 2 or (architecture.probabilities == "sigmoid" and outputs > 1):
            raise InputError(
                f"nets must have classes that exclude one another, at least two; {net.name} has {outputs}"
                f" output{'s' * (outputs > 1)} with a {architecture.probabilities}"
            )
    first = next(iter(named.values()))
    for name, net in named.items():
        if (net.preprocess, class_count(net.architecture)) != (first.preprocess, class_count(first.architecture)):
            raise InputError(f"nets must take the same input and have the same classes; {name!r} does not")
    frames = [np.asarray(image) for image in images]
    frames = [frame[None] if frame.ndim == 3 else frame for frame in frames]
    if len(frames) < 2 or len({len(frame) for frame in frames}) > 1 or not all(frame.ndim == 4 for frame in frames):
        raise InputError(
            "images must be at least two photos uint8 [h, w, 3], or videos uint8 [n, t, h, w, 3] of equal length,"
            f" not {len(frames)} of {sorted({frame.shape for frame in frames})[:3]}"
        )
    n, classes = len(frames), class_count(first.architecture)
    checked = np.asarray(labels)
    if checked.shape != (n,) or not np.issubdtype(checked.dtype, np.integer):
        raise InputError(
            f"labels must be a class index for each of the {n} images, not {checked.dtype} {checked.shape}"
        )
    if checked.min() < 0 or checked.max() >= classes:
        raise InputError(f"labels must lie in 0..{classes - 1}, not {checked.min()}..{checked.max()}")
    if groups is None:  # a photo that is there twice says no more than once
        _, of = np.unique([content_hash(frame) for frame in frames], return_inverse=True)
    else:
        of = np.asarray(groups)
        if of.shape != (n,):
            raise InputError(f"groups must name one for each of the {n} images, not {list(of.shape)}")
    x = first.preprocess(frame for video in frames for frame in video)
    placed = None if boxes is None else _placed(np.asarray(boxes, float), frames, first.preprocess)
    sizes = [(frame.shape[1], frame.shape[2]) for frame in frames]
    return Subject(named, x.reshape(n, -1, *x.shape[1:]), checked.astype(int), of, placed), sizes


def _placed(boxes: np.ndarray, frames: Sequence[np.ndarray], preprocess: Preprocessing) -> Float[np.ndarray, "n 4"]:
    """Boxes from the photos' pixels to the input's."""
    if boxes.shape != (len(frames), 4) or not np.isfinite(boxes).all() or (boxes[:, :2] >= boxes[:, 2:]).any():
        raise InputError(
            f"boxes must be x0 y0 x1 y1 with x0 < x1 and y0 < y1 for each of the {len(frames)} images,"
            f" not {list(boxes.shape)}"
        )
    places = [preprocess.placement((frame.shape[1], frame.shape[2])) for frame in frames]
    return boxes * np.array([place.scale * 2 for place in places]) + np.array([place.offset * 2 for place in places])


def _answers(options: Options, subject: Subject, parts: Parts, progress: Progress | None) -> Answers:
    """Log-probabilities of all networks under every mask, for each fill; coverage 0 under the family ""."""
    fills = [fill_text(fill) for fill in options.fills]
    frames = subject.x.shape[0] * subject.x.shape[1]
    each = len(subject.nets) * frames
    total = (1 + len(fills) * len(options.families) * len(options.coverages)) * each
    batch = 100 if subject.x[0, 0, :, :, 0].size <= 64 * 64 else None
    known = content_hash(
        {"schema": SCHEMA, "networks": {name: net.digest for name, net in subject.nets.items()}},
        subject.net.preprocess,
        subject.x,
    )
    counted = ProgressCounter(progress, total)

    def ask(net: Network, hidden: np.ndarray, fill: np.ndarray | float) -> np.ndarray:
        answer = masked_log_probabilities(net, subject.x, hidden, fill, batch)
        counted.advance(frames)
        return answer

    def kept(name: str, key: str, make: Any, work: int) -> dict[str, np.ndarray]:
        before = counted.done
        found = parts.get(name, key, make)
        counted.advance(before + work - counted.done)  # of what was on disk
        return found

    def under(fill: str, family: str) -> dict[str, np.ndarray]:
        shown, at = subject.filled(fill, options.seed), subject.masks(options, family)
        hidden = [at(coverage) for coverage in options.coverages]
        return {name: np.stack([ask(net, one, shown) for one in hidden]) for name, net in subject.nets.items()}

    nothing = np.zeros(subject.x.shape[:4], bool)
    clean = kept("clean", known, lambda: {n: ask(net, nothing, 0.0)[None] for n, net in subject.nets.items()}, each)
    answers = {(fills[0], ""): clean}
    for fill in fills:
        for family in options.families:
            how = {"fill": fill, "family": repr(as_family(family)), "coverages": options.coverages}
            key = content_hash(known, {**how, "motion": options.motion, "seed": options.seed})
            work = each * len(options.coverages)
            answers[fill, family] = kept(f"{fill}-{family}", key, lambda f=fill, g=family: under(f, g), work)  # type: ignore[misc]
    return answers


def _examples(options: Options, subject: Subject) -> Strips:
    """Family -> coverage -> frames uint8 `[h, w, 3]` of the first video, what is hidden in one colour."""
    video = subject.net.preprocess.pixels(subject.x[0]).round().clip(0, 255).astype(np.uint8)
    strips = {}
    for family in options.families:
        at = subject.masks(options, family, 1)
        strips[family] = [list(np.where(at(c)[0, ..., None], _HIDDEN, video)) for c in options.coverages]
    return strips
