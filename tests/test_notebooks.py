import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.thorough

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
MAX_BYTES = 1_500_000
WITHOUT_NETWORKS = ("01_one_turn",)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data folder for all, so that a preset is prepared once."""
    return tmp_path_factory.mktemp("data")


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_notebook_runs_from_top_to_bottom(path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell runs, in a fresh kernel and with no weights but tiny ones, and the plots are there."""
    if path.stem not in WITHOUT_NETWORKS:
        pytest.importorskip("torch", reason="neural backends; pip install -e .[neural]")
    monkeypatch.setenv("VIVAVOCE_DATA", str(data))
    monkeypatch.delenv("VIVAVOCE_WEIGHTS_DIR", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(NOTEBOOKS.parent), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_notebook_is_stored_with_what_it_shows(path: Path) -> None:
    """Each cell has run, in order and without a fault; there are pictures, and no folder of whoever ran it."""
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert sum("image/" in str(output.get("data", {}).keys()) for output in outputs) >= 3
    assert {output.output_type for output in outputs} <= {"display_data", "execute_result"}
    assert not re.search(r"/(tmp|home|root|work)/", path.read_text(encoding="utf-8"))


def test_the_notebooks_are_small() -> None:
    """Pictures and all: they are part of every clone."""
    assert sum(path.stat().st_size for path in NOTEBOOKS.iterdir() if path.is_file()) < MAX_BYTES


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_the_readme_says_how_to_open_them(name: str) -> None:
    """What to install, and what to start."""
    text = (NOTEBOOKS.parent / name).read_text(encoding="utf-8")
    assert "pip install jupyterlab" in text and "jupyter lab notebooks" in text
