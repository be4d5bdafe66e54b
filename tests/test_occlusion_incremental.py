"""The incremental engine computes the dense path's numbers: every network, layer, score, border and phase."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from saliency import InputError, Score, _batches, occlusion_maps
from saliency.models.graph import Architecture, Builder
from saliency.models.operators import (
    Add,
    AvgPool,
    Concat,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    LocalResponseNorm,
    MaxPool,
    Relu,
)
from saliency.models.operators.regions import maximum_outside
from saliency.models.weights import random_network
from saliency.models.zoo.alexnet import alexnet, alexnet_2012
from saliency.models.zoo.resnet import resnet50
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.models.zoo.squeezenet import squeezenet1_1
from saliency.models.zoo.vgg import vgg16
from saliency.occlusion import Execution, Windows, choice, maps
from saliency.occlusion.dense import dense_scores
from saliency.occlusion.incremental import Masked, Programs, incremental_scores, jobs, prepared
from saliency.occlusion.plan import plan_for, plan_with
from tests import small_networks

LOGIT = Score()
SCORES = [
    Score("log_probability"),
    Score("contrast", against=2),
    Score(function=lambda logits: logits.max(-1) - logits.std(-1)),
    Score("gestalt"),
    Score("gestalt", "pool1"),
]
OTHERS = ("densenet121", "inception_v1", "efficientnet_lite0", "convnext_tiny")
SMALL = {
    "scenes_cnn": scenes_cnn(((4,), (6, 5)), classes=3, size=(21, 26)),
    "vgg16": vgg16(((4,), (6,), (5,)), hidden=7, classes=3, size=(32, 26)),
    "alexnet": alexnet((4, 5, 6, 5, 4), hidden=6, classes=3, size=(70, 63)),
    "alexnet_2012": alexnet_2012((6, 4, 6, 4, 4), hidden=6, classes=3, size=(71, 67)),
    "squeezenet1_1": squeezenet1_1(4, ((2, 3), None, (3, 4)), classes=3, size=(38, 45)),
    "resnet50": resnet50((2, 3), (1, 2), classes=3, size=(40, 33)),
}


def differences(architecture, windows, score=LOGIT, *, most=1, chunk=3, seed=0, target=1):
    """Incremental minus dense scores of all positions in float64, and the dense ones."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(seed)
        image, fill = rng.normal(size=(2, *windows.image, 3))
        weights = random_network(architecture, seed, np.float64).weights
        plan = plan_with(architecture, windows, score, most)
        mine, _ = incremental_scores(
            plan, prepared(plan, weights), Masked(image, fill, target), score=score,
            work=jobs(plan, 2**20, chunk), step=lambda count: None,
        )  # fmt: skip
        dense, _ = dense_scores(
            architecture, weights, image, fill, windows, score=score, target=target, chunk=64, step=lambda count: None
        )
    assert mine.dtype == dense.dtype == np.float64
    return mine - dense, dense


@pytest.mark.parametrize("name", [*SMALL, *OTHERS])
def test_every_position_of_every_network(name):
    architecture = SMALL[name] if name in SMALL else small_networks.SMALL[name]()
    height, width = architecture.size
    windows = Windows(architecture.size, (height // 4, width // 5), (height // 6, width // 7))
    off, dense = differences(architecture, windows, most=2 if name == "scenes_cnn" else 1)
    assert np.ptp(dense) > 1e-3
    assert_allclose(off, 0, atol=1e-9)


@pytest.mark.parametrize("score", SCORES, ids=str)
def test_every_score(score):
    architecture = SMALL["scenes_cnn"]
    off, dense = differences(architecture, Windows(architecture.size, (7, 9), (7, 8), "gaussian"), score)
    assert np.ptp(dense) > 1e-4
    assert_allclose(off, 0, atol=1e-9)


def test_a_probability():
    """Small, as this class is not the predicted one: what matters is how it varies."""
    architecture = SMALL["scenes_cnn"]
    off, dense = differences(architecture, Windows(architecture.size, (7, 9), (7, 8)), Score("probability"))
    assert np.ptp(dense) > 1e-2 * np.abs(dense).max()
    assert_allclose(off, 0, atol=1e-9 * np.abs(dense).max())


def test_a_bypassed_relu_is_left_out_where_the_score_says_so():
    architecture = SMALL["squeezenet1_1"]
    windows = Windows(architecture.size, (12, 15), (12, 15))
    before = Score("logit_before_relu")
    assert "relu10" not in plan_for(architecture, windows, before).architecture.by_name
    assert "relu10" in plan_for(architecture, windows, Score()).architecture.by_name
    for score in (before, Score("log_probability")):
        off, _ = differences(architecture, windows, score)
        assert_allclose(off, 0, atol=1e-9)


def layers(draw, build: Builder) -> None:
    """One more layer, or a branch that meets again."""
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kind = draw(st.sampled_from(["conv", "groups", "relu", "max", "avg", "norm", "fork", "add"]))
    last, i = build.nodes[-1].name, len(build.nodes)
    match kind:
        case "conv" | "groups":
            kernel, stride = draw(pair), draw(pair)
            padding = tuple((draw(st.integers(0, k // 2)), draw(st.integers(0, k // 2))) for k in kernel)
            build.add(f"conv{i}", Conv(6, kernel, stride, padding, groups=3 if kind == "groups" else 1))
        case "relu":
            build.add(f"relu{i}", Relu())
        case "max" | "avg":
            layer = MaxPool if kind == "max" else AvgPool
            window = draw(st.tuples(st.integers(2, 3), st.integers(2, 3)))
            build.add(f"pool{i}", layer(window, draw(pair), ((1, 0), (0, 1)), draw(st.booleans())))
        case "norm":
            build.add(f"norm{i}", LocalResponseNorm(alpha=0.5))
        case "fork":
            build.add(f"a{i}", Conv(3, (1, 1)), last)
            build.add(f"b{i}", Conv(3, (3, 3), padding=((1, 1), (1, 1))), last)
            build.add(f"both{i}", Concat(), f"a{i}", f"b{i}")
        case "add":
            build.add(f"c{i}", Conv(6, (1, 1)), last)
            build.add(f"d{i}", Conv(6, (3, 1), padding=((1, 1), (0, 0))), f"c{i}")
            build.add(f"sum{i}", Add(), f"c{i}", f"d{i}")


@st.composite
def architectures(draw) -> Architecture:
    build = Builder()
    for _ in range(draw(st.integers(1, 4))):
        layers(draw, build)
    gestalt = build.nodes[-1].name
    build.add("head", draw(st.sampled_from([GlobalAvgPool(), GlobalMaxPool(), Flatten()])))
    build.add("logits", Dense(3))
    size = draw(st.integers(14, 20)), draw(st.integers(14, 20))
    return Architecture("random", tuple(build.nodes), gestalt, size)


@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_random_stacks(data):
    architecture = data.draw(architectures())
    try:
        architecture.shapes(*architecture.size)
    except InputError:
        return  # too many strides: nothing is left
    patch = data.draw(st.tuples(st.integers(1, 14), st.integers(1, 14)))
    stride = tuple(data.draw(st.integers(max(1, side // 2), side)) for side in patch)
    convention = data.draw(st.sampled_from(["captum", "xplique"]))
    windows = Windows(architecture.size, patch, stride, "rectangle", convention)
    off, dense = differences(architecture, windows, most=data.draw(st.integers(1, 2)), chunk=8)
    assert_allclose(off, 0, atol=1e-9 * (1 + np.abs(dense).max()))


def test_panes_are_where_changes_can_be():
    """Known by hand: VGG16's regions for a patch of 32 px every 16, without groups at the border."""
    windows = Windows((224, 224), (32, 32), (16, 16))
    plan = plan_with(vgg16(), windows, Score(), 1)
    region = plan.groups[0].layout.region
    assert [region[f"conv{i}_1"][0] for i in range(1, 6)] == [34, 20, 14, 12, 10]
    assert plan.full_from == "conv5_3"
    assert plan.macs["fc8"] == 4096 and plan.macs_dense["fc8"] == 4096 * 1000
    assert 5 < plan.speedup < 5.2


def test_classes_save_work_and_cover_every_position_once():
    windows = Windows((224, 224), (32, 24), (16, 12))
    one, nine = (plan_with(vgg16(), windows, Score(), most) for most in (1, 3))
    assert nine.speedup > 1.1 * one.speedup
    for plan in (one, nine):
        for chunk in (None, 5):
            positions = np.concatenate([job.positions for job in jobs(plan, 2**22, chunk)])
            assert sorted(positions) == list(range(len(windows.positions)))


def test_more_work_pays_for_more_groups():
    windows = Windows((96, 96), (16, 16), (8, 8))
    few, many = (plan_for(scenes_cnn(), windows, Score(), images) for images in (1, 10_000))
    assert len(few.groups) == 1 < len(many.groups)


def test_the_budget_bounds_what_a_call_holds():
    plan = plan_with(vgg16(), Windows((224, 224), (8, 8), (4, 4)), Score(), 1)
    budget = 32 * 2**20
    for job in jobs(plan, budget):
        chunks, at_once = job.starts["image"].shape[:2]
        assert at_once * plan.position_bytes(plan.groups[0]) <= budget
        assert (chunks - 1) * at_once * plan.edge_bytes <= budget


def test_the_plan_prints_every_layer_that_multiplies():
    plan = plan_for(SMALL["vgg16"], Windows((32, 26), (8, 6), (4, 4)), Score())
    text = str(plan)
    assert all(name in text for name in ("conv1_1", "conv3_1", "fc6", "fc8"))
    assert "predicted speed-up" in text and f"{len(plan.windows.positions)} positions" in text


def test_auto_takes_what_the_plan_finds_cheaper(rng, monkeypatch):
    """Without the fixed cost of each layer of each group, which outweighs all else for so small a network."""
    monkeypatch.setattr(choice, "OVERHEAD", 0.0)
    monkeypatch.setattr(maps, "choices", choice.choices.__wrapped__)  # none is remembered from before, or for later
    net = random_network(scenes_cnn(((4,), (4,)), classes=3, size=(24, 24)))
    x = rng.normal(size=(2, 24, 24, 3)).astype(np.float32)
    seen = []
    execution = Execution(images=10**6)  # so many that what has to be compiled does not count
    small = occlusion_maps(net, x, patch=4, stride=4, execution=execution, progress=lambda *counts: seen.append(counts))
    assert small.engine == "incremental"
    assert seen[-1] == (72, 72) and seen == sorted(seen)
    assert occlusion_maps(net, x[:1], patch=24, stride=24).engine == "dense"
    dense = occlusion_maps(net, x, patch=4, stride=4, execution=Execution("dense"))
    assert dense.engine == "dense"
    assert_allclose(small.maps, dense.maps, atol=1e-5)


def test_many_images_have_a_core_each(rng, monkeypatch):
    monkeypatch.setattr(_batches, "cores", lambda: 2)
    used = []
    for name in ("ALL_CORES", "EACH_CORE"):
        own = getattr(maps, name)
        noted = lambda *given, name=name, own=own, **named: used.append(name) or own.scores(*given, **named)  # noqa: E731
        monkeypatch.setattr(maps, name, Programs(own.clean, noted))
    net = random_network(scenes_cnn(((4,), (4,)), classes=3, size=(18, 24)))
    x = rng.normal(size=(5, 18, 24, 3)).astype(np.float32)
    given = {"patch": 5, "stride": 4, "target": [0, 1, 2, 0, 1], "execution": Execution("incremental")}
    several = occlusion_maps(net, x, **given)
    assert set(used) == {"EACH_CORE"} and len(used) % 5 == 0
    for i in range(5):
        alone = occlusion_maps(net, x[i : i + 1], **{**given, "target": given["target"][i]})
        assert_allclose(several.maps[i], alone.maps[0], atol=1e-6 * np.abs(alone.scores).max())
    assert set(used) == {"ALL_CORES", "EACH_CORE"}


def test_maximum_outside_a_pane(rng):
    x = rng.normal(size=(5, 4, 3))
    starts = np.array([[0, 0], [2, 1], [3, 2]])
    for region in ((2, 2), (2, 1), (1, 2)):
        for start, found in zip(starts, maximum_outside(jnp.asarray(x), jnp.asarray(starts), region)):
            rest = x.copy()
            rest[start[0] : start[0] + region[0], start[1] : start[1] + region[1]] = -np.inf
            assert_allclose(found, rest.max((0, 1)), rtol=1e-6)
    assert (maximum_outside(jnp.asarray(x), jnp.zeros((1, 2), int), (5, 4)) == -np.inf).all()
