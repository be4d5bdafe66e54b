"""Top-1 and top-5 of networks with real weights on photos of known classes, at their published entry.

    python -m scripts.benchmark classifiers --shared FOLDER

Photos lie in FOLDER/data/imagenet_photos, named WNID_*.JPEG beside classes.csv; weights in FOLDER/weights.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from saliency import load_network, report
from saliency.errors import InputError
from saliency.models.classes import read_classes
from saliency.photos import as_photo
from saliency.scores import logits
from scripts import cli


@dataclass(frozen=True)
class Options:
    """How often networks are right."""

    networks: tuple[str, ...] = ("squeezenet1_1", "efficientnet_lite0")
    shared: Path | None = None
    """Folder of real weights and photos (default: the variable SALBOX_SHARED)."""
    out: Path = Path("runs/benchmark/classifiers.json")


def main(options: Options) -> int:
    shared = options.shared or Path(os.environ.get("SALBOX_SHARED", ""))
    folder = shared / "data" / "imagenet_photos"
    files = sorted(folder.glob("*.JPEG"))
    if not files:
        raise InputError(f"{folder}: holds no photos; --shared must name the folder with real weights and photos")
    names = read_classes(folder / "classes.csv")
    indices = {wnid: index for index, (wnid, _) in enumerate(names)}
    labels = np.array([indices[file.name.partition("_")[0]] for file in files])
    photos = [as_photo(file) for file in files]
    results, digests = {}, []
    for name in options.networks:
        net = load_network(name, shared / "weights" / f"{name}.safetensors")
        order = np.argsort(-logits(net, net.preprocess(photos)), axis=1)
        digests.append(net.digest)
        results[name] = {
            "photos": len(files),
            "top1": int((order[:, 0] == labels).sum()),
            "top5": int((order[:, :5] == labels[:, None]).any(1).sum()),
            "entry": net.preprocess.record(),
        }
        print(f"{name}: {results[name]['top1']} / {results[name]['top5']} of {len(files)}", flush=True)
    origin = report.record(options, 0, report.content_hash(*digests, *(file.name for file in files)), cli.command())
    report.write_json(options.out, {**origin, "results": results})
    return 0
