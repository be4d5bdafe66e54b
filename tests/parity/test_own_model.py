"""The blocks of "your own model" that need another framework run as they stand, each in a fresh interpreter, as a user
copies one of them; those that need none run with the tutorials."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PAGE = Path(__file__).parents[2] / "docs" / "own_model.md"
BLOCKS = re.findall(r"^## (.*?)$|^```py\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
CASES = {head: code for (head, _), (_, code) in pairwise(BLOCKS) if code}


@pytest.mark.parametrize("head", CASES)
def test_blocks(head, tmp_path):
    code = CASES[head]
    onnx = pytest.importorskip("onnx")
    if not find_spec("keras"):
        pytest.skip("keras is not installed")
    from tests.campaigns.onnx_files import small

    onnx.save(small((224, 224)), tmp_path / "model.onnx")
    Image.fromarray(np.full((120, 160, 3), 99, np.uint8)).save(tmp_path / "photo.jpg")
    if code.startswith("# my_models.py"):
        (tmp_path / "my_models.py").write_text(code)
        code = "import saliency; print(saliency.load_network('my_models:mine'))"
    places = {"PYTHONPATH": os.pathsep.join(filter(None, (str(PAGE.parents[1]), os.environ.get("PYTHONPATH"))))}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, **places}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
