"""Boxes from the maps of a store: the linear map at any size, its penalty chosen on held-out images, its figures.

    python -m scripts.fit_boxes --stores STORE --out runs/fit
    python -m scripts.fit_boxes --stores GRADIENT GESTALT --method lad --few-shot 50 200 1000 --out runs/stacked

Images are split at random, from the seed: to fit, to choose the penalty, to score. Nothing that is written
depends on the clock, so that a killed run, started again, ends in the same bytes.
"""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from matplotlib.figure import Figure as Plot
from tqdm import tqdm

from localization.features import Features
from localization.metrics import best_iou, hits
from localization.regression import LinearMap, lad, overlap, ridge, sgd
from localization.regression.linear_map import Coding, decoded, encoded
from localization.regression.moments import moments
from localization.regression.rows import Rows, gathered
from localization.regression.solution import Solution
from localization.statistics import bootstrap, mcnemar_exact
from localization.stock import Stock, open_stock
from saliency import report
from saliency._files import check_writable, complete
from saliency.errors import InputError
from scripts import cli
from scripts.processes import Processes

Figures = dict[str, Any]
WEIGHTS = "How each pixel of a typical map moves each number of the box: red up, blue down. One row a method."


@dataclass(frozen=True)
class Options:
    """Fit the linear map from maps to boxes."""

    stores: tuple[Path, ...]
    """Folders made by make_maps; several of the same images are stacked as features."""
    out: Path = Path("runs/fit_boxes")
    method: Literal["ridge", "lad", "iou", "sgd"] = "lad"
    """ridge in closed form; least absolute deviations or an overlap loss, started there; seed 003's SGD."""
    features: Features = field(default_factory=Features)
    coding: Coding = "corners"
    lambdas: tuple[float, ...] = ridge.LAMBDAS
    """Penalties to choose from, relative to the mean eigenvalue of the features' covariance."""
    choose: Literal["iou", "corloc"] = "iou"
    """Figure on the held-out images that chooses the penalty."""
    shares: tuple[float, float, float] = (0.75, 0.15, 0.10)
    """Of the images, to fit, to choose and to score."""
    steps: int | None = None
    """Of lad, iou or sgd (default: each one's own)."""
    few_shot: tuple[int, ...] = ()
    """Also fit ridge to so many boxes, and plot CorLoc against them."""
    repeats: int = 5
    """Draws of each few-shot size."""
    budget: int = 4096
    """MiB for matrices of features by features; where they do not fit, conjugate gradients do without."""
    cache: int = 2048
    """MiB of features kept in memory; more are made again at every sweep."""
    processes: tyro.conf.OmitArgPrefixes[Processes] = field(default_factory=Processes)
    seed: int = 0
    quiet: bool = False


@dataclass(frozen=True)
class Split:
    fit: np.ndarray
    choose: np.ndarray
    score: np.ndarray


def main(options: Options) -> int:
    options.processes.start()
    check(options)
    start = time.perf_counter()
    part, parts = options.processes.share()
    stock = open_stock(options.stores, options.features, part=part, parts=parts, cache=options.cache * 2**20)
    split = split_of(len(stock), options)
    targets = encoded(stock.learned(), options.coding, stock.size)
    solution, path = fitted(stock, split, targets, options)
    record = {
        "method": options.method,
        "n": len(split.fit),
        "penalty": solution.penalty,
        "seed": options.seed,
        "path": path,
        **solution.trace,
    }
    linear = LinearMap(
        solution.weights,
        solution.intercept,
        options.features,
        options.coding,
        stock.typical(),
        stock.source,
        record,
    )
    images, boxes = predicted(stock, split.score, targets, [solution], options.coding)
    curve = few_shot(stock, split, targets, options) if options.few_shot else []
    if part == 0:
        write(options, stock, split, linear, images, stock.to_photos(boxes[0], images), curve)
        print(
            f"{time.perf_counter() - start:.1f} s; {options.out / 'linear_map.safetensors'} and report.html beside it"
        )
    return 0


def check(options: Options) -> None:
    if len(options.shares) != 3 or min(options.shares) <= 0 or sum(options.shares) > 1 + 1e-9:
        raise InputError(f"--shares must be three numbers above 0 that sum to at most 1, not {options.shares}")
    if not options.lambdas or min(options.lambdas) <= 0:
        raise InputError("--lambdas must be one or more numbers above 0")
    if options.few_shot and (min(options.few_shot) < 3 or options.processes.processes):
        raise InputError("--few-shot needs sizes of at least 3, and a single process")
    check_writable(options.out)


def split_of(n: int, options: Options) -> Split:
    order = np.random.default_rng(options.seed).permutation(n)
    ends = np.round(np.cumsum(options.shares) * n).astype(int)
    parts = [np.sort(part) for part in np.split(order, ends)[:3]]
    if min(map(len, parts)) < 3:
        raise InputError(f"{n} usable images are too few to be split {options.shares}; make maps of more")
    return Split(*parts)


def fitted(stock: Stock, split: Split, targets: np.ndarray, options: Options) -> tuple[Solution, dict[float, float]]:
    """The solution of the best penalty, and the figure of each on the held-out images."""
    rows = stock.rows(split.fit, targets)
    spectrum, solutions = None, None
    if options.processes.processes is None and not options.processes.cluster and len(split.fit) < stock.width:
        spectrum = ridge.from_rows(np.concatenate(list(rows.blocks())), rows.targets)
    elif 3 * 8 * stock.width**2 <= options.budget * 2**20:
        spectrum = ridge.from_moments(moments(rows))
    elif options.method == "ridge":
        solutions = [ridge.conjugate_gradients(rows, penalty) for penalty in options.lambdas]
    else:
        raise InputError(
            f"{stock.width:,} features need more than --budget {options.budget} MiB for a {options.method} fit;"
            " raise it, pool the maps, or use --method ridge"
        )
    if spectrum is not None:
        solutions = ridge.polished(spectrum, rows, [spectrum.solution(penalty) for penalty in options.lambdas])
    assert solutions is not None
    path = chosen(stock, split, targets, solutions, options)
    best = solutions[max(range(len(solutions)), key=lambda i: (path[i], solutions[i].penalty))]
    if spectrum is not None and options.method != "ridge":
        best = refined(best, spectrum, rows, options)
    return best, {solution.penalty: figure for solution, figure in zip(solutions, path)}


def refined(best: Solution, spectrum: ridge.Spectrum, rows: Rows, options: Options) -> Solution:
    if options.method == "lad":
        return lad.refine(best, spectrum, rows, options.steps or lad.STEPS)
    if options.method == "iou":
        centre = options.coding == "centre"
        return overlap.refine(best, spectrum, rows, centre=centre, steps=options.steps or overlap.STEPS)
    if options.processes.processes or options.processes.cluster:
        raise InputError("--method sgd runs in a single process; ridge, lad and iou in many")
    return sgd.descend(
        sgd.streamed(rows, options.seed),
        spectrum.mean_x,
        spectrum.mean_y,
        float(spectrum.squares.max()) / len(rows),
        alpha=spectrum.alpha(best.penalty) / len(rows),
        penalty=best.penalty,
        steps=options.steps or sgd.STEPS,
    )


def predicted(
    stock: Stock, images: np.ndarray, targets: np.ndarray, solutions: list[Solution], coding: Coding
) -> tuple[np.ndarray, np.ndarray]:
    """(the images, in some order; boxes `[solutions, n, 4]` in pixels of the maps), of all processes."""
    weights = np.concatenate([solution.weights for solution in solutions], 1)
    intercept = np.concatenate([solution.intercept for solution in solutions])
    codes = [x @ weights + intercept for x in stock.rows(images, targets).blocks()]
    table = gathered(np.concatenate([np.empty((0, len(intercept))), *codes]))
    order = gathered(stock.own(images).astype(float)).astype(int)
    return order, np.array([decoded(table[:, i : i + 4], coding, stock.size) for i in range(0, len(intercept), 4)])


def chosen(stock: Stock, split: Split, targets: np.ndarray, solutions: list[Solution], options: Options) -> list[float]:
    """The figure of each solution on the images held out for the choice."""
    images, boxes = predicted(stock, split.choose, targets, solutions, options.coding)
    true = [stock.true()[i] for i in images]
    overlaps = [best_iou(stock.to_photos(one, images), true) for one in boxes]
    return [float((hits(o) if options.choose == "corloc" else o).mean()) for o in overlaps]


def few_shot(stock: Stock, split: Split, targets: np.ndarray, options: Options) -> list[Figures]:
    """Ridge on random draws of few training boxes, penalty by leave-one-out; CorLoc on the test images."""
    own = stock.rows(split.fit, targets)
    x, order = np.concatenate(list(own.blocks())), stock.own(split.fit)
    boxes, rng = stock.learned()[order], np.random.default_rng(options.seed)
    curve = []
    sizes = [n for n in options.few_shot if n <= len(x)]
    progress = tqdm(total=len(sizes) * options.repeats, unit="fit", disable=cli.silent(options.quiet))
    for n in sizes:
        solutions = []
        for _ in range(options.repeats):
            drawn = rng.choice(len(x), n, replace=False)

            def overlap_of(codes: np.ndarray, boxes: np.ndarray = boxes[drawn]) -> float:
                return float(best_iou(decoded(codes, options.coding, stock.size), boxes).mean())

            solutions.append(ridge.cross_validated(x[drawn], own.targets[drawn], options.lambdas, overlap_of)[1])
            progress.update()
        images, found = predicted(stock, split.score, targets, solutions, options.coding)
        true = [stock.true()[i] for i in images]
        right = np.array([hits(best_iou(stock.to_photos(one, images), true)) for one in found])
        curve.append({"n": n, **interval(right.mean(0)), "draws": right.mean(1)})
    progress.close()
    return curve


def interval(values: np.ndarray) -> Figures:
    estimate = bootstrap(values)
    return {"corloc": estimate.value, "low": estimate.low, "high": estimate.high}


def write(
    options: Options,
    stock: Stock,
    split: Split,
    linear: LinearMap,
    images: np.ndarray,
    boxes: np.ndarray,
    curve: list[Figures],
) -> None:
    known, true = stock.learned()[split.fit], [stock.true()[i] for i in images]
    photo = np.array([stock.records[i].size for i in images])
    first = np.array([t[0] for t in true])
    small = (first[:, 2:] - first[:, :2]).prod(1) < photo.prod(1) / 2
    height, width = stock.size
    routes = {"linear map": boxes}
    for name, box in {
        "median box": np.median(known, axis=0),
        "mean box": known.mean(0),
        "full image": np.array([0, 0, width, height], float),
    }.items():
        routes[name] = stock.to_photos(np.tile(box, (len(images), 1)), images)
    overlaps = {name: best_iou(found, true) for name, found in routes.items()}
    rows = []
    for name, found in overlaps.items():
        right = hits(found)
        rows.append(
            {
                "route": name,
                **interval(right),
                "mean_iou": float(found.mean()),
                "small": interval(right[small]) if small.any() else None,
                "mcnemar_p": mcnemar_exact(right, hits(overlaps["linear map"])).p,
            }
        )
    results = {
        **report.record(
            replace(options, out=Path(options.out.name), quiet=False), options.seed, digest(stock), cli.command()
        ),
        "images": {"fit": len(split.fit), "choose": len(split.choose), "score": len(images), "small": int(small.sum())},
        "maps": stock.source,
        "penalty": linear.penalty,
        "path": linear.record["path"],
        "rows": rows,
        "few_shot": curve,
    }
    columns = ("image", "x0", "y0", "x1", "y1", "iou")
    found_boxes = (
        dict(zip(columns, (stock.records[i].source, *box.round(3), round(float(iou), 4))))
        for i, box, iou in zip(images, boxes, overlaps["linear map"])
    )
    with complete():
        report.write_csv(options.out / "boxes.csv", found_boxes, columns)
        linear.save(options.out / "linear_map.safetensors")
        page(options, results, linear)
        report.write_json(options.out / "results.json", results)
    print(table(results))


def digest(stock: Stock) -> str:
    return report.content_hash([store.digest() for store in stock.stores])


def table(results: Figures) -> str:
    lines = [f"{'box':<12} {'CorLoc [95%]':<22} {'below half the image':<22} mean IoU"]
    for row in results["rows"]:
        shares = [
            f"{100 * one['corloc']:5.1f} [{100 * one['low']:4.1f}, {100 * one['high']:4.1f}]" if one else "-"
            for one in (row, row["small"])
        ]
        lines.append(f"{row['route']:<12} {shares[0]:<22} {shares[1]:<22} {row['mean_iou']:.3f}")
    lines += [f"few-shot {one['n']:>6} boxes: CorLoc {100 * one['corloc']:.1f}" for one in results["few_shot"]]
    return "\n".join(lines)


def page(options: Options, results: Figures, linear: LinearMap) -> None:
    """The report: figures, the choice of the penalty, the few-shot curve, the learned weights."""
    figures = [report.Figure(report.png(path_plot(results)), "How the penalty was chosen, on images held out.")]
    if results["few_shot"]:
        plot = report.png(few_shot_plot(results))
        figures.append(report.Figure(plot, "CorLoc against the number of training boxes (ridge), mean of the draws."))
    rows = [
        [
            row["route"],
            100 * row["corloc"],
            f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]",
            100 * row["small"]["corloc"] if row["small"] else None,
            row["mean_iou"],
        ]
        for row in results["rows"]
    ]
    weights = report.png(weights_plot(linear.images(), linear.coding))
    columns = ("box", "CorLoc %", "95%", "CorLoc % below half the image", "mean IoU")
    counts = results["images"]
    report.write_page(
        options.out / "report.html",
        "Boxes from maps",
        f"{counts['fit']:,} images to fit, {counts['choose']:,} to choose the penalty, {counts['score']:,} to score:"
        f" {results['maps']['method']} maps of {results['maps']['network']}, {options.method}.",
        [
            report.Section("CorLoc", tables=[report.Table(columns, rows, best=0, decimals=(None, 1, None, 1, 3))]),
            report.Section("Fit", figures=figures, wide=False),
            report.Section("What the linear map learned", figures=[report.Figure(weights, WEIGHTS)]),
        ],
        results,
    )


def path_plot(results: Figures) -> Plot:
    plot = Plot(figsize=(5, 3.2))
    axes = plot.subplots()
    axes.semilogx(list(results["path"]), list(results["path"].values()), marker="o")
    axes.axvline(results["penalty"], color="grey", linestyle=":")
    axes.set_xlabel("ridge penalty, relative")
    axes.set_ylabel(f"held-out {'CorLoc' if results['config']['choose'] == 'corloc' else 'mean IoU'}")
    return plot


def few_shot_plot(results: Figures) -> Plot:
    plot = Plot(figsize=(5, 3.2))
    axes = plot.subplots()
    curve = results["few_shot"]
    n, value, low, high = (np.array([one[key] for one in curve]) for key in ("n", "corloc", "low", "high"))
    axes.errorbar(n, 100 * value, 100 * np.array([value - low, high - value]), marker="o", capsize=3)
    axes.set_xscale("log")
    median = next(row for row in results["rows"] if row["route"] == "median box")
    axes.axhline(100 * median["corloc"], color="grey", linestyle=":", label="median box")
    axes.set_xlabel("training boxes")
    axes.set_ylabel("CorLoc %")
    axes.legend()
    return plot


def weights_plot(images: np.ndarray, coding: Coding) -> Plot:
    names = ("x0", "y0", "x1", "y1") if coding == "corners" else ("centre x", "centre y", "width", "height")
    methods = images.shape[1]
    plot = Plot(figsize=(10, 2.6 * methods))
    for i, name in enumerate(names):
        for k in range(methods):
            axes = plot.add_subplot(methods, 4, k * 4 + i + 1)
            limit = np.abs(images[i, k]).max() or 1
            axes.imshow(images[i, k], cmap="RdBu_r", vmin=-limit, vmax=limit)
            axes.set_title(name)
            axes.axis("off")
    return plot


if __name__ == "__main__":
    cli.run(main, tyro.cli(Options))
