"""Turn a PyTorch checkpoint (.pth) into safetensors, names and layouts as they are, where torch is installed.

The file is a pickle: torch is told to read tensors only (`weights_only=True`), and nothing else here reads any.
"""

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from saliency._files import write_tensors
from saliency.errors import InputError
from scripts import cli


@dataclass(frozen=True)
class Options:
    """Convert a .pth file of tensors to safetensors."""

    source: tyro.conf.Positional[Path]
    """A state dict as torch.save wrote it, torchvision's for instance."""
    out: Path | None = None
    """Default: beside the source, with the suffix .safetensors."""


def main(options: Options) -> int:
    tensors = read(options.source)
    out = options.out or options.source.with_suffix(".safetensors")
    write_tensors(out, tensors, {})
    print(f"wrote {out}: {len(tensors)} tensors, {sum(value.size for value in tensors.values()):,} values")
    return 0


def read(path: Path) -> dict[str, np.ndarray]:
    """Name -> array of a state dict, which may lie under "state_dict" or "model"."""
    try:
        import torch
    except ImportError as error:
        raise InputError(f"{path}: reading it needs PyTorch; pip install torch") from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{path}: not a PyTorch file of tensors only ({reason})") from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise InputError(f"{path}: holds no state dict, a mapping from names to tensors")
    return {name.removeprefix("module."): value.float().contiguous().numpy() for name, value in state.items()}


if __name__ == "__main__":
    cli.start(main, Options)
