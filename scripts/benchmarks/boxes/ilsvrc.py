"""Ten classes of dogs of ILSVRC by the protocols of `localization.evaluate`, SqueezeNet's maps."""

from pathlib import Path
from typing import Any

import numpy as np

from localization.datasets import Dataset, load
from localization.evaluation import EvaluationOptions, evaluate
from saliency._files import atomic_write
from saliency.methods import METHODS
from saliency.models.network import Network
from saliency.models.weights import load_network

MAPS = ("gradient-max", "grad-cam", "occlusion")
ROUTES = ("heuristic", "Eq. 4", "linear map")
FOLDS = 10


def ilsvrc_dogs(shared: Path, cache: Path, quiet: bool) -> dict[str, Any]:
    """By map: gt-known and top1-loc of each route in ten folds, maxboxacc and v2 with the oracle's threshold and with
    the other folds'. gt-known and maxboxacc take the map of the true class, top1-loc that of the predicted one."""
    root = shared / "data" / "ilsvrc_dogs"
    data = load("imagenet", root, split="val")
    numbers = _numbers(root)
    names = [f"class {i}" for i in range(1000)]
    for annotation in data.annotations:
        names[numbers[annotation.source]] = annotation.labels[0]
    net = load_network("squeezenet1_1", shared / "weights" / "squeezenet1_1.safetensors", classes=names)
    net.preprocess = net.preprocess.changed("stretch")
    found: dict[str, Any] = {"n": len(data), "folds": FOLDS, "network": net.name, "maps": {}}
    for method in MAPS:
        folder = _kept(net, data, method, numbers, cache / f"ilsvrc_dogs-{net.digest[:12]}-{method}")
        own: dict[str, Any] = {}
        for protocol in ("maxboxacc", "maxboxacc-v2"):
            options = EvaluationOptions(protocol=protocol, folds=FOLDS)
            own[protocol] = evaluate(data, maps=folder, options=options).rows
        for route in ROUTES:
            options = EvaluationOptions(protocol="gt-known", folds=FOLDS, route=route)
            own[f"gt-known, {route}"] = _row(evaluate(data, maps=folder, options=options).rows[-1])
        options = EvaluationOptions(protocol="top1-loc", folds=FOLDS, method=method)
        scored = evaluate(data, net=net, classes=names, options=options)
        own["top1-loc, linear map"] = _row(scored.rows[-1])
        found["class_accuracy"] = float(scored.results["class_accuracy"])
        found["maps"][method] = own
        print(f"ilsvrc_dogs {method} {own}", flush=True)
    options = EvaluationOptions(protocol="gt-known", folds=FOLDS, route="heuristic")
    rows = evaluate(data, maps=folder, options=options).rows
    found["baselines"] = [_row(row) for row in rows[:-1]]
    return found


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "classes"}


def _numbers(root: Path) -> dict[str, int]:
    """The ImageNet class of each photo, from wsolevaluation's metadata."""
    lines = (root / "metadata" / "val" / "class_labels.txt").read_text().split()
    return {Path(name).stem: int(number) for name, _, number in (line.partition(",") for line in lines)}


def _kept(net: Network, data: Dataset, method: str, numbers: dict[str, int], folder: Path) -> Path:
    """A folder with the map of each photo's true class."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [i for i, a in enumerate(data.annotations) if not (folder / f"{a.source}.npy").exists()]
    for start in range(0, len(missing), 16):
        rows = missing[start : start + 16]
        x = net.preprocess([data.images[i] for i in rows])
        target = [numbers[data.annotations[i].source] for i in rows]
        for i, map in zip(rows, METHODS[method].maps(net, x, target=target)):
            path = folder / f"{data.annotations[i].source}.npy"
            with atomic_write(path) as temporary, open(temporary, "wb") as file:
                np.save(file, map)
    return folder
