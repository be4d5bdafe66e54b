"""Turn a PyTorch checkpoint (.pth) into safetensors, names and layouts as they are; no torch is needed.

`--weights net.pth` is taken as it is too: safetensors load faster, and other tools read them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from saliency._files import write_tensors
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
    """Name -> float32 array of a state dict, without the prefix that DataParallel puts before each name."""
    from saliency.models.torch_files import read_torch

    return {name.removeprefix("module."): np.array(value, np.float32) for name, value in read_torch(path).items()}


if __name__ == "__main__":
    cli.start(main, Options)
