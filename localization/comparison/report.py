"""The comparison's pictures and its page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Plot

from localization.boxes import map_to_photo
from localization.channels import READERS
from localization.comparison.boxes import EXTERNAL, NONE, STACKED, Covered, Fit, Label
from localization.comparison.budget import together
from localization.comparison.maps import Made
from localization.comparison.result import PAGE, PICTURES, PRINT, SCREEN, right, scored
from localization.comparison.samples import Samples
from localization.comparison.seeds import sentence
from localization.comparison.verdict import paragraph, routes_paragraph
from localization.metrics import best_iou
from localization.published import published_rows
from localization.report import figures
from localization.routes import EQ4, HEURISTIC, LINEAR
from localization.statistics import in_percent
from localization.transforms import pooled
from saliency.faithfulness import MEASURES
from saliency.methods import FAMILIES, METHODS, Family, Method
from saliency.report import Figure, InspectedImage, Section, Table, few_colours, jpeg, lossy, page_bytes, png

SHOWN, CLASSES_SHOWN = 12, 24  # images in the gallery; more, where that shows one of each class
MANY, FEW = 16, 6  # methods from which the gallery has so few images, and coverage of the best route's method alone
LONG = 24  # rows of a table, or bars, from which it is folded and its best rows stand alone
ABREAST = 3  # columns in one of its pictures, whose letters can then be read on a narrow page
INSPECTED, MAP_SIDE = 1000, 64  # images to look into, and the pixels a side of their maps ...
COVERED_SIDE = 28  # ... and of their coverage
MAPPED = 24, 300  # of these images have maps, but so many maps in all
CHARTS = "corloc", "cost", "agreement"
CASES = 16  # best and worst cases each
CLASSES = 20  # at most, in the table of classes
PRINTED = {"VOC2007": "paper-voc07"}  # by data set the protocol of published figures
LEARNS = {  # by route, and what fits the linear map
    (LINEAR, "coverage"): "The linear map learns weights from the training boxes, the same for all places of the map.",
    (LINEAR, "lad"): "The linear map learns a weight for each of a map's profiles from the training boxes.",
    (LINEAR, "flip-equivariant"): "The linear map learns a weight for each pixel from the training boxes.",
    (EQ4, ""): "Eq. 4 learns a weight for each pixel and box edge, as in Fast Object Localization via Sensitivity"
    " Analysis.",
    (HEURISTIC, ""): "The heuristic learns only its settings from them.",
}
PASSES = (
    "Passes are those of a plain implementation, per image, the class given; saved, how many of them the incremental"
    " engine spares by leaving out what a window cannot change, in multiplications"
)
CORNERS = ("left edge x0", "upper edge y0", "right edge x1", "lower edge y1")


@dataclass(frozen=True, eq=False)
class Shown:
    """What there is to show: the `results` as written, the `samples`, the maps `made` of them and the boxes of each
    fit, by method. `explained` names the class of each sample that is explained."""

    results: Mapping[str, Any]
    samples: Samples
    made: Mapping[str, Made]
    fits: Mapping[str, Fit]
    explained: Sequence[str]

    def title(self, i: int) -> str:
        """A sample's label, and the class whose score is explained where that is another."""
        samples, explained = self.samples, self.explained[i]
        label = samples.labels[i] or samples.ids[i].rpartition("/")[2]
        same = samples.targets[i] >= 0 and samples.net.class_name(int(samples.targets[i])) == explained
        return label if same else f"{label}\nexplained: {explained}"


def rendered(shown: Shown) -> dict[str, bytes]:
    """Every picture as PNG and the page, by path."""
    files, figures_ = {}, {}
    for name, (plot, caption, group) in _plots(shown).items():
        dense = name.startswith("gallery-")
        image = png(plot, PRINT if dense else SCREEN)
        files[f"{PICTURES}/{name}.png"] = image
        on_page = few_colours(image) if name in CHARTS else lossy(image, SCREEN / PRINT if dense else 1)
        figures_[name] = Figure(on_page, f"{group}: {caption}" if group else caption)
    return files | {PAGE: page(shown.results, figures_, inspected(shown))}


def _plots(shown: Shown) -> dict[str, tuple[Plot, str, str]]:
    """Every picture with its caption and, of a gallery, the family; where there are photos or maps in it, the page
    takes it as JPEG."""
    others = {name: (plot, caption, "") for name, (plot, caption) in _other_plots(shown).items()}
    return {**_galleries(shown), **others}


def _other_plots(shown: Shown) -> dict[str, tuple[Plot, str]]:
    plots: dict[str, tuple[Plot, str]] = {}
    results = shown.results
    if results["quality"] and len(shown.made) > 1:
        correlation = np.array(results["quality"]["rank_correlation"], float)
        plots["agreement"] = (
            figures.agreement(results["quality"]["methods"], correlation),
            "Spearman's rank correlation of the pixels of two methods' maps, the mean over images.",
        )
    if "rows" in results:
        plots |= _box_plots(shown)
    return plots


def _box_plots(shown: Shown) -> dict[str, tuple[Plot, str]]:
    results, samples, fits = shown.results, shown.samples, shown.fits
    rows = results["rows"]
    plots = {
        "corloc": (
            figures.corloc_bars(rows if len(rows) <= LONG else best_of_each(rows)),
            f"CorLoc of every method {'and' if len(rows) <= LONG else 'through its best'} box route on the same test"
            " images.",
        ),
    }
    if any(row["ms_per_image"] and row["forwards"] for row in rows):  # others' cost is nothing, or not known
        plots["cost"] = (figures.corloc_cost(rows), "What a box costs, and how good it is.")
    best = max((row for row in rows if row["route"] != NONE), key=lambda row: row["corloc"])
    boxes = next(fit.boxes[label] for fit in fits.values() if (label := (best["method"], best["route"])) in fit.boxes)
    overlaps = best_iou(boxes, [samples.true[i] for i in samples.test])
    order = np.argsort(-overlaps, kind="stable")
    for name, chosen in (("best", order[:CASES]), ("worst", order[::-1][:CASES])):
        plots[name] = (
            _cases(samples, boxes, overlaps, chosen),
            f"The {len(chosen)} {name} boxes of {best['method']} through the {best['route']}; above each its IoU.",
        )
    for name, fit in fits.items():
        for route, weights in fit.weights.items():
            mean = f", the mean of the {results['folds']} folds' maps" if results["folds"] else ""
            plots[f"weights-{name}-{route}"] = (
                figures.linear_weights(weights, CORNERS),
                f"{name} through the {route}{mean}",
            )
    return plots


def inspected(shown: Shown) -> list[InspectedImage]:
    """Up to INSPECTED test images to look into, some of them with their maps."""
    results, samples, made, fits = shown.results, shown.samples, shown.made, shown.fits
    rng = np.random.default_rng(results["seed"])
    at = rng.permutation(len(samples.test))[:INSPECTED]
    count = min(MAPPED[0], max(4, MAPPED[1] // max(1, len(made))))
    mapped, rest = np.sort(at[:count]), np.sort(at[count:])
    maps = {name: one.maps(samples.test[mapped]) for name, one in made.items()}
    overlaps = {
        f"{method} · {route}": (boxes, best_iou(boxes, [samples.true[i] for i in samples.test]))
        for fit in fits.values()
        for (method, route), boxes in fit.boxes.items()
    }
    found = []
    for number, k in enumerate([*mapped, *rest]):
        i = int(samples.test[k])
        with_maps = number < len(mapped)
        found.append(
            InspectedImage(
                title=shown.title(i),
                note=samples.ids[i],
                photo=jpeg(samples.photo(i), 192 if with_maps else 72),
                size=samples.sizes[i],
                true=samples.true[i] if samples.true else np.empty((0, 4)),
                maps=_maps(shown, k, {name: own[number] for name, own in maps.items()}) if with_maps else {},
                boxes={label: (boxes[k], float(iou[k])) for label, (boxes, iou) in overlaps.items()},
            )
        )
    return found


def _maps(shown: Shown, k: int, maps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The maps of the k-th test image over its photo, each beside what the linear map covers by it."""
    size, found = shown.samples.sizes[shown.samples.test[k]], {}
    for name in dict.fromkeys([*maps, *shown.fits]):
        if name in maps:
            found[name] = _small(map_to_photo(maps[name], shown.made[name].placement(size)))
        if name in shown.fits and (covered := shown.fits[name].covered):
            found[f"{name} · {LINEAR}"] = _small(covered.over_photo(k, size), COVERED_SIDE)
    return found


def _small(own: np.ndarray, side: int = MAP_SIDE) -> np.ndarray:
    """A map averaged to at most so many pixels a side."""
    return pooled(own, [min(size, side) for size in own.shape])


def page(results: Mapping[str, Any], pictures: Mapping[str, Figure], images: Sequence[InspectedImage]) -> bytes:
    """The page, of the results and the pictures alone."""
    sections = [
        *(_box_sections(results, pictures) if "rows" in results else _plain_sections(results)),
        Section("How the photos entered", f"{results['entry']}{_hidden(results)}"),
        Section("What was left out", "\n".join(results["notes"]) or "Nothing was left out or put right."),
        *_budget_sections(results),
        *_seed_sections(results),
        *_gallery_sections(pictures, results["config"]["fit"] == "coverage" and _has(results, LINEAR)),
        *_quality_sections(results["quality"], pictures),
        *(_case_sections(results, pictures) if "rows" in results else ()),
        *_method_sections(results["methods"]),
        *([Section("What is fair to compare", " ".join(_fair(results)))] if "rows" in results else ()),
    ]
    origin = {
        key: value
        for key, value in results.items()
        if key not in ("rows", "paired", "by_route", "predictions", "quality", "left_out", "notes")
    }
    return page_bytes("Where did the classifier look?", _lead(results), sections, origin, images)


def _hidden(results: Mapping[str, Any]) -> str:
    """How many true boxes the entry cuts."""
    if "cut_away" not in results:
        return ""
    cut, test = results["cut_away"], results["test"]
    if not any(cut.values()):
        return f" The largest true box of all {test} test images lies wholly within the input."
    return (
        f" Of the largest true boxes of the {test} test images the input hides {cut['wholly']} wholly and"
        f" {cut['partly']} in part: no map of ours can find what is not there."
    )


def _fair(results: Mapping[str, Any]) -> Iterator[str]:
    """What may be concluded from the rows, as far as the data of this run allow it."""
    theirs = [row["method"] for row in results["methods"] if row["base"] is None]
    theirs += [row["method"] for row in results["rows"] if row["route"] == EXTERNAL]
    if any(row["base"] in METHODS for row in results["methods"]):
        yield "Every method of ours saw the same images and explains the same class of each."
    if results["methods"]:
        routes, fitting = {row["route"] for row in results["rows"]}, results["config"]["fit"]
        yield " ".join(said for (route, how), said in LEARNS.items() if route in routes and how in ("", fitting))
        if results["folds"]:
            yield (
                f"The images are scored in {results['folds']} folds by photo, each by what everything outside of it"
                " taught: no box comes from a photo with the same pixels."
            )
        else:
            yield "No photo that is scored has the pixels of one that was learned from."
    if theirs:
        yield f"What {', '.join(dict.fromkeys(theirs))} saw and learned from is not known here."
    yield "The constant boxes look at no image: a method below them has found nothing."


def _method_sections(rows: Sequence[Mapping[str, Any]]) -> Iterator[Section]:
    own = sorted((row for row in rows if row["base"] in METHODS), key=lambda row: FAMILIES.index(_family(row)))
    if own:
        columns = "family", "method", "what it shows", "sign", "source"
        methods = [(_family(row), *_explained(row, METHODS[row["base"]])) for row in own]
        yield Section("The methods", tables=[Table(columns, methods)], folded=len(methods) > LONG)
    readers = [READERS[row["base"]] for row in rows if row["base"] in READERS]
    if readers:
        yield Section(
            "Learned readers",
            "They read a network's features and explain nothing: what they find says where the object is, not why the"
            " class was given. They have no map, so the linear map alone makes their boxes.",
            tables=[
                Table(("reader", "what it reads", "source"), [(r.name, _line(r.summary), r.source) for r in readers])
            ],
        )


def _family(row: Mapping[str, Any]) -> Family:
    return METHODS[row["base"]].family


def _explained(row: Mapping[str, Any], method: Method) -> tuple[str, str, str, str]:
    return row["method"], _line(method.summary), method.sign, method.source


def _line(summary: str) -> str:
    return " ".join(summary.split())


def _lead(results: Mapping[str, Any]) -> str:
    train = f"{results['train']} training images"
    learned = f"all but the scored one of {results['folds']} folds" if results["folds"] else train
    explained = f"{results['network']['name']}{right(results, ', which is right on {share} of them')}"
    said = f"{results['dataset']}, {scored(results, 'test images')}. Explained: {explained}."
    if results["notes"]:
        said += " Not all was taken as it lies: see what was left out."
    if "rows" not in results:
        return said
    best = max(results["rows"], key=lambda row: row["corloc"])
    share = in_percent(best["corloc"], best["corloc_low"], best["corloc_high"])
    return f"{said} Boxes learned on {learned}. Best: {best['method']} through the {best['route']}, CorLoc {share}%."


def _box_sections(results: Mapping[str, Any], pictures: Mapping[str, Figure]) -> Iterator[Section]:
    rows = sorted(results["rows"], key=lambda row: -row["corloc"])
    small = " Small: that of the images whose largest true box covers less than half of the photo."
    yield Section(
        "Figures",
        "CorLoc: share of test images whose box overlaps a true one with IoU above one half, in percent, with its"
        f" 95% bootstrap interval.{small if rows[0]['corloc_small'] is not None else ''} {PASSES};"
        " milliseconds are this machine's, compilation not counted. Peak is the process's resident memory while"
        f" making the maps.{against_controls(rows)} Click a heading to sort.",
        tables=[_table(rows if len(rows) <= LONG else _best_of_families(rows))],
        figures=[pictures[name] for name in ("corloc", "cost") if name in pictures and len(rows) <= LONG],
    )
    if len(rows) > LONG:
        yield Section(
            "All rows",
            "Above: the best row of each family. Here all of them, best first.",
            tables=[_table(rows)],
            figures=[pictures[name] for name in ("corloc", "cost") if name in pictures],
            folded=True,
        )
    said = [paragraph(found, results["test"])] if (found := results.get("verdict")) else []
    said += [routes_paragraph(found)] if (found := results.get("by_route")) else []
    if said:
        yield Section("Which can be told apart?", " ".join(said))
    yield Section(
        "Is the difference real?",
        f"Each row against the best one, {rows[0]['method']} through the {rows[0]['route']}, on the same images:"
        " difference in CorLoc (points), its paired 95% interval, and the p of McNemar's exact test.",
        tables=[_paired(results["paired"])],
        folded=len(rows) > LONG,
    )
    if results.get("carried"):
        yield Section(
            "Learned elsewhere",
            "What was learned on another data set, without one box of this one, beside what the same features teach"
            " here and beside the box that looks at no photo. Whether photos of that set are among these is not known.",
            tables=[_carried(results["carried"])],
        )
    classes = list(rows[0]["classes"])
    if 1 < len(classes) <= CLASSES:
        published = list(published_rows(PRINTED.get(results["dataset"], ""), classes))
        yield Section(
            "Class by class",
            "CorLoc of each class in percent, each method through its best route; the mean is that over classes."
            + (
                " Below, as they were printed: the figures of the paper's tables for this data set, Fast Object"
                " Localization via Sensitivity Analysis."
                if published
                else ""
            ),
            tables=[_classes(rows, classes, published)],
        )


def best_of_each(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Each method through its best route; `rows` best first."""
    found: dict[str, Mapping[str, Any]] = {}
    for row in sorted(rows, key=lambda row: -row["corloc"]):
        found.setdefault(row["method"], row)
    return list(found.values())


def _best_of_families(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The best row of each family of methods, and every row that is no method of the menu."""
    found: dict[str, Mapping[str, Any]] = {}
    for row in best_of_each(rows):
        found.setdefault(METHODS[row["base"]].family if row["base"] in METHODS else row["method"], row)
    return list(found.values())


def _budget_sections(results: Mapping[str, Any]) -> Iterator[Section]:
    """What was foretold of each method's time, beside what it took."""
    if not (budget := results.get("budget")):
        return
    after, took = budget["after"], budget["took"]
    rows: list[tuple[Any, ...]] = []
    forecasts: dict[str, float] = {}
    times: dict[str, float] = {}
    for row in results["methods"]:
        if row["method"] in budget["seconds"]:
            foretold = 1000 * (budget["seconds"][row["method"]] - after)
            share = row["ms_per_image"] / foretold if foretold else None
            how = "timed on a few photos" if row["method"] in budget["timed"] else "by its passes"
            rows.append((row["method"], how, foretold, row["ms_per_image"], share))
            forecasts[row["method"]] = budget["seconds"][row["method"]]
            times[row["method"]] = row["ms_per_image"] / 1000 + took
    share = took / after if after else None
    totals = [
        1000 * together(*each) for each in ((forecasts, budget["passes"], after), (times, budget["passes"], took))
    ]
    rows.append(("boxes and measures, each", "timed on maps of noise", 1000 * after, 1000 * took, share))
    rows.append(("all together", "", *totals, totals[1] / totals[0] if totals[0] else None))
    columns = ("method", "forecast", "foretold", "taken", "taken / foretold")
    yield Section(
        "Forecast and time",
        "Milliseconds an image: what the budget went by before any map was made, and what it took then; compilation is"
        " in neither. What several methods make of the same passes is said of each, and counts once in all together.",
        tables=[Table(columns, rows, decimals=(None, None, 1, 1, 2))],
        folded=len(rows) > LONG,
    )


def _seed_sections(results: Mapping[str, Any]) -> Iterator[Section]:
    """What of the figures of random methods is the seed's doing."""
    if not (found := results.get("seeds")):
        return
    seeds = [f"seed {results['seed'] + k}" for k in range(len(found[0]["corloc"]))]
    table = Table(
        ("method", "box route", "mean", "deviation", *seeds),
        [
            (one["method"], one["route"], *(100 * v for v in (one["mean"], one["deviation"], *one["corloc"])))
            for one in found
        ],
        decimals=1,
    )
    yield Section("What is noise", sentence(found), tables=[table], folded=len(found) > LONG)


def against_controls(rows: Sequence[Mapping[str, Any]]) -> str:
    """Which methods do no better than the best of those that cannot know what the classifier saw; `rows` best first."""
    families = [METHODS[row["base"]].family if row["base"] in METHODS else None for row in rows]
    asked = [row for row, family in zip(rows, families) if family not in (None, "control")]
    best = next((row for row, family in zip(rows, families) if family == "control"), None)
    if not best or not asked:
        return ""
    better = {row["method"] for row in asked if row["corloc"] > best["corloc"]}
    below = [name for name in dict.fromkeys(row["method"] for row in asked) if name not in better]
    return (
        f" The best control is {best['method']} through the {best['route']}, {100 * best['corloc']:.1f}%;"
        f" no better, through any route: {', '.join(below) or 'none of the methods'}."
    )


def _plain_sections(results: Mapping[str, Any]) -> Iterator[Section]:
    columns = ("method", "forwards", "backwards", "saved", "ms / image", "peak MiB")
    keys = ("method", "forwards", "backwards", "saved", "ms_per_image", "peak_mib")
    decimals = (None, None, None, 1, 1, 0)
    yield Section(
        "Cost",
        f"{PASSES}; milliseconds on this machine, compilation not"
        " counted; the process's largest resident memory while making the maps.",
        tables=[Table(columns, [[row[key] for key in keys] for row in results["methods"]], decimals=decimals)],
    )
    yield Section(
        "What the classifier says",
        tables=[
            Table(
                ("photo", *(text for k in range(1, 6) for text in (f"{k}.", "probability"))),
                [
                    (one["image"], *(v for pair in zip(one["classes"], one["probabilities"]) for v in pair))
                    for one in results["predictions"]
                ],
            )
        ],
    )


def _has(results: Mapping[str, Any], route: str) -> bool:
    return any(row["route"] == route for row in results.get("rows", ()))


def _gallery_sections(pictures: Mapping[str, Figure], covered: bool) -> Iterator[Section]:
    if pictures:
        said = (
            "Each map over its photo, the more opaque the stronger: from 0 to its 99.5th percentile, or in red and blue"
            f" about 0. One photo of each class where there is room. In {PICTURES}/ at {PRINT} dots an inch."
        )
        if covered:
            said += (
                " Beside a map what the linear map reads in it: for each cell of the photo the share of it that the box"
                " is expected to cover, as it was learned on other photos. The best rectangle in that is the box."
            )
        galleries = _named(pictures, "gallery-")
        if len(galleries) <= ABREAST:
            yield Section("The same images under every method", said, figures=galleries, wide=False)
            return
        yield Section("The same images under every method", f"{said} Family by family; a click opens it.")
        for family in dict.fromkeys(one.caption.partition(": ")[0] for one in galleries):
            own = [one for one in galleries if one.caption.partition(": ")[0] == family]
            yield Section(f"Maps: {family}", figures=own, wide=False, folded=True)


def _quality_sections(quality: Mapping[str, Any] | None, pictures: Mapping[str, Figure]) -> Iterator[Section]:
    if not quality:
        return
    keys = [key for key in quality["rows"][0] if key != "method"]
    direction = {"higher": "↑", "lower": "↓", "neither": ""}
    measures = {key: MEASURES[key] for key in keys}
    yield Section(
        "Without boxes",
        f"Means over {quality['images']} test images; ↑ higher is better, ↓ lower is better.\n"
        + "\n".join(f"{key}: {one.summary} ({one.source}) But: {one.caution}" for key, one in measures.items()),
        tables=[
            Table(
                ("method", *(f"{key} {direction[measure.better]}".strip() for key, measure in measures.items())),
                [(row["method"], *(row[key] for key in keys)) for row in quality["rows"]],
                decimals=3,
            )
        ],
        figures=[pictures["agreement"]] if "agreement" in pictures else (),
        folded=len(quality["rows"]) > LONG,
    )


def _case_sections(results: Mapping[str, Any], pictures: Mapping[str, Figure]) -> Iterator[Section]:
    if "best" in pictures:
        yield Section("Best and worst", figures=[pictures["best"], pictures["worst"]])
    if not _named(pictures, "weights-"):
        return
    folds = results["folds"]
    which = f" Each of the {folds} folds has its own: shown is their mean, from which no box comes." if folds else ""
    yield Section(
        "What was learned for each pixel",
        "One image a box edge: how a pixel of the map, about the typical map, moves that edge."
        f" Red pushes it right or down, blue left or up.{which}",
        figures=_named(pictures, "weights-"),
        wide=False,
        folded=True,
    )


def _named(pictures: Mapping[str, Figure], start: str) -> list[Figure]:
    return [figure for name, figure in pictures.items() if name.startswith(start)]


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    shares = {"CorLoc": "corloc", "low": "corloc_low", "high": "corloc_high"}
    if rows[0]["corloc_small"] is not None:
        shares["small"] = "corloc_small"
    rest = {"mean IoU": "mean_iou", "no box": "no_box", "forwards": "forwards", "backwards": "backwards"}
    rest |= {"saved": "saved", "ms / image": "ms_per_image", "peak MiB": "peak_mib"}
    return Table(
        ("method", "box route", *shares, *rest),
        [
            (
                row["method"],
                row["route"],
                *(100 * row[key] for key in shares.values()),
                *(row[key] for key in rest.values()),
            )
            for row in rows
        ],
        best=0,
        decimals=(None, None, *(1 for _ in shares), 3, None, None, None, 1, 1, 0),
    )


def _classes(
    rows: Sequence[Mapping[str, Any]],
    classes: Sequence[str],
    published: Sequence[tuple[str, float, Mapping[str, float]]],
) -> Table:
    """Our rows, best first, then what others printed."""
    better = {row["method"]: row for row in reversed(rows)}  # of a method's routes the first, best one
    ours = []
    for row in better.values():
        own = [100 * row["classes"][label] for label in classes]
        ours.append((row["method"], row["route"], sum(own) / len(own), *own))
    theirs = [(name, "published", mean, *(of.get(label) for label in classes)) for name, mean, of in published]
    return Table(
        ("method", "box route", "mean", *classes), [*sorted(ours, key=lambda row: -row[2]), *theirs], decimals=1
    )


def _paired(compared: Sequence[Mapping[str, Any]]) -> Table:
    return Table(
        ("method", "box route", "difference", "low", "high", "McNemar p"),
        [
            (one["method"], one["route"], *(100 * one[key] for key in ("difference", "low", "high")), one["mcnemar_p"])
            for one in sorted(compared, key=lambda one: -one["difference"])
        ],
        decimals=(None, None, 1, 1, 1, None),
    )


def _carried(rows: Sequence[Mapping[str, Any]]) -> Table:
    shares = ("corloc", "against_corloc", "difference", "low", "high")
    return Table(
        ("method", "learned", "against", "CorLoc", "the other's", "difference", "low", "high", "McNemar p"),
        [(row["method"], row["route"], row["against"], *(100 * row[key] for key in shares), row["mcnemar_p"])
         for row in rows],
        decimals=(None, None, None, 1, 1, 1, 1, 1, None),
    )  # fmt: skip


def _galleries(shown: Shown) -> dict[str, tuple[Plot, str, str]]:
    """A fixed draw of test images, ABREAST columns a picture: a method's map with the box of the best route that reads
    it, and beside it what the linear map expects the box to cover, with the box of that."""
    results, samples, made, fits = shown.results, shown.samples, shown.made, shown.fits
    best = max(results.get("rows", ()), key=lambda row: row["corloc"], default={"method": ""})["method"]
    families: dict[str, list[tuple[str, Covered | None]]] = {}
    for name in _by_family(made, fits):
        columns = families.setdefault(_group(made, name), [])
        columns += [(name, None)] if name in made else []
        if name in fits and fits[name].covered and (len(made) <= MANY or name in (best, *_FITTED)):
            columns.append((name, fits[name].covered))
    if not any(families.values()):
        return {}
    at = _drawn(shown).tolist()
    chosen = samples.test[at]
    rows = sorted(results.get("rows", ()), key=lambda row: row["corloc"])
    routes = {row["method"]: row["route"] for row in rows if (row["method"], row["route"]) in _own(fits, row["method"])}

    def column(name: str, covered: Covered | None) -> list[np.ndarray]:
        if covered:
            return [covered.over_photo(k, samples.sizes[i]) for k, i in zip(at, chosen.tolist())]
        placements = (made[name].placement(samples.sizes[i]) for i in chosen.tolist())
        return [map_to_photo(*pair) for pair in zip(made[name].maps(chosen), placements)]

    if len(families) > 1 and sum(map(len, families.values())) <= 2 * ABREAST:  # few: no family has a picture of its own
        families = {"": [one for own in families.values() for one in own]}
    parts = [(name, own[k : k + ABREAST]) for name, own in families.items() for k in range(0, len(own), ABREAST)]
    plots: dict[str, tuple[Plot, str, str]] = {}
    for family, part in parts:
        some = {f"{name}: covered" if covered else name: (name, covered) for name, covered in part}
        plot = figures.gallery(
            [samples.photo(i) for i in chosen],
            {title: column(*one) for title, one in some.items()},
            [samples.true[i] for i in chosen] if samples.true else [],
            {
                title: list(fits[name].boxes[name, LINEAR if covered else routes[name]][at])
                for title, (name, covered) in some.items()
                if name in fits
            },
            [shown.title(i) for i in chosen],
        )
        names = ", ".join(dict.fromkeys(name for name, _ in some.values()))
        boxes = " Green: true boxes; red, dashed: those of the method's best box route." if fits else ""
        if any(covered for _, covered in some.values()):
            boxes += " Covered: from 0 to its largest share of a cell; red, dashed: the linear map's boxes."
        plots[f"gallery-{len(plots) + 1}"] = plot, f"{names}.{boxes}", family
    return plots


_FITTED = (STACKED,)


def _group(made: Mapping[str, Made], name: str) -> str:
    """The heading under which a method's maps are shown."""
    base = made[name].base if name in made else None
    return METHODS[base].family if base in METHODS and base is not None else "other"


def _by_family(made: Mapping[str, Made], fits: Mapping[str, Fit]) -> list[str]:
    """The methods in the order of their families, then what is none of the menu."""
    order = {family: k for k, family in enumerate(FAMILIES)}
    return sorted(dict.fromkeys([*made, *fits]), key=lambda name: order.get(_group(made, name), len(order)))  # type: ignore[call-overload]


def _drawn(shown: Shown) -> np.ndarray:
    """Positions among the test images of those in the galleries: one of each class, then any."""
    test, labels = shown.samples.test, shown.samples.labels
    order = np.random.default_rng(shown.results["seed"]).permutation(len(test)).tolist()
    first: dict[str | None, int] = {}
    for k in order:
        first.setdefault(labels[test[k]], k)
    chosen = list(dict.fromkeys([*list(first.values())[:CLASSES_SHOWN], *order]))
    if len(shown.made) > MANY:
        return np.sort(chosen[:FEW])
    return np.sort(chosen[: max(SHOWN, min(len(first), CLASSES_SHOWN))])


def _own(fits: Mapping[str, Fit], method: str) -> Mapping[Label, np.ndarray]:
    """The boxes that were learned here."""
    return fits[method].boxes if method in fits else {}


def _cases(samples: Samples, boxes: np.ndarray, overlaps: np.ndarray, chosen: np.ndarray) -> Plot:
    return figures.cases(
        [samples.photo(int(samples.test[at])) for at in chosen],
        [samples.true[samples.test[at]] for at in chosen],
        [boxes[at] for at in chosen],
        [f"{overlaps[at]:.2f}" for at in chosen],
    )
