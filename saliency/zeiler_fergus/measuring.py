"""What is measured on one photo: masks of every size with every fill, and the windows that matter together."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from saliency._files import atomic_write
from saliency._fills import fill_text, parse_fill
from saliency._reading import read_arrays
from saliency.errors import InputError
from saliency.maps.ranks import rank_correlations
from saliency.models.network import Network
from saliency.occlusion import Windows, fill_images
from saliency.options.zeiler_fergus import Options
from saliency.report import content_hash
from saliency.scores import Score, score_values
from saliency.zeiler_fergus.interactions import interactions, separate
from saliency.zeiler_fergus.subjects import Subject
from saliency.zeiler_fergus.sweep import Sweep, sweep

SCHEMA = 3  # of what is kept on disk: another number where the code's meaning of it has changed


@dataclass(frozen=True, eq=False)
class PhotoAnalysis:
    """What was measured on one photo: sweeps by fill, the windows whose interactions were measured, and the time.

    `cover` uint8 `[h, w, 3]` is what shows where the first fill hides.
    """

    subject: Subject
    cover: np.ndarray
    sweeps: Mapping[str, list[Sweep]]
    boxes: np.ndarray
    matrix: np.ndarray
    seconds: float

    @property
    def main(self) -> list[Sweep]:
        """The sweeps with the first fill."""
        return next(iter(self.sweeps.values()))

    @property
    def beside(self) -> dict[str, list[Sweep]]:
        """The sweeps of the first two fills, which the figures show side by side."""
        return dict(list(self.sweeps.items())[:2])

    @property
    def middle(self) -> Sweep:
        return self.main[len(self.main) // 2]

    @property
    def correlations(self) -> tuple[list[tuple[str, int]], np.ndarray]:
        """(fill, size) of each drop map, and the maps' rank correlations."""
        labels = [(fill, one.windows.patch[0]) for fill, sweeps in self.sweeps.items() for one in sweeps]
        maps = np.stack([one.drop_map for sweeps in self.sweeps.values() for one in sweeps])
        return labels, rank_correlations(maps)


def all_windows(options: Options, image: tuple[int, int]) -> list[Windows]:
    """Square masks of every size; by default 20 to 60 px in steps of 10 for an input of 224 px, as in "Occlusion
    Sensitivity Analysis of AlexNet using MATLAB Natural Images", and in proportion for others."""
    stride = max(1, round(min(image) / 22.4)) if options.stride is None else options.stride
    sides = sorted(set(options.sizes)) or [stride * factor for factor in range(2, 7)]
    return [Windows(image, (side, side), (stride, stride)) for side in sides]


def filling(options: Options, net: Network, subject: Subject, fill: str) -> Float[np.ndarray, "h w c"]:
    """What shows where a part of the photo is hidden. Raises InputError for an unknown fill."""
    return fill_images(subject.x[None], parse_fill(fill), net.preprocess, options.seed)[0]


def measure(
    options: Options,
    net: Network,
    subject: Subject,
    sizes: Sequence[Windows],
    folder: Path | None,
    advance: Callable[[int], None],
) -> PhotoAnalysis:
    """All measurements of one photo; `advance(more)` hears of every mask that is done."""
    start = time.perf_counter()
    fills = [fill_text(fill) for fill in options.fills]
    sweeps = {fill: _swept(options, net, subject, fill, sizes, folder, advance) for fill in fills}
    middle = sweeps[fills[0]][len(sizes) // 2]
    chosen = separate(middle.drop, middle.windows, options.windows)
    boxes = np.array([middle.box(i) for i in chosen], int).reshape(-1, 4)
    filled = filling(options, net, subject, fills[0])
    matrix = interactions(
        lambda x: score_values(net, x, Score("log_probability"), np.full(len(x), subject.target)),
        subject.x,
        filled,
        boxes,
    )
    cover = net.preprocess.pixels(filled).round().clip(0, 255).astype(np.uint8)
    return PhotoAnalysis(subject, cover, sweeps, boxes, matrix, time.perf_counter() - start)


def _swept(
    options: Options,
    net: Network,
    subject: Subject,
    fill: str,
    sizes: Sequence[Windows],
    folder: Path | None,
    advance: Callable[[int], None],
) -> list[Sweep]:
    """The sweeps of one photo with one fill, read back where an earlier run with the same input left them."""
    path = None if folder is None else folder / "photos" / subject.name / f"positions_{fill.replace(',', '-')}.npz"
    how = {"schema": SCHEMA, "target": subject.target, "fill": fill, "sizes": sizes, "seed": options.seed}
    key = content_hash(net.digest, net.preprocess, subject.x, how)
    fields = ("probability", "top", "confidence")
    count = sum(len(windows.positions) for windows in sizes)
    if path is not None:
        try:
            known = read_arrays(path)
            if str(known["key"]) == key:
                base = float(known["base"])
                sweeps = [
                    Sweep(windows, subject.target, base, *(known[f"{field}{i}"] for field in fields))
                    for i, windows in enumerate(sizes)
                ]
                advance(count)
                return sweeps
        except (InputError, KeyError):
            pass  # nothing there yet, or not ours: measured anew
    told = 0

    def progress(done: int, total: int) -> None:
        nonlocal told
        advance(done - told)
        told = done

    sweeps = sweep(
        net, subject.x, subject.target, sizes,
        fill=parse_fill(fill), engine=options.engine, seed=options.seed, progress=progress,
    )  # fmt: skip
    if path is not None:
        arrays = {f"{field}{i}": getattr(one, field) for i, one in enumerate(sweeps) for field in fields}
        with atomic_write(path) as temporary:
            np.savez_compressed(temporary, key=key, base=sweeps[0].base, **arrays)
    return sweeps
