"""Scores of networks with one output, and of classes that do not exclude one another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

import localization
from saliency import InputError, Score, explain, grad_cam, gradient_maps, occlusion_maps
from saliency.models.from_jax import from_function
from saliency.occlusion import Execution
from saliency.occlusion.windows import Windows
from saliency.scores import as_score, class_count, class_probabilities, predicted, score_values
from saliency.zeiler_fergus.subjects import load_subjects
from saliency.zeiler_fergus.sweep import sweep

SIZE = (12, 14)


def network(rng, outputs: int, output: str):
    weights = {
        "k": rng.normal(size=(3, 3, 1, 4)),
        "w": rng.normal(size=(4, outputs)) / 5,
        "b": rng.normal(size=outputs),
    }
    weights = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), weights)

    def logits(p, x):
        y = jax.lax.conv_general_dilated(x, p["k"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jax.nn.relu(y).mean((1, 2)) @ p["w"] + p["b"]

    ends = {
        "sigmoid": jax.nn.sigmoid,
        "softmax": jax.nn.softmax,
        "log_softmax": jax.nn.log_softmax,
        "logits": jnp.asarray,
    }
    from saliency.models.preprocessing import Preprocessing

    grey = Preprocessing(SIZE, "stretch", mean=(0.5,), std=(0.25,))
    net = from_function(lambda p, x: ends[output](logits(p, x)), weights, size=SIZE, channels=1, preprocess=grey)
    x = rng.normal(size=(3, *SIZE, 1)).astype(np.float32)
    return net, x, np.asarray(logits(weights, x))


@pytest.mark.parametrize(
    "outputs, output", [(3, "softmax"), (3, "log_softmax"), (3, "sigmoid"), (3, "logits"), (1, "sigmoid")]
)
def test_what_ends_a_model_is_taken_off_and_said(rng, outputs, output):
    net, x, logits = network(rng, outputs, output)
    assert net.provenance["output"] == output
    assert_allclose(net(x), logits, rtol=1e-5, atol=1e-5)
    assert net.architecture.probabilities == ("sigmoid" if output == "sigmoid" else "softmax")


@pytest.mark.parametrize("output", ["sigmoid", "logits"])
def test_one_output_tells_two_classes_apart(rng, output):
    """Of one logit a softmax is never taken."""
    net, x, logits = network(rng, 1, output)
    assert class_count(net.architecture) == 2
    assert predicted(net, x).tolist() == (logits[:, 0] > 0).astype(int).tolist()
    sigmoid = 1 / (1 + np.exp(-logits[:, 0].astype(float)))
    for target, probability, sign in ((1, sigmoid, 1), (0, 1 - sigmoid, -1)):
        targets = np.full(3, target, np.int32)
        assert_allclose(score_values(net, x, Score(), targets), sign * logits[:, 0], rtol=1e-5)
        assert_allclose(score_values(net, x, Score("probability"), targets), probability, rtol=1e-5)
        assert_allclose(score_values(net, x, Score("log_probability"), targets), np.log(probability), rtol=1e-4)
    signed = [gradient_maps(net, x, target=target, aggregate="signed") for target in (0, 1)]
    assert np.abs(signed[0]).max() > 0
    assert_allclose(signed[0], -signed[1], rtol=1e-5)
    assert grad_cam(net, x, target=0).shape == x.shape[:3]
    maps = [
        occlusion_maps(net, x, patch=5, stride=3, target=0, execution=Execution(e)) for e in ("dense", "incremental")
    ]
    assert_allclose(maps[0].base, -logits[:, 0], rtol=1e-5)
    assert_allclose(maps[0].scores, maps[1].scores, atol=1e-5)


def test_classes_that_do_not_exclude_one_another(rng):
    net, x, logits = network(rng, 3, "sigmoid")
    targets = np.array([0, 1, 2], np.int32)
    expected = -np.log1p(np.exp(-logits.astype(float)))[range(3), targets]
    assert_allclose(score_values(net, x, Score("log_probability"), targets), expected, rtol=1e-4)


def test_contrasts_and_functions(rng):
    net, x, logits = network(rng, 3, "softmax")
    targets = np.array([0, 1, 2], np.int32)
    assert_allclose(
        score_values(net, x, as_score("contrast:1"), targets), logits[range(3), targets] - logits[:, 1], atol=1e-6
    )
    entropy = Score(function=lambda z: -(jax.nn.softmax(z) * jax.nn.log_softmax(z)).sum(-1))
    p = np.asarray(jax.nn.softmax(logits))
    assert_allclose(score_values(net, x, entropy, targets), -(p * np.log(p)).sum(-1), rtol=1e-4)
    assert_allclose(occlusion_maps(net, x, patch=5, stride=4, score=entropy).base, -(p * np.log(p)).sum(-1), rtol=1e-4)


def test_bad_scores(rng):
    net, x, _ = network(rng, 3, "softmax")
    for bad, message in [
        (lambda: as_score("contrast"), "contrast:CLASS"),
        (lambda: as_score("contrast:x"), "contrast:CLASS"),
        (lambda: Score("contrast"), "against must be a class index"),
        (lambda: Score("logit", against=3), "against must be a class index"),
        (lambda: Score("function"), "function must be a function of logits"),
        (lambda: gradient_maps(net, x, score="contrast:3"), r"against must lie in 0\.\.2, not 3"),
        (lambda: gradient_maps(net, x, score=Score(function=lambda z: z)), "one number for each row"),
        (lambda: gradient_maps(net, x, score="logit_before_relu"), "has no ReLU after its last convolution"),
    ]:
        with pytest.raises(InputError, match=message):
            bad()


@pytest.mark.parametrize("outputs, output", [(1, "sigmoid"), (1, "logits"), (3, "sigmoid"), (3, "softmax")])
def test_class_probabilities_are_what_the_network_says(rng, outputs, output):
    net, x, logits = network(rng, outputs, output)
    logits = logits.astype(float)
    own = 1 / (1 + np.exp(-logits))
    if outputs == 1:
        own = np.concatenate([1 - own, own], -1)
    elif output == "softmax":
        own = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    assert_allclose(class_probabilities(net.architecture, np.asarray(net(x))), own, rtol=1e-4)


@pytest.mark.parametrize("bias", [-3.0, 3.0])
def test_one_output_on_every_page_is_the_class_that_is_predicted(rng, bias, tmp_path):
    """Class 0 was named and explained, whatever the network predicted, with class 1's probability or with 1.000."""
    kernel = jnp.asarray(rng.normal(size=(3, 3, 3, 4)) / 9, jnp.float32)

    def call(kernel, x):
        y = jax.lax.conv_general_dilated(x, kernel, (4, 4), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jax.nn.sigmoid(jax.nn.relu(y).mean((1, 2, 3), keepdims=True)[:, 0, 0] / 1e4 + bias)

    net = from_function(call, kernel, size=(48, 48))
    photos = localization.datasets.load("scenes", split="test", limit=6)
    sure = float(1 / (1 + np.exp(-3.0)))
    wanted = int(bias > 0)

    (one,) = explain(net, [photos.images[0]], methods=["edges"]).photos
    assert one.target == wanted and [row[0] for row in one.top] == [wanted, 1 - wanted]
    assert_allclose([row[2] for row in one.top] + [one.probability], [sure, 1 - sure, sure], atol=0.01)

    (subject,) = load_subjects(net, [photos.images[0]], "rank:1")
    assert subject.target == wanted
    (found,) = sweep(net, subject.x, wanted, [Windows((48, 48), (24, 24), (24, 24))])
    assert_allclose(found.base, sure, atol=0.01)
    assert (found.top == wanted).all() and np.allclose(found.probability, sure, atol=0.01)

    for i, image in enumerate(photos.images):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    found = localization.compare(net, localization.datasets.load("folder", tmp_path), methods=["gradient-mean"])
    assert found.results["predictions"][0]["classes"] == [str(wanted), str(1 - wanted)]
    assert_allclose(found.results["predictions"][0]["probabilities"], [sure, 1 - sure], atol=0.01)
