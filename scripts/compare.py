"""The main job: the same photos through every method, its boxes, figures and cost, on one page.

    python -m scripts.compare                      scenes and their classifier, offline, in minutes
    python -m scripts.compare --network squeezenet1_1 --weights FILE --images FOLDER
    python -m scripts.compare --list

A run that was killed goes on where it was; a complete one is shown again.
"""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from tqdm import tqdm

from localization.boxes import to_photo
from localization.heuristics import fit_heuristic
from localization.metrics import best_iou, corloc, hits, mean_iou
from localization.regression import fit_linear_map, status
from localization.report import content_hash, plain, record, write_csv, write_json
from localization.statistics import mcnemar_exact, paired_difference
from saliency import load_network
from saliency.errors import InputError
from saliency.files import written
from saliency.methods import METHODS, Cost
from saliency.methods import Options as MethodOptions
from saliency.networks.network import Network
from saliency.scores import logits
from scripts import cli
from scripts.compare_report import write_pictures, write_report
from scripts.samples import Samples, scenes_samples

SHARD = 100  # images whose maps are written at once: what a kill can cost
DEFAULT_METHODS = ("gradient-max", "gradient-mean", "gestalt-max", "gestalt-mean", "grad-cam", "occlusion")
LINEAR, HEURISTIC, NONE = "linear map", "heuristic", "none"


@dataclass(frozen=True)
class Options:
    """Compare saliency methods on the same images: maps, boxes, CorLoc, cost, one report."""

    network: str = "scenes_cnn"
    """Classifier to explain."""
    weights: str | None = None
    """Its checkpoint: a file, or a Hugging Face hub id (scenes_cnn brings its own)."""
    methods: tuple[str, ...] = DEFAULT_METHODS
    """Names from --list."""
    n_train: int = 1000
    """Training scenes, the same for every method."""
    n_test: int = 500
    """Test scenes."""
    target: str = "predicted"
    """Class whose score is explained: "predicted", or "label", the true one."""
    map: MethodOptions = field(default_factory=lambda: MethodOptions(patch=16, stride=8))
    """What the methods share: occlusion's window and fill, samples of the stochastic ones."""
    out: Path = Path("runs/compare")
    seed: int = 0
    keep_maps: bool = False
    """Keep every map, OUT/maps/METHOD-FIRST.npz."""
    quiet: bool = False
    list: bool = False
    """Say what each method does, and stop."""


@dataclass(frozen=True)
class Made:
    """One method's maps on disk, in shards, and what they cost."""

    shards: Sequence[Path]
    cost: Cost
    ms: float
    peak_mib: float | None

    def maps(self, indices: np.ndarray) -> np.ndarray:
        """Float32 `[n, h, w]` of some samples."""
        order = np.argsort(indices, kind="stable")
        parts = []
        for number in np.unique(indices // SHARD):
            with np.load(self.shards[number], allow_pickle=False) as shard:
                parts.append(shard["maps"][np.sort(indices[indices // SHARD == number]) - number * SHARD])
        maps = np.concatenate(parts)
        result = np.empty_like(maps)
        result[order] = maps
        return result


def main(options: Options) -> int:
    if options.list:
        print("\n\n".join(f"{m.name}  [{m.source}; {m.sign}]\n{m.summary}" for m in METHODS.values()))
        return 0
    check(options)
    net = load_network(options.network, options.weights)
    samples = scenes_samples(net, options.n_train, options.n_test, options.seed)
    key = content_hash(plain(replace(options, out=Path(), quiet=False)), samples.digest, net.digest)
    results = options.out / "results.json"
    if finished(results, key):
        print(f"this run is complete already; remove {results} to do it again")
    else:
        run(options, net, samples, key)
    print(table(json.loads(results.read_text(encoding="utf-8"))))
    print(f"\nreport: {options.out / 'report.html'}")
    return 0


def check(options: Options) -> None:
    unknown = [name for name in options.methods if name not in METHODS]
    if unknown:
        raise InputError(f"unknown method {unknown[0]!r}; choose from {', '.join(METHODS)}")
    if options.target not in ("predicted", "label"):
        raise InputError(f'--target must be "predicted" or "label", not {options.target!r}')
    if options.n_train < 20 or options.n_test < 1:
        raise InputError(f"--n-train must be at least 20 and --n-test 1, not {options.n_train} and {options.n_test}")


def finished(results: Path, key: str) -> bool:
    try:
        return json.loads(results.read_text(encoding="utf-8"))["key"] == key
    except (OSError, ValueError, KeyError, TypeError):
        return False


def run(options: Options, net: Network, samples: Samples, key: str) -> None:
    folder = options.out / "maps"
    if (folder / "key").is_file() and (folder / "key").read_text() != key:
        shutil.rmtree(folder)  # another run's
    with written(folder / "key") as temporary:
        temporary.write_text(key)
    start = time.perf_counter()
    progress = tqdm(total=len(options.methods) * len(samples), unit="map", disable=cli.silent(options.quiet))
    classes = np.concatenate([logits(net, samples.input(i)) for i in shards(len(samples))])
    targets = samples.labels if options.target == "label" else classes.argmax(-1)
    made = {name: make(name, samples, targets, options, folder, progress) for name in options.methods}
    progress.close()

    fits = {name: localize(name, one, samples) for name, one in made.items()}
    fits["baseline"] = baselines(samples)
    boxes = {label: found for fit in fits.values() for label, found in fit.boxes.items()}
    rows = [row(label, found, samples, made.get(label[0])) for label, found in boxes.items()]
    right = classes.argmax(-1) == samples.labels
    results = {
        **record(replace(options, out=Path(options.out.name)), options.seed, samples.digest),
        "key": key,
        "network": {"name": net.name, "preprocessing": net.preprocess.record(), **net.provenance},
        "dataset": samples.name,
        "train": len(samples.train),
        "test": len(samples.test),
        "accuracy": float(right[samples.test].mean()),
        "rows": rows,
        "paired": paired(rows, boxes, samples),
        "settings": {name: fit.setting for name, fit in fits.items()},
        "seconds": time.perf_counter() - start,
    }
    write_csv(options.out / "images.csv", image_rows(samples, classes, fits), IMAGE_COLUMNS)
    pictures = write_pictures(options.out / "pictures", results, samples, made, fits)
    write_report(options.out / "report.html", results, pictures)
    write_json(options.out / "results.json", results)
    if not options.keep_maps:
        shutil.rmtree(folder)


def shards(n: int) -> list[np.ndarray]:
    return [np.arange(first, min(first + SHARD, n)) for first in range(0, n, SHARD)]


def make(name: str, samples: Samples, targets: np.ndarray, options: Options, folder: Path, progress: tqdm) -> Made:
    """All maps of one method, shard by shard; a shard found on disk is not made again."""
    method, net = METHODS[name], samples.net
    progress.set_description(name)
    paths, seconds, peak, warm = [], 0.0, 0.0, False
    for indices in shards(len(samples)):
        path = folder / f"{name}-{indices[0]:06d}.npz"
        paths.append(path)
        if not path.exists():
            x = samples.input(indices)
            if not warm:  # compiling is not counted
                method.maps(net, x[:1], target=targets[indices[:1]], options=options.map)
                warm = True
            cli.reset_peak_memory()
            start = time.perf_counter()
            maps = method.maps(net, x, target=targets[indices], options=options.map)
            spent = time.perf_counter() - start
            with written(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, maps=maps, seconds=spent, peak=cli.peak_memory() or np.nan)
        with np.load(path, allow_pickle=False) as shard:
            seconds += float(shard["seconds"])
            peak = max(peak, float(shard["peak"]))
        progress.update(len(indices))
    size = net.preprocess.size
    return Made(
        paths, method.cost(net, size, options.map), 1000 * seconds / len(samples), peak / 2**20 if peak else None
    )


Label = tuple[str, str]  # method, route


@dataclass(frozen=True)
class Fit:
    """Boxes by label, float `[test, 4]` in the photos' pixels; the status of each test map; what was chosen in
    training; the linear map's weights as images float `[4, h, w]`, where it has any."""

    boxes: Mapping[Label, np.ndarray]
    status: np.ndarray
    setting: Mapping[str, Any]
    weights: np.ndarray | None = None


def localize(name: str, made: Made, samples: Samples) -> Fit:
    """Both box routes of one method: everything is learned and chosen on the training samples."""
    train, test = made.maps(samples.train), made.maps(samples.test)
    known, said = samples.learned[samples.train], status(test)
    usable = status(train) == "ok"
    linear, heuristic = fit_linear_map(train[usable], known[usable]), fit_heuristic(train, known)
    found = {(name, LINEAR): linear.predict(test), (name, HEURISTIC): heuristic.predict(test)}
    for boxes in found.values():
        boxes[said != "ok"] = np.nan
    images = linear.images()
    return Fit(
        {label: to_photos(boxes, samples) for label, boxes in found.items()},
        said,
        {"heuristic": heuristic, "linear map": linear.record},
        None if images is None else images[:, 0],
    )


def to_photos(boxes: np.ndarray, samples: Samples) -> np.ndarray:
    return np.array([to_photo(box, samples.placement(int(i))) for box, i in zip(boxes, samples.test)]).reshape(-1, 4)


def baselines(samples: Samples) -> Fit:
    """Boxes that look at no image: what a figure has to beat before it means anything."""
    known = samples.learned[samples.train]
    height, width = samples.net.preprocess.size
    centre = np.array([width, height] * 2) / 2
    half = (known[:, 2:] - known[:, :2]).mean(0) / 2
    constant = {
        "mean box": known.mean(0),
        "median box": np.median(known, axis=0),
        "centre box": centre + np.concatenate([-half, half]),
        "full image": np.array([0, 0, width, height], float),
    }
    n = len(samples.test)
    boxes = {(name, NONE): to_photos(np.broadcast_to(box, (n, 4)), samples) for name, box in constant.items()}
    return Fit(boxes, np.full(n, "ok"), constant)


def row(label: Label, boxes: np.ndarray, samples: Samples, made: Made | None) -> dict[str, Any]:
    true = [samples.true[i] for i in samples.test]
    share, overlap = corloc(boxes, true), mean_iou(boxes, true)
    return {
        "method": label[0],
        "route": label[1],
        "corloc": share.value,
        "corloc_low": share.low,
        "corloc_high": share.high,
        "mean_iou": overlap.value,
        "mean_iou_low": overlap.low,
        "mean_iou_high": overlap.high,
        "no_box": share.missing,
        "forwards": made.cost.forwards if made else 0,
        "backwards": made.cost.backwards if made else 0,
        "ms_per_image": made.ms if made else None,
        "peak_mib": made.peak_mib if made else None,
    }


def paired(
    rows: Sequence[Mapping[str, Any]], boxes: Mapping[Label, np.ndarray], samples: Samples
) -> list[dict[str, Any]]:
    """Every row against the best one on the same images: difference of CorLoc, its interval, McNemar's exact p."""
    true = [samples.true[i] for i in samples.test]
    right = {label: hits(best_iou(found, true)) for label, found in boxes.items()}
    best = max(rows, key=lambda row: row["corloc"])
    first = right[best["method"], best["route"]]
    compared = []
    for label, second in right.items():
        difference, test = paired_difference(second, first), mcnemar_exact(second, first)
        compared.append(
            {
                "method": label[0],
                "route": label[1],
                "against": f"{best['method']}, {best['route']}",
                "difference": difference.value,
                "low": difference.low,
                "high": difference.high,
                "mcnemar_p": test.p,
            }
        )
    return compared


IMAGE_COLUMNS = (
    *("image", "label", "predicted_class", "method", "route", "x0", "y0", "x1", "y1"),
    *("true_x0", "true_y0", "true_x1", "true_y1", "iou", "correct", "status"),
)


def image_rows(samples: Samples, classes: np.ndarray, fits: Mapping[str, Fit]) -> list[dict[str, Any]]:
    """One row an image, method and route; the true box is the one that is overlapped best."""
    rows = []
    for fit in fits.values():
        for (method, route), boxes in fit.boxes.items():
            for at, i in enumerate(samples.test):
                overlaps = best_iou(np.repeat(boxes[at : at + 1], len(samples.true[i]), 0), samples.true[i])
                best = int(overlaps.argmax())
                values = (
                    *(samples.ids[i], samples.labels[i], classes[i].argmax(), method, route),
                    *boxes[at].round(3),
                    *samples.true[i][best],
                    *(overlaps[best].round(4), bool(overlaps[best] > 0.5), fit.status[at]),
                )
                rows.append(dict(zip(IMAGE_COLUMNS, values)))
    return rows


def table(results: Mapping[str, Any]) -> str:
    """The rows as text for a terminal, best first."""
    lines = [
        f"{results['dataset']}: {results['train']} training and {results['test']} test images;"
        f" {results['network']['name']} is right on {results['accuracy']:.1%} of the latter",
        "",
        f"{'method':<18} {'box route':<11} {'CorLoc [95%]':<21} {'mean IoU':>8} {'fwd':>5} {'bwd':>4}"
        f" {'ms/image':>9} {'peak MiB':>9}",
    ]
    for one in sorted(results["rows"], key=lambda row: -row["corloc"]):
        share = f"{100 * one['corloc']:5.1f} [{100 * one['corloc_low']:4.1f}, {100 * one['corloc_high']:4.1f}]"
        ms = "-" if one["ms_per_image"] is None else f"{one['ms_per_image']:.1f}"
        peak = "-" if one["peak_mib"] is None else f"{one['peak_mib']:.0f}"
        lines.append(
            f"{one['method']:<18} {one['route']:<11} {share:<21} {one['mean_iou']:>8.3f} {one['forwards']:>5}"
            f" {one['backwards']:>4} {ms:>9} {peak:>9}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    cli.run(main, tyro.cli(Options))
