"""Slide a mask over photos and report how one classifier depends on their parts (Zeiler & Fergus 2014).

For every photo: top-5 table, probability against the mask's size, probability and predicted class by position, drop
maps and overlays, how far the maps hang on fill and size, interactions of windows; for named regions: sign change and
correspondence of features. Everything lands in `--out`: report.html, results.json, positions.csv, regions.csv and a
folder of pictures for each photo. Run again with the same options, it goes on where it stopped.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from saliency.options.zeiler_fergus import Options as Analysis
from scripts import cli


@dataclass(frozen=True)
class Options:
    """Occlusion analysis of one classifier and a few photos."""

    photos: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Image files or folders of them; without any, scenes of the embedded data set are taken."""
    images: Path | None = None
    """One more photo, or folder of photos."""
    limit: int | None = None
    """So many photos of each folder, drawn from the seed (default: all)."""
    strict: bool = False
    """Stop at a photo that cannot be read, where in a folder others are listed and left out."""
    net: tyro.conf.OmitArgPrefixes[cli.NetworkOptions] = field(default_factory=cli.NetworkOptions)
    target: str = "rank:1"
    """Class to follow: rank:K on the untouched photo, a class index, or a class name."""
    masks: tyro.conf.OmitArgPrefixes[Analysis] = field(default_factory=Analysis)
    region: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """name=x0,y0,x1,y1 in pixels of the photo, or with % signs in percent of what the network sees; for all photos."""
    regions: Path | None = None
    """JSON {photo: {name: [x0, y0, x1, y1]}} or CSV with photo (empty: all), name, x0, y0, x1, y1; photo pixels."""
    scenes: int = 3
    """How many scenes, where no photos are given."""
    out: Path = Path("out/analyze_occlusion")
    compile_cache: cli.Cache = None
    """Folder of compiled programs, or off (default: salbox's own in the user's folder for caches)."""
    quiet: bool = False


def main(options: Options) -> int:
    from saliency._files import check_writable, require_all
    from saliency.report import listed_notes
    from saliency.zeiler_fergus import analyze_occlusion, parse_region, read_regions

    check_writable(options.out)
    net = options.net.load()
    photos, known = load_photos(options, net.classes)
    regions = [parse_region(text, "--region") for text in options.region] if options.masks.draws else []
    regions += read_regions(options.regions) if options.regions and options.masks.draws else []
    with require_all(), cli.progress("mask", options.quiet) as progress:
        found = analyze_occlusion(
            net, photos, target=options.target, regions=regions, options=options.masks,
            folder=options.out, progress=progress, **known,
        )  # fmt: skip
        found.save(options.out, command=cli.command(), config=cli.recorded(options))
    if not options.quiet:
        print(*found.conclusion, *listed_notes(found.notes, 5), f"report: {options.out / 'report.html'}", sep="\n")
    return 0


def load_photos(options: Options, classes: tuple[str, ...]) -> tuple[list, dict]:
    """The photos, or scenes; and what is known of them: names, labels, boxes, notes."""
    from localization.photos import named_photos, scene_photos
    from saliency.models.classes import read_classes

    seed, paths = options.masks.seed, [*options.photos, *([options.images] if options.images else [])]
    if not paths:
        return scene_photos(options.scenes, seed)
    index = read_classes(options.net.classes or classes) if options.net.classes or classes else None
    return named_photos(paths, index, limit=options.limit, seed=seed, strict=options.strict)


if __name__ == "__main__":
    cli.start(main, Options)
