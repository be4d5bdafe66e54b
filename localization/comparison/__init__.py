"""`compare`: the same photos through every method. samples -> maps -> boxes and quality -> report."""

from typing import TYPE_CHECKING

from saliency._lazy import attached

if TYPE_CHECKING:
    from localization.comparison.networks import NetworkComparison, compare_networks
    from localization.comparison.options import DEFAULT_METHODS, CompareOptions
    from localization.comparison.result import Comparison
    from localization.comparison.run import compare

__getattr__, __dir__ = attached(__name__)

__all__ = ["DEFAULT_METHODS", "CompareOptions", "Comparison", "NetworkComparison", "compare", "compare_networks"]
