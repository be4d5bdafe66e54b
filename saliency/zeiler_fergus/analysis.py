"""How one classifier depends on the parts of photos: the whole analysis as one function, and its result."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saliency._checks import folder as as_folder
from saliency._checks import function, kind_of, texts
from saliency._progress import ProgressCounter
from saliency.maps.gradient import Progress
from saliency.models.network import Network
from saliency.report import content_hash, fragment, record
from saliency.zeiler_fergus.measuring import Options, PhotoAnalysis, all_windows, filling, measure
from saliency.zeiler_fergus.regions import RegionRow, feature_layers, region_table
from saliency.zeiler_fergus.report import (
    Boxes,
    conclusion,
    namer,
    photo_record,
    position_records,
    region_records,
    summary_section,
    summary_table,
    write_report,
)
from saliency.zeiler_fergus.subjects import Corner, Photo, Region, as_regions, load_subjects, place_regions


@dataclass(frozen=True, eq=False)
class OcclusionAnalysis:
    """What `analyze_occlusion` found: `photos`, each with its sweeps, and `regions`, where they were measured."""

    net: Network
    options: Options
    photos: list[PhotoAnalysis]
    boxes: Mapping[str, Boxes]
    regions: list[RegionRow]
    notes: list[str]
    seconds: float

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row for every photo, fill, mask and position: `probability` of the target, `drop`, `predicted` class."""
        names = namer(self.net)
        return [row for one in self.photos for row in position_records(one, names)]

    @property
    def conclusion(self) -> list[str]:
        """Three sentences, as the page begins with them."""
        return conclusion(self.photos, namer(self.net))

    def table(self) -> str:
        """The first table of the page as text: probabilities of the target by photo, fill and size of the mask."""
        table = summary_table(self.photos, namer(self.net))
        lines = [
            [f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in line]
            for line in (table.columns, *table.rows)
        ]
        widths = [max(map(len, column)) for column in zip(*lines)]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)

    def save(self, folder: Path | str, *, command: str = "", config: object = None) -> None:
        """Write positions.csv, regions.csv, results.json, the pictures and, last, report.html.

        `command` and `config` say where the figures come from (default: the options alone).
        """
        inputs = content_hash(self.net.digest, *(one.subject.x for one in self.photos))
        names = namer(self.net)
        result = {
            **record(self.options if config is None else config, self.options.seed, inputs, command),
            "network": {
                "name": self.net.name,
                "digest": self.net.digest,
                "preprocessing": self.net.preprocess,
                "layers": self.options.layers,
            },
            "conclusion": self.conclusion,
            "notes": self.notes,
            "photos": [photo_record(one, names) for one in self.photos],
            "regions": list(region_records(self.regions)),
            "seconds": self.seconds,
        }
        write_report(Path(folder), self.net, self.options, self.photos, self.boxes, self.regions, result, self.notes)

    def _repr_html_(self) -> str:
        text = "\n".join(self.conclusion)
        return fragment([summary_section(None, self.photos, namer(self.net), f"{self.net.name} under masks", text)])


def analyze_occlusion(
    net: Network,
    photos: Sequence[Photo],
    *,
    target: str | int = "rank:1",
    names: Sequence[str] | None = None,
    labels: Sequence[str | None] | None = None,
    boxes: Sequence[Sequence[float] | None] | None = None,
    regions: Mapping[str, Sequence[Corner]] | Sequence[Region] = (),
    options: Options | None = None,
    notes: Sequence[str] = (),
    folder: Path | str | None = None,
    progress: Progress | None = None,
) -> OcclusionAnalysis:
    """Slide masks of several sizes and fills over photos, and measure what the classifier makes of each position.

    `photos` are paths, Pillow images or arrays uint8 `[h, w, 3]`. `target` is the class to follow: "rank:K" on the
    untouched photo, an index or a class name. `names`, `labels` and `boxes` (`x0 y0 x1 y1` of the object in the photo's
    pixels) are one for each photo, where they are known. `regions` are `{name: (x0, y0, x1, y1)}` in the photos' pixels
    or `Region` objects (default: thirds of the input, and the objects' boxes). `notes` say what was left out before.

    With a `folder`, what was measured on each photo is kept in `folder/photos`, found again by the content of all that
    entered it. `progress(done, total)` counts masks. Raises InputError for photos that cannot be read, masks that do
    not fit the input, unknown classes, fills and layers, and regions outside what the network sees; nothing is written
    then.

    Source: Zeiler & Fergus 2014, section 4 and figure 7; "Occlusion Sensitivity Analysis of AlexNet using MATLAB
    Natural Images" for mask sizes and the feature sign change.

    >>> import saliency
    >>> net, photo = saliency.load_network("scenes_cnn"), np.full((80, 120, 3), 90, np.uint8)
    >>> masks = Options(sizes=(48,), stride=48, fills=("grey",), draws=0, windows=0, engine="dense")
    >>> len(analyze_occlusion(net, [photo], options=masks).rows)  # one for each position
    4
    """
    start = time.perf_counter()
    options = options or Options()
    kind_of("net", net, Network, "as load_network gives it")
    kind_of("options", options, Options, "masks and what fills them")
    function("progress", progress, "(done, total)")
    texts("notes", notes)
    path = as_folder("folder", folder)
    subjects = load_subjects(net, photos, target, names=names, labels=labels, boxes=boxes)
    sizes = all_windows(options, subjects[0].seen.shape[:2])
    given = as_regions(regions)
    placed = place_regions(given, subjects) if options.draws else {}
    # all of them now, so that a bad one is found before anything is measured
    filled = [{s.name: filling(options, net, s, fill) for s in subjects} for fill in options.fills]
    rows = (
        region_table(
            net,
            {s.name: s.x for s in subjects},
            filled[0],
            placed,
            options.layers or feature_layers(net.architecture),
            draws=options.draws,
            seed=options.seed,
        )
        if options.draws
        else []
    )
    total = len(subjects) * len(options.fills) * sum(len(windows.positions) for windows in sizes)
    advance = ProgressCounter(progress, total).advance
    found = [measure(options, net, subject, sizes, path, advance) for subject in subjects]
    return OcclusionAnalysis(net, options, found, placed, rows, list(notes), time.perf_counter() - start)
