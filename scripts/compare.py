"""The main job: the same photos through every method, its boxes, figures and cost, on one page.

    python -m scripts.compare                      scenes and their classifier, offline, in minutes
    python -m scripts.compare --network squeezenet1_1 --weights FILE --images PHOTO_OR_FOLDER
    python -m scripts.compare --dataset folder --data-root FOLDER_WITH_BOXES_CSV --folds 10 --network ... --weights FILE
    python -m scripts.compare --networks squeezenet1_1=FILE efficientnet_lite0=FILE --dataset voc --data-root FOLDER
    python -m scripts.compare --list

A run that was killed goes on where it was; a complete one is shown again.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro

from localization.comparison.options import DEFAULT_METHODS, CompareOptions
from saliency.errors import InputError
from scripts import cli


@dataclass(frozen=True)
class Options:
    """Compare saliency methods on the same images: maps, boxes, CorLoc, cost, one report."""

    network: tyro.conf.OmitArgPrefixes[cli.NetworkOptions] = field(default_factory=cli.NetworkOptions)
    networks: tuple[str, ...] = ()
    """Several classifiers on the same photos, each NAME=FILE or NAME (its weights NAME.safetensors in the folder that
    --weights then is, or its own); instead of --network."""
    data: tyro.conf.OmitArgPrefixes[cli.DataOptions] = field(default_factory=cli.DataOptions)
    train_split: str | None = None
    """Split whose boxes are learned from (default: train)."""
    n_train: int | None = None
    """Training photos, drawn with the seed (default: 1000 scenes, all of another data set)."""
    methods: tuple[str, ...] = DEFAULT_METHODS
    """Names from --list, alone or in wrappers, "flip(grad-cam)"; all: every method with maps that suits the network."""
    maps: tuple[str, ...] = ()
    """Maps of another tool: NAME=FOLDER, with an .npy or .npz for each image id, over the whole photo."""
    boxes: tuple[str, ...] = ()
    """Boxes of another tool: NAME=FILE.csv with columns image,x0,y0,x1,y1 and perhaps label, score."""
    box_format: str | None = None
    """The numbers of --boxes: xyxy (default), xywh, cxcywh, or one of these after normalised-."""
    bundle: tuple[Path, ...] = ()
    """Files of what was learned on another data set, from features compared here (--keep-bundles, fit_boxes)."""
    compare: tyro.conf.OmitArgPrefixes[CompareOptions] = field(default_factory=CompareOptions)
    out: Path = Path("runs/compare")
    compile_cache: cli.Cache = None
    """Folder of compiled programs, or off (default: salbox's own in the user's folder for caches)."""
    quiet: bool = False
    list: bool = False
    """Say what each method does, and stop."""


def main(options: Options) -> int:
    from localization.comparison import compare, compare_networks
    from localization.listing import listing
    from saliency._files import check_writable

    if options.list:
        print(listing())
        return 0
    check_writable(options.out)
    maps, boxes = cli.named_paths("--maps", options.maps), cli.named_paths("--boxes", options.boxes)
    if options.networks and (maps or boxes or options.bundle):
        raise InputError(
            "--maps and --boxes are of no network, and --bundle is of one: compare them under one, by --network"
        )
    net = options.network.several(options.networks) if options.networks else options.network.load()
    how, seed = options.compare, options.compare.settings.seed
    data, train = options.data.scored_and_learned(
        options.train_split, options.n_train, n_test=how.n_test, folds=how.folds, seed=seed
    )
    with cli.as_options(options), cli.progress("map", options.quiet) as progress:
        shared: dict[str, Any] = {
            "methods": options.methods, "classes": options.network.classes, "options": how,
            "folder": options.out, "progress": progress, "command": cli.command(),
        }  # fmt: skip
        found = compare_networks(net, data, train, **shared) if isinstance(net, dict) else compare(
            net, data, train, maps=maps, boxes=boxes, box_format=options.box_format, bundles=options.bundle, **shared
        )  # fmt: skip
    if found.reused:
        print("this run is complete already; another --out does it again")
    print("\n".join([found.table(), "", *found.notes, f"report: {options.out / 'report.html'}"]))
    return 0


if __name__ == "__main__":
    cli.start(main, Options)
