"""What users run: `python -m scripts.NAME --help`, from the top folder of the repository."""

import os
from importlib.util import find_spec
from pathlib import Path

os.environ["MPLBACKEND"] = "Agg"  # scripts only write files; a notebook's own backend may not exist here

_ROOT = Path(__file__).resolve().parent.parent

for _name in ("saliency", "localization"):  # other packages on PyPI bear these names
    _spec = find_spec(_name)
    if _spec is None or _spec.origin is None or Path(_spec.origin).resolve().parent != _ROOT / _name:
        raise SystemExit(
            f"'import {_name}' finds {_spec.origin if _spec else 'nothing'}, not salbox's own folder {_ROOT / _name}:"
            f" uninstall the other package ('pip uninstall {_name}') or run from {_ROOT} with 'python -m scripts.NAME'."
        )
