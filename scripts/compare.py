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
from typing import TYPE_CHECKING

import tyro

from localization.comparison.options import DEFAULT_METHODS, CompareOptions
from saliency.errors import InputError
from scripts import cli

if TYPE_CHECKING:
    from localization.datasets import Dataset

SCENES = {"train": 1000, "test": 500}  # of the embedded data set, where no number is given


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
    from localization.comparison import compare
    from localization.listing import listing
    from saliency._checks import whole
    from saliency._files import check_writable

    if options.list:
        print(listing())
        return 0
    check_writable(options.out)
    whole("--n-train", options.n_train, least=20, optional=True)
    named_maps, named_boxes = cli.named_paths("--maps", options.maps), cli.named_paths("--boxes", options.boxes)
    if options.networks:
        return several(options)
    net = options.network.load()
    data, train = read(options)
    with cli.as_options(options), cli.progress("map", options.quiet) as progress:
        found = compare(
            net, data, train, methods=options.methods, maps=named_maps, boxes=named_boxes,
            box_format=options.box_format, bundles=options.bundle, classes=options.network.classes,
            options=options.compare, folder=options.out, progress=progress, command=cli.command(),
        )  # fmt: skip
    if found.reused:
        print(f"this run is complete already; remove {options.out / 'results.json'} to do it again")
    print("\n".join([found.table(), "", *found.notes, f"report: {options.out / 'report.html'}"]))
    return 0


def several(options: Options) -> int:
    """Several networks, on one page, each with a page of its own."""
    from localization.comparison import compare_networks
    from localization.comparison.networks import answer

    if options.maps or options.boxes or options.bundle:
        raise InputError(
            "--maps and --boxes are of no network, and --bundle is of one: compare them under one, by --network"
        )
    nets = options.network.several(options.networks)
    data, train = read(options)
    with cli.as_options(options), cli.progress("map", options.quiet) as progress:
        found = compare_networks(
            nets, data, train, methods=options.methods, classes=options.network.classes, options=options.compare,
            folder=options.out, progress=progress, command=cli.command(),
        )  # fmt: skip
    print("\n".join([found.table(), "", *found.notes, answer(found.results), f"report: {options.out / 'report.html'}"]))
    return 0


def read(options: Options) -> "tuple[Dataset, Dataset | None]":
    """What is scored, and what is learned from; None where that is cross-fitted, or nothing."""
    data, seed, scored = options.data, options.compare.settings.seed, options.compare.n_test
    sizes = SCENES if data.images is None and data.dataset == "scenes" else {}
    learned = {"--train-split": options.train_split, "--n-train": options.n_train}
    told = [name for name, value in learned.items() if value is not None]
    if told and options.compare.folds is not None:
        raise InputError(
            f"--folds learn from the split that is scored, each from the others: leave {told[0]} or --folds out"
        )
    if data.images is not None and (told or options.compare.folds is not None):
        raise InputError(
            f"--images takes photos without boxes, from which nothing is learned: leave {[*told, '--folds'][0]} out"
        )
    if data.images is not None:
        return data.load(seed=seed, limit=scored), None
    if options.compare.folds is None:
        test = data.load(seed=seed, limit=scored or sizes.get("test"))
        try:
            limit = options.n_train or sizes.get("train")
            return test, data.load(options.train_split or "train", seed=seed, limit=limit)
        except InputError as error:
            if options.train_split is not None:
                raise
            print(f"no training split ({error}): boxes are learned in folds; or name a --train-split")
    return data.load(seed=seed, limit=sizes.get("test")), None  # what folds do not score they learn from


if __name__ == "__main__":
    cli.start(main, Options)
