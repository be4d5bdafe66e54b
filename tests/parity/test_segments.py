"""Methods of segments against captum, on equal masks, orders and segments: 1e-4 of the largest value. Extremal
perturbations against a transcription of the formulas in slow torch, as TorchRay itself is not installed."""

from itertools import permutations

import numpy as np
import pytest
import torch
from captum._utils.models.linear_model import SkLearnLasso, SkLearnLinearRegression, SkLearnRidge
from captum.attr import FeatureAblation, KernelShap, Lime, Occlusion, ShapleyValueSampling
from captum.attr._core.lime import get_exp_kernel_similarity_function

import saliency
from saliency import Windows
from saliency.maps import extremal, shapley, surrogates
from saliency.models.network import Network
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.occlusion import Execution, fill_images
from scripts.torch_twin import Twin
from tests.parity.test_networks import channels_last, close, images

SIZE = (41, 56)
TARGET, SEED, K = 3, 4, 9


@pytest.fixture(scope="module")
def net() -> Network:
    return random_network(scenes_cnn(blocks=((4,), (6, 6), (8,))), seed=3)


@pytest.fixture
def twin(net) -> Twin:
    return Twin(net).eval()


@pytest.fixture(scope="module")
def segments() -> np.ndarray:
    """Of any shape: a grid, and scattered pixels of the last."""
    rng = np.random.default_rng(0)
    rows, cols = np.indices(SIZE)
    grid = rows * 2 // SIZE[0] * 4 + cols * 4 // SIZE[1]
    return np.where(rng.random(SIZE) < 0.1, K - 1, grid)


def given(net, segments):
    """The first image as torch has it, its fill and its feature mask."""
    x, torch_x = images(SIZE)
    fill = torch.from_numpy(np.array(fill_images(x, "grey", net.preprocess))).permute(0, 3, 1, 2)
    mask = torch.from_numpy(segments)[None, None].expand(1, 3, -1, -1).contiguous()
    return x[:1], torch_x[:1].detach(), fill[:1], mask


@pytest.mark.parametrize("engine", ["dense", "incremental"])
def test_feature_ablation(net, twin, segments, engine):
    x, torch_x, fill, mask = given(net, segments)
    theirs = FeatureAblation(twin).attribute(torch_x, fill, TARGET, feature_mask=mask, perturbations_per_eval=4)
    ours = saliency.segment_occlusion(net, x, segments, target=TARGET, execution=Execution(engine))
    assert ours.engine == engine
    close(ours.maps, theirs.numpy()[:, 0], 1e-4)


def test_occlusion_of_one_channel(net, twin, segments):
    x, torch_x, fill, _ = given(net, segments)
    theirs = Occlusion(twin).attribute(torch_x, (1, 11, 8), (1, 6, 8), fill, TARGET)
    ours = saliency.channel_occlusion(net, x, Windows(SIZE, (11, 8), (6, 8)), target=TARGET)
    close(ours, channels_last(theirs), 1e-4)


@pytest.mark.parametrize(
    ("regression", "model"),
    [
        ("ridge", SkLearnRidge(alpha=0.5)),
        ("lasso", SkLearnLasso(alpha=1e-3)),
        ("least squares", SkLearnLinearRegression()),
    ],
)
@pytest.mark.parametrize(("distance", "width"), [("cosine", 0.3), ("euclidean", 60.0)])
def test_lime(net, twin, segments, regression, model, distance, width):
    x, torch_x, fill, mask = given(net, segments)
    drawn = iter(torch.from_numpy(surrogates.lime_masks(40, K, SEED)))
    lime = Lime(
        twin,
        interpretable_model=model,
        similarity_func=get_exp_kernel_similarity_function(distance, width),
        perturb_func=lambda original, **kwargs: next(drawn)[None],
    )
    theirs = lime.attribute(torch_x, fill, TARGET, feature_mask=mask, n_samples=40)
    ours = saliency.lime_maps(
        net, x, segments, masks=40, seed=SEED, target=TARGET, distance=distance, width=width, regression=regression,
        alpha={"ridge": 0.5, "lasso": 1e-3}.get(regression, 0),
    )  # fmt: skip
    assert np.ptp(ours) > 0
    close(ours, theirs.numpy()[:, 0], 1e-4 if regression != "lasso" else 1e-3)  # sklearn's Lasso stops at its tolerance


def test_kernel_shap_by_samples(net, twin, segments):
    """Captum holds the ends by a weight of 1e6, we exactly."""
    x, torch_x, fill, mask = given(net, segments)
    theirs = KernelShap(twin)

    def perturb(original, **kwargs):
        yield from torch.from_numpy(surrogates.kernel_shap_masks(60, K, SEED)[0])[:, None]

    theirs.perturb_func = perturb
    found = theirs.attribute(torch_x, fill, TARGET, feature_mask=mask, n_samples=60)
    close(saliency.kernel_shap_maps(net, x, segments, masks=60, seed=SEED, target=TARGET), found.numpy()[:, 0], 1e-4)


def test_shapley_value_sampling(net, twin, segments):
    x, torch_x, fill, mask = given(net, segments)
    theirs = ShapleyValueSampling(twin)
    theirs.permutation_generator = lambda count, samples: iter(shapley.orders(samples, count, SEED).tolist())
    found = theirs.attribute(torch_x, fill, TARGET, feature_mask=mask, n_samples=5)
    close(saliency.shapley_maps(net, x, segments, samples=5, seed=SEED, target=TARGET), found.numpy()[:, 0], 1e-4)


def test_exact_shapley_values_are_one_thing(net, segments):
    """By all coalitions, by all orders, and by all orders of the definition."""
    x, _, _, _ = given(net, segments)
    halves = np.minimum(segments, 3)
    by_coalitions = saliency.kernel_shap_maps(net, x, halves, masks=16, target=TARGET)
    close(by_coalitions, saliency.shapley_maps(net, x, halves, samples=24, target=TARGET), 1e-4)
    fills = fill_images(x, "grey", net.preprocess)
    values = np.zeros(4)
    for order in permutations(range(4)):
        shown = np.zeros(4, bool)
        before = float(np.asarray(net(fills))[0, TARGET])
        for one in order:
            shown[one] = True
            after = float(np.asarray(net(np.where(shown[halves][None, ..., None], x, fills)))[0, TARGET])
            values[one] += (after - before) / 24
            before = after
    close(by_coalitions[0], values[halves], 1e-4)


def test_extremal_perturbations(net, twin, segments, monkeypatch):
    """Ten steps, in torch, loop upon loop."""
    monkeypatch.setattr(extremal, "CELLS", 6)
    x, torch_x, fill, _ = given(net, segments)
    iterations, area, step = 10, 0.3, extremal.Masks(SIZE).step
    rows, cols = extremal.Masks(SIZE).grid
    assert step == 7
    weight = torch.zeros(SIZE[0] * SIZE[1], rows, cols, dtype=torch.float64)
    near = torch.zeros_like(weight, dtype=torch.bool)
    for place in range(SIZE[0] * SIZE[1]):
        y, left = divmod(place, SIZE[1])
        for i in range(rows):
            for j in range(cols):
                apart = np.hypot(y - step * i, left - step * j) / (3 * step)
                weight[place, i, j] = np.exp(-2 * max(apart - 0.5, 0) ** 2)
                near[place, i, j] = abs(i - y // step) <= 4 and abs(j - left // step) <= 4
    outside = 81 - near.sum((1, 2))  # cells beyond the image are 0, and in the softmax all the same
    twin, image, fill = twin.double(), torch_x[0].double(), fill[0].double()
    parameters, momentum = torch.ones(rows, cols, dtype=torch.float64), torch.zeros(rows, cols, dtype=torch.float64)
    for turn in range(iterations):
        parameters.requires_grad_(True)
        values = weight * parameters
        powers = torch.where(near, torch.exp(20 * values), torch.zeros_like(values))
        mask = ((values * powers).sum((1, 2)) / (powers.sum((1, 2)) + outside)).clamp(0, 1).reshape(SIZE)
        composite = mask * image + (1 - mask) * fill
        if turn % 2 == 0:
            composite = composite.flip(-1)
        ordered = mask.flatten().sort()[0]
        with torch.no_grad():
            tie = 0.1 * 1e-4 ** (turn / iterations)
            first, past = (
                torch.searchsorted(ordered, ordered - tie),
                torch.searchsorted(ordered, ordered + tie, right=True),
            )
            wanted = ((past - ordered.numel() * (1 - area)) / (past - first)).clamp(0, 1)
        strength = 300 * 1.0035 ** (800 * turn / iterations)
        energy = strength * ((ordered - wanted) ** 2).mean() - twin(composite[None])[0, TARGET]
        (slope,) = torch.autograd.grad(energy, parameters)
        momentum = 0.9 * momentum + 0.1 * slope
        parameters = (parameters.detach() - min(0.1, 8 / iterations) * momentum).clamp(0, 1)
    ours = saliency.extremal_maps(net, x, target=TARGET, areas=area, iterations=iterations)
    assert np.ptp(ours) > 0.05
    close(ours[0], mask.detach().numpy(), 1e-4)
