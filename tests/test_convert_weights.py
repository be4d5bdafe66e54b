"""The converter where torch is not installed; the rest is in parity/test_convert_weights.py."""

import sys
from pathlib import Path

import pytest

from saliency.errors import InputError
from scripts.convert_weights import Options, main


def test_without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"net\.pth: reading it needs PyTorch; pip install torch"):
        main(Options(Path("net.pth")))
