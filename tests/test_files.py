"""Files are whole or absent: after a kill, beside another writer, on a full disk, and where nothing can be written."""

import os
import resource
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from saliency import _files as files
from saliency._files import atomic_write, check_writable, require_all, write_tensors
from saliency.errors import InputError

BIG = {"x": np.zeros(20_000)}


@pytest.fixture
def full_disk():
    """Files may not grow beyond 64 KiB while the test runs; the kernel then refuses as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def killed_while_writing(path):
    """What a process that was killed in the middle of a file leaves behind."""
    child = os.fork()
    if not child:
        with atomic_write(path) as temporary:
            temporary.write_bytes(b"half of it")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.filterwarnings("ignore:.*fork:")  # JAX's threads are not used in the child
def test_what_a_kill_left_behind_is_removed_by_the_next_writer(tmp_path):
    killed_while_writing(tmp_path / "a.txt")
    killed_while_writing(tmp_path / "other.txt")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == 2 * [b"half of it"]
    with atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_bytes(b"all")
    assert (tmp_path / "a.txt").read_bytes() == b"all"
    assert sorted(path.name[:10] for path in tmp_path.iterdir()) == [".partial-o", "a.txt"]


def test_two_writers_of_one_file_leave_each_other_alone(tmp_path):
    with atomic_write(tmp_path / "a.txt") as first:
        first.write_bytes(b"first")
        with atomic_write(tmp_path / "a.txt") as second:
            second.write_bytes(b"second")
        assert (tmp_path / "a.txt").read_bytes() == b"second"
    assert (tmp_path / "a.txt").read_bytes() == b"first"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path, full_disk):
    write_tensors(tmp_path / "a.safetensors", {"x": np.zeros(3)}, {})
    before = (tmp_path / "a.safetensors").read_bytes()
    with pytest.raises(OSError, match="File too large") as full:
        write_tensors(tmp_path / "a.safetensors", BIG, {})
    with (
        pytest.raises(OSError, match="File too large"),
        atomic_write(tmp_path / "b.npz") as path,
        open(path, "wb") as file,
    ):
        np.savez(file, **BIG)
    assert full.value.filename == str(tmp_path / "a.safetensors")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


def test_a_folder_taken_away_names_the_file(tmp_path, monkeypatch):
    path = tmp_path / "new" / "a.txt"
    with pytest.raises(FileNotFoundError) as within, atomic_write(path):
        shutil.rmtree(path.parent)
    monkeypatch.setattr(files, "_clear", lambda path: shutil.rmtree(path.parent))
    with pytest.raises(FileNotFoundError) as before, atomic_write(path):
        pass
    assert within.value.filename == before.value.filename == str(path)


@pytest.mark.parametrize("removed", ["out", "out/figures", "out/figures/b.txt"])
def test_files_that_belong_together_are_all_there_or_the_last_is_not(tmp_path, removed):
    def write(name):
        with atomic_write(tmp_path / name) as temporary:
            temporary.write_text(name)

    told = r"[ab]\.txt: was removed while the run went on; run the same command again"
    with pytest.raises(InputError, match=told), require_all():
        write("out/a.txt")
        write("out/figures/b.txt")
        path = tmp_path / removed
        path.unlink() if path.is_file() else shutil.rmtree(path)
        write("out/last.txt")
    assert not (tmp_path / "out" / "last.txt").exists()
    with require_all():
        write("out/figures/b.txt")
        write("out/last.txt")
    shutil.rmtree(tmp_path / "out")  # no longer its concern
    with require_all():
        write("out/last.txt")
    assert (tmp_path / "out" / "last.txt").exists()


def test_where_nothing_can_be_written_is_told_and_nothing_made(tmp_path):
    (tmp_path / "file").touch()
    check_writable(tmp_path / "new" / "folder")
    with pytest.raises(InputError, match=r"file: is a file where a folder is needed; choose another folder"):
        check_writable(tmp_path / "file" / "folder")
    with pytest.raises(InputError, match="nothing can be written there; choose another folder"):
        check_writable(Path("/proc/1/nowhere"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
