"""What is not loaded: counted in modules, not in seconds."""

import subprocess
import sys
from pathlib import Path

import pytest

import saliency
from saliency.options import robustness as names
from saliency.robustness.augment import AUGMENTATIONS
from saliency.robustness.masks import FAMILIES

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("flax", "optax", "scipy", "sklearn", "matplotlib", "keras", "torch", "onnx")


def loaded(code: str) -> set[str]:
    """The modules that a fresh process holds at its end."""
    code = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint('loaded', *sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert not found.returncode, found.stderr
    return set(found.stdout.rpartition("loaded ")[2].split())


def test_import_saliency_is_light():
    assert not loaded("import saliency; saliency.InputError") & {"jax", *HEAVY}
    everything = loaded("import saliency; [getattr(saliency, name) for name in saliency.__all__]")
    assert "jax" in everything and not everything & set(HEAVY)


LIGHT = (
    *("analyze_occlusion", "compare", "convert_weights", "evaluate", "explain", "fit_boxes", "make_maps", "robustness"),
    *("explore", "train_classifier"),
)


READ = f"""
import importlib, sys
from scripts import cli
for name in {LIGHT}:
    for words in (["--help"], ["--no-such-option"]):
        sys.argv[1:] = words
        script = importlib.import_module("scripts." + name)
        try:
            cli.start(script.main, script.Options)
        except SystemExit as stop:
            print("ended", name, *words, stop.code, *set(sys.modules) & {{"jax", *{HEAVY}}})
"""


def test_a_command_line_is_read_without_jax():
    """All in one process: what none of them loads, each leaves alone."""
    found = subprocess.run([sys.executable, "-c", READ], cwd=ROOT, capture_output=True, text=True)
    assert not found.returncode, found.stderr
    ended = [line for line in found.stdout.splitlines() if line.startswith("ended ")]
    expected = [f"ended {name} {word}" for name in LIGHT for word in ("--help 0", "--no-such-option 2")]
    assert ended == expected


def test_names_are_found_as_before():
    assert saliency.report.page and saliency.InputError is saliency.errors.InputError  # modules too
    assert set(saliency.__all__) <= set(dir(saliency))
    with pytest.raises(AttributeError, match="module 'saliency' has no attribute 'nothing'"):
        saliency.nothing  # noqa: B018


def test_options_know_the_names_of_what_there_is():
    assert tuple(FAMILIES) == names.FAMILIES and tuple(AUGMENTATIONS) == names.AUGMENTATIONS
