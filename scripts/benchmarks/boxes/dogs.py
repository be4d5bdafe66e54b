"""Ten classes of ILSVRC's dogs by the protocols of weakly supervised localization, SqueezeNet's maps and channels."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from localization.datasets import Dataset, load
from localization.evaluation import Evaluation, EvaluationOptions, evaluate
from localization.metrics import best_iou, hits
from localization.options.evaluation import Route
from localization.statistics import mcnemar_exact, paired_difference
from saliency import report
from saliency._files import atomic_write
from saliency._reading import read_json
from saliency.methods import METHODS
from saliency.models.network import Network
from saliency.models.weights import load_network
from saliency.report.record import plain

NETWORK = "squeezenet1_1"
MAPS = ("gradient-max", "grad-cam")
THRESHOLDED = ("maxboxacc", "maxboxacc-v2")
ROUTES: tuple[Route, ...] = ("heuristic", "Eq. 4", "linear map")
FOLDS = 10
CHANNELS = "channels"
AT_ONCE = 16


def ilsvrc_dogs(shared: Path, cache: Path, quiet: bool) -> dict[str, Any]:
    """Rows of one method, protocol and route (for maxboxacc and its V2: whose threshold) each, in ten folds.

    gt-known and the two that score thresholded maps take the map of the true class, top1-loc that of the predicted
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
    digest = report.content_hash(net.digest, data.digest, FOLDS)[:16]
    folder = cache / f"ilsvrc_dogs-{digest}"
    folder.mkdir(parents=True, exist_ok=True)

    def kept(name: str, make: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """Rows that are made once: a run that was stopped goes on."""
        path = folder / f"{name.replace(' ', '_')}.json"
        if not path.exists():
            report.write_json(path, {"rows": plain(make())})
        rows = read_json(path)["rows"]
        for row in rows:
            print(
                f"ilsvrc_dogs {row['method']:14} {row['protocol']:14} {row['route']:28} {row['value']:.1%}", flush=True
            )
        return rows

    def thresholded(method: str, protocol: str) -> list[dict[str, Any]]:
        maps = _maps(net, data, method, numbers, folder / method, quiet)
        found = evaluate(data, maps=maps, options=EvaluationOptions(protocol=protocol, folds=FOLDS))
        return [_row(method, protocol, row["threshold"], row) for row in found.rows]

    def known(method: str) -> list[dict[str, Any]]:
        maps = _maps(net, data, method, numbers, folder / method, quiet)
        found = {
            route: evaluate(data, maps=maps, options=EvaluationOptions(protocol="gt-known", folds=FOLDS, route=route))
            for route in ROUTES
        }
        heuristic = found[ROUTES[0]]
        rows = [_row("no photo", "gt-known", row["method"], row) for row in heuristic.rows[:-1]]
        for route, one in found.items():
            paired = {} if one is heuristic else {"paired": _paired(one, heuristic)}
            rows.append({**_row(method, "gt-known", route, one.rows[-1]), **paired})
        return rows if method == MAPS[0] else rows[-len(ROUTES) :]

    def learned(method: str, protocol: str) -> list[dict[str, Any]]:
        options = EvaluationOptions(protocol=protocol, folds=FOLDS, method=method, route="linear map")
        found = evaluate(data, net=net, classes=names, options=options)
        return [_row(method, protocol, "linear map", found.rows[-1])]

    rows: list[dict[str, Any]] = []
    rows += kept("channels gt-known", lambda: learned(CHANNELS, "gt-known"))
    for method in MAPS:
        rows += kept(f"{method} gt-known", partial(known, method))
    for method in (*MAPS, CHANNELS):
        rows += kept(f"{method} top1-loc", partial(learned, method, "top1-loc"))
    for protocol in THRESHOLDED:
        for method in MAPS:
            rows += kept(f"{method} {protocol}", partial(thresholded, method, protocol))
    return {"n": len(data), "folds": FOLDS, "network": NETWORK, "inputs": digest, "figures": rows}


def _row(method: str, protocol: str, route: str, row: dict[str, Any]) -> dict[str, Any]:
    figure = row["figure"]
    kept: dict[str, Any] = {key: row[key] for key in row.keys() & {"small", "chosen"}}
    shares = {"value": figure["value"], "low": figure["low"], "high": figure["high"]}
    return {"method": method, "protocol": protocol, "route": route, **shares, **kept}


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


def _maps(net: Network, data: Dataset, method: str, numbers: dict[str, int], folder: Path, quiet: bool) -> Path:
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
