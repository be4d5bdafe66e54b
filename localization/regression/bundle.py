"""What was learned from maps, read back from its file."""

from pathlib import Path

from localization.regression.coverage import CoverageMap, load_coverage_map
from localization.regression.linear_map import LinearMap, load_linear_map
from saliency._reading import read_tensors


def load_bundle(path: Path | str) -> LinearMap | CoverageMap:
    """A saved linear map or coverage map, whichever the file says it is; InputError for one that is neither."""
    return load_coverage_map(path) if "coverage_map" in read_tensors(path)[1] else load_linear_map(path)
