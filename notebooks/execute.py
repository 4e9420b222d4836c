"""Run the notebooks and store them with what they show, in small pictures: `python notebooks/execute.py [01 05 ...]`.

Needs what `python launch.py test` installs. The data folder is a fresh one, so that nothing of one's own gets into them;
weights are random unless VIVAVOCE_WEIGHTS_DIR names a folder. Each notebook notes of which code its outputs are, and the
tests compare: whoever changes a cell runs its notebook here again.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

NOTEBOOKS = Path(__file__).resolve().parent
COLOURS = 128
JPEG_QUALITY = 78
TIMEOUT_S = 600
LIVE_ONLY = """<p style="padding: 2em; border: 1px solid; max-width: 24em">
Here is a live picture while the notebook runs.<br>运行笔记本时，这里是实时画面。</p>"""
"What is stored in the place of a page of a portal that has long ended."


def code_of(notebook: Any) -> str:
    """Changes with the code of the cells."""
    code = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return hashlib.sha256(code.encode()).hexdigest()


def main(names: list[str]) -> None:
    """Of all notebooks, or of those whose names begin with one of `names`."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(NOTEBOOKS.parent), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as data:
        os.environ["VIVAVOCE_DATA"] = data
        for path in sorted(NOTEBOOKS.glob("*.ipynb")):
            if not names or path.stem.startswith(tuple(names)):
                notebook = nbformat.read(path, as_version=4)
                resources = {"metadata": {"path": str(NOTEBOOKS)}}
                NotebookClient(notebook, timeout=TIMEOUT_S, resources=resources, record_timing=False).execute()
                for cell in notebook.cells:
                    _tidy(cell)
                notebook.metadata.language_info = {"name": "python"}  # without the version of who ran it
                notebook.metadata.vivavoce = {"outputs_of": code_of(notebook)}
                nbformat.write(notebook, path)
                sys.stdout.write(f"{path.name}: {path.stat().st_size // 1024} KiB\n")


def _tidy(cell: Any) -> None:
    """Keep what a cell shows, in small pictures, without warnings that are about the machine."""
    if cell.cell_type != "code":
        return
    cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    for data in (output.data for output in cell.outputs if "data" in output):
        if "image/png" in data:
            kind, content = _smallest(base64.b64decode(data.pop("image/png")))
            data[kind] = base64.b64encode(content).decode()
        if "<iframe" in data.get("text/html", ""):
            data.update({"text/html": LIVE_ONLY, "text/plain": "a live picture while the notebook runs"})


def _smallest(png: bytes) -> tuple[str, bytes]:
    """Plots are small with few colours, faces as JPEG."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    few, jpeg = io.BytesIO(), io.BytesIO()
    picture.quantize(COLOURS).save(few, "png", optimize=True)
    picture.save(jpeg, "jpeg", quality=JPEG_QUALITY, optimize=True)
    return min(("image/png", few.getvalue()), ("image/jpeg", jpeg.getvalue()), key=lambda one: len(one[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
