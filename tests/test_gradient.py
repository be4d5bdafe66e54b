"""Gradient maps: against finite differences, what they cost, and what they do not depend on."""

import jax
import numpy as np
import pytest

from saliency.errors import InputError
from saliency.maps.gradient import gradient_maps, input_gradient, reduce_channels
from saliency.models.graph import Architecture, Builder
from saliency.models.network import Network
from saliency.models.operators import Dense, Flatten
from saliency.models.weights import random_network
from saliency.models.zoo.alexnet import alexnet_2012
from saliency.models.zoo.resnet import resnet50
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.models.zoo.squeezenet import squeezenet1_1
from saliency.scores import Score

NETWORKS = {
    "scenes_cnn": lambda: scenes_cnn(((4,), (5, 6)), size=(9, 12)),
    "squeezenet1_1": lambda: squeezenet1_1(4, ((2, 3), None, (3, 4)), 5, (21, 28)),
    "resnet50": lambda: resnet50((2, 3), (1, 2), 5, (18, 25)),
    "alexnet_2012": lambda: alexnet_2012((4, 4, 4, 4, 4), 6, 5, (67, 83)),
}


@pytest.fixture(scope="module")
def net() -> Network:
    return random_network(NETWORKS["scenes_cnn"]())


@pytest.fixture
def x(rng):
    return rng.normal(size=(3, 9, 12, 3)).astype(np.float32)


@pytest.mark.parametrize("name, kind", [*((name, "logit") for name in NETWORKS), ("squeezenet1_1", "gestalt")])
def test_finite_differences(name, kind, rng):
    """Central differences along random directions, in float64."""
    with jax.enable_x64(True):
        net = random_network(NETWORKS[name](), dtype=np.float64)
        architecture, weights, score = net.architecture, net.weights, Score(kind)
        x = rng.normal(size=(1, *architecture.size, 3))
        target = np.array([3], np.int32)
        gradient = np.asarray(input_gradient(weights, x, target, architecture=architecture, score=score))
        function = jax.jit(lambda x: score(architecture, weights, x, target)[0])
        for _ in range(5):
            direction = rng.normal(size=x.shape)
            step = 1e-6
            difference = (function(x + step * direction) - function(x - step * direction)) / (2 * step)
            np.testing.assert_allclose((gradient * direction).sum(), difference, rtol=1e-5, atol=1e-9)


def test_a_linear_score_has_its_weights_as_gradient(rng):
    build = Builder()
    build.add("flatten", Flatten())
    build.add("logits", Dense(4))
    net = random_network(Architecture("linear", tuple(build.nodes), "image", (5, 7)))
    x = rng.normal(size=(2, 5, 7, 3)).astype(np.float32)
    kernel = np.asarray(net.weights["logits"]["kernel"]).reshape(5, 7, 3, 4)
    maps = gradient_maps(net, x, target=[1, 3], aggregate="signed")
    np.testing.assert_allclose(maps, [kernel[..., 1], kernel[..., 3]], rtol=1e-6)


def test_aggregates(net, x):
    signed = gradient_maps(net, x, target=2, aggregate="signed")
    assert signed.shape == x.shape and (signed < 0).any()
    expected = {
        "max": np.abs(signed).max(-1),
        "mean": np.abs(signed).mean(-1),
        "l2": np.linalg.norm(signed, axis=-1),
    }
    for aggregate, maps in expected.items():
        ours = gradient_maps(net, x, target=2, aggregate=aggregate)
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, maps, rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(reduce_channels(signed, aggregate), maps, rtol=1e-5, atol=1e-9)


def test_targets_are_each_images_own(net, x):
    together = gradient_maps(net, x, target=[1, 7, 4], batch=3)
    for image, target, expected in zip(x, (1, 7, 4), together):
        np.testing.assert_allclose(gradient_maps(net, image[None], target=target)[0], expected, rtol=1e-4, atol=1e-7)
    predicted = np.asarray(net(x)).argmax(-1)
    np.testing.assert_array_equal(gradient_maps(net, x), gradient_maps(net, x, target=predicted))


def test_batch_size_does_not_matter(net, x):
    one = gradient_maps(net, x, batch=1)
    for batch in (2, 3, 5):
        np.testing.assert_allclose(gradient_maps(net, x, batch=batch), one, rtol=1e-4, atol=1e-7)


def test_gestalt_knows_of_no_class(net, x):
    np.testing.assert_array_equal(
        gradient_maps(net, x, score="gestalt", target=1), gradient_maps(net, x, score="gestalt", target=8)
    )


def test_flip_equivariance(rng):
    """A network whose kernels are mirrored sees the mirrored image's map mirrored."""
    net = random_network(scenes_cnn(((4,), (5, 6)), size=(8, 12)))
    weights = {
        layer: {name: v[:, ::-1] if v.ndim == 4 else v for name, v in parameters.items()}
        for layer, parameters in net.weights.items()
    }
    mirrored = Network(net.architecture, weights, net.preprocess)
    x = rng.normal(size=(2, 8, 12, 3)).astype(np.float32)
    np.testing.assert_allclose(
        gradient_maps(mirrored, x[:, :, ::-1], target=3)[:, :, ::-1],
        gradient_maps(net, x, target=3),
        rtol=1e-4,
        atol=1e-6,
    )


def test_one_backward_pass(net, x):
    """As many convolutions again as the forward pass has, and no more: the weights' gradients are not computed."""
    forwards = sum(name.startswith("conv") for name in net.layers)

    def convolutions(score: str) -> int:
        arguments = net.weights, x, np.zeros(3, np.int32)
        jaxpr = jax.make_jaxpr(
            lambda *a: input_gradient(*a, architecture=net.architecture, score=Score(score))  # type: ignore[arg-type]
        )(*arguments)
        return str(jaxpr).count("conv_general_dilated[")

    assert convolutions("logit") == 2 * forwards
    assert convolutions("gestalt") == 2 * forwards


def test_nothing_is_traced_again_for_another_image(x):
    net = random_network(scenes_cnn(((3,), (4,)), size=(9, 12)))
    traces = []

    class Counted(Score):
        def __call__(self, *arguments):
            traces.append(arguments)
            return super().__call__(*arguments)

    score = Counted()
    gradient_maps(net, x, score=score, target=1, batch=1)
    gradient_maps(net, x[::-1] + 1, score=score, target=[3, 2, 5], batch=1)
    other = random_network(net.architecture, seed=1)
    gradient_maps(other, x, score=score, batch=1)
    assert len(traces) == 1


def test_progress_counts_images(net, x):
    told: list[tuple[int, int]] = []
    gradient_maps(net, x, batch=2, progress=lambda *a: told.append(a))
    assert told == [(2, 3), (3, 3)]


def test_no_images(net, x):
    assert gradient_maps(net, x[:0]).shape == (0, 9, 12)
    assert gradient_maps(net, x[:0], aggregate="signed").shape == (0, 9, 12, 3)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"aggregate": "sum"}, "aggregate must be one of max, mean, l2, signed, not 'sum'"),
        ({"score": "softmax"}, "score must be one of"),
        ({"score": "gestalt:conv7"}, "has no layer 'conv7'"),
        ({"target": 10}, r"target must lie in 0\.\.9"),
        ({"target": [1, 2]}, "one for each of the 3 images"),
    ],
)
def test_bad_arguments(net, x, options, message):
    with pytest.raises(InputError, match=message):
        gradient_maps(net, x, **options)


def test_bad_images(net, x):
    x[1, 2, 3] = np.nan
    with pytest.raises(InputError, match="NaN or infinite values in image 1"):
        gradient_maps(net, x)
    with pytest.raises(InputError, match=r"x must be float, normalised by net\.preprocess"):
        gradient_maps(net, np.zeros((1, 9, 12, 3), np.uint8))
