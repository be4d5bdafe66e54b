"""The options that all scripts share: one vocabulary, and paths as users write them."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import tyro
from PIL import Image

from saliency.errors import InputError
from saliency.models.preprocessing import Preprocessing
from scripts import cli

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Options:
    net: tyro.conf.OmitArgPrefixes[cli.NetworkOptions] = field(default_factory=cli.NetworkOptions)
    data: tyro.conf.OmitArgPrefixes[cli.DataOptions] = field(default_factory=cli.DataOptions)
    files: tuple[Path, ...] = ()
    out: Path = Path("runs/x")


def parsed(*words: str) -> Options:
    return cli.parse(Options, words)


def test_home_is_expanded_in_every_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    options = parsed("--out=~/x", "--files", "~/a", "b", "--classes=~/names.txt", "--data-root=~/voc", "--only=~/o")
    assert options.out == Path("/home/me/x") and options.files == (Path("/home/me/a"), Path("b"))
    assert options.net.classes == Path("/home/me/names.txt")
    assert (options.data.data_root, options.data.only) == (Path("/home/me/voc"), Path("/home/me/o"))
    assert parsed().out == Path("runs/x") and parsed().data.data_root is None


def test_weights_in_the_home_folder_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=f"{tmp_path}/net.safetensors"):
        parsed("--weights=~/net.safetensors").net.load()


def test_root_is_still_understood():
    assert parsed("--root", "x").data.data_root == Path("x")


def test_the_whole_photo_enters_unless_asked_otherwise():
    own = Preprocessing((20, 30), mode="crop", shorter=40)
    assert cli.Entry().of(own).mode == "stretch"
    assert cli.Entry("checkpoint").of(own) == own
    assert cli.Entry("letterbox", 64).of(own).size == (64, 64)
    with pytest.raises(InputError, match="--input must be at least 16"):
        cli.Entry(input=3).of(own)


def test_labels_to_keep(tmp_path):
    (tmp_path / "only.txt").write_text("cat, domestic\n\n  dog \ncat, domestic\n")
    assert parsed("--only", str(tmp_path / "only.txt"), "--labels", "a b", "dog").data.kept == [
        "a b",
        "dog",
        "cat, domestic",
    ]
    assert parsed().data.kept is None
    (tmp_path / "none.txt").write_text("\n")
    with pytest.raises(InputError, match=r"none\.txt: names no label"):
        parsed("--only", str(tmp_path / "none.txt")).data.load()


def test_one_photo_or_a_folder_of_them(tmp_path, rng):
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(tmp_path / f"{name}.png")
    one, both = (parsed("--images", str(path)).data.load() for path in (tmp_path / "a.png", tmp_path))
    assert [a.source for a in one.annotations] == ["a.png"] and one.annotations[0].size == (20, 30)
    assert [a.source for a in both.annotations] == ["a.png", "b.png"]
    np.testing.assert_array_equal(one.images[0], both.images[0])
    with pytest.raises(InputError, match="--images takes photos without boxes"):
        parsed("--images", str(tmp_path), "--dataset", "voc").data.load()


def test_a_notebooks_backend_does_not_reach_a_script():
    environment = {**os.environ, "MPLBACKEND": "module://no_such.backend"}
    code = "import scripts.cli; from matplotlib import pyplot; pyplot.figure(); print(pyplot.get_backend())"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert found.stdout.strip().lower() == "agg", found.stderr


def test_a_summary_of_what_was_left_out_keeps_its_lines(tmp_path, capsys):
    (tmp_path / "a.jpg").write_bytes(b"no photo")
    (tmp_path / "b.jpg").touch()

    def main(_: None) -> int:
        parsed("--dataset", "folder", "--data-root", str(tmp_path)).data.load()
        return 0

    with pytest.raises(SystemExit):
        cli.run(main, None)
    first, *others = capsys.readouterr().err.splitlines()
    assert first.startswith("error: ") and first.endswith("no usable photo in folder all")
    assert len(others) >= 2 and "0 photos" in others[0] and "photo cannot be read" in others[1]


def test_what_the_library_says_is_said_in_options():
    def said(message: str) -> str:
        with pytest.raises(InputError) as refused, cli.as_options(Options, net="--network"):
            raise InputError(message)
        return str(refused.value)

    assert said("data_root must be a path; `net` or `labels`, data_box_format='xywh', not shape='x'") == (
        "--data-root must be a path; --network or --labels, --data-box-format xywh, not shape='x'"
    )
    assert said("maps must be [n, h, w]") == "maps must be [n, h, w]"  # no option of this script
    assert said("a/b.txt: no such split") == "a/b.txt: no such split"  # nor is --folds, which would be the next step
