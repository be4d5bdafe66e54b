"""What a comparison says of maps without drawing boxes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from localization.boxes import to_input
from localization.comparison.maps import Made
from localization.comparison.samples import Samples
from saliency import faithfulness
from saliency.occlusion import fill_images

STEPS = 10  # of insertion and deletion


def quality(
    samples: Samples, made: Mapping[str, Made], targets: np.ndarray, images: int, seed: int
) -> dict[str, Any] | None:
    """Means over a draw of test images for each method, and the agreement of all pairs of methods."""
    chosen = samples.test
    if len(chosen) > images:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, images, replace=False))
    if not len(chosen):
        return None
    x, net, target = samples.input(chosen), samples.net, targets[chosen]
    placements = [net.preprocess.placement(samples.sizes[i]) for i in chosen.tolist()]
    true = [to_input(samples.true[i], at) for i, at in zip(chosen.tolist(), placements)] if samples.true else None
    maps = {name: one.over(net.preprocess, chosen, samples) for name, one in made.items()}
    blurred = fill_images(x, "blur", net.preprocess)  # once for all methods
    rows = []
    for name, own in maps.items():
        figures = {
            "insertion": faithfulness.insertion(net, x, own, target=target, steps=STEPS, fill=blurred).auc,
            "deletion": faithfulness.deletion(net, x, own, target=target, steps=STEPS).auc,
            "sparsity": faithfulness.sparsity(own),
        }
        if true is not None:
            figures["pointing"] = faithfulness.pointing_game(own, true)
            figures["energy"] = faithfulness.energy_pointing_game(own, true)
        rows.append({"method": name, **{key: _mean(values) for key, values in figures.items()}})
    pairs = faithfulness.agreement(maps)
    return {
        "images": len(chosen),
        "rows": rows,
        "methods": pairs.names,
        "rank_correlation": pairs.correlation,
        "top_overlap": pairs.overlap,
    }


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
