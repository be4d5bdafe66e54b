"""State dicts of torch.save, read without torch; files that torch itself writes are in parity/test_torch_files.py."""

import os
import pickle
import zipfile
from collections import OrderedDict
from functools import partial
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from saliency import InputError, load_network
from saliency.models import torch_files, torch_pickles
from saliency.models.checkpoints import exported
from saliency.models.torch_files import read_torch
from saliency.models.weights import random_network
from saliency.models.zoo.catalogue import ARCHITECTURES, SCHEMES
from saliency.models.zoo.squeezenet import squeezenet1_1
from scripts.convert_weights import Options, main
from tests.torch_saved import Named, Stored, save_legacy, save_zip, state

SAVES = pytest.mark.parametrize("save", [save_zip, save_legacy])
PACKED = partial(save_zip, compression=zipfile.ZIP_DEFLATED)
SMALL = partial(squeezenet1_1, 4, ((2, 3), None, (3, 4)))


def same(found, expected) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape, name
        np.testing.assert_array_equal(found[name], array)


def refusal(path: Path) -> str:
    with pytest.raises(InputError, match=path.name) as refused:
        read_torch(path)
    return str(refused.value)


@pytest.mark.parametrize("save", [save_zip, save_legacy, PACKED, partial(save_zip, protocol=4)])
def test_all_kinds_of_numbers_come_back(save, rng, tmp_path):
    kinds = (np.float32, np.float16, np.float64, ml_dtypes.bfloat16, np.int64, np.uint8, np.bool_)
    tensors = {np.dtype(kind).name: rng.integers(0, 2, (3, 4, 2)).astype(kind) for kind in kinds}
    tensors |= {"one": np.array(2.5, np.float32), "none": np.zeros((0, 3), np.float32)}
    save(tmp_path / "net.pth", state(tensors))
    same(read_torch(tmp_path / "net.pth"), tensors)


@SAVES
def test_views_share_their_storage(save, rng, tmp_path):
    values = rng.normal(size=24).astype(np.float32)
    stored = Stored(values)
    content = {
        "turned": stored.view((4, 6), (1, 4)),
        "inner": stored.view((2, 3), (6, 2), 7),
        "repeated": stored.view((5, 4), (0, 1)),
        "data": Named("torch._utils._rebuild_parameter")(stored.view((24,), (1,)), True, OrderedDict()),
    }
    save(tmp_path / "net.pth", content)
    inner = values[[[7, 9, 11], [13, 15, 17]]]
    expected = {
        "turned": values.reshape(6, 4).T, "inner": inner, "repeated": np.tile(values[:4], (5, 1)), "data": values,
    }  # fmt: skip
    found = read_torch(tmp_path / "net.pth")
    same(found, expected)
    assert np.shares_memory(found["turned"], found["data"]) and not found["data"].flags.writeable


@SAVES
@pytest.mark.parametrize("name", ["state_dict", "model_state_dict", "model", "ema"])
def test_nested_state_dicts(save, name, tmp_path):
    tensors = {"a": np.ones(3, np.float32)}
    save(tmp_path / "net.pth", {"epoch": 3, "best": None, "rate": 1e-3, "loss": {"a": 1}, name: state(tensors)})
    same(read_torch(tmp_path / "net.pth"), tensors)


@SAVES
def test_a_network_loads_and_converts(save, monkeypatch, tmp_path):
    monkeypatch.setitem(ARCHITECTURES, "squeezenet1_1", SMALL)
    net = random_network(SMALL())
    tensors = exported(net.architecture, SCHEMES["squeezenet1_1"][0], net.weights)
    save(tmp_path / "net.pth", {"state_dict": state({f"module.{name}": value for name, value in tensors.items()})})
    for path in (tmp_path / "net.pth", tmp_path / "net.safetensors"):
        loaded = load_network("squeezenet1_1", path)
        assert loaded.digest == net.digest and loaded.provenance["names"] == "torchvision"
        assert main(Options(tmp_path / "net.pth")) == 0
    (tmp_path / "net.pth").write_bytes(b"another file meanwhile")  # what was loaded is not in the file any more
    assert loaded.digest == net.digest


class Harm:
    """Makes a folder where its pickle is run."""

    def __reduce__(self):
        return os.mkdir, ("harm",)


@SAVES
@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"a": Harm()}, "posix.mkdir"),
        ({"a": Named("os.system")("echo")}, "os.system"),
        ({"a": Named("builtins.eval")("1")}, "builtins.eval"),
        ({"a": Named("builtins.getattr")(Named("torch.Size"), "__class__")}, "builtins.getattr"),
        ({"a": {"b": [Named("torch.load")("x.pth")]}}, "torch.load"),
        ({"a": Named("torch._utils._rebuild_tensor_v2.__globals__")}, "__globals__"),
        ({"a": Named("torch.FloatStorage")(2**40)}, "calls 'torch.FloatStorage'"),
        ({"a": Named("torch.Size")(Named("torch.float32"))}, "in the place of"),
        ({"args": Named("argparse.Namespace")()}, "argparse.Namespace"),
        (Named("torchvision.models.resnet.ResNet"), "torchvision.models.resnet.ResNet"),
        ({((),): 1}, "tuple as a key"),
        ([np.zeros(2, np.float32)], "holds no state dict"),
        ({"epoch": 3}, "holds no state dict, a mapping from names to tensors, but a mapping of 'epoch'"),
        ({"a": Stored(np.zeros(9, np.float32)).view((4,), (3,))}, "a reaches outside of its own numbers"),
        ({"a": Stored(np.zeros(9, np.float32)).view((2,), (1,), -4)}, "a has no shape"),
        ({"a": Stored(np.zeros(9, np.float32)).view((2,), (-1,), 4)}, "a has no shape"),
        ({"a": Stored(np.zeros(9, np.float32)).view((2, 2), (1,))}, "a has no shape"),
        ({"a": Stored(np.zeros(1, np.float32)).view((2**20, 2**20), (0, 0))}, "repeat 4 bytes"),
    ],
)
def test_what_a_state_dict_does_not_need_is_refused_by_name(save, content, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "net.pth", content)
    said = refusal(tmp_path / "net.pth")
    assert says in said and not Path("harm").exists()
    if "names" in said:
        assert "torch.save(model.state_dict(), FILE)" in said


def test_other_instructions_are_refused(tmp_path):
    for words in (b"(S'echo'\nios\nsystem\n.", b"\x80\x02cos\nsystem\n)\x81.", b"\x80\x02\x8b\x04\0\0\0abcd."):
        (tmp_path / "net.pth").write_bytes(pickle.dumps(torch_files.MAGIC, 2) + words)
        assert "no use for the pickle instruction" in refusal(tmp_path / "net.pth") or "os.system" in refusal(
            tmp_path / "net.pth"
        )


def test_a_file_of_instructions_without_end_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(torch_pickles, "MOST_STEPS", 50)
    save_zip(tmp_path / "net.pth", {"a": [None] * 100})
    assert "more than 50 instructions" in refusal(tmp_path / "net.pth")
    monkeypatch.setattr(torch_files, "MOST_WORDS", 50)
    assert "its pickle is larger" in refusal(tmp_path / "net.pth")


@SAVES
def test_a_file_cut_anywhere_is_refused(save, tmp_path):
    path = tmp_path / "net.pth"
    save(path, state({"a": np.ones((3, 5), np.float32), "b": np.ones(7, np.float16)}))
    whole = path.read_bytes()
    for end in range(0, len(whole), 7):
        path.write_bytes(whole[:end])
        refusal(path)


def test_other_archives(monkeypatch, tmp_path):
    path = tmp_path / "net.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", b"")
        archive.writestr("net/constants.pkl", b"")
    assert "a TorchScript program" in refusal(path)
    path.write_bytes(b"PK\x03\x04")
    refusal(path)
    monkeypatch.setattr(torch_files, "MAX_BYTES", 1000)
    PACKED(path, {"a": np.zeros(1000, np.float32)})
    assert "unfolds into more than 1,000 bytes" in refusal(path)
    path.write_bytes(b"")
    assert "an empty file" in refusal(path)
    assert "no such file" in refusal(tmp_path / "missing.pt")
