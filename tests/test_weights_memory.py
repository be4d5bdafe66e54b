"""Weights are copied once: how far loading grows a process is bounded, and no caller's array is ever held."""

import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from saliency import InputError
from saliency._memory import ALIGNMENT, aligned, let_go, maps_of
from saliency._reading import map_tensors
from saliency.models.checkpoints import exported
from saliency.models.network import Network, on_device
from saliency.models.torch_files import read_torch
from saliency.models.weights import load_network, random_network
from saliency.models.zoo.alexnet import alexnet
from saliency.models.zoo.catalogue import SCHEMES
from tests.torch_saved import save_legacy, save_zip, state

LOADING = """
import sys
from saliency import load_network
from saliency._memory import peak_memory, reset_peak_memory
load_network("scenes_cnn")  # what is imported and started on the way
reset_peak_memory()
before = peak_memory()
net = load_network("alexnet", sys.argv[1])
print(peak_memory() - before)
reset_peak_memory()
print(peak_memory() - before)
"""


@pytest.mark.parametrize("offset", [0, 4], ids=["aligned", "not aligned"])
def test_writing_to_the_array_that_was_given_changes_no_network(offset):
    """JAX takes an aligned array as it lies, `may_alias=False` or not."""
    given = aligned((1001,), np.dtype(np.float32))[offset // 4 :]
    assert given.ctypes.data % ALIGNMENT == offset
    given[:] = 1
    ours = on_device(given)
    given[:] = 7
    assert np.asarray(ours).max() == 1


def test_a_networks_weights_are_its_own():
    net = load_network("scenes_cnn")
    given = {}
    for layer, parts in net.weights.items():
        for part, value in parts.items():
            given.setdefault(layer, {})[part] = own = aligned(value.shape, value.dtype)
            own[...] = value
    ours = Network(net.architecture, given, net.preprocess)
    for parts in given.values():
        for value in parts.values():
            value[...] = 0
    assert ours.digest == net.digest


def test_mapped_tensors_are_those_of_the_file_and_are_there_again_once_let_go(tmp_path, rng):
    kinds = (np.float32, np.float16, np.float64, ml_dtypes.bfloat16, np.int64, np.uint8, np.bool_)
    written = {np.dtype(kind).name: rng.integers(0, 2, (3, 5)).astype(kind) for kind in kinds}
    written |= {"one": np.array(2.5, np.float32), "none": np.zeros((0, 3), np.float32)}
    save_file(written, tmp_path / "all.safetensors", {"said": "so"})
    found, header = map_tensors(tmp_path / "all.safetensors")
    assert (found.keys(), header) == (written.keys(), {"said": "so"})
    for _ in range(2):
        for name, expected in written.items():
            assert (found[name].dtype, found[name].shape) == (expected.dtype, expected.shape)
            np.testing.assert_array_equal(found[name], expected)
        maps = maps_of(array.T for array in found.values())
        assert len(maps) == 1
        let_go(maps)
    with pytest.raises(ValueError, match="read-only"):
        found["float32"][0] = 1
    assert maps_of([written["float32"]]) == set()


@pytest.mark.parametrize("save", [save_zip, save_legacy])
def test_tensors_of_torch_lie_in_their_file_too(save, tmp_path, rng):
    written = {"kernel": rng.normal(size=(4, 3)).astype(np.float32), "bias": np.ones(4, np.float32)}
    save(tmp_path / "net.pth", state(written))
    found = read_torch(tmp_path / "net.pth")
    maps = maps_of(array.reshape(-1)[1:] for array in found.values())
    assert len(maps) == 1
    let_go(maps)
    np.testing.assert_array_equal(found["kernel"], written["kernel"])


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "cut.safetensors"
    save_file({"a": np.ones(9, np.float32)}, path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match=r"cut\.safetensors: not a readable safetensors file"):
        map_tensors(path)


@pytest.mark.slow  # files of 244 MB, so that what else a process takes is little beside them
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel says how much memory a process takes")
@pytest.mark.parametrize(
    "write", [lambda path, tensors: save_file(dict(tensors), path), save_zip], ids=["safetensors", "pth"]
)
def test_loading_takes_the_weights_and_one_tensor_more(write, tmp_path):
    """Before, the tensors, their transposed copies and JAX's copies of these were all there at once: 732 MB."""
    architecture = alexnet()
    tensors = exported(architecture, SCHEMES["alexnet"][0], random_network(architecture).weights)
    path = tmp_path / ("net.pth" if write is save_zip else "net.safetensors")
    write(path, state(tensors))
    sizes = [tensor.nbytes for tensor in tensors.values()]
    said = subprocess.run([sys.executable, "-c", LOADING, path], capture_output=True, text=True, check=True)
    peak, kept = map(int, said.stdout.split())
    assert peak < sum(sizes) + max(sizes) + 2**25
    assert sum(sizes) - 2**24 < kept < sum(sizes) + 2**24
