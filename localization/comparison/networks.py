"""The same photos and methods under several classifiers: does a better classifier look in a better place?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from localization.boxes import map_to_photo
from localization.comparison.boxes import NONE
from localization.comparison.maps import tasks
from localization.comparison.options import DEFAULT_METHODS, CompareOptions
from localization.comparison.result import PAGE, Comparison, scored
from localization.comparison.run import compare
from localization.datasets.dataset import Dataset, sampled
from localization.statistics import in_percent, mcnemar_exact, paired_difference
from localization.transforms import pooled
from saliency._checks import kind_of
from saliency._files import require_all
from saliency.errors import InputError
from saliency.faithfulness import rank_correlation
from saliency.methods import METHODS
from saliency.models.classes import ClassList
from saliency.models.network import Network
from saliency.report import Section, Table, fragment, page_bytes, plain, write_bytes, write_json

SIDE = 48  # of the maps over the photo whose agreement is taken
TITLE = "Does a better classifier look in a better place?"


@dataclass(frozen=True, eq=False)
class NetworkComparison:
    """The result of `compare_networks`: `comparisons` by network, and what only all of them together say.

    `results` holds, as plain data, "networks" (top-1 and entry of each), "rows" (CorLoc by network, method and route,
    with intervals), "paired" (two networks' CorLoc under the same method and route, on the same photos) and "agreement"
    (rank correlation of two networks' maps of the same photo).
    """

    comparisons: Mapping[str, Comparison]
    results: Mapping[str, Any] = field(repr=False)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """CorLoc by network, method and route, best first; none without boxes."""
        return sorted(self.results["rows"], key=lambda row: -row["corloc"])

    @property
    def notes(self) -> list[str]:
        """What was left out or put right under each network."""
        return [f"{name}: {note}" for name, found in self.comparisons.items() for note in found.notes]

    @property
    def reused(self) -> bool:
        """Whether every network's result was read back from an earlier run."""
        return all(found.reused for found in self.comparisons.values())

    def table(self) -> str:
        """Each network's rows as text, one after another, and the question's answer in a sentence."""
        return "\n\n".join([*(found.table() for found in self.comparisons.values()), answer(self.results)])

    def save(self, folder: Path | str) -> None:
        """Write results.json and report.html into `folder`, and each network's files into a folder of its own."""
        for name, found in self.comparisons.items():
            found.save(Path(folder) / name)
        write(self, Path(folder))

    def _repr_html_(self) -> str:
        return fragment(sections(self.results))


def compare_networks(
    nets: Mapping[str, Network],
    data: Dataset,
    train: Dataset | None = None,
    *,
    methods: Sequence[str] = DEFAULT_METHODS,
    classes: ClassList | Sequence[str] | Path | str | None = None,
    options: CompareOptions | None = None,
    folder: Path | str | None = None,
    progress: Callable[[int, int], None] | None = None,
    command: str = "",
) -> NetworkComparison:
    """`compare` for several networks by name, on the same photos, under the same entry, and what sets them apart.

    Each network explains the class that it predicts itself (or the label, as the options say). A method that does not
    suit all networks is refused; "all" are those that suit every one. Other arguments and errors are those of
    `compare`; `folder` gets a folder for each network, results.json and report.html.

    >>> import localization, saliency
    >>> nets = {"first": saliency.load_network("scenes_cnn"), "second": saliency.load_network("scenes_cnn")}
    >>> scenes = localization.datasets.load("scenes", split="test", limit=12)
    >>> options = localization.CompareOptions(folds=3, quality=2)
    >>> found = localization.compare_networks(nets, scenes, methods=["gradient-max"], options=options)
    >>> [round(row["difference"], 2) for row in found.results["paired"]]
    [0.0, 0.0]
    """
    options = CompareOptions() if options is None else options
    if not isinstance(nets, Mapping) or len(nets) < 2:
        raise InputError("nets must map names to two networks at least, as load_network gives them")
    for name, net in nets.items():
        if not isinstance(name, str) or not name or set(name) & set("/\\:\0") or name.startswith("."):
            raise InputError(f"nets: a name must be a text without / and :, not {name!r}")
        kind_of(f"nets[{name!r}]", net, Network, "as load_network gives it")
    kind_of("options", options, CompareOptions, "or None")
    if folder is not None and not isinstance(folder, str | Path):
        raise InputError(f"folder must be a path, not {folder!r}")
    if options.budget is not None:
        raise InputError("budget chooses by what one network takes: compare several by methods that are named")
    if isinstance(methods, list | tuple) and "all" in methods:
        suited = [tasks(net, ["all"], options.settings, ()) for net in nets.values()]
        methods = [name for name in suited[0] if all(name in other for other in suited)]
    found = {
        name: compare(
            net, data, train, methods=methods, classes=classes, options=options,
            folder=None if folder is None else Path(folder) / name, progress=progress, command=command,
        )
        for name, net in nets.items()
    }  # fmt: skip
    result = NetworkComparison(found, plain(_together(nets, found, data, methods, options)))
    if folder is not None:
        write(result, Path(folder))
    return result


def write(found: NetworkComparison, folder: Path) -> None:
    """The page, and results.json last."""
    with require_all():
        write_bytes(folder / PAGE, page(found.results))
        write_json(folder / "results.json", found.results)


def _together(
    nets: Mapping[str, Network],
    found: Mapping[str, Comparison],
    data: Dataset,
    methods: Sequence[str],
    options: CompareOptions,
) -> dict[str, Any]:
    first = next(iter(found.values())).results
    networks = [
        {
            "network": name,
            "parameters": sum(value.size for parts in net.weights.values() for value in parts.values()),
            "top1": found[name].results.get("accuracy"),
            "unknown_labels": found[name].results.get("unknown_labels"),
            "entry": found[name].results["entry"],
        }
        for name, net in nets.items()
    ]
    kept = ("schema", "seed", "inputs", "versions", "device", "command", "dataset", "test", "photos", "train", "folds")
    return {
        **{key: first[key] for key in kept},
        "target": options.target,
        "networks": networks,
        "rows": [{"network": name, **row} for name, one in found.items() for row in one.results.get("rows", ())],
        "paired": _paired(found, options.settings.seed),
        "agreement": _agreement(nets, data, methods, options),
    }


def _paired(found: Mapping[str, Comparison], seed: int) -> list[dict[str, Any]]:
    """Two networks' CorLoc under the same method and route: the second's less the first's, by photo."""
    right: dict[str, dict[tuple[str, str], dict[tuple[int, str], bool]]] = {}
    for name, one in found.items():
        own = right[name] = {}
        for row in one.images:
            hits = own.setdefault((row["method"], row["route"]), {})
            hits[len(hits), row["image"]] = str(row["correct"]) == "True"
    rows = []
    for first, second in combinations(found, 2):
        for label in right[first].keys() & right[second].keys():
            before, after = right[first][label], right[second][label]
            if label[1] == NONE or before.keys() != after.keys():  # what looks at no network
                continue
            pairs = np.array([[before[key], after[key]] for key in before], float)
            photos = np.unique([image for _, image in before], return_inverse=True)[1]
            difference = paired_difference(pairs[:, 1], pairs[:, 0], clusters=photos, seed=seed)
            rows.append(
                {
                    "method": label[0], "route": label[1], "first": first, "second": second,
                    "first_corloc": pairs[:, 0].mean(), "second_corloc": pairs[:, 1].mean(),
                    "difference": difference.value, "low": difference.low, "high": difference.high,
                    "mcnemar_p": mcnemar_exact(pairs[:, 1] > 0, pairs[:, 0] > 0).p,
                }
            )  # fmt: skip
    return sorted(rows, key=lambda row: (row["first"], row["second"], row["method"], row["route"]))


def _agreement(
    nets: Mapping[str, Network], data: Dataset, methods: Sequence[str], options: CompareOptions
) -> list[dict[str, Any]]:
    """Spearman's correlation of two networks' maps of the same photo, laid over it; the mean over some photos."""
    photos = []
    for i in sampled(range(len(data)), max(1, options.quality), options.settings.seed) if len(data) else ():
        try:
            photos.append(np.asarray(data.images[i]))
        except InputError:  # its comparison has left it out and said so
            continue
    if not options.quality or not photos:
        return []
    maps: dict[str, dict[str, list[np.ndarray]]] = {}
    for name, net in nets.items():
        x = net.preprocess(photos)
        placed = [net.preprocess.placement(photo.shape[:2]) for photo in photos]
        maps[name] = {
            method: [
                pooled(map_to_photo(own, placement), [min(side, SIDE) for side in placement.photo])
                for own, placement in zip(METHODS[method].maps(net, x, options=options.settings), placed)
            ]
            for method in tasks(net, methods, options.settings, ())
        }
    return [
        {
            "method": method, "first": one, "second": other, "photos": len(photos),
            "rank_correlation": float(
                np.nanmean([rank_correlation(a[None], b[None]) for a, b in zip(maps[one][method], maps[other][method])])
            ),
        }
        for one, other in combinations(nets, 2)
        for method in maps[one]
    ]  # fmt: skip


def page(results: Mapping[str, Any]) -> bytes:
    """Of the results alone."""
    origin = {key: value for key, value in results.items() if key not in ("rows", "paired", "agreement")}
    names = " and ".join(one["network"] for one in results["networks"])
    lead = (
        f"{results['dataset']}, {scored(results, 'samples')}: {names} on the same photos, under the same methods."
        f" {answer(results)} Each network's own page lies in the folder of its name."
    )
    return page_bytes(TITLE, lead, sections(results), origin)


def answer(results: Mapping[str, Any]) -> str:
    """The question's answer in a sentence, of the paired differences of the method and route that is best anywhere."""
    if not results["paired"]:
        return "Without boxes there is no telling where the better place is."
    best = max(results["paired"], key=lambda row: max(row["first_corloc"], row["second_corloc"]))
    known = {one["network"]: one["top1"] for one in results["networks"]}
    one, other, points = best["first"], best["second"], 100 * best["difference"]
    sure = best["low"] > 0 or best["high"] < 0
    right = (
        f" (right on {known[one]:.1%} and {known[other]:.1%})"
        if known[one] is not None and known[other] is not None
        else ""
    )
    return (
        f"Under the best, {best['method']} through the {best['route']}, {other} finds {points:+.1f} points of CorLoc"
        f" against {one}{right}, 95% interval {100 * best['low']:+.1f} to {100 * best['high']:+.1f}:"
        f" {'a difference' if sure else 'no difference that these photos could show'}."
    )


def sections(results: Mapping[str, Any]) -> list[Section]:
    entries = list(dict.fromkeys(one["entry"] for one in results["networks"]))
    networks = [
        (
            one["network"], f"{one['parameters']:,}", "–" if one["top1"] is None else f"{one['top1']:.1%}",
            *((one["entry"],) if len(entries) > 1 else ()),
        )
        for one in results["networks"]
    ]  # fmt: skip
    found = [
        Section(
            "The networks",
            "Weights are counted with norms folded into convolutions. Top-1 is the share of the scored images on which"
            " a network is right; – where none of their labels is a class of it."
            + (f" {entries[0]}" if len(entries) == 1 else ""),
            tables=[Table(("network", "weights", "top-1", *(("entry",) if len(entries) > 1 else ())), networks)],
        )
    ]
    if results["rows"]:
        rows = sorted(results["rows"], key=lambda row: -row["corloc"])
        first = results["networks"][0]["network"]
        rows = [row for row in rows if row["route"] != NONE or row["network"] == first]  # what looks at none: once
        cells = [
            (
                "any" if row["route"] == NONE else row["network"], row["method"], row["route"],
                in_percent(row["corloc"], row["corloc_low"], row["corloc_high"]), row["mean_iou"],
            )
            for row in rows
        ]  # fmt: skip
        found.append(
            Section(
                "Where each looks",
                "CorLoc in percent with its 95% bootstrap interval, by network, method and box route.",
                tables=[Table(("network", "method", "box route", "CorLoc", "mean IoU"), cells, best=0, decimals=3)],
            )
        )
    if results["paired"]:
        pairs = [
            (
                f"{row['second']} less {row['first']}", row["method"], row["route"], 100 * row["difference"],
                f"{100 * row['low']:+.1f} to {100 * row['high']:+.1f}", f"{row['mcnemar_p']:.2g}",
            )
            for row in results["paired"]
        ]  # fmt: skip
        found.append(
            Section(
                "Is the difference real?",
                "Difference in CorLoc (points) on the same photos under the same method and route, its paired 95%"
                " interval, and the p of McNemar's exact test. Each row is of one pair alone: of many, some fall below"
                " 0.05 by chance.",
                tables=[Table(("networks", "method", "box route", "difference", "interval", "p"), pairs, decimals=1)],
            )
        )
    if results["agreement"]:
        agreed = [
            (f"{row['first']} and {row['second']}", row["method"], row["rank_correlation"])
            for row in results["agreement"]
        ]
        found.append(
            Section(
                "Do they look at the same?",
                f"Spearman's rank correlation of two networks' maps over the same photo, the mean of"
                f" {results['agreement'][0]['photos']} photos; each network explains the class that it predicts.",
                tables=[Table(("networks", "method", "rank correlation"), agreed, decimals=2)],
            )
        )
    return found
