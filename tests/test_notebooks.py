import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
WITHOUT_NETWORKS = ("01_one_turn",)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data folder for all, so that a preset is prepared once."""
    return tmp_path_factory.mktemp("data")


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_notebook_runs_from_top_to_bottom(path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell runs, in a fresh kernel and with no weights but tiny ones, and the plots are there."""
    if path.stem not in WITHOUT_NETWORKS:
        pytest.importorskip("torch", reason="neural backends; pip install -r requirements-neural.txt")
    monkeypatch.setenv("VIVAVOCE_DATA", str(data))
    monkeypatch.delenv("VIVAVOCE_WEIGHTS_DIR", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(NOTEBOOKS.parent), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_notebook_is_stored_without_outputs(path: Path) -> None:
    """Outputs are made by whoever runs it, not committed."""
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
