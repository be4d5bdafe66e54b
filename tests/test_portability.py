"""Systems other than Linux, simulated: no affinity, no flock, no renaming of open files, no /proc."""

import os
import platform
from pathlib import Path

import numpy as np
import pytest

from saliency import _batches as batches
from saliency import _files as files
from saliency import _memory, _programs, gradient_maps, occlusion_maps
from saliency.models.weights import random_network, save_network
from saliency.models.zoo.scenes_cnn import scenes_cnn

ROOT = Path(__file__).parents[1]
SOURCES = [*(ROOT / "saliency").rglob("*.py"), *(ROOT / "localization").rglob("*.py")]
LINUXS_OWN = ("sched_getaffinity", "fcntl", "os.fork", "/proc/", "/dev/shm", "mp_context", "set_start_method")


@pytest.fixture
def macos(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)


@pytest.fixture
def windows(monkeypatch, macos):
    """As far as this product sees it: no locks, and what is open here cannot be renamed or removed."""
    monkeypatch.setattr(files, "fcntl", None)

    def closed(path):
        node = os.stat(path)
        for handle in Path("/proc/self/fd").iterdir():
            try:
                other = os.stat(handle)
            except OSError:
                continue
            if (other.st_ino, other.st_dev) == (node.st_ino, node.st_dev):
                raise PermissionError(32, "The process cannot access the file because it is being used", str(path))

    replace, unlink = os.replace, Path.unlink

    def checked_replace(source, target):
        closed(source)
        replace(source, target)

    def checked_unlink(path, missing_ok=False):
        if path.exists():
            closed(path)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(os, "replace", checked_replace)
    monkeypatch.setattr(Path, "unlink", checked_unlink)


def test_cores_are_those_of_the_machine_where_the_system_does_not_say(macos, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert batches.cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert batches.cores() == 1


def test_maps_are_made_without_affinity(macos):
    net = random_network(scenes_cnn(((4,), (6,)), size=(14, 18)))
    x = np.random.default_rng(0).normal(size=(2, 14, 18, 3)).astype(np.float32)
    assert occlusion_maps(net, x, patch=6, stride=4).maps.shape == gradient_maps(net, x).shape == (2, 14, 18)


def test_files_are_written_whole_without_locks(windows, tmp_path):
    net = random_network(scenes_cnn(((4,), (6,)), size=(14, 18)))
    for _ in range(2):  # the second time over the first
        save_network(net, tmp_path / "net.safetensors", {})
    with pytest.raises(KeyError), files.atomic_write(tmp_path / "broken.txt") as temporary:
        temporary.write_text("half")
        raise KeyError
    with files.exclusive_lock(tmp_path / "run"), files.require_all():
        files.write_arrays(tmp_path / "run" / "a.npz", {"a": np.zeros(3)})
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["a.npz", "net.json", "net.safetensors"]


def test_peak_memory_is_not_known_elsewhere(monkeypatch):
    def no_proc(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", no_proc)
    monkeypatch.setattr(Path, "write_text", no_proc)
    monkeypatch.setattr(_memory.ctypes, "CDLL", lambda name: (_ for _ in ()).throw(TypeError("bad argument")))
    _memory.reset_peak_memory()
    assert _memory.peak_memory() is None


def test_the_processor_is_named_as_python_knows_it_elsewhere(monkeypatch):
    def no_proc(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", no_proc)
    assert _programs._processor() == platform.processor()


def test_what_is_linuxs_own_has_its_places():
    found = {(path.name, word) for path in SOURCES for word in LINUXS_OWN if word in path.read_text()}
    of_proc = {("_memory.py", "/proc/"), ("_programs.py", "/proc/")}
    assert found == {("_cores.py", "sched_getaffinity"), ("_files.py", "fcntl"), *of_proc}
