"""Speed, as ratios measured interleaved in one run, and CorLoc of all ways to boxes:
`python -m scripts.benchmark NAME --help`, NAME one of those that `python -m scripts.benchmark --help` lists.
"""

import sys
from importlib import import_module
from pkgutil import iter_modules

from scripts import benchmarks, cli


def main(arguments: list[str]) -> None:
    names = sorted(module.name for module in iter_modules(benchmarks.__path__))
    if not arguments or arguments[0] not in names:
        wanted = bool(arguments) and arguments[0] in ("-h", "--help")
        print(f"usage: python -m scripts.benchmark {'|'.join(names)} [options]", file=None if wanted else sys.stderr)
        sys.exit(0 if wanted else 2)
    benchmark = import_module(f"scripts.benchmarks.{arguments[0]}")
    cli.run(benchmark.main, cli.parse(benchmark.Options, arguments[1:], f"scripts.benchmark {arguments[0]}"))


if __name__ == "__main__":
    main(sys.argv[1:])
