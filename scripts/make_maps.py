"""Maps of a whole data set, on disk: the store that fit_boxes learns from.

    python -m scripts.make_maps --dataset voc --data-root DIR --network squeezenet1_1 --weights FILE --out STORE

A killed run goes on with the first shard that is not whole. Many hosts: give each its `--shard I/N`, or
`--coordinator HOST:PORT --process-id I --processes N`, and one folder that all can reach.
"""

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from localization._processes import Processes
from localization.options.maps import MapOptions
from scripts import cli


@dataclass(frozen=True)
class Options:
    """Make the maps of a data set and keep them in a store."""

    out: Path
    """Folder of the store."""
    data: tyro.conf.OmitArgPrefixes[cli.DataOptions] = field(default_factory=cli.DataOptions)
    net: tyro.conf.OmitArgPrefixes[cli.NetworkOptions] = field(default_factory=cli.NetworkOptions)
    maps: tyro.conf.OmitArgPrefixes[MapOptions] = field(default_factory=MapOptions)
    shard: str = "0/1"
    """I/N: make every N-th file, from the I-th on."""
    processes: tyro.conf.OmitArgPrefixes[Processes] = field(default_factory=Processes)
    strict: bool = False
    """Stop at the first image that gives no map, instead of listing it."""
    compile_cache: cli.Cache = None
    """Folder of compiled programs, or off (default: salbox's own in the user's folder for caches)."""
    quiet: bool = False


def main(options: Options) -> int:
    from localization.map_making import make_maps
    from saliency._files import check_writable

    with cli.as_options(options):
        options.processes.start()
        part, parts = options.processes.share(options.shard)
        options.maps.check()
        check_writable(options.out)
        net, data = options.net.load(), options.data.load(seed=options.maps.settings.seed)
        with cli.progress("img", options.quiet) as progress:
            made = make_maps(
                net,
                data,
                options.out,
                options=options.maps,
                classes=options.net.classes,
                part=part,
                parts=parts,
                strict=options.strict,
                progress=progress,
            )
    print(made.table())
    return 0


if __name__ == "__main__":
    cli.start(main, Options)
