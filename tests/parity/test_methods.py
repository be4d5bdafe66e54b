"""Every method that captum has, against captum: 1e-4 of the largest value, on random weights and images."""

from dataclasses import astuple, replace

import numpy as np
import pytest
import torch
from captum.attr import (
    LRP,
    Deconvolution,
    DeepLift,
    DeepLiftShap,
    GradientShap,
    GuidedBackprop,
    GuidedGradCam,
    InputXGradient,
    IntegratedGradients,
    LayerAttribution,
    LayerGradCam,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from captum.attr._utils.lrp_rules import EpsilonRule, GammaRule

from saliency import deep_lift, expected_gradients, lrp
from saliency.maps.paths import ExpectedGradients
from saliency.methods import METHODS, Options
from saliency.models.graph import Architecture, Builder
from saliency.models.network import Network
from saliency.models.operators import AvgPool, Conv, Dense, GlobalAvgPool, GlobalMaxPool, MaxPool
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.models.zoo.squeezenet import squeezenet1_1
from saliency.occlusion import fill_images
from scripts.torch_twin import Twin
from tests.parity.test_networks import FIRES, channels_last, close, images

pytestmark = [
    pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU"),
    pytest.mark.filterwarnings(r"ignore:(?s)\s*Setting forward, backward hooks"),
    pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients"),
]

ARCHITECTURES = {
    "scenes_cnn": scenes_cnn(blocks=((4,), (6, 6), (8,))),
    "squeezenet1_1": squeezenet1_1(8, FIRES, classes=7),
}
SIZE = (41, 56)
TARGETS = [0, 3, 6]
OPTIONS = Options(patch=(11, 8), stride=(6, 8), samples=4, steps=10, seed=2)


@pytest.fixture(params=ARCHITECTURES, scope="module")
def net(request) -> Network:
    return random_network(ARCHITECTURES[request.param], seed=3)


@pytest.fixture
def twin(net) -> Twin:
    return Twin(net).eval()


def ours(name: str, net: Network, **changes: object) -> np.ndarray:
    return METHODS[name].maps(net, images(SIZE)[0], target=TARGETS, options=replace(OPTIONS, **changes))


def largest(attribution: torch.Tensor) -> np.ndarray:
    return np.abs(channels_last(attribution)).max(-1)


def summed(attribution: torch.Tensor) -> np.ndarray:
    return channels_last(attribution).sum(-1)


def test_the_twin_is_the_network(net, twin):
    x, torch_x = images(SIZE)
    close(np.asarray(net(x)), twin(torch_x).detach().numpy(), 1e-5)


def test_saliency(net, twin):
    attribution = Saliency(twin).attribute(images(SIZE)[1], target=TARGETS)
    close(ours("gradient-max", net), largest(attribution), 1e-4)
    close(ours("gradient-mean", net), channels_last(attribution).mean(-1), 1e-4)


def test_input_x_gradient(net, twin):
    close(ours("input-x-gradient", net), summed(InputXGradient(twin).attribute(images(SIZE)[1], target=TARGETS)), 1e-4)


@pytest.mark.parametrize("fill", ["grey", "blur"])
def test_integrated_gradients(net, twin, fill):
    x, torch_x = images(SIZE)
    baseline = torch.from_numpy(np.array(fill_images(x, fill, net.preprocess))).permute(0, 3, 1, 2)
    attribution = IntegratedGradients(twin).attribute(torch_x, baseline, target=TARGETS, n_steps=OPTIONS.steps)
    close(ours("integrated-gradients", net, fill=fill), summed(attribution), 1e-4)


@pytest.mark.parametrize(
    ("name", "kind"), [("smoothgrad", "smoothgrad"), ("smoothgrad-squared", "smoothgrad_sq"), ("vargrad", "vargrad")]
)
def test_noise_tunnel(net, twin, monkeypatch, name, kind):
    """With the same noise: captum draws its own, all samples of an image one after another."""
    x, torch_x = images(SIZE)
    deviation = OPTIONS.noise * np.ptp(x, axis=(1, 2, 3))
    draws = np.random.default_rng(OPTIONS.seed).standard_normal((OPTIONS.samples, *x.shape[1:]), np.float32)
    noise = torch.from_numpy((deviation[:, None, None, None, None] * draws).reshape(-1, *x.shape[1:]).astype("f"))
    monkeypatch.setattr(torch, "normal", lambda mean, std: noise.permute(0, 3, 1, 2))
    attribution = NoiseTunnel(Saliency(twin)).attribute(
        torch_x, nt_type=kind, nt_samples=OPTIONS.samples, stdevs=1.0, target=TARGETS, abs=False
    )
    close(ours(name, net), largest(attribution), 1e-4)


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_gradient_shap(net, twin, monkeypatch, noise):
    """With the same backgrounds, places and noise: captum draws its own, all samples of an image one after another."""
    x, torch_x = images(SIZE)
    backgrounds = np.random.default_rng(6).normal(size=(3, *x.shape[1:])).astype(np.float32)
    places, order, draws = ExpectedGradients(5, noise, 7, backgrounds).draws(x.shape[1:])
    deviation = (noise * np.ptp(x, axis=(1, 2, 3)))[:, None, None, None, None]
    added = torch.from_numpy((deviation * draws + np.zeros_like(x[0])).reshape(-1, *x.shape[1:]).astype("f"))
    monkeypatch.setattr(torch, "normal", lambda mean, std: added.permute(0, 3, 1, 2))
    monkeypatch.setattr(np.random, "uniform", lambda low, high, size: np.tile(places, len(x)))
    monkeypatch.setattr(np.random, "choice", lambda count, size: np.tile(order, len(x)))
    attribution = GradientShap(twin).attribute(
        torch_x, torch.from_numpy(backgrounds).permute(0, 3, 1, 2), n_samples=5, stdevs=1.0, target=TARGETS
    )
    found = expected_gradients(net, x, backgrounds, samples=5, noise=noise, seed=7, target=TARGETS)
    close(found, summed(attribution), 1e-4)


def test_guided_backprop(net, twin):
    close(ours("guided-backprop", net), largest(GuidedBackprop(twin).attribute(images(SIZE)[1], target=TARGETS)), 1e-4)


def test_deconvolution(net, twin):
    """Its signals pass zeros too, and zeros tie in a pool: both libraries then take the first."""
    close(ours("deconvolution", net), largest(Deconvolution(twin).attribute(images(SIZE)[1], target=TARGETS)), 1e-4)


def test_grad_cam(net, twin):
    layer = net.architecture.gestalt_layer
    attribution = LayerGradCam(twin, twin.steps[twin.place[layer]]).attribute(
        images(SIZE)[1], target=TARGETS, relu_attributions=True
    )
    enlarged = LayerAttribution.interpolate(attribution, SIZE, "bilinear")
    close(ours("grad-cam", net), enlarged.detach().numpy()[:, 0], 1e-4)


def test_guided_grad_cam(net, twin):
    layer = net.architecture.gestalt_layer
    attribution = GuidedGradCam(twin, twin.steps[twin.place[layer]]).attribute(
        images(SIZE)[1], target=TARGETS, interpolate_mode="bilinear"
    )
    close(ours("guided-grad-cam", net), largest(attribution), 1e-4)


def test_occlusion(net, twin):
    x, torch_x = images(SIZE)
    baseline = torch.from_numpy(np.array(fill_images(x, "grey", net.preprocess))).permute(0, 3, 1, 2)
    attribution = Occlusion(twin).attribute(
        torch_x.detach(), (3, *OPTIONS.patch), (3, *OPTIONS.stride), baseline, TARGETS, perturbations_per_eval=7
    )
    close(ours("occlusion", net), attribution.numpy()[:, 0], 1e-4)


@pytest.fixture(params=ARCHITECTURES)
def pooled(request) -> tuple[Network, Twin]:
    """With means for maxima: captum's rule for a maximum after a ReLU does not add up to the score's difference, as its
    own `return_convergence_delta` tells, and where windows overlap its `max_unpool2d` drops shares."""
    architecture = ARCHITECTURES[request.param]
    means = {MaxPool: AvgPool, GlobalMaxPool: GlobalAvgPool}
    nodes = (
        replace(node, layer=means[type(node.layer)](*astuple(node.layer))) if node.layer.maximizes else node
        for node in architecture.nodes
    )
    net = random_network(replace(architecture, nodes=tuple(nodes)), seed=3)
    return net, Twin(net).eval()


def test_deep_lift_of_a_maximum():
    build = Builder()
    build.add("conv", Conv(6, (3, 3)))
    build.add("pool", MaxPool((3, 2), (3, 2)))
    build.add("mean", GlobalAvgPool())
    build.add("logits", Dense(7))
    net = random_network(Architecture("maximum", tuple(build.nodes), "conv", SIZE), seed=3)
    twin = Twin(net).eval()
    twin.steps[twin.place["pool"]] = torch.nn.MaxPool2d((3, 2), (3, 2))  # captum sees modules, no functions
    x, torch_x = images(SIZE)
    baseline = np.random.default_rng(5).normal(size=(1, *x.shape[1:])).astype(np.float32)
    torch_baseline = torch.from_numpy(baseline).permute(0, 3, 1, 2)
    attribution = DeepLift(twin).attribute(torch_x, torch_baseline, target=TARGETS)
    close(deep_lift(net, x, target=TARGETS, baselines=baseline), summed(attribution), 1e-4)


@pytest.mark.parametrize("fill", ["grey", "blur"])
def test_deep_lift(pooled, fill):
    net, twin = pooled
    x, torch_x = images(SIZE)
    baseline = torch.from_numpy(np.array(fill_images(x, fill, net.preprocess))).permute(0, 3, 1, 2)
    attribution = DeepLift(twin).attribute(torch_x, baseline, target=TARGETS)
    close(ours("deep-lift", net, fill=fill), summed(attribution), 1e-4)


def test_deep_lift_of_several_baselines(pooled):
    net, twin = pooled
    x, torch_x = images(SIZE)
    baselines = np.random.default_rng(5).normal(size=(4, *x.shape[1:])).astype(np.float32)
    torch_baselines = torch.from_numpy(baselines).permute(0, 3, 1, 2)
    attribution = DeepLiftShap(twin).attribute(torch_x, torch_baselines, target=TARGETS)
    close(deep_lift(net, x, target=TARGETS, baselines=baselines), summed(attribution), 1e-4)


def with_rules(twin: Twin, weighted: list) -> Twin:
    """captum asks each module for its rule: ReLUs have none, and what has no weights passes on what contributed."""
    rules = iter(weighted)
    for step in twin.steps:
        if not isinstance(step, torch.nn.ReLU):
            step.rule = next(rules) if hasattr(step, "weight") else EpsilonRule()
    return twin


@pytest.mark.parametrize("gamma", [0.0, 0.25])
def test_lrp(gamma):
    """Of a plain network: captum takes no module with several inputs. Gamma without biases, which captum leaves as they
    are where the paper's sum (Montavon et al. 2019, Eq. 10.11) counts them among the weights; and of images without
    negative values, which captum's rule does not tell from positive ones."""
    net = random_network(ARCHITECTURES["scenes_cnn"], seed=3)
    if gamma:
        bare = {
            layer: {name: np.zeros_like(v) if name == "bias" else v for name, v in held.items()}
            for layer, held in net.weights.items()
        }
        net = Network(net.architecture, bare, net.preprocess)
    x, _ = images(SIZE)
    x = np.abs(x) if gamma else x
    torch_x = torch.from_numpy(x.copy()).permute(0, 3, 1, 2)
    count = sum(node.layer.weighted for node in net.architecture.nodes)
    twin = with_rules(Twin(net).eval(), [GammaRule(gamma) if gamma else EpsilonRule(1e-6) for _ in range(count)])
    attribution = LRP(twin).attribute(torch_x, target=TARGETS)
    found = lrp(net, x, rule="gamma" if gamma else "epsilon", gamma=gamma, target=TARGETS)
    close(found, summed(attribution), 1e-4)
