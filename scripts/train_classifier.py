"""Train the embedded scenes classifier, fold its batch norm away, and write `data/scenes_cnn.safetensors`."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from localization.options.scenes import Training
from scripts import cli


@dataclass(frozen=True)
class Options:
    """Train the classifier of the embedded data set."""

    out: Path = Path("data/scenes_cnn.safetensors")
    """Where the weights go; provenance goes beside them as .json."""
    training: tyro.conf.OmitArgPrefixes[Training] = field(default_factory=Training)
    compile_cache: cli.Cache = None
    """Folder of compiled programs, or off (default: salbox's own in the user's folder for caches)."""
    quiet: bool = False


def main(options: Options) -> int:
    from localization.scenes_training import accuracy, train_scenes
    from saliency.models.weights import save_network
    from saliency.report import versions

    start, how = time.time(), options.training
    with cli.progress("step", options.quiet) as progress:
        net = train_scenes(how, progress)
    figures = {split: accuracy(net, split) for split in ("val", "test")}
    provenance = {
        "command": f"python -m scripts.train_classifier --epochs {how.epochs} --scenes {how.scenes}"
        f" --batch {how.batch} --rate {how.rate} --seed {how.seed}",
        "accuracy": figures,
        "accuracy_scenes": 3000,
        "minutes": round((time.time() - start) / 60, 1),
        "versions": versions(),
    }
    save_network(net, options.out, provenance)
    print(f"accuracy on 3000 val scenes {figures['val']:.1%}, test {figures['test']:.1%}; wrote {options.out}")
    return 0


if __name__ == "__main__":
    cli.start(main, Options)
