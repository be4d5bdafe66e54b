"""PyTorch files into safetensors that load, and the sentences for those that will not do."""

from functools import partial

import pytest
import torch

from saliency import load_network
from saliency.errors import InputError
from saliency.models.weights import ARCHITECTURES
from saliency.models.zoo.squeezenet import squeezenet1_1
from scripts.convert_weights import Options, main
from tests.parity.torch_networks import SqueezeNet, settled

FIRES = ((2, 3), None, (3, 4))


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}}])
def test_converted_file_loads(wrap, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(ARCHITECTURES, "squeezenet1_1", partial(squeezenet1_1, 4, FIRES))
    state = settled(SqueezeNet(4, FIRES, 5)).state_dict()
    torch.save(wrap(state), tmp_path / "net.pth")
    assert main(Options(tmp_path / "net.pth")) == 0
    assert f"{len(state)} tensors" in capsys.readouterr().out
    net = load_network("squeezenet1_1", tmp_path / "net.safetensors")
    kernel = state["features.0.weight"].permute(2, 3, 1, 0).numpy()
    assert (net.weights["conv1"]["kernel"] == kernel).all()


class Anything:
    pass


@pytest.mark.parametrize(
    "content, message",
    [
        (Anything(), "not a PyTorch file of tensors only"),
        ([torch.zeros(2)], "holds no state dict"),
        ({"epoch": 3}, "holds no state dict"),
    ],
)
def test_other_files(content, message, tmp_path):
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(InputError, match=message):
        main(Options(tmp_path / "net.pth"))
    assert [path.name for path in tmp_path.iterdir()] == ["net.pth"]


def test_truncated_file(tmp_path):
    torch.save({"a": torch.zeros(1000)}, tmp_path / "net.pth")
    whole = (tmp_path / "net.pth").read_bytes()
    (tmp_path / "net.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a PyTorch file"):
        main(Options(tmp_path / "net.pth"))
