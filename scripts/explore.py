"""A live page on this machine: a photo, its maps as they are made, the photo under a hidden window, a box by hand.

python -m scripts.explore --images FOLDER --network NAME --weights FILE
"""

from dataclasses import dataclass, field

import tyro

from scripts import cli


@dataclass(frozen=True)
class Options:
    """Look at photos and their maps in a browser; Ctrl-C ends it. Nothing is written."""

    net: tyro.conf.OmitArgPrefixes[cli.NetworkOptions] = field(default_factory=cli.NetworkOptions)
    data: tyro.conf.OmitArgPrefixes[cli.DataOptions] = field(default_factory=cli.DataOptions)
    open: bool = False
    """Open the page in the browser as well."""


def main(options: Options) -> int:
    from localization.explore import only_inside, serve  # a command line is read before any of this is loaded

    net, data = options.net.load(), options.data.load()
    if options.data.images is not None and options.data.images.is_dir():
        data = only_inside(data, options.data.images)

    def announce(url: str) -> None:
        print(f"{len(data):,} photos at {url}\nOnly this machine can reach it; Ctrl-C ends it.", flush=True)
        if options.open:
            import webbrowser

            webbrowser.open(url)

    serve(net, data, announce)
    return 0


if __name__ == "__main__":
    cli.start(main, Options)
