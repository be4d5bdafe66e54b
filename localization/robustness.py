"""What `saliency.robustness` is asked of our data sets: moving digits, photos whose names say their class, and scenes.

Images are uint8 `[n, h, w, 3]`, labels class indices `[n]`, boxes `[n, 4]` as in `localization.boxes`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Int

from localization.datasets.dataset import Dataset
from localization.datasets.moving_digits import moving_digits
from localization.datasets.scenes import Scenes, scenes
from localization.metrics import best_iou, corloc, hits
from localization.options.digits import Training
from localization.regression import fit_linear_map
from localization.statistics import paired_difference
from saliency import InputError, gradient_maps, load_network
from saliency._fills import parse_fill
from saliency.maps.gradient import Progress
from saliency.maps.status import status
from saliency.models.classes import WNID, ClassList, match_labels, read_classes
from saliency.models.network import Network
from saliency.occlusion import fill_images
from saliency.report import Figure, Section, Table, content_hash, png, write_bytes
from saliency.robustness import Evaluation, Options, evaluate, train_each
from saliency.robustness.digits import CANVAS, untrained_digits
from saliency.robustness.parts import SCHEMA, Parts
from saliency.robustness.training import PLAIN
from saliency.scores import logits


def evaluate_digits(
    training: Training, options: Options, *, folder: Path | None = None, progress: Progress | None = None
) -> Evaluation:
    """Train a small classifier of moving digits plainly and with each augmentation, and hide parts of test videos.

    Trainings that hide show the first fill. The arguments are those of `robustness.evaluate`; `progress(done, total)`
    counts steps of training, then frames. Raises InputError as it does.
    """
    if training.videos < 2 or training.frames < 1:
        raise InputError(f"at least 2 videos of 1 frame are needed, not {training.videos} of {training.frames}")
    first = untrained_digits(options.seed)
    train = moving_digits("train", training.train_frames, frames=1, size=CANVAS, seed=options.seed)
    test = moving_digits("test", training.videos, frames=training.frames, size=CANVAS, seed=options.seed)
    images, labels, notes = apart(train.frames[:, 0], train.labels[:, 0], test.frames.reshape(-1, *CANVAS, 3))
    shown = fill_images(np.zeros((1, 1, 1, 3), np.float32), parse_fill(options.fills[0]), first.preprocess)[0, 0, 0]
    nets = train_each(
        first, images, labels, training.augmentations,
        epochs=training.epochs, fill=shown, seed=options.seed, folder=folder, progress=progress,
    )  # fmt: skip
    return evaluate(
        nets,
        test.frames,
        test.labels[:, 0],
        groups=test.instances[:, 0],
        boxes=test.boxes[:, 0, 0],
        options=options,
        data=f"moving digits: one bright handwritten digit of 28 px bouncing about a black {CANVAS[1]}x{CANVAS[0]} px"
        " canvas, so that a black fill is the background itself; no test digit was trained on"
        f" ({len(images)} training frames, {training.epochs} passes)",
        notes=notes,
        folder=folder,
        progress=progress,
    )


def apart(images: np.ndarray, labels: np.ndarray, scored: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Training images and labels without those that are scored, pixel by pixel the same, and a note of how many."""
    known = {content_hash(image) for image in scored}
    fresh = np.array([content_hash(image) not in known for image in images], bool)
    repeated = int((~fresh).sum())
    notes = [f"{repeated} of {len(images)} training images are scored too, and nothing was learned from them"]
    return images[fresh], labels[fresh], notes if repeated else []


def evaluate_photos(
    net: Network,
    photos: Dataset,
    classes: ClassList | Sequence[str] | Path | None,
    options: Options,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Hide parts of photos whose class their names say (`named_classes`), for a network that is given.

    `classes` are what its outputs are called, as `read_classes` takes them (None: as the network says itself). The
    result carries the data set's notes. The rest is as for `robustness.evaluate`, whose errors it raises.
    """
    if len(photos) < 2:
        raise InputError(f"{photos.name}: at least 2 photos are needed, not {len(photos)}")
    called = classes or net.classes
    if not called:
        raise InputError(f"{net.name} has no names for its classes, to know what is right: give its `classes`")
    labels = named_classes(photos, called if isinstance(called, ClassList) else read_classes(called))
    kinds = len(np.unique(labels))
    return evaluate(
        net,
        list(photos.images),
        labels,
        options=options,
        data=f"photos of {kinds} class{'es' * (kinds > 1)}: their files or folders name the class",
        notes=[str(note) for note in photos.notes],
        folder=folder,
        progress=progress,
    )


def named_classes(photos: Dataset, classes: ClassList) -> Int[np.ndarray, " n"]:
    """The class of each photo, as its file or the nearest of its folders names it: by a leading wnid, or a folder by
    the class's name (`match_labels`); else by the one label of its boxes.

    Raises InputError for the first photo that has none, and says how many have none.
    """
    found = [_class_of(one.source, set(one.labels), classes) for one in photos.annotations]
    missing = [one.source for one, index in zip(photos.annotations, found) if index is None]
    if missing:
        raise InputError(
            f"{missing[0]}: neither its name nor its folder begins with the wnid of a class, and no folder bears a"
            f" class's name ({len(missing)} of {len(found)} photos); rename it, or leave it out"
        )
    return np.array(found, np.int64)


def class_of_name(source: str, classes: ClassList) -> int | None:
    """The class that a photo's file (by a leading wnid) or the nearest of its folders names (by a leading wnid, or by
    the class's name); None where neither does."""
    *folders, name = PurePosixPath(source).parts
    for part in (name, *reversed(folders)):
        wnid = WNID.match(part)
        if wnid:
            return classes.wnids.index(wnid[0]) if wnid[0] in classes.wnids else None
        index = int(match_labels([part], classes).indices[0]) if part is not name else -1
        if index >= 0:
            return index
    return None


def _class_of(source: str, labels: set[str], classes: ClassList) -> int | None:
    found = class_of_name(source, classes)
    if found is None and len(labels) == 1:
        index = int(match_labels([labels.pop()], classes).indices[0])
        found = index if index >= 0 else None
    return found


def augmented_corloc(
    augmentations: Sequence[str],
    *,
    tune_scenes: int = 3000,
    map_scenes: tuple[int, int] = (500, 500),
    seed: int = 0,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """CorLoc of gradient + linear map on scenes, of the scenes classifier trained on with each augmentation.

    `map_scenes` are how many the linear map learns from, and how many are scored. A row for each training, the plain
    one first, with its difference from that. Raises InputError for unknown augmentations and too few scenes.
    """
    net = load_network("scenes_cnn")
    fit, test = (scenes(split, n, seed) for split, n in zip(("train", "test"), map_scenes))
    tune = scenes("train", tune_scenes, seed + 100)  # not those of the linear map
    images, labels, _ = apart(tune.images, tune.labels, np.concatenate([fit.images, test.images]))
    folder = None if folder is None else Path(folder) / "scenes"  # the digits' networks bear the same names
    nets = train_each(
        net, images, labels, augmentations, epochs=1, rate=1e-3, seed=seed, folder=folder, progress=progress
    )
    parts = Parts(folder)
    found = {
        name: parts.get(
            f"scenes-{name}",
            content_hash({"schema": SCHEMA, "network": one.digest}, fit.images, fit.boxes, test.images),
            lambda one=one: _boxed(one, fit, test),  # type: ignore[misc]
        )
        for name, one in nets.items()
    }  # fmt: skip
    right = {name: hits(best_iou(part["boxes"], test.boxes)) for name, part in found.items()}
    rows = []
    for name, part in found.items():
        share, gain = corloc(part["boxes"], test.boxes), paired_difference(right[name], right[PLAIN])
        rows.append(
            {
                **{"augmentation": name, "accuracy": float((part["classes"] == test.labels).mean())},
                "trained_on": len(images),
                **{"corloc": share.value, "low": share.low, "high": share.high},
                **{"gain": gain.value, "gain_low": gain.low, "gain_high": gain.high},
            }
        )
    return rows


def _boxed(net: Network, fit: Scenes, test: Scenes) -> dict[str, np.ndarray]:
    """Boxes of the test scenes from gradient maps of the predicted class, and that class."""
    maps = {data.split: gradient_maps(net, net.preprocess(data.images)) for data in (fit, test)}
    usable = status(maps["train"]) == "ok"
    linear = fit_linear_map(maps["train"][usable], fit.boxes[usable])
    boxes = linear.predict(maps["test"])
    boxes[status(maps["test"]) != "ok"] = np.nan
    return {"boxes": boxes, "classes": logits(net, net.preprocess(test.images)).argmax(-1)}


def corloc_section(rows: Sequence[Mapping[str, Any]], map_scenes: tuple[int, int], out: Path | None = None) -> Section:
    """The rows of `augmented_corloc` as a section of the page; the picture goes to OUT/pictures/corloc.png as well."""
    image = _corloc_picture(rows)
    if out is not None:
        write_bytes(out / "pictures" / "corloc.png", image)
    best = max(range(len(rows)), key=lambda i: rows[i]["corloc"])
    clear = [row["augmentation"] for row in rows if row["gain_low"] > 0]
    worse = [row["augmentation"] for row in rows if row["gain_high"] < 0]
    others = len(rows) - 1

    def interval(low: float, high: float) -> str:
        return f"[{100 * low:.1f}, {100 * high:.1f}]".replace("-", "−").replace(" ", "\u00a0")

    table = Table(
        ["trained with", "accuracy, %", "CorLoc, %", "95% interval", "gain over plain, points", "95% interval "],
        [
            [
                *(row["augmentation"], 100 * row["accuracy"]),
                *(100 * row["corloc"], interval(row["low"], row["high"])),
                *(100 * row["gain"], interval(row["gain_low"], row["gain_high"])),
            ]
            for row in rows
        ],
        "CorLoc: share of test scenes whose box overlaps the true one with an IoU above one half.",
        best=best,
        decimals=1,
    )
    return Section(
        "Does augmentation make maps localize better?",
        f"Of {others} training{'s' * (others != 1)} with an augmentation {len(clear)} raise CorLoc over plain training"
        f" and {len(worse)} lower it (95% interval of the paired difference clear of 0).\n"
        f"The scenes classifier, trained on for one pass over {rows[0]['trained_on']} scenes, plain and with each"
        " augmentation (a continued training, not one from scratch); gradient maps of the predicted class, a linear map"
        " fitted to"
        f" {map_scenes[0]} other scenes, CorLoc on {map_scenes[1]} of the test split.",
        [table],
        [Figure(image, "CorLoc of gradient + linear map on test scenes, with 95% intervals.")],
    )


def _corloc_picture(rows: Sequence[Mapping[str, Any]]) -> bytes:
    from matplotlib.figure import Figure as Plot  # on use

    figure = Plot(figsize=(7.5, 0.9 + 0.3 * len(rows)))
    axes = figure.subplots()
    for y, row in enumerate(reversed(rows)):
        axes.barh(y, 100 * row["corloc"], color="#8a929c" if row["augmentation"] == PLAIN else "#1f6fb4", height=0.7)
        axes.hlines(y, 100 * row["low"], 100 * row["high"], color="#222", linewidth=1.2)
    axes.set_yticks(range(len(rows)), [row["augmentation"].replace("_", " ") for row in reversed(rows)], fontsize=9)
    axes.set_xlabel("CorLoc (IoU > 0.5), %", fontsize=9)
    axes.set_xlim(0, 100)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#ddd", linewidth=0.6)
    axes.set_axisbelow(True)
    figure.tight_layout()
    return png(figure)
