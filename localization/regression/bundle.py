"""What was learned from maps, read back from its file."""

from pathlib import Path

from localization.regression.coverage import CoverageMap, load_coverage_map
from localization.regression.linear_map import LinearMap, load_linear_map
from saliency._reading import read_tensors
from saliency.models.preprocessing import Preprocessing, from_record
from saliency.report.record import content_hash, plain


def load_bundle(path: Path | str) -> LinearMap | CoverageMap:
    """A saved linear map or coverage map, whichever the file says it is; InputError for one that is neither."""
    return load_coverage_map(path) if "coverage_map" in read_tensors(path)[1] else load_linear_map(path)


def entry_of(bundle: LinearMap | CoverageMap | None) -> Preprocessing | None:
    """How photos entered the network that the bundle's maps were made of, where it says so."""
    stated = bundle.source.get("preprocessing") if bundle is not None else None
    return from_record(stated) if stated else None


def bundle_hash(bundle: LinearMap | CoverageMap) -> str:
    """A hash of all that decides its boxes."""
    if isinstance(bundle, LinearMap):
        return content_hash(bundle.weights, bundle.intercept, bundle.typical)
    own = bundle.correction
    learned = [bundle.solution, own.mean, own.deviation, *(() if own.weights is None else (own.weights,))]
    return content_hash(*learned, own.best, plain(bundle.cells), bundle.size, bundle.shapes)
