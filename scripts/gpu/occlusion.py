"""Part 3: occlusion maps, dense and incremental, beside captum on torch.

A process for each network and framework. A device tells the most bytes that a process has held so far: where a row did
not raise them (`raised`), its own peak is at most that. Captum is tried in every setting with few windows, with TF32
and without; the two best then have cuDNN choose its kernels by timing (`benchmark`, seconds for each shape), and the
best of all takes many windows.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import jax
import numpy as np

from saliency._batches import balanced_size
from saliency.devices import default_budget
from saliency.models.network import Network
from saliency.occlusion import occlusion_maps
from saliency.occlusion.dense import dense_scores, positions_for
from saliency.occlusion.incremental import Masked, at_once, incremental_scores, jobs, prepared
from saliency.occlusion.plan import Plan, plan_for
from saliency.occlusion.windows import Windows
from saliency.scores import Score
from scripts.gpu.common import (
    NETWORKS,
    SETTINGS,
    Journal,
    Row,
    images,
    network,
    peak,
    piece,
    relative,
    timed,
    windows_of,
)

TARGET = 3  # whichever
CHUNKS = (64, 256, 1024)
PERTURBATIONS = (32, 64, 128, 256, 512)
FEW = (4, 8)
MANY = 8  # images in one call
OFTEN = 1000  # images to plan for where compiling counts little
SCORE = Score()


def run(journal: Journal, small: bool, arguments: Sequence[str]) -> None:
    """All networks, the one with an aim first; each piece has its share of what is left. Of the small form's networks,
    which are one, the first."""
    pieces = [(name, who) for name in (NETWORKS[:1] if small else NETWORKS) for who in ("ours", "captum")]
    shares = {"ours": 3.0, "captum": 1.6}
    for at, (name, who) in enumerate(pieces):
        waiting = sum(shares[w] * (1.5 if n == "vgg16" else 1) for n, w in pieces[at:])
        seconds = journal.left * shares[who] * (1.5 if name == "vgg16" else 1) / waiting
        environment = {"JAX_PLATFORMS": "cpu"} if who == "captum" else {}
        ended = piece(
            "occlusion", f"{name}-{who}", [*arguments, "--seconds", f"{seconds:.0f}"], seconds + 3, **environment
        )
        journal.add(network=name, who=who, ended=ended or "well")
    journal.done()


def run_piece(journal: Journal, name: str, small: bool, weights: Path | None, out: Path) -> None:
    network_name, who = name.split("-")
    if who == "captum":
        captum_piece(journal, network_name, small, weights, out)
    else:
        ours(journal, network_name, small, weights, out)
    journal.done()


def scores_file(out: Path, name: str, patch: int) -> Path:
    return out / f"scores_{name}_{patch}.npy"


def ours(journal: Journal, name: str, small: bool, weights: Path | None, out: Path) -> None:
    """What matters most comes first: time may not suffice for all."""
    net, origin = network(name, small, weights)
    journal.add(network=name, weights=origin)
    right: dict[int, np.ndarray] = {}

    def of(patch: int, stride: int, engine: str) -> tuple[Windows, Row]:
        windows = windows_of(net, patch, stride, small)
        row = {"network": name, "patch": patch, "stride": stride, "positions": len(windows.positions), "engine": engine}
        return windows, row

    def faster(patch: int, stride: int, chunk: int, often: bool = False, tf32: bool = False) -> None:
        """The incremental engine: for a single map, or with as many groups of positions as many maps pay for."""
        windows, row = of(patch, stride, "incremental")
        plan = plan_for(net.architecture, windows, SCORE, OFTEN if often else 1)
        if often and len(plan.groups) == 1:
            return
        row |= {"classes": len(plan.groups), "chunk": chunk, **({"precision": "TF32"} if tf32 else {})}
        call = partial(incremental, net, plan, chunk, right, patch)
        found = journal.measure(row, partial(in_tf32, call) if tf32 else call, least=15 if often else 5)
        if found:
            best.setdefault(patch, found)
            best[patch] = min(best[patch], found, key=lambda one: one["seconds"])

    def slower(patch: int, stride: int, chunk: int) -> None:
        windows, row = of(patch, stride, "dense")
        journal.measure({**row, "chunk": chunk}, partial(dense, net, windows, chunk, right, patch), least=8)

    best: dict[int, Row] = {}
    few, middle, many = (2, 4, 16) if small else CHUNKS
    for patch, stride in SETTINGS[::-1]:
        for chunk in (middle, many) if patch == 8 else (middle,):
            faster(patch, stride, chunk)
        if patch in right:
            np.save(scores_file(out, name, patch), right[patch])
    for patch, stride in SETTINGS[::-1]:
        if patch in best:
            faster(patch, stride, best[patch]["chunk"], tf32=True)
    for patch, stride in SETTINGS[::-1]:
        slower(patch, stride, middle)
    windows, row = of(*SETTINGS[0], "auto")
    journal.measure({**row, "what": f"occlusion_maps of {MANY} images, a map each"}, partial(several, net, windows))
    for patch, stride in SETTINGS[::-1]:
        faster(patch, stride, few)
    slower(*SETTINGS[0], few)
    for patch, stride in SETTINGS[::-1]:
        if patch in best:
            faster(patch, stride, best[patch]["chunk"], often=True)


def rates(found: Row, macs: float, before: int | None) -> Row:
    return {**found, "ms": 1000 * found["seconds"], "tflops": 2 * macs / found["seconds"] / 1e12, **held(before)}


def held(before: int | None) -> Row:
    """The process's peak, and whether it is higher than it was."""
    return {"peak_bytes": peak(), "raised": peak() != before}


def incremental(net: Network, plan: Plan, chunk: int, right: dict[int, np.ndarray], patch: int) -> Row:
    """One image's map; the scores of the first engine that ran in float32 are the ones to compare with."""
    before, work, weights = peak(), jobs(plan, default_budget(), chunk), prepared(plan, net.weights)
    image = images(net, 1)[0]
    seen: list[np.ndarray] = []

    def call() -> None:
        seen[:] = [
            incremental_scores(
                plan, weights, Masked(image, np.zeros_like(image), TARGET), score=SCORE, work=work, step=lambda n: None
            )[0]
        ]

    found = timed(call)
    apart = relative(seen[0], right.setdefault(patch, seen[0]))
    macs = len(plan.windows.positions) * sum(plan.macs.values()) + sum(plan.macs_dense.values())
    return {**rates(found, macs, before), "apart": apart, "at_once": at_once(work), "predicted_speedup": plan.speedup}


def dense(net: Network, windows: Windows, chunk: int, right: dict[int, np.ndarray], patch: int) -> Row:
    before, image = peak(), images(net, 1)[0]
    most = positions_for(net.architecture, *windows.image, net.architecture.last, default_budget())
    seen: list[np.ndarray] = []

    def call() -> None:
        seen[:] = [
            dense_scores(
                net.architecture, net.weights, image, np.zeros_like(image), windows,
                score=SCORE, target=TARGET, chunk=min(chunk, most), step=lambda n: None,
            )[0]
        ]  # fmt: skip

    found = timed(call)
    apart = relative(right[patch], seen[0]) if patch in right else None
    plan = plan_for(net.architecture, windows, SCORE)
    macs = len(windows.positions) * sum(plan.macs_dense.values())
    return {
        **rates(found, macs, before),
        "apart": apart,
        "at_once": balanced_size(len(windows.positions), min(chunk, most)),
    }


def several(net: Network, windows: Windows) -> Row:
    """What a user calls, on a few images: seconds a map."""
    before, x = peak(), images(net, MANY)
    found = timed(lambda: occlusion_maps(net, x, patch=windows.patch, stride=windows.stride, target=TARGET))
    each = {key: found[key] / MANY for key in ("seconds", "first_s")}
    return {
        **found,
        **each,
        "every_s": [s / MANY for s in found["every_s"]],
        "ms": 1000 * each["seconds"],
        **held(before),
    }


def in_tf32(call: Callable[[], Row]) -> Row:
    with jax.default_matmul_precision("tensorfloat32"):
        return call()


def captum_piece(journal: Journal, name: str, small: bool, weights: Path | None, out: Path) -> None:
    for package in ("torch", "captum"):
        if not find_spec(package):
            journal.skip(f"{package} is not installed")
            return
    import torch

    from scripts.gpu.torch_side import fast_float32, name_of_device

    net, _ = network(name, small, weights)
    if not torch.cuda.is_available() and not small:
        journal.skip("torch sees no GPU")
        return
    few, many = (windows_of(net, *setting, small) for setting in SETTINGS)
    settings = [
        (order, at_once) for order in ("contiguous", "channels_last") for at_once in (FEW if small else PERTURBATIONS)
    ]

    def row(windows: Windows, setting: tuple[str, int], tf32: bool, benchmark: bool) -> float:
        """Seconds of a map; infinite where there was no time or no memory."""
        order, at_once = setting
        patch, stride = SETTINGS[windows is many]
        key = {
            "network": name, "patch": patch, "stride": stride, "tf32": tf32, "order": order, "at_once": at_once,
            "benchmark": benchmark,
        }  # fmt: skip
        torch.backends.cudnn.benchmark = benchmark
        file, repeats = scores_file(out, name, patch), 3 if windows is many else 1
        found = journal.measure(key, partial(captum, net, windows, order, at_once, file, repeats), least=2)
        return found["seconds"] if found else math.inf

    for tf32 in (False, True):
        fast_float32(tf32)
        tried = {(setting, False): row(few, setting, tf32, False) for setting in settings}
        for setting in sorted(settings, key=lambda one: tried[one, False])[:2]:
            tried[setting, True] = row(few, setting, tf32, True)
        setting, benchmark = min(tried, key=tried.__getitem__)
        if math.isfinite(tried[setting, benchmark]):
            row(many, setting, tf32, benchmark)
    journal.add(device=name_of_device())


def captum(net: Network, windows: Windows, order: str, at_once: int, file: Path, repeats: int) -> Row:
    """Captum's Occlusion of one image that lies on the device; how far its scores are from ours."""
    import torch
    from captum.attr import Occlusion

    from scripts.gpu.torch_side import device, forget_peak, peak_bytes, twin_of, wait

    twin = twin_of(net)
    x = torch.from_numpy(images(net, 1)).permute(0, 3, 1, 2).to(device())
    x = x.contiguous(memory_format=torch.channels_last if order == "channels_last" else torch.contiguous_format)
    seen: list[torch.Tensor] = []

    def forward(inputs: torch.Tensor) -> torch.Tensor:
        scores = twin(inputs)
        seen.append(scores[:, TARGET])
        return scores

    def call() -> None:
        seen.clear()
        with torch.no_grad():
            Occlusion(forward).attribute(
                x, (3, *windows.patch), (3, *windows.stride), baselines=0, target=TARGET, perturbations_per_eval=at_once
            )
        wait()

    forget_peak()
    found = timed(call, repeats) if repeats > 1 else {**timed(call, 1), "steady": None}
    scores = torch.cat(seen[1:]).cpu().numpy()  # the first is the untouched image; then column after column
    scores = scores.reshape(windows.grid[::-1]).T.ravel()
    apart = relative(scores, np.load(file, allow_pickle=False)) if file.exists() else None
    return {**found, "ms": 1000 * found["seconds"], "apart": apart, "peak_bytes": peak_bytes()}
