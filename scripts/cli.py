"""What every script shares: one vocabulary of options, clear errors with exit code 2, and when to be silent."""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, TypeVar

import tyro

from saliency._memory import keep_freed
from saliency.errors import InputError
from scripts.wording import as_options, sentence

if TYPE_CHECKING:  # a command line is read, and refused, before any of these is loaded
    from localization.datasets import Dataset
    from saliency.models.network import Network
    from saliency.models.preprocessing import Preprocessing

Options = TypeVar("Options")
Cache = str | None  # the option of every script that computes: a folder of compiled programs, or "off"


SCENES = {"train": 1000, "test": 500}  # of the embedded data set, to learn from and to score


@dataclass(frozen=True)
class Entry:
    """How photos enter the network."""

    resize: Literal["checkpoint", "stretch", "crop", "letterbox"] = "stretch"
    """How photos become input: stretch and letterbox show the whole photo; a crop hides what lies at the border;
    checkpoint does what the checkpoint was trained with."""
    input: int | None = None
    """Side of the input in pixels, where the network takes any (default: the checkpoint's)."""

    def of(self, own: "Preprocessing") -> "Preprocessing":
        if self.input is not None and self.input < 16:
            raise InputError(f"--input must be at least 16, not {self.input}")
        return own.changed(None if self.resize == "checkpoint" else self.resize, self.input)


@dataclass(frozen=True)
class NetworkOptions:
    """A classifier, with its weights, the names of its classes and the way in which photos enter it."""

    network: str | None = "scenes_cnn"
    """Classifier to explain."""
    weights: str | None = None
    """Its checkpoint: a file, or a Hugging Face hub id (scenes_cnn brings its own)."""
    classes: Path | None = None
    """File of the names of the network's classes, where its checkpoint has none: one a line or as a JSON list, CSV
    index,name or index,wnid,name, or LOC_synset_mapping.txt."""
    entry: tyro.conf.OmitArgPrefixes[Entry] = field(default_factory=Entry)

    def load(self, entry: "Preprocessing | None" = None) -> "Network":
        """The network, `preprocess` and `classes` set as asked for; photos enter by `entry` where no option says how.
        Raises InputError."""
        from saliency.models.weights import load_network

        if self.network is None:
            raise InputError("--network is needed: it names the classifier")
        weights = self.weights
        if weights is not None and weights.startswith("~"):
            weights = str(Path(weights).expanduser())
        net = load_network(self.network, weights, classes=self.classes)
        net.preprocess = entry if entry is not None and self.entry == Entry() else self.entry.of(net.preprocess)
        return net

    def several(self, values: Sequence[str]) -> "dict[str, Network]":
        """The networks of --networks by name, photos entering all of them alike. Raises InputError."""
        nets: dict[str, Network] = {}
        for value in values:
            name, _, file = value.partition("=")
            called = re.split(r"[/\\:]", name)[-1].removesuffix(".onnx")  # of a file, or of a function package:function
            if not called or called in nets:
                raise InputError(
                    f"--networks takes NAME or NAME=FILE, each name once, not {value!r}; two files of one network are"
                    " compared in Python, by localization.compare_networks"
                )
            if not file and self.weights is not None and called == name:
                file = str(Path(self.weights).expanduser() / f"{name}.safetensors")
            nets[called] = replace(self, network=name, weights=file or None).load()
        if len(nets) < 2:
            raise InputError("--networks takes two networks at least; for one there is --network")
        return nets


@dataclass(frozen=True)
class DataOptions:
    """Photos with boxes, as they lie on disk; or photos alone."""

    dataset: str = "scenes"
    """scenes, voc, imagenet, tiny_imagenet, coco, wsol, folder (with a boxes.csv in it) or tfds."""
    data_root: Annotated[Path | None, tyro.conf.arg(aliases=("--root",))] = None
    """Where the data set lies; scenes need none."""
    images: Path | None = None
    """Instead of a data set: one photo, or a folder of photos, without boxes."""
    split: str | None = None
    """Split that is used, in the data set's own words (default: the one usually scored)."""
    labels: tuple[str, ...] | None = None
    """Labels of the data set to keep (default: all)."""
    only: Path | None = None
    """Text file of the labels to keep, one a line."""
    data_box_format: str | None = None
    """Numbers of a folder's boxes.csv: xyxy (default), xywh, cxcywh, or one of these after normalised-."""
    limit: int | None = None
    """So many photos of each split, drawn from the seed (default: all)."""

    @property
    def kept(self) -> list[str] | None:
        """The labels to keep, None for all."""
        if self.only is None:
            return list(self.labels) if self.labels is not None else None
        from saliency._reading import read_text

        lines = (line.strip() for line in read_text(self.only).splitlines())
        named = [line for line in lines if line]
        if not named:
            raise InputError(f"{self.only}: names no label; give one a line")
        return list(dict.fromkeys([*(self.labels or ()), *named]))

    def load(self, split: str | None = None, *, seed: int = 0, limit: int | None = None) -> "Dataset":
        """The split of that name (default: `--split`). Raises InputError."""
        from localization.datasets import load

        limit = self.limit if limit is None else limit
        if self.images is not None:
            if self.data_root is not None or self.dataset != "scenes":
                raise InputError("--images takes photos without boxes: leave --dataset and --data-root out, or it")
            of_boxes = {"--split": split or self.split, "--labels": self.labels, "--only": self.only}
            for name, value in (of_boxes | {"--data-box-format": self.data_box_format}).items():
                if value is not None:
                    raise InputError(f"--images takes photos without splits, labels and boxes: leave {name} out, or it")
            return load("folder", self.images, limit=limit, seed=seed)
        if self.data_root is None and self.dataset != "scenes":
            raise InputError(f"--data-root is needed: the folder in which the {self.dataset} data set lies")
        with as_options(self, box_format="--data-box-format"):
            return load(
                self.dataset,
                self.data_root,
                split=split or self.split,
                classes=self.kept,
                limit=limit,
                seed=seed,
                box_format=self.data_box_format,
            )

    def training(self, split: str | None, folds: int | None, seed: int) -> "Dataset | None":
        """The photos of that split, to learn from; where none is named, none, but for scenes outside of folds. Raises
        InputError."""
        split = split or ("train" if self.dataset == "scenes" and not folds else None)
        return self.load(split, seed=seed) if split else None

    def scored_and_learned(
        self, train_split: str | None, n_train: int | None, *, n_test: int | None, folds: int | None, seed: int
    ) -> "tuple[Dataset, Dataset | None]":
        """What a comparison scores, and what it learns from; None where that is cross-fitted, or nothing. Numbers of
        photos are of all but the scenes (SCENES), where none is given. Raises InputError."""
        from saliency._checks import whole

        whole("--n-train", n_train, least=20, optional=True)
        learned = {"--train-split": train_split, "--n-train": n_train}
        told = [option for option, value in learned.items() if value is not None]
        if self.images is not None:
            if told or folds is not None:
                raise InputError(
                    "--images takes photos without boxes, from which nothing is learned:"
                    f" leave {[*told, '--folds'][0]} out"
                )
            return self.load(seed=seed, limit=n_test), None
        sizes = SCENES if self.dataset == "scenes" else {}
        if folds is not None:
            if told:
                raise InputError(
                    f"--folds learn from the split that is scored, each from the others: leave {told[0]} or --folds out"
                )
            return self.load(seed=seed, limit=sizes.get("test")), None  # what folds do not score they learn from
        test = self.load(seed=seed, limit=n_test or sizes.get("test"))
        try:
            return test, self.load(train_split or "train", seed=seed, limit=n_train or sizes.get("train"))
        except InputError as error:
            if train_split is not None:
                raise
            print(f"no training split ({error}): boxes are learned in folds; or name a --train-split")
        return self.load(seed=seed, limit=sizes.get("test")), None


def start(main: Callable[[Options], int], options: type[Options]) -> NoReturn:
    """What `python -m scripts.NAME` does: read the command line, run `main`, and end with its exit code.

    What JAX compiles is kept for the next time, where the options have a `compile_cache` and do not turn it off; memory
    that is freed stays with the process.
    """
    keep_freed()

    def read_and_run(_: None) -> int:
        given = parse(options)
        if hasattr(given, "compile_cache"):
            from saliency.cache import use_cache

            use_cache(given.compile_cache)
        return main(given)

    run(read_and_run, None)


def parse(options: type[Options], arguments: Sequence[str] | None = None, prog: str | None = None) -> Options:
    """The options of the command line; `~` in a path is the user's home, where the shell leaves it: `--out=~/x`."""
    registry = tyro.constructors.ConstructorRegistry()

    @registry.primitive_rule
    def path(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec | None:
        if info.type is not Path:
            return None
        return tyro.constructors.PrimitiveConstructorSpec(
            nargs=1,
            metavar="PATH",
            instance_from_str=lambda words: Path(words[0]).expanduser(),
            is_instance=lambda value: isinstance(value, Path),
            str_from_instance=lambda value: [str(value)],
        )

    shown = StringIO()  # tyro draws a box around what an option's own check refuses: that is one sentence here
    with registry, as_options(options):
        try:
            with redirect_stderr(shown):
                return tyro.cli(options, args=arguments, prog=prog)
        except SystemExit as stop:
            refused: BaseException | None = stop
            while refused is not None and not isinstance(refused, InputError):
                refused = refused.__context__
            if refused is not None:
                raise refused from None
            print(shown.getvalue(), end="", file=sys.stderr)
            raise


@contextmanager
def progress(unit: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar that follows calls with (done, total); where the total changes, a new task begins."""
    from tqdm import tqdm

    with tqdm(unit=unit, disable=silent(quiet)) as bar:

        def follow(done: int, total: int) -> None:
            if bar.total != total or done < bar.n:
                bar.reset(total)
            bar.update(done - bar.n)

        yield follow


def named_paths(option: str, values: Sequence[str]) -> dict[str, Path]:
    """The NAME=PATH pairs of an option."""
    found = {}
    for value in values:
        name, _, path = value.partition("=")
        if not (name and path) or name in found:
            raise InputError(f"{option} takes NAME=PATH, each with a name of its own, not {value!r}")
        found[name] = Path(path).expanduser()
    return found


def run(main: Callable[[Options], int], options: Options) -> NoReturn:
    """Run a script's `main`: bad input ends in one sentence on stderr and exit code 2, an interrupt in 130."""
    try:
        code = main(options)
    except (InputError, OSError) as error:
        print("\n".join([f"error: {sentence(error)}", *getattr(error, "__notes__", ())]), file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        code = 130
    sys.exit(code)


def command() -> str:
    """The command line that runs, for the record of a result; no path of the script itself."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def recorded(options: Any) -> Any:
    """The options as a result keeps them: no path of this machine."""
    return replace(options, out=Path(options.out.name), compile_cache=None)


def silent(quiet: bool) -> bool:
    """Whether progress bars stay away: on request, or where nobody watches."""
    return quiet or not sys.stdout.isatty()
