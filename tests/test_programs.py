"""Programs that another process finds ready: the same bits, found by all that decides them, and never in the way."""

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import FunctionType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency import _programs
from saliency._programs import _told, kept
from saliency.cache import use_cache
from saliency.models.graph import Node
from saliency.models.operators import Relu
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.scores import Score

TRACED = []
X = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)


def polynomial(weights, x, *, power=2, by=None):
    TRACED.append(power)
    y = sum(weights[name] * jnp.sin(x) ** (power + i) for i, name in enumerate(sorted(weights)))
    return {"y": y if by is None else by(y), "total": (y @ y.T).sum()}


WEIGHTS = {"a": jnp.float32(0.3), "b": jnp.arange(4, dtype=jnp.float32)}


@pytest.fixture
def folder(settings, tmp_path):
    use_cache(tmp_path)
    TRACED.clear()
    return tmp_path


def process():
    """What a process of its own would have: nothing in memory, where JAX knows functions by their identity."""
    own = FunctionType(polynomial.__code__, globals(), polynomial.__name__)
    own.__kwdefaults__ = polynomial.__kwdefaults__
    return kept("power", "by")(own)


def test_another_process_neither_traces_nor_compiles(folder):
    first = process()(WEIGHTS, X, power=3)
    assert TRACED == [3] and list(folder.glob("program-*-cache"))
    second = process()
    for _ in range(2):
        found = second(WEIGHTS, X, power=3)
        assert jax.tree.all(jax.tree.map(lambda a, b: (np.asarray(a) == b).all(), found, first))
    assert TRACED == [3]
    np.testing.assert_allclose(found["y"], polynomial(WEIGHTS, jnp.asarray(X), power=3)["y"], rtol=1e-6)


@pytest.mark.parametrize(
    ("weights", "x", "power"),
    [
        (WEIGHTS, X, 2),
        (WEIGHTS, X[:2], 3),
        (WEIGHTS, X.astype(np.float16), 3),
        ({"a": WEIGHTS["b"], "b": WEIGHTS["b"]}, X, 3),
        ({"a": WEIGHTS["a"], "c": WEIGHTS["b"]}, X, 3),
    ],
)
def test_other_arguments_have_programs_of_their_own(folder, weights, x, power):
    process()(WEIGHTS, X, power=3)
    found = process()(weights, x, power=power)
    assert TRACED == [3, power]
    np.testing.assert_allclose(found["y"], polynomial(weights, jnp.asarray(x), power=power)["y"], rtol=2e-3)


def test_so_have_other_settings_and_another_source(folder, monkeypatch):
    process()(WEIGHTS, X, power=3)
    with jax.default_matmul_precision("bfloat16"):
        process()(WEIGHTS, X, power=3)
    with jax.enable_x64(True):
        assert process()(WEIGHTS, X.astype(float), power=3)["y"].dtype == np.float64
    monkeypatch.setattr(_programs, "_surroundings", lambda: "another version")
    process()(WEIGHTS, X, power=3)
    assert TRACED == [3] * 4 and len(list(folder.glob("program-*-cache"))) == 4


@pytest.mark.parametrize("content", [b"junk", pickle.dumps((b"junk", None)), pickle.dumps(3)])
def test_what_cannot_be_loaded_is_compiled_and_written_anew(folder, content):
    expected = process()(WEIGHTS, X, power=3)["y"]
    (path,) = folder.glob("program-*-cache")
    _programs.in_use().put(path.name.removesuffix("-cache"), content, anew=True)
    assert (np.asarray(process()(WEIGHTS, X, power=3)["y"]) == expected).all() and TRACED == [3, 3]
    process()(WEIGHTS, X, power=3)
    assert TRACED == [3, 3]


def test_what_calls_a_library_is_left_to_jax(folder):
    def strengths(x):
        return jnp.linalg.eigh(x @ x.T)[0]

    function = kept()(strengths)
    np.testing.assert_allclose(function(jnp.asarray(X)), np.linalg.eigvalsh(X @ X.T), atol=1e-5)
    assert not list(folder.glob("program-*-cache"))


@pytest.mark.slow
def test_a_second_process_runs_every_rule_in_threads(tmp_path):
    """A process that only loaded Eigen-CAM's programs died in LAPACK, and two of those at once never ended."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    code = """
from concurrent.futures import ThreadPoolExecutor
import numpy as np, saliency
from saliency.maps.cam_rules import RULES
saliency.use_cache()
net = saliency.load_network("scenes_cnn")
x = net.preprocess(np.random.default_rng(0).integers(0, 255, (5, 96, 96, 3), np.uint8))
with ThreadPoolExecutor(4) as pool:
    found = list(pool.map(lambda rule: saliency.grad_cam(net, x, rule=rule, target=3), [*RULES] * 3))
print([float(one.astype(float).sum()) for one in found])
"""
    sums = [
        subprocess.run(
            [sys.executable, "-c", code], env={**environment, "SALBOX_CACHE": str(tmp_path)}, check=True,
            capture_output=True, text=True, timeout=240,
        ).stdout
        for _ in range(3)
    ]  # fmt: skip
    assert sums[0] and len(set(sums)) == 1 and list(tmp_path.glob("program-*-cache"))


def test_a_function_of_the_users_own_is_left_to_jax(folder):
    double = process()(WEIGHTS, X, by=lambda y: 2 * y)["y"]
    np.testing.assert_allclose(double, 2 * np.asarray(process()(WEIGHTS, X)["y"]), rtol=1e-6)
    assert len(list(folder.glob("program-*-cache"))) == 1  # of the second


def test_under_another_trace_and_without_a_folder_it_is_a_jitted_function(folder):
    function = process()
    slope = jax.grad(lambda x: function(WEIGHTS, x)["total"])(jnp.asarray(X))
    expected = jax.grad(lambda x: polynomial(WEIGHTS, x)["total"])(jnp.asarray(X))
    np.testing.assert_allclose(slope, expected, rtol=1e-5)
    use_cache("off")
    process()(WEIGHTS, X)
    assert not list(folder.glob("program-*-cache"))


def test_threads_wait_for_the_one_that_compiles(folder):
    function = process()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: function(WEIGHTS, X)["total"], range(8)))
    assert len(TRACED) == 1 and len({float(one) for one in found}) == 1


def test_values_are_told_apart_by_all_they_hold():
    net = scenes_cnn()
    words = {"".join(_told(one)) for one in (net, scenes_cnn(), replace(net), (net,))}
    assert len(words) == 2
    others = [
        replace(net, name="other"), replace(net, probabilities="sigmoid"), replace(net, size=(96, 97)),
        replace(net, nodes=(*net.nodes, Node("more", Relu(), (net.last,)))), scenes_cnn(classes=9), Score("gestalt"),
        Score("gestalt", "relu2_1"), 1, True, 1.0, "1", None, (), (1, (2, 3)), (1, 2, 3), [1, 2, 3], {"a": 1}, "(1,",
        np.float32(1), np.int32(1),
    ]  # fmt: skip
    assert len({"".join(_told(one)) for one in others} | words) == len(others) + 2
    for nameless in (lambda x: x, object(), Score(function=abs), np.zeros(2), {1, 2}):
        with pytest.raises(TypeError):
            "".join(_told(nameless))
