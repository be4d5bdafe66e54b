"""Checkpoints: ours and published names in and out, and one clear sentence for every file that will not do."""

import hashlib
import json
import sys
import warnings
from dataclasses import replace
from functools import partial
from types import ModuleType

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from saliency.errors import InputError
from saliency.models import weights
from saliency.models.checkpoints import exported, shapes
from saliency.models.classes import read_classes
from saliency.models.preprocessing import Preprocessing
from saliency.models.weights import ARCHITECTURES, load_network, random_network, save_network
from saliency.models.zoo.alexnet import alexnet, alexnet_2012
from saliency.models.zoo.catalogue import SCHEMES
from saliency.models.zoo.resnet import resnet50
from saliency.models.zoo.scenes_cnn import scenes_cnn
from saliency.models.zoo.squeezenet import squeezenet1_1
from saliency.models.zoo.vgg import vgg16

WIDTHS = (4, 6, 4, 6, 4)
SMALL = {
    "scenes_cnn": partial(scenes_cnn, ((4,), (6,)), size=(14, 18)),
    "vgg16": partial(vgg16, ((4, 4), (6,)), 8, classes=5, size=(12, 20)),
    "alexnet": partial(alexnet, WIDTHS, 8, classes=5, size=(70, 90)),
    "alexnet_2012": partial(alexnet_2012, WIDTHS, 8, classes=5, size=(75, 91)),
    "squeezenet1_1": partial(squeezenet1_1, 4, ((2, 3), None, (3, 4)), classes=5),
    "resnet50": partial(resnet50, (2, 3), (1, 2), classes=5),
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small networks under the names of the large ones."""
    for name, build in SMALL.items():
        monkeypatch.setitem(ARCHITECTURES, name, build)


def same_weights(ours, theirs) -> None:
    assert ours.keys() == theirs.keys()
    for layer in ours:
        for part in ("kernel", "bias"):
            np.testing.assert_array_equal(ours[layer][part], theirs[layer][part])


@pytest.mark.parametrize(
    "name, index",
    [("squeezenet1_1", 0), ("vgg16", 0), ("vgg16", 1), ("vgg16", 2), ("alexnet", 0), ("alexnet_2012", 0)],
)
def test_published_names_there_and_back(name, index, tmp_path):
    """Written under a scheme's names and in its order, then read."""
    net, scheme = random_network(ARCHITECTURES[name]()), SCHEMES[name][index]
    tensors = exported(net.architecture, scheme, net.weights)
    accepted = shapes(net.architecture, scheme)
    assert {key: value.shape for key, value in tensors.items()} == {key: s[0] for key, s in accepted.items()}
    save_file(tensors, tmp_path / "net.safetensors")
    loaded = load_network(name, tmp_path / "net.safetensors")
    same_weights(loaded.weights, net.weights)
    assert loaded.preprocess == scheme.preprocess
    assert loaded.provenance == {"file": "net.safetensors", "names": scheme.title}


def test_flatten_order():
    """PyTorch's fc6 reads channel, height, width: one input pixel of one channel, followed through."""
    net, scheme = random_network(ARCHITECTURES["vgg16"]()), SCHEMES["vgg16"][0]
    torch = exported(net.architecture, scheme, net.weights)["classifier.0.weight"]
    ours = np.asarray(net.weights["fc6"]["kernel"])
    height, width, channels = net.architecture.shapes(12, 20)["pool2"]
    for row, col, channel in ((0, 0, 0), (2, 1, 3), (1, 4, 5)):
        np.testing.assert_array_equal(
            torch[:, (channel * height + row) * width + col], ours[(row * width + col) * channels + channel]
        )


def test_batch_norm_folds(tmp_path, rng):
    """One convolution and its norm, by the formula."""
    architecture, scheme = ARCHITECTURES["resnet50"](), SCHEMES["resnet50"][0]
    tensors = {
        name: rng.uniform(0.5, 1.5, accepted[0]).astype(np.float32)
        for name, accepted in shapes(architecture, scheme).items()
    }
    tensors["bn1.num_batches_tracked"] = np.array(7)
    save_file(tensors, tmp_path / "net.safetensors")
    net = load_network("resnet50", tmp_path / "net.safetensors")
    gain = tensors["bn1.weight"] / np.sqrt(tensors["bn1.running_var"] + 1e-5)
    np.testing.assert_allclose(
        net.weights["conv1"]["kernel"], tensors["conv1.weight"].transpose(2, 3, 1, 0) * gain, rtol=1e-6
    )
    np.testing.assert_allclose(
        net.weights["conv1"]["bias"], tensors["bn1.bias"] - tensors["bn1.running_mean"] * gain, rtol=1e-5, atol=1e-6
    )


def test_own_format(tmp_path):
    net = random_network(ARCHITECTURES["scenes_cnn"]())
    net.classes = tuple(f"digit {i}" for i in range(10))
    save_network(net, tmp_path / "own.safetensors", {"command": "test"})
    loaded = load_network("scenes_cnn", tmp_path / "own.safetensors")
    same_weights(loaded.weights, net.weights)
    assert (loaded.classes, loaded.preprocess) == (net.classes, net.preprocess)
    assert json.loads((tmp_path / "own.json").read_text()) == {"command": "test"}


def test_another_number_of_classes(tmp_path):
    net = random_network(squeezenet1_1(4, ((2, 3), None, (3, 4)), classes=3))
    save_file(exported(net.architecture, SCHEMES["squeezenet1_1"][0], net.weights), tmp_path / "net.safetensors")
    loaded = load_network("squeezenet1_1", tmp_path / "net.safetensors")
    assert loaded.architecture.shapes(224, 224)["pool10"] == (3,)


def test_half_precision_is_read(tmp_path):
    net = random_network(ARCHITECTURES["squeezenet1_1"]())
    tensors = exported(net.architecture, SCHEMES["squeezenet1_1"][0], net.weights)
    save_file({name: value.astype(np.float16) for name, value in tensors.items()}, tmp_path / "half.safetensors")
    loaded = load_network("squeezenet1_1", tmp_path / "half.safetensors")
    kernel = loaded.weights["conv1"]["kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_allclose(kernel, net.weights["conv1"]["kernel"], rtol=1e-3)


def test_bfloat16_is_read(tmp_path):
    net = random_network(ARCHITECTURES["squeezenet1_1"]())
    tensors = exported(net.architecture, SCHEMES["squeezenet1_1"][0], net.weights)
    save_file({name: value.astype(ml_dtypes.bfloat16) for name, value in tensors.items()}, tmp_path / "b.safetensors")
    loaded = load_network("squeezenet1_1", tmp_path / "b.safetensors")
    assert loaded.dtype == np.float32
    np.testing.assert_allclose(loaded.weights["conv1"]["kernel"], net.weights["conv1"]["kernel"], rtol=1e-2)


@pytest.mark.parametrize("wrapper", ["_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module.", "model."])
def test_names_are_unwrapped(wrapper, tmp_path):
    """As torch.compile, DataParallel and Lightning save them."""
    net = random_network(ARCHITECTURES["vgg16"]())
    tensors = exported(net.architecture, SCHEMES["vgg16"][0], net.weights)
    save_file({wrapper + name: value for name, value in tensors.items()}, tmp_path / "net.safetensors")
    same_weights(load_network("vgg16", tmp_path / "net.safetensors").weights, net.weights)
    inside = {name.replace("features.", "features._orig_mod."): value for name, value in tensors.items()}
    save_file(inside, tmp_path / "net.safetensors")
    same_weights(load_network("vgg16", tmp_path / "net.safetensors").weights, net.weights)


def test_other_kinds_of_files_are_named_for_what_they_are(tmp_path):
    (tmp_path / "net.keras").write_bytes(b"PK")
    assert "a Keras 3 archive" in refusal("vgg16", tmp_path / "net.keras")
    assert "no such file of weights but a folder" in refusal("vgg16", tmp_path)


@pytest.fixture
def tensors():
    net = random_network(ARCHITECTURES["squeezenet1_1"]())
    return exported(net.architecture, SCHEMES["squeezenet1_1"][0], net.weights)


def refusal(name, path, **options) -> str:
    with pytest.raises(InputError) as caught:
        load_network(name, path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_tensors_that_do_not_fit(tensors, tmp_path):
    path = tmp_path / "net.safetensors"
    del tensors["features.0.bias"]
    tensors |= {f"surplus.{i}": np.zeros(2, np.float32) for i in range(4)}
    tensors["features.3.squeeze.weight"] = np.zeros((2, 9, 1, 1), np.float32)
    save_file(tensors, path)
    assert refusal("squeezenet1_1", path) == (
        f"{path} does not hold squeezenet1_1 under torchvision names: 1 missing (features.0.bias);"
        " 4 extra (surplus.0, surplus.1, surplus.2, ...);"
        " 1 misshapen (features.3.squeeze.weight is [2, 9, 1, 1], not [2, 4, 1, 1])"
    )


def test_another_networks_file(tensors, tmp_path):
    save_file(tensors, tmp_path / "net.safetensors")
    assert "does not hold vgg16 under" in refusal("vgg16", tmp_path / "net.safetensors")
    assert "not in salbox's own format" in refusal("scenes_cnn", tmp_path / "net.safetensors")


def test_nan_weights(tensors, tmp_path):
    tensors["features.0.bias"] = np.full(4, np.nan, np.float32)
    save_file(tensors, tmp_path / "net.safetensors")
    assert "features.0.bias holds NaN" in refusal("squeezenet1_1", tmp_path / "net.safetensors")


def test_broken_files(tensors, tmp_path):
    path = tmp_path / "net.safetensors"
    save_file(tensors, path)
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], b"not tensors at all", b"\xff" * 64):
        path.write_bytes(broken)
        assert "not a readable safetensors file" in refusal("squeezenet1_1", path)
    for stands_in, said in (
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs pointer"),
    ):
        path.write_bytes(stands_in)
        assert said in refusal("squeezenet1_1", path)
    (tmp_path / "folder.safetensors").mkdir()
    assert "no such file" in refusal("squeezenet1_1", tmp_path / "folder.safetensors")
    assert "no such file" in refusal("squeezenet1_1", tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    "header, message",
    [
        ({"architecture": "vgg16"}, "holds vgg16, not scenes_cnn"),
        ({"architecture": "scenes_cnn"}, "states no preprocessing"),
        ({"architecture": "scenes_cnn", "preprocessing": "{"}, "states no preprocessing"),
        ({"architecture": "scenes_cnn", "preprocessing": '{"colour": 1}'}, "states no preprocessing"),
        ({"architecture": "scenes_cnn", "preprocessing": "[]"}, "states no preprocessing"),
    ],
)
def test_bad_headers(header, message, tmp_path):
    net = random_network(ARCHITECTURES["scenes_cnn"]())
    save_network(net, tmp_path / "net.safetensors", {})
    save_file(load_file(tmp_path / "net.safetensors"), tmp_path / "bad.safetensors", metadata=header)
    assert message in refusal("scenes_cnn", tmp_path / "bad.safetensors")


def test_no_weights(monkeypatch, tmp_path):
    assert "unknown network 'vgg61'; choose one of scenes_cnn, squeezenet1_0" in refusal("vgg61", None)
    message = refusal("vgg16", None)
    assert message.startswith("vgg16 comes without weights: pass a safetensors, .pth or Keras .h5 file")
    assert message.endswith("such as timm/vgg16.tv_in1k")
    monkeypatch.setattr(weights, "_EMBEDDED", (tmp_path,))
    assert "the weights of scenes_cnn come with salbox: install it again" in refusal("scenes_cnn", None)


def hub(monkeypatch, download) -> None:
    module = ModuleType("huggingface_hub")
    module.hf_hub_download = download
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)


def test_hub(monkeypatch, tensors, tmp_path):
    """The repository's own statement of its preprocessing is taken."""
    save_file(tensors, tmp_path / "model.safetensors")
    config = {
        "input_size": [3, 224, 224],
        "crop_pct": 0.965,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
        "interpolation": "bicubic",
    }
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": config}))
    hub(monkeypatch, lambda repository, file: str(tmp_path / file))
    net = load_network("squeezenet1_1", "someone/squeezenet")
    assert net.preprocess == Preprocessing(
        (224, 224), shorter=232, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), interpolation="bicubic"
    )
    assert net.provenance["file"] == "someone/squeezenet"
    (tmp_path / "config.json").write_text("{}")
    assert "does not state timm's preprocessing" in refusal("squeezenet1_1", "someone/squeezenet")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"crop_mode": "border"}, "crop_mode 'border' is not known here"),
        ({"interpolation": "random"}, "interpolation must be one of"),
        ({"crop_pct": None}, "does not state timm's preprocessing"),
        ({"input_size": 224}, "does not state timm's preprocessing"),
    ],
)
def test_an_entry_that_is_not_here_is_no_failed_download(monkeypatch, tensors, tmp_path, changed, said):
    save_file(tensors, tmp_path / "model.safetensors")
    entry = {"input_size": [3, 224, 224], "crop_pct": 0.9, "mean": [0.5] * 3, "std": [0.5] * 3}
    (tmp_path / "config.json").write_text(
        json.dumps({"pretrained_cfg": {**entry, "interpolation": "bicubic", "crop_mode": "center", **changed}})
    )
    hub(monkeypatch, lambda repository, file: str(tmp_path / file))
    message = refusal("squeezenet1_1", "someone/squeezenet")
    assert said in message and "fetched" not in message


def test_hub_stretches_where_the_checkpoint_does(monkeypatch, tensors, tmp_path):
    """timm's crop_mode was passed over, and a crop taken."""
    save_file(tensors, tmp_path / "model.safetensors")
    entry = {"input_size": [3, 224, 224], "crop_pct": 1.0, "mean": [0.5] * 3, "std": [0.5] * 3}
    (tmp_path / "config.json").write_text(
        json.dumps({"pretrained_cfg": {**entry, "interpolation": "bicubic", "crop_mode": "squash"}})
    )
    hub(monkeypatch, lambda repository, file: str(tmp_path / file))
    assert load_network("squeezenet1_1", "someone/squeezenet").preprocess.mode == "stretch"


@pytest.mark.parametrize(
    ("file", "shorter", "warned"),
    [
        ("resnet-7ebf99e0.safetensors", 232, False),
        ("resnet-IMAGENET1K_V2.safetensors", 232, False),
        ("resnet-b0353104.safetensors", 256, False),
        ("mobilenet_v2.safetensors", 256, True),
        ("by its digest", 232, False),
    ],
)
def test_torchvisions_two_sets_of_weights(monkeypatch, tmp_path, file, shorter, warned):
    """IMAGENET1K_V2 was given the first version's entry without a word."""
    path = tmp_path / ("mobilenet.safetensors" if file == "by its digest" else file)
    scheme = SCHEMES["mobilenetv2"][0]
    wanted = shapes(ARCHITECTURES["mobilenetv2"](), scheme)
    save_file({name: np.full(accepted[0], 0.5, np.float32) for name, accepted in wanted.items()}, path)
    if file == "by its digest":
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        renewed = replace(scheme.renewed, names=(*scheme.renewed.names, digest))
        monkeypatch.setitem(SCHEMES, "mobilenetv2", (replace(scheme, renewed=renewed),))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        entry = load_network("mobilenetv2", path).preprocess
    assert entry.shorter == shorter
    assert [f"{path}: torchvision has two sets of weights" in str(one.message) for one in said] == [True] * warned


def test_hub_out_of_reach(monkeypatch):
    def offline(repository, file):
        raise FileNotFoundError("cannot reach the hub\nand more")

    hub(monkeypatch, offline)
    message = refusal("vgg16", "timm/vgg16.tv_in1k")
    assert "could not be fetched from the Hugging Face hub (cannot reach the hub); go online" in message
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "pip install 'salbox[hub]'" in refusal("vgg16", "timm/vgg16.tv_in1k")


def test_keras(tmp_path):
    h5py = pytest.importorskip("h5py")
    net, path = random_network(ARCHITECTURES["vgg16"]()), tmp_path / "vgg16.h5"
    with h5py.File(path, "w") as file:
        for name, value in exported(net.architecture, SCHEMES["vgg16"][2], net.weights).items():
            layer, _, part = name.partition(".")
            file[f"{layer}/{layer}_{'W' if part == 'kernel' else 'b'}_1:0"] = value
    loaded = load_network("vgg16", path)
    same_weights(loaded.weights, net.weights)
    assert (loaded.provenance["names"], loaded.preprocess.order) == ("Keras", "bgr")
    path.write_bytes(b"no h5 file")
    assert "not a readable Keras .h5 file" in refusal("vgg16", path)


def test_keras_without_h5py(monkeypatch, tmp_path):
    (tmp_path / "vgg16.h5").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert "pip install 'salbox[keras]'" in refusal("vgg16", tmp_path / "vgg16.h5")


def test_class_names(tensors, tmp_path):
    save_file(tensors, tmp_path / "net.safetensors")
    mapping, table = tmp_path / "LOC_synset_mapping.txt", tmp_path / "classes.csv"
    mapping.write_text("".join(f"n0000000{i} thing {i}, also {i}\n" for i in range(5)))
    table.write_text("index,wnid,name\n" + "".join(f'{i},n0000000{i},"thing {i}, also"\n' for i in reversed(range(5))))
    pairs = [(f"n0000000{i}", f"thing {i}") for i in range(5)]
    assert list(read_classes(mapping)) == list(read_classes(table)) == pairs
    net = load_network("squeezenet1_1", tmp_path / "net.safetensors", classes=mapping)
    assert (net.class_name(4), net.class_name(9)) == ("thing 4", "9")
    mapping.write_text("n00000001 one\n")
    assert "names 1 classes, but squeezenet1_1 has 5" in refusal(
        "squeezenet1_1", tmp_path / "net.safetensors", classes=mapping
    )


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("a.txt", b"n01440764 tench\ngoldfish\n", "each line must hold a wnid"),
        ("a.txt", b"n01440764 tench\nn01443537\n", "each line must hold a wnid"),
        ("a.txt", b"", "no class names in it"),
        ("a.txt", b"\xff\xfe\x00", "not a text file in UTF-8"),
        ("a.csv", b"wnid,name\nn01440764,tench\n", "must have the columns index, name"),
        ("a.csv", b"index,wnid,name\nx,n01440764,tench\n", "index of a class must be a number"),
        ("a.csv", b"index,wnid,name\n1,n01440764,tench\n", "must run from 0 without gaps"),
    ],
)
def test_bad_class_names(name, text, message, tmp_path):
    (tmp_path / name).write_bytes(text)
    with pytest.raises(InputError, match=message):
        read_classes(tmp_path / name)


@pytest.mark.parametrize(
    "name, message",
    [
        ("salbox_mine:fails", r"salbox_mine:fails: the function failed \(ValueError: no file\)"),
        ("salbox_mine:needs", r"salbox_mine:needs: the function failed \(TypeError: needs\(\) missing 1 required"),
        ("salbox_mine:none", "salbox_mine:none must give a Network"),
        ("salbox_mine:gone", "salbox_mine:gone: no such function"),
        ("salbox_cut:none", r"salbox_cut:none: its module cannot be imported \(SyntaxError: "),
    ],
)
def test_a_function_of_the_users_that_fails_is_one_sentence(tmp_path, monkeypatch, name, message):
    (tmp_path / "salbox_mine.py").write_text(
        "def fails():\n    raise ValueError('no file\\nat all')\ndef needs(file):\n    ...\ndef none():\n    return 3\n"
    )
    (tmp_path / "salbox_cut.py").write_text("def none(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=message) as refused:
        load_network(name)
    assert "\n" not in str(refused.value)
