"""Does the shape of what hides an image matter, and does training with occlusions help? (seeds 004 and 002)

    python -m scripts.robustness                   trains small classifiers on moving digits and hides parts of them
    python -m scripts.robustness --localization    and asks whether augmentation makes gradient maps localize better
    python -m scripts.robustness --network squeezenet1_1 --weights FILE --images FOLDER --classes CSV

The last asks the first question of a pretrained classifier: a photo's name or folder must begin with its class's wnid.
Finished parts are kept in OUT/parts, so a run that was killed goes on where it was.
"""

import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import tyro
from tqdm import tqdm

from localization.datasets import folder
from localization.datasets.moving_digits import moving_digits
from localization.datasets.scenes import Scenes, scenes
from localization.metrics import best_iou, corloc, hits
from localization.regression import fit_linear_map, status
from localization.statistics import paired_difference
from saliency import InputError, gradient_maps, load_network
from saliency._files import check_writable, complete, write_arrays
from saliency._reading import read_back
from saliency.models.classes import read_classes
from saliency.models.graph import Architecture, Builder
from saliency.models.network import Network
from saliency.models.operators import Conv, Dense, GlobalMaxPool, MaxPool
from saliency.models.preprocessing import Preprocessing
from saliency.occlusion import fill_images
from saliency.report import content_hash, record, write_csv, write_json
from saliency.robustness import FAMILIES, describe, draw_fields, hide, masked_log_probabilities, visible_share
from saliency.robustness.augment import AUGMENTATIONS, as_augmentation
from saliency.robustness.calibration import (
    METRICS,
    Sampled,
    figures,
    mean,
    reliability,
    resample_weights,
    video_log_probabilities,
)
from saliency.robustness.evaluation import slopes
from saliency.robustness.masks import as_family
from saliency.scores import logits
from scripts import cli
from scripts.robustness_report import COLUMNS, LABELS, write_report
from scripts.training import train, untrained

PLAIN = "plain"
CANVAS = (64, 64)
DIGITS = Preprocessing(CANVAS, mode="stretch", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
ORDERING = (("bernoulli", "life"), ("life", "perlin"), ("life", "triangles"))  # gentler, worse: seed 004's finding
BANDS = ((0.0, 1.0), (0.0, 0.3), (0.3, 0.6), (0.6, 1.0))  # of coverage, above the first and up to the second
DRAWS = 1000  # of the bootstrap
HIDDEN = np.array([52, 92, 168], np.uint8)  # how a hidden pixel is drawn
WNID = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class Options:
    """How masks of different shapes break a classifier, and what training with occlusions does about it."""

    augmentations: tuple[str, ...] = tuple(AUGMENTATIONS)
    """A classifier is trained with each, besides the plain one."""
    families: tuple[str, ...] = tuple(FAMILIES)
    coverages: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    """Hidden shares of the image, besides 0."""
    fills: tuple[str, ...] = ()
    """What shows where an image is hidden: grey, mean, blur, noise or a level 0..255. The first is trained with and
    used throughout; of the others the curves are drawn. Default: 0, the digits' background, and grey; for photos
    grey."""
    motion: Literal["animated", "still"] = "animated"
    """Whether masks move from frame to frame, each family in its own way, or stay as in the first."""
    videos: int = 300
    """Test videos."""
    frames: int = 4
    """Frames of each."""
    train_frames: int = 4000
    epochs: int = 4
    localization: bool = False
    """Fine-tune the scenes classifier with each augmentation, and compare CorLoc of gradient + linear map."""
    tune_scenes: int = 3000
    """Scenes of that fine-tuning, gone through once."""
    map_scenes: tuple[int, int] = (500, 500)
    """Training scenes of the linear map, and test scenes."""
    network: str | None = None
    """A pretrained classifier to ask instead: nothing is trained."""
    weights: str | None = None
    images: Path | None = None
    """Folder of photos for it."""
    classes: Path | None = None
    """CSV with index, wnid and name of its classes, or LOC_synset_mapping.txt."""
    limit: int | None = None
    """Take so many of the photos only."""
    out: Path = Path("runs/robustness")
    seed: int = 0
    quiet: bool = False


@dataclass(frozen=True)
class Subject:
    """What is asked, and whom: `x` float `[n, t, h, w, 3]` normalised; the label and the group (digit instance, photo)
    of each video; the digit's box in the first frame, if known."""

    name: str
    nets: Mapping[str, Network]
    x: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    boxes: np.ndarray | None = None

    @property
    def net(self) -> Network:
        return self.nets[PLAIN]

    def fill(self, fill: str, seed: int) -> np.ndarray:
        """What shows, for every frame."""
        frames = self.x.reshape(-1, *self.x.shape[2:])
        return fill_images(frames, level_or_name(fill), self.net.preprocess, seed).reshape(self.x.shape)


def level_or_name(fill: str) -> float | str:
    """A fill as `fill_images` takes it."""
    try:
        return float(fill)
    except ValueError:
        return fill


def main(options: Options) -> int:
    check(options)
    start = time.perf_counter()
    photos = load_photos(options) if options.network else None
    fills = options.fills or (("grey",) if photos else ("0", "grey"))
    same = replace(options, localization=False, out=Path(), quiet=False)  # what the parts do not hang on
    key = content_hash(same, photos.x if photos else "")[:16]
    parts = Parts(options.out / "parts" / key)
    with complete():
        subject = photos or trained_digits(options, fills[0], parts)
        answers = evaluated(options, subject, fills, parts)
        located = localized(options, parts) if options.localization else []
        inputs = content_hash(subject.x, subject.labels)
        results = {
            **record(replace(options, out=Path(options.out.name)), options.seed, inputs, cli.command()),
            "subject": subject.name,
            "videos": len(subject.labels),
            "frames": subject.x.shape[1],
            "fills": fills,
            "families": {name: repr(FAMILIES[name]) for name in options.families},
            "augmentations": {name: repr(AUGMENTATIONS[name]) for name in subject.nets if name != PLAIN},
            **summary(options, subject, fills, answers),
            "localization": located,
            "seconds": time.perf_counter() - start,
        }
        write_csv(options.out / "results.csv", results["curves"], COLUMNS)
        write_report(options.out, results, examples(options, subject))
        write_json(options.out / "results.json", results)
    for other in (options.out / "parts").glob("*"):  # of runs with other options
        if other.name != key:
            shutil.rmtree(other)
    print("\n".join(results["findings"]))
    print(f"report: {options.out / 'report.html'}")
    return 0


def check(options: Options) -> None:
    for name in options.augmentations:
        as_augmentation(name)
    for name in options.families:
        as_family(name)
    if not options.families or not options.coverages or not all(0 < c <= 1 for c in options.coverages):
        raise InputError("--families and --coverages must name at least one each, coverages in 0..1 without 0")
    if options.videos < 2 or options.frames < 1 or options.train_frames < 64 or options.epochs < 1:
        raise InputError("at least 2 --videos of 1 of --frames, 64 --train-frames and 1 of --epochs are needed")
    if (options.network is None) != (options.images is None):
        raise InputError("--network and --images go together: a pretrained classifier and a folder of photos for it")
    if options.images and not options.classes:
        raise InputError("--images needs --classes, a CSV with index, wnid and name, to know what is right")
    if options.network and options.localization:
        raise InputError("--localization fine-tunes the scenes classifier: run it without --network")
    check_writable(options.out)


@dataclass(frozen=True)
class Parts:
    """Finished parts of a run, each a file that is there as a whole or not at all."""

    folder: Path

    def get(self, name: str, make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The arrays of a part, made where they are not on disk."""
        path = self.folder / f"{name}.npz"
        if not path.exists():
            write_arrays(path, make())
        return read_back(path)

    def network(self, name: str, like: Network, make: Callable[[], Network]) -> Network:
        """A trained network."""

        def flat() -> dict[str, np.ndarray]:
            return {f"{layer}.{p}": np.asarray(v) for layer, ps in make().weights.items() for p, v in ps.items()}

        weights: dict[str, dict[str, np.ndarray]] = {}
        for tensor, value in self.get(name, flat).items():
            layer, _, parameter = tensor.rpartition(".")
            weights.setdefault(layer, {})[parameter] = value
        return Network(like.architecture, weights, like.preprocess, classes=like.classes)


def digits_cnn() -> Architecture:
    """A small stack for 64x64 frames, whose first convolution halves them: most of the cost is where they are large."""
    build = Builder()
    build.conv_relu("conv1", "relu1", Conv(16, (4, 4), (2, 2), ((1, 1), (1, 1))))
    for i, features in enumerate((32, 64), 2):
        build.add(f"pool{i - 1}", MaxPool((2, 2), (2, 2)))
        build.conv_relu(f"conv{i}", f"relu{i}", Conv(features, (3, 3), padding=((1, 1), (1, 1))))
    build.add("pool", GlobalMaxPool())
    build.add("logits", Dense(10))
    return Architecture("digits_cnn", tuple(build.nodes), "relu3", CANVAS)


def trained_digits(options: Options, fill: str, parts: Parts) -> Subject:
    """Classifiers of clean and of augmented frames, and the test videos."""
    data = moving_digits("train", options.train_frames, frames=1, size=CANVAS, seed=options.seed)
    test = moving_digits("test", options.videos, frames=options.frames, size=CANVAS, seed=options.seed)
    names = (PLAIN, *(name for name in options.augmentations if name != PLAIN))
    first = untrained(digits_cnn(), DIGITS, options.seed, classes=[str(digit) for digit in range(10)])
    shown = fill_images(np.zeros((1, 1, 1, 3), np.float32), level_or_name(fill), DIGITS)[0, 0, 0]
    steps = options.epochs * (options.train_frames // 64)
    bar = tqdm(total=len(names) * steps, unit="step", desc="training", disable=cli.silent(options.quiet))

    def trained(name: str) -> Network:
        bar.set_description(name)
        return train(
            first,
            data.frames[:, 0],
            data.labels[:, 0],
            as_augmentation(name),
            epochs=options.epochs,
            fill=shown,
            seed=options.seed,
            progress=lambda step, loss: bar.update(),
        )

    nets = {name: parts.network(f"network-{name}", first, lambda name=name: trained(name)) for name in names}  # type: ignore[misc]
    bar.close()
    return Subject(
        "moving digits",
        nets,
        DIGITS.normalise(test.frames),
        test.labels[:, 0],
        test.instances[:, 0],
        test.boxes[:, 0, 0],
    )


def load_photos(options: Options) -> Subject:
    """A pretrained classifier and photos whose class their file or folder names."""
    assert options.network and options.images and options.classes
    net = load_network(options.network, options.weights, classes=options.classes)
    index = {wnid: i for i, (wnid, _) in enumerate(read_classes(options.classes))}
    data = folder.read(options.images, limit=options.limit, seed=options.seed)
    labels = []
    for annotation in data.annotations:
        named = [found[0] for part in Path(annotation.source).parts if (found := WNID.match(part))]
        if not named or named[-1] not in index:
            raise InputError(
                f"{options.images / annotation.source}: neither its name nor its folder begins with the wnid of a class"
                f" in {options.classes}; rename it, or leave it out"
            )
        labels.append(index[named[-1]])
    if len(labels) < 2:
        raise InputError(f"{options.images}: at least 2 photos are needed, not {len(labels)}")
    x = net.preprocess(data.images)
    return Subject(f"{net.name} on photos", {PLAIN: net}, x[:, None], np.array(labels), np.arange(len(labels)))


def masks(options: Options, subject: Subject, family: str) -> Callable[[float], np.ndarray]:
    """The masks of a family at any coverage, the same for all networks."""
    n, t, height, width, _ = subject.x.shape
    frames = t if options.motion == "animated" else 1
    fields = draw_fields(family, n, (height, width), frames=frames, seed=options.seed)
    return lambda coverage: np.broadcast_to(hide(fields, coverage), (n, t, height, width))


Key = tuple[str, str, str, str]  # level, fill, family ("" for nothing hidden), network
Answers = Mapping[tuple[str, str], Mapping[str, np.ndarray]]  # fill and family -> network -> [coverages, n, t, k]


def evaluated(options: Options, subject: Subject, fills: Sequence[str], parts: Parts) -> Answers:
    """Log-probabilities under every mask: of all networks with the first fill, of the plain one with the others.

    Coverage 0 is in the part "clean", under the families' name "".
    """
    nets = {fill: subject.nets if fill == fills[0] else {PLAIN: subject.net} for fill in fills}
    passes = len(options.families) * len(options.coverages) * sum(map(len, nets.values())) + len(subject.nets)
    frames = subject.x.shape[0] * subject.x.shape[1]
    bar = tqdm(total=passes * frames, unit="frame", desc="clean", disable=cli.silent(options.quiet))
    batch = 100 if subject.x.shape[2:4] == CANVAS else None

    def ask(net: Network, hidden: np.ndarray, fill: np.ndarray | float) -> np.ndarray:
        answer = masked_log_probabilities(net, subject.x, hidden, fill, batch)
        bar.update(frames)
        return answer

    def under(fill: str, family: str) -> dict[str, np.ndarray]:
        bar.set_description(family)
        shown, at = subject.fill(fill, options.seed), masks(options, subject, family)
        hidden = [at(coverage) for coverage in options.coverages]
        return {name: np.stack([ask(net, one, shown) for one in hidden]) for name, net in nets[fill].items()}

    nothing = np.zeros(subject.x.shape[:4], bool)
    clean = parts.get("clean", lambda: {name: ask(net, nothing, 0.0)[None] for name, net in subject.nets.items()})
    answers = {(fills[0], ""): clean}
    for fill in fills:
        for family in options.families:
            answers[fill, family] = parts.get(f"{fill}-{family}", lambda f=fill, g=family: under(f, g))  # type: ignore[misc]
    bar.close()
    return answers


def summary(options: Options, subject: Subject, fills: Sequence[str], answers: Answers) -> dict[str, Any]:
    """Everything the report says of the answers."""
    weights = resample_weights(subject.groups, DRAWS, options.seed)
    frames = subject.x.shape[1]

    def judged(log_p: np.ndarray, level: str) -> dict[str, Sampled]:
        if level == "video":
            return figures(video_log_probabilities(log_p), subject.labels, weights)
        return figures(log_p.reshape(-1, log_p.shape[-1]), np.repeat(subject.labels, frames), weights.repeat(frames, 1))

    levels = ("video", "frame") if frames > 1 else ("video",)
    figured = {
        (level, fill, family, name): [judged(one, level) for one in log_p]
        for (fill, family), nets in answers.items()
        for name, log_p in nets.items()
        for level in levels
        if level == "video" or name == PLAIN
    }
    curves = [
        {
            **{"network": name, "fill": fill, "family": family or "none", "level": level, "coverage": coverage},
            **{"metric": metric, "value": one.value, "low": one.interval[0], "high": one.interval[1]},
        }
        for (level, fill, family, name), sampled in figured.items()
        for coverage, by_metric in zip(options.coverages if family else (0.0,), sampled)
        for metric, one in by_metric.items()
    ]
    order = [
        {
            **{"level": level, "fill": fill, "coverages": band, "gentler": gentle, "worse": worse, "metric": metric},
            **verdict(metric, *(average([figured[level, fill, one, PLAIN][i] for i in at])[metric] for one in pair)),
        }
        for level in levels
        for fill in fills
        for pair in ORDERING
        if set(pair) <= set(options.families)
        for gentle, worse in [pair]
        for band, at in bands(options.coverages).items()
        for metric in METRICS
    ]
    return {
        "curves": curves,
        "ordering": order,
        "reliability": [
            {
                "family": family or "none",
                "coverage": coverage,
                **{k: v.tolist() for k, v in vars(reliability(video_log_probabilities(log_p), subject.labels)).items()},
            }
            for (fill, family), nets in answers.items()
            if fill == fills[0]
            for coverage, log_p in zip(options.coverages if family else (0.0,), nets[PLAIN])
        ],
        "regression": regressions(options, subject, fills[0], answers, weights),
        "table": trained_table(fills[0], {key: average(sampled) for key, sampled in figured.items()}),
        "findings": findings(order, fills[0]),
    }


def average(sampled: Sequence[Mapping[str, Sampled]]) -> dict[str, Sampled]:
    """Every metric, averaged over coverages."""
    return {metric: mean([one[metric] for one in sampled]) for metric in METRICS}


def bands(coverages: Sequence[float]) -> dict[str, list[int]]:
    """Which coverages lie in each of `BANDS`, by its name: "10–90%" for all, "10–30%" for the light ones, ..."""
    named = {}
    for above, upto in BANDS:
        at = [i for i, coverage in enumerate(coverages) if above < coverage <= upto]
        if at:
            low, high = (100 * pick(coverages[i] for i in at) for pick in (min, max))
            named[f"{low:g}%" if low == high else f"{low:g}–{high:g}%"] = at
    return named


def verdict(metric: str, gentle: Sampled, worse: Sampled) -> dict[str, Any]:
    """A claim of seed 004 of one metric: by how much the worse is the worse."""
    gap = gentle - worse if metric == "accuracy" else worse - gentle
    low, high = gap.interval
    said = "held" if low > 0 else "contradicted" if high < 0 else "undecided"
    return {"by": gap.value, "low": low, "high": high, "verdict": said}


def findings(order: Sequence[Mapping[str, Any]], fill: str) -> list[str]:
    """A sentence for each claim of seed 004: the verdicts by band of coverage (of all, where there is but one)."""
    sentences = []
    for gentle, worse in ORDERING:
        rows = [
            row
            for row in order
            if (row["level"], row["fill"], row["gentler"], row["worse"]) == ("video", fill, gentle, worse)
        ]
        names = list(dict.fromkeys(row["coverages"] for row in rows))
        parts = []
        for band in names[1:] or names:
            by_verdict: dict[str, list[str]] = {}
            for row in rows:
                if row["coverages"] == band:
                    by_verdict.setdefault(row["verdict"], []).append(LABELS[row["metric"]])
            parts.append(f"at {band} " + ", ".join(f"{said} in {listed(of)}" for said, of in by_verdict.items()))
        if parts:
            sentences.append(f"{gentle} gentler than {worse}: {'; '.join(parts)}.")
    return sentences


def listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]


def trained_table(fill: str, averages: Mapping[Key, Mapping[str, Sampled]]) -> list[dict[str, Any]]:
    """Augmentation x family: figures averaged over the coverages, and their difference from the plain classifier's."""
    rows = []
    for level, filled, family, name in averages:
        if level == "video" and filled == fill:
            for metric, one in averages[level, filled, family, name].items():
                gain = one - averages[level, filled, family, PLAIN][metric]
                rows.append(
                    {
                        **{"augmentation": name, "family": family or "none", "metric": metric},
                        **{"value": one.value, "low": one.interval[0], "high": one.interval[1]},
                        **{"gain": gain.value, "gain_low": gain.interval[0], "gain_high": gain.interval[1]},
                    }
                )
    return rows


def regressions(
    options: Options, subject: Subject, fill: str, answers: Answers, weights: np.ndarray
) -> list[dict[str, Any]]:
    """At each of three coverages: how being right in the first frame hangs on the shape of that frame's mask."""
    chosen = sorted({min(options.coverages, key=lambda c: abs(c - wanted)) for wanted in (0.3, 0.5, 0.7)})
    drawn = {family: masks(options, subject, family) for family in options.families}
    rows = []
    for coverage in chosen:
        at = options.coverages.index(coverage)
        first = {family: drawn[family](coverage)[:, 0] for family in options.families}
        shapes = {family: describe(hidden) for family, hidden in first.items()}
        columns = {
            "largest component": np.concatenate([shape.largest for shape in shapes.values()]),
            "log2 components": np.log2(np.maximum(1, np.concatenate([shape.components for shape in shapes.values()]))),
        }
        if subject.boxes is not None:
            columns["hidden share of the digit"] = np.concatenate(
                [
                    1 - np.asarray(visible_share(jnp.asarray(hidden, float), jnp.asarray(subject.boxes)))
                    for hidden in first.values()
                ]
            )
        log_p = np.concatenate([answers[fill, family][PLAIN][at][:, 0] for family in first])
        labels = np.tile(subject.labels, len(first))
        right = (log_p.argmax(-1) == labels).astype(float)
        found = slopes(right, columns, np.tile(weights, (1, len(first))))
        rows.append(
            {
                "coverage": coverage,
                "connectivity": 8,
                "slopes": {
                    name: {"value": one.value, "low": one.interval[0], "high": one.interval[1]}
                    for name, one in found.items()
                },
                "families": {
                    family: {
                        "coverage": float(np.mean(shape.coverage)),
                        "error": float(np.abs(shape.coverage - coverage).max()),
                        "largest": float(np.mean(shape.largest)),
                        "components": float(np.mean(shape.components)),
                        "accuracy": float(one.mean()),
                    }
                    for (family, shape), one in zip(shapes.items(), np.split(right, len(first)))
                },
            }
        )
    return rows


def localized(options: Options, parts: Parts) -> list[dict[str, Any]]:
    """CorLoc of gradient + linear map on scenes, of the scenes classifier trained on with each augmentation."""
    net = load_network("scenes_cnn")
    tune = scenes("train", options.tune_scenes, options.seed + 100)  # not those of the linear map
    fit, test = (scenes(split, n, options.seed) for split, n in zip(("train", "test"), options.map_scenes))
    names = (PLAIN, *(name for name in options.augmentations if name != PLAIN))
    bar = tqdm(total=len(names) * (options.tune_scenes // 64), unit="step", disable=cli.silent(options.quiet))

    def one(name: str) -> dict[str, np.ndarray]:
        bar.set_description(f"scenes, {name}")
        tuned = train(
            net,
            tune.images,
            tune.labels,
            as_augmentation(name),
            epochs=1,
            rate=1e-3,
            seed=options.seed,
            progress=lambda step, loss: bar.update(),
        )
        return boxed(tuned, fit, test)

    found = {name: parts.get(f"scenes-{name}", lambda name=name: one(name)) for name in names}  # type: ignore[misc]
    bar.close()
    right = {name: hits(best_iou(part["boxes"], test.boxes)) for name, part in found.items()}
    rows = []
    for name, part in found.items():
        share, gain = corloc(part["boxes"], test.boxes), paired_difference(right[name], right[PLAIN])
        rows.append(
            {
                **{"augmentation": name, "accuracy": float((part["classes"] == test.labels).mean())},
                **{"corloc": share.value, "low": share.low, "high": share.high},
                **{"gain": gain.value, "gain_low": gain.low, "gain_high": gain.high},
            }
        )
    return rows


def boxed(net: Network, fit: Scenes, test: Scenes) -> dict[str, np.ndarray]:
    """Boxes of the test scenes from gradient maps of the predicted class, and that class."""
    maps = {data.split: gradient_maps(net, net.preprocess(data.images)) for data in (fit, test)}
    usable = status(maps["train"]) == "ok"
    linear = fit_linear_map(maps["train"][usable], fit.boxes[usable])
    boxes = linear.predict(maps["test"])
    boxes[status(maps["test"]) != "ok"] = np.nan
    return {"boxes": boxes, "classes": logits(net, net.preprocess(test.images)).argmax(-1)}


def examples(options: Options, subject: Subject) -> dict[str, list[list[np.ndarray]]]:
    """Family -> coverage -> frames uint8 `[h, w, 3]` of the first video, what is hidden in one colour."""
    first = replace(subject, x=subject.x[:1])
    video = subject.net.preprocess.pixels(first.x[0]).round().clip(0, 255).astype(np.uint8)
    strips = {}
    for family in options.families:
        at = masks(options, first, family)
        strips[family] = [list(np.where(at(c)[0, ..., None], HIDDEN, video)) for c in options.coverages]
    return strips


if __name__ == "__main__":
    cli.run(main, tyro.cli(Options))
