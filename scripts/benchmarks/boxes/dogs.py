"""Ten classes of ILSVRC's dogs by the protocols of weakly supervised localization, SqueezeNet's maps and channels."""

from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from localization.datasets import Dataset, load
from localization.evaluation import Evaluation, EvaluationOptions, evaluate
from localization.metrics import best_iou, hits
from localization.options.evaluation import Route
from localization.protocols import MAP_PROTOCOLS
from localization.statistics import mcnemar_exact, paired_difference
from saliency._files import atomic_write
from saliency.methods import METHODS
from saliency.models.network import Network
from saliency.models.weights import load_network
from saliency.report.record import plain

NETWORK = "squeezenet1_1"
MAPS = ("gradient-max", "guided-backprop", "grad-cam", "occlusion")
ROUTES: tuple[Route, ...] = ("heuristic", "Eq. 4", "linear map")
FOLDS = 10
CHANNELS = "channels"
AT_ONCE = 16


def ilsvrc_dogs(shared: Path, cache: Path, quiet: bool) -> dict[str, Any]:
    """Rows of one method, protocol and route (for maxboxacc and its like: whose threshold) each, in ten folds.

    gt-known and the three that score thresholded maps take the map of the true class, top1-loc that of the predicted
    one. Rows of gt-known are paired with those of the same map's heuristic.
    """
    root = shared / "data" / "ilsvrc_dogs"
    data = load("imagenet", root, split="val")
    numbers = _numbers(root)
    names = [f"class {i}" for i in range(1000)]
    for annotation in data.annotations:
        names[numbers[annotation.source]] = annotation.labels[0]
    net = load_network(NETWORK, shared / "weights" / f"{NETWORK}.safetensors", classes=names)
    net.preprocess = net.preprocess.changed("stretch")
    rows: list[dict[str, Any]] = []

    def add(method: str, protocol: str, route: str, row: dict[str, Any]) -> None:
        figure = row["figure"]
        kept: dict[str, Any] = {key: plain(row[key]) for key in row.keys() & {"small", "chosen", "paired"}}
        own = {"value": figure["value"], "low": figure["low"], "high": figure["high"]}
        rows.append({"method": method, "protocol": protocol, "route": route, **own, **kept})
        print(f"ilsvrc_dogs {method:16} {protocol:12} {route:28} {own['value']:.1%}", flush=True)

    for method in MAPS:
        folder = _kept(net, data, method, numbers, cache / f"ilsvrc_dogs-{net.digest[:12]}-{method}", quiet)
        for protocol in MAP_PROTOCOLS:
            found = evaluate(data, maps=folder, options=EvaluationOptions(protocol=protocol, folds=FOLDS))
            for row in found.rows:
                add(method, protocol, row["threshold"], row)
        learned: dict[str, Evaluation] = {}
        for route in ROUTES:
            options = EvaluationOptions(protocol="gt-known", folds=FOLDS, route=route)
            learned[route] = evaluate(data, maps=folder, options=options)
            if route == ROUTES[0] and method == MAPS[0]:
                for row in learned[route].rows[:-1]:
                    add("no photo", "gt-known", row["method"], row)
            paired = {} if route == ROUTES[0] else {"paired": _paired(learned[route], learned[ROUTES[0]])}
            add(method, "gt-known", route, {**learned[route].rows[-1], **paired})
    for method in (*MAPS, CHANNELS):
        for protocol in ("gt-known", "top1-loc") if method == CHANNELS else ("top1-loc",):
            options = EvaluationOptions(protocol=protocol, folds=FOLDS, method=method, route="linear map")
            found = evaluate(data, net=net, classes=names, options=options)
            add(method, protocol, "linear map", found.rows[-1])
    accuracy = plain(found.results["class_accuracy"])
    return {"n": len(data), "folds": FOLDS, "network": NETWORK, "class_accuracy": accuracy, "figures": rows}


def _paired(one: Evaluation, other: Evaluation) -> dict[str, Any]:
    """The difference of the two's last rows on the same photos, equality counted as gt-known does."""
    first, second = (
        hits(best_iou(list(found.found.values())[-1], found.samples.true), strict=False) for found in (one, other)
    )
    difference = paired_difference(first, second, clusters=one.samples.images)
    return {
        "against": ROUTES[0], "difference": difference.value, "low": difference.low, "high": difference.high,
        "mcnemar_p": mcnemar_exact(first, second).p,
    }  # fmt: skip


def _numbers(root: Path) -> dict[str, int]:
    """The ImageNet class of each photo, from wsolevaluation's metadata."""
    lines = (root / "metadata" / "val" / "class_labels.txt").read_text().split()
    return {Path(name).stem: int(number) for name, _, number in (line.partition(",") for line in lines)}


def _kept(net: Network, data: Dataset, method: str, numbers: dict[str, int], folder: Path, quiet: bool) -> Path:
    """A folder with the map of each photo's true class."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [i for i, a in enumerate(data.annotations) if not (folder / f"{a.source}.npy").exists()]
    for start in tqdm(range(0, len(missing), AT_ONCE), desc=folder.name, disable=quiet or not missing):
        rows = missing[start : start + AT_ONCE]
        x = net.preprocess([data.images[i] for i in rows])
        target = [numbers[data.annotations[i].source] for i in rows]
        for i, map in zip(rows, METHODS[method].maps(net, x, target=target)):
            with atomic_write(folder / f"{data.annotations[i].source}.npy") as temporary, open(temporary, "wb") as file:
                np.save(file, map)
    return folder
