"""What torch.save writes is read as torch reads it: all kinds of numbers, views, wrappers, both formats."""

from collections import OrderedDict
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from saliency import load_network
from saliency.errors import InputError
from saliency.models.torch_files import read_torch
from saliency.models.weights import ARCHITECTURES
from saliency.models.zoo.squeezenet import squeezenet1_1
from scripts.convert_weights import Options, main
from tests.parity.torch_networks import SqueezeNet, settled

FIRES = ((2, 3), None, (3, 4))
FORMATS = pytest.mark.parametrize(
    "options", [{}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}, {"pickle_protocol": 5}]
)


def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    base = torch.randn(6, 8, 5)
    kinds = ("float16", "bfloat16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64")
    made = {kind: (base * 3).to(getattr(torch, kind)) for kind in kinds}
    made |= {
        **{"base": base, "turned": base.permute(2, 0, 1), "inner": base[1:5:2, 3:, ::2], "same": base},
        **{"expanded": base[0, 0].expand(7, 5), "scalar": torch.tensor(2.5), "none": torch.zeros(0, 3)},
        **{"parameter": nn.Parameter(base[2]), "last": base.to(memory_format=torch.preserve_format)[-1, -1, -1]},
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }
    return made


def same(found: dict[str, np.ndarray], expected: dict[str, torch.Tensor]) -> None:
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        kind = str(tensor.dtype).removeprefix("torch.")
        assert str(found[name].dtype) == kind and found[name].shape == tuple(tensor.shape), name
        wide = tensor.detach().to(torch.complex128 if tensor.is_complex() else torch.float64)
        np.testing.assert_array_equal(found[name].astype(wide.numpy().dtype), wide.numpy(), err_msg=name)


@FORMATS
def test_all_kinds_of_tensors(options, tmp_path):
    torch.save(OrderedDict(tensors()), tmp_path / "net.pth", **options)
    found = read_torch(tmp_path / "net.pth")
    same(found, tensors())
    assert np.shares_memory(found["base"], found["turned"])


@FORMATS
@pytest.mark.parametrize("name", ["state_dict", "model", "model_state_dict", "weights"])
def test_wrapped(options, name, tmp_path):
    wrapped = {"epoch": 7, "args": {"lr": 0.1, "size": torch.Size([3, 4])}, "device": torch.device("cpu")}
    torch.save({**wrapped, "dtype": torch.float32, name: tensors()}, tmp_path / "net.tar", **options)
    same(read_torch(tmp_path / "net.tar"), tensors())


@FORMATS
def test_a_training_checkpoint(options, tmp_path):
    net = nn.DataParallel(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)))
    optimizer = torch.optim.Adam(net.parameters())
    net.module[0](torch.randn(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    content = {"state_dict": net.state_dict(), "optimizer": optimizer.state_dict(), "loss": torch.tensor(0.5)}
    torch.save(content, tmp_path / "last.ckpt", **options)
    found = read_torch(tmp_path / "last.ckpt")
    same(found, net.state_dict())
    assert "module.1.num_batches_tracked" in found


def test_unsigned_kinds_and_typed_storages(tmp_path):
    content = {"a": torch.arange(5, dtype=torch.float32), "b": torch.tensor([1, 2], dtype=torch.uint16)}
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(InputError, match="uint16"):
        read_torch(tmp_path / "net.pth")


@FORMATS
@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}}])
def test_a_network_loads_and_converts(options, wrap, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(ARCHITECTURES, "squeezenet1_1", partial(squeezenet1_1, 4, FIRES))
    state = settled(SqueezeNet(4, FIRES, 5)).state_dict()
    torch.save(wrap(state), tmp_path / "net.pth", **options)
    assert main(Options(tmp_path / "net.pth")) == 0
    assert f"{len(state)} tensors" in capsys.readouterr().out
    kernel = state["features.0.weight"].permute(2, 3, 1, 0).numpy()
    for path in (tmp_path / "net.pth", tmp_path / "net.safetensors"):
        assert (load_network("squeezenet1_1", path).weights["conv1"]["kernel"] == kernel).all()


class Anything:
    pass


@FORMATS
@pytest.mark.parametrize(
    "content, message",
    [
        (Anything(), "it names 'tests.parity.test_torch_files.Anything'"),
        (nn.Linear(2, 2), "it names 'torch.nn.modules.linear.Linear'"),
        ([torch.zeros(2)], "holds no state dict"),
        ({"epoch": 3}, "holds no state dict"),
        ({"a": torch.zeros(2).to_sparse()}, "it names 'torch._utils._rebuild_sparse_tensor'"),
    ],
)
def test_other_files(options, content, message, tmp_path):
    torch.save(content, tmp_path / "net.pth", **options)
    with pytest.raises(InputError, match=message):
        main(Options(tmp_path / "net.pth"))
    assert [path.name for path in tmp_path.iterdir()] == ["net.pth"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_program(tmp_path):
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "net.pt")
    with pytest.raises(InputError, match="a TorchScript program"):
        read_torch(tmp_path / "net.pt")
