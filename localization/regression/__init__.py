"""Boxes from maps by a learned linear map: one solver a file, and `in_memory_fit`, which chooses; or by `coverage`.

The linear map is that of Fast Object Localization via Sensitivity Analysis, Eq. 4.
"""

from localization.regression.bundle import bundle_hash, entry_of, load_bundle
from localization.regression.coverage import CoverageMap, fit_coverage, load_coverage_map
from localization.regression.in_memory_fit import fit_linear_map
from localization.regression.linear_map import LinearMap, load_linear_map

__all__ = [
    "CoverageMap",
    "LinearMap",
    "bundle_hash",
    "entry_of",
    "fit_coverage",
    "fit_linear_map",
    "load_bundle",
    "load_coverage_map",
    "load_linear_map",
]
