"""What all scripts share: one clear sentence and exit code 2, and imports that are ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from saliency import InputError
from saliency._memory import peak_memory, reset_peak_memory
from scripts import cli

ROOT = Path(__file__).resolve().parent.parent


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (InputError("patch must be\n  smaller"), 2, "error: patch must be smaller"),
        (
            FileNotFoundError(2, "No such file or directory", "x.jpg"),
            2,
            "error: x.jpg: No such file or directory; it or",
        ),
        (OSError(28, "No space left", "x.json"), 2, "error: x.json: No space left; make room and run the same command"),
        (OSError("cannot identify x"), 2, "error: cannot identify x"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_errors_end_in_one_sentence(capsys, error, code, says):
    def main(_: None) -> int:
        raise error

    with pytest.raises(SystemExit) as stop:
        cli.run(main, None)
    assert stop.value.code == code
    assert says in capsys.readouterr().err


def test_another_package_of_our_name_is_noticed(tmp_path):
    for name in ("saliency", "localization"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; import scripts"
    found = run("-S", "-c", code)
    assert found.returncode == 1
    assert "not salbox's own folder" in found.stderr
    assert "Traceback" not in found.stderr


def test_peak_memory_sees_a_large_array():
    reset_peak_memory()
    before = peak_memory()
    if before is None:
        pytest.skip("the kernel does not report the peak of a process")
    block = bytearray(200 * 2**20)
    assert peak_memory() - before > 150 * 2**20
    del block
