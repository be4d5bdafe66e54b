"""Every method of the menu: an accelerator's maps are a CPU's, to 1e-4 of the largest value, or there is a reason.

The reason there can be: where a unit lies within rounding of zero its ReLU may switch, and an argmax within a pool may
move. It is told by the CPU itself, whose float32 map is then as far from its float64 map, or it is seen in a few pixels
alone.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

from saliency.methods import ATTENTION, METHODS
from tests.gpu.problems import in_double, menu_problem, small_form

pytestmark = pytest.mark.gpu
CLOSE = 1e-4
FEW = 0.02  # of the pixels
SWITCHES = 0.1  # the most that a switch may move a pixel, as a share of the map's largest value


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The CPU's maps, made beside what is done here."""
    file = tmp_path_factory.mktemp("reference") / "maps.npz"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "SALBOX_GPU_FORM": "small" if small_form() else "large"}
    process = subprocess.Popen([sys.executable, "-m", "tests.gpu.reference", str(file)], env=environment)

    def wait():
        assert process.wait() == 0
        return np.load(file)

    yield wait
    process.kill()
    process.wait()


@pytest.mark.parametrize("name", METHODS)
def test_maps_are_the_cpus(reference, name, record_property):
    net, x, targets, options = menu_problem(attention=name in ATTENTION)
    maps = METHODS[name].maps(net, x, target=targets, options=options)
    known = reference()
    single = known[f"{name} 32"]
    largest = np.abs(single).max((1, 2), keepdims=True)
    assert largest.any()
    largest[largest == 0] = 1  # Grad-CAM's map can be 0 everywhere
    off = np.abs(maps - single) / largest
    own = float((np.abs(single - known[f"{name} 64"]) / largest).max()) if name in in_double() else 0.0
    apart, share = float(off.max()), float((off > CLOSE).mean())
    record_property("apart", apart)
    record_property("float32 from float64 on the CPU", own if name in in_double() else None)
    assert maps.shape == single.shape and np.isfinite(maps).all()
    if apart > CLOSE:
        reason = (
            "float32 itself"
            if apart <= 3 * own <= SWITCHES
            else "switches"
            if share <= FEW and apart <= SWITCHES
            else None
        )
        record_property("reason", reason)
        record_property("pixels beyond 1e-4", share)
        assert reason, f"{name}: {apart:.1e} apart in {share:.2%} of the pixels; on the CPU float32 is off by {own:.1e}"
