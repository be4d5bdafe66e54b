"""Compiled programs on disk: where, how many, whose, and that none of it ever stops a run."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from jax._src import compilation_cache as jax_cache

from saliency import InputError, cache
from saliency.cache import Entries, default_folder, use_cache

ROOT = Path(__file__).resolve().parent.parent
COMPILE = """
import sys, jax, saliency
from saliency.cache import use_cache
print(use_cache())
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event))
jax.jit(lambda x: (x * 3).sum())(jax.numpy.arange(5.0)).block_until_ready()
print(sum(event.endswith("cache_hits") for event in hits), "hits")
"""


def run(**environment: str) -> list[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "SALBOX_", "XDG_"))}
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", COMPILE],
        cwd=ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
    )
    assert not found.returncode, found.stderr
    return found.stdout.split("\n")[:2]


def test_a_second_process_compiles_nothing(tmp_path):
    place = str(tmp_path / "salbox" / "compiled-1")
    assert run(XDG_CACHE_HOME=str(tmp_path)) == [place, "0 hits"]
    entries = sorted(Path(place).iterdir())
    assert entries and all(path.name.endswith("-cache") for path in entries)
    first, hits = run(XDG_CACHE_HOME=str(tmp_path))
    assert first == place and int(hits.split()[0]) >= 1
    for path in entries:  # cut off, as a full disk or a crash would leave it: compiled again, and whole again
        path.write_bytes(path.read_bytes()[:-5])
    assert run(XDG_CACHE_HOME=str(tmp_path)) == [place, "0 hits"]
    assert int(run(XDG_CACHE_HOME=str(tmp_path))[1].split()[0]) >= 1


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_the_folder_is_the_users_own(system):
    home = {"HOME": "/home/a", "LOCALAPPDATA": "C:/a/Local"}
    expected = {"linux": "/home/a/.cache", "darwin": "/home/a/Library/Caches", "win32": "C:/a/Local"}[system]
    assert default_folder(home, system) == Path(expected) / "salbox" / "compiled-1"
    assert default_folder(home | {"XDG_CACHE_HOME": "/x"}, system) == Path("/x/salbox/compiled-1")


def test_what_is_said_where(settings, monkeypatch, tmp_path):
    monkeypatch.setenv("SALBOX_CACHE", str(tmp_path / "named"))
    assert use_cache() == tmp_path / "named" and jax.config.jax_compilation_cache_dir == str(tmp_path / "named")
    assert use_cache(tmp_path / "given") == tmp_path / "given"
    assert isinstance(jax_cache._cache, Entries)
    monkeypatch.setenv("SALBOX_CACHE", "off")
    assert use_cache() is None and jax.config.jax_compilation_cache_dir is None
    monkeypatch.delenv("SALBOX_CACHE")
    assert use_cache("off") is None


def test_a_setting_of_the_users_own_stays(settings, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "mine"))
    before = jax.config.jax_persistent_cache_min_compile_time_secs
    assert use_cache(tmp_path / "other") == tmp_path / "mine" and not (tmp_path / "other").exists()
    assert jax.config.jax_persistent_cache_min_compile_time_secs == before


def test_folders_that_cannot_be_used(settings, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/cache: .*; name another folder for compiled programs, or off"):
        use_cache(tmp_path / "file" / "cache")
    monkeypatch.setenv("SALBOX_CACHE", str(tmp_path / "file" / "cache"))
    assert use_cache() is None  # a home that is read-only stops nobody
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(InputError, match="other users may write there"):
        use_cache(tmp_path / "open")
    for wrong in (3, b"x"):
        with pytest.raises(InputError, match="folder must be a path"):
            use_cache(wrong)
    with pytest.raises(InputError, match="most must be"):
        use_cache(tmp_path / "a", most=0)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert cache.unusable(tmp_path) == "nothing can be written there"


def test_the_longest_unused_go_first(tmp_path):
    entries = Entries(tmp_path, 1000)
    for i in range(5):
        entries.put(f"k{i}", bytes(150))
        os.utime(tmp_path / f"k{i}-cache", (i, i))
    (tmp_path / "x-1-1-partial").write_bytes(bytes(50))  # what a kill left behind
    os.utime(tmp_path / "x-1-1-partial", (0, 0))
    assert entries.get("k0") == bytes(150)  # used now
    Entries(tmp_path, 1000).put("new", bytes(300))
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"k0-cache", "k4-cache", "k3-cache", "new-cache"}, left
    entries.put("huge", bytes(2000))
    assert entries.get("huge") is None and entries.get("k1") is None


def test_counts_add_up_and_are_nought_without_a_folder(tmp_path, settings):
    assert use_cache("off") is None
    cache.count("plan-a", 5)
    assert cache.counted("plan-a") == 0
    for more, whole in ((2, 2), (3, 5)):
        use_cache(tmp_path)  # as another process would
        cache.count("plan-a", more)
        assert cache.counted("plan-a") == whole and cache.counted("plan-b") == 0
    (tmp_path / "plan-a-cache").write_bytes(b"cut off")
    assert cache.counted("plan-a") == 0


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(self, content):
        with open(self, "wb") as file:
            file.write(content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    entries = Entries(tmp_path, 1000)
    monkeypatch.setattr(Path, "write_bytes", full)
    entries.put("k", bytes(100))
    assert entries.get("k") is None and not list(tmp_path.iterdir())


def test_a_folder_taken_away(tmp_path):
    entries = Entries(tmp_path / "gone", 1000)
    entries.put("k", b"v")
    assert entries.get("k") is None
    entries.clear()


EXPLAIN = """
import jax, numpy as np, saliency
missed = []
jax.monitoring.register_event_listener(lambda event, **_: missed.append(event) if event.endswith("cache_misses") else 0)
net = saliency.load_network("scenes_cnn")
x = np.random.default_rng(0).normal(size=(1, 96, 96, 3)).astype(np.float32)
for engine in ("dense", "incremental"):
    saliency.occlusion_maps(net, x, patch=32, stride=32, execution=saliency.Execution(engine))
for method in ("gradient-max", "gestalt-max", "grad-cam", "layer-cam-fused"):
    saliency.METHODS[method].maps(net, x)
print(len(missed), "missed")
"""


@pytest.mark.slow
def test_a_network_is_the_same_program_in_every_process(tmp_path):
    """Whatever order Python's sets have there."""
    told = []
    for seed in ("1", "2"):
        found = subprocess.run(
            [sys.executable, "-c", EXPLAIN],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed, "JAX_COMPILATION_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        told.append(int(found.stdout.split()[0]))
    assert told[0] > 5 and told[1] == 0
