"""Every method's maps on the CPU, in float32 and in float64: `JAX_PLATFORMS=cpu python -m tests.gpu.reference FILE`."""

import sys
from collections.abc import Collection

import jax
import numpy as np

from saliency.methods import ATTENTION, METHODS
from tests.gpu.problems import in_double, menu_problem


def menu(dtype: type, names: Collection[str]) -> dict[str, np.ndarray]:
    found = {}
    for attention in (False, True):
        net, x, targets, options = menu_problem(dtype, attention=attention)
        for name in names:
            if (name in ATTENTION) == attention:
                found[name] = METHODS[name].maps(net, x, target=targets, options=options)
    return found


if __name__ == "__main__":
    assert jax.default_backend() == "cpu"
    single = menu(np.float32, METHODS)
    with jax.enable_x64(True):
        double = menu(np.float64, in_double())
    arrays = {f"{name} 32": maps for name, maps in single.items()} | {
        f"{name} 64": maps for name, maps in double.items()
    }
    np.savez(sys.argv[1], **arrays)
