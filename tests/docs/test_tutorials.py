"""Every tutorial, and every Python cell of "your own model", runs from first to last, as a notebook."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIALS = [*sorted((ROOT / "docs" / "tutorials").glob("*.md")), ROOT / "docs" / "own_model.md"]

pytestmark = pytest.mark.docs


@pytest.mark.filterwarnings("default")  # the notebook machinery's own
@pytest.mark.parametrize("path", TUTORIALS, ids=[path.stem for path in TUTORIALS])
def test_tutorials_run(path):
    jupytext = pytest.importorskip("jupytext", reason="the extra docs is not installed")
    client = pytest.importorskip("nbclient", reason="the extra docs is not installed")
    notebook = jupytext.read(path)
    client.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    ran = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert ran and all(cell.execution_count for cell in ran)
