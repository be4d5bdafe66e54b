"""Does the shape of what hides an image matter, and does training with occlusions help?

    python -m scripts.robustness                   trains small classifiers on moving digits and hides parts of them
    python -m scripts.robustness --localization    and asks whether augmentation makes gradient maps localize better
    python -m scripts.robustness --network squeezenet1_1 --weights FILE --images FOLDER --classes FILE

The last asks the first question of a pretrained classifier: a photo's name or folder says its class, by a leading wnid,
or a folder by the class's name. Finished parts are kept in OUT/parts, so a run that was killed goes on where it was.
"""

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from localization.options.digits import Training
from saliency.errors import InputError
from saliency.options.robustness import AUGMENTATIONS
from saliency.options.robustness import Options as Masks
from scripts import cli


@dataclass(frozen=True)
class Options:
    """How masks of different shapes break a classifier, and what training with occlusions does about it."""

    masks: tyro.conf.OmitArgPrefixes[Masks] = field(default_factory=Masks)
    training: tyro.conf.OmitArgPrefixes[Training] = field(default_factory=lambda: Training(AUGMENTATIONS))
    localization: bool = False
    """Fine-tune the scenes classifier with each augmentation, and compare CorLoc of gradient + linear map."""
    tune_scenes: int = 3000
    """Scenes of that fine-tuning, gone through once."""
    map_scenes: tuple[int, int] = (500, 500)
    """Training scenes of the linear map, and test scenes."""
    images: Path | None = None
    """Folder of photos to ask a pretrained classifier about instead: nothing is trained."""
    net: tyro.conf.OmitArgPrefixes[cli.NetworkOptions] = field(default_factory=cli.NetworkOptions)
    limit: int | None = None
    """Take so many of the photos only."""
    strict: bool = False
    """Stop at a photo that cannot be read, where others are listed and left out."""
    out: Path = Path("runs/robustness")
    compile_cache: cli.Cache = None
    """Folder of compiled programs, or off (default: salbox's own in the user's folder for caches)."""
    quiet: bool = False


def main(options: Options) -> int:
    from localization.datasets import load
    from localization.robustness import augmented_corloc, corloc_section, evaluate_digits, evaluate_photos
    from saliency._files import check_writable, require_all
    from saliency.report import listed_notes

    if options.images is None and options.net != cli.NetworkOptions():
        raise InputError("--network and --images go together: a pretrained classifier and a folder of photos for it")
    if options.images and options.localization:
        raise InputError("--localization fine-tunes the scenes classifier: run it without --images")
    check_writable(options.out)
    parts = options.out / "parts"
    with cli.as_options(options), require_all(), cli.progress("step", options.quiet) as progress:
        if options.images:
            net = options.net.load()
            seed, strict = options.masks.seed, options.strict
            photos = load("folder", options.images, limit=options.limit, seed=seed, decode=True, strict=strict)
            found = evaluate_photos(net, photos, options.net.classes, options.masks, folder=parts, progress=progress)
        else:
            found = evaluate_digits(options.training, options.masks, folder=parts, progress=progress)
        rows, sections = [], []
        if options.localization:
            rows = augmented_corloc(
                options.training.augmentations, tune_scenes=options.tune_scenes, map_scenes=options.map_scenes,
                seed=options.masks.seed, folder=parts, progress=progress,
            )  # fmt: skip
            sections = [corloc_section(rows, options.map_scenes, options.out)]
        found.save(
            options.out, command=cli.command(), config=cli.recorded(options), extra={"localization": rows},
            sections=sections,
        )  # fmt: skip
    notes = listed_notes(found.results["notes"], 5)
    print(*found.conclusion, *notes, f"report: {options.out / 'report.html'}", sep="\n")
    return 0


if __name__ == "__main__":
    cli.start(main, Options)
