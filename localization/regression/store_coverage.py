"""Boxes by coverage from the maps of stores: shard by shard, in memory that does not grow with their number."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from localization.regression.cells import Cells
from localization.regression.coverage import CoverageMap, fit_coverage_blocks, of_methods
from localization.regression.data import RegressionData
from localization.regression.rows import gathered_in_order

Block = tuple[list[np.ndarray], np.ndarray, np.ndarray]


def fit_store(
    data: RegressionData,
    images: Int[np.ndarray, " m"],
    *,
    lambdas: Sequence[float],
    seed: int,
    candidates: Sequence[Cells] | None = None,
) -> CoverageMap:
    """Fit to the largest box of each of these images, in pixels of the maps; images of one photo stay in one fold."""
    boxes, photos = data.target_boxes(), data.photos()

    def blocks() -> Iterator[Block]:
        for own, maps in data.map_blocks(images):
            yield of_methods(maps), boxes[own], photos[own]

    return fit_coverage_blocks(
        blocks, size=data.size, candidates=candidates, lambdas=lambdas, seed=seed, source=data.source
    )


def fit_draws(
    data: RegressionData, draws: Sequence[Int[np.ndarray, " m"]], *, lambdas: Sequence[float], seed: int
) -> list[CoverageMap]:
    """Fits to a few images each, the cells given, from one sweep over the store."""
    boxes, photos = data.target_boxes(), data.photos()
    kept = {int(i): one for own, maps in data.map_blocks(np.unique(np.concatenate(draws))) for i, one in zip(own, maps)}

    def fit(drawn: np.ndarray) -> CoverageMap:
        maps = of_methods(np.stack([kept[int(i)] for i in drawn]))
        return fit_coverage_blocks(
            lambda: iter([(maps, boxes[drawn], photos[drawn])]),
            size=data.size,
            candidates=(Cells(),),
            lambdas=lambdas,
            seed=seed,
            source=data.source,
        )

    return [fit(np.sort(drawn)) for drawn in draws]


def predict_store(
    data: RegressionData, images: Int[np.ndarray, " m"], fits: Sequence[CoverageMap]
) -> tuple[Int[np.ndarray, " m"], Float[np.ndarray, "f m 4"]]:
    """(the images by their numbers; boxes of each fit in pixels of the maps), of all processes."""
    order, found = [np.empty(0, int)], [np.empty((0, 4 * len(fits)))]
    for own, maps in data.map_blocks(images):
        order.append(own)
        found.append(np.concatenate([fit.predict(of_methods(maps)) for fit in fits], 1))
    everywhere, boxes = gathered_in_order(np.concatenate(order), np.concatenate(found))
    return everywhere, np.moveaxis(boxes.reshape(-1, len(fits), 4), 1, 0)
