"""The catalogue: sizes as published, every way of publishing read, and what is wrong with a file said."""

import inspect
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from saliency import METHODS, InputError, activation_maps, cam, grad_cam, gradient_maps, load_network
from saliency.models.checkpoints import parameter_count, shapes
from saliency.models.weights import ARCHITECTURES, save_network
from saliency.models.zoo.catalogue import SCHEMES, ZOO, files_table, table
from saliency.scores import logits
from tests.small_networks import SMALL

# parameters as torchvision, timm, Keras and the papers' own files count them
PUBLISHED = {
    "squeezenet1_0": 1_248_424, "squeezenet1_1": 1_235_496, "vgg11": 132_863_336, "vgg11_bn": 132_868_840,
    "vgg13": 133_047_848, "vgg13_bn": 133_053_736, "vgg16": 138_357_544, "vgg16_bn": 138_365_992,
    "vgg19": 143_667_240, "vgg19_bn": 143_678_248, "alexnet": 61_100_840, "alexnet_2012": 60_965_224,
    "zfnet512": 91_969_640, "resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032,
    "resnet50_v1": 25_583_592, "resnet101": 44_549_160, "densenet121": 7_978_856, "inception_v1": 6_624_904,
    "mobilenetv2": 3_504_872, "efficientnet_lite0": 4_652_008, "efficientnet_lite0_ra": 4_652_008,
    "efficientnet_lite1": 5_416_680, "efficientnet_lite2": 6_092_072, "efficientnet_lite3": 8_197_096,
    "efficientnet_lite4": 13_006_568, "convnext_tiny": 28_589_128, "vit_small": 22_050_664, "vit_base": 86_567_656,
    "deit_small": 22_050_664, "deit_base": 86_567_656, "dino_small": 22_050_664, "dino_base": 86_567_656,
}  # fmt: skip


# ImageNet top-1 as the list each entry names prints it, and whose weights were measured
TOP1 = {
    "torchvision": {  # the metrics of IMAGENET1K_V1, whatever is torchvision's default by now
        "squeezenet1_0": 58.092, "squeezenet1_1": 58.178, "vgg11": 69.020, "vgg11_bn": 70.370, "vgg13": 69.928,
        "vgg13_bn": 71.586, "vgg16": 71.592, "vgg16_bn": 73.360, "vgg19": 72.376, "vgg19_bn": 74.218, "alexnet": 56.522,
        "resnet18": 69.758, "resnet34": 73.314, "resnet50": 76.130, "resnet101": 77.374, "densenet121": 74.434,
        "inception_v1": 69.778, "mobilenetv2": 71.878, "convnext_tiny": 82.520,
    },
    "Caffe": {"alexnet_2012": 57.1},
    "Keras": {"resnet50_v1": 74.9},
    "Google": {
        "efficientnet_lite0": 75.1, "efficientnet_lite1": 76.7, "efficientnet_lite2": 77.6, "efficientnet_lite3": 79.8,
        "efficientnet_lite4": 81.5,
    },
    "timm": {"efficientnet_lite0_ra": 75.480, "vit_small": 81.384, "vit_base": 85.096},
    "DeiT": {"deit_small": 79.854, "deit_base": 81.846},
}  # fmt: skip


def test_accuracies_are_those_of_the_lists_they_name():
    """The lists' rows of timm are those of the hub ids; vit_base had another row's figure, zfnet512 another licence."""
    stated = {name: (entry.listed, entry.top1) for name, entry in ZOO.items() if entry.top1 is not None}
    printed = {name: (listed, figure) for listed, rows in TOP1.items() for name, figure in rows.items()}
    assert stated == {name: (listed, round(figure, 1)) for name, (listed, figure) in printed.items()}
    without = {name: entry.listed for name, entry in ZOO.items() if entry.top1 is None}
    said = {"zfnet512": "none published", "dino_small": "no classifier", "dino_base": "no classifier"}
    assert without == {"scenes_cnn": ""} | said
    assert ZOO["zfnet512"].licence == "MIT" and ZOO["vit_base"].hub.endswith(".augreg2_in21k_ft_in1k")
    docs = (Path(__file__).parents[1] / "docs" / "networks.md").read_text()
    assert all(f"\n[{listed}]: https://" in docs for listed in TOP1)


def test_parameters_are_those_published():
    counted = {name: parameter_count(ARCHITECTURES[name](), schemes[0]) for name, schemes in SCHEMES.items()}
    assert counted == PUBLISHED


@pytest.mark.parametrize(
    "name, layer, shape",
    [
        ("vgg16", "relu5_3", (14, 14, 512)), ("alexnet", "relu5", (13, 13, 256)),
        ("squeezenet1_1", "fire9", (13, 13, 512)), ("resnet50", "layer4_2", (7, 7, 2048)),
        ("densenet121", "relu5", (7, 7, 1024)), ("inception_v1", "inception5b", (7, 7, 1024)),
        ("efficientnet_lite0", "relu_head", (7, 7, 1280)), ("efficientnet_lite4", "relu_head", (10, 10, 1280)),
        ("convnext_tiny", "stage4_2", (7, 7, 768)), ("vit_small", "block11_norm1", (197, 384)),
    ],
)  # fmt: skip
def test_the_last_features(name, layer, shape):
    architecture = ARCHITECTURES[name]()
    found = architecture.shapes(*architecture.size)
    assert (architecture.gestalt_layer, found[layer], found[architecture.last]) == (layer, shape, (1000,))


def test_the_documentation_has_the_table():
    docs = (Path(__file__).parents[1] / "docs" / "networks.md").read_text()
    for made in (table, files_table):
        assert made() in docs, f"docs/networks.md must hold saliency.models.zoo.catalogue.{made.__name__}():\n{made()}"
    for name, entry in ZOO.items():
        assert entry.paper and entry.weights and entry.licence, name


def drawn(name: str, scheme, seed: int = 0) -> dict[str, np.ndarray]:
    """Random tensors under a scheme's names."""
    rng, architecture = np.random.default_rng(seed), ARCHITECTURES[scheme.network]()
    positive = ("running_var", "moving_variance")
    return {
        tensor: (np.abs(values) + 0.5 if tensor.endswith(positive) else values).astype(np.float32)
        for tensor, (shape, *_) in shapes(architecture, scheme).items()
        if (values := rng.normal(size=shape)) is not None
    }


PAIRS = [(name, index) for name in SMALL for index in range(len(SCHEMES.get(name, ())))]


def resizable(build):
    """A small network whose number of classes may be stated."""

    def made(classes=None):
        network = build()
        assert classes in (None, network.class_count)
        return network

    return made


@pytest.fixture
def small(monkeypatch):
    """Small networks under the names of the large ones."""
    for name, build in SMALL.items():
        monkeypatch.setitem(ARCHITECTURES, name, resizable(build))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name, index", PAIRS)
def test_every_way_of_publishing(name, index, tmp_path):
    """Read; and a tensor that is missing, one too many and one of another shape are named."""
    scheme = SCHEMES[name][index]
    tensors, file = drawn(name, scheme), tmp_path / f"{scheme.told_by}.safetensors"
    save_file(tensors, file)
    net = load_network(name, file)
    assert (net.provenance["names"], net.preprocess) == (scheme.title, scheme.preprocess)
    assert np.isfinite(np.asarray(net(np.ones((1, *net.architecture.size, 3), np.float32)))).all()
    first, *_, last = (tensor for tensor in tensors if tensors[tensor].ndim > 1)
    spoiled = {key: value for key, value in tensors.items() if key != first} | {"stranger": np.zeros(3, np.float32)}
    spoiled[last] = np.zeros((2, 2, 2), np.float32)
    save_file(spoiled, file)
    with pytest.raises(InputError, match=rf"1 missing \({first}\); 1 extra \(stranger\); 1 misshapen \({last} is"):
        load_network(name, file)


@pytest.mark.usefixtures("small")
def test_two_networks_of_the_same_tensors_are_never_taken_for_each_other(tmp_path):
    """timm's efficientnet_lite0 and tf_efficientnet_lite0 differ in padding and epsilon alone."""
    tensors = drawn("efficientnet_lite0", SCHEMES["efficientnet_lite0"][1])
    save_file(tensors, tmp_path / "net.safetensors")
    says = "load it as efficientnet_lite0_ra, or, if it is tf_efficientnet_lite0's, keep tf_efficientnet_lite0 in the"
    with pytest.raises(InputError, match=says):
        load_network("efficientnet_lite0", tmp_path / "net.safetensors")
    save_file(tensors, tmp_path / "tf_efficientnet_lite0.safetensors")
    nets = [
        load_network("efficientnet_lite0", tmp_path / "tf_efficientnet_lite0.safetensors"),
        load_network("efficientnet_lite0_ra", tmp_path / "net.safetensors"),
    ]
    first, second = (net.layers["conv_stem"].padding for net in nets)
    assert first != second == ((1, 1), (1, 1))


@pytest.mark.usefixtures("small")
def test_half_precision_and_features_alone(tmp_path):
    """A checkpoint of VGG's convolutions in float16: Gestalt works, class scores are refused in one sentence."""
    scheme, file = SCHEMES["vgg16"][0], tmp_path / "features.safetensors"
    tensors = {key: value.astype(np.float16) for key, value in drawn("vgg16", scheme).items() if "features" in key}
    save_file(tensors, file)
    net = load_network("vgg16", file)
    assert net.architecture.last == "pool2" and net.dtype == np.float32
    kernel = np.asarray(net.weights["conv1_1"]["kernel"])
    np.testing.assert_array_equal(kernel, tensors["features.0.weight"].astype(np.float32).transpose(2, 3, 1, 0))
    x = np.random.default_rng(0).normal(size=(2, *net.architecture.size, 3)).astype(np.float32)
    whole = drawn("vgg16", scheme) | {key: value.astype(np.float32) for key, value in tensors.items()}
    save_file(whole, file)
    with_head = load_network("vgg16", file)
    np.testing.assert_allclose(
        gradient_maps(net, x, score="gestalt"), gradient_maps(with_head, x, score="gestalt"), rtol=1e-5
    )
    assert activation_maps(net, x).shape == METHODS["occlusion-gestalt"].maps(net, x).shape == x.shape[:3]
    said = "vgg16 holds features alone, without a classifier: there is no class score"
    for refused in (gradient_maps, grad_cam, cam, logits, METHODS["occlusion"].maps, METHODS["rise"].maps):
        with pytest.raises(InputError, match=said):
            refused(net, x)
    with pytest.raises(InputError, match=said):
        net(x)
    save_network(net, tmp_path / "own.safetensors", {})
    again = load_network("vgg16", tmp_path / "own.safetensors")
    assert again.architecture == net.architecture
    with pytest.raises(InputError, match="leave classes out"):
        load_network("vgg16", tmp_path / "own.safetensors", classes=list("abcde"))


def test_a_transformer_of_another_size(monkeypatch, tmp_path):
    """Position embeddings are brought to it; not those of a fully connected layer."""
    from saliency.models.zoo import vit

    build = partial(vit.vit, 6, 2, 2, 8, size=(16, 24))
    monkeypatch.setitem(ARCHITECTURES, "vit_small", build)
    save_file(drawn("vit_small", SCHEMES["vit_small"][0]), tmp_path / "vit.safetensors")
    net = load_network("vit_small", tmp_path / "vit.safetensors", size=(32, 16))
    assert (net.architecture.size, net.preprocess.size) == ((32, 16), (32, 16))
    assert net(np.ones((1, 32, 16, 3), np.float32)).shape == (1, 1000)
    with pytest.raises(InputError, match="has position embeddings and takes images of 32x16 only"):
        activation_maps(net, np.ones((1, 16, 24, 3), np.float32))
    again = load_network("vit_small", tmp_path / "vit.safetensors", size=(16, 24))
    for part, value in load_network("vit_small", tmp_path / "vit.safetensors").weights["tokens"].items():
        np.testing.assert_array_equal(again.weights["tokens"][part], value)
    monkeypatch.setitem(ARCHITECTURES, "vgg16", lambda **o: SMALL["vgg16"]() if "size" not in o else taller())
    save_file(drawn("vgg16", SCHEMES["vgg16"][0]), tmp_path / "vgg.safetensors")
    with pytest.raises(InputError, match=r"has a fully connected layer \(fc6\)"):
        load_network("vgg16", tmp_path / "vgg.safetensors", size=(16, 20))


def taller():
    from saliency.models.zoo.vgg import vgg16

    return vgg16(((4, 4), (6,)), 8, 5, (16, 20))


def test_builders_take_what_loading_states():
    for name, build in ARCHITECTURES.items():
        assert {"classes", "size"} <= inspect.signature(build).parameters.keys(), name
