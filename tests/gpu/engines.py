"""Both engines on one network; a file for each network, so that they compile side by side."""

from collections.abc import Callable

import numpy as np

from saliency import occlusion_maps
from saliency.occlusion import Execution
from tests.gpu.problems import engine_problem


def check_engines(name: str, tell: Callable[[str, object], None]) -> None:
    net, x, sizes, origin = engine_problem(name)
    tell("weights", origin)
    incremental, dense = (
        occlusion_maps(net, x, **sizes, target=1, execution=Execution(engine)).scores
        for engine in ("incremental", "dense")
    )
    apart = float(np.abs(incremental - dense).max() / np.abs(dense).max())
    tell("apart", apart)
    tell("positions", int(dense.size))
    assert np.ptp(dense) > 1e-3 * np.abs(dense).max()
    assert apart <= 1e-4
