"""Score boxes on a data set as it lies on disk, by a named protocol, with intervals and the published rows beside.

    python -m scripts.evaluate --dataset voc --data-root VOCdevkit/VOC2007 --split test --check
    python -m scripts.evaluate --dataset voc --data-root VOCdevkit/VOC2007 --split test --train-split trainval \
        --protocol paper-voc07 --network vgg16 --weights FILE
    python -m scripts.evaluate --dataset wsol --data-root DIR --maps SCOREMAPS --protocol wsol

Boxes come from a CSV, from a folder of maps, or from a network's maps: through a saved linear map or coverage map
(`--bundle`, which knows how its maps were made), or through what is learned on `--train-split` or in `--folds`
(`--route`: "linear map", "Eq. 4" or heuristic). Without any of these the baselines alone are scored.
"""

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from localization.options.evaluation import EvaluationOptions
from saliency.errors import InputError
from scripts import cli


@dataclass(frozen=True)
class Options:
    """Score boxes or maps on a data set."""

    data: tyro.conf.OmitArgPrefixes[cli.DataOptions] = field(default_factory=cli.DataOptions)
    train_split: str | None = None
    """Split whose boxes may be learned from (scenes: train)."""
    boxes: Path | None = None
    """Boxes to score: CSV image,x0,y0,x1,y1 and perhaps label, in the photos' pixels."""
    box_format: str | None = None
    """Its four numbers: xyxy (default), xywh, cxcywh, or one of these after normalised-."""
    maps: Path | None = None
    """Maps to score: IMAGE.npy for each image id, float [h, w] over the whole photo."""
    net: tyro.conf.OmitArgPrefixes[cli.NetworkOptions] = field(default_factory=lambda: cli.NetworkOptions(None))
    bundle: Path | None = None
    """A saved linear map or coverage map: unless told otherwise, maps are made as they were for it."""
    scoring: tyro.conf.OmitArgPrefixes[EvaluationOptions] = field(default_factory=EvaluationOptions)
    check: bool = False
    """Only read the data set, decode every photo, and say what was repaired or left out."""
    strict: bool = False
    """Stop at the first photo that cannot be decoded, instead of listing it."""
    out: Path = Path("runs/evaluate")
    compile_cache: cli.Cache = None
    """Folder of compiled programs, or off (default: salbox's own in the user's folder for caches)."""
    quiet: bool = False


def main(options: Options) -> int:
    from localization.evaluation import evaluate
    from localization.regression import entry_of, load_bundle
    from saliency._files import check_writable

    with cli.as_options(options, net="--network", linear="--bundle", train="--train-split"):
        check_writable(options.out)
        if options.data.images:
            raise InputError("--images has no boxes to score by: give --dataset folder, whose boxes.csv has them")
        seed = options.scoring.seed
        test = options.data.load(seed=seed)
        if options.check:
            test = test.decodable(strict=options.strict)
            print("\n".join([test.summary(), *(f"    {note}" for note in test.notes)]))
            return 0
        linear = load_bundle(options.bundle) if options.bundle and options.net.network else None
        net = options.net.load(entry_of(linear)) if options.net.network else None
        train = options.data.training(options.train_split, options.scoring.folds, seed)
        with cli.progress("photo", options.quiet) as progress:
            result = evaluate(
                test, boxes=options.boxes, box_format=options.box_format, maps=options.maps, net=net,
                linear=linear or options.bundle, classes=options.net.classes, train=train,
                options=options.scoring, strict=options.strict, progress=progress,
            )  # fmt: skip
        written = result.save(options.out, command=cli.command())
    print(f"{result.table()}\nresults: {written}")
    return 0


if __name__ == "__main__":
    cli.start(main, Options)
