"""Does the package work where the repository is not: a wheel, an empty environment, the README's example, licences.

    python -m tests.campaigns.wheel --out wheel.json

The wheel holds the two packages and the weights of scenes_cnn, so the example runs as it stands.
"""

import json
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import tyro

from tests.campaigns import runs

EXAMPLE = re.compile(r"```python\n(.*?)```", re.S)
# Of every package but pip: name, version, licence as its metadata state it.
INSTALLED = """
import importlib.metadata, json
def licence(meta):
    said = [c.rpartition(":")[2].strip() for c in meta.get_all("Classifier", []) if c.startswith("License ::")]
    stated = meta.get("License-Expression") or ", ".join(said) or (meta.get("License") or "").strip().split("\\n")[0]
    return stated or "not stated"
print(json.dumps(sorted([d.name.lower(), d.version, licence(d.metadata)] for d in importlib.metadata.distributions())))
"""


@dataclass(frozen=True)
class Options:
    out: Path | None = None
    """JSON file for the figures."""
    licences: bool = False
    """Print the licences as a Markdown table."""


def main(options: Options) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        done(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, runs.ROOT, at=folder)
        (wheel,) = folder.glob("salbox-*.whl")
        tops = {path.partition("/")[0] for path in zipfile.ZipFile(wheel).namelist()}
        done(sys.executable, "-m", "venv", folder / "empty", at=folder)
        python = folder / "empty" / "bin" / "python"
        constraints = runs.ROOT / "constraints.txt"
        done(python, "-m", "pip", "install", "--quiet", "--constraint", constraints, wheel, at=folder)
        done(python, "-m", "pip", "check", at=folder)
        (example,) = EXAMPLE.findall((runs.ROOT / "README.md").read_text(encoding="utf-8"))
        said = done(python, "-c", example, at=folder).strip().splitlines()[-1]
        installed = json.loads(done(python, "-c", INSTALLED, at=folder))
    expected = {"saliency", "localization", wheel.name.rpartition("-py3")[0] + ".dist-info"}
    figures = {
        "in the wheel": sorted(tops),
        "the example prints": said,
        "packages": len(installed),
    }
    if options.licences:
        print(
            "\n".join(
                [
                    "| package | version | licence |",
                    "|---|---|---|",
                    *map("| {0[0]} | {0[1]} | {0[2]} |".format, installed),
                ]
            )
        )
    runs.report("wheel", figures, options.out)
    return 0 if tops == expected else 1


def done(*command: object, at: Path) -> str:
    """What a command prints that must end well."""
    ended = subprocess.run([str(word) for word in command], cwd=at, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"{' '.join(map(str, command))[:200]}\nended with {ended.returncode}: {ended.stderr}")
    return ended.stdout


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(Options)))
