"""CorLoc of all ways from maps and activations to boxes: `python -m scripts.benchmark boxes`."""

from scripts.benchmarks.boxes.run import Options, main

__all__ = ["Options", "main"]
