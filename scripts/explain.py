"""One photo, one classifier: what it says, and where it looked.

    python -m scripts.explain cat.jpg                         EfficientNet-Lite0, which the extra `photos` brings
    python -m scripts.explain cat.jpg dog.jpg --target "tabby" --methods gradient-max occlusion rise
    python -m scripts.explain cat.jpg --network squeezenet1_1 --weights squeezenet1_1.pth --classes names.txt

Writes OUT/NAME.png for each photo (its likeliest classes, each map over it with a box, passes and seconds), and all
of them on OUT/report.html.
"""

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from saliency.options.methods import Options as MethodOptions
from scripts import cli

HEURISTIC = {"sigma": 4.0, "share": 0.15, "component": True}  # of a 224 px input; nothing is learned


@dataclass(frozen=True)
class Options:
    """Explain a classifier's view of photos."""

    photos: tyro.conf.Positional[tuple[Path, ...]]
    """Image files."""
    net: tyro.conf.OmitArgPrefixes[cli.NetworkOptions] = field(
        default_factory=lambda: cli.NetworkOptions("efficientnet_lite0")
    )
    methods: tuple[str, ...] = ("gradient-max", "grad-cam", "occlusion")
    """Names of the menu, which `python -m scripts.compare --list` explains."""
    target: str | None = None
    """The class to explain, by its name or index (default: the predicted one)."""
    settings: MethodOptions = field(default_factory=MethodOptions)
    """What the methods share."""
    open: bool = False
    """Show the page in a browser at the end."""
    out: Path = Path("runs/explain")
    compile_cache: cli.Cache = None
    """Folder of compiled programs, or off (default: salbox's own in the user's folder for caches)."""
    quiet: bool = False


def main(options: Options) -> int:
    from localization.heuristics import Heuristic
    from saliency._files import check_writable
    from saliency.errors import InputError
    from saliency.explanation import explain
    from saliency.models.classes import class_or_index

    if not options.photos:
        raise InputError("give at least one photo")
    check_writable(options.out)
    net = options.net.load()
    target = None if options.target is None else class_or_index(options.target, net.classes)
    side = min(net.preprocess.size) / 224
    heuristic = Heuristic(HEURISTIC["sigma"] * side, HEURISTIC["share"], bool(HEURISTIC["component"]))
    with cli.as_options(options), cli.progress("map", options.quiet) as progress:
        found = explain(
            net, options.photos, methods=options.methods, target=target, boxes=heuristic.predict,
            options=options.settings, progress=progress,
        )  # fmt: skip
        page = found.save(options.out, command=cli.command())
    pictures = ", ".join(str(options.out / f"{one.name}.png") for one in found.photos[:5])
    print(f"{found.table()}\npictures: {pictures}{' and more' * (len(found.photos) > 5)}\nreport: {page}")
    if options.open:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
    return 0


if __name__ == "__main__":
    cli.start(main, Options)
