"""The pictures of docs/methods.md: every method of the menu that suits `scenes_cnn`, on one embedded scene.

    python -m scripts.picture_methods

One picture a family in docs/methods, and menu.json, which says what is on them; tests/test_docs_pages.py tells when a
method is missing and this has to be run again. No photo from elsewhere is used.
"""

import io
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from localization.datasets import load
from saliency._reading import read_json
from saliency.errors import InputError
from saliency.maps.status import status
from saliency.methods import FAMILIES, by_family
from saliency.methods import Options as MethodOptions
from saliency.models.weights import load_network
from saliency.pictures import overlay
from saliency.report import lossy, write_bytes, write_json
from scripts import cli

COLUMNS, SIDE = 6, 1.55  # pictures in a row, inches each
SCENE = 3  # of the embedded test scenes


@dataclass(frozen=True)
class Options:
    """Draw every method of the menu on one embedded scene, for the docs."""

    out: Path = Path("docs/methods")
    families: tuple[str, ...] = FAMILIES
    """Families to draw anew; the others' pictures stay."""
    methods: MethodOptions = field(default_factory=lambda: MethodOptions(samples=25, steps=50, masks=512))
    compile_cache: cli.Cache = None
    quiet: bool = False


def main(options: Options) -> int:
    net = load_network("scenes_cnn")
    photo = load("scenes", split="test", limit=SCENE + 1).images[SCENE]
    x = net.preprocess(np.stack([photo]))
    drawn: dict[str, list[str]] = {}
    if (options.out / "menu.json").is_file():
        drawn = read_json(options.out / "menu.json")["drawn"]
    for family, methods in by_family().items():
        if family not in options.families:
            continue
        pictures = {}
        for method in methods:
            try:
                maps = method.maps(net, x, options=options.methods)
            except InputError as error:  # it does not suit this network, or an extra is missing
                print(f"{method.name}: left out, {error}", file=sys.stderr)
                continue
            if status(maps)[0] == "ok":
                pictures[method.name] = np.asarray(overlay(photo, maps[0], signed=method.sign == "signed"))
        if pictures:
            write_bytes(options.out / f"{family.replace(' ', '_')}.jpg", sheet(photo, pictures))
            drawn[family] = list(pictures)
    drawn = {family: drawn[family] for family in FAMILIES if family in drawn}
    write_json(options.out / "menu.json", {"scene": SCENE, "network": net.name, "drawn": drawn})
    print(f"{sum(map(len, drawn.values()))} methods in {options.out}")
    return 0


def sheet(photo: np.ndarray, pictures: dict[str, np.ndarray]) -> bytes:
    """The photo and the pictures side by side, each with its name above."""
    shown = {"the scene": photo, **pictures}
    rows = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(COLUMNS * SIDE, rows * (SIDE + 0.25)), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for one in axes:
        one.set_axis_off()
    for one, (name, picture) in zip(axes, shown.items()):
        one.imshow(picture)
        one.set_title(name, fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return lossy(buffer.getvalue())


if __name__ == "__main__":
    cli.start(main, Options)
