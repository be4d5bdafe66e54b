"""The pictures of docs/methods.md: every method of the menu that suits `scenes_cnn`, on one embedded scene.

    python -m scripts.picture_methods

One picture a family in docs/methods, and menu.json, which says what is on them; tests/test_docs_pages.py tells when a
method is missing and this has to be run again. No photo from elsewhere is used.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from localization.datasets import load
from saliency._reading import read_json
from saliency.errors import InputError
from saliency.gallery import show
from saliency.maps.status import status
from saliency.methods import FAMILIES, by_family
from saliency.methods import Options as MethodOptions
from saliency.models.weights import load_network
from saliency.pictures import overlay
from saliency.report import lossy, png, write_bytes, write_json
from scripts import cli

COLUMNS = 6  # pictures in a row
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
            figure = show([photo, *pictures.values()], titles=["the scene", *pictures], columns=COLUMNS)
            write_bytes(options.out / f"{family.replace(' ', '_')}.jpg", lossy(png(figure)))
            drawn[family] = list(pictures)
    drawn = {family: drawn[family] for family in FAMILIES if family in drawn}
    write_json(options.out / "menu.json", {"scene": SCENE, "network": net.name, "drawn": drawn})
    print(f"{sum(map(len, drawn.values()))} methods in {options.out}")
    return 0


if __name__ == "__main__":
    cli.start(main, Options)
