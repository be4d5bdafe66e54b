"""What people hold, at the door of every method: another precision, another library, a list, nothing, nonsense.

Any method takes any floats, and gives what it gives for float32; what it cannot take it refuses in one sentence.
"""

import importlib.util

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saliency import InputError, faithfulness, grad_cam, gradient_maps, load_network, occlusion_maps
from saliency.maps.perturbation import finite_difference_maps, rise_maps
from saliency.methods import ATTENTION, METHODS, Options
from saliency.models.graph import Architecture, Builder
from saliency.models.network import Network, check_input
from saliency.models.operators import Conv, Dense, GlobalAvgPool
from saliency.models.preprocessing import AS_IT_IS, Preprocessing
from saliency.models.weights import random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.occlusion import Execution, Windows, fill_images
from saliency.robustness.evaluation import masked_log_probabilities
from saliency.scores import Score, as_targets, logits, predicted, probabilities, require_classes, score_values

SIZE = (14, 10)
NAMES = ("African elephant", "dingo", "cat, domestic", "cat, wild", "crane", "crane", "ox", "ant", "bee", "owl")
OPTIONS = Options(patch=(6, 5), stride=(4, 3), samples=2, steps=2, masks=8, cell=5, segments=6, iterations=2)
ANY = [name for name in METHODS if name not in ATTENTION]
BLACK_BOXES = [name for name, method in METHODS.items() if method.black_box]

pytestmark = pytest.mark.usefixtures("regions_once")


@pytest.fixture(scope="module")
def net() -> Network:
    drawn = random_network(scenes_cnn(blocks=((4,), (6,)), size=SIZE), seed=1)
    return Network(drawn.architecture, drawn.weights, drawn.preprocess, classes=NAMES)


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    """Values that bfloat16 holds too."""
    return np.random.default_rng(1).normal(size=(2, *SIZE, 3)).astype(ml_dtypes.bfloat16).astype(np.float32)


@pytest.fixture(scope="module")
def maps(net, x) -> dict[str, np.ndarray]:
    return {name: method.maps(net, x, options=OPTIONS) for name, method in METHODS.items() if name in ANY}


def brightness(images):
    return images.mean((1, 2, 3))


KINDS = {
    "bfloat16": lambda x: jnp.asarray(x, jnp.bfloat16),
    "float64": lambda x: x.astype(np.float64),
    "list": list,
    "tuple": lambda x: tuple(jnp.asarray(image) for image in x),
    "jax": jnp.asarray,
    "nested": lambda x: x.tolist(),
    "masked": lambda x: np.ma.masked_array(x, np.zeros_like(x, bool)),
}


@pytest.mark.parametrize("name", ANY)
def test_any_floats_give_the_same_maps(net, x, maps, name):
    for kind, given_as in KINDS.items():
        found = METHODS[name].maps(net, given_as(x), options=OPTIONS)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, maps[name], kind)
    half = x.astype(np.float16)
    found = METHODS[name].maps(net, half, options=OPTIONS)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, METHODS[name].maps(net, half.astype(np.float32), options=OPTIONS), "float16")


@pytest.mark.slow
@pytest.mark.parametrize("name", ANY)
@pytest.mark.parametrize("precision", ["float64", "float32", "float16"])
def test_with_x64_switched_on(net, x, maps, name, precision):
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        found = METHODS[name].maps(net, x.astype(precision).astype(np.float64), options=OPTIONS)
    rtol, atol = (1e-5, 1e-6) if precision != "float16" else (0.1, 0.1)
    np.testing.assert_allclose(found, maps[name], rtol=rtol, atol=atol * max(1, np.abs(maps[name]).max()))


@pytest.mark.parametrize("name", ANY)
def test_no_images_give_no_maps(net, name):
    for empty in (np.empty((0, *SIZE, 3), np.float32), [], ()):
        assert METHODS[name].maps(net, empty, options=OPTIONS).shape == (0, *SIZE)
        assert METHODS[name].maps(net, empty, target=[], options=OPTIONS).shape == (0, *SIZE)


SPOILED = {
    "NaN": (lambda x: np.where(x == x[1, 4, 4, 0], np.nan, x), "x holds NaN or infinite values in image"),
    "infinite": (lambda x: np.where(x == x[1, 4, 4, 0], -np.inf, x), "x holds NaN or infinite values in image"),
    "too large for float32": (lambda x: x.astype(float) * 1e300, "x holds NaN or infinite values in image 0"),
    "masked": (lambda x: np.ma.masked_less(x, 0), "x holds NaN or infinite values in image 0"),
    "one channel": (lambda x: x[..., :1], r"x must be \[n, h, w, 3\] as net.preprocess gives it, not \[2, 14, 10, 1\]"),
    "grey": (lambda x: x[..., 0], r"x must be \[n, h, w, 3\].*not \[2, 14, 10\]"),
    "one image": (lambda x: x[0], r"not \[14, 10, 3\]; one image is x\[None\]"),
    "channels first": (lambda x: x.transpose(0, 3, 1, 2), r"not \[2, 3, 14, 10\]; the channels come last: transpose"),
    "uint8": (lambda x: x.astype(np.uint8), "x must be float, normalised by net.preprocess, not uint8"),
    "photos": (lambda x: [np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4, 3), np.uint8)], "of one size, not a list"),
    "words": (lambda x: "photo.jpg", "x must be .* numbers, not 'photo.jpg'"),
    "complex": (lambda x: x.astype(complex), r"x must be .* numbers, not complex128 \[2, 14, 10, 3\]"),
    "objects": (lambda x: np.array([None, 1]), r"x must be .* numbers, not object \[2\]"),
    "None": (lambda x: None, "x must be .* numbers, not None"),
    "pixels": (lambda x: np.abs(x) * 99, "x holds .*, far from what net.preprocess makes of photos"),
    "no height": (lambda x: x[:, :0], r"x must be images of at least one pixel, not \[2, 0, 10, 3\]"),
}  # fmt: skip


def refused(name, net, spoiled, says):
    """By every method by itself, as its arguments are what a failure shows."""
    with pytest.raises(InputError, match=says) as error:
        METHODS[name].maps(net, spoiled, options=OPTIONS)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


@pytest.mark.parametrize("spoiled", SPOILED)
def test_what_is_no_input_is_refused_by_every_method_in_one_sentence(net, x, spoiled):
    spoil, says = SPOILED[spoiled]
    for name in ANY:
        refused(name, net, spoil(x), says)


@pytest.mark.parametrize("spoiled", sorted(set(SPOILED) - {"one channel", "uint8", "pixels", "channels first"}))
def test_a_black_box_is_spared_the_same(x, spoiled):
    spoil, says = SPOILED[spoiled]
    for name in BLACK_BOXES:
        refused(name, brightness, spoil(x), says.replace(", 3", ", [3c]").replace(" as net.preprocess gives it", ""))


@pytest.mark.parametrize("name", BLACK_BOXES)
def test_a_black_box_gets_float32_whatever_is_given(name):
    for kind in ("uint8", "int64", "float16", "bfloat16", "float64", "list", "one channel", "four channels"):
        gets_float32(name, kind)


def gets_float32(name, kind):
    pixels = np.random.default_rng(0).integers(0, 255, (2, *SIZE, 3))
    seen = set()

    def score(images):
        seen.add((str(images.dtype), images.shape[-1]))
        return images.mean((1, 2, 3))

    given_as = {
        "one channel": lambda: pixels[..., :1].astype(float),
        "four channels": lambda: np.concatenate([pixels, pixels[..., :1]], -1).astype(np.uint8),
        "list": lambda: [np.asarray(image, np.uint8) for image in pixels],
        "bfloat16": lambda: pixels.astype(ml_dtypes.bfloat16),
    }.get(kind, lambda: pixels.astype(kind))()
    found = METHODS[name].maps(score, given_as, options=OPTIONS)
    assert found.shape == (2, *SIZE) and found.dtype == np.float32 and np.isfinite(found).all()
    assert seen <= {("float32", {"one channel": 1, "four channels": 4}.get(kind, 3))}


@pytest.mark.parametrize("name", BLACK_BOXES)
def test_a_black_box_without_images(name):
    assert METHODS[name].maps(brightness, np.empty((0, *SIZE, 3)), options=OPTIONS).shape == (0, *SIZE)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["float16", "float64", "float32", "int16", "bool"]),
    st.tuples(st.integers(0, 2), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4)),
    st.sampled_from([gradient_maps, occlusion_maps, rise_maps, finite_difference_maps, METHODS["edges"].maps]),
)
def test_no_other_error_leaves_a_method(net, kind, shape, method):
    """Whatever the precision and the shape: maps, or one sentence."""
    images = (np.random.default_rng(0).random(shape) * 2).astype(kind)
    for classifier in (net, brightness):
        try:
            found = method(classifier, images)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert found is not None


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")
def test_tensors_of_torch(net, x, maps):
    import torch

    for tensor in (torch.tensor(x), torch.tensor(x, requires_grad=True), torch.tensor(x, dtype=torch.bfloat16)):
        np.testing.assert_array_equal(gradient_maps(net, tensor), maps["gradient-max"])
    score = lambda images: torch.tensor(np.asarray(images), requires_grad=True).mean((1, 2, 3))  # noqa: E731
    assert occlusion_maps(score, x * 50 + 100, patch=6, stride=4).maps.shape == (2, *SIZE)


class Tensor:
    """What NumPy sees of PyTorch's tensors: no array until they are detached and on the CPU."""

    def __init__(self, values, dtype="torch.float32"):
        self.values, self.dtype, self.shape, self.where = np.asarray(values), dtype, np.shape(values), "cuda"

    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def detach(self):
        return self

    def cpu(self):
        return self.values if self.dtype == "torch.float32" else BFloat16(self.values)


class BFloat16:
    def __init__(self, values):
        self.values, self.dtype = values, "torch.bfloat16"

    def float(self):
        return self.values


@pytest.mark.slow
def test_tensors_on_a_device_or_with_a_gradient(net, x, maps):
    for kind in ("torch.float32", "torch.bfloat16"):
        np.testing.assert_array_equal(gradient_maps(net, Tensor(x, kind)), maps["gradient-max"])
        np.testing.assert_array_equal(gradient_maps(net, [Tensor(one, kind) for one in x]), maps["gradient-max"])
    found = gradient_maps(net, x, target=Tensor(np.array([3, 4])))
    np.testing.assert_array_equal(found, gradient_maps(net, x, target=[3, 4]))


def test_traced_images_are_refused(net, x):
    for transformed in (jax.jit(lambda x: gradient_maps(net, x)), jax.vmap(lambda x: gradient_maps(net, x[None]))):
        with pytest.raises(InputError, match=r"x is being traced: call this outside of jax.jit"):
            transformed(x)


@pytest.mark.slow
@pytest.mark.parametrize("precision", [np.float16, np.float64])
def test_weights_of_another_precision(x, precision):
    with jax.enable_x64(precision is np.float64), jax.numpy_dtype_promotion("standard"):
        net = random_network(scenes_cnn(blocks=((4,), (6,)), size=SIZE), seed=1, dtype=precision)
        assert net.dtype == precision
        assert check_input(net, x).dtype == precision
        for method in map(METHODS.get, ANY):
            found = method.maps(net, x, options=OPTIONS)
            assert found.dtype == np.float32 and found.shape == (2, *SIZE) and np.isfinite(found).all()


# Targets


@pytest.mark.parametrize("name", ["dingo", "Dingo", "  dingo ", "DINGO"])
def test_a_class_by_name(net, x, name):
    for maps in (gradient_maps, grad_cam):
        np.testing.assert_array_equal(maps(net, x, target=name), maps(net, x, target=1))
    np.testing.assert_array_equal(
        occlusion_maps(net, x, patch=6, stride=4, target=["african_elephant", name]).base,
        occlusion_maps(net, x, patch=6, stride=4, target=[0, 1]).base,
    )


def test_names_in_all_their_forms():
    for target in (
        ["dingo", 0],
        np.array(["dingo", "African-Elephant"]),
        np.array(["dingo", 0], object),
        ("dingo", -1),
    ):
        assert as_targets(target, 2, 10, NAMES)[0] == 1
    assert as_targets("cat, wild", 2, 10, NAMES).tolist() == [3, 3]


@pytest.mark.parametrize(
    "target, says",
    [
        ("dinga", "target 'dinga' is no class of the network; near it are dingo"),
        ("zzz", "target 'zzz' is no class of the network$"),
        ("crane", "target 'crane' is the name of classes 4, 5: give the index"),
        (["dingo"] * 3, "one for each of the 2 images"),
        (["dingo", None], "one for each of the 2 images"),
        ([0.0, 1.0], "one for each of the 2 images"),
        (np.eye(2, dtype=int), r"one for each of the 2 images, not int64 \[2, 2\]"),
        ({"dingo"}, "one for each of the 2 images"),
    ],
)
def test_targets_that_are_none(net, x, target, says):
    for maps in (gradient_maps, grad_cam, METHODS["cam"].maps, METHODS["rise"].maps):
        with pytest.raises(InputError, match=says):
            maps(net, x, target=target)


def test_a_name_where_classes_have_none(x):
    with pytest.raises(InputError, match=r"the network's classes have no names: load_network\(\.\.\., classes=FILE\)"):
        gradient_maps(random_network(scenes_cnn(((4,), (6,)), size=SIZE)), x, target="dingo")


# Black boxes


def test_a_black_box_may_give_every_class_where_a_target_says_which(net, x):
    every = lambda images: net(images)  # noqa: E731
    mine = lambda images: net(images)[:, 3]  # noqa: E731
    for name in ("occlusion", "rise", "finite-differences"):
        found = METHODS[name].maps(
            every, x, target=3, options=Options(**{**OPTIONS.__dict__, "preprocess": net.preprocess})
        )
        alone = METHODS[name].maps(mine, x, options=Options(**{**OPTIONS.__dict__, "preprocess": net.preprocess}))
        np.testing.assert_array_equal(found, alone)
    both = occlusion_maps(every, x, patch=6, stride=4, target=[3, 5], preprocess=net.preprocess)
    np.testing.assert_allclose(both.base, np.asarray(net(x))[[0, 1], [3, 5]], rtol=1e-5)
    curves = faithfulness.deletion(every, x, x[..., 0], target=3, preprocess=net.preprocess, steps=2)
    np.testing.assert_allclose(curves.scores[:, 0], np.asarray(net(x))[:, 3], rtol=1e-5)


@pytest.mark.parametrize(
    "answer, target, says",
    [
        (
            lambda images: images.mean(),
            None,
            r"net must give one score for each image: \[\d+\] for \d+ images, not \[\]",
        ),
        (lambda images: images.mean((1, 2)), None, "net gives 3 numbers for each image: say by target which"),
        (
            lambda images: images.mean((1, 2)),
            3,
            r"target must lie in 0\.\.2, the columns of what net gives, not 3\.\.3",
        ),
        (lambda images: images.mean((1, 2)), "dingo", "target must be one column"),
        (lambda images: images, None, "net must give one score for each image"),
        (lambda images: images.mean((1, 2, 3))[:1], None, "net must give one score for each image"),
        (lambda images: ["a"] * len(images), None, "what net gives must be one score for each image, not"),
        (lambda images: None, None, "what net gives must be one score for each image, not None"),
    ],
)
@pytest.mark.parametrize("name", ["occlusion", "rise", "finite-differences"])
def test_what_a_black_box_must_give(x, name, answer, target, says):
    with pytest.raises(InputError, match=says):
        METHODS[name].maps(answer, x * 50 + 100, target=target, options=OPTIONS)


def test_a_column_vector_and_a_list_are_scores_too(x):
    pixels = x * 50 + 100
    plain = occlusion_maps(brightness, pixels, patch=6, stride=4)
    for answer in (lambda i: i.mean((1, 2, 3))[:, None], lambda i: np.asarray(i).mean((1, 2, 3)).tolist()):
        np.testing.assert_allclose(
            occlusion_maps(answer, pixels, patch=6, stride=4).maps, plain.maps, rtol=1e-4, atol=1e-4
        )


def test_the_untouched_images_are_asked_for_in_batches_too():
    asked = []

    def score(images):
        asked.append(len(images))
        return images.mean((1, 2, 3))

    pixels = np.random.default_rng(0).uniform(0, 255, (45, 8, 8, 3))
    found = occlusion_maps(score, pixels, patch=4, stride=4)
    assert set(asked) == {4}  # as many as the windows of an image
    np.testing.assert_allclose(found.base, pixels.mean((1, 2, 3)), rtol=1e-5)


# Fills


UNIT = np.random.default_rng(2).random((2, *SIZE, 3)).astype(np.float32)


@pytest.mark.parametrize("fill", ["grey", "noise", 200, (0, 0, 255)])
def test_a_fill_in_the_wrong_space_is_refused(fill):
    """Images of 0..1: 127.5 is no grey there."""
    for images in (UNIT, UNIT * 2 - 1, 4 * UNIT - 2):
        with pytest.raises(InputError, match=r"far outside of the images' range.*say by preprocess how pixels"):
            occlusion_maps(brightness, images, patch=6, stride=4, fill=fill)
        for name in ("occlusion", "rise"):
            with pytest.raises(InputError, match="far outside of the images' range"):
                METHODS[name].maps(brightness, images, options=Options(fill=fill))
        for curves in (faithfulness.deletion, faithfulness.insertion):
            with pytest.raises(InputError, match="far outside of the images' range"):
                curves(brightness, images, images[..., 0], fill=fill)


def test_a_black_boxes_preprocessing_is_taken_by_methods_and_faithfulness():
    """Grey is 127.5 / 255 among images of 0..1: the mean falls by as much as the window is brighter than that."""
    unit = Preprocessing(SIZE, mean=(0.0,) * 3, std=(1.0,) * 3)
    pixels = UNIT * 255
    options = Options(patch=(7, 5), stride=(7, 5), masks=16)
    for name in ("occlusion", "rise"):
        expected = METHODS[name].maps(lambda x: brightness(x / 255), pixels, options=options)
        stated = Options(patch=(7, 5), stride=(7, 5), masks=16, preprocess=unit)
        np.testing.assert_allclose(METHODS[name].maps(brightness, UNIT, options=stated), expected, rtol=1e-3, atol=1e-6)
    grey = occlusion_maps(brightness, UNIT, patch=(7, 5), stride=(7, 5), preprocess=unit)
    hidden = UNIT[0, :7, :5].astype(float)
    np.testing.assert_allclose(grey.drops[0, 0, 0], (hidden - 0.5).sum() / UNIT[0].size, rtol=1e-3, atol=1e-6)
    gone = faithfulness.deletion(brightness, UNIT, UNIT[..., 0], steps=4, preprocess=unit)
    np.testing.assert_allclose(gone.scores[:, -1], 0.5, rtol=1e-6)
    back = faithfulness.insertion(brightness, UNIT, UNIT[..., 0], steps=4, fill="grey", preprocess=unit)
    np.testing.assert_allclose(back.scores[:, 0], 0.5, rtol=1e-6)


def test_fills_that_suit_are_taken():
    dark = np.random.default_rng(0).integers(0, 20, (1, *SIZE, 3))  # a dark photo, in pixels
    for images in (dark, np.zeros((1, *SIZE, 3)), np.full((1, *SIZE, 3), 200)):
        assert occlusion_maps(brightness, images, patch=6, stride=4, fill="grey").maps.shape == (1, *SIZE)
    for fill in ("mean", "blur", 0, UNIT):
        assert occlusion_maps(brightness, UNIT, patch=6, stride=4, fill=fill).maps.shape == (2, *SIZE)
    assert (fill_images(UNIT, 127.5, AS_IT_IS) == 127.5).all()  # whoever says that they are pixels is believed


def test_a_networks_own_preprocessing_is_not_to_be_replaced(net, x):
    occlusion_maps(net, x, patch=6, stride=4, preprocess=net.preprocess)
    with pytest.raises(InputError, match=r"preprocess is for a black box; a network has its own, net\.preprocess"):
        occlusion_maps(net, x, patch=6, stride=4, preprocess=AS_IT_IS)
    with pytest.raises(InputError, match="fill: preprocess is for 3 channels, and x has 1"):
        occlusion_maps(brightness, UNIT[..., :1], patch=6, stride=4, preprocess=net.preprocess)


# One output


@pytest.fixture(scope="module")
def single() -> Network:
    build = Builder()
    build.add("conv", Conv(4, (3, 3)))
    build.add("pool", GlobalAvgPool())
    build.add("logit", Dense(1))
    return random_network(Architecture("single", tuple(build.nodes), "conv", SIZE), seed=2)


def test_one_output_has_a_sigmoid(single, x):
    z = logits(single, x)
    assert z.shape == (2, 1)
    np.testing.assert_allclose(probabilities(z), 1 / (1 + np.exp(-z.astype(float))), rtol=1e-12)
    score = score_values(single, x, Score("log_probability"), predicted(single, x))
    np.testing.assert_allclose(np.exp(score), probabilities(z)[:, 0], rtol=1e-5)
    for engine in ("dense", "incremental"):
        found = occlusion_maps(single, x, patch=6, stride=4, score="log_probability", execution=Execution(engine))
        np.testing.assert_allclose(np.exp(found.base), probabilities(z)[:, 0], rtol=1e-5)
        assert np.ptp(found.maps) > 0
    assert np.ptp(gradient_maps(single, x, score="log_probability")) > 0
    curves = faithfulness.deletion(single, x, x[..., 0], steps=4)
    np.testing.assert_allclose(curves.scores[:, 0], probabilities(z)[:, 0], rtol=1e-5)


def test_one_output_has_no_accuracy(single):
    with pytest.raises(InputError, match="single has one output; to be right or wrong takes two classes at least"):
        require_classes(single)
    with pytest.raises(InputError, match="single has one output"):
        masked_log_probabilities(single, np.zeros((1, 2, *SIZE, 3), np.float32), np.zeros((1, 2, *SIZE), bool))


def test_probabilities_of_many_outputs_are_softmax(rng):
    z = rng.normal(size=(4, 5)) * 100
    np.testing.assert_allclose(probabilities(z), np.exp(jax.nn.log_softmax(jnp.asarray(z))), rtol=1e-4, atol=1e-7)
    assert probabilities(np.empty((0, 5))).shape == (0, 5)


# What is printed


def test_reprs_are_short(net, x):
    for one in (net, occlusion_maps(net, x, patch=6, stride=4)):
        assert len(repr(one)) < 200 and "\n" not in repr(one) and len(str(one)) < 200
    assert repr(net).startswith("Network('scenes_cnn', ")


def test_windows_take_lists_and_numpy_numbers():
    assert Windows([14, 10], np.array([6, 5]), np.int64(4)).grid == Windows((14, 10), (6, 5), (4, 4)).grid


# Further things that people write


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda net, x: occlusion_maps(net, x, patch=True), "patch must be a whole number of pixels or a pair"),
        (lambda net, x: occlusion_maps(net, x, patch=6, stride=4, fill=True), "fill must be one level 0..255"),
        (lambda net, x: Preprocessing(96), r"size must be \(height, width\), not 96"),
        (lambda net, x: Preprocessing((8, 8), mean=0.5), r"mean must be .* not 0\.5"),
        (lambda net, x: load_network(["vgg16"]), r"unknown network \['vgg16'\]; choose one of scenes_cnn"),
        (lambda net, x: load_network("vgg16", 3), "weights must be a file of weights or a Hugging Face id, not 3"),
        (
            lambda net, x: load_network("scenes_cnn", classes=["a", "b"]),
            "classes names 2 classes, but scenes_cnn has 10",
        ),
        (
            lambda net, x: net(np.zeros((1, *SIZE, 3), np.uint8)),
            "x must be float, normalised by net.preprocess, not uint8",
        ),
        (lambda net, x: Options(seed=-1), "seed must be a whole number of at least 0"),
        (lambda net, x: Options(noise=np.nan), "noise must be a finite number of at least 0"),
        (
            lambda net, x: METHODS["random"].maps(net, x, options={"seed": 1}),
            "options must be a Options, what the methods",
        ),
        (lambda net, x: METHODS["cam"].maps(net, x, progress=True), r"progress must be a function of \(done, total\)"),
        (lambda net, x: faithfulness.deletion(net, x, x[0]), "maps must be"),
        (lambda net, x: faithfulness.sanity(METHODS["edges"], brightness, x, x[..., 0]), "net must be a Network"),
    ],
)
def test_further_mistakes_are_named(net, x, call, says):
    with pytest.raises(InputError, match=says) as refused:
        call(net, x)
    assert "\n" not in str(refused.value)


def test_a_batch_larger_than_the_data_is_not_padded_to_its_size(net, x, monkeypatch):
    """Two images at batch=100,000 took the memory of 100,000."""
    seen = []
    plain = gradient_maps(net, x)
    monkeypatch.setattr("saliency.maps.gradient.shard_batch", lambda x, i: seen.append(len(i)) or jnp.asarray(x[i]))
    np.testing.assert_array_equal(gradient_maps(net, x, batch=100_000), plain)
    assert max(seen) == 2


def test_a_network_called_with_another_precision(net, x):
    with jax.enable_x64(True):
        np.testing.assert_allclose(net(x.astype(np.float64)), net(x), rtol=1e-6)
        np.testing.assert_allclose(net(x.tolist()), net(x), rtol=1e-6)
    assert net.upto(jnp.asarray(x, jnp.bfloat16), "pool1").dtype == np.float32


def test_names_of_classes_in_python():
    net = load_network("scenes_cnn", classes=[f"digit {i}" for i in range(10)])
    assert net.class_name(7) == "digit 7"
    assert as_targets("Digit_7", 1, 10, net.classes).tolist() == [7]
